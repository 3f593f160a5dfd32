package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class TriplesTest {
  /** Surefire's folder is the module's. */
  private static final Path ROOT = Path.of("..").toAbsolutePath().normalize();

  @Test
  void theTableOfTargetsIsReadFromItsOnePlace() throws Exception {
    assertThat(Triples.table(ROOT))
        .containsEntry("x86_64-unknown-linux-gnu", true)
        .containsEntry("aarch64-unknown-linux-gnu", true)
        .containsEntry("aarch64-apple-darwin", true)
        .containsEntry("s390x-unknown-linux-gnu", false);
  }

  /** That the README's table is the record's, {@link ReportTest} knows. */
  @Test
  void everyTargetOfTheTableIsRecorded() throws Exception {
    Map<String, Boolean> recorded = new LinkedHashMap<>();
    Report.read(ROOT.resolve("bench/record")).stream()
        .filter(TriplesReport::isOne)
        .forEach(
            line -> recorded.put(line.text("target"), line.text("allocator").equals("mimalloc")));
    assertThat(recorded)
        .as("a new target, or another allocator? bench/bin/quern-bench triples --record")
        .containsAllEntriesOf(Triples.table(ROOT));
  }

  @Test
  void aRowKeepsTheNewestRunInWhichTheTestsRan() {
    Map<String, Object> old = line("a", "2026-01-01T00:00:00Z", "no: broken");
    old.put("tests_passed", 6);
    Map<String, Object> tested = line("a", "2026-01-02T00:00:00Z", "yes");
    tested.put("tests_passed", 7);
    tested.put("tests_left_out", List.of("memory"));
    tested.put("runner", "qemu-a version 7.2 (Debian)");
    Map<String, Object> later = line("a", "2026-01-03T00:00:00Z", "not here: qemu | no");
    Map<String, Object> untested = line("b", "2026-01-03T00:00:00Z", "not here: qemu | no");
    untested.put("allocator", "mimalloc");
    untested.put("graph_others", 3);
    Stream<Map<String, Object>> lines =
        Stream.of(old, tested, later, untested, Map.of("kind", "seam"));

    String table = new TriplesReport(lines.map(RecordLine::new).toList()).table();

    assertThat(table.lines().skip(2))
        .containsExactly(
            "| `b` | mimalloc | yes | not here: qemu \\| no | not here: qemu \\| no |"
                + " commit c0ffee, 2026-01-03, rustc 1.0 on x |",
            "| `a` | no mimalloc | yes | 7 passed (without `memory`) |"
                + " ids right, system's allocator | commit c0ffee, 2026-01-02, rustc 1.0 on x,"
                + " qemu-a version 7.2 |",
            "| the other 3 of rustc | no mimalloc | not tried | not tried | not tried |"
                + " commit c0ffee, 2026-01-03, rustc 1.0 on x |");
    assertThat(new TriplesReport(List.of()).table()).isEmpty();
  }

  @Test
  void anUnknownTargetIsRefusedWithTheKnownOnes() {
    System.setProperty("quern.root", ROOT.toString());
    StringWriter error = new StringWriter();
    int status =
        QuernBench.commandLine()
            .setErr(new PrintWriter(error))
            .execute("triples", "--target", "pdp11-unknown-none");
    assertThat(status).isEqualTo(BenchException.USAGE);
    assertThat(error.toString())
        .contains("pdp11-unknown-none", "allocator/Cargo.toml", "s390x-unknown-linux-gnu");
  }

  @AfterEach
  void noRoot() {
    System.clearProperty("quern.root");
  }

  private static Map<String, Object> line(String target, String date, String outcome) {
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("kind", "triples");
    line.put("date", date);
    line.put("commit", "c0ffee");
    line.put("triple", "x");
    line.put("target", target);
    line.put("rustc", "1.0");
    line.put("allocator", "system");
    line.put("graph", "yes");
    line.put("built", "yes");
    line.put("tests", outcome);
    line.put("benchmark", outcome);
    return line;
  }

  static Set<String> targets() throws Exception {
    return Triples.table(ROOT).keySet();
  }

  /** The real thing: about ten minutes a target. What this machine lacks is said, and skipped. */
  @ParameterizedTest
  @MethodSource("targets")
  @Tag("long")
  void aTargetIsRight(String target) {
    System.setProperty("quern.root", ROOT.toString());
    StringWriter out = new StringWriter();
    StringWriter error = new StringWriter();
    int status =
        QuernBench.commandLine()
            .setOut(new PrintWriter(out))
            .setErr(new PrintWriter(error))
            .execute("triples", "--target", target);
    assertThat(status).as("%s%n%s", out, error).isZero();
    assumeFalse(out.toString().contains(Triples.NOT_HERE), () -> "not possible here:\n" + out);
  }
}
