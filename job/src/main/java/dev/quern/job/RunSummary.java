package dev.quern.job;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.TreeSet;

/**
 * What came out of a run: figures made of the totals and of the samples, as JSON and as lines for
 * the console. MB is 10^6 bytes, of UTF-8 text in speeds; a duration without other word is wall
 * time.
 *
 * @param totals counted by commit messages; the truth about what was produced
 * @param environment Spark, JVM and system of the driver, in the order to show
 */
record RunSummary(
    RunDescription description,
    Map<String, String> environment,
    RunTotals totals,
    long startMillis,
    long endMillis,
    List<ExecutorPart> executors) {

  /** The first number is the major version of summary.json's layout. */
  private static final String LAYOUT = "1.2";

  /** A task that is shorter holds no run up, however long others are. */
  private static final double WORTH_A_LINE_SECONDS = 10;

  /**
   * One executor's part in a run.
   *
   * @param cores task slots
   * @param alive whether it was there at the end
   * @param seconds how long it was there during the run
   * @param before its counters when the run began
   * @param samples those kept, in order of time, not empty
   * @param arrived how many samples came
   */
  record ExecutorPart(
      ExecutorSample.Executor executor,
      int cores,
      boolean alive,
      double seconds,
      ExecutorSample.Work before,
      List<ExecutorSample> samples,
      long arrived) {

    ExecutorSample first() {
      return samples.get(0);
    }

    ExecutorSample latest() {
      return samples.get(samples.size() - 1);
    }

    ExecutorSample.Work work() {
      return latest().work().since(before);
    }

    /**
     * The highest resident memory during the run. The system's own peak is exact but as old as the
     * process: it counts if it rose during the run, else the highest sample does.
     */
    long residentPeak() {
      return latest().memory().residentPeak() > first().memory().residentPeak()
          ? latest().memory().residentPeak()
          : samples.stream().mapToLong(s -> s.memory().resident()).max().orElseThrow();
    }

    long nativeAllocatorPeak() {
      return samples.stream().mapToLong(s -> s.memory().nativeAllocator()).max().orElseThrow();
    }

    long heapCommittedPeak() {
      return samples.stream().mapToLong(s -> s.memory().heapCommitted()).max().orElseThrow();
    }

    /**
     * The most memory it held outside the JVM's heap and Spark's own off-heap memory, both of which
     * have their own place beside the overhead. It is a lower bound: pages of the heap that are
     * committed and were never touched hide some of it, up to the sum of the parts that are known.
     */
    long outsideHeapPeak() {
      return samples.stream().mapToLong(ExecutorPart::outsideHeap).max().orElseThrow();
    }

    private static long outsideHeap(ExecutorSample sample) {
      ExecutorSample.Memory memory = sample.memory();
      long buffers = memory.directBuffers() + memory.nativeBuffers();
      // The system's allocator counts for the whole process, mimalloc for our library alone.
      long allocated =
          "system".equals(sample.work().allocator())
              ? Math.max(memory.nativeAllocator() - memory.sparkOffHeap(), buffers)
              : memory.nativeAllocator() + buffers;
      return Math.max(
          memory.resident() - memory.heapCommitted() - memory.sparkOffHeap(),
          memory.nonHeapCommitted() + allocated);
    }

    double megabytesPerSecond() {
      return perSecond(work().bytes(), seconds) / 1e6;
    }
  }

  double wallSeconds() {
    return Math.max(1, endMillis - startMillis) / 1e3;
  }

  double megabytesPerSecond() {
    return perSecond(totals.bytes(), wallSeconds()) / 1e6;
  }

  double tokensPerSecond() {
    return perSecond(totals.tokens(), wallSeconds());
  }

  /** Task slots times the seconds they were there; 0 if nothing was sampled. */
  double coreSeconds() {
    return executors.stream().mapToDouble(part -> part.cores() * part.seconds()).sum();
  }

  ExecutorSample.Work sampled() {
    return executors.stream()
        .map(ExecutorPart::work)
        .reduce(ExecutorSample.Work.NONE, ExecutorSample.Work::plus);
  }

  long residentStart() {
    return executors.stream().mapToLong(part -> part.first().memory().resident()).sum();
  }

  long residentEnd() {
    return executors.stream()
        .filter(ExecutorPart::alive)
        .mapToLong(part -> part.latest().memory().resident())
        .sum();
  }

  long residentPeakSum() {
    return executors.stream().mapToLong(ExecutorPart::residentPeak).sum();
  }

  long residentPeakLargest() {
    return executors.stream().mapToLong(ExecutorPart::residentPeak).max().orElse(0);
  }

  /** Allocators as the executors established them, those that tokenized. */
  TreeSet<String> allocators() {
    TreeSet<String> names = new TreeSet<>();
    executors.stream()
        .map(part -> part.latest().work().allocator())
        .filter(Objects::nonNull)
        .forEach(names::add);
    return names;
  }

  private static double perSecond(long count, double seconds) {
    return seconds <= 0 ? 0 : count / seconds;
  }

  // ---- JSON

  byte[] toJson() {
    ObjectMapper mapper = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);
    ObjectNode json = mapper.createObjectNode();
    json.put("layout", LAYOUT);
    json.put("units", "MB is 1e6 bytes; speeds are bytes of UTF-8 text or tokens in wall time");
    json.put("started", Instant.ofEpochMilli(startMillis).toString());
    json.put("ended", Instant.ofEpochMilli(endMillis).toString());
    ObjectNode tokenizer = json.putObject("tokenizer");
    tokenizer.put("name", description.tokenizer());
    tokenizer.put("content_hash", description.contentHash());
    tokenizer.put("engine", description.engine());
    tokenizer.put("engine_reason", description.engineReason());
    tokenizer.put("simd", description.simd());
    environment.forEach(json.putObject("environment")::put);
    description.options().forEach(json.putObject("options")::put);
    totals(json.putObject("totals"));
    tasks(json.putObject("tasks"));
    sampled(json.putObject("sampled"));
    ArrayNode parts = json.putArray("executors");
    executors.forEach(part -> executor(parts.addObject(), part));
    try {
      return mapper.writeValueAsBytes(json);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree of plain values can't fail to become JSON", e);
    }
  }

  private void totals(ObjectNode json) {
    json.put("counted_by", "commit messages of successful task attempts: each document once");
    json.put("documents", totals.documents());
    json.put("documents_written", totals.documents() - totals.quarantined());
    json.put("documents_quarantined", totals.quarantined());
    json.put("bytes", totals.bytes());
    json.put("tokens", totals.tokens());
    json.put("wall_seconds", wallSeconds());
    json.put("mb_per_second", megabytesPerSecond());
    json.put("tokens_per_second", tokensPerSecond());
    json.put("documents_verified", totals.verified());
    json.put("verify_seconds", totals.verifySeconds());
    if (coreSeconds() > 0) {
      json.put("core_seconds", coreSeconds());
      json.put("mb_per_second_per_core", perSecond(totals.bytes(), coreSeconds()) / 1e6);
      json.put("tokens_per_second_per_core", perSecond(totals.tokens(), coreSeconds()));
    }
  }

  private void tasks(ObjectNode json) {
    TaskTimes tasks = totals.tasks();
    json.put("count", tasks.tasks());
    if (tasks.longest() == null) {
      return;
    }
    json.put("seconds_mean", tasks.meanSeconds());
    json.put("bytes_mean", tasks.meanBytes());
    ObjectNode longest = json.putObject("longest");
    longest.put("partition", tasks.longest().partition());
    longest.put("host", tasks.longest().host());
    longest.put("seconds", tasks.longest().seconds());
    longest.put("tokenizer_seconds", tasks.longest().tokenizerSeconds());
    longest.put("documents", tasks.longest().documents());
    longest.put("bytes", tasks.longest().bytes());
    longest.put("largest_document_bytes", tasks.longest().largestDocument());
    longest.put("reason", tasks.uneven() ? tasks.reason() : null);
  }

  private void sampled(ObjectNode json) {
    json.put(
        "counted_by",
        "live counters of the executors: retries and other work of their JVMs included");
    json.put("executors", executors.size());
    if (executors.isEmpty()) {
      return;
    }
    json.put("cores", executors.stream().mapToInt(ExecutorPart::cores).sum());
    ArrayNode names = json.putArray("allocators");
    allocators().forEach(names::add);
    work(json, sampled());
    json.put("rss_start_bytes", residentStart());
    json.put("rss_end_bytes", residentEnd());
    json.put("rss_peak_sum_bytes", residentPeakSum());
    json.put("rss_peak_largest_bytes", residentPeakLargest());
    putRatio(json, residentPeakSum(), megabytesPerSecond());
  }

  private static void executor(ObjectNode json, ExecutorPart part) {
    ExecutorSample.Work work = part.work();
    json.put("id", part.executor().id());
    json.put("host", part.executor().host());
    json.put("process_id", part.executor().processId());
    json.put("cores", part.cores());
    json.put("alive_at_end", part.alive());
    json.put("seconds", part.seconds());
    json.put("samples", part.arrived());
    json.put("allocator", work.allocator());
    json.put("tokenizers_loaded", work.tokenizersLoaded());
    work(json, work);
    json.put("mb_per_second", part.megabytesPerSecond());
    json.put("tokens_per_second", perSecond(work.tokens(), part.seconds()));
    if (part.cores() > 0) {
      json.put("mb_per_second_per_core", part.megabytesPerSecond() / part.cores());
      json.put(
          "tokens_per_second_per_core", perSecond(work.tokens(), part.seconds()) / part.cores());
    }
    json.put("rss_start_bytes", part.first().memory().resident());
    json.put("rss_end_bytes", part.latest().memory().resident());
    json.put("rss_peak_bytes", part.residentPeak());
    putRatio(json, part.residentPeak(), part.megabytesPerSecond());
    json.put("heap_committed_peak_bytes", part.heapCommittedPeak());
    json.put("outside_heap_peak_bytes", part.outsideHeapPeak());
    json.put("native_allocator_peak_bytes", part.nativeAllocatorPeak());
    json.put("cgroup_limit_bytes", part.latest().memory().cgroupLimit());
  }

  private static void work(ObjectNode json, ExecutorSample.Work work) {
    json.put("documents", work.documents());
    json.put("bytes", work.bytes());
    json.put("tokens", work.tokens());
    json.put("native_seconds", work.nativeNanos() / 1e9);
    if (work.nativeNanos() > 0) {
      json.put("native_mb_per_second_per_thread", work.bytes() * 1e3 / work.nativeNanos());
    }
    json.put("gc_seconds", work.gcMillis() / 1e3);
  }

  /** Resident memory paid for speed: MB at peak for each MB/s. */
  private static void putRatio(ObjectNode json, long peakBytes, double megabytesPerSecond) {
    if (megabytesPerSecond > 0) {
      json.put("rss_peak_mb_per_mb_per_second", peakBytes / 1e6 / megabytesPerSecond);
    }
  }

  // ---- console

  List<String> lines() {
    List<String> lines = new ArrayList<>();
    lines.add(
        format(
            "documents  %,d read, %,d written, %,d quarantined",
            totals.documents(), totals.documents() - totals.quarantined(), totals.quarantined()));
    lines.add(
        format(
            "text       %s in %s: %s MB/s%s",
            size(totals.bytes()),
            duration(wallSeconds()),
            decimals(megabytesPerSecond()),
            coreSeconds() > 0
                ? ", " + decimals(perSecond(totals.bytes(), coreSeconds()) / 1e6) + " MB/s a core"
                : ""));
    lines.add(
        format(
            "tokens     %,d: %,.0f tokens/s%s",
            totals.tokens(),
            tokensPerSecond(),
            coreSeconds() > 0
                ? format(", %,.0f tokens/s a core", perSecond(totals.tokens(), coreSeconds()))
                : ""));
    if (totals.verified() > 0) {
      lines.add(
          format(
              "verified   %,d documents equal by the reference engine, in %s of task time",
              totals.verified(), duration(totals.verifySeconds())));
    }
    if (totals.tasks().uneven() && totals.tasks().longest().seconds() > WORTH_A_LINE_SECONDS) {
      lines.add(
          format(
              "tasks      %,d of %s on average, the longest %s: %s",
              totals.tasks().tasks(),
              duration(totals.tasks().meanSeconds()),
              duration(totals.tasks().longest().seconds()),
              totals.tasks().reason()));
    }
    if (executors.isEmpty()) {
      lines.add(
          "memory     not sampled: start the application with spark.plugins="
              + QuernPlugin.class.getName());
      return lines;
    }
    lines.add(
        format(
            "memory     RSS %s at start, %s at peak, %s at end; %s%s",
            size(residentStart()),
            size(residentPeakSum()),
            size(residentEnd()),
            executors.size() == 1
                ? "1 executor"
                : executors.size() + " executors, the largest " + size(residentPeakLargest()),
            megabytesPerSecond() > 0
                ? format(
                    "; %,.0f MB at peak for each MB/s",
                    residentPeakSum() / 1e6 / megabytesPerSecond())
                : ""));
    if (!allocators().isEmpty()) {
      lines.add(
          format(
              "tokenizer  %s, engine %s, allocator %s",
              description.tokenizer(),
              description.engineWithSimd(),
              String.join(" and ", allocators())));
    }
    return lines;
  }

  /** A size to read: 1.2 MB, 345 MB, 12.3 GB. */
  static String size(long bytes) {
    if (bytes >= 10_000_000_000L) {
      return decimals(bytes / 1e9) + " GB";
    }
    return bytes >= 10_000_000 ? format("%,.0f MB", bytes / 1e6) : format("%.1f MB", bytes / 1e6);
  }

  /** Three digits that count. */
  static String decimals(double value) {
    return value >= 100
        ? format("%,.0f", value)
        : value >= 10 ? format("%.1f", value) : format("%.2f", value);
  }

  static String duration(double seconds) {
    if (seconds < 60) {
      return format(seconds < 10 ? "%.1f s" : "%.0f s", seconds);
    }
    long whole = Math.round(seconds);
    return whole < 3600
        ? format("%d min %02d s", whole / 60, whole % 60)
        : format("%d h %02d min", whole / 3600, whole % 3600 / 60);
  }

  static String format(String pattern, Object... values) {
    return String.format(Locale.ROOT, pattern, values);
  }
}
