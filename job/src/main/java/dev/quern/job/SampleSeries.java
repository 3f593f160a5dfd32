package dev.quern.job;

import java.util.ArrayList;
import java.util.List;

/**
 * The samples of one executor in one run, in bounded memory. When there are too many, of each two
 * neighbours the one with the higher resident memory stays, and from then on as many samples more
 * are thinned to one while they arrive: the resolution halves evenly, and the highest resident
 * memory seen, the first sample and the latest are never lost. Not for several threads at once.
 */
final class SampleSeries {

  private final List<ExecutorSample> kept = new ArrayList<>();
  private int capacity;
  private ExecutorSample latest;

  /** Each of {@link #kept} but the first stands for this many samples that arrived. */
  private int stride = 1;

  private ExecutorSample highestOfStride;
  private int inStride;
  private long arrived;

  /**
   * @param first the first sample of the run
   * @param capacity the most samples to keep, at least 4
   */
  SampleSeries(ExecutorSample first, int capacity) {
    if (capacity < 4) {
      throw new IllegalArgumentException("capacity " + capacity + " is below 4");
    }
    this.capacity = capacity;
    this.latest = first;
    this.arrived = 1;
    kept.add(first);
  }

  void add(ExecutorSample sample) {
    latest = sample;
    arrived++;
    highestOfStride = higher(highestOfStride, sample);
    if (++inStride == stride) {
      kept.add(highestOfStride);
      highestOfStride = null;
      inStride = 0;
      thin();
    }
  }

  /** Changes how many samples are kept from now on. */
  void limit(int newCapacity) {
    capacity = Math.max(4, newCapacity);
    thin();
  }

  private void thin() {
    // Two places are for the stride that isn't full yet and for the latest sample.
    while (kept.size() > capacity - 2) {
      List<ExecutorSample> all = List.copyOf(kept);
      kept.clear();
      kept.add(all.get(0));
      int i = 1;
      for (; i + 1 < all.size(); i += 2) {
        kept.add(higher(all.get(i), all.get(i + 1)));
      }
      if (i < all.size()) {
        // Half of a doubled stride: what is to come completes it.
        highestOfStride = higher(all.get(i), highestOfStride);
        inStride += stride;
      }
      stride *= 2;
    }
  }

  private static ExecutorSample higher(ExecutorSample a, ExecutorSample b) {
    if (a == null || b == null) {
      return a == null ? b : a;
    }
    return b.memory().resident() > a.memory().resident() ? b : a;
  }

  ExecutorSample first() {
    return kept.get(0);
  }

  ExecutorSample latest() {
    return latest;
  }

  /** How many samples arrived, kept or not. */
  long arrived() {
    return arrived;
  }

  /** The samples kept, in order of time, with the first and the latest. */
  List<ExecutorSample> samples() {
    List<ExecutorSample> all = new ArrayList<>(kept);
    if (highestOfStride != null) {
      all.add(highestOfStride);
    }
    if (all.get(all.size() - 1) != latest) {
      all.add(latest);
    }
    return all;
  }
}
