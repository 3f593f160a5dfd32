package dev.quern.bench;

import dev.quern.bench.Allocator.Contender;
import dev.quern.bench.Allocator.Part;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code quern-bench allocator}: see its description. */
@Command(
    name = "allocator",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "What mimalloc gains in speed and costs in memory against the system's allocator: the"
          + " experiment of Hugging Face tokenizers' pull request 2073, in a native program (native)"
          + " and inside a JVM through JNA (jvm).",
      "",
      "The engine crate is that experiment: encode_batch of Hugging Face's crate, post-processing"
          + " included, every encoding kept until the next call. reference and fast are Quern's"
          + " engines as a job calls them. Every process's ids must be those of the crate.",
      "",
      "speed: round by round and in turn, fresh processes; the median and the best of their passes"
          + " after the first, all threads together. memory: one process each makes --memory-passes"
          + " passes; VmRSS after them, VmHWM, VmPeak. threads: one process each starts"
          + " --short-threads threads, as many at a time as --threads says, that encode a part and"
          + " end; VmRSS after them. shares: of CPU time in malloc, free and realloc of the C"
          + " library, in mimalloc, and in access to thread-local variables; by perf (event"
          + " cpu-clock), where the machine lets us, of binaries with symbols. Only speed needs a"
          + " machine on which nothing else runs: --measure takes them apart.",
      "",
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern-bench allocator --corpus prose.parquet --record           (half an hour)",
      "  quern-bench allocator --mb 1 --rounds 1 --measure speed         (a minute)",
      "  quern-bench allocator --seat jvm --engine reference --mb 2 --measure speed,memory"
          + " --variable MIMALLOC_PURGE_DELAY=0 --variable MALLOC_ARENA_MAX=1 --collect"
          + " --allocator system,mimalloc,mimalloc-v2",
    })
final class AllocatorCommand implements Callable<Integer> {
  /** Where the engine runs. */
  enum Seat {
    NATIVE,
    JVM
  }

  /** What encodes. */
  enum Engine {
    CRATE,
    REFERENCE,
    FAST
  }

  /** Who serves memory: the two that are packed, and other builds of mimalloc. */
  enum Served {
    SYSTEM,
    MIMALLOC,
    MIMALLOC_THP,
    MIMALLOC_V2;

    /** As Cargo's feature; also what is typed. */
    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT).replace('_', '-');
    }
  }

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  @Option(
      names = "--tokenizer",
      paramLabel = "NAME|FILE",
      defaultValue = "gpt2",
      description = "A built-in vocabulary or a tokenizer.json. Default: ${DEFAULT-VALUE}.")
  String tokenizer;

  @Mixin CorpusOptions corpusOptions;

  @Option(
      names = "--mb",
      paramLabel = "M",
      defaultValue = "0",
      description = "Use only the first M MB of the corpus. Default: all of it.")
  double megabytes;

  @Option(
      names = "--chunks",
      paramLabel = "N",
      defaultValue = "999",
      description =
          "Join the documents and cut them into about N of equal length; 0: as they are. Default:"
              + " ${DEFAULT-VALUE}, as in the experiment.")
  int chunks;

  @Option(
      names = "--seat",
      split = ",",
      paramLabel = "S",
      defaultValue = "native,jvm",
      description = "${COMPLETION-CANDIDATES}; both with a comma. Default: ${DEFAULT-VALUE}.")
  List<Seat> seats;

  @Option(
      names = "--engine",
      split = ",",
      paramLabel = "E",
      defaultValue = "crate,reference",
      description =
          "${COMPLETION-CANDIDATES}; several with commas; crate is native only. Default:"
              + " ${DEFAULT-VALUE}.")
  List<Engine> engines;

  @Option(
      names = "--allocator",
      split = ",",
      paramLabel = "A",
      defaultValue = "system,mimalloc",
      description =
          "${COMPLETION-CANDIDATES}; several with commas. mimalloc is v3 without transparent huge"
              + " pages, as the library is packed; mimalloc-thp allows them; mimalloc-v2 is the"
              + " older line. Default: ${DEFAULT-VALUE}.")
  List<Served> allocators;

  @Option(
      names = "--variable",
      paramLabel = "NAME=VALUE[,...]",
      description =
          "Measure once more with this environment variable (or these together), an option of an"
              + " allocator: MIMALLOC_... with mimalloc, others (MALLOC_..., GLIBC_TUNABLES) with"
              + " the system's. Repeat it for several, each for itself.")
  List<String> variables = new ArrayList<>();

  @Option(
      names = "--collect",
      description =
          "Measure once more (system, mimalloc; not of the engine crate) with freed memory given"
              + " back behind every batch: mi_collect, malloc_trim. A batch is all chunks with one"
              + " thread, an eighth of a thread's share with several.")
  boolean collect;

  @Option(
      names = "--measure",
      split = ",",
      paramLabel = "P",
      defaultValue = "speed,memory,threads,shares",
      description = "${COMPLETION-CANDIDATES}; several with commas. Default: ${DEFAULT-VALUE}.")
  Set<Part> parts;

  @Option(
      names = "--threads",
      split = ",",
      paramLabel = "N",
      description = "Threads that encode at the same time. Default: 1 and all cores.")
  List<Integer> threads = new ArrayList<>();

  @Option(
      names = "--cpu",
      split = ",",
      paramLabel = "N",
      description = "Cores to run on, by taskset, as of quern-bench kernel. Default: any.")
  List<Integer> cpus = new ArrayList<>();

  @Option(
      names = "--rounds",
      paramLabel = "N",
      defaultValue = "5",
      description = "Processes of every contender for speed. Default: ${DEFAULT-VALUE}.")
  int rounds;

  @Option(
      names = "--passes",
      paramLabel = "N",
      defaultValue = "5",
      description = "Passes of each after the first. Default: ${DEFAULT-VALUE}.")
  int passes;

  @Option(
      names = "--memory-passes",
      paramLabel = "N",
      defaultValue = "50",
      description = "Passes for memory. Default: ${DEFAULT-VALUE}.")
  int memoryPasses;

  @Option(
      names = "--short-threads",
      paramLabel = "N",
      defaultValue = "200",
      description = "Threads that each encode a part and end. Default: ${DEFAULT-VALUE}.")
  int shortThreads;

  @Mixin RecordOptions recordOptions;

  @Override
  public Integer call() throws IOException, InterruptedException {
    check();
    PrintWriter progress = spec.commandLine().getErr();
    Map<String, Object> environment = Record.environment(RecordOptions.root(), recordOptions.note);
    if (!cpus.isEmpty()) {
      environment.put("pinned_to", cpus);
    }
    environment.putAll(system());
    Path folder = Files.createTempDirectory("quern-bench");
    try {
      Corpus documents = documents(folder);
      progress.println(documents.summary());
      Set<Part> measured = EnumSet.copyOf(parts);
      if (measured.contains(Part.SHARES) && !CpuShares.isAvailable(folder)) {
        measured.remove(Part.SHARES);
        progress.println("no shares of CPU time: perf is missing, or may not sample here");
      }
      AllocatorBuild build = new AllocatorBuild(RecordOptions.root());
      Set<String> programs = new LinkedHashSet<>(Set.of("system")); // the judge's
      Set<String> libraries = new LinkedHashSet<>();
      for (Contender contender : contenders()) {
        if (contender.seat().equals("native")) {
          programs.add(contender.build());
        } else if (measured.contains(Part.SHARES) || !contender.isPacked()) {
          libraries.add(contender.build());
        }
      }
      build.build(programs, libraries, progress);
      Allocator.Plan plan =
          new Allocator.Plan(
              Kernel.name(tokenizer),
              json(folder),
              documents,
              chunks,
              contenders(),
              threads(),
              measured,
              passes,
              rounds,
              memoryPasses,
              shortThreads);
      List<Map<String, Object>> lines =
          RecordOptions.withEnvironment(
              new Allocator(plan, new Processes(folder, null, cpus)::run, build, folder, progress)
                  .measure(),
              environment);
      recordOptions.finish(lines, AllocatorTable.of(lines), spec.commandLine().getOut(), progress);
      return 0;
    } finally {
      KernelCommand.delete(folder);
    }
  }

  private void check() {
    int cores = Runtime.getRuntime().availableProcessors();
    for (int number : threads) {
      if (number < 1 || number > cores) {
        throw new BenchException(
            BenchException.USAGE,
            "--threads "
                + number
                + ": a thread needs a core, and this machine gives 1 to "
                + cores);
      }
    }
    KernelCommand.checkCpus(cpus, threads());
    if (Math.min(Math.min(rounds, passes), Math.min(memoryPasses, shortThreads)) < 1
        || chunks < 0
        || megabytes < 0) {
      throw new BenchException(
          BenchException.USAGE,
          "--rounds, --passes, --memory-passes and --short-threads are at least 1; --chunks and"
              + " --mb at least 0");
    }
    for (String together : variables) {
      for (String variable : together.split(",")) {
        if (variable.indexOf('=') < 1) {
          throw new BenchException(
              BenchException.USAGE,
              "--variable " + together + ": give NAME=VALUE, or several of these with commas");
        }
        if (variable.equals("MIMALLOC_ALLOW_THP=0") && seats.contains(Seat.JVM)) {
          throw new BenchException(
              BenchException.USAGE,
              "--variable "
                  + variable
                  + ": it turns transparent huge pages off for the whole JVM, its heap included,"
                  + " which is another thing than mimalloc's memory: add --seat native");
        }
      }
    }
    if (contenders().isEmpty()) {
      throw new BenchException(
          BenchException.USAGE,
          "--engine crate is native only: add --seat native, or the engine reference");
    }
    if (tokenizer.endsWith(".tiktoken")) {
      throw new BenchException(
          BenchException.USAGE,
          "--tokenizer "
              + tokenizer
              + ": Hugging Face's crate reads no ranks; name a built-in vocabulary or a"
              + " tokenizer.json");
    }
    recordOptions.check();
  }

  /** One and all: the two that the experiment has. */
  private List<Integer> threads() {
    if (!threads.isEmpty()) {
      return threads;
    }
    int all = cpus.isEmpty() ? Runtime.getRuntime().availableProcessors() : cpus.size();
    return all == 1 ? List.of(1) : List.of(1, all);
  }

  /** Everybody that the options ask for, each allocator before its options. */
  List<Contender> contenders() {
    List<Contender> contenders = new ArrayList<>();
    for (Seat seat : seats) {
      for (Engine engine : engines) {
        if (seat == Seat.JVM && engine == Engine.CRATE) {
          continue;
        }
        for (Served allocator : allocators) {
          Contender plain =
              new Contender(
                  KernelCommand.lower(seat), KernelCommand.lower(engine), allocator.toString());
          contenders.add(plain);
          if (!plain.isPacked()) {
            continue; // one thing at a time
          }
          for (String variable : variables) {
            if (variable.startsWith("MIMALLOC_") == (allocator == Served.MIMALLOC)) {
              contenders.add(
                  new Contender(
                      plain.seat(), plain.engine(), plain.build(), false, parsed(variable)));
            }
          }
          if (collect && engine != Engine.CRATE) {
            contenders.add(
                new Contender(plain.seat(), plain.engine(), plain.build(), true, Map.of()));
          }
        }
      }
    }
    return contenders;
  }

  private static Map<String, String> parsed(String variables) {
    Map<String, String> parsed = new LinkedHashMap<>();
    for (String variable : variables.split(",")) {
      String[] parts = variable.split("=", 2);
      parsed.put(parts[0], parts[1]);
    }
    return parsed;
  }

  /** What else decides an allocator's speed and memory, where it can be known. */
  private static Map<String, Object> system() {
    Map<String, Object> system = new LinkedHashMap<>();
    try {
      Path thp = Path.of("/sys/kernel/mm/transparent_hugepage/enabled");
      if (Files.isReadable(thp)) {
        system.put("thp", Files.readString(thp).replaceAll("(?s).*\\[(.*)\\].*", "$1"));
      }
      Process getconf = new ProcessBuilder("getconf", "GNU_LIBC_VERSION").start();
      String version = new String(getconf.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (version.startsWith("glibc")) {
        system.put("libc", version.strip());
      }
    } catch (IOException e) {
      // No GNU C library.
    }
    return system;
  }

  private Corpus documents(Path folder) throws IOException {
    Corpus whole = corpusOptions.read(Math.round(megabytes * 1e6), folder.resolve("corpus"));
    return chunks == 0 ? whole : chunked(whole, chunks, folder.resolve("chunks"));
  }

  /** The documents, a line feed behind each, cut at characters into about so many equal ones. */
  static Corpus chunked(Corpus whole, int chunks, Path file) throws IOException {
    byte[] all = new byte[Math.toIntExact(whole.bytes() + whole.documents())];
    int at = 0;
    try (Documents.Reader reader = new Documents.Reader(whole.file())) {
      for (byte[] text = reader.text(); text != null; text = reader.text()) {
        System.arraycopy(text, 0, all, at, text.length);
        at += text.length;
        all[at++] = '\n';
      }
    }
    Documents.Writer writer = new Documents.Writer(file);
    int documents = 0;
    try (writer) {
      int begin = 0;
      for (int chunk = 1; chunk <= chunks; chunk++) {
        int end = (int) ((long) all.length * chunk / chunks);
        while (end < all.length && (all[end] & 0xC0) == 0x80) {
          end++; // within a character
        }
        if (end > begin) {
          writer.text(Arrays.copyOfRange(all, begin, end));
          documents++;
          begin = end;
        }
      }
    }
    return new Corpus(whole.name(), file, documents, all.length, writer.hash(), 0);
  }

  private Path json(Path folder) throws IOException {
    if (!TokenizerSpec.builtInNames().contains(tokenizer)) {
      KernelTask.spec(tokenizer, null); // says if it can't be read
      return Path.of(tokenizer).toAbsolutePath();
    }
    Path json = folder.resolve("tokenizer.json");
    TokenizerJson.write(TokenizerSpec.builtIn(tokenizer), json);
    return json;
  }
}
