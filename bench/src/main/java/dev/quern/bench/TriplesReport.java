package dev.quern.bench;

import static dev.quern.bench.RecordLine.format;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * What the record knows of target triples, from whatever machine: of each the newest of those lines
 * that have outcomes of the most steps. So a machine that can't run a target takes nothing back.
 */
final class TriplesReport {
  private static final List<String> HEAD =
      List.of("Target", "Dependency graph", "Built", "Unit tests", "Benchmark", "Evidence");

  /** Those with mimalloc first, then those without; within these by how much is known. */
  private static final Comparator<RecordLine> ORDER =
      Comparator.comparing((RecordLine line) -> !usesMimalloc(line))
          .thenComparing(line -> -Triples.done(line.fields()))
          .thenComparing(line -> line.text("target"), Comparator.reverseOrder());

  private final List<RecordLine> lines;
  private final Optional<RecordLine> newestGraph;

  /** Of these lines of the record those about triples, in the order in which they were appended. */
  TriplesReport(List<RecordLine> all) {
    Map<String, RecordLine> best = new LinkedHashMap<>();
    all.stream()
        .filter(TriplesReport::isOne)
        .sorted(Comparator.comparing(RecordLine::date))
        .forEach(
            line ->
                best.merge(
                    line.text("target"),
                    line,
                    (old, next) ->
                        Triples.done(next.fields()) < Triples.done(old.fields()) ? old : next));
    lines = best.values().stream().sorted(ORDER).toList();
    newestGraph =
        all.stream()
            .filter(line -> isOne(line) && line.has("graph_others"))
            .max(Comparator.comparing(RecordLine::date));
  }

  static boolean isOne(RecordLine line) {
    return line.text("kind").equals("triples");
  }

  private static boolean usesMimalloc(RecordLine line) {
    return line.text("allocator").equals("mimalloc");
  }

  /** A row for each target, and one for all that were only asked about; empty without lines. */
  String table() {
    if (lines.isEmpty()) {
      return "";
    }
    List<List<String>> rows = new ArrayList<>();
    for (RecordLine line : lines) {
      rows.add(
          List.of(
              "`" + line.text("target") + "`",
              cell(line, "graph", usesMimalloc(line) ? "mimalloc" : "no mimalloc"),
              cell(line, "built", "yes"),
              tests(line),
              cell(
                  line,
                  "benchmark",
                  "ids right, " + (usesMimalloc(line) ? "mimalloc" : "system's allocator")),
              evidence(line) + under(line)));
    }
    newestGraph.ifPresent(
        line ->
            rows.add(
                List.of(
                    format("the other %s of rustc", line.text("graph_others")),
                    "no mimalloc",
                    "not tried",
                    "not tried",
                    "not tried",
                    evidence(line))));
    return Markdown.table(HEAD, rows);
  }

  private static String cell(RecordLine line, String step, String yes) {
    return line.text(step).equals(Triples.YES) ? yes : line.text(step);
  }

  private static String tests(RecordLine line) {
    if (!line.has("tests_passed")) {
      return line.text("tests");
    }
    String passed = format("%s passed", line.text("tests_passed"));
    if (line.fields().get("tests_left_out") instanceof List<?> leftOut) {
      passed +=
          format(
              " (without %s)",
              Markdown.list(leftOut.stream().map(name -> "`" + name + "`").toList()));
    }
    return line.text("tests").equals(Triples.YES) ? passed : line.text("tests") + ", " + passed;
  }

  private static String evidence(RecordLine line) {
    return format(
        "commit %s, %s, rustc %s on %s",
        line.text("commit"), day(line), line.text("rustc"), line.text("triple"));
  }

  private static String day(RecordLine line) {
    return line.date().substring(0, Math.min(10, line.date().length()));
  }

  /**
   * "qemu-s390x version 7.2.22 (Debian 1:7.2...)" without what is in brackets; empty if nothing was
   * run.
   */
  private static String under(RecordLine line) {
    return line.has("runner") && Triples.done(line.fields()) > 2
        ? ", " + line.text("runner").replaceFirst(" *\\(.*", "")
        : "";
  }
}
