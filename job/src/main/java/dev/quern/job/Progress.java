package dev.quern.job;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkContext;
import org.apache.spark.Success$;
import org.apache.spark.scheduler.AccumulableInfo;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerExecutorMetricsUpdate;
import org.apache.spark.scheduler.SparkListenerJobEnd;
import org.apache.spark.scheduler.SparkListenerJobStart;
import org.apache.spark.scheduler.SparkListenerStageSubmitted;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import org.apache.spark.scheduler.SparkListenerTaskStart;
import org.apache.spark.scheduler.StageInfo;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.util.AccumulatorContext;
import org.apache.spark.util.AccumulatorV2;
import scala.Option;
import scala.jdk.javaapi.CollectionConverters;

/**
 * The progress of a run on standard error: one updating line on a terminal, otherwise a line every
 * 30 seconds ({@code spark.quern.progress}). Documents and speed are live, of all executors, and
 * include what is later retried.
 *
 * <p>If Spark's own progress bar is on ({@code spark.ui.showConsoleProgress}), two lines would
 * overwrite each other; then plain lines are written.
 */
public final class Progress implements AutoCloseable {

  /** How progress is shown. */
  public enum Style {
    /** {@link #LINE} on a terminal, {@link #LINES} elsewhere. */
    AUTO,
    /** One line that is written over again. */
    LINE,
    /** A new line every 30 seconds. */
    LINES,
    OFF
  }

  private static final long LINE_MILLIS = 500;
  private static final long LINES_MILLIS = 30_000;

  /** Marks the Spark jobs of the run, which inherit it from the thread that starts them. */
  private static final String RUN_PROPERTY = "quern.run";

  private final SparkContext context;
  private final RunRecord record;
  private final Style style;
  private final PrintStream out;
  private final ProgressLine line;
  private final Tasks tasks;
  private final ScheduledExecutorService thread;
  private boolean closed;

  private Progress(
      SparkContext context,
      RunRecord record,
      long inputBytes,
      Style style,
      long millis,
      PrintStream out) {
    this.context = context;
    this.record = record;
    this.style = style;
    this.out = out;
    this.line = new ProgressLine(out);
    String run = UUID.randomUUID().toString();
    this.tasks = new Tasks(run, inputBytes);
    this.thread =
        Executors.newSingleThreadScheduledExecutor(
            work -> {
              Thread printer = new Thread(work, "quern-progress");
              printer.setDaemon(true);
              return printer;
            });
    if (style != Style.OFF) {
      context.setLocalProperty(RUN_PROPERTY, run);
      context.addSparkListener(tasks);
      thread.scheduleWithFixedDelay(this::print, millis, millis, TimeUnit.MILLISECONDS);
    }
  }

  /**
   * Starts to report. Call it in the thread that starts the Spark jobs of the run, before them:
   * only jobs started by this thread count.
   *
   * @param inputBytes bytes of the input files, for the time left; -1 if not known
   */
  public static Progress start(SparkSession session, RunRecord record, long inputBytes) {
    SparkContext context = session.sparkContext();
    Style asked = MetricsConf.PROGRESS.value(context.getConf());
    boolean sparkShows = context.getConf().getBoolean("spark.ui.showConsoleProgress", false);
    Style style = style(asked, sparkShows);
    long millis = style == Style.LINE ? LINE_MILLIS : LINES_MILLIS;
    return start(session, record, inputBytes, style, millis, System.err);
  }

  /**
   * @param style not {@link Style#AUTO}
   * @param millis from one line to the next
   */
  static Progress start(
      SparkSession session,
      RunRecord record,
      long inputBytes,
      Style style,
      long millis,
      PrintStream out) {
    return new Progress(session.sparkContext(), record, inputBytes, style, millis, out);
  }

  static Style style(Style asked, boolean sparkShows) {
    if (asked != Style.AUTO) {
      return asked;
    }
    return !sparkShows && standardErrorIsTerminal() ? Style.LINE : Style.LINES;
  }

  /**
   * Java knows only whether standard input and output are a terminal; Linux also knows the rest.
   */
  private static boolean standardErrorIsTerminal() {
    if ("dumb".equals(System.getenv("TERM"))) {
      return false;
    }
    Path standardError = Path.of("/proc/self/fd/2");
    try {
      if (Files.isSymbolicLink(standardError)) {
        String target = Files.readSymbolicLink(standardError).toString();
        return target.startsWith("/dev/pts/") || target.startsWith("/dev/tty");
      }
    } catch (IOException | RuntimeException e) {
      // Not Linux, or no right to look: the console it is.
    }
    return System.console() != null;
  }

  private synchronized void print() {
    if (closed) {
      return;
    }
    try {
      String text = line(record.live(), record.seconds(), tasks.fraction());
      if (style == Style.LINE) {
        line.show(text);
      } else {
        out.println("quern: " + text);
      }
    } catch (RuntimeException e) {
      // Progress is a convenience; the next line may work.
    }
  }

  /** Short enough for a terminal of 80 columns, and what matters most comes first. */
  static String line(RunSamples.Live live, double seconds, OptionalDouble fraction) {
    StringBuilder line = new StringBuilder();
    if (fraction.isPresent()) {
      line.append(RunSummary.format("%.0f%%, ", Math.floor(fraction.getAsDouble() * 100)));
    }
    timeLeft(seconds, fraction)
        .ifPresent(left -> line.append(RunSummary.duration(left)).append(" left, "));
    return line.append(RunSummary.decimals(live.work().bytes() / 1e6 / seconds))
        .append(" MB/s, ")
        .append(count(live.work().tokens() / seconds))
        .append(" tokens/s, ")
        .append(count(live.work().documents()))
        .append(" documents, RSS ")
        .append(RunSummary.size(live.resident()))
        .toString();
  }

  /** 950, 1.23k, 12.3M, 123G. */
  private static String count(double value) {
    double scaled = value;
    String unit = "";
    for (String next : List.of("k", "M", "G", "T")) {
      if (scaled < 1000) {
        break;
      }
      scaled /= 1000;
      unit = next;
    }
    return unit.isEmpty() ? RunSummary.format("%.0f", scaled) : RunSummary.decimals(scaled) + unit;
  }

  /** No guess before there is something to go by. */
  private static Optional<Double> timeLeft(double seconds, OptionalDouble fraction) {
    if (fraction.isEmpty() || fraction.getAsDouble() < 0.02 || seconds < 3) {
      return Optional.empty();
    }
    return Optional.of(seconds * (1 - fraction.getAsDouble()) / fraction.getAsDouble());
  }

  /** Stops and clears the line on a terminal. A second call does nothing. */
  @Override
  public void close() {
    thread.shutdownNow();
    synchronized (this) {
      if (closed) {
        return;
      }
      closed = true;
      line.clear();
    }
    if (style != Style.OFF) {
      context.removeSparkListener(tasks);
      context.setLocalProperty(RUN_PROPERTY, null);
    }
  }

  /** How much of the run's tasks and of its input is done. */
  static final class Tasks extends SparkListener {
    private static final String BYTES_READ = "internal.metrics.input.bytesRead";

    private final String run;
    private final long inputBytes;
    private final Set<Integer> stages = new HashSet<>();

    /** Stages of a running job that have not begun: number of tasks by stage. */
    private final Map<Integer, Map<Integer, Integer>> waiting = new HashMap<>();

    private final Map<Long, Long> readByRunning = new HashMap<>();
    private long tasks;
    private long tasksDone;
    private long read;

    Tasks(String run, long inputBytes) {
      this.run = run;
      this.inputBytes = inputBytes;
    }

    @Override
    public synchronized void onJobStart(SparkListenerJobStart job) {
      if (job.properties() != null && run.equals(job.properties().getProperty(RUN_PROPERTY))) {
        Map<Integer, Integer> waitingOfJob = new HashMap<>();
        for (StageInfo stage : CollectionConverters.asJava(job.stageInfos())) {
          if (stages.add(stage.stageId())) {
            tasks += stage.numTasks();
            waitingOfJob.put(stage.stageId(), stage.numTasks());
          }
        }
        waiting.put(job.jobId(), waitingOfJob);
      }
    }

    @Override
    public synchronized void onStageSubmitted(SparkListenerStageSubmitted stage) {
      waiting.values().forEach(ofJob -> ofJob.remove(stage.stageInfo().stageId()));
    }

    /** Stages whose output was there already are never submitted. */
    @Override
    public synchronized void onJobEnd(SparkListenerJobEnd job) {
      Map<Integer, Integer> skipped = waiting.remove(job.jobId());
      if (skipped != null) {
        tasks -= skipped.values().stream().mapToInt(Integer::intValue).sum();
      }
    }

    @Override
    public synchronized void onTaskStart(SparkListenerTaskStart start) {
      if (stages.contains(start.stageId())) {
        readByRunning.put(start.taskInfo().taskId(), 0L);
      }
    }

    @Override
    public synchronized void onTaskEnd(SparkListenerTaskEnd end) {
      if (!stages.contains(end.stageId())) {
        return;
      }
      readByRunning.remove(end.taskInfo().taskId());
      if (end.reason() == Success$.MODULE$) {
        tasksDone++;
        if (end.taskMetrics() != null) {
          read += end.taskMetrics().inputMetrics().bytesRead();
        }
      }
    }

    /** Executors report on running tasks with each heartbeat, every 10 seconds. */
    @Override
    public synchronized void onExecutorMetricsUpdate(SparkListenerExecutorMetricsUpdate update) {
      CollectionConverters.asJava(update.accumUpdates())
          .forEach(
              task -> {
                for (AccumulableInfo value : CollectionConverters.asJava(task._4())) {
                  if (isBytesRead(value)
                      && value.update().isDefined()
                      && value.update().get() instanceof Long bytes) {
                    readByRunning.computeIfPresent((Long) task._1(), (id, before) -> bytes);
                  }
                }
              });
    }

    /** In local mode reports come without names: the driver's own accumulator has it. */
    private static boolean isBytesRead(AccumulableInfo value) {
      if (value.name().isDefined()) {
        return value.name().contains(BYTES_READ);
      }
      Option<AccumulatorV2<?, ?>> known = AccumulatorContext.get(value.id());
      return known.isDefined() && known.get().name().contains(BYTES_READ);
    }

    /**
     * The part of the run that is done, 0 to 1; empty before the first stage. Two lower bounds, of
     * which the higher one counts: tasks done know nothing of those running, and bytes read fall
     * short of the files' sizes where columns are left out.
     */
    synchronized OptionalDouble fraction() {
      if (tasks == 0) {
        return OptionalDouble.empty();
      }
      double byTasks = Math.min(1, (double) tasksDone / tasks);
      long readSoFar = read + readByRunning.values().stream().mapToLong(Long::longValue).sum();
      double byBytes = inputBytes > 0 ? Math.min(0.99, (double) readSoFar / inputBytes) : 0;
      return OptionalDouble.of(Math.max(byTasks, byBytes));
    }
  }
}
