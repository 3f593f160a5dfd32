package dev.quern.bench;

import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code quern-bench pipeline}: see its description. */
@Command(
    name = "pipeline",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "How fast whole pipelines are, from Parquet files of text to files of ids, and what memory"
          + " their processes take: Quern's job and, with --pipelines, others on the same input.",
      "",
      "The input is the corpus, as often as it takes to have --mb; every document begins with a line"
          + " of its own, and all are mixed. It is kept with the reference engine's ids in --work."
          + " Every pipeline first writes its ids untimed, and all pairs (id, input_ids) are compared"
          + " with the reference's. Wrong ids of Quern are no time but code 4; a pipeline with other"
          + " ids is measured, and nothing is divided by its figures.",
      "",
      "Then, round by round and in turn, each has a fresh process, which makes one cold pass and"
          + " --passes warm ones (datatrove and datasets: one pass, as they start workers anew for"
          + " each). MB/s are 10^6 bytes of text of the whole machine; starting the process, the"
          + " session or the imports is not in them. On Spark all but stock_copy have the session of"
          + " job/bin/quern (conf/spark-defaults-local.conf, its heap).",
      "",
      "With --cold, whole lives of processes: job/bin/quern tokenize against a spark-submit of a job"
          + " that only reads the same text and discards it, in turn.",
      "",
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern-bench pipeline --corpus docs.parquet --tokenizer llama3/tokenizer.json --pipelines"
          + " quern,copy,scan,kernel,gigatoken",
      "  quern-bench pipeline --cold --rounds 5",
      "  quern-bench pipeline --pipelines quern,datatrove --rounds 1",
    })
final class PipelineCommand implements Callable<Integer> {
  /** Who can be asked for. */
  enum Name {
    QUERN,
    COPY,
    STOCK_COPY,
    SCAN,
    KERNEL,
    COUNT_CACHED,
    COUNT_FILES,
    COUNT_BATCHES,
    GIGATOKEN,
    DATATROVE,
    DATASETS
  }

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  @Option(
      names = "--pipelines",
      split = ",",
      paramLabel = "PIPELINE",
      defaultValue = "quern,copy,scan,kernel",
      description =
          "${COMPLETION-CANDIDATES}; several with commas. copy: Spark copies ready ids by its own"
              + " Parquet writer. stock_copy: so it does with its own defaults and the same heap."
              + " scan: Spark reads the text and discards it. kernel: Quern's engine over the"
              + " documents in memory. count_cached, count_files: sum(token_count(text)) in SQL, of"
              + " Spark's cache (of 4 GiB of heap) and of the files; count_batches: as an operator"
              + " over column batches would count. gigatoken: a script of it and pyarrow. datatrove,"
              + " datasets: Hugging Face's. Default: ${DEFAULT-VALUE}.")
  List<Name> pipelines;

  @Option(
      names = "--tokenizer",
      paramLabel = "NAME|FILE",
      defaultValue = "o200k_base",
      description = "A built-in vocabulary or a tokenizer.json. Default: ${DEFAULT-VALUE}.")
  String tokenizer;

  @Mixin CorpusOptions corpusOptions;

  @Option(
      names = "--mb",
      paramLabel = "M",
      defaultValue = "180",
      description = "MB of text in the input. Default: ${DEFAULT-VALUE}.")
  double megabytes;

  @Option(
      names = "--format",
      paramLabel = "F",
      defaultValue = "parquet",
      description = "Of Quern's job: parquet or arrow. Default: ${DEFAULT-VALUE}.")
  String format;

  @Option(
      names = "--compression",
      paramLabel = "CODEC",
      defaultValue = "snappy",
      description =
          "Of Quern's job; what the others write is snappy, too. Default: ${DEFAULT-VALUE}.")
  String compression;

  @Option(
      names = "--encoding",
      paramLabel = "E",
      description = "Of Quern's job: how ids stand in Parquet files. Default: the job's.")
  String encoding;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description =
          "Tasks, threads or processes that work at the same time. Default: as many as cores.")
  Integer threads;

  @Option(
      names = "--passes",
      paramLabel = "N",
      defaultValue = "3",
      description =
          "Warm passes of each process, after the cold one. The JVM's compiler takes some 25 of 360"
              + " MB to come to rest. Default: ${DEFAULT-VALUE}.")
  int passes;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      defaultValue = "3",
      description = "Processes of every pipeline, in turn. Default: ${DEFAULT-VALUE}.")
  int rounds;

  @Option(
      names = "--cold",
      description =
          "Measure whole processes of job/bin/quern and of a job that only scans, instead of"
              + " --pipelines.")
  boolean cold;

  @Option(
      names = "--work",
      paramLabel = "FOLDER",
      description =
          "Where the input and the reference's ids are kept, and outputs written. Default:"
              + " bench/target/pipeline of the checkout.")
  Path work;

  @Option(
      names = "--python",
      paramLabel = "FILE",
      description =
          "An interpreter that has the pipelines in Python. Default: one in bench/target/pipeline-"
              + "peers, installed with the versions of bench/pipeline-peers-requirements.txt when it"
              + " is needed.")
  String python;

  @Mixin RecordOptions recordOptions;

  @Override
  public Integer call() throws IOException, InterruptedException {
    check();
    PrintWriter progress = spec.commandLine().getErr();
    List<String> names = pipelines.stream().map(KernelCommand::lower).toList();
    TokenizerSpec tokenizerSpec = KernelTask.spec(tokenizer, null);
    if (!TokenizerSpec.builtInNames().contains(tokenizer)) {
      // The job takes it for a URI.
      tokenizer = Path.of(tokenizer).toAbsolutePath().toString();
    }
    PipelineTask.launcherDefaults();
    boolean anyPython = !cold && names.stream().anyMatch(Pipeline::isPython);
    if (anyPython) {
      preparePython(names, progress);
    }
    Map<String, Object> environment = Record.environment(RecordOptions.root(), recordOptions.note);
    Path base =
        Files.createDirectories(
            work != null
                ? work.toAbsolutePath()
                : RecordOptions.root().resolve("bench").resolve("target").resolve("pipeline"));
    Path folder = Files.createTempDirectory(base, "run-");
    try {
      Corpus documents = corpusOptions.read(0, folder.resolve("corpus"));
      PipelineInput input = PipelineInput.of(documents, Math.round(megabytes * 1e6), base);
      progress.printf(
          Locale.ROOT,
          "%s, mixed and repeated: %d documents, %.1f MB%n",
          documents.name(),
          input.documents(),
          input.bytes() / 1e6);
      progress.flush();
      PipelineProcesses processes = new PipelineProcesses(folder, python);
      List<Map<String, Object>> lines;
      if (cold) {
        lines = PipelineCold.measure(processes, input, coldPlan(documents, folder), progress);
      } else {
        String json = anyPython ? json(tokenizerSpec, folder) : null;
        Pipeline.Plan plan =
            new Pipeline.Plan(
                input,
                documents.name(),
                tokenizer,
                json,
                hash(tokenizerSpec),
                names,
                jobOptions(),
                threads,
                passes + 1,
                rounds);
        Processes kernels = new Processes(folder, null, List.of());
        Pipeline.KernelRunner kernel =
            (flat, count, bytes, number, warm) ->
                kernels.run(kernelTask(folder, flat, count, bytes, number, warm));
        lines = new Pipeline(plan, processes, kernel, folder, progress).measure();
      }
      lines = RecordOptions.withEnvironment(lines, environment);
      recordOptions.finish(
          lines,
          cold ? PipelineCold.table(lines) : table(lines),
          spec.commandLine().getOut(),
          progress);
      return 0;
    } finally {
      KernelCommand.delete(folder);
    }
  }

  private void check() {
    int cores = Runtime.getRuntime().availableProcessors();
    if (threads == null) {
      threads = cores;
    }
    if (threads < 1 || threads > cores) {
      throw new BenchException(
          BenchException.USAGE, "--threads " + threads + ": this machine gives 1 to " + cores);
    }
    if (passes < 1 || rounds < 1 || !(megabytes > 0)) {
      throw new BenchException(
          BenchException.USAGE, "--passes and --rounds are at least 1, --mb is more than 0");
    }
    if (tokenizer.endsWith(".tiktoken")) {
      throw new BenchException(
          BenchException.USAGE,
          "--tokenizer " + tokenizer + ": name a built-in vocabulary or a tokenizer.json");
    }
    recordOptions.check();
  }

  private List<String> jobOptions() {
    List<String> options =
        new ArrayList<>(List.of("--format", format, "--compression", compression));
    if (encoding != null) {
      options.addAll(List.of("--encoding", encoding));
    }
    return options;
  }

  private void preparePython(List<String> names, PrintWriter progress)
      throws IOException, InterruptedException {
    if (python == null) {
      python = Processes.environment("pipeline-peers", progress);
    }
    Map<String, String> versions = Processes.versions(python, PipelineProcesses.script());
    for (String name : names) {
      if (Pipeline.isPython(name) && versions.get(name) == null) {
        throw new BenchException(
            BenchException.INPUT,
            python
                + " has no package "
                + name
                + ": install it there, or leave it out of --pipelines, or leave out --python");
      }
    }
  }

  private String json(TokenizerSpec tokenizerSpec, Path folder) throws IOException {
    if (tokenizerSpec.format() != TokenizerSpec.Format.TIKTOKEN) {
      return tokenizer;
    }
    Path json = folder.resolve("tokenizer.json");
    TokenizerJson.write(tokenizerSpec, json);
    return json.toString();
  }

  /** Of the file and, for a vocabulary of ranks, of the pattern that goes with it. */
  private static String hash(TokenizerSpec tokenizerSpec) {
    MessageDigest digest = Documents.sha256();
    digest.update(tokenizerSpec.file());
    if (tokenizerSpec.pattern() != null) {
      digest.update(tokenizerSpec.pattern().getBytes(StandardCharsets.UTF_8));
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private KernelTask kernelTask(
      Path folder, Path flat, int documents, long bytes, int number, int warm) throws IOException {
    Corpus whole = new Corpus("", flat, documents, bytes, "", 0);
    return new KernelTask(
        "quern",
        "auto",
        "auto",
        null,
        tokenizer,
        null,
        null,
        null,
        flat.toString(),
        documents,
        bytes,
        Kernel.pieces(whole, 0),
        number,
        false,
        warm,
        "wall",
        true,
        false,
        false,
        0,
        null,
        null,
        null,
        folder.resolve("result.json").toString());
  }

  private PipelineCold.Plan coldPlan(Corpus documents, Path folder) {
    return new PipelineCold.Plan(
        RecordOptions.root(),
        documents.name(),
        tokenizer,
        jobOptions(),
        threads,
        rounds,
        folder.resolve("output"));
  }

  /** For people: a line for every pipeline, then what Quern's figures are by theirs. */
  static String table(List<Map<String, Object>> lines) {
    StringBuilder table = new StringBuilder();
    table.append(
        String.format(
            "%-13s %-12s %24s %24s %10s %10s %9s  %s%n",
            "pipeline",
            "version",
            "MB/s cold",
            "MB/s warm",
            "median",
            "RSS MiB",
            "heap MiB",
            "ids"));
    for (Map<String, Object> line : lines) {
      Object memory = line.containsKey("vm_hwm_mib") ? line.get("vm_hwm_mib") : null;
      if (Pipeline.isPython((String) line.get("pipeline"))) {
        memory = line.get("tree_rss_mib");
      }
      table.append(
          String.format(
              Locale.ROOT,
              "%-13s %-12s %24s %24s %10s %10s %9s  %s%n",
              line.get("pipeline"),
              line.get("tool_version"),
              spread(line, "cold_mb_s"),
              spread(line, "warm_mb_s"),
              line.get("warm_median_mb_s"),
              memory == null ? "?" : memory,
              line.getOrDefault("heap_mib", ""),
              line.getOrDefault("verified", "")));
    }
    for (Map<String, Object> line : lines) {
      if (line.get("over") instanceof Map<?, ?> over) {
        Object own = line.get("pipeline");
        over.forEach(
            (name, ratios) -> {
              Map<?, ?> times = (Map<?, ?>) ratios;
              table.append(
                  String.format(
                      Locale.ROOT,
                      "%s / %-16s cold %s, warm %s (%s - %s), median of warm %s%n",
                      own,
                      name,
                      times.get("cold"),
                      times.get("warm"),
                      times.get("warm_min"),
                      times.get("warm_max"),
                      times.get("warm_median")));
            });
      }
    }
    return table.toString();
  }

  static String spread(Map<String, Object> line, String quantity) {
    return line.get(quantity)
        + " ("
        + line.get(quantity + "_min")
        + " - "
        + line.get(quantity + "_max")
        + ")";
  }
}
