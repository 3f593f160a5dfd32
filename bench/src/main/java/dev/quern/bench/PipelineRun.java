package dev.quern.bench;

import dev.quern.job.TokenizeJob;
import dev.quern.job.TokenizeResult;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.LongSupplier;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;

/**
 * One process of one pipeline on Spark: the main class of the child JVMs, and callable with a
 * session of its own for tests. It starts a session, then makes the passes; the first is cold.
 * bench/pipeline_peers.py does the same for those in Python.
 */
final class PipelineRun {
  private PipelineRun() {}

  public static void main(String[] arguments) throws IOException {
    PipelineTask task = PipelineTask.read(Path.of(arguments[0]));
    Map<String, Object> result = new LinkedHashMap<>();
    try {
      long begin = System.nanoTime();
      // What the launcher configures stands in system properties, which a SparkConf reads.
      try (SparkSession session =
          SparkSession.builder().appName("quern-bench pipeline").getOrCreate()) {
        result.put("session_s", (System.nanoTime() - begin) / 1e9);
        result.putAll(run(session, task));
      }
    } catch (Exception e) {
      result.put("error", e.toString());
    }
    KernelTask.JSON.writeValue(Path.of(task.result()).toFile(), result);
    System.exit(0);
  }

  /** Does the task: {@code seconds} of every pass, and what else is known. */
  static Map<String, Object> run(SparkSession session, PipelineTask task) throws IOException {
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("tool", task.pipeline().equals("quern") ? "quern" : "spark");
    result.put(
        "tool_version",
        task.pipeline().equals("quern") ? BuildInfo.version() : "" + session.version());
    switch (task.pipeline()) {
      case "verify" -> {
        List<Map<String, Object>> hashes = new ArrayList<>();
        task.outputs().forEach(folder -> hashes.add(hash(session, folder)));
        result.put("hashes", hashes);
      }
      case "reference" -> reference(session, task);
      default -> result.putAll(passes(session, task));
    }
    result.put("heap_mib", Runtime.getRuntime().maxMemory() >> 20);
    Map<String, Double> memory = ProcessMemory.now();
    result.put("vm_hwm_mib", memory.get("VmHWM"));
    result.put("vm_peak_mib", memory.get("VmPeak"));
    return result;
  }

  private static Map<String, Object> passes(SparkSession session, PipelineTask task)
      throws IOException {
    Map<String, Object> result = new LinkedHashMap<>();
    List<Double> seconds = new ArrayList<>();
    LongSupplier count =
        PipelineCount.ALL.contains(task.pipeline()) ? PipelineCount.pass(session, task) : null;
    Path before = null;
    for (int pass = 0; pass < task.passes(); pass++) {
      if (before != null) {
        KernelCommand.delete(before);
      }
      // A warm pass pays for its own garbage, not for that of the pass before.
      System.gc();
      Path output = Path.of(task.output(), "pass-" + pass);
      long begin = System.nanoTime();
      switch (task.pipeline()) {
        case "quern" -> result.put("tokens", tokenize(session, task, output).tokens());
        case "copy", Pipeline.STOCK_COPY ->
            session.read().parquet(task.ids()).write().parquet(output.toString());
        case "scan" -> PipelineScan.scan(session, task.input());
        default -> {
          if (count == null) {
            throw new IllegalArgumentException("unknown pipeline " + task.pipeline());
          }
          result.put("tokens", count.getAsLong());
        }
      }
      seconds.add((System.nanoTime() - begin) / 1e9);
      before = Files.exists(output) ? output : null;
    }
    result.put("seconds", seconds);
    result.put("output", before == null ? null : before.toString());
    return result;
  }

  private static TokenizeResult tokenize(SparkSession session, PipelineTask task, Path output) {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "--input",
                task.input(),
                "--output",
                output.toString(),
                "--tokenizer",
                task.tokenizer(),
                "--keep",
                "id"));
    arguments.addAll(task.options());
    return TokenizeJob.run(session, arguments.toArray(String[]::new));
  }

  /**
   * The ready ids: made by the reference engine, then written by Spark, so that to read them costs
   * what files of Spark's own writer cost.
   */
  private static void reference(SparkSession session, PipelineTask task) throws IOException {
    Path made = Path.of(task.output(), "reference");
    tokenize(session, task, made);
    session
        .read()
        .parquet(made.toString())
        .selectExpr("id", "input_ids")
        .write()
        .parquet(task.ids());
    KernelCommand.delete(made);
  }

  /**
   * Rows, ids, and a hash of all pairs (id, input_ids) that does not depend on their order or on
   * how they are spread over files: the sum of a 64-bit hash of each.
   */
  static Map<String, Object> hash(SparkSession session, String folder) {
    Row row =
        session
            .read()
            .option("recursiveFileLookup", "true")
            .option("pathGlobFilter", "*.parquet")
            .parquet(folder)
            .selectExpr("cast(id as bigint) id", "cast(input_ids as array<int>) input_ids")
            .selectExpr(
                "count(*)",
                "coalesce(sum(size(input_ids)), 0)",
                "coalesce(sum(cast(xxhash64(id, input_ids) as decimal(38, 0))), 0)")
            .first();
    Map<String, Object> hash = new LinkedHashMap<>();
    hash.put("documents", row.getLong(0));
    hash.put("tokens", row.getLong(1));
    hash.put("hash", row.getDecimal(2).toPlainString());
    return hash;
  }
}
