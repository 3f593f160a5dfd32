package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import dev.quern.bench.Kernel.Contender;
import java.io.PrintWriter;
import java.io.RandomAccessFile;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Real measurements of the sample, in this process where nothing depends on a process of its own.
 */
class KernelTest {
  private static final Contender QUERN = new Contender("quern", "auto", "auto");
  private static final Contender REFERENCE = new Contender("quern", "reference", "auto");
  private static final Contender JTOKKIT = new Contender("jtokkit", null, null);

  @TempDir private Path folder;
  private final StringWriter progress = new StringWriter();
  private Corpus sample;

  @BeforeEach
  void readTheSample() {
    sample = sample(0);
  }

  private Corpus sample(int cut) {
    return Corpus.read(
        List.of(), new Corpus.Options("text", false, 40_000, cut), folder.resolve("corpus-" + cut));
  }

  private Kernel.Plan plan(
      String tokenizer,
      List<Corpus> corpora,
      List<Integer> threads,
      int passes,
      int rounds,
      Contender... contenders) {
    return new Kernel.Plan(
        null,
        tokenizer,
        null,
        null,
        null,
        corpora,
        List.of(contenders),
        threads,
        false,
        0,
        passes,
        "wall",
        rounds);
  }

  private List<Map<String, Object>> measure(Kernel.Plan plan, Kernel.Runner runner)
      throws Exception {
    return new Kernel(plan, runner, folder, new PrintWriter(progress)).measure();
  }

  private List<Map<String, Object>> measure(
      String tokenizer, Kernel.Runner runner, Contender... contenders) throws Exception {
    return measure(plan(tokenizer, List.of(sample), List.of(1), 1, 1, contenders), runner);
  }

  @Test
  void threadsWithAllOfTheTextEachGiveItsIds() throws Exception {
    Kernel.Plan divided = plan("gpt2", List.of(sample), List.of(1, 2), 2, 1, QUERN);
    Kernel.Plan each =
        new Kernel.Plan(
            null,
            "gpt2",
            null,
            null,
            null,
            List.of(sample),
            List.of(QUERN),
            List.of(1, 2),
            true,
            0,
            2,
            "wall",
            1);
    Map<String, Object> expected = measure(divided, KernelRun::run).get(1);
    List<Map<String, Object>> lines = measure(each, KernelRun::run);
    assertThat(lines).hasSize(2);
    for (Map<String, Object> line : lines) {
      assertThat(line)
          .containsEntry("each", true)
          .containsEntry("ids_hash", expected.get("ids_hash"))
          .containsEntry("tokens", expected.get("tokens"));
      assertThat((Double) line.get("steady_mb_s")).isPositive();
      assertThat((Double) line.get("warm_mb_s")).isPositive();
    }
    assertThat(expected).doesNotContainKey("each");
    assertThat(lines.get(1).get("over").toString()).contains("threads_1");
  }

  @Test
  void peersAreVerifiedByTheReferenceEngineAndItByThem() throws Exception {
    List<Map<String, Object>> lines = measure("gpt2", KernelRun::run, QUERN, REFERENCE, JTOKKIT);
    assertThat(lines).extracting("tool").containsExactly("quern", "quern", "jtokkit");
    assertThat(lines.get(0)).containsEntry("engine", "fast").doesNotContainEntry("simd", null);
    assertThat((String) lines.get(0).get("verified_by")).startsWith("reference 0.");
    assertThat(lines.get(1)).containsEntry("engine", "reference");
    assertThat((String) lines.get(1).get("verified_by")).startsWith("jtokkit 1.");
    assertThat((String) lines.get(2).get("verified_by")).startsWith("reference 0.");
    for (Map<String, Object> line : lines) {
      assertThat(line)
          .containsEntry("documents", sample.documents())
          .containsEntry("bytes", sample.bytes())
          .containsEntry("corpus_hash", sample.hash())
          .containsEntry("ids_hash", lines.get(0).get("ids_hash"))
          .containsEntry("threads", 1)
          .containsEntry("rounds", 1)
          .containsEntry("pieces", 3)
          .containsEntry("warm_passes", 1)
          .doesNotContainKey("differs")
          .containsKeys("load_s", "cold_mb_s", "steady_mb_s", "warm_mb_s", "warm_mb_s_spread");
      assertThat((double) line.get("cold_mb_s_min"))
          .isPositive()
          .isLessThanOrEqualTo((double) line.get("cold_mb_s"));
      assertThat((long) line.get("tokens")).isBetween(5_000L, sample.bytes());
      double bytesPerToken = (double) sample.bytes() / (long) line.get("tokens");
      double speed = (double) line.get("steady_mb_s");
      assertThat((long) line.get("tokens_s") * bytesPerToken / 1e6).isCloseTo(speed, within(0.01));
      assertThat((List<?>) line.get("samples")).hasSize(1);
    }
    Map<?, ?> over = (Map<?, ?>) ((Map<?, ?>) lines.get(0).get("over")).get("jtokkit");
    double ratio = (double) lines.get(0).get("cold_mb_s") / (double) lines.get(2).get("cold_mb_s");
    // Of one round, so that it must be the ratio of the figures, but for their four digits.
    assertThat((double) over.get("cold")).isCloseTo(ratio, within(0.01 * ratio));
    assertThat(lines.get(2)).doesNotContainKey("over");
    assertThat(KernelTable.of(lines)).contains("x over jtokkit", "ids equal to those of jtokkit");
    assertThat(KernelTable.ratios(lines).lines().filter(line -> line.contains("jtokkit")))
        .hasSize(2);
  }

  @Test
  void threadsCutsAndRoundsAreComparedWithinTheRun() throws Exception {
    int threads = Math.min(2, Runtime.getRuntime().availableProcessors());
    List<Integer> counts = threads > 1 ? List.of(1, threads) : List.of(1);
    List<Map<String, Object>> lines =
        measure(plan("gpt2", List.of(sample(64), sample), counts, 2, 2, QUERN), KernelRun::run);
    // Threads encode the parts in any order; passes or processes of other ids would have failed.
    assertThat(lines).hasSize(2 * counts.size());
    assertThat(lines).extracting("rounds").containsOnly(2);
    assertThat(lines.get(0))
        .containsEntry("cut_bytes", 64)
        .containsEntry("bytes", sample.bytes())
        .containsEntry("threads", 1);
    assertThat(((Map<?, ?>) lines.get(0).get("over")).keySet()).hasToString("[cut_0]");
    assertThat((long) lines.get(0).get("documents")).isGreaterThan(sample.bytes() / 80);
    assertThat(lines.get(1)).doesNotContainKeys("cut_bytes", "over");
    if (threads > 1) {
      assertThat(lines.get(3)).containsEntry("threads", 2);
      assertThat(((Map<?, ?>) lines.get(3).get("over")).keySet()).hasToString("[threads_1]");
    }
    assertThat((List<?>) lines.get(0).get("samples")).hasSize(2);
  }

  @Test
  void memoryIsSampledAfterPowersOfTen() throws Exception {
    Map<String, Object> line =
        measure(plan("gpt2", List.of(sample), List.of(1), 12, 1, QUERN), KernelRun::run).get(0);
    assertThat(line).containsEntry("warm_passes", 12);
    if (Files.exists(Path.of("/proc/self/status"))) {
      assertThat(line).containsKeys("rss_after_10_mib", "rss_after_12_mib");
      assertThat(KernelTable.of(List.of(line))).contains("RSS after 10 passes", ", 12 passes");
    }
  }

  @Test
  void theReferenceEngineCantVerifyItself() throws Exception {
    Path file = Files.writeString(folder.resolve("tokenizer.json"), WORD_LEVEL);
    Map<String, Object> line = measure(file.toString(), KernelRun::run, REFERENCE).get(0);
    assertThat(line).containsEntry("verified_by", null).containsEntry("verified_documents", 0L);
    assertThat((String) line.get("tokenizer")).endsWith("/tokenizer.json");
    assertThat(progress.toString()).contains("not verified");
  }

  @Test
  void otherIdsThanTheReferencesAreAnErrorAndNoTime() {
    // As if the engine in question were another one; the judge is asked for first.
    Kernel.Runner flips = flipsAnId("auto", "fast");
    assertThatThrownBy(() -> measure("gpt2", flips, QUERN, JTOKKIT))
        .isInstanceOfSatisfying(
            BenchException.class,
            e -> assertThat(e.exitCode()).isEqualTo(BenchException.WRONG_RESULT))
        .hasMessageContaining("1 documents differ; the first is document 0, from id 0 on");
  }

  @Test
  void aPeerWithOtherIdsIsReportedAndComparedWithNothing() throws Exception {
    List<Map<String, Object>> lines =
        measure("gpt2", flipsAnId(null, "jtokkit"), REFERENCE, JTOKKIT);
    assertThat(lines.get(0)).doesNotContainKey("over").containsEntry("verified_by", null);
    assertThat(lines.get(1))
        .containsEntry("verified_by", null)
        .containsEntry("verified_documents", 0L)
        .containsKey("cold_mb_s");
    Map<?, ?> differs = (Map<?, ?>) lines.get(1).get("differs");
    assertThat(differs.get("documents")).isEqualTo(1L);
    assertThat(differs.get("first_document")).isEqualTo(0);
    assertThat(differs.get("first_id")).isEqualTo(0);
    assertThat(KernelTable.of(lines)).contains("OTHER IDS than reference", "document 0, from id 0");
  }

  /** Untimed tasks of that engine asked for (null: of no engine) give another first id. */
  private static Kernel.Runner flipsAnId(String engineAsked, String engineSaid) {
    return task -> {
      Map<String, Object> result = new LinkedHashMap<>(KernelRun.run(task));
      if (java.util.Objects.equals(task.engine(), engineAsked)) {
        assertThat(task.timed() && engineAsked != null)
            .as("nothing is timed after a wrong answer")
            .isFalse();
        result.put("engine", engineSaid);
        if (!task.timed()) {
          try (RandomAccessFile ids = new RandomAccessFile(task.ids(), "rw")) {
            ids.seek(Integer.BYTES); // the first id, in front of it is their number
            int first = ids.read();
            ids.seek(Integer.BYTES);
            ids.write(first ^ 1);
          }
        }
      }
      return result;
    };
  }

  @Test
  void anotherHashInATimedProcessIsAnErrorAndNoTime() throws Exception {
    assertThatThrownBy(() -> measure("gpt2", changesItsMind("quern"), QUERN, JTOKKIT))
        .isInstanceOfSatisfying(
            BenchException.class,
            e -> assertThat(e.exitCode()).isEqualTo(BenchException.WRONG_RESULT))
        .hasMessageContaining("other ids in a timed process");
    List<Map<String, Object>> lines = measure("gpt2", changesItsMind("jtokkit"), QUERN, JTOKKIT);
    assertThat(lines).extracting("tool").containsExactly("quern");
    assertThat(progress.toString()).contains("jtokkit takes no part any more");
  }

  private static Kernel.Runner changesItsMind(String tool) {
    return task -> {
      Map<String, Object> result = new LinkedHashMap<>(KernelRun.run(task));
      if (task.timed() && task.tool().equals(tool)) {
        result.put("ids_hash", "0".repeat(64));
      }
      return result;
    };
  }

  @Test
  void aPeerThatCantLoadTakesNoPart() throws Exception {
    Kernel.Runner refuses =
        task -> {
          if (task.tool().equals("jtokkit")) {
            throw new BenchException(BenchException.INPUT, "no such vocabulary");
          }
          return KernelRun.run(task);
        };
    assertThat(measure("gpt2", refuses, QUERN, JTOKKIT)).extracting("tool").containsOnly("quern");
    assertThat(progress.toString()).contains("jtokkit takes no part: no such vocabulary");
  }

  @Test
  void processesOfTheirOwnSayWhatWasEstablishedInThem() throws Exception {
    Path work = Files.createDirectory(folder.resolve("processes"));
    List<Map<String, Object>> lines =
        measure(
            "gpt2",
            new Processes(work, null, List.of()),
            new Contender("quern", "reference", "system"),
            JTOKKIT);
    Map<String, Object> line = lines.get(0);
    assertThat(line).containsEntry("allocator", "system").containsEntry("engine", "reference");
    if (Files.exists(Path.of("/proc/self/status"))) {
      assertThat((double) line.get("rss_load_mib"))
          .isGreaterThan((double) line.get("rss_start_mib"))
          .isLessThanOrEqualTo((double) line.get("vm_hwm_mib"));
    }
  }

  @Test
  void aProcessThatCantLoadSaysWhy() {
    assertThatThrownBy(
            () ->
                measure(
                    folder.resolve("missing.json").toString(),
                    new Processes(folder, null, List.of()),
                    QUERN))
        .isInstanceOfSatisfying(
            BenchException.class, e -> assertThat(e.exitCode()).isEqualTo(BenchException.INPUT))
        .hasMessageContaining("missing.json");
  }

  @Test
  void piecesAreEqualAsFarAsDocumentsAllow() throws Exception {
    Corpus corpus = sample(100);
    List<Integer> begins = Kernel.pieces(corpus, 9_000);
    long pieces = Math.round(corpus.bytes() / 9_000.0);
    assertThat(begins).hasSize((int) pieces).startsWith(0).isSorted();
    List<Long> sizes = new ArrayList<>();
    try (Documents.Reader reader = new Documents.Reader(corpus.file())) {
      for (int document = 0; document < corpus.documents(); document++) {
        if (begins.contains(document)) {
          sizes.add(0L);
        }
        int last = sizes.size() - 1;
        sizes.set(last, sizes.get(last) + reader.text().length);
      }
    }
    assertThat(sizes).allSatisfy(size -> assertThat(size).isBetween(8_500L, 10_500L));
    assertThat(Kernel.pieces(corpus, 0)).hasSize(3);
    assertThat(Kernel.pieces(corpus, 1L << 40)).containsExactly(0);
  }

  @Test
  void aRatioIsTheMedianOfThoseOfTheRounds() {
    Map<String, Object> ratios =
        Kernel.ratios(
            List.of(sampleOf(100, 1.0), sampleOf(300, 1.0), sampleOf(100, 4.0)),
            List.of(sampleOf(50, 2.0), sampleOf(100, 2.0), sampleOf(25, 2.0)),
            1);
    assertThat(ratios)
        .containsEntry("cold", 3.0)
        .containsEntry("cold_min", 2.0)
        .containsEntry("cold_max", 4.0)
        .containsEntry("load", 0.5);
    ratios = Kernel.ratios(List.of(sampleOf(95, 3.0)), List.of(sampleOf(100, 3.0)), 2);
    assertThat(ratios).containsEntry("warm", 1.9).containsEntry("load", 1.0);
  }

  private static Map<String, Object> sampleOf(double speed, double load) {
    return Map.of(
        "cold_mb_s",
        speed,
        "steady_mb_s",
        speed,
        "warm_mb_s",
        speed,
        "warm_median_mb_s",
        speed,
        "load_s",
        load);
  }

  private static final String WORD_LEVEL =
      """
      {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
       "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1}, "unk_token": "[UNK]"}}
      """;
}
