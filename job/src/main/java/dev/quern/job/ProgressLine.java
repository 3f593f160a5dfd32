package dev.quern.job;

import java.io.PrintStream;

/** One line on a terminal that is written over again. */
final class ProgressLine {

  /** A terminal's width isn't known to Java: the usual one, less the last column that may wrap. */
  private static final int COLUMNS = 79;

  private final PrintStream out;
  private int shown;

  ProgressLine(PrintStream out) {
    this.out = out;
  }

  /** Shows a text in place of the one before; what is too long is cut. */
  void show(String text) {
    String cut = text.length() > COLUMNS ? text.substring(0, COLUMNS) : text;
    out.print('\r' + cut + " ".repeat(Math.max(0, shown - cut.length())));
    out.flush();
    shown = cut.length();
  }

  /** Leaves an empty line and the cursor at its beginning. */
  void clear() {
    if (shown > 0) {
      out.print('\r' + " ".repeat(shown) + '\r');
      out.flush();
      shown = 0;
    }
  }
}
