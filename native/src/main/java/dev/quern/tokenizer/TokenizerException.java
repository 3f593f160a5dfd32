package dev.quern.tokenizer;

/**
 * The one exception of this package. Its message says what was wrong, where, and what to do; it
 * never repeats the content of a file or a document.
 */
public final class TokenizerException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** What went wrong, for code that has to decide; the message is for people. */
  public enum Reason {
    /** An argument is outside its limits: a mistake of the caller. */
    INVALID_ARGUMENT,
    /** The text is not UTF-8; {@link #position} is the first byte that is wrong. */
    INVALID_UTF8,
    /** The text contains a special token and the tokenizer was loaded with ERROR for them. */
    SPECIAL_TOKEN,
    /** The tokenizer file can't be read, or needs something this version has not. */
    UNSUPPORTED,
    /** The tokenizer was closed. */
    CLOSED,
    /** A defect of Quern; the process goes on. */
    INTERNAL,
    /** The tokenizer refuses this text, for example a word outside a vocabulary without unk. */
    ENCODE,
    /** An id outside the vocabulary was to be decoded. */
    UNKNOWN_ID,
    /** The native library can't be found, read or loaded. */
    LIBRARY
  }

  private final Reason reason;
  private final long position;
  private final int document;

  public TokenizerException(Reason reason, String message) {
    this(reason, message, -1, -1, null);
  }

  public TokenizerException(Reason reason, String message, Throwable cause) {
    this(reason, message, -1, -1, cause);
  }

  public TokenizerException(
      Reason reason, String message, long position, int document, Throwable cause) {
    super(message, cause);
    this.reason = reason;
    this.position = position;
    this.document = document;
  }

  public Reason reason() {
    return reason;
  }

  /** Offset in bytes of what was wrong, in the document or the tokenizer file; -1 if none. */
  public long position() {
    return position;
  }

  /** Index of the document in the batch; -1 if the call had no batch. */
  public int document() {
    return document;
  }
}
