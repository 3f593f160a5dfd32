package dev.quern.job;

import com.codahale.metrics.Gauge;
import com.codahale.metrics.MetricRegistry;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Collections;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.WeakHashMap;
import java.util.function.Consumer;
import java.util.function.ToDoubleFunction;
import java.util.function.ToLongFunction;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerEvent;
import org.apache.spark.scheduler.SparkListenerExecutorAdded;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;

/**
 * The driver's side of sampling: takes what the executors send, shows it as gauges, passes it on to
 * the runs that are recording, and posts some of it as {@link SamplesEvent}s to Spark's UI and
 * event log. Between runs it keeps only the last seconds of each executor.
 *
 * <p>Gauges, in the source of the plugin, {@code
 * <application>.driver.plugin.dev.quern.job.QuernPlugin}: the names below for all executors
 * together, {@code executor.<id>.<name>} for each that is alive.
 */
final class SampleHub extends SparkListener {

  /** Speeds in gauges are over this time: long enough to be calm, short enough to be live. */
  private static final long WINDOW_MILLIS = 10_000;

  /** Clocks of executor and driver that differ by less are taken as they are. */
  private static final long CLOCK_TOLERANCE_MILLIS = 5_000;

  /**
   * Events are an interval of the samples apart at first, and ever further as the application gets
   * older, up to this: an event log is for ever, and no chart shows more than some hundred points.
   */
  private static final long MOST_MILLIS_BETWEEN_EVENTS = 10_000;

  /** Of the age of the application, the time between events. */
  private static final long EVENTS_OF_AGE = 256;

  /** For each executor, so that there are at most 20 samples a second in the log. */
  private static final long MILLIS_BETWEEN_EVENTS_PER_EXECUTOR = 50;

  private static final Map<SparkContext, SampleHub> HUBS =
      Collections.synchronizedMap(new WeakHashMap<>());

  /** What is known of one executor that is alive. */
  private static final class Live {
    private final ExecutorSample.Executor executor;
    private final long clockOffsetMillis;
    private final Deque<ExecutorSample> window = new ArrayDeque<>();
    private long receivedMillis;

    Live(ExecutorSample first, long now) {
      executor = first.executor();
      long offset = now - first.timeMillis();
      clockOffsetMillis = Math.abs(offset) < CLOCK_TOLERANCE_MILLIS ? 0 : offset;
    }

    ExecutorSample latest() {
      return window.getLast();
    }

    double perSecond(ToLongFunction<ExecutorSample.Work> counter, long now) {
      long millis = latest().timeMillis() - window.getFirst().timeMillis();
      if (millis <= 0 || now - receivedMillis > WINDOW_MILLIS) {
        return 0;
      }
      long done =
          counter.applyAsLong(latest().work()) - counter.applyAsLong(window.getFirst().work());
      return done * 1e3 / millis;
    }
  }

  private final long intervalMillis;
  private final MetricRegistry gauges;
  private final Map<String, Live> live = new TreeMap<>();
  private final Map<String, Integer> cores = new HashMap<>();
  private final Set<String> removed = new HashSet<>();
  private final List<RunSamples> runs = new ArrayList<>();
  private ExecutorSample.Work ofRemoved = ExecutorSample.Work.NONE;

  /** The latest sample of each executor that has sent one since the last event. */
  private final Map<ExecutorSample.Executor, ExecutorSample> unposted = new LinkedHashMap<>();

  private Consumer<SparkListenerEvent> events;
  private long firstMillis;
  private long nextEventMillis;

  SampleHub(long intervalMillis, MetricRegistry gauges) {
    this.intervalMillis = intervalMillis;
    this.gauges = gauges;
    gauge("executors", () -> (long) live.size());
    total("residentBytes", sample -> sample.memory().resident());
    total("residentPeakBytes", sample -> sample.memory().residentPeak());
    total("nativeAllocatorBytes", sample -> sample.memory().nativeAllocator());
    work("documents", ExecutorSample.Work::documents);
    work("bytes", ExecutorSample.Work::bytes);
    work("tokens", ExecutorSample.Work::tokens);
    work("nativeNanoseconds", ExecutorSample.Work::nativeNanos);
    gauge("megabytesPerSecond", () -> rate(ExecutorSample.Work::bytes) / 1e6);
    gauge("tokensPerSecond", () -> rate(ExecutorSample.Work::tokens));
  }

  /** The hub of an application; empty if it was started without the plugin. */
  static Optional<SampleHub> of(SparkContext context) {
    return Optional.ofNullable(HUBS.get(context));
  }

  void open(SparkContext context) {
    HUBS.put(context, this);
    context.addSparkListener(this);
  }

  /** The context goes away; runs that still record keep what they have. */
  static void close(SparkContext context) {
    HUBS.remove(context);
  }

  /** From now on samples are posted there too. */
  synchronized void postTo(Consumer<SparkListenerEvent> receiver) {
    events = receiver;
  }

  /** Posts an event, after the samples that came before it. */
  synchronized void post(SparkListenerEvent event) {
    if (events != null) {
      postSamples();
      events.accept(event);
    }
  }

  /** Posts the samples that have come since the last event, without waiting for the next one. */
  synchronized void postSamples() {
    if (events != null && !unposted.isEmpty()) {
      events.accept(new SamplesEvent(List.copyOf(unposted.values())));
      unposted.clear();
    }
  }

  private void toEvents(ExecutorSample sample, long now) {
    if (events == null) {
      return;
    }
    unposted.put(sample.executor(), sample);
    firstMillis = firstMillis == 0 ? now : firstMillis;
    // A sample that is a little early is not to wait for the next one.
    if (now >= nextEventMillis - intervalMillis / 2) {
      postSamples();
      nextEventMillis = now + millisBetweenEvents(now - firstMillis, live.size());
    }
  }

  private long millisBetweenEvents(long age, int executors) {
    return Math.max(
        Math.max(intervalMillis, executors * MILLIS_BETWEEN_EVENTS_PER_EXECUTOR),
        Math.min(age / EVENTS_OF_AGE, MOST_MILLIS_BETWEEN_EVENTS));
  }

  long intervalMillis() {
    return intervalMillis;
  }

  /** Takes a sample that arrived just now. */
  synchronized void receive(ExecutorSample sent, long now) {
    String id = sent.executor().id();
    Live at = live.get(id);
    if (at == null || !at.executor.equals(sent.executor())) {
      at = new Live(sent, now);
    }
    ExecutorSample sample = sent.received(at.executor, at.clockOffsetMillis);
    if (!removed.contains(id)) { // a late one of a lost executor counts for the runs only
      if (live.put(id, at) == null) {
        registerExecutor(id);
      }
      at.window.addLast(sample);
      while (at.window.size() > 2
          && sample.timeMillis() - at.window.getFirst().timeMillis() > WINDOW_MILLIS) {
        at.window.removeFirst();
      }
      at.receivedMillis = now;
    }
    runs.forEach(run -> run.add(sample));
    toEvents(sample, now);
  }

  /** From now on the run gets every sample, beginning with the latest of each executor. */
  synchronized void attach(RunSamples run) {
    live.values().forEach(at -> run.addKnown(at.latest()));
    runs.add(run);
  }

  synchronized void detach(RunSamples run) {
    runs.remove(run);
  }

  /**
   * Takes samples that came with the results of tasks, by each of which more is known than by what
   * the executor has sent itself.
   */
  synchronized void receiveOfTasks(Collection<ExecutorSample> sent, long now) {
    for (ExecutorSample sample : sent) {
      Live at = live.get(sample.executor().id());
      // The clock of one that is not known, or not any more, can't be told from its delay.
      if (at != null
          && at.executor.equals(sample.executor())
          && sample.timeMillis() + at.clockOffsetMillis > at.latest().timeMillis()) {
        receive(sample, now);
      }
    }
  }

  /** Task slots of an executor, dead or alive; 0 if unknown. */
  synchronized int cores(String executorId) {
    return cores.getOrDefault(executorId, 0);
  }

  synchronized boolean alive(String executorId) {
    return live.containsKey(executorId);
  }

  @Override
  public synchronized void onExecutorAdded(SparkListenerExecutorAdded added) {
    cores.put(added.executorId(), added.executorInfo().totalCores());
  }

  @Override
  public synchronized void onExecutorRemoved(SparkListenerExecutorRemoved event) {
    String id = event.executorId();
    removed.add(id);
    Live gone = live.remove(id);
    if (gone != null) {
      ofRemoved = ofRemoved.plus(gone.latest().work());
      gauges.removeMatching((name, metric) -> name.startsWith("executor." + id + "."));
    }
  }

  // ---- gauges

  private void registerExecutor(String id) {
    one(id, "residentBytes", sample -> sample.memory().resident());
    one(id, "residentPeakBytes", sample -> sample.memory().residentPeak());
    one(id, "nativeAllocatorBytes", sample -> sample.memory().nativeAllocator());
    one(id, "documents", sample -> sample.work().documents());
    one(id, "bytes", sample -> sample.work().bytes());
    one(id, "tokens", sample -> sample.work().tokens());
    one(id, "nativeNanoseconds", sample -> sample.work().nativeNanos());
    speed(id, "megabytesPerSecond", at -> perSecond(at, ExecutorSample.Work::bytes) / 1e6);
    speed(id, "tokensPerSecond", at -> perSecond(at, ExecutorSample.Work::tokens));
  }

  private void one(String id, String name, ToLongFunction<ExecutorSample> value) {
    gauge(
        "executor." + id + "." + name,
        () -> {
          Live at = live.get(id);
          return at == null ? 0L : value.applyAsLong(at.latest());
        });
  }

  private void speed(String id, String name, ToDoubleFunction<Live> value) {
    gauge(
        "executor." + id + "." + name,
        () -> {
          Live at = live.get(id);
          return at == null ? 0.0 : value.applyAsDouble(at);
        });
  }

  private void total(String name, ToLongFunction<ExecutorSample> value) {
    gauge(name, () -> live.values().stream().mapToLong(at -> value.applyAsLong(at.latest())).sum());
  }

  /** Work of lost executors stays in the total: a counter that falls would look like a restart. */
  private void work(String name, ToLongFunction<ExecutorSample.Work> value) {
    gauge(
        name,
        () ->
            value.applyAsLong(ofRemoved)
                + live.values().stream()
                    .mapToLong(at -> value.applyAsLong(at.latest().work()))
                    .sum());
  }

  private double rate(ToLongFunction<ExecutorSample.Work> counter) {
    return live.values().stream().mapToDouble(at -> perSecond(at, counter)).sum();
  }

  private static double perSecond(Live at, ToLongFunction<ExecutorSample.Work> counter) {
    return at.perSecond(counter, System.currentTimeMillis());
  }

  private <T> void gauge(String name, Gauge<T> value) {
    Gauge<T> guarded =
        () -> {
          synchronized (this) {
            return value.getValue();
          }
        };
    gauges.register(name, guarded);
  }
}
