package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The figures of a run, worked out by hand. */
class RunSummaryTest {

  /** 10 s: one executor all the time, one lost after 4 s. */
  private final RunSummary run =
      Samples.run(
          10,
          new RunTotals(20_000, 100, 40_000_000, 10_000_000),
          List.of(
              Samples.part(
                  2,
                  10,
                  Samples.sample("1", 0, 300_000_000, 900_000_000, 1_000_000),
                  Samples.sample("1", 5, 500_000_000, 900_000_000, 20_000_000),
                  Samples.sample("1", 10, 400_000_000, 900_000_000, 31_000_000)),
              Samples.part(
                  2,
                  4,
                  Samples.sample("2", 0, 200_000_000, 200_000_000, 0),
                  Samples.sample("2", 4, 250_000_000, 260_000_000, 12_000_000, true, 1L << 30))));

  @Test
  void thePeakIsThatOfTheRun() {
    // The process of executor 1 had its peak before the run; that of 2 rose between two samples.
    assertThat(run.executors().get(0).residentPeak()).isEqualTo(500_000_000);
    assertThat(run.executors().get(1).residentPeak()).isEqualTo(260_000_000);
    assertThat(run.residentPeakSum()).isEqualTo(760_000_000);
    assertThat(run.residentPeakLargest()).isEqualTo(500_000_000);
    assertThat(run.residentStart()).isEqualTo(500_000_000);
    assertThat(run.residentEnd()).isEqualTo(400_000_000); // what is gone holds nothing
  }

  @Test
  void json() throws IOException {
    JsonNode json = new ObjectMapper().readTree(run.toJson());
    assertThat(json.at("/tokenizer/name").asText()).isEqualTo("o200k_base");
    assertThat(json.at("/tokenizer/engine_reason").asText()).isEqualTo("it is");
    assertThat(json.at("/tokenizer/simd").asText()).isEqualTo("avx2");
    assertThat(json.at("/options/format").asText()).isEqualTo("parquet");
    assertThat(json.at("/environment/quern").asText()).isEqualTo("0.1.0");
    assertThat(json.at("/started").asText()).isEqualTo("2023-11-14T22:13:20Z");

    JsonNode totals = json.get("totals");
    assertThat(totals.get("documents").asLong()).isEqualTo(20_000);
    assertThat(totals.get("documents_written").asLong()).isEqualTo(19_900);
    assertThat(totals.get("documents_quarantined").asLong()).isEqualTo(100);
    assertThat(totals.get("wall_seconds").asDouble()).isEqualTo(10.0);
    assertThat(totals.get("mb_per_second").asDouble()).isEqualTo(4.0);
    assertThat(totals.get("tokens_per_second").asDouble()).isEqualTo(1_000_000.0);
    assertThat(totals.get("core_seconds").asDouble()).isEqualTo(28.0);
    assertThat(totals.get("mb_per_second_per_core").asDouble()).isEqualTo(40.0 / 28);

    JsonNode sampled = json.get("sampled");
    assertThat(sampled.get("bytes").asLong()).isEqualTo(42_000_000); // more: 2 MB done twice
    assertThat(sampled.get("cores").asInt()).isEqualTo(4);
    assertThat(sampled.at("/allocators/0").asText()).isEqualTo("mimalloc");
    assertThat(sampled.get("rss_peak_mb_per_mb_per_second").asDouble()).isEqualTo(760 / 4.0);

    JsonNode first = json.at("/executors/0");
    assertThat(first.get("host").asText()).isEqualTo("host-1");
    assertThat(first.get("alive_at_end").asBoolean()).isTrue();
    assertThat(first.get("mb_per_second").asDouble()).isEqualTo(3.0);
    assertThat(first.get("mb_per_second_per_core").asDouble()).isEqualTo(1.5);
    assertThat(first.get("rss_peak_mb_per_mb_per_second").asDouble()).isEqualTo(500 / 3.0);
    assertThat(first.get("native_seconds").asDouble()).isEqualTo(1.5);
    assertThat(first.get("cgroup_limit_bytes").isNull()).isTrue();
    JsonNode second = json.at("/executors/1");
    assertThat(second.get("alive_at_end").asBoolean()).isFalse();
    assertThat(second.get("cgroup_limit_bytes").asLong()).isEqualTo(1L << 30);
  }

  @Test
  void lines() {
    assertThat(run.lines())
        .containsExactly(
            "documents  20,000 read, 19,900 written, 100 quarantined",
            "text       40 MB in 10 s: 4.00 MB/s, 1.43 MB/s a core",
            "tokens     10,000,000: 1,000,000 tokens/s, 357,143 tokens/s a core",
            "memory     RSS 500 MB at start, 760 MB at peak, 400 MB at end; 2 executors, the largest"
                + " 500 MB; 190 MB at peak for each MB/s",
            "tokenizer  o200k_base, engine fast (avx2), allocator mimalloc");
  }

  @Test
  void whatWasVerifiedIsCountedApart() throws IOException {
    RunSummary verified =
        Samples.run(10, new RunTotals(2000, 0, 9, 3, 1234, 5.25, TaskTimes.NONE), List.of());
    JsonNode totals = new ObjectMapper().readTree(verified.toJson()).get("totals");
    assertThat(totals.get("documents_verified").asLong()).isEqualTo(1234);
    assertThat(totals.get("verify_seconds").asDouble()).isEqualTo(5.25);
    assertThat(verified.lines())
        .contains(
            "verified   1,234 documents equal by the reference engine, in 5.3 s of task time");
  }

  @Test
  void theLongestTaskAndWhy() throws IOException {
    JsonNode even = tasks(counts(0, 3, 10_000_000, 4_000), counts(1, 4, 11_000_000, 4_000));
    assertThat(even.get("count").asInt()).isEqualTo(2);
    assertThat(even.get("seconds_mean").asDouble()).isEqualTo(3.5);
    assertThat(even.get("bytes_mean").asDouble()).isEqualTo(10_500_000.0);
    assertThat(even.at("/longest/partition").asInt()).isEqualTo(1);
    assertThat(even.at("/longest/host").asText()).isEqualTo("node");
    assertThat(even.at("/longest/reason").isNull()).isTrue();

    TaskCounts[] alike = new TaskCounts[9];
    for (int i = 0; i < alike.length; i++) {
      alike[i] = counts(i, 3, 10_000_000, 4_000);
    }
    assertThat(reason(alike, counts(9, 40, 500_000_000, 450_000_000)))
        .startsWith("one document of 450 MB");
    assertThat(reason(alike, counts(9, 40, 500_000_000, 4_000)))
        .startsWith("it had 50.0 times the text of other tasks");
    assertThat(reason(alike, counts(9, 40, 10_000_000, 4_000))).startsWith("its text was no more");
    assertThat(summary(counts(0, 1, 1, 1), counts(1, 9, 1, 1)).lines())
        .as("nine seconds are not worth a line")
        .noneMatch(line -> line.startsWith("tasks"));
  }

  private static String reason(TaskCounts[] others, TaskCounts longest) throws IOException {
    TaskCounts[] all = Arrays.copyOf(others, others.length + 1);
    all[others.length] = longest;
    String reason = tasks(all).at("/longest/reason").asText();
    assertThat(summary(all).lines())
        .contains("tasks      10 of 6.7 s on average, the longest 40 s: " + reason);
    return reason;
  }

  private static JsonNode tasks(TaskCounts... counts) throws IOException {
    return new ObjectMapper().readTree(summary(counts).toJson()).get("tasks");
  }

  private static RunSummary summary(TaskCounts... counts) {
    return Samples.run(
        50, new RunTotals(9, 0, 9, 3, 0, 0, TaskTimes.of(List.of(counts))), List.of());
  }

  private static TaskCounts counts(int partition, double seconds, long bytes, long largest) {
    TaskCounts counts = new TaskCounts();
    counts.partition = partition;
    counts.host = "node";
    counts.seconds = seconds;
    counts.bytes = bytes;
    counts.largestDocument = largest;
    return counts;
  }

  @Test
  void aRunWithoutSamplesSaysHowToGetThem() {
    RunSummary bare = Samples.run(2, new RunTotals(0, 0, 0, 0), List.of());
    assertThat(bare.lines())
        .containsExactly(
            "documents  0 read, 0 written, 0 quarantined",
            "text       0.0 MB in 2.0 s: 0.00 MB/s",
            "tokens     0: 0 tokens/s",
            "memory     not sampled: start the application with"
                + " spark.plugins=dev.quern.job.QuernPlugin");
    assertThat(new String(bare.toJson(), java.nio.charset.StandardCharsets.UTF_8))
        .doesNotContain("NaN");
  }
}
