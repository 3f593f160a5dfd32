package dev.quern.job;

import java.util.List;
import java.util.Map;

/** Samples and runs with made-up figures, for tests. */
final class Samples {

  static final long START = 1_700_000_000_000L;

  private Samples() {}

  static ExecutorSample sample(String id, double second, long resident, long peak, long bytes) {
    return sample(id, second, resident, peak, bytes, false, null);
  }

  static ExecutorSample sample(
      String id,
      double second,
      long resident,
      long peak,
      long bytes,
      boolean last,
      Long cgroupLimit) {
    return new ExecutorSample(
        new ExecutorSample.Executor(id, "host-" + id, 4000),
        START + Math.round(second * 1000),
        last,
        new ExecutorSample.Memory(
            resident,
            peak,
            resident / 4,
            resident / 2,
            60_000_000,
            10_000_000,
            0,
            0,
            20_000_000,
            1_000_000,
            cgroupLimit,
            cgroupLimit == null ? null : Long.valueOf(resident)),
        new ExecutorSample.Work(
            bytes / 2000, bytes, bytes / 4, bytes * 50, bytes > 0 ? 1 : 0, 5, "mimalloc", "fast"));
  }

  static RunSummary.ExecutorPart part(int cores, double seconds, ExecutorSample... samples) {
    return new RunSummary.ExecutorPart(
        samples[0].executor(),
        cores,
        !samples[samples.length - 1].last(),
        seconds,
        samples[0].work(),
        List.of(samples),
        samples.length);
  }

  static RunSummary run(double seconds, RunTotals totals, List<RunSummary.ExecutorPart> parts) {
    return new RunSummary(
        new RunDescription(
            "o200k_base", "0".repeat(64), "fast", "it is", "avx2", Map.of("format", "parquet")),
        Map.of("quern", "0.1.0"),
        totals,
        START,
        START + Math.round(seconds * 1000),
        parts);
  }
}
