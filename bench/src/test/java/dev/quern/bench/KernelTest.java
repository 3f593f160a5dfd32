package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.quern.bench.Kernel.Contender;
import java.io.PrintWriter;
import java.io.RandomAccessFile;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
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
  private static final Contender JTOKKIT = new Contender("jtokkit", null, null);

  @TempDir private Path folder;
  private final StringWriter progress = new StringWriter();
  private Corpus sample;

  @BeforeEach
  void readTheSample() {
    sample =
        Corpus.read(List.of(), new Corpus.Options("text", false, 40_000), folder.resolve("corpus"));
  }

  private List<Map<String, Object>> measure(
      String tokenizer, Kernel.Runner runner, int threads, Contender... contenders)
      throws Exception {
    Kernel.Plan plan =
        new Kernel.Plan(sample, tokenizer, null, null, List.of(contenders), threads, 1, 1);
    return new Kernel(plan, runner, folder, new PrintWriter(progress)).measure();
  }

  @Test
  void aBuiltInVocabularyIsVerifiedByJtokkitAndJtokkitByUs() throws Exception {
    List<Map<String, Object>> lines = measure("gpt2", KernelRun::run, 1, QUERN, JTOKKIT);
    assertThat(lines).extracting("tool").containsExactly("quern", "jtokkit");
    assertThat((String) lines.get(0).get("verified_by")).startsWith("jtokkit 1.");
    assertThat((String) lines.get(1).get("verified_by")).startsWith("reference 0.");
    for (Map<String, Object> line : lines) {
      assertThat(line)
          .containsEntry("documents", sample.documents())
          .containsEntry("bytes", sample.bytes())
          .containsEntry("corpus_hash", sample.hash())
          .containsEntry("ids_hash", lines.get(0).get("ids_hash"))
          .containsEntry("threads", 1)
          .containsEntry("rounds", 1)
          .containsKeys("load_s", "cold_mb_s", "steady_mb_s", "warm_mb_s", "warm_mb_s_spread");
      assertThat((double) line.get("cold_mb_s_min"))
          .isPositive()
          .isLessThanOrEqualTo((double) line.get("cold_mb_s"));
      assertThat((long) line.get("tokens")).isBetween(5_000L, sample.bytes());
      assertThat((List<?>) line.get("samples")).hasSize(1);
    }
  }

  @Test
  void severalThreadsAndRoundsGiveTheSameIds() throws Exception {
    int threads = Math.min(2, Runtime.getRuntime().availableProcessors());
    Kernel.Plan plan = new Kernel.Plan(sample, "gpt2", null, null, List.of(QUERN), threads, 2, 2);
    Map<String, Object> line =
        new Kernel(plan, KernelRun::run, folder, new PrintWriter(progress)).measure().get(0);
    // The checked ids come from one thread; passes that differ in tokens or hash would have failed.
    assertThat(line).containsEntry("threads", threads).containsEntry("rounds", 2);
    assertThat((List<?>) line.get("samples")).hasSize(2);
  }

  @Test
  void theReferenceEngineCantVerifyItself() throws Exception {
    Path file = Files.writeString(folder.resolve("tokenizer.json"), WORD_LEVEL);
    Map<String, Object> line = measure(file.toString(), KernelRun::run, 1, QUERN).get(0);
    assertThat(line)
        .containsEntry("verified_by", null)
        .containsEntry("verified_documents", 0L)
        .containsEntry("tokenizer", "tokenizer.json");
    assertThat(progress.toString()).contains("not verified");
  }

  @Test
  void otherIdsThanTheJudgesAreAnErrorAndNoTime() {
    Kernel.Runner flipsAnId =
        task -> {
          assertThat(task.timed()).as("nothing is timed after a wrong answer").isFalse();
          Map<String, Object> result = KernelRun.run(task);
          if (task.tool().equals("quern")) {
            try (RandomAccessFile ids = new RandomAccessFile(task.ids(), "rw")) {
              ids.seek(Integer.BYTES); // the first id, in front of it is their number
              int first = ids.read();
              ids.seek(Integer.BYTES);
              ids.write(first ^ 1);
            }
          }
          return result;
        };
    assertThatThrownBy(() -> measure("gpt2", flipsAnId, 1, QUERN, JTOKKIT))
        .isInstanceOfSatisfying(
            BenchException.class,
            e -> assertThat(e.exitCode()).isEqualTo(BenchException.WRONG_RESULT))
        .hasMessageContaining("document 0, from token 0 on");
  }

  @Test
  void anotherHashInATimedProcessIsAnErrorAndNoTime() {
    Kernel.Runner changesItsMind =
        task -> {
          Map<String, Object> result = new LinkedHashMap<>(KernelRun.run(task));
          if (task.timed()) {
            result.put("ids_hash", "0".repeat(64));
          }
          return result;
        };
    assertThatThrownBy(() -> measure("gpt2", changesItsMind, 1, QUERN, JTOKKIT))
        .isInstanceOfSatisfying(
            BenchException.class,
            e -> assertThat(e.exitCode()).isEqualTo(BenchException.WRONG_RESULT))
        .hasMessageContaining("other ids in a timed process");
  }

  @Test
  void processesOfTheirOwnSayWhatWasEstablishedInThem() throws Exception {
    Path work = Files.createDirectory(folder.resolve("processes"));
    Map<String, Object> line =
        measure(
                "gpt2",
                new Processes(work, sample.bytes(), null),
                1,
                new Contender("quern", "auto", "system"),
                JTOKKIT)
            .get(0);
    assertThat(line).containsEntry("allocator", "system").containsEntry("engine", "reference");
    if (Files.exists(Path.of("/proc/self/status"))) {
      assertThat((double) line.get("rss_end_mib"))
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
                    new Processes(folder, sample.bytes(), null),
                    1,
                    QUERN))
        .isInstanceOfSatisfying(
            BenchException.class, e -> assertThat(e.exitCode()).isEqualTo(BenchException.INPUT))
        .hasMessageContaining("missing.json");
  }

  private static final String WORD_LEVEL =
      """
      {"version": "1.0", "added_tokens": [], "pre_tokenizer": {"type": "Whitespace"},
       "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1}, "unk_token": "[UNK]"}}
      """;
}
