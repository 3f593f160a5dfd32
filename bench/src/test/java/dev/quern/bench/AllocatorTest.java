package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.fasterxml.jackson.core.type.TypeReference;
import dev.quern.bench.Allocator.Contender;
import dev.quern.bench.Allocator.Part;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

/**
 * In JVMs of their own, as it is; but the native program, minutes to build, is stood in for by the
 * same engine in a JVM. Its own tests are beside it, in native/rust/bench.
 */
class AllocatorTest {
  private static final Contender PLAIN = new Contender("jvm", "reference", "system");
  private static final Contender OPTION =
      new Contender("jvm", "reference", "system", false, Map.of("MALLOC_ARENA_MAX", "1"));
  private static final Contender COLLECTS =
      new Contender("jvm", "reference", "system", true, Map.of());

  @TempDir private Path folder;
  private final StringWriter progress = new StringWriter();
  private final List<Map<String, String>> environments = new ArrayList<>();
  private final List<KernelTask> tasks = new ArrayList<>();
  private Corpus sample;
  private Path json;

  @BeforeEach
  void prepare() throws Exception {
    Corpus whole =
        Corpus.read(
            List.of(), new Corpus.Options("text", false, 20_000, 0), folder.resolve("corpus"));
    sample = AllocatorCommand.chunked(whole, 5, folder.resolve("chunks"));
    json = folder.resolve("tokenizer.json");
    TokenizerJson.write(TokenizerSpec.builtIn("gpt2"), json);
  }

  private Allocator.Plan plan(Set<Part> parts, Contender... contenders) {
    return new Allocator.Plan(
        "gpt2", json, sample, 5, List.of(contenders), List.of(1), parts, 1, 1, 3, 9);
  }

  private List<Map<String, Object>> measure(Set<Part> parts, Contender... contenders)
      throws Exception {
    Processes processes = new Processes(folder, null, List.of());
    Allocator.Runner runner =
        (task, starter, environment) -> {
          environments.add(environment);
          tasks.add(task);
          return processes.run(
              task.tool().equals("quern") ? task : inJvm(task), starter, environment);
        };
    AllocatorBuild build = new AllocatorBuild(folder);
    PrintWriter said = new PrintWriter(progress);
    return new Allocator(plan(parts, contenders), runner, build, folder, said).measure();
  }

  private static KernelTask inJvm(KernelTask task) {
    return new KernelTask(
        "quern",
        "reference",
        task.allocator(),
        null,
        task.tokenizer(),
        null,
        null,
        null,
        task.corpus(),
        task.documents(),
        task.bytes(),
        task.pieces(),
        task.threads(),
        false,
        task.passes(),
        task.clock(),
        task.timed(),
        task.addSpecialTokens(),
        task.collect(),
        task.shortThreads(),
        null,
        null,
        null,
        task.result());
  }

  @Test
  void speedAndMemoryStandBesideThoseOfTheSystemsAllocator() throws Exception {
    List<Map<String, Object>> lines = measure(Set.of(Part.SPEED, Part.MEMORY), PLAIN, OPTION);
    assertThat(lines).hasSize(2);
    assertThat(lines.get(0))
        .doesNotContainKeys("variables", "collect", "build", "over_system", "cpu_source");
    assertThat(environments).anyMatch(all -> "1".equals(all.get("MALLOC_ARENA_MAX")));
    for (Map<String, Object> line : lines) {
      assertThat(line)
          .containsEntry("kind", "allocator")
          .containsEntry("seat", "jvm")
          .containsEntry("allocator", "system")
          .containsEntry("ids_hash", lines.get(0).get("ids_hash"))
          .containsEntry("bytes", sample.bytes())
          .containsEntry("chunks", 5)
          .containsEntry("rounds", 1)
          .containsKeys(
              "cold_mb_s", "best_mb_s", "median_mb_s_spread", "library_bytes", "tokens_s");
    }
    Map<?, ?> over = (Map<?, ?>) lines.get(1).get("over_system");
    double ratio =
        (double) lines.get(1).get("median_mb_s") / (double) lines.get(0).get("median_mb_s");
    assertThat((double) over.get("median")).isCloseTo(ratio, within(0.01 * ratio));
    if (Files.exists(Path.of("/proc/self/status"))) {
      assertThat(lines.get(1))
          .containsKeys("rss_load_mib", "rss_after_3_mib", "vm_hwm_mib", "vm_peak_mib");
      assertThat((double) over.get("rss")).isPositive();
      assertThat((double) over.get("rss_above_start")).isPositive();
    }
    assertThat(AllocatorTable.of(lines))
        .contains(OPTION.toString(), "1 rounds of 1 passes", "MiB after 3 passes");
  }

  @Test
  void threadsThatEndAndCollectionAreMeasuredAlone() throws Exception {
    List<Map<String, Object>> lines = measure(Set.of(Part.THREADS), PLAIN, COLLECTS);
    assertThat(tasks).filteredOn(KernelTask::timed).isEmpty();
    assertThat(tasks).filteredOn(task -> task.shortThreads() == 9).hasSize(2);
    assertThat(tasks).filteredOn(KernelTask::collect).hasSize(2);
    assertThat(lines.get(0))
        .doesNotContainKeys(
            "rounds", "passes", "median_mb_s", "tokens_s", "memory_passes", "collect")
        .containsKey("tokens");
    assertThat(lines.get(1)).containsEntry("collect", "batch");
    if (Files.exists(Path.of("/proc/self/status"))) {
      assertThat(lines.get(0))
          .containsEntry("short_threads", 9)
          .containsKeys("rss_after_0_threads_mib", "rss_after_9_threads_mib");
      assertThat(((Map<?, ?>) lines.get(1).get("over_system")).keySet())
          .hasToString("[rss_threads]");
    }
    assertThat(AllocatorTable.of(lines)).contains("jvm reference system collect", "threads that");
  }

  @Test
  void everyOptionIsMeasuredForItselfWithItsOwnAllocator() {
    assertThat(
            contenders(
                "--seat native --engine crate,fast --allocator system,mimalloc,mimalloc-v2"
                    + " --collect --variable MALLOC_ARENA_MAX=1"
                    + " --variable MIMALLOC_PURGE_DELAY=0,MIMALLOC_ARENA_EAGER_COMMIT=0"))
        .extracting(Contender::toString)
        .containsExactly(
            "native crate system",
            "native crate system MALLOC_ARENA_MAX=1",
            "native crate mimalloc",
            "native crate mimalloc MIMALLOC_PURGE_DELAY=0 MIMALLOC_ARENA_EAGER_COMMIT=0",
            "native crate mimalloc-v2",
            "native fast system",
            "native fast system MALLOC_ARENA_MAX=1",
            "native fast system collect",
            "native fast mimalloc",
            "native fast mimalloc MIMALLOC_PURGE_DELAY=0 MIMALLOC_ARENA_EAGER_COMMIT=0",
            "native fast mimalloc collect",
            "native fast mimalloc-v2");
    assertThat(contenders("--seat jvm --engine crate,reference --allocator MIMALLOC_THP"))
        .extracting(Contender::toString)
        .containsExactly("jvm reference mimalloc-thp");
    assertThat(new Contender("jvm", "fast", "mimalloc-thp").allocator()).isEqualTo("mimalloc");
  }

  /** Cargo builds the programs and libraries first, in this checkout. */
  @Test
  @Tag("long")
  void theWholeCommandMeasuresBothSeatsAndAllocators() throws Exception {
    StringWriter out = new StringWriter();
    StringWriter error = new StringWriter();
    CommandLine bench =
        QuernBench.commandLine().setOut(new PrintWriter(out)).setErr(new PrintWriter(error));
    String root = System.getProperty("quern.root");
    System.setProperty("quern.root", Path.of("..").toRealPath().toString());
    int status;
    try {
      status =
          bench.execute(
              ("allocator --json --mb 0.1 --threads 1 --rounds 1 --passes 3 --memory-passes 2"
                      + " --short-threads 8 --engine crate,reference,fast --measure"
                      + " speed,memory,threads,shares --allocator system,mimalloc,mimalloc-v2")
                  .split(" "));
    } finally {
      if (root == null) {
        System.clearProperty("quern.root");
      } else {
        System.setProperty("quern.root", root);
      }
    }
    assumeThat(error.toString()).doesNotContain("mimalloc is not linked on this platform");
    assertThat(status).as(error.toString()).isZero();
    List<String> names = new ArrayList<>();
    for (String line : out.toString().lines().toList()) {
      Map<String, Object> measured =
          KernelTask.JSON.readValue(line, new TypeReference<LinkedHashMap<String, Object>>() {});
      names.add(AllocatorTable.name(measured));
      assertThat((double) measured.get("median_mb_s")).isPositive();
    }
    assertThat(names)
        .hasSize(15)
        .contains("native crate system", "native fast mimalloc", "jvm reference mimalloc-v2");
  }

  private static List<Contender> contenders(String options) {
    AllocatorCommand command = new AllocatorCommand();
    new CommandLine(command)
        .setCaseInsensitiveEnumValuesAllowed(true)
        .parseArgs(options.split(" "));
    return command.contenders();
  }

  @Test
  void hugePagesAreNotTurnedOffForAWholeJvm() {
    StringWriter error = new StringWriter();
    CommandLine bench = QuernBench.commandLine().setErr(new PrintWriter(error));
    assertThat(bench.execute("allocator", "--variable", "MIMALLOC_ALLOW_THP=0"))
        .isEqualTo(BenchException.USAGE);
    assertThat(error.toString()).contains("its heap included", "--seat native");
    assertThat(bench.execute("allocator", "--variable", "MALLOC_ARENA_MAX"))
        .isEqualTo(BenchException.USAGE);
    assertThat(error.toString()).contains("give NAME=VALUE");
  }

  @Test
  void otherIdsAreAnErrorAndNoTime() {
    Allocator.Runner flips =
        (task, starter, environment) -> {
          Map<String, Object> result = new LinkedHashMap<>();
          result.put("ids_hash", task.tool().equals("quern") ? "0" : "1");
          result.put("allocator", "system");
          assertThat(task.timed()).as("nothing is timed after a wrong answer").isFalse();
          return result;
        };
    Allocator allocator =
        new Allocator(
            plan(Set.of(Part.SPEED), PLAIN),
            flips,
            new AllocatorBuild(folder),
            folder,
            new PrintWriter(progress));
    assertThatThrownBy(allocator::measure)
        .isInstanceOfSatisfying(
            BenchException.class,
            e -> assertThat(e.exitCode()).isEqualTo(BenchException.WRONG_RESULT))
        .hasMessageContaining("jvm reference system, 1 threads gives other ids");
  }

  @Test
  void chunksAreEqualAndCutBetweenCharacters() throws Exception {
    Path text = Files.writeString(folder.resolve("text.txt"), "äöü\nab\n\nß漢字\n");
    Corpus whole =
        Corpus.read(
            List.of(text), new Corpus.Options("text", false, 0, 0), folder.resolve("whole"));
    Corpus chunks = AllocatorCommand.chunked(whole, 4, folder.resolve("four"));
    StringBuilder joined = new StringBuilder();
    try (Documents.Reader reader = new Documents.Reader(chunks.file())) {
      for (byte[] chunk = reader.text(); chunk != null; chunk = reader.text()) {
        assertThat(chunk.length).isBetween(3, 8);
        joined.append(new String(chunk, java.nio.charset.StandardCharsets.UTF_8));
      }
    }
    assertThat(joined).hasToString("äöü\nab\n\nß漢字\n");
    assertThat(chunks.documents()).isEqualTo(4);
    assertThat(chunks.bytes()).isEqualTo(Files.size(text));
  }

  @Test
  void samplesAreCountedByFunctionAndFile() {
    Map<String, Object> shares =
        CpuShares.shares(
            List.of(
                "    7f0000010000 malloc (/usr/lib/x86_64-linux-gnu/libc.so.6)",
                "    7f0000010400 [unknown] (/usr/lib/x86_64-linux-gnu/libc.so.6)",
                "    7f0000090000 [unknown] (/usr/lib/x86_64-linux-gnu/libc.so.6)",
                "    7f0000090010 __memmove_avx_unaligned (/usr/lib/x86_64-linux-gnu/libc.so.6)",
                "    550000000000 mi_free (/a/quern-allocator-bench)",
                "    550000000010 _mi_page_malloc (/a/quern-allocator-bench)",
                "    550000000020 <std::thread::local::LocalKey<T>>::with::<F, R> (/a/quern)",
                "    7e0000000000 __tls_get_addr (/usr/lib/ld-linux-x86-64.so.2)",
                "    550000000030 malloc_like (/a/quern)",
                "    550000000040 onig_match (/a/quern)"));
    assertThat(shares)
        .containsEntry("cpu_samples", 10L)
        .containsEntry("cpu_libc_malloc", 0.2)
        .containsEntry("cpu_mimalloc", 0.2)
        .containsEntry("cpu_thread_local", 0.2);
  }

  /** Where perf may sample. */
  @Test
  void perfSamplesWhatAProcessSaysItShould() throws Exception {
    assumeThat(CpuShares.isAvailable(folder)).isTrue();
    Path control = CpuShares.control(folder);
    Path data = folder.resolve("perf.data");
    List<String> command = new ArrayList<>(CpuShares.starter(control, data));
    String loop = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done";
    command.addAll(
        List.of(
            "sh", "-c", "echo enable > " + control + "; " + loop + "; echo disable > " + control));
    assertThat(
            new ProcessBuilder(command)
                .redirectErrorStream(true)
                .redirectOutput(folder.resolve("log").toFile())
                .start()
                .waitFor())
        .isZero();
    assertThat((long) CpuShares.read(data).get("cpu_samples")).isPositive();
  }
}
