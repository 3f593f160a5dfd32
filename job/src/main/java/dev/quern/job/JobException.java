package dev.quern.job;

/**
 * A run that can't start or did not end well, for a reason a user can act on. The message says what
 * was wrong, where, and what to do; it is printed without a stack trace.
 */
public final class JobException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** What the process ends with. */
  public enum Exit {
    OK(
        0,
        "the output is complete and visible (with --dry-run: everything checked, nothing written)"),
    USAGE(
        2, "wrong use: an unknown option or key, or a value that is not allowed; nothing was read"),
    REFUSED(
        3,
        "refused before the run: the input, its columns, the tokenizer or the output are not as"
            + " they must be; no task was started"),
    FAILED(
        4,
        "the run failed; nothing of it is visible, and an output it should replace is as it was"),
    INTERRUPTED(130, "stopped by Ctrl-C (143: by SIGTERM); nothing of the run is visible");

    private final int code;
    private final String meaning;

    Exit(int code, String meaning) {
      this.code = code;
      this.meaning = meaning;
    }

    public int code() {
      return code;
    }

    public String meaning() {
      return meaning;
    }
  }

  private final Exit exit;

  JobException(Exit exit, String message) {
    this(exit, message, null);
  }

  JobException(Exit exit, String message, Throwable cause) {
    super(message, cause);
    this.exit = exit;
  }

  static JobException usage(String message) {
    return new JobException(Exit.USAGE, message);
  }

  static JobException refused(String message) {
    return new JobException(Exit.REFUSED, message);
  }

  static JobException refused(String message, Throwable cause) {
    return new JobException(Exit.REFUSED, message, cause);
  }

  /** What the process should end with. */
  public Exit exit() {
    return exit;
  }
}
