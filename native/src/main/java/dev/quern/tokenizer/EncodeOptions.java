package dev.quern.tokenizer;

import java.util.Objects;

/**
 * How one call encodes. What belongs to the tokenizer itself stands in {@link TokenizerSpec}.
 *
 * @param addSpecialTokens whether the file's post-processor adds its special tokens (as in {@code
 *     [CLS] text [SEP]}); a corpus usually does not want them
 * @param invalidUtf8 what happens to bytes that are not UTF-8
 */
public record EncodeOptions(boolean addSpecialTokens, InvalidUtf8 invalidUtf8) {

  /** What happens to bytes that are not UTF-8. */
  public enum InvalidUtf8 {
    /** A {@link TokenizerException} with the byte position of the first one. */
    STRICT,
    /** Each maximal ill-formed part becomes U+FFFD, as WHATWG says and browsers do. */
    REPLACE
  }

  /** No special tokens added; invalid UTF-8 is an error. */
  public static final EncodeOptions DEFAULT = new EncodeOptions(false, InvalidUtf8.STRICT);

  public EncodeOptions {
    Objects.requireNonNull(invalidUtf8, "invalidUtf8");
  }

  long flags() {
    return (addSpecialTokens ? QuernLibrary.ADD_SPECIAL_TOKENS : 0)
        | (invalidUtf8 == InvalidUtf8.REPLACE ? QuernLibrary.REPLACE_INVALID_UTF8 : 0);
  }
}
