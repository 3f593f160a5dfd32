package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportTest {
  private static final Path CHECKOUT = Path.of("..").toAbsolutePath().normalize();
  private static final String AGAIN = "make it again: bench/bin/quern-bench report --write";

  private final StringWriter out = new StringWriter();
  private final StringWriter error = new StringWriter();

  private int run(String... arguments) {
    return QuernBench.commandLine()
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(error))
        .execute(arguments);
  }

  @AfterEach
  void noRoot() {
    System.clearProperty("quern.root");
  }

  @Test
  void theReadmeAndThePageAreWhatTheRecordSays() throws Exception {
    Report report = new Report(Report.read(CHECKOUT.resolve("bench/record")));
    String readme = Files.readString(CHECKOUT.resolve("README.md"));
    assertThat(readme).as(AGAIN).isEqualTo(Report.fill(readme, report.sections()));
    assertThat(readme).contains("<!--BEGIN:RECORD[kernel]-->", "<!--BEGIN:RECORD[seam]-->");
    Path folder = CHECKOUT.resolve("bench/report");
    assertThat(folder.resolve("README.md")).as(AGAIN).hasContent(report.page());
    for (ReportChart chart : report.charts()) {
      assertThat(ReportChart.hashOf(Files.readAllBytes(folder.resolve(chart.file()))))
          .as("%s: %s", chart.file(), AGAIN)
          .contains(chart.hash());
    }
  }

  private static Map<String, Object> line(String date, Object... fields) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("date", date);
    line.put("commit", "c" + date.substring(8, 10));
    line.put("triple", "x86_64-unknown-linux-gnu");
    line.put("machine", "Linux 6.1, 2 cores, 24 GiB");
    line.put("cpu", "A Processor");
    for (int i = 0; i < fields.length; i += 2) {
      line.put((String) fields[i], fields[i + 1]);
    }
    return line;
  }

  private static Map<String, Object> kernel(
      String date, String tool, double speed, Object... more) {
    Map<String, Object> line =
        line(
            date,
            "kind",
            "kernel",
            "tool",
            tool,
            "tool_version",
            "1.0",
            "engine",
            tool.equals("quern") ? "fast" : tool,
            "allocator",
            tool.equals("quern") ? "mimalloc" : null,
            "tokenizer",
            "gpt2",
            "corpus",
            "english.parquet",
            "bytes",
            9_000_000,
            "threads",
            1,
            "clock",
            "wall",
            "rounds",
            5,
            "pieces",
            3,
            "verified_by",
            "reference 1.0");
    for (String quantity : List.of("cold", "steady", "warm")) {
      Record.putSpread(line, quantity + "_mb_s", new Spread(speed - 1, speed, speed + 1), 1);
    }
    for (int i = 0; i < more.length; i += 2) {
      line.put((String) more[i], more[i + 1]);
    }
    return line;
  }

  @SafeVarargs
  private static Report report(Map<String, Object>... lines) {
    List<RecordLine> all = new ArrayList<>();
    for (Map<String, Object> line : lines) {
      all.add(new RecordLine(line));
    }
    return new Report(all);
  }

  private static Map<String, Object> ratio(double times) {
    return Map.of("cold", times, "steady", times, "warm", times, "load", 1.0);
  }

  @Test
  void theNewestLineOverTheWholeCorpusCounts() {
    String kernel =
        report(
                kernel("2026-02-02T00:00:00Z", "quern", 222, "over", Map.of("peer", ratio(2.2))),
                kernel("2026-02-02T00:00:00Z", "peer", 101),
                kernel("2026-02-01T00:00:00Z", "quern", 111),
                kernel("2026-02-03T00:00:00Z", "quern", 333, "bytes", 1_000_000),
                kernel("2026-02-03T00:00:00Z", "quern", 444, "engine", "reference"),
                kernel("2026-02-03T00:00:00Z", "quern", 555, "cut_bytes", 64),
                kernel("2026-02-03T00:00:00Z", "quern", 666, "threads", 2),
                kernel("2026-02-03T00:00:00Z", "quern", 777, "cache_bytes", 1 << 20),
                kernel("2026-02-03T00:00:00Z", "quern", 888, "clock", null))
            .sections()
            .get("kernel");
    assertThat(kernel)
        .contains("| GPT-2 | 222, 222, 222 (2.2, 2.2, 2.2) |", "(times peer)", "times peer 1.0")
        .contains("Recorded 2026-02-02 at commit c02.");
  }

  @Test
  void anotherMachineHasAChapterOfItsOwn() {
    Report report =
        report(
            kernel("2026-02-01T00:00:00Z", "quern", 111),
            kernel("2026-02-01T00:00:00Z", "quern", 112, "corpus", "code.parquet"),
            kernel(
                "2026-02-03T00:00:00Z",
                "quern",
                333,
                "triple",
                "aarch64-apple-darwin",
                "cpu",
                "Another"),
            // Not another machine, but the same after an update.
            kernel("2026-02-02T00:00:00Z", "quern", 222, "machine", "Linux 6.2, 2 cores, 24 GiB"));
    assertThat(report.sections().get("kernel")).contains("222, 222").doesNotContain("333");
    assertThat(report.page())
        .contains("## `aarch64-apple-darwin`: Another, 2 cores, 24 GiB", "| 333 (332 to 334) |")
        .containsOnlyOnce("## `x86_64-unknown-linux-gnu`");
  }

  @Test
  void aLossAndAnUnverifiedPeerAreShown() {
    Report report =
        report(
            kernel(
                "2026-02-01T00:00:00Z",
                "quern",
                50,
                "over",
                Map.of("near", ratio(0.9), "far", ratio(9))),
            kernel(
                "2026-02-01T00:00:00Z",
                "near",
                55,
                "verified_by",
                null,
                "differs",
                Map.of("from", "reference 1.0", "documents", 3)));
    assertThat(report.sections().get("kernel"))
        .contains("50, 50, 50 (0.9, 0.9, 0.9)", "the closest of the others measured (near, far)");
    assertThat(report.page()).contains("other than reference 1.0 in 3 documents");
  }

  private static Map<String, Object> allocator(
      String date, String engine, String allocator, double speed, Object... more) {
    Map<String, Object> line =
        line(
            date,
            "kind",
            "allocator",
            "tool",
            "quern",
            "seat",
            "native",
            "engine",
            engine,
            "allocator",
            allocator,
            "tokenizer",
            "gpt2",
            "corpus",
            "prose.parquet",
            "bytes",
            6_500_000,
            "chunks",
            999,
            "documents",
            999,
            "threads",
            1,
            "rss_start_mib",
            20.0,
            "memory_passes",
            50,
            "rss_after_50_mib",
            allocator.equals("system") ? 200.0 : 300.0,
            "vm_peak_mib",
            900.0);
    Record.putSpread(line, "median_mb_s", new Spread(speed * 0.9, speed, speed * 1.1), 3);
    if (allocator.equals("mimalloc")) {
      line.put(
          "over_system", Map.of("median", 1.5, "median_min", 1.4, "median_max", 1.6, "rss", 1.5));
    }
    for (int i = 0; i < more.length; i += 2) {
      line.put((String) more[i], more[i + 1]);
    }
    return line;
  }

  @Test
  void allocatorsStandBesideTheExperimentsOwnFigures() {
    String day = "2026-02-01T00:00:00Z";
    String later = "2026-02-02T00:00:00Z";
    Report report =
        report(
            allocator(day, "crate", "system", 2),
            allocator(day, "crate", "mimalloc", 3),
            allocator(later, "crate", "system", 20, "bytes", 1_000_000),
            allocator(later, "crate", "mimalloc", 30, "bytes", 1_000_000),
            allocator(
                later,
                "crate",
                "mimalloc",
                31,
                "bytes",
                1_000_000,
                "variables",
                Map.of("MIMALLOC_PURGE_DELAY", "0"),
                "short_threads",
                200,
                "rss_after_1_threads_mib",
                40.0,
                "rss_after_200_threads_mib",
                41.5));
    assertThat(report.sections().get("allocator"))
        .contains("| crate, native, 1 thread | 2.0, 3.0 | ×1.50 | 200, 300 (×1.50) |");
    assertThat(report.page())
        .contains("| 1.91 (1.72 to 2.10) | 2.86 (2.57 to 3.15) | +50 % (+40 to +60) |")
        .contains("NVIDIA Vera, aarch64, 88 cores", "237, 704 (×2.97)")
        .contains("| crate, native, 1 thread, mimalloc PURGE_DELAY=0 | 31.0 (27.9 to 34.1) |")
        .contains("threads that have ended: 1, 200 | 40.0, 41.5 |")
        .contains("![Resident memory against throughput, by engine and allocator](memory.png)");
    assertThat(report.charts()).extracting(ReportChart::file).containsExactly("memory.png");
    assertThat(report.charts().get(0).panels()).hasSize(2);
  }

  private static Map<String, Object> pipeline(String date, String name, double speed) {
    Map<String, Object> line =
        line(
            date,
            "kind",
            "pipeline",
            "pipeline",
            name,
            "tool",
            name,
            "tool_version",
            "1.0",
            "tokenizer",
            "gpt2",
            "corpus",
            "english.parquet",
            "bytes",
            100_000_000,
            "threads",
            2,
            "verified",
            "ids");
    for (String quantity : List.of("cold_mb_s", "warm_mb_s", "warm_median_mb_s")) {
      Record.putSpread(line, quantity, new Spread(speed, speed, speed), 2);
    }
    return line;
  }

  @Test
  void pipelinesOfSeveralRunsStandTogetherAndRatiosAreOfOne() {
    Map<String, Object> quern = pipeline("2026-02-02T00:00:00Z", "quern", 50);
    quern.put("over", Map.of("copy", Map.of("warm_median", 0.8, "cold", 0.7)));
    assertThat(
            report(
                    pipeline("2026-02-01T00:00:00Z", "datatrove", 5),
                    pipeline("2026-02-01T00:00:00Z", "copy", 40),
                    quern,
                    pipeline("2026-02-02T00:00:00Z", "copy", 62.5))
                .page())
        .contains("### Files of text to files of ids")
        .contains("| GPT-2, English, 100 MB | datatrove 1.0 | 2 |  | 5.0 | 5.0 | 5.0 |  |")
        .contains("| copy 1.0 | 2 |  | 62.5 | 62.5 | 62.5 | 0.80 |  | equal | c02 |")
        .doesNotContain("| 40.0 |");
  }

  @Test
  void countsAreDividedByTheKernelOfTheirRun() {
    Map<String, Object> quern = pipeline("2026-02-01T00:00:00Z", "quern", 50);
    quern.put(
        "over",
        Map.of("copy", Map.of("warm", 1.25, "cold", 0.7), "scan_and_kernel", Map.of("warm", 0.8)));
    Map<String, Object> count = pipeline("2026-02-02T00:00:00Z", PipelineCount.CACHED, 90);
    count.put("over", Map.of("kernel", Map.of("warm", 0.9)));
    Report report =
        report(
            quern,
            pipeline("2026-02-01T00:00:00Z", "copy", 40),
            pipeline("2026-02-01T00:00:00Z", "kernel", 101),
            count,
            pipeline("2026-02-02T00:00:00Z", "kernel", 100));
    assertThat(report.page())
        .contains("| GPT-2, English, 100 MB | count_cached | 2 | 90.0 | 90.0 | 0.90 |  |")
        .contains("| kernel 1.0 | 2 |  | 101.0 |")
        .doesNotContain("| 100.0 |");
    assertThat(report.sections().get("pipeline"))
        .contains("| Quern's job | 50.0 |  |", "Parquet writer | 40.0 | 1.25 |")
        .contains("would be 1.25 times as fast")
        .contains("over 100 MB in Spark's cache has 0.90 of")
        .contains("Recorded 2026-02-01 at commit c01.");
  }

  @Test
  void writersHaveARowForEachWayAndAColumnForEachCorpus() {
    List<Map<String, Object>> lines = new ArrayList<>();
    for (String corpus : List.of("english.parquet", "code.parquet")) {
      for (String codec : List.of("zstd", "none")) {
        Map<String, Object> line =
            line(
                "2026-02-01T00:00:00Z",
                "kind",
                "writers",
                "tool",
                "quern",
                "format",
                "parquet",
                "encoding",
                "plain",
                "compression",
                codec,
                "tokenizer",
                "gpt2",
                "corpus",
                corpus,
                "bytes_per_token",
                codec.equals("none") ? 4.0 : 2.21);
        Record.putSpread(line, "mb_s", new Spread(190, 200, 210), 1);
        lines.add(line);
      }
    }
    assertThat(new Report(lines.stream().map(RecordLine::new).toList()).page())
        .contains("| English (GPT-2) | code (GPT-2) |")
        .contains(
            "| quern | parquet | plain | zstd | 200 (190 to 210); 2.21 | 200 (190 to 210); 2.21 |")
        .contains("| none | 200 (190 to 210); 4.00 |");
  }

  @Test
  void speedAndMemoryOfTwoRunsStandInOneRow() {
    List<Map<String, Object>> lines = new ArrayList<>();
    for (String allocator : List.of("system", "mimalloc")) {
      Map<String, Object> speed = allocator("2026-02-01T00:00:00Z", "crate", allocator, 3);
      Map<String, Object> memory = allocator("2026-02-01T01:00:00Z", "crate", allocator, 3);
      speed.keySet().removeIf(field -> field.matches("memory_passes|rss_.*|vm_.*"));
      memory.keySet().removeIf(field -> field.startsWith("median_"));
      if (allocator.equals("mimalloc")) {
        speed.put("over_system", Map.of("median", 1.25));
        memory.put("over_system", Map.of("rss", 1.75));
      }
      lines.add(speed);
      lines.add(memory);
    }
    Report report = new Report(lines.stream().map(RecordLine::new).toList());
    assertThat(report.sections().get("allocator"))
        .contains("| crate, native, 1 thread | 3.0, 3.0 | ×1.25 | 200, 300 (×1.75) |");
    assertThat(report.charts().get(0).panels()).hasSize(1);
  }

  @Test
  void aKindOfWhichNothingIsKnownHasATableOfWhatDiffers() {
    assertThat(
            report(
                    line("2026-02-01T00:00:00Z", "kind", "other", "codec", "old", "mb_s", 1.0),
                    line("2026-02-02T00:00:00Z", "kind", "other", "codec", "zstd", "level", 3),
                    line("2026-02-02T00:00:00Z", "kind", "other", "codec", "none", "level", 3))
                .page())
        .contains("### other", "| codec |\n|---|\n| zstd |\n| none |\n", "level 3.")
        .doesNotContain("old");
  }

  @Test
  void aPictureCarriesTheHashOfWhatItShows() throws Exception {
    List<ReportChart> charts =
        report(
                kernel(
                    "2026-02-01T00:00:00Z", "quern", 111, "rss_start_mib", 50, "rss_pass_mib", 80),
                allocator("2026-02-01T00:00:00Z", "crate", "system", 2),
                allocator("2026-02-01T00:00:00Z", "crate", "mimalloc", 3))
            .charts();
    assertThat(charts)
        .extracting(ReportChart::file)
        .containsExactly("trade.png", "speed.png", "memory.png");
    for (ReportChart chart : charts) {
      assertThat(ReportChart.hashOf(chart.png())).contains(chart.hash());
    }
    assertThat(charts.get(0).hash())
        .isNotEqualTo(
            report(kernel("2026-02-01T00:00:00Z", "quern", 111.5)).charts().get(0).hash());
  }

  @Test
  void sectionsGoBetweenTheirMarkersOnly() {
    String text =
        "before\n<!--BEGIN:RECORD[a]-->\nold\n<!--END:RECORD[a]-->\n"
            + "- <!--BEGIN:RECORD[b]-->old<!--END:RECORD[b]--> after";
    assertThat(Report.fill(text, Map.of("a", "$1 new\n", "b", "two\nlines\n")))
        .isEqualTo(
            "before\n<!--BEGIN:RECORD[a]-->\n$1 new\n<!--END:RECORD[a]-->\n"
                + "- <!--BEGIN:RECORD[b]-->two lines<!--END:RECORD[b]--> after");
    assertThatThrownBy(() -> Report.fill(text, Map.of("a", "")))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("RECORD[b]");
    assertThatThrownBy(() -> Report.fill("nothing", Map.of("a", "")))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("<!--BEGIN:RECORD[kernel]-->");
  }

  @Test
  void theCommandPrintsDrawsAndWrites(@TempDir Path checkout) throws Exception {
    System.setProperty("quern.root", checkout.toString());
    assertThat(run("report")).isEqualTo(3);
    assertThat(error.toString()).contains("there is no record", "--from");
    Path record = Files.createDirectories(checkout.resolve("bench/record"));
    assertThat(run("report")).isEqualTo(3);
    assertThat(error.toString()).contains("has no line of a record");
    Path file = record.resolve("2026-02-01.jsonl");
    Files.writeString(file, Record.toJson(kernel("2026-02-01T00:00:00Z", "quern", 111)) + "\n{,\n");
    assertThat(run("report")).isEqualTo(3);
    assertThat(error.toString()).contains(file + " is not JSON in line 2");

    List<Map<String, Object>> lines = new ArrayList<>();
    lines.add(kernel("2026-02-01T00:00:00Z", "quern", 111));
    lines.add(kernel("2026-02-01T00:00:00Z", "quern", 222, "triple", "aarch64-apple-darwin"));
    Files.writeString(file, String.join("\n", lines.stream().map(Record::toJson).toList()));
    assertThat(run("report")).isZero();
    assertThat(out.toString()).contains("111 (110 to 112)", "222 (221 to 223)");
    out.getBuffer().setLength(0);
    Path charts = checkout.resolve("charts");
    assertThat(run("report", "--triple", "aarch64-apple-darwin", "--charts", charts.toString()))
        .isZero();
    assertThat(out.toString()).contains("222 (221 to 223)").doesNotContain("111 (110");
    assertThat(charts.resolve("speed.png")).exists();
    assertThat(run("report", "--triple", "s390x")).isEqualTo(2);
    assertThat(error.toString())
        .contains("--triple s390x: nothing was recorded there", "aarch64-apple-darwin");
    assertThat(run("report", "--triple", "s390x", "--write")).isEqualTo(2);
    assertThat(error.toString()).contains("leave --triple and --from out");

    Path readme = checkout.resolve("README.md");
    assertThat(run("report", "--write")).isEqualTo(3);
    assertThat(error.toString()).contains(readme + " is not there");
    Files.writeString(readme, "<!--BEGIN:RECORD[kernel]-->\n<!--END:RECORD[kernel]-->\n");
    assertThat(run("report", "--write")).isZero();
    assertThat(readme).content().contains("| GPT-2 | ");
    assertThat(checkout.resolve("bench/report/README.md")).content().contains("speed.png");
    assertThat(checkout.resolve("bench/report/speed.png")).exists();
  }
}
