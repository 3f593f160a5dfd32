package dev.quern.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import org.openjdk.jmh.results.BenchmarkResult;
import org.openjdk.jmh.results.IterationResult;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code quern-bench seam}: see its description, and {@link SeamBenchmark}. */
@Command(
    name = "seam",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "What a document pays to get from Java, and from a row of SQL, to the native tokenizer and"
          + " back: nanoseconds a document, measured with JMH.",
      "",
      "kernel is many documents in one native call: the same call inside Rust. version is the"
          + " floor, a native function that returns a constant; nativeCall a native call for each"
          + " document, nothing around it; encode and tokenCount those of NativeTokenizer;"
          + " utf8String the same from Spark's string to an int[];"
          + " tokenizeRow and tokenCountRow the SQL functions in a projection that Spark compiled,"
          + " one row a document. All take turns within one process,"
          + " some documents at a time, and differ by what stands"
          + " between: call_over_kernel is encode - kernel, utf8_string_over_kernel"
          + " utf8String - kernel, row_over_kernel tokenizeRow - kernel: the median of the difference within a turn.",
      "",
      "All documents are the same, the beginning of the sample that ships with quern-job: the"
          + " engine knows its words, so that the kernel is short beside what is measured. All"
          + " results are compared with the native ones before timing.",
      "",
    })
final class SeamCommand implements Callable<Integer> {
  /** Quantities of the benchmark, in order of the way in. */
  private static final List<String> QUANTITIES =
      List.of(
          "kernel",
          "version",
          "nativeCall",
          "encode",
          "tokenCount",
          "utf8String",
          "tokenizeRow",
          "tokenCountRow",
          "nativeCallOverKernel",
          "callOverKernel",
          "utf8StringOverKernel",
          "rowOverKernel");

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  @Option(
      names = "--document-bytes",
      split = ",",
      paramLabel = "N",
      defaultValue = "0,16,256,2048,32768,1048576",
      description = "Sizes of the documents. Default: ${DEFAULT-VALUE}.")
  List<Integer> sizes;

  @Option(
      names = "--tokenizer",
      paramLabel = "NAME|FILE",
      defaultValue = SeamBenchmark.TOKENIZER,
      description = "A built-in vocabulary or a tokenizer.json. Default: ${DEFAULT-VALUE}.")
  String tokenizer;

  @Option(
      names = "--forks",
      paramLabel = "N",
      defaultValue = "3",
      description = "JVMs for every size; 0 runs in this one. Default: ${DEFAULT-VALUE}.")
  int forks;

  @Option(
      names = "--iterations",
      paramLabel = "N",
      defaultValue = "10",
      description = "Timed iterations in every JVM. Default: ${DEFAULT-VALUE}.")
  int iterations;

  @Option(
      names = "--milliseconds",
      paramLabel = "MS",
      defaultValue = "500",
      description = "Length of an iteration. Default: ${DEFAULT-VALUE}.")
  int milliseconds;

  @Mixin RecordOptions recordOptions;

  @Override
  public Integer call() throws IOException {
    if (sizes.stream().anyMatch(size -> size < 0)
        || forks < 0
        || iterations < 1
        || milliseconds < 1) {
      throw new BenchException(
          BenchException.USAGE,
          "--document-bytes and --forks are at least 0, --iterations and --milliseconds at least"
              + " 1");
    }
    recordOptions.check();
    PrintWriter progress = spec.commandLine().getErr();
    Map<String, Object> environment = Record.environment(RecordOptions.root(), recordOptions.note);
    List<Map<String, Object>> lines = new ArrayList<>();
    for (int size : sizes) {
      progress.printf("seam, documents of %d bytes: %d JVMs%n", size, forks);
      progress.flush();
      lines.add(line(size, run(size)));
    }
    lines = RecordOptions.withEnvironment(lines, environment);
    recordOptions.finish(lines, table(lines), spec.commandLine().getOut(), progress);
    return 0;
  }

  private RunResult run(int size) {
    ChainedOptionsBuilder options =
        new OptionsBuilder()
            .include(SeamBenchmark.class.getName() + "\\.paths")
            .param("documentBytes", Integer.toString(size))
            .param("tokenizer", tokenizer)
            .forks(forks)
            .warmupIterations(iterations / 2 + 1)
            .warmupTime(TimeValue.milliseconds(milliseconds))
            .measurementIterations(iterations)
            .measurementTime(TimeValue.milliseconds(milliseconds))
            .jvmArgsAppend(BuildInfo.sparkJvmOptions().toArray(String[]::new))
            .verbosity(VerboseMode.SILENT)
            .shouldFailOnError(true);
    try {
      return new Runner(options.build()).run().iterator().next();
    } catch (RunnerException e) {
      Throwable first = e;
      for (Throwable cause = e; cause != null; cause = cause.getCause()) {
        for (Throwable ofFork : cause.getSuppressed()) {
          if (ofFork instanceof BenchException wrong) {
            throw wrong;
          }
          first = first == e ? ofFork : first;
        }
      }
      throw new BenchException(
          BenchException.FAILED, "the benchmark ended with an error: " + first, e);
    }
  }

  private Map<String, Object> line(int size, RunResult run) {
    List<Map<String, Double>> samples = new ArrayList<>();
    for (BenchmarkResult fork : run.getBenchmarkResults()) {
      for (IterationResult iteration : fork.getIterationResults()) {
        samples.add(quantities(iteration.getSecondaryResults()));
      }
    }
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("kind", "seam");
    line.put("tool", "quern");
    line.put("tool_version", BuildInfo.version());
    line.put("tokenizer", tokenizer);
    line.put("document_bytes", size);
    line.put("forks", forks);
    line.put("iterations", samples.size());
    samples
        .get(0)
        .keySet()
        .forEach(
            quantity ->
                Record.putSpread(
                    line,
                    quantity,
                    Spread.of(samples.stream().map(sample -> sample.get(quantity)).toList()),
                    1));
    return line;
  }

  @SuppressWarnings("rawtypes") // JMH's own signature
  private static Map<String, Double> quantities(Map<String, Result> counters) {
    Map<String, Double> nanoseconds = new LinkedHashMap<>();
    for (String quantity : QUANTITIES) {
      nanoseconds.put(snakeCase(quantity) + "_ns", counters.get(quantity).getScore());
    }
    return nanoseconds;
  }

  private static String snakeCase(String camelCase) {
    return camelCase.replaceAll("([A-Z])", "_$1").toLowerCase(Locale.ROOT);
  }

  private static String table(List<Map<String, Object>> lines) {
    StringBuilder table = new StringBuilder();
    table.append(
        String.format(
            "Nanoseconds a document, median (minimum - maximum); tokenizer %s.%n",
            lines.get(0).get("tokenizer")));
    table.append(String.format("%-22s", "document bytes"));
    lines.forEach(line -> table.append(String.format("%-30s", line.get("document_bytes"))));
    table.append('\n');
    lines.get(0).keySet().stream()
        .filter(key -> key.endsWith("_ns"))
        .forEach(
            quantity -> {
              table.append(String.format("%-22s", quantity.replaceAll("_ns$", "")));
              for (Map<String, Object> line : lines) {
                table.append(
                    String.format(
                        "%-30s",
                        String.format(
                            Locale.ROOT,
                            "%.1f (%.1f - %.1f)",
                            line.get(quantity),
                            line.get(quantity + "_min"),
                            line.get(quantity + "_max"))));
              }
              table.append('\n');
            });
    return table.toString();
  }
}
