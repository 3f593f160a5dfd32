package dev.quern.bench;

import dev.quern.bench.Kernel.Contender;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
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
      "How fast tokenizers encode documents that are in memory, and what memory they take: Quern's"
          + " engines and, with --peers, others in the same run.",
      "",
      "For each tokenizer and corpus every contender first encodes untimed, and its ids are compared"
          + " with the reference engine's (those with the peers'). Wrong ids of Quern are no time"
          + " but code 4; a peer with other ids is measured, its first difference is reported, and"
          + " nothing is divided by its figures.",
      "",
      "Then, round by round and in turn, each has fresh processes. load: seconds to read the file"
          + " and be ready. cold: the whole first pass, one batch call a piece (--piece). steady:"
          + " the last piece of it. warm: the best pass over the same text again, one call for all;"
          + " the median pass is in the record. Speeds are MB/s (10^6 bytes of UTF-8) a thread. The"
          + " ids of the first pass are hashed, and those of the last must be the same.",
      "",
      "Quern's figure is the engine's: one native call a batch, no copy in Java. Peers get the"
          + " batch call that they recommend. RSS is sampled before loading (documents in memory),"
          + " after it and after the first pass (ids kept); the high water is that of the same"
          + " time. Ratios are Quern's figure by the peer's in the same round, then the median of"
          + " the rounds.",
      "",
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern-bench kernel --tokenizer llama3/tokenizer.json --corpus english.parquet --corpus"
          + " code.parquet --peers gigatoken,hf --cpu 0,1 --threads 1,2",
      "  quern-bench kernel --passes 1000 --mb 2 --rounds 1      is RSS flat?",
      "  quern-bench kernel --cut 64,2048                        short against long documents",
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

  /** Clocks that can be asked for. */
  enum Clock {
    WALL,
    CPU
  }

  /** Others, by the name that is asked for; hf is the package tokenizers. */
  enum Peer {
    NONE,
    JTOKKIT,
    GIGATOKEN,
    SNAPTOKENS,
    HF,
    TIKTOKEN;

    String tool() {
      return this == HF ? "tokenizers" : lower(this);
    }

    boolean isPython() {
      return this != NONE && this != JTOKKIT;
    }
  }

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  @Option(
      names = "--tokenizer",
      paramLabel = "NAME|FILE",
      defaultValue = "o200k_base",
      description =
          "A built-in vocabulary, a tokenizer.json or a .tiktoken file; repeat it for several."
              + " Default: ${DEFAULT-VALUE}.")
  List<String> tokenizers;

  @Option(
      names = "--pattern",
      paramLabel = "NAME|REGEX",
      description = "For .tiktoken files: their regular expression, or the vocabulary whose it is.")
  String pattern;

  @Option(
      names = "--corpus",
      paramLabel = "PATH[,PATH...]",
      description =
          "Files, or folders of them: .parquet, JSON lines (.jsonl, .json, .ndjson), else text with"
              + " a document a line; .gz but for Parquet. With commas one corpus; repeat the option"
              + " for several. Default: the sample that ships with quern-job.")
  List<String> corpora = new ArrayList<>();

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
      description = "Use only the first M MB of each corpus. Default: all of it.")
  double megabytes;

  @Option(
      names = "--cut",
      split = ",",
      paramLabel = "BYTES",
      description =
          "Cut documents into ones of about that many bytes, at character boundaries. Several with"
              + " commas take turns, and are compared with the last. Default: as they are.")
  List<Integer> cuts = new ArrayList<>();

  @Option(
      names = "--piece",
      paramLabel = "M",
      defaultValue = "0",
      description =
          "MB a call in the first pass, of which the last is the steady speed. Default: 10, or a"
              + " third of a smaller corpus.")
  double piece;

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
      names = "--cache",
      paramLabel = "BYTES",
      description =
          "Cache of each thread of the fast engine, spark.quern.cache.bytesPerThread. Default: the"
              + " engine's.")
  Long cacheBytes;

  @Option(
      names = "--threads",
      split = ",",
      paramLabel = "N",
      defaultValue = "1",
      description =
          "Threads that encode at the same time, at most one a core; several with commas are"
              + " compared with the first. Default: ${DEFAULT-VALUE}.")
  List<Integer> threads;

  @Option(
      names = "--each",
      description =
          "Each thread encodes all of the text, in memory of its own and beginning at another place, as"
              + " tasks do that have partitions of their own. Default: the text is divided among the"
              + " threads, each of which then sees a part of it but nearly all of its words. Only for"
              + " Quern: --peers none.")
  boolean each;

  @Option(
      names = "--cpu",
      split = ",",
      paramLabel = "N",
      description =
          "Cores to run on, by taskset: the first for one thread, the first two for two ... Default:"
              + " the system's choice.")
  List<Integer> cpus = new ArrayList<>();

  @Option(
      names = "--passes",
      paramLabel = "N",
      defaultValue = "0",
      description =
          "Passes over the same text after the first, with RSS after 10, 100, 1000 ... of them."
              + " Default: as many as fill a second, at least 3 (or 10 seconds).")
  int passes;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      defaultValue = "5",
      description = "Processes of every contender, in turn. Default: ${DEFAULT-VALUE}.")
  int rounds;

  @Option(
      names = "--clock",
      paramLabel = "CLOCK",
      defaultValue = "wall",
      description =
          "wall, or cpu: the processor's time, for one thread on a machine with other work. Default:"
              + " ${DEFAULT-VALUE}.")
  Clock clock;

  @Option(
      names = "--peers",
      split = ",",
      paramLabel = "PEER",
      defaultValue = "jtokkit",
      description =
          "${COMPLETION-CANDIDATES}; several with commas. jtokkit and tiktoken have no"
              + " tokenizer.json. Default: ${DEFAULT-VALUE}.")
  List<Peer> peers;

  @Option(
      names = "--python",
      paramLabel = "FILE",
      description =
          "An interpreter that has the peers. Default: one in bench/target/peers, installed with"
              + " the versions of bench/peers-requirements.txt when it is needed.")
  String python;

  @Mixin RecordOptions recordOptions;

  @Override
  public Integer call() throws IOException, InterruptedException {
    check();
    PrintWriter progress = spec.commandLine().getErr();
    PrintWriter out = spec.commandLine().getOut();
    Map<String, Object> environment = Record.environment(RecordOptions.root(), recordOptions.note);
    if (!cpus.isEmpty()) {
      environment.put("pinned_to", cpus);
    }
    Path folder = Files.createTempDirectory("quern-bench");
    try {
      preparePython(progress);
      List<List<Corpus>> documents = corpora(folder, progress);
      Kernel.Runner runner = new Processes(folder, python, cpus);
      List<Map<String, Object>> all = new ArrayList<>();
      BenchException wrong = null;
      for (String tokenizer : tokenizers) {
        for (List<Corpus> variants : documents) {
          Kernel.Plan plan = plan(tokenizer, variants, folder, progress);
          progress.println(Kernel.name(tokenizer) + ", " + variants.get(0).name());
          try {
            List<Map<String, Object>> lines =
                RecordOptions.withEnvironment(
                    new Kernel(plan, runner, folder, progress).measure(), environment);
            // Now, not at the end: hours may follow.
            recordOptions.finish(lines, KernelTable.of(lines), out, progress);
            all.addAll(lines);
          } catch (BenchException e) {
            if (e.exitCode() != BenchException.WRONG_RESULT) {
              throw e;
            }
            // The others can still be right.
            progress.println("quern-bench: " + e.getMessage());
            progress.flush();
            wrong = e;
          }
        }
      }
      if (!recordOptions.json && tokenizers.size() * documents.size() > 1) {
        out.print(KernelTable.ratios(all));
        out.flush();
      }
      return wrong == null ? 0 : wrong.exitCode();
    } finally {
      delete(folder);
    }
  }

  private void check() {
    int cores = Runtime.getRuntime().availableProcessors();
    for (int number : threads) {
      if (number < 1 || number > cores) {
        throw new BenchException(
            BenchException.USAGE,
            "--threads " + number + ": speeds are per core, and this machine gives 1 to " + cores);
      }
      if (number > 1 && clock == Clock.CPU) {
        throw new BenchException(
            BenchException.USAGE,
            "--clock cpu says nothing about several threads: leave it out, or set --threads 1");
      }
    }
    if (each && peers.stream().anyMatch(peer -> peer != Peer.NONE)) {
      throw new BenchException(
          BenchException.USAGE, "--each is for Quern's own threads: add --peers none");
    }
    checkCpus(cpus, threads);
    if (rounds < 1 || passes < 0 || piece < 0 || cuts.stream().anyMatch(cut -> cut < 1)) {
      throw new BenchException(
          BenchException.USAGE,
          "--rounds and --cut are at least 1, --passes and --piece at least 0");
    }
    recordOptions.check();
  }

  /** Of --cpu: a core for each thread, and a program that can pin to it. */
  static void checkCpus(List<Integer> cpus, List<Integer> threads) {
    for (int number : threads) {
      if (!cpus.isEmpty() && cpus.size() < number) {
        throw new BenchException(
            BenchException.USAGE,
            "--cpu names " + cpus.size() + " cores for --threads " + number + ": name as many");
      }
    }
    if (!cpus.isEmpty() && !isOnThePath("taskset")) {
      throw new BenchException(
          BenchException.USAGE,
          "--cpu needs the command taskset, which is not on the PATH: leave --cpu out");
    }
  }

  private static boolean isOnThePath(String command) {
    return Arrays.stream(System.getenv().getOrDefault("PATH", "").split(":"))
        .anyMatch(entry -> Files.isExecutable(Path.of(entry, command)));
  }

  /** Finds or makes the interpreter, and checks that it has what was asked for. */
  private void preparePython(PrintWriter progress) throws IOException, InterruptedException {
    List<Peer> wanted = peers.stream().filter(Peer::isPython).toList();
    if (wanted.isEmpty()) {
      return;
    }
    if (python == null) {
      python = Processes.environment("peers", progress);
    }
    Map<String, String> versions = Processes.peers(python);
    for (Peer peer : wanted) {
      if (versions.get(peer.tool()) == null) {
        throw new BenchException(
            BenchException.INPUT,
            python
                + " has no package "
                + peer.tool()
                + ": install it there, or leave it out of --peers, or leave out --python");
      }
    }
  }

  /** Each corpus as many times as it is cut. */
  private List<List<Corpus>> corpora(Path folder, PrintWriter progress) {
    List<List<Corpus>> all = new ArrayList<>();
    List<Integer> lengths = cuts.isEmpty() ? List.of(0) : cuts;
    for (String one : corpora.isEmpty() ? List.of("") : corpora) {
      List<Path> files =
          Arrays.stream(one.split(",")).filter(name -> !name.isEmpty()).map(Path::of).toList();
      List<Corpus> variants = new ArrayList<>();
      for (int cut : lengths) {
        Corpus corpus =
            Corpus.read(
                files,
                new Corpus.Options(textColumn, wholeFile, Math.round(megabytes * 1e6), cut),
                folder.resolve("corpus-" + all.size() + "-" + cut));
        progress.println(corpus.summary());
        progress.flush();
        variants.add(corpus);
      }
      all.add(variants);
    }
    return all;
  }

  /** Who takes part: what can't is said, not passed over. */
  private Kernel.Plan plan(
      String tokenizer, List<Corpus> variants, Path folder, PrintWriter progress)
      throws IOException {
    TokenizerSpec tokenizerSpec = KernelTask.spec(tokenizer, pattern);
    boolean builtIn = TokenizerSpec.builtInNames().contains(tokenizer);
    boolean hasRanks = tokenizerSpec.format() == TokenizerSpec.Format.TIKTOKEN;
    List<Contender> contenders = new ArrayList<>();
    for (Engine engine : engines) {
      for (Allocator allocator : allocators) {
        contenders.add(new Contender("quern", lower(engine), lower(allocator)));
      }
    }
    for (Peer peer : peers) {
      boolean can =
          switch (peer) {
            case NONE -> false;
            case JTOKKIT -> builtIn;
            case TIKTOKEN -> hasRanks;
            default -> true;
          };
      if (can) {
        contenders.add(new Contender(peer.tool(), null, null));
      } else if (peer != Peer.NONE) {
        progress.println(lower(peer) + " takes no part: it does not read " + tokenizer);
      }
    }
    Path ranks = null;
    Path json = hasRanks ? null : Path.of(tokenizer);
    if (hasRanks && peers.stream().anyMatch(Peer::isPython)) {
      Path own =
          Files.createDirectories(folder.resolve("vocabulary-" + tokenizers.indexOf(tokenizer)));
      json = own.resolve("tokenizer.json");
      if (!Files.exists(json)) {
        TokenizerJson.write(tokenizerSpec, json);
      }
      ranks = Files.write(own.resolve("ranks.tiktoken"), tokenizerSpec.file());
    }
    return new Kernel.Plan(
        cacheBytes,
        tokenizer,
        tokenizerSpec.pattern(),
        ranks == null ? null : ranks.toString(),
        json == null ? null : json.toString(),
        variants,
        contenders,
        threads,
        each,
        Math.round(piece * 1e6),
        passes,
        lower(clock),
        rounds);
  }

  static String lower(Enum<?> value) {
    return value.name().toLowerCase(Locale.ROOT);
  }

  static void delete(Path folder) throws IOException {
    try (Stream<Path> files = Files.walk(folder)) {
      for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
        Files.delete(file);
      }
    }
  }
}
