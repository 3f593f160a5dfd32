package dev.quern.bench;

import static dev.quern.bench.RecordLine.format;

import java.util.ArrayList;
import java.util.List;

/**
 * What the record says of one machine about whole pipelines, files of text to files of ids (kinds
 * pipeline and pipeline_cold): of each pipeline over an input the newest line.
 */
final class PipelineReport {
  private final List<RecordLine> passes;
  private final List<RecordLine> processes;

  PipelineReport(List<RecordLine> lines) {
    passes = newest(lines, "pipeline");
    processes = newest(lines, "pipeline_cold");
  }

  private static List<RecordLine> newest(List<RecordLine> lines, String kind) {
    return Report.newest(
        lines.stream().filter(line -> line.text("kind").equals(kind)).toList(),
        line -> line.key("tokenizer", "corpus", "bytes", "threads", "pipeline", "options"));
  }

  /** A table of speeds in a process that is there, and one of whole processes; may be empty. */
  String page() {
    StringBuilder page = new StringBuilder();
    if (!passes.isEmpty()) {
      List<List<String>> rows = passes.stream().map(this::pass).toList();
      page.append(
              Markdown.table(
                  List.of(
                      "input",
                      "pipeline",
                      "threads",
                      "session, s",
                      "cold, MB/s",
                      "warm, best",
                      "warm, median",
                      "Quern's median pass, times its",
                      "RSS with children at most, MiB",
                      "ids",
                      "commit"),
                  rows))
          .append('\n')
          .append(Markdown.paragraph(List.of(Report.source(passes))))
          .append('\n');
    }
    if (!processes.isEmpty()) {
      List<List<String>> rows = new ArrayList<>();
      for (RecordLine line : processes) {
        rows.add(
            List.of(
                input(line),
                line.text("pipeline"),
                line.text("threads"),
                line.spread("total_s", 2),
                line.object("over").object("scan").spread("total", 2),
                line.spread("tree_rss_mib", 0)));
      }
      page.append("From the start of the command to its end:\n\n")
          .append(
              Markdown.table(
                  List.of(
                      "input",
                      "command",
                      "threads",
                      "seconds",
                      "times a scan",
                      "RSS with children at most, MiB"),
                  rows))
          .append('\n')
          .append(Markdown.paragraph(List.of(Report.source(processes))));
    }
    return page.toString();
  }

  private List<String> pass(RecordLine line) {
    return List.of(
        input(line),
        line.text("pipeline")
            + (line.text("tool").isEmpty() || line.isQuern()
                ? ""
                : " " + line.text("tool_version")),
        line.text("threads"),
        line.spread("session_s", 1),
        line.spread("cold_mb_s", 1),
        line.spread("warm_mb_s", 1),
        line.spread("warm_median_mb_s", 1),
        times(line),
        line.spread("tree_rss_mib", 0),
        line.text("verified").equals("ids") ? "equal" : line.text("verified"),
        line.text("commit"));
  }

  /** By Quern's line of the same run. */
  private String times(RecordLine line) {
    return passes.stream()
        .filter(quern -> quern.text("pipeline").equals("quern"))
        .filter(
            quern ->
                quern.date().equals(line.date())
                    && quern
                        .key("tokenizer", "corpus", "bytes", "threads")
                        .equals(line.key("tokenizer", "corpus", "bytes", "threads")))
        .map(
            quern -> {
              RecordLine over = quern.object("over").object(line.text("pipeline"));
              // A single pass is a cold one.
              return over.has("warm_median")
                  ? over.spread("warm_median", 2)
                  : over.spread("cold", 2);
            })
        .findFirst()
        .orElse("");
  }

  private static String input(RecordLine line) {
    return format(
        "%s, %s, %.0f MB",
        Report.label(line.text("tokenizer")),
        Report.label(line.text("corpus")),
        line.number("bytes") / 1e6);
  }
}
