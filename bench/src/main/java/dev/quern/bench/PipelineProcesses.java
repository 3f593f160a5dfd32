package dev.quern.bench;

import com.fasterxml.jackson.core.type.TypeReference;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Every pipeline in a process of its own, with the memory of all its children watched. */
final class PipelineProcesses implements Pipeline.Runner {
  private static final int LOG_LINES_SHOWN = 20;
  private static final long SAMPLING_MILLIS = 50;

  private final Path folder;
  private final String python;

  /**
   * Works in {@code folder}.
   *
   * @param python the interpreter of the pipelines in Python; null without any
   */
  PipelineProcesses(Path folder, String python) {
    this.folder = folder;
    this.python = python;
  }

  @Override
  public Map<String, Object> run(PipelineTask task) throws IOException, InterruptedException {
    Path file = folder.resolve("task.json");
    Path resultFile = Path.of(task.result());
    Files.deleteIfExists(resultFile);
    task.write(file);
    List<String> command =
        Pipeline.isPython(task.pipeline())
            ? List.of(python, script().toString(), file.toString())
            : task.javaCommand(file);
    Ended ended = run(command, Map.of());
    if (!Files.exists(resultFile)) {
      throw failure(task.pipeline(), ended);
    }
    Map<String, Object> result =
        KernelTask.JSON.readValue(
            resultFile.toFile(), new TypeReference<LinkedHashMap<String, Object>>() {});
    if (result.containsKey("error")) {
      throw new BenchException(
          BenchException.FAILED, task.pipeline() + " can't do this: " + result.get("error"));
    }
    if (ended.treeMebibytes > 0) {
      result.put("tree_rss_mib", ended.treeMebibytes);
    }
    return result;
  }

  /** The whole life of the launcher's command, as a user starts it: seconds and memory. */
  Map<String, Object> launcher(Path launcher, List<String> arguments, int threads)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(launcher.toString(), "tokenize"));
    command.addAll(List.of("--master", "local[" + threads + "]"));
    command.addAll(arguments);
    return ended("job/bin/quern", run(command, Map.of("SPARK_HOME", "")));
  }

  /**
   * The whole life of a spark-submit of another class: Spark's own launcher says the command, as in
   * bin/spark-class, and the command runs.
   */
  Map<String, Object> submit(
      Path spark, List<String> sparkArguments, Class<?> main, List<String> arguments)
      throws IOException, InterruptedException {
    long begin = System.nanoTime();
    String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
    List<String> ask =
        new ArrayList<>(
            List.of(
                java,
                "-cp",
                spark.resolve("jars") + File.separator + "*",
                "org.apache.spark.launcher.Main",
                "org.apache.spark.deploy.SparkSubmit"));
    ask.addAll(sparkArguments);
    // The classes of this module, by the class path that this JVM has them from.
    String own = Path.of(source(main)).toString();
    ask.addAll(List.of("--driver-class-path", own, "--class", main.getName(), "spark-internal"));
    ask.addAll(arguments);
    Map<String, String> environment =
        Map.of("SPARK_HOME", spark.toString(), "SPARK_SCALA_VERSION", "2.13");
    ProcessBuilder builder = new ProcessBuilder(ask).redirectError(ProcessBuilder.Redirect.DISCARD);
    builder.environment().putAll(environment);
    Process asked = builder.start();
    ByteArrayOutputStream answer = new ByteArrayOutputStream();
    asked.getInputStream().transferTo(answer);
    if (asked.waitFor() != 0) {
      throw new BenchException(
          BenchException.FAILED, "Spark's launcher in " + spark + " did not say a command");
    }
    List<String> command =
        Stream.of(answer.toString(StandardCharsets.UTF_8).split("\0"))
            .map(String::strip)
            .filter(part -> !part.isEmpty())
            .toList();
    Ended ended = run(command, environment);
    return ended(
        main.getSimpleName(),
        new Ended(ended.status, (System.nanoTime() - begin) / 1e9, ended.treeMebibytes, ended.log));
  }

  private static java.net.URI source(Class<?> type) {
    try {
      return type.getProtectionDomain().getCodeSource().getLocation().toURI();
    } catch (java.net.URISyntaxException e) {
      throw new IllegalStateException(e);
    }
  }

  private static Map<String, Object> ended(String name, Ended ended) throws IOException {
    if (ended.status != 0) {
      throw failure(name, ended);
    }
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("total_s", ended.seconds);
    if (ended.treeMebibytes > 0) {
      result.put("tree_rss_mib", ended.treeMebibytes);
    }
    return result;
  }

  private record Ended(int status, double seconds, double treeMebibytes, Path log) {}

  private Ended run(List<String> command, Map<String, String> environment)
      throws IOException, InterruptedException {
    Path log = folder.resolve("log");
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    // An empty value: not set.
    environment.forEach(
        (name, value) -> {
          if (value.isEmpty()) {
            builder.environment().remove(name);
          } else {
            builder.environment().put(name, value);
          }
        });
    long begin = System.nanoTime();
    Process process = builder.start();
    double most = 0;
    while (!process.waitFor(SAMPLING_MILLIS, TimeUnit.MILLISECONDS)) {
      Map<String, Double> own = memory(process.pid());
      try (Stream<ProcessHandle> children = process.descendants()) {
        most =
            Math.max(
                most,
                resident(own)
                    + children
                        .map(child -> memory(child.pid()))
                        .filter(child -> !isSame(child, own))
                        .mapToDouble(PipelineProcesses::resident)
                        .sum());
      }
    }
    return new Ended(
        process.exitValue(), (System.nanoTime() - begin) / 1e9, Record.rounded(most, 1), log);
  }

  /** As /proc has it, in MiB; empty where there is none, or no such process any more. */
  private static Map<String, Double> memory(long pid) {
    try {
      return ProcessMemory.parse(Files.readString(Path.of("/proc/" + pid + "/status")));
    } catch (IOException e) {
      return Map.of();
    }
  }

  private static double resident(Map<String, Double> memory) {
    return memory.getOrDefault("VmRSS", 0.0);
  }

  /** A child that has not become its own program yet is in the memory of the JVM that starts it. */
  private static boolean isSame(Map<String, Double> child, Map<String, Double> parent) {
    return Objects.equals(child.get("VmPeak"), parent.get("VmPeak"))
        && Objects.equals(child.get("VmHWM"), parent.get("VmHWM"));
  }

  private static BenchException failure(String name, Ended ended) throws IOException {
    List<String> lines =
        new String(Files.readAllBytes(ended.log), StandardCharsets.UTF_8).lines().toList();
    return new BenchException(
        BenchException.FAILED,
        "the process of "
            + name
            + " ended with status "
            + ended.status
            + " and without a result; the end of what it said:\n"
            + String.join(
                "\n", lines.subList(Math.max(0, lines.size() - LOG_LINES_SHOWN), lines.size())));
  }

  /** The file of the pipelines in Python, in the checkout. */
  static Path script() {
    return RecordOptions.root().resolve("bench").resolve("pipeline_peers.py");
  }
}
