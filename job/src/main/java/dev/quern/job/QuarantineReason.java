package dev.quern.job;

import dev.quern.tokenizer.TokenizerException;

/** Why a document is set aside: the column {@code reason} of the quarantine. */
public enum QuarantineReason {
  /** The text is NULL. */
  NULL_TEXT,
  /** The record could not be parsed (JSON, CSV). */
  MALFORMED_RECORD,
  /** The text is longer than --max-document-bytes, or has more ids than an array holds. */
  TOO_LARGE,
  /** The text is not UTF-8 and --invalid-utf8 is strict. */
  INVALID_UTF8,
  /** The text has a special token and --special-tokens-in-text is error. */
  SPECIAL_TOKEN,
  /** The tokenizer has no ids for the text, as one without an unknown token. */
  NOT_ENCODABLE;

  /**
   * The reason that belongs to a document the tokenizer refused.
   *
   * @throws TokenizerException the one given, if it is no fault of the document: it must fail the
   *     task instead of emptying the corpus into the quarantine
   */
  static QuarantineReason of(TokenizerException refusal) {
    return switch (refusal.reason()) {
      case INVALID_UTF8 -> INVALID_UTF8;
      case SPECIAL_TOKEN -> SPECIAL_TOKEN;
      case ENCODE -> NOT_ENCODABLE;
      default -> throw refusal;
    };
  }

  /** As it stands in the column. */
  @Override
  public String toString() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }
}
