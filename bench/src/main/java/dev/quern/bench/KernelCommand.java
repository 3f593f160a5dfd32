package dev.quern.bench;

import dev.quern.bench.Kernel.Contender;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code quern-bench kernel}: see its description. */
@Command(
    name = "kernel",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "How fast a tokenizer encodes documents that are in memory, and what memory it takes.",
      "",
      "Every contender (Quern with each engine and allocator asked for, jtokkit for the built-in"
          + " vocabularies, Python packages with --peers) first encodes the corpus untimed, and its"
          + " ids are compared with those of an independent engine: jtokkit's for a built-in"
          + " vocabulary, else the reference engine's, else those of a package of --peers. A"
          + " difference ends the run with code 4. The reference engine with nobody to compare"
          + " with is reported as not verified.",
      "",
      "Then, round by round, each has a fresh process: load_s is the time to load; cold the speed"
          + " of the first pass, and steady that of its last 10 MB (of its last third, if that is"
          + " less); warm the same text again. A JVM compiles while it is cold: that is"
          + " in cold and, on a small corpus, in steady. All are MB/s (10^6 bytes of UTF-8) a"
          + " thread. RSS is sampled before loading (documents in memory), after it, and after the"
          + " last timed pass. At the end the process makes the ids again, and their hash must be"
          + " the verified one.",
      "",
    })
final class KernelCommand implements Callable<Integer> {
  /** Engines that can be asked for. */
  enum Engine {
    AUTO,
    FAST,
    REFERENCE
  }

  /** Allocators that can be asked for. */
  enum Allocator {
    AUTO,
    MIMALLOC,
    SYSTEM
  }

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  @Option(
      names = "--tokenizer",
      paramLabel = "NAME|FILE",
      defaultValue = "o200k_base",
      description =
          "A built-in vocabulary, a tokenizer.json or a .tiktoken file. Default: ${DEFAULT-VALUE}.")
  String tokenizer;

  @Option(
      names = "--pattern",
      paramLabel = "NAME|REGEX",
      description = "For a .tiktoken file: its regular expression, or the vocabulary whose it is.")
  String pattern;

  @Option(
      names = "--corpus",
      split = ",",
      paramLabel = "PATH",
      description =
          "Files, or folders of them: .parquet, JSON lines (.jsonl, .json, .ndjson), else text with"
              + " a document a line; .gz but for Parquet. Default: the sample that ships with"
              + " quern-job.")
  List<Path> corpus = new ArrayList<>();

  @Option(
      names = "--text-column",
      paramLabel = "NAME",
      defaultValue = "text",
      description = "Column or field that holds the text. Default: ${DEFAULT-VALUE}.")
  String textColumn;

  @Option(names = "--whole-file", description = "A text file is one document.")
  boolean wholeFile;

  @Option(
      names = "--mb",
      paramLabel = "M",
      defaultValue = "0",
      description = "Use only the first M MB of the corpus. Default: all of it.")
  double megabytes;

  @Option(
      names = "--engine",
      split = ",",
      paramLabel = "E",
      defaultValue = "auto",
      description = "${COMPLETION-CANDIDATES}; several with commas. Default: ${DEFAULT-VALUE}.")
  List<Engine> engines;

  @Option(
      names = "--allocator",
      split = ",",
      paramLabel = "A",
      defaultValue = "auto",
      description =
          "${COMPLETION-CANDIDATES}; several with commas, each in JVMs of its own. Default:"
              + " ${DEFAULT-VALUE}.")
  List<Allocator> allocators;

  @Option(
      names = "--threads",
      paramLabel = "N",
      defaultValue = "1",
      description =
          "Threads that encode at the same time, at most one a core. Default: ${DEFAULT-VALUE}.")
  int threads;

  @Option(
      names = "--passes",
      paramLabel = "N",
      defaultValue = "3",
      description = "Warm passes in every process. Default: ${DEFAULT-VALUE}.")
  int passes;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      defaultValue = "3",
      description = "Processes of every contender, in turn. Default: ${DEFAULT-VALUE}.")
  int rounds;

  @Option(
      names = "--peers",
      paramLabel = "PYTHON",
      description =
          "A Python interpreter that has tokenizers (for a tokenizer.json) or tiktoken (for a"
              + " vocabulary of ranks): they are measured in the same run.")
  String peers;

  @Mixin RecordOptions recordOptions;

  @Override
  public Integer call() throws IOException, InterruptedException {
    check();
    PrintWriter progress = spec.commandLine().getErr();
    Map<String, Object> environment = Record.environment(RecordOptions.root(), recordOptions.note);
    Path folder = Files.createTempDirectory("quern-bench");
    try {
      Corpus documents =
          Corpus.read(
              corpus,
              new Corpus.Options(textColumn, wholeFile, Math.round(megabytes * 1e6)),
              folder.resolve("corpus"));
      progress.printf(
          Locale.ROOT,
          "%s: %d documents, %.1f MB, SHA-256 %s%n",
          documents.name(),
          documents.documents(),
          documents.bytes() / 1e6,
          documents.hash());
      Kernel.Plan plan = plan(documents, folder, progress);
      Kernel.Runner runner = new Processes(folder, documents.bytes(), peers);
      List<Map<String, Object>> lines =
          RecordOptions.withEnvironment(
              new Kernel(plan, runner, folder, progress).measure(), environment);
      recordOptions.finish(lines, table(lines), spec.commandLine().getOut(), progress);
      return 0;
    } finally {
      delete(folder);
    }
  }

  private void check() {
    int cores = Runtime.getRuntime().availableProcessors();
    if (threads < 1 || threads > cores) {
      throw new BenchException(
          BenchException.USAGE,
          "--threads " + threads + ": speeds are per core, and this machine gives 1 to " + cores);
    }
    if (passes < 1 || rounds < 1) {
      throw new BenchException(BenchException.USAGE, "--passes and --rounds are at least 1");
    }
    recordOptions.check();
  }

  /** Who takes part: what can't is said, not passed over. */
  private Kernel.Plan plan(Corpus documents, Path folder, PrintWriter progress)
      throws IOException, InterruptedException {
    boolean builtIn = TokenizerSpec.builtInNames().contains(tokenizer);
    String ofRanks = builtIn ? TokenizerSpec.builtInPattern(tokenizer) : pattern;
    if (!builtIn && ofRanks != null && TokenizerSpec.builtInNames().contains(ofRanks)) {
      ofRanks = TokenizerSpec.builtInPattern(ofRanks);
    }
    boolean hasRanks = builtIn || tokenizer.endsWith(".tiktoken");
    List<Contender> contenders = new ArrayList<>();
    for (Engine engine : engines) {
      for (Allocator allocator : allocators) {
        contenders.add(new Contender("quern", lower(engine), lower(allocator)));
      }
    }
    if (builtIn) {
      contenders.add(new Contender("jtokkit", null, null));
    } else {
      progress.println("jtokkit takes no part: it has only the built-in vocabularies");
    }
    String ranks = null;
    if (peers != null) {
      String wanted = hasRanks ? "tiktoken" : "tokenizers";
      if (Processes.peers(folder, peers).get(wanted) == null) {
        throw new BenchException(
            BenchException.INPUT,
            "--peers "
                + peers
                + " has no package "
                + wanted
                + ", the one that reads this tokenizer: install it there, or leave --peers out");
      }
      contenders.add(new Contender(wanted, null, null));
      if (builtIn) {
        ranks = folder.resolve("ranks.tiktoken").toString();
        Files.write(Path.of(ranks), TokenizerSpec.builtIn(tokenizer).file());
      } else {
        ranks = hasRanks ? tokenizer : null;
      }
    }
    return new Kernel.Plan(
        documents, tokenizer, ofRanks, ranks, contenders, threads, passes, rounds);
  }

  private static String lower(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }

  private static String table(List<Map<String, Object>> lines) {
    StringBuilder table = new StringBuilder();
    Map<String, Object> first = lines.get(0);
    table.append(
        String.format(
            Locale.ROOT,
            "%s, %s: %s documents, %s bytes, %s tokens; %s thread(s), %s round(s)%n",
            first.get("tokenizer"),
            first.get("corpus"),
            first.get("documents"),
            first.get("bytes"),
            first.get("tokens"),
            first.get("threads"),
            first.get("rounds")));
    table.append("Median (minimum - maximum); speeds are MB/s a core, memory is MiB.\n");
    String format = "%-26s %-20s %-20s %-20s %-20s %-18s %-7s %s%n";
    table.append(
        String.format(
            format,
            "",
            "load s",
            "cold",
            "steady",
            "warm",
            "RSS start/load/end",
            "HWM",
            "ids equal to"));
    for (Map<String, Object> line : lines) {
      boolean quern = line.get("tool").equals("quern");
      table.append(
          String.format(
              format,
              quern
                  ? "quern " + line.get("engine") + " " + line.get("allocator")
                  : line.get("tool"),
              spread(line, "load_s"),
              spread(line, "cold_mb_s"),
              spread(line, "steady_mb_s"),
              spread(line, "warm_mb_s"),
              line.containsKey("rss_end_mib")
                  ? String.format(
                      Locale.ROOT,
                      "%.0f/%.0f/%.0f",
                      line.get("rss_start_mib"),
                      line.get("rss_load_mib"),
                      line.get("rss_end_mib"))
                  : "unknown",
              line.containsKey("vm_hwm_mib")
                  ? String.format(Locale.ROOT, "%.0f", line.get("vm_hwm_mib"))
                  : "unknown",
              line.get("verified_by") == null
                  ? "not verified"
                  : line.get("verified_by")
                      + ", "
                      + line.get("verified_documents")
                      + " documents"));
    }
    return table.toString();
  }

  private static String spread(Map<String, Object> line, String quantity) {
    return String.format(
        Locale.ROOT,
        "%.2f (%.2f - %.2f)",
        line.get(quantity),
        line.get(quantity + "_min"),
        line.get(quantity + "_max"));
  }

  private static void delete(Path folder) throws IOException {
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }
}
