package dev.quern.bench;

import com.fasterxml.jackson.core.type.TypeReference;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * The measurement of whole pipelines, Parquet in and ids out, over one input. Every pipeline first
 * writes its ids, untimed, and they are compared with those of the reference engine; only then, in
 * turn, fresh processes are timed. Wrong ids of Quern end the measurement; other ids of another
 * pipeline are reported, and Quern is not compared with it.
 */
final class Pipeline {
  /** Does one task in a process of its own, or in this one in tests. */
  interface Runner {
    /** What {@link PipelineRun#run} gives; BenchException when there is none. */
    Map<String, Object> run(PipelineTask task) throws IOException, InterruptedException;
  }

  /** Makes the kernel's processes: the same documents in memory, with the same threads. */
  interface KernelRunner {
    Map<String, Object> run(Path flat, int documents, long bytes, int threads, int passes)
        throws IOException, InterruptedException;
  }

  /**
   * What to measure.
   *
   * @param tokenizer a built-in name or a file
   * @param json the same as a tokenizer.json, for pipelines in Python; null without any
   * @param tokenizerHash SHA-256 of what the tokenizer is made of
   * @param pipelines in the order of the first round
   * @param options of Quern's job: --format, --compression ...
   * @param passes over the input in each process, the first of them cold
   * @param rounds processes of every pipeline
   */
  record Plan(
      PipelineInput input,
      String corpus,
      String tokenizer,
      String json,
      String tokenizerHash,
      List<String> pipelines,
      List<String> options,
      int threads,
      int passes,
      int rounds) {}

  /** Spark's copy in a session that has nothing of the launcher's but its heap. */
  static final String STOCK_COPY = "stock_copy";

  /** They write ids that can be compared, or at least counted. */
  private static final Set<String> MAKE_IDS = Set.of("quern", "gigatoken", "datatrove", "datasets");

  private static final Set<String> PYTHON = Set.of("gigatoken", "datatrove", "datasets");

  /** Starts its workers anew for every pass, and is slow: one pass says all. */
  private static final Set<String> ONE_PASS = Set.of("datatrove", "datasets");

  static boolean isPython(String pipeline) {
    return PYTHON.contains(pipeline);
  }

  private final Plan plan;
  private final Runner runner;
  private final KernelRunner kernel;
  private final Path folder;
  private final PrintWriter progress;

  /** What the reference engine makes of the input: documents, tokens, hash. */
  private Map<String, Object> expected;

  private final Map<String, Map<String, Object>> verified = new LinkedHashMap<>();

  Pipeline(Plan plan, Runner runner, KernelRunner kernel, Path folder, PrintWriter progress) {
    this.plan = plan;
    this.runner = runner;
    this.kernel = kernel;
    this.folder = folder;
    this.progress = progress;
  }

  /** Measures; one line of the record (without the machine's part) for every pipeline. */
  List<Map<String, Object>> measure() throws IOException, InterruptedException {
    check();
    List<String> order = new ArrayList<>(plan.pipelines());
    Map<String, List<Map<String, Object>>> samples = new LinkedHashMap<>();
    plan.pipelines().forEach(pipeline -> samples.put(pipeline, new ArrayList<>()));
    for (int round = 0; round < plan.rounds(); round++) {
      for (String pipeline : order) {
        say("round %d of %d: %s", round + 1, plan.rounds(), pipeline);
        samples.get(pipeline).add(timed(pipeline));
      }
      // Whoever follows whom, it is the other way round in the next round.
      Collections.reverse(order);
    }
    List<Map<String, Object>> lines = new ArrayList<>();
    samples.forEach((pipeline, own) -> lines.add(line(pipeline, own, samples)));
    return lines;
  }

  /** Where the ready ids of the reference engine are; made by {@link #check}. */
  private Path ids() {
    return plan.input().folder().resolveSibling("ids-" + plan.tokenizerHash().substring(0, 12));
  }

  private void check() throws IOException, InterruptedException {
    Path known = ids().resolveSibling(ids().getFileName() + ".json");
    if (!Files.exists(known)) {
      say("making the ids of the reference engine");
      if (Files.exists(ids())) {
        KernelCommand.delete(ids());
      }
      runner.run(
          task(
              "reference",
              List.of("--engine", "reference", "--compression", "snappy"),
              1,
              List.of()));
      KernelTask.JSON.writeValue(known.toFile(), hashes(List.of(ids().toString())).get(0));
    }
    expected =
        KernelTask.JSON.readValue(
            known.toFile(), new TypeReference<LinkedHashMap<String, Object>>() {});
    if (((Number) expected.get("documents")).intValue() != plan.input().documents()) {
      throw new BenchException(
          BenchException.WRONG_RESULT,
          "the reference engine's ids in "
              + ids()
              + " are not those of all documents: delete the folder that is in");
    }
    List<String> outputs = new ArrayList<>();
    List<String> hashed = new ArrayList<>();
    for (String pipeline : plan.pipelines()) {
      if (!MAKE_IDS.contains(pipeline)) {
        continue;
      }
      say("checking the ids of %s", pipeline);
      Map<String, Object> result = runner.run(task(pipeline, plan.options(), 1, List.of()));
      checkTokens(pipeline, result);
      if (isHashed(pipeline)) {
        // Kept until all are hashed, by one process.
        Path kept = folder.resolve("check-" + pipeline);
        Files.move(Path.of((String) result.get("output")), kept);
        hashed.add(pipeline);
        outputs.add(kept.toString());
      } else {
        KernelCommand.delete(Path.of((String) result.get("output")));
      }
    }
    if (!outputs.isEmpty()) {
      List<Map<String, Object>> hashes = hashes(outputs);
      for (int i = 0; i < hashed.size(); i++) {
        verified.put(hashed.get(i), hashes.get(i));
        KernelCommand.delete(Path.of(outputs.get(i)));
        compare(hashed.get(i), hashes.get(i));
      }
    }
  }

  /** datatrove writes bare ids, and Spark has no reader of its own for Arrow files. */
  private boolean isHashed(String pipeline) {
    boolean arrow = pipeline.equals("quern") && plan.options().contains("arrow");
    return !pipeline.equals("datatrove") && !arrow;
  }

  private void compare(String pipeline, Map<String, Object> hash) {
    if (equal(hash)) {
      say("%s: ids equal to those of the reference engine", pipeline);
      return;
    }
    String difference =
        String.format(
            "%s has other ids than the reference engine: %s documents and %s ids, not %s and %s,"
                + " or others of them",
            pipeline,
            hash.get("documents"),
            hash.get("tokens"),
            expected.get("documents"),
            expected.get("tokens"));
    if (pipeline.equals("quern")) {
      throw new BenchException(
          BenchException.WRONG_RESULT,
          difference + ". There is no time for a wrong answer: report it");
    }
    say("%s", difference);
  }

  private boolean equal(Map<String, Object> hash) {
    return hash.get("hash").equals(expected.get("hash")) && sameCounts(hash);
  }

  private boolean sameCounts(Map<String, Object> hash) {
    return number(hash, "documents") == number(expected, "documents")
        && number(hash, "tokens") == number(expected, "tokens");
  }

  private static double number(Map<String, Object> map, String key) {
    return ((Number) map.get(key)).doubleValue();
  }

  /** Whether Quern may be compared with it: the same ids, or as many where they can't be read. */
  private boolean isComparable(String pipeline) {
    return !MAKE_IDS.contains(pipeline) || !isHashed(pipeline) || equal(verified.get(pipeline));
  }

  /** A process says how many ids it made: of Quern, each must make as many as the reference. */
  private void checkTokens(String pipeline, Map<String, Object> result) {
    if (result.get("tokens") instanceof Number tokens
        && tokens.doubleValue() != number(expected, "tokens")) {
      String difference =
          String.format(
              Locale.ROOT,
              "%s made %s ids, the reference engine %s",
              pipeline,
              tokens,
              expected.get("tokens"));
      if (pipeline.equals("quern")
          || pipeline.equals("kernel")
          || PipelineCount.ALL.contains(pipeline)) {
        throw new BenchException(BenchException.WRONG_RESULT, difference);
      }
      say("%s", difference);
    }
  }

  @SuppressWarnings("unchecked")
  private List<Map<String, Object>> hashes(List<String> outputs)
      throws IOException, InterruptedException {
    return (List<Map<String, Object>>)
        runner.run(task("verify", List.of(), 1, outputs)).get("hashes");
  }

  private Map<String, Object> timed(String pipeline) throws IOException, InterruptedException {
    if (pipeline.equals("kernel")) {
      PipelineInput input = plan.input();
      Map<String, Object> result =
          new LinkedHashMap<>(
              kernel.run(
                  input.flat(),
                  input.documents(),
                  input.bytes(),
                  plan.threads(),
                  plan.passes() - 1));
      checkTokens(pipeline, result);
      result.put("cold_mb_s", number(result, "cold_mb_s") * plan.threads());
      result.put("warm_mb_s", number(result, "warm_mb_s") * plan.threads());
      result.put("warm_median_mb_s", number(result, "warm_median_mb_s") * plan.threads());
      return result;
    }
    int passes = ONE_PASS.contains(pipeline) ? 1 : plan.passes();
    Map<String, Object> result =
        new LinkedHashMap<>(runner.run(task(pipeline, plan.options(), passes, List.of())));
    checkTokens(pipeline, result);
    if (result.get("output") instanceof String output) {
      KernelCommand.delete(Path.of(output));
      result.remove("output");
    }
    List<Double> speeds =
        ((List<?>) result.get("seconds"))
            .stream().map(s -> plan.input().bytes() / 1e6 / ((Number) s).doubleValue()).toList();
    result.put("cold_mb_s", speeds.get(0));
    Spread warm = Spread.of(speeds.subList(speeds.size() > 1 ? 1 : 0, speeds.size()));
    result.put("warm_mb_s", warm.maximum());
    result.put("warm_median_mb_s", warm.median());
    return result;
  }

  private PipelineTask task(String pipeline, List<String> options, int passes, List<String> outputs)
      throws IOException {
    Path output = folder.resolve("output");
    Files.createDirectories(output);
    return new PipelineTask(
        pipeline,
        plan.input().folder().toString(),
        ids().toString(),
        output.toString(),
        plan.tokenizer(),
        plan.json(),
        options,
        plan.threads(),
        passes,
        outputs,
        folder.resolve("result.json").toString());
  }

  private Map<String, Object> line(
      String pipeline,
      List<Map<String, Object>> own,
      Map<String, List<Map<String, Object>>> samples) {
    Map<String, Object> last = own.get(own.size() - 1);
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("kind", "pipeline");
    line.put("pipeline", pipeline);
    line.put("tool", last.get("tool"));
    line.put("tool_version", last.get("tool_version"));
    line.put("tokenizer", Kernel.name(plan.tokenizer()));
    line.put("tokenizer_hash", plan.tokenizerHash());
    if (pipeline.equals("quern")) {
      line.put("options", plan.options());
    }
    line.put("corpus", plan.corpus());
    line.put("corpus_hash", plan.input().hash());
    line.put("documents", plan.input().documents());
    line.put("bytes", plan.input().bytes());
    line.put("threads", plan.threads());
    line.put("tokens", last.get("tokens"));
    if (MAKE_IDS.contains(pipeline)) {
      line.put("ids_hash", isHashed(pipeline) ? verified.get(pipeline).get("hash") : null);
      line.put(
          "verified",
          !isHashed(pipeline) ? "tokens counted" : isComparable(pipeline) ? "ids" : "differs");
    }
    if (last.get("heap_mib") != null) {
      line.put("heap_mib", last.get("heap_mib"));
    }
    line.put("rounds", own.size());
    line.put(
        "passes", last.get("seconds") instanceof List<?> passes ? passes.size() : plan.passes());
    for (String quantity : List.of("session_s", "cold_mb_s", "warm_mb_s", "warm_median_mb_s")) {
      spread(line, quantity, 2, own);
    }
    Record.putTokensPerSecond(line, "warm_median_mb_s");
    for (String quantity : List.of("vm_hwm_mib", "vm_peak_mib", "tree_rss_mib")) {
      spread(line, quantity, 1, own);
    }
    if (pipeline.equals("quern")) {
      Map<String, Object> over = new LinkedHashMap<>();
      samples.forEach(
          (other, theirs) -> {
            if (!other.equals("quern") && isComparable(other)) {
              over.put(other, ratios(own, theirs));
            }
          });
      if (samples.containsKey("scan") && samples.containsKey("kernel")) {
        over.put("scan_and_kernel", ratios(own, series(samples)));
      }
      line.put("over", over);
    } else if (PipelineCount.ALL.contains(pipeline)) {
      Map<String, Object> over = new LinkedHashMap<>();
      samples.forEach(
          (other, theirs) -> {
            boolean counts = other.equals("kernel") || PipelineCount.ALL.contains(other);
            if (counts && !other.equals(pipeline)) {
              over.put(other, ratios(own, theirs));
            }
          });
      line.put("verified", "tokens counted");
      line.put("over", over);
    }
    line.put(
        "samples",
        own.stream()
            .map(
                sample -> {
                  Map<String, Object> kept = new LinkedHashMap<>();
                  sample.forEach(
                      (key, value) -> {
                        if (key.endsWith("_s") || key.endsWith("_mib") || key.equals("seconds")) {
                          kept.put(key, value);
                        }
                      });
                  return kept;
                })
            .toList());
    return line;
  }

  /** The speed of scan and kernel one after the other, round by round. */
  private static List<Map<String, Object>> series(Map<String, List<Map<String, Object>>> samples) {
    List<Map<String, Object>> series = new ArrayList<>();
    List<Map<String, Object>> scans = samples.get("scan");
    for (int round = 0; round < scans.size(); round++) {
      Map<String, Object> both = new LinkedHashMap<>();
      for (String quantity : List.of("cold_mb_s", "warm_mb_s", "warm_median_mb_s")) {
        double scan = number(scans.get(round), quantity);
        double kernel = number(samples.get("kernel").get(round), quantity);
        both.put(quantity, 1 / (1 / scan + 1 / kernel));
      }
      series.add(both);
    }
    return series;
  }

  /** Median, minimum and maximum of what the rounds' own ratios are. */
  static Map<String, Object> ratios(
      List<Map<String, Object>> own, List<Map<String, Object>> others) {
    Map<String, Object> ratios = new LinkedHashMap<>();
    for (String quantity : List.of("cold_mb_s", "warm_mb_s", "warm_median_mb_s")) {
      List<Double> rounds = new ArrayList<>();
      for (int round = 0; round < own.size(); round++) {
        rounds.add(number(own.get(round), quantity) / number(others.get(round), quantity));
      }
      Record.putSpread(ratios, quantity.replace("_mb_s", ""), Spread.of(rounds), 3);
    }
    return ratios;
  }

  private static void spread(
      Map<String, Object> line, String quantity, int digits, List<Map<String, Object>> samples) {
    List<Double> values =
        samples.stream()
            .filter(sample -> sample.get(quantity) != null)
            .map(sample -> number(sample, quantity))
            .toList();
    if (!values.isEmpty()) {
      Record.putSpread(line, quantity, Spread.of(values), digits);
    }
  }

  private void say(String format, Object... values) {
    progress.println(String.format(Locale.ROOT, format, values));
    progress.flush();
  }
}
