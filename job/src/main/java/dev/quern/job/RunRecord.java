package dev.quern.job;

import java.io.IOException;
import java.util.List;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.SparkSession;

/**
 * The record of one run: samples of every executor, a summary and a chart, written beside the
 * output into {@code <output>/_quern}.
 *
 * <pre>{@code
 * try (RunRecord record = RunRecord.start(session, description);
 *     Progress progress = Progress.start(session, record, inputBytes)) {
 *   ... the write ...
 *   progress.close();               // idempotent; before anything else is printed
 *   record.finish(totals);
 *   record.write(outputPath);       // before an output written aside is swapped in
 *   record.summaryLines().forEach(System.out::println);
 * }
 * }</pre>
 *
 * <p>Samples come from {@link QuernPlugin}; without it ({@code spark.plugins}) the record has a
 * summary without memory, and says so.
 */
public final class RunRecord implements AutoCloseable {

  /** The folder of the record inside an output; readers of the output skip it (underscore). */
  public static final String FOLDER = "_quern";

  /** The files inside {@link #FOLDER}. */
  public static final String SAMPLES = "samples.parquet";

  public static final String SUMMARY = "summary.json";
  public static final String CHART = "memory.png";

  private RunRecord() {}

  /** Starts to keep the samples of all executors. */
  public static RunRecord start(SparkSession session, RunDescription description) {
    return new RunRecord();
  }

  /**
   * Ends the run: waits a moment (at most two sampling intervals) for each executor's last sample.
   * A second call does nothing.
   */
  public void finish(RunTotals totals) {}

  /**
   * Writes samples, summary and chart into {@code <output>/_quern}, through Hadoop's FileSystem. A
   * chart that can't be drawn is a warning.
   *
   * @param output the folder the record belongs to; it is created if missing
   * @return whether there is a chart
   * @throws IOException if samples or summary can't be written
   * @throws IllegalStateException before {@link #finish}
   */
  public boolean write(Path output) throws IOException {
    return false;
  }

  /** Lines for the console: documents, speed, memory. Only after {@link #finish}. */
  public List<String> summaryLines() {
    return List.of();
  }

  /** Stops keeping samples; what a failed run needs. A second call does nothing. */
  @Override
  public void close() {}
}
