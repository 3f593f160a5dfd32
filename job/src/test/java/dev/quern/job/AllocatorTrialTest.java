package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.quern.job.JobException.Exit;
import dev.quern.job.TrialReport.Run;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;

/** What an allocator trial takes and concludes; LauncherIT runs a real one. */
class AllocatorTrialTest {
  private static final long MB = 1_000_000;

  /** A run on an executor of 1000 MB of heap. */
  private static Run run(int round, String allocator, double perCore, long outsideHeap) {
    return new Run(
        round,
        allocator,
        "o200k_base",
        "fast (avx2)",
        perCore,
        perCore * 1.2,
        (900 + outsideHeap) * MB,
        outsideHeap * MB,
        1000 * MB,
        false,
        2,
        8,
        1000,
        300_000,
        60);
  }

  private static TrialReport report(double[] system, long ofSystem, double[] mimalloc, long ofMi) {
    return new TrialReport(
        Stream.concat(
                IntStream.range(0, system.length)
                    .mapToObj(i -> run(i + 1, "system", system[i], ofSystem)),
                IntStream.range(0, mimalloc.length)
                    .mapToObj(i -> run(i + 1, "mimalloc", mimalloc[i], ofMi)))
            .toList());
  }

  @Test
  void theFasterIsRecommendedWhereItsMemoryIsWorthIt() throws IOException {
    TrialReport report =
        report(new double[] {2.0, 2.2, 2.1}, 400, new double[] {2.8, 3.0, 2.6}, 600);
    // 600 MB and a quarter are 715.3 MiB, up to a whole 64: 768. 400 MB: 476.8, so 512.
    assertThat(report.side("mimalloc").overheadMebibytes()).isEqualTo(768);
    assertThat(report.side("system").overheadMebibytes()).isEqualTo(512);
    assertThat(report.recommendation().side().allocator()).isEqualTo("mimalloc");
    // 2.8 / (1 + 0.805306) and 2.1 / (1 + 0.536871).
    assertThat(report.recommendation().reason()).contains("1.55 MB/s a core", "system it is 1.37");
    assertThat(report.lines())
        .contains(
            "Tokenizer o200k_base, engine fast (avx2); 2 executors, 8 cores in all, 953 MiB of"
                + " heap per executor",
            "mimalloc against system: throughput +33 %, peak RSS +15 %, outside the heap +50 %",
            "Recommended: --conf spark.quern.allocator=mimalloc --conf"
                + " spark.executor.memoryOverhead=768m");
    assertThat(report.cautions())
        .containsExactly(
            "in one of 10 trials of 3 rounds chance alone parts the speeds: --rounds 5.");
    double[] four = {2, 2, 2, 2};
    assertThat(report(four, 400, four, 400).cautions()).isEmpty();
    JsonNode json = new ObjectMapper().readTree(report.json());
    assertThat(json.at("/recommended/spark.executor.memoryOverhead").asText()).isEqualTo("768m");
    assertThat(json.at("/system/mb_per_second_per_core/median").asDouble()).isEqualTo(2.1);
    assertThat(json.at("/engine").asText()).isEqualTo("fast (avx2)");
    assertThat(json.at("/runs")).hasSize(6);
    assertThat(json.at("/runs/5/mb_per_second_per_core").asDouble()).isEqualTo(2.6);
  }

  /** A tenth of 8,000 MB is 763 MiB. */
  @Test
  void notLessThanSparksOwnOverheadIsRecommended() {
    TrialReport.Spread small = new TrialReport.Spread(1, 1, 1);
    TrialReport.Spread outside = new TrialReport.Spread(300 * MB, 290 * MB, 310 * MB);
    assertThat(
            new TrialReport.Side("system", small, small, small, outside, 8000 * MB)
                .overheadMebibytes())
        .isEqualTo(768);
  }

  @Test
  void outsideTheHeapCountsNothingTwice() {
    // Resident, of which 1500 heap and 200 Spark's own off-heap memory: 300 are left.
    assertThat(outsideHeap("mimalloc", 2000, 1500, 200, 40)).isEqualTo(300 * MB);
    // Hardly touched heap: classes and code 100, direct buffers 50, the tokenizer's 10 and 40 ...
    assertThat(outsideHeap("mimalloc", 900, 1500, 0, 40)).isEqualTo(200 * MB);
    // ... which the system's allocator, as that of the whole process, counts itself.
    assertThat(outsideHeap("system", 900, 1500, 0, 140)).isEqualTo(240 * MB);
    assertThat(outsideHeap("system", 900, 1500, 200, 340)).isEqualTo(240 * MB);
    assertThat(outsideHeap("system", 900, 1500, 0, 0)).isEqualTo(160 * MB);
  }

  private static long outsideHeap(
      String allocator, long resident, long heapCommitted, long sparkOffHeap, long allocated) {
    ExecutorSample sample =
        new ExecutorSample(
            new ExecutorSample.Executor("1", "host", 1),
            0,
            false,
            new ExecutorSample.Memory(
                resident * MB,
                resident * MB,
                heapCommitted / 2 * MB,
                heapCommitted * MB,
                100 * MB,
                50 * MB,
                0,
                sparkOffHeap * MB,
                allocated * MB,
                10 * MB,
                null,
                null),
            new ExecutorSample.Work(1, 1, 1, 1, 1, 0, allocator, "fast"));
    return Samples.part(1, 1, sample).outsideHeapPeak();
  }

  @Test
  void theFasterIsNotRecommendedWhereMemoryCostsMore() {
    TrialReport report =
        report(new double[] {2.0, 2.2, 2.1}, 400, new double[] {2.3, 2.4, 2.35}, 1200);
    assertThat(report.recommendation().side().allocator()).isEqualTo("system");
  }

  @Test
  void whereSpeedsOverlapTheSmallerIsRecommended() {
    TrialReport report =
        report(new double[] {2.0, 2.6, 2.1}, 600, new double[] {2.5, 2.4, 2.9}, 400);
    assertThat(report.recommendation().side().allocator()).isEqualTo("mimalloc");
    assertThat(report.recommendation().reason()).contains("show no difference", "less memory");
    TrialReport same = report(new double[] {2.0, 2.6}, 100, new double[] {2.5, 2.4}, 90);
    assertThat(same.recommendation().side().allocator()).isEqualTo("system");
    assertThat(same.recommendation().side().overheadMebibytes()).isEqualTo(384);
    assertThat(same.recommendation().reason()).contains("either serves");
  }

  @Test
  void whatLimitsTheResultIsSaid() {
    Run local = new Run(1, "system", "a", "fast", 2, 2, MB, MB, MB, true, 1, 2, 10, 10, 5);
    Run other = new Run(1, "mimalloc", "a", "fast", 2, 2, MB, MB, MB, true, 1, 4, 10, 10, 5);
    assertThat(String.join("\n", new TrialReport(List.of(local, other)).lines()))
        .contains("one process here", "one round", "different numbers", "took 5.0 s");
  }

  @Test
  void aRunIsReadFromItsRecord() throws IOException {
    RunSummary summary =
        Samples.run(
            10,
            new RunTotals(20_000, 0, 40_000_000, 10_000_000),
            List.of(
                Samples.part(
                    2,
                    10,
                    Samples.sample("1", 0, 300_000_000, 300_000_000, 0),
                    Samples.sample("1", 10, 500_000_000, 520_000_000, 40_000_000))));
    assertThat(summary.executors().get(0).outsideHeapPeak()).isEqualTo(250_000_000);
    JsonNode json = new ObjectMapper().readTree(summary.toJson());
    ((com.fasterxml.jackson.databind.node.ObjectNode) json.get("environment"))
        .put("master", "yarn")
        .put("executor_heap_bytes", "1073741824");
    Run run = Run.of(json, 3);
    assertThat(run.allocator()).isEqualTo("mimalloc");
    assertThat(run.tokenizer()).isEqualTo("o200k_base");
    assertThat(run.engine()).isEqualTo("fast (avx2)");
    assertThat(run.perCore()).isEqualTo(2.0);
    assertThat(run.resident()).isEqualTo(520_000_000);
    assertThat(run.outsideHeap()).isEqualTo(250_000_000);
    assertThat(run.heap()).isEqualTo(1L << 30);
    assertThat(run.local()).isFalse();
    RunSummary nothing = Samples.run(2, new RunTotals(0, 0, 0, 0), List.of());
    JsonNode empty = new ObjectMapper().readTree(nothing.toJson());
    assertThatThrownBy(() -> Run.of(empty, 1)).hasMessageContaining("has no measurement");
  }

  @Test
  void theChartHasBothColours() throws IOException {
    TrialReport report = report(new double[] {2.0, 2.2}, 400, new double[] {2.8, 3.0}, 600);
    BufferedImage image = ImageIO.read(new ByteArrayInputStream(TrialChart.png(report)));
    int[] pixels = image.getRGB(0, 0, image.getWidth(), image.getHeight(), null, 0, 1200);
    assertThat(pixels).contains(0xff1f5fa8, 0xffc96a00);
  }

  @Test
  void whatATrialSetsItselfCannotBeGiven() {
    AllocatorTrial.Options options =
        AllocatorTrial.parse(
            List.of(
                "--master", "yarn", "--rounds=5", "--output", "out", "--input=in", "--keep", "id"));
    assertThat(options.rounds()).isEqualTo(5);
    assertThat(options.output()).isEqualTo("out");
    assertThat(options.passed()).containsExactly("--master", "yarn", "--input=in", "--keep", "id");
    assertThat(AllocatorTrial.parse(List.of("--output=a")).rounds()).isEqualTo(5);
    assertThat(AllocatorTrial.parse(List.of("--help"))).isNull();
    for (String[] wrong :
        new String[][] {
          {"--allocator", "system"},
          {"--deploy-mode=cluster"},
          {"--rounds", "0"},
          {"--rounds", "many"},
          {"--rounds"},
          {"--output", ""},
          {"--input", "a"}
        }) {
      assertThatThrownBy(() -> AllocatorTrial.parse(List.of(wrong)))
          .isInstanceOfSatisfying(
              JobException.class, e -> assertThat(e.exit()).isEqualTo(Exit.USAGE));
    }
  }
}
