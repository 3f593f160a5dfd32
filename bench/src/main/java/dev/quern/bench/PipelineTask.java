package dev.quern.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;

/**
 * What one process of one pipeline is to do, handed over as a JSON file (names in snake case) that
 * a JVM and a Python interpreter read alike.
 *
 * @param pipeline quern, copy, scan or of {@link PipelineCount} (Spark), gigatoken, datatrove or
 *     datasets (Python), reference (makes {@code ids}) or verify (hashes {@code outputs})
 * @param input folder of Parquet files with the columns id and text
 * @param ids folder of Parquet files with the columns id and input_ids, of the reference engine
 * @param output folder to write into, one subfolder a pass; what an earlier pass wrote is deleted
 * @param tokenizer a built-in name or a file, for Quern
 * @param json the same as a tokenizer.json, for the others
 * @param options of the job, as on its command line: --format, --compression ...
 * @param threads that work at the same time: tasks of Spark, threads or processes in Python
 * @param passes over the input, the first of them cold
 * @param outputs folders to hash, for verify
 * @param result file to write the result to, as JSON
 */
record PipelineTask(
    String pipeline,
    String input,
    String ids,
    String output,
    String tokenizer,
    String json,
    List<String> options,
    int threads,
    int passes,
    List<String> outputs,
    String result) {

  private static final String CACHING_HEAP = "4g";

  static PipelineTask read(Path file) throws IOException {
    return KernelTask.JSON.readValue(file.toFile(), PipelineTask.class);
  }

  void write(Path file) throws IOException {
    KernelTask.JSON.writeValue(file.toFile(), this);
  }

  /** What {@code job/bin/quern} configures a session with: conf/spark-defaults-local.conf. */
  static Map<String, String> launcherDefaults() {
    Path file = RecordOptions.root().resolve("conf").resolve("spark-defaults-local.conf");
    Properties properties = new Properties();
    try (var in = Files.newBufferedReader(file)) {
      properties.load(in);
    } catch (IOException e) {
      throw new BenchException(
          BenchException.USAGE,
          "the launcher's configuration can't be read: "
              + file
              + "; start bench/bin/quern-bench of a checkout, or set -Dquern.root",
          e);
    }
    Map<String, String> defaults = new LinkedHashMap<>();
    properties.stringPropertyNames().stream()
        .sorted()
        .forEach(key -> defaults.put(key, properties.getProperty(key).trim()));
    return defaults;
  }

  /**
   * The JVM that the launcher would start for it: heap, options and keys of its configuration. For
   * {@link Pipeline#STOCK_COPY} only the heap, and an address that needs no network.
   */
  List<String> javaCommand(Path file) {
    Map<String, String> conf = launcherDefaults();
    if (pipeline.equals(Pipeline.STOCK_COPY)) {
      conf.keySet()
          .retainAll(
              Set.of("spark.driver.memory", "spark.driver.host", "spark.driver.bindAddress"));
    }
    conf.put("spark.master", "local[" + threads + "]");
    if (PipelineCount.ALL.contains(pipeline)) {
      conf.putAll(PipelineCount.conf(tokenizer));
    }
    if (pipeline.equals(PipelineCount.CACHED)) {
      // What is cached has to fit beside what the launcher's heap is for.
      conf.put("spark.driver.memory", CACHING_HEAP);
    }
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-Xmx" + conf.get("spark.driver.memory"));
    command.addAll(BuildInfo.sparkJvmOptions());
    String own = conf.getOrDefault("spark.driver.extraJavaOptions", "").trim();
    if (!own.isEmpty()) {
      command.addAll(List.of(own.split("\\s+")));
    }
    conf.forEach((key, value) -> command.add("-D" + key + "=" + value));
    command.add(
        "-Dlog4j2.configurationFile="
            + RecordOptions.root().resolve("conf").resolve("log4j2.properties"));
    command.addAll(
        List.of(
            "-cp",
            System.getProperty("java.class.path"),
            PipelineRun.class.getName(),
            file.toString()));
    return command;
  }
}
