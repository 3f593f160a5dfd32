package dev.quern.job;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerEvent;
import org.apache.spark.scheduler.SparkListenerExecutorAdded;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;
import org.apache.spark.status.ElementTrackingStore;
import org.apache.spark.util.kvstore.KVIndex;
import org.apache.spark.util.kvstore.KVStore;
import scala.runtime.BoxedUnit;

/**
 * Turns the events of an application into what its tab shows ({@link ExecutorView}, {@link
 * RunEvent}) and keeps that in Spark's UI store, in bounded memory: on the driver as they happen,
 * in the history server as it reads them from the event log.
 */
final class UiListener extends SparkListener {

  /** Samples kept of one executor, and of all together: a chart has no more points. */
  private static final int PER_EXECUTOR = 256;

  /** Samples kept of all executors, about 10 MB. */
  private static final int IN_ALL = 30_000;

  private static final int RUNS = 200;

  /** Speeds of the moment are over this time, or over two samples if these are further apart. */
  private static final long WINDOW_MILLIS = 10_000;

  /**
   * What the tab shows of one executor, or of all together.
   *
   * @param cores task slots; 0 if unknown
   * @param ended whether it has shut down or was lost
   * @param bytesPerSecond text tokenized, over the last seconds
   * @param tokensPerSecond over the last seconds
   * @param busyMillis the time in which it tokenized, as finely as the samples tell
   * @param samples in order of time, not empty
   */
  record ExecutorView(
      int cores,
      boolean ended,
      double bytesPerSecond,
      double tokensPerSecond,
      long busyMillis,
      List<ExecutorSample> samples) {

    @KVIndex
    String key() {
      return key(latest().executor());
    }

    static String key(ExecutorSample.Executor executor) {
      return executor.id() + "/" + executor.processId();
    }

    /** Whether this is the sum of all executors. */
    boolean isAll() {
      return latest().executor().equals(ALL);
    }

    ExecutorSample latest() {
      return samples.get(samples.size() - 1);
    }
  }

  /** Stands for all executors together. */
  private static final ExecutorSample.Executor ALL = new ExecutorSample.Executor("all", "", 0);

  private static final class Recording {
    private final SampleSeries series;
    private final Deque<ExecutorSample> window = new ArrayDeque<>();
    private long busyMillis;
    private boolean ended;

    Recording(ExecutorSample first) {
      series = new SampleSeries(first, PER_EXECUTOR);
      window.add(first);
    }

    ExecutorSample latest() {
      return series.latest();
    }

    void add(ExecutorSample sample) {
      if (sample.work().bytes() > latest().work().bytes()) {
        busyMillis += Math.max(0, sample.timeMillis() - latest().timeMillis());
      }
      series.add(sample);
      window.addLast(sample);
      while (window.size() > 2
          && sample.timeMillis() - window.getFirst().timeMillis() > WINDOW_MILLIS) {
        window.removeFirst();
      }
      ended |= sample.last();
    }

    ExecutorView view(int cores) {
      long millis = latest().timeMillis() - window.getFirst().timeMillis();
      ExecutorSample.Work done = latest().work().since(window.getFirst().work());
      double seconds = millis / 1e3;
      return new ExecutorView(
          cores,
          ended,
          millis <= 0 || ended ? 0 : done.bytes() / seconds,
          millis <= 0 || ended ? 0 : done.tokens() / seconds,
          busyMillis,
          series.samples());
    }
  }

  private final KVStore store;
  private final boolean live;
  private final int retainedEnded;
  private final Map<ExecutorSample.Executor, Recording> executors = new LinkedHashMap<>();
  private final Map<String, Integer> cores = new HashMap<>();
  private final Set<ExecutorSample.Executor> changed = new HashSet<>();
  private final Deque<String> runs = new ArrayDeque<>();
  private Recording all;
  private ExecutorSample.Work ofDropped = ExecutorSample.Work.NONE;

  private UiListener(KVStore store, SparkConf conf, boolean live) {
    this.store = store;
    this.live = live;
    this.retainedEnded = conf.getInt("spark.ui.retainedDeadExecutors", 100);
  }

  /** For an application that runs: what it shows is in the store at once. */
  static UiListener live(SparkContext context) {
    return new UiListener(context.statusStore().store(), context.getConf(), true);
  }

  /** For one that is read from its event log: written once, as the store may be on disk. */
  static UiListener replayed(ElementTrackingStore store, SparkConf conf) {
    UiListener listener = new UiListener(store, conf, false);
    store.onFlush(
        () -> {
          listener.flush();
          return BoxedUnit.UNIT;
        });
    return listener;
  }

  @Override
  public synchronized void onExecutorAdded(SparkListenerExecutorAdded added) {
    cores.put(added.executorId(), added.executorInfo().totalCores());
  }

  @Override
  public synchronized void onExecutorRemoved(SparkListenerExecutorRemoved removed) {
    executors.forEach(
        (executor, recording) -> {
          if (executor.id().equals(removed.executorId())) {
            recording.ended = true;
            changed.add(executor);
          }
        });
    dropEnded();
    flushIfLive();
  }

  @Override
  public synchronized void onOtherEvent(SparkListenerEvent event) {
    if (event instanceof SamplesEvent samples) {
      samples.executors().forEach(this::add);
      sum(samples);
      flushIfLive();
    } else if (event instanceof RunEvent run) {
      add(run);
    }
  }

  private void add(ExecutorSample sample) {
    Recording recording = executors.get(sample.executor());
    if (recording == null) {
      executors.put(sample.executor(), new Recording(sample));
      int most = Math.max(16, Math.min(PER_EXECUTOR, IN_ALL / executors.size()));
      executors.values().forEach(each -> each.series.limit(most));
    } else {
      recording.add(sample);
    }
    changed.add(sample.executor());
  }

  private void sum(SamplesEvent event) {
    ExecutorSample.Work work = ofDropped;
    long time = 0;
    long resident = 0;
    for (Recording each : executors.values()) {
      work = work.plus(each.latest().work());
      time = Math.max(time, each.latest().timeMillis());
      // One that says good-bye still has its memory.
      boolean there = !each.ended || event.executors().contains(each.latest());
      resident += there ? each.latest().memory().resident() : 0;
    }
    ExecutorSample.Memory memory =
        new ExecutorSample.Memory(resident, resident, 0, 0, 0, 0, 0, 0, 0, 0, null, null);
    ExecutorSample sum = new ExecutorSample(ALL, time, false, memory, work);
    if (all == null) {
      all = new Recording(sum);
    } else {
      all.add(sum);
    }
  }

  /** Of executors that are gone, as many stay as on Spark's own page. */
  private void dropEnded() {
    List<ExecutorSample.Executor> ended =
        executors.keySet().stream().filter(executor -> executors.get(executor).ended).toList();
    for (ExecutorSample.Executor executor :
        ended.subList(0, Math.max(0, ended.size() - retainedEnded))) {
      ofDropped = ofDropped.plus(executors.remove(executor).latest().work());
      changed.remove(executor);
      if (live) { // else nothing is written yet
        delete(ExecutorView.class, ExecutorView.key(executor));
      }
    }
  }

  private void add(RunEvent run) {
    if (!runs.contains(run.id())) {
      runs.add(run.id());
      if (runs.size() > RUNS) {
        delete(RunEvent.class, runs.remove());
      }
    }
    write(run);
  }

  private void flushIfLive() {
    if (live) {
      flush();
    }
  }

  private synchronized void flush() {
    for (ExecutorSample.Executor executor : changed) {
      write(executors.get(executor).view(cores.getOrDefault(executor.id(), 0)));
    }
    changed.clear();
    if (all != null) {
      write(all.view(cores.values().stream().mapToInt(Integer::intValue).sum()));
    }
  }

  private void write(Object element) {
    try {
      store.write(element);
    } catch (Exception e) {
      throw new IllegalStateException("Spark's UI store does not take an element", e);
    }
  }

  private void delete(Class<?> type, String key) {
    try {
      store.delete(type, key);
    } catch (Exception e) {
      throw new IllegalStateException("Spark's UI store does not delete an element", e);
    }
  }

  /** All elements of a type in a store, in the order of their keys. */
  static <T> List<T> stored(KVStore store, Class<T> type) {
    try (var elements = store.view(type).closeableIterator()) {
      List<T> all = new ArrayList<>();
      elements.forEachRemaining(all::add);
      return all;
    } catch (Exception e) {
      throw new IllegalStateException("Spark's UI store can't be read", e);
    }
  }
}
