package dev.quern.job;

import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.concurrent.FutureTask;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.SparkSession;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The record of one run: samples of every executor, a summary and a chart, written beside the
 * output into {@code <output>/_quern}.
 *
 * <pre>{@code
 * try (RunRecord record = RunRecord.start(session, description);
 *     Progress progress = Progress.start(session, record, inputBytes)) {
 *   ... the write ...
 *   progress.close();               // idempotent; before anything else is printed
 *   record.finish(totals, ends);
 *   record.write(outputPath);       // before an output written aside is swapped in
 *   record.published();             // the run has succeeded: Spark's UI is told so
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

  private static final Logger LOG = LoggerFactory.getLogger(RunRecord.class);

  private final SparkSession session;
  private final RunDescription description;
  private final Optional<SampleHub> hub;
  private final RunSamples samples = new RunSamples();
  private final long startMillis = System.currentTimeMillis();
  private final long startNanos = System.nanoTime();
  private RunSummary summary;
  private RunEvent shown;

  private RunRecord(SparkSession session, RunDescription description) {
    this.session = session;
    this.description = description;
    this.hub = SampleHub.of(session.sparkContext());
    show(RunEvent.started(UUID.randomUUID().toString(), description, startMillis));
  }

  private void show(RunEvent event) {
    shown = event;
    hub.ifPresent(at -> at.post(event));
  }

  /** Starts to keep the samples of all executors. */
  public static RunRecord start(SparkSession session, RunDescription description) {
    RunRecord record = new RunRecord(session, description);
    record.hub.ifPresent(hub -> hub.attach(record.samples));
    return record;
  }

  /**
   * Ends the run. A second call does nothing.
   *
   * @param ends what executors looked like when their last tasks ended, of none more than once:
   *     samples of the interval miss what was done after the last of them
   */
  synchronized void finish(RunTotals totals, Collection<ExecutorSample> ends) {
    if (summary != null) {
      return;
    }
    // Wall time is measured by the clock that nobody sets.
    long endMillis = startMillis + Math.max(1, (System.nanoTime() - startNanos) / 1_000_000);
    hub.ifPresent(at -> at.receiveOfTasks(ends, System.currentTimeMillis()));
    List<RunSummary.ExecutorPart> parts = new ArrayList<>();
    hub.ifPresent(at -> samples.parts().forEach(part -> parts.add(summarize(at, part, endMillis))));
    summary = new RunSummary(description, environment(), totals, startMillis, endMillis, parts);
    hub.ifPresent(at -> at.detach(samples));
  }

  /**
   * The output is visible: the run has succeeded, as Spark's UI now shows. One that is closed
   * without has failed.
   *
   * @throws IllegalStateException before {@link #finish}
   */
  public void published() {
    show(shown.finished(finished()));
  }

  private RunSummary.ExecutorPart summarize(SampleHub at, RunSamples.Part part, long endMillis) {
    boolean alive = at.alive(part.executor().id()) && !part.latest().last();
    long from = part.known() ? startMillis : Math.max(startMillis, part.first().timeMillis());
    long to = alive ? endMillis : Math.min(endMillis, part.latest().timeMillis());
    return new RunSummary.ExecutorPart(
        part.executor(),
        at.cores(part.executor().id()),
        alive,
        Math.max(0, to - from) / 1e3,
        part.before(),
        part.samples(),
        part.arrived());
  }

  /** The largest heap an executor may have. */
  private long executorHeap() {
    return session.sparkContext().isLocal()
        ? Runtime.getRuntime().maxMemory()
        : (long) session.sparkContext().executorMemory() << 20;
  }

  private Map<String, String> environment() {
    Map<String, String> environment = new LinkedHashMap<>();
    environment.put("quern", QuernVersion.current());
    environment.put("spark", session.version());
    environment.put("master", session.sparkContext().master());
    environment.put("executor_heap_bytes", Long.toString(executorHeap()));
    environment.put("application", session.sparkContext().applicationId());
    environment.put(
        "java", System.getProperty("java.vm.name") + " " + System.getProperty("java.vm.version"));
    environment.put(
        "system",
        String.join(
            " ",
            System.getProperty("os.name"),
            System.getProperty("os.version"),
            System.getProperty("os.arch")));
    environment.put("driver_cores", Integer.toString(Runtime.getRuntime().availableProcessors()));
    try {
      environment.put("driver_host", InetAddress.getLocalHost().getHostName());
    } catch (UnknownHostException e) {
      environment.put("driver_host", "unknown");
    }
    return environment;
  }

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
    RunSummary run = finished();
    Configuration conf = session.sessionState().newHadoopConf();
    Path folder = new Path(output, FOLDER);
    FileSystem files = folder.getFileSystem(conf);
    files.mkdirs(folder);
    // Drawing takes longer than all else here.
    FutureTask<byte[]> chart = new FutureTask<>(() -> RunChart.png(run));
    if (!run.executors().isEmpty()) {
      Thread drawing = new Thread(chart, "quern-chart");
      drawing.setDaemon(true);
      drawing.start();
    }
    SampleFile.write(run, new Path(folder, SAMPLES), conf);
    try (OutputStream out = files.create(new Path(folder, SUMMARY), true)) {
      out.write(run.toJson());
    }
    return !run.executors().isEmpty() && writeChart(files, new Path(folder, CHART), chart);
  }

  private static boolean writeChart(FileSystem files, Path file, FutureTask<byte[]> chart)
      throws IOException {
    try (OutputStream out = files.create(file, true)) {
      out.write(chart.get());
      return true;
    } catch (Exception e) {
      // A JVM without fonts or without the desktop module fails with errors of several kinds.
      LOG.warn(
          "The run's chart can't be drawn on this machine; samples and summary are in {}. Drawing"
              + " needs the JDK's desktop module and a font (Debian and Ubuntu: apt-get install"
              + " fontconfig fonts-dejavu-core).",
          file.getParent(),
          e);
      files.delete(file, false);
      return false;
    }
  }

  /**
   * Lines for the console: documents, speed, memory.
   *
   * @throws IllegalStateException before {@link #finish}
   */
  public List<String> summaryLines() {
    return finished().lines();
  }

  /** The figures of the finished run. */
  RunSummary summary() {
    return finished();
  }

  private synchronized RunSummary finished() {
    if (summary == null) {
      throw new IllegalStateException("the run isn't finished: call finish(totals) first");
    }
    return summary;
  }

  /** Work and memory so far, from the samples. */
  RunSamples.Live live() {
    return samples.live();
  }

  /** Seconds since the start. */
  double seconds() {
    return (System.nanoTime() - startNanos) / 1e9;
  }

  /** Stops keeping samples; what a failed run needs. A second call does nothing. */
  @Override
  public void close() {
    hub.ifPresent(at -> at.detach(samples));
    if (shown.state() == RunEvent.State.RUNNING) {
      show(shown.failed(System.currentTimeMillis()));
    }
  }
}
