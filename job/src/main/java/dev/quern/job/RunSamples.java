package dev.quern.job;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** The samples of one run, executor by executor, in bounded memory. */
final class RunSamples {

  /** Samples of one executor: at one a second, half an hour before the first thinning. */
  static final int PER_EXECUTOR = 2048;

  /** Samples of all executors together, about 60 MB at most. */
  static final int IN_ALL = 200_000;

  /**
   * One executor's part in the run.
   *
   * @param known whether it was there when the run began
   * @param before its counters when the run began
   * @param samples in order of time
   * @param arrived how many samples came, kept or thinned out
   */
  record Part(
      ExecutorSample.Executor executor,
      boolean known,
      ExecutorSample.Work before,
      List<ExecutorSample> samples,
      long arrived) {

    ExecutorSample first() {
      return samples.get(0);
    }

    ExecutorSample latest() {
      return samples.get(samples.size() - 1);
    }
  }

  /** Work and memory so far, summed over executors. */
  record Live(ExecutorSample.Work work, long resident, int executors) {}

  private static final class Recording {
    private final boolean known;
    private final ExecutorSample.Work before;
    private final SampleSeries series;

    Recording(ExecutorSample first, boolean known, int capacity) {
      this.known = known;
      // One that came later has done all its work in this run.
      this.before = known ? first.work() : ExecutorSample.Work.NONE;
      this.series = new SampleSeries(first, capacity);
    }
  }

  /** By process: the id alone is not enough should it ever be used again. Id 2 before 10. */
  private final Map<ExecutorSample.Executor, Recording> recordings =
      new TreeMap<>(
          Comparator.comparingInt((ExecutorSample.Executor executor) -> executor.id().length())
              .thenComparing(ExecutorSample.Executor::id)
              .thenComparing(ExecutorSample.Executor::processId));

  /** An executor that was there before the run, with its latest sample. */
  synchronized void addKnown(ExecutorSample sample) {
    add(sample, true);
  }

  synchronized void add(ExecutorSample sample) {
    add(sample, false);
  }

  private void add(ExecutorSample sample, boolean known) {
    Recording recording = recordings.get(sample.executor());
    if (recording != null) {
      recording.series.add(sample);
      return;
    }
    int capacity = Math.max(16, Math.min(PER_EXECUTOR, IN_ALL / (recordings.size() + 1)));
    recordings.put(sample.executor(), new Recording(sample, known, capacity));
    if (capacity < PER_EXECUTOR) {
      recordings.values().forEach(each -> each.series.limit(capacity));
    }
  }

  synchronized List<Part> parts() {
    List<Part> parts = new ArrayList<>();
    for (Recording each : recordings.values()) {
      parts.add(
          new Part(
              each.series.first().executor(),
              each.known,
              each.before,
              each.series.samples(),
              each.series.arrived()));
    }
    return parts;
  }

  /** Executors that shut down have given their memory back; their work stays. */
  synchronized Live live() {
    ExecutorSample.Work work = ExecutorSample.Work.NONE;
    long resident = 0;
    int executors = 0;
    for (Recording each : recordings.values()) {
      ExecutorSample latest = each.series.latest();
      work = work.plus(latest.work().since(each.before));
      if (!latest.last()) {
        resident += latest.memory().resident();
        executors++;
      }
    }
    return new Live(work, resident, executors);
  }
}
