package dev.quern.job;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.ToDoubleFunction;

/**
 * What runs with both allocators show: throughput against resident memory, and what follows from
 * it. All runs have done the same work.
 */
record TrialReport(List<Run> runs) {
  static final String SYSTEM = "system";
  static final String MIMALLOC = "mimalloc";

  /** A run sees a part of the corpus and samples a few times a second: room for the rest. */
  private static final double MARGIN = 1.25;

  /**
   * What Spark gives an executor that names no overhead, a tenth of its heap and at least this: not
   * less is recommended, since pages of the heap that a run never touched can hide what is outside.
   */
  private static final long LEAST_OVERHEAD = 384L << 20;

  private static final int HEAP_TO_OVERHEAD = 10;

  /** The step of what is recommended. */
  private static final long STEP = 64L << 20;

  /**
   * Of n runs each of two equal allocators, all of one are faster than all of the other in 2 of (2n
   * over n) cases: 1 of 35 for 4 rounds.
   */
  private static final int ENOUGH_ROUNDS = 4;

  /**
   * One run, from its summary.json.
   *
   * @param tokenizer its name
   * @param engine the engine that did the work, with its vector instructions
   * @param perCore MB/s of wall time for each core of the executors
   * @param perThread MB/s inside the tokenizer
   * @param resident the highest RSS of an executor, bytes
   * @param outsideHeap the most that an executor held outside the JVM's heap, bytes
   * @param heap the largest heap an executor may have, bytes
   * @param local whether driver and executor were one process
   */
  record Run(
      int round,
      String allocator,
      String tokenizer,
      String engine,
      double perCore,
      double perThread,
      long resident,
      long outsideHeap,
      long heap,
      boolean local,
      int executors,
      int cores,
      long documents,
      long tokens,
      double seconds) {

    /**
     * @throws IOException if the run has measured nothing
     */
    static Run of(JsonNode summary, int round) throws IOException {
      JsonNode sampled = summary.get("sampled");
      JsonNode totals = summary.get("totals");
      if (sampled.path("allocators").size() != 1
          || !totals.has("mb_per_second_per_core")
          || totals.get("bytes").asLong() == 0) {
        throw new IOException(
            "the run has no measurement: no executor has tokenized anything, or none was sampled;"
                + " give an --input with more text");
      }
      long outsideHeap = 0;
      for (JsonNode executor : summary.get("executors")) {
        outsideHeap = Math.max(outsideHeap, executor.get("outside_heap_peak_bytes").asLong());
      }
      JsonNode environment = summary.get("environment");
      JsonNode tokenizer = summary.get("tokenizer");
      return new Run(
          round,
          sampled.get("allocators").get(0).asText(),
          tokenizer.get("name").asText(),
          RunDescription.engineWithSimd(
              tokenizer.get("engine").asText(), tokenizer.get("simd").asText()),
          totals.get("mb_per_second_per_core").asDouble(),
          sampled.path("native_mb_per_second_per_thread").asDouble(),
          sampled.get("rss_peak_largest_bytes").asLong(),
          outsideHeap,
          environment.get("executor_heap_bytes").asLong(),
          environment.get("master").asText().matches("local(\\[.*)?"),
          sampled.get("executors").asInt(),
          sampled.get("cores").asInt(),
          totals.get("documents").asLong(),
          totals.get("tokens").asLong(),
          totals.get("wall_seconds").asDouble());
    }

    private void json(ObjectNode json) {
      json.put("round", round);
      json.put("allocator", allocator);
      json.put("mb_per_second_per_core", perCore);
      json.put("native_mb_per_second_per_thread", perThread);
      json.put("rss_peak_bytes", resident);
      json.put("outside_heap_peak_bytes", outsideHeap);
      json.put("executors", executors);
      json.put("cores", cores);
      json.put("documents", documents);
      json.put("tokens", tokens);
      json.put("wall_seconds", seconds);
    }

    String line() {
      return RunSummary.format(
          "%s MB/s a core, %s at peak, %s",
          RunSummary.decimals(perCore), RunSummary.size(resident), RunSummary.duration(seconds));
    }
  }

  /** Of several runs. */
  record Spread(double median, double least, double most) {
    static Spread of(List<Run> runs, ToDoubleFunction<Run> figure) {
      double[] sorted = runs.stream().mapToDouble(figure).sorted().toArray();
      int middle = sorted.length / 2;
      return new Spread(
          sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2,
          sorted[0],
          sorted[sorted.length - 1]);
    }
  }

  /** What the runs of one allocator show. */
  record Side(
      String allocator,
      Spread perCore,
      Spread perThread,
      Spread resident,
      Spread outsideHeap,
      long heap) {

    /** What spark.executor.memoryOverhead should be, in MiB. */
    long overheadMebibytes() {
      long least = Math.max(LEAST_OVERHEAD, heap / HEAP_TO_OVERHEAD);
      long needed = Math.max(least, (long) (outsideHeap.most() * MARGIN));
      return (needed + STEP - 1) / STEP * STEP >> 20;
    }

    /** What an executor then has in all, in GB of 10^9 bytes. */
    double executorGigabytes() {
      return (heap + (overheadMebibytes() << 20)) / 1e9;
    }

    double speedPerGigabyte() {
      return perCore.median() / executorGigabytes();
    }
  }

  /** Which allocator, and why. */
  record Recommendation(Side side, Side other, String reason) {}

  Side side(String allocator) {
    List<Run> of = runs.stream().filter(run -> run.allocator().equals(allocator)).toList();
    return new Side(
        allocator,
        Spread.of(of, Run::perCore),
        Spread.of(of, Run::perThread),
        Spread.of(of, Run::resident),
        Spread.of(of, Run::outsideHeap),
        of.stream().mapToLong(Run::heap).max().orElseThrow());
  }

  /**
   * The allocator that tokenizes more for each GB that its executors must be given; where the runs
   * show no difference in speed, the one whose executors need less.
   */
  Recommendation recommendation() {
    Side system = side(SYSTEM);
    Side mimalloc = side(MIMALLOC);
    boolean mimallocIsFaster = mimalloc.perCore().median() > system.perCore().median();
    Side faster = mimallocIsFaster ? mimalloc : system;
    Side slower = mimallocIsFaster ? system : mimalloc;
    if (faster.perCore().least() <= slower.perCore().most()) {
      boolean mimallocIsSmaller = mimalloc.overheadMebibytes() < system.overheadMebibytes();
      return new Recommendation(
          mimallocIsSmaller ? mimalloc : system,
          mimallocIsSmaller ? system : mimalloc,
          "the speeds overlap, so that these runs show no difference, and "
              + (mimalloc.overheadMebibytes() == system.overheadMebibytes()
                  ? "executors need the same memory: either serves"
                  : "its executors need less memory"));
    }
    boolean fasterIsBetter = faster.speedPerGigabyte() >= slower.speedPerGigabyte();
    Side better = fasterIsBetter ? faster : slower;
    Side other = fasterIsBetter ? slower : faster;
    return new Recommendation(
        better,
        other,
        RunSummary.format(
            "%s MB/s a core for each GB of an executor (heap and overhead), with %s it is %s",
            RunSummary.decimals(better.speedPerGigabyte()),
            other.allocator(),
            RunSummary.decimals(other.speedPerGigabyte())));
  }

  List<String> lines() {
    Side system = side(SYSTEM);
    Side mimalloc = side(MIMALLOC);
    List<String> lines = new ArrayList<>();
    lines.add(setting());
    lines.add("Median (lowest to highest) of the runs; memory of the largest executor");
    String row = "%-10s %-26s %-26s %-30s %s";
    lines.add(
        RunSummary.format(
                row,
                "allocator",
                "MB/s a core",
                "MB/s in the tokenizer",
                "peak RSS",
                "outside the heap")
            .stripTrailing());
    for (Side side : List.of(system, mimalloc)) {
      lines.add(
          RunSummary.format(
              row,
              side.allocator(),
              speeds(side.perCore()),
              speeds(side.perThread()),
              sizes(side.resident()),
              sizes(side.outsideHeap())));
    }
    lines.add(
        RunSummary.format(
            "mimalloc against system: throughput %s, peak RSS %s, outside the heap %s",
            change(system.perCore(), mimalloc.perCore()),
            change(system.resident(), mimalloc.resident()),
            change(system.outsideHeap(), mimalloc.outsideHeap())));
    Recommendation recommended = recommendation();
    lines.add(
        RunSummary.format(
            "Recommended: --conf spark.quern.allocator=%s --conf spark.executor.memoryOverhead=%dm",
            recommended.side().allocator(), recommended.side().overheadMebibytes()));
    lines.add("  " + recommended.reason() + ".");
    lines.add(
        RunSummary.format(
            "  The overhead is the highest use outside the heap and a quarter more, but not less than"
                + " Spark's own (a tenth of the heap, 384m at least); for %s it would be %dm.",
            recommended.other().allocator(), recommended.other().overheadMebibytes()));
    cautions().forEach(caution -> lines.add("Note: " + caution));
    return lines;
  }

  /** What all runs have in common. */
  String setting() {
    Run run = runs.get(0);
    return RunSummary.format(
        "Tokenizer %s, engine %s; %s, %d %s in all, %d MiB of heap per executor",
        run.tokenizer(),
        run.engine(),
        run.executors() == 1 ? "1 executor" : run.executors() + " executors",
        run.cores(),
        run.cores() == 1 ? "core" : "cores",
        run.heap() >> 20);
  }

  /** What limits the result. */
  List<String> cautions() {
    List<String> cautions = new ArrayList<>();
    if (runs.get(0).local()) {
      cautions.add(
          "driver and executor were one process here (master local): run it on the cluster before"
              + " you set the overhead there.");
    }
    int rounds = runs.stream().mapToInt(Run::round).max().orElse(0);
    if (rounds < ENOUGH_ROUNDS) {
      cautions.add(
          rounds < 2
              ? "one round has no spread, so that chance looks like a difference: --rounds 5."
              : RunSummary.format(
                  "in one of %d trials of %d rounds chance alone parts the speeds: --rounds 5.",
                  rounds == 2 ? 3 : 10, rounds));
    }
    if (runs.stream().mapToInt(Run::cores).distinct().count() > 1
        || runs.stream().mapToInt(Run::executors).distinct().count() > 1) {
      cautions.add(
          "the runs had different numbers of executors or cores: --conf"
              + " spark.dynamicAllocation.enabled=false.");
    }
    double shortest = runs.stream().mapToDouble(Run::seconds).min().orElse(0);
    if (shortest < 30) {
      cautions.add(
          RunSummary.format(
              "the shortest run took %s, of which starting is a large part: take more text.",
              RunSummary.duration(shortest)));
    }
    return cautions;
  }

  private static String speeds(Spread spread) {
    return RunSummary.format(
        "%s (%s to %s)",
        RunSummary.decimals(spread.median()),
        RunSummary.decimals(spread.least()),
        RunSummary.decimals(spread.most()));
  }

  private static String sizes(Spread spread) {
    return RunSummary.format(
        "%s (%s to %s)",
        RunSummary.size(Math.round(spread.median())),
        RunSummary.size(Math.round(spread.least())),
        RunSummary.size(Math.round(spread.most())));
  }

  private static String change(Spread from, Spread to) {
    return from.median() <= 0
        ? "unknown"
        : RunSummary.format("%+.0f %%", (to.median() / from.median() - 1) * 100);
  }

  byte[] json() {
    ObjectMapper mapper = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);
    ObjectNode json = mapper.createObjectNode();
    json.put("layout", "1.0");
    json.put("units", "MB is 1e6 bytes; memory is that of the largest executor");
    json.put("tokenizer", runs.get(0).tokenizer());
    json.put("engine", runs.get(0).engine());
    json.put("executor_heap_bytes", runs.get(0).heap());
    Recommendation recommended = recommendation();
    ObjectNode advice = json.putObject("recommended");
    advice.put("spark.quern.allocator", recommended.side().allocator());
    advice.put("spark.executor.memoryOverhead", recommended.side().overheadMebibytes() + "m");
    advice.put("reason", recommended.reason());
    ArrayNode notes = advice.putArray("notes");
    cautions().forEach(notes::add);
    for (String allocator : List.of(SYSTEM, MIMALLOC)) {
      Side side = side(allocator);
      ObjectNode node = json.putObject(allocator);
      spread(node.putObject("mb_per_second_per_core"), side.perCore());
      spread(node.putObject("native_mb_per_second_per_thread"), side.perThread());
      spread(node.putObject("rss_peak_bytes"), side.resident());
      spread(node.putObject("outside_heap_peak_bytes"), side.outsideHeap());
      node.put("memory_overhead", side.overheadMebibytes() + "m");
    }
    ArrayNode each = json.putArray("runs");
    runs.forEach(run -> run.json(each.addObject()));
    try {
      return mapper.writeValueAsBytes(json);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException("a tree of plain values can't fail to become JSON", e);
    }
  }

  private static void spread(ObjectNode json, Spread spread) {
    json.put("median", spread.median());
    json.put("min", spread.least());
    json.put("max", spread.most());
  }
}
