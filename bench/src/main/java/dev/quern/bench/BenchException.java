package dev.quern.bench;

/**
 * A measurement that can't be made or must not be believed; the message is all that a user sees.
 */
final class BenchException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Wrong options or options that don't fit each other. */
  static final int USAGE = 2;

  /** A corpus, tokenizer or interpreter that can't be used. */
  static final int INPUT = 3;

  /** Ids or results that differ: there is no time for a wrong answer. */
  static final int WRONG_RESULT = 4;

  /** A contender's process that ended without a result. */
  static final int FAILED = 5;

  private final int exitCode;

  BenchException(int exitCode, String message) {
    super(message);
    this.exitCode = exitCode;
  }

  BenchException(int exitCode, String message, Throwable cause) {
    super(message, cause);
    this.exitCode = exitCode;
  }

  int exitCode() {
    return exitCode;
  }
}
