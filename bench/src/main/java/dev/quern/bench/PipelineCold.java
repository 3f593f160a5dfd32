package dev.quern.bench;

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

/**
 * Whole lives of processes, from the command to its exit: the job through its launcher, and a
 * spark-submit of a job that reads the same text and discards it. That one has the launcher's
 * master and heap, and nothing of Quern.
 */
final class PipelineCold {
  private PipelineCold() {}

  /**
   * What to measure.
   *
   * @param root the checkout, with job/bin/quern and the Spark of its build
   * @param options of the job
   * @param output folder that each run of the job writes anew
   */
  record Plan(
      Path root,
      String corpus,
      String tokenizer,
      List<String> options,
      int threads,
      int rounds,
      Path output) {}

  static List<Map<String, Object>> measure(
      PipelineProcesses processes, PipelineInput input, Plan plan, PrintWriter progress)
      throws IOException, InterruptedException {
    Path launcher = plan.root().resolve("job").resolve("bin").resolve("quern");
    Path spark = plan.root().resolve("job").resolve("target").resolve("spark");
    if (!Files.isDirectory(spark.resolve("jars"))) {
      throw new BenchException(
          BenchException.USAGE,
          "--cold needs the Spark of the build: there is no "
              + spark.resolve("jars")
              + "; run job/bin/quern demo once");
    }
    List<String> arguments = new ArrayList<>();
    arguments.addAll(List.of("--input", input.folder().toString()));
    arguments.addAll(List.of("--output", plan.output().toString()));
    arguments.addAll(List.of("--tokenizer", plan.tokenizer(), "--keep", "id"));
    arguments.addAll(plan.options());
    String heap = PipelineTask.launcherDefaults().get("spark.driver.memory");
    List<String> scanArguments =
        List.of("--master", "local[" + plan.threads() + "]", "--driver-memory", heap);
    Map<String, List<Map<String, Object>>> samples = new LinkedHashMap<>();
    samples.put("quern", new ArrayList<>());
    samples.put("scan", new ArrayList<>());
    List<String> order = new ArrayList<>(samples.keySet());
    // Once untimed: the files are then in the system's cache for both, and what the launcher makes
    // on a first run is made.
    for (int round = -1; round < plan.rounds(); round++) {
      for (String name : order) {
        progress.println(
            (round < 0 ? "once untimed: " : "round " + (round + 1) + " of " + plan.rounds() + ": ")
                + name);
        progress.flush();
        Map<String, Object> sample;
        if (name.equals("quern")) {
          sample = processes.launcher(launcher, arguments, plan.threads());
          KernelCommand.delete(plan.output());
        } else {
          sample =
              processes.submit(
                  spark, scanArguments, PipelineScan.class, List.of(input.folder().toString()));
        }
        if (round >= 0) {
          samples.get(name).add(sample);
        }
      }
      Collections.reverse(order);
    }
    List<Map<String, Object>> lines = new ArrayList<>();
    samples.forEach((name, own) -> lines.add(line(name, own, samples, input, plan, heap)));
    return lines;
  }

  private static Map<String, Object> line(
      String name,
      List<Map<String, Object>> own,
      Map<String, List<Map<String, Object>>> samples,
      PipelineInput input,
      Plan plan,
      String heap) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("kind", "pipeline_cold");
    line.put("pipeline", name);
    line.put("tokenizer", Kernel.name(plan.tokenizer()));
    line.put("options", name.equals("quern") ? plan.options() : null);
    line.put("corpus", plan.corpus());
    line.put("corpus_hash", input.hash());
    line.put("documents", input.documents());
    line.put("bytes", input.bytes());
    line.put("threads", plan.threads());
    line.put("driver_memory", heap);
    line.put("rounds", own.size());
    for (String quantity : List.of("total_s", "tree_rss_mib")) {
      List<Double> values = values(own, quantity);
      if (!values.isEmpty()) {
        Record.putSpread(line, quantity, Spread.of(values), 2);
      }
    }
    if (name.equals("quern")) {
      List<Double> mine = values(own, "total_s");
      List<Double> scans = values(samples.get("scan"), "total_s");
      List<Double> rounds = new ArrayList<>();
      for (int round = 0; round < mine.size(); round++) {
        rounds.add(mine.get(round) / scans.get(round));
      }
      Map<String, Object> ratio = new LinkedHashMap<>();
      Record.putSpread(ratio, "total", Spread.of(rounds), 3);
      line.put("over", Map.of("scan", ratio));
    }
    line.put("samples", own);
    return line;
  }

  private static List<Double> values(List<Map<String, Object>> samples, String quantity) {
    return samples.stream()
        .filter(sample -> sample.get(quantity) != null)
        .map(sample -> ((Number) sample.get(quantity)).doubleValue())
        .toList();
  }

  static String table(List<Map<String, Object>> lines) {
    StringBuilder table = new StringBuilder();
    for (Map<String, Object> line : lines) {
      table.append(
          String.format(
              Locale.ROOT,
              "%-8s %24s s, RSS %s MiB, driver %s%n",
              line.get("pipeline"),
              PipelineCommand.spread(line, "total_s"),
              line.get("tree_rss_mib"),
              line.get("driver_memory")));
      if (line.get("over") instanceof Map<?, ?> over) {
        table.append(String.format("quern / scan: %s%n", over.get("scan")));
      }
    }
    return table.toString();
  }
}
