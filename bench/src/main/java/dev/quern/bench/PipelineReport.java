package dev.quern.bench;

import static dev.quern.bench.RecordLine.format;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * What the record says of one machine about whole pipelines, files of text to files of ids (kinds
 * pipeline and pipeline_cold), and of SQL that counts over the same input: of each pipeline over an
 * input the newest line.
 */
final class PipelineReport {
  /** What people call a pipeline, in the order of the README. */
  private static final Map<String, String> LABELS = new LinkedHashMap<>();

  static {
    LABELS.put("quern", "Quern's job");
    LABELS.put("copy", "Spark copies ready ids by its own Parquet writer");
    LABELS.put("gigatoken", "a script: gigatoken's files, pyarrow's writer");
    LABELS.put("datatrove", "datatrove");
  }

  private final List<RecordLine> passes;
  private final List<RecordLine> counts;
  private final List<RecordLine> processes;

  PipelineReport(List<RecordLine> lines) {
    counts =
        newest(lines, "pipeline").stream()
            .filter(line -> PipelineCount.ALL.contains(line.text("pipeline")))
            .toList();
    Set<String> runs = counts.stream().map(RecordLine::date).collect(Collectors.toSet());
    // The kernel that counts were divided by is that of their run, and of no other.
    passes =
        newest(lines.stream().filter(line -> !runs.contains(line.date())).toList(), "pipeline");
    processes = newest(lines, "pipeline_cold");
  }

  private static List<RecordLine> newest(List<RecordLine> lines, String kind) {
    return Report.newest(
        lines.stream().filter(line -> line.text("kind").equals(kind)).toList(),
        line -> line.key("tokenizer", "corpus", "bytes", "threads", "pipeline", "options"));
  }

  /** A table of the newest run that had Quern's job, and what SQL's counting comes to. */
  String summary() {
    Optional<RecordLine> newest =
        passes.stream()
            .filter(line -> line.text("pipeline").equals("quern"))
            .max(Comparator.comparing(RecordLine::date));
    if (newest.isEmpty()) {
      return "";
    }
    RecordLine quern = newest.get();
    List<List<String>> rows = new ArrayList<>();
    LABELS.forEach(
        (pipeline, label) ->
            passes.stream()
                .filter(line -> line.date().equals(quern.date()))
                .filter(line -> line.text("pipeline").equals(pipeline))
                .forEach(
                    line ->
                        rows.add(
                            List.of(
                                label
                                    + (Pipeline.isPython(pipeline)
                                        ? " (" + line.text("tool_version") + ")"
                                        : ""),
                                line.spread("warm_mb_s", 1),
                                best(quern.object("over").object(pipeline)),
                                line.spread("tree_rss_mib", 0)))));
    String series = best(quern.object("over").object("scan_and_kernel"));
    return Markdown.table(
            List.of(
                "Parquet files of text to Parquet files of ids",
                "MB/s of text, " + quern.text("threads") + " cores",
                "Quern, times its",
                "RSS with children at most, MiB"),
            rows)
        + '\n'
        + Markdown.paragraph(
            List.of(
                format(
                    "%s, %.0f MB of all kinds of text mixed, zstd in, snappy out; a session or process that is there, the best of its %.0f warm passes%s.",
                    Report.label(quern.text("tokenizer")),
                    quern.number("bytes") / 1e6,
                    quern.number("passes") - 1,
                    byMedian(quern)),
                quern.has("heap_mib")
                    ? format(
                        "Quern and Spark's copy have the session of `job/bin/quern` and its heap (%,.0f MiB of it in use at most).",
                        quern.number("heap_mib"))
                    : "",
                series.isEmpty()
                    ? ""
                    : "Spark's scan of the text and the encoder, one after the other, would be "
                        + format(
                            "%.2f times as fast as Quern's job.",
                            1 / quern.object("over").object("scan_and_kernel").number("warm")),
                counted(),
                Report.source(List.of(quern))));
  }

  /** How often faster than the others a pass is that no luck made: the median one. */
  private static String byMedian(RecordLine quern) {
    RecordLine over = quern.object("over");
    return over.object("copy").has("warm_median") && over.object("gigatoken").has("warm_median")
        ? format(
            " (by their median passes Quern has %.2f times the speed of Spark's copy, %.2f of the script)",
            over.object("copy").number("warm_median"),
            over.object("gigatoken").number("warm_median"))
        : "";
  }

  /** What part of the kernel's speed SQL reaches over a cache; empty if that was not measured. */
  private String counted() {
    return counts.stream()
        .filter(line -> line.text("pipeline").equals(PipelineCount.CACHED))
        .max(Comparator.comparing(RecordLine::date))
        .map(
            line ->
                format(
                    "`SELECT sum(token_count(text))` over %.0f MB in Spark's cache has %s of the encoder's speed.",
                    line.number("bytes") / 1e6, best(line.object("over").object("kernel"))))
        .orElse("");
  }

  private static String best(RecordLine over) {
    // A single pass is a cold one.
    return over.has("warm") ? over.spread("warm", 2) : over.spread("cold", 2);
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
    if (!counts.isEmpty()) {
      page.append("`SELECT sum(token_count(text))`, over that input:\n\n")
          .append(
              Markdown.table(
                  List.of(
                      "input",
                      "text",
                      "threads",
                      "warm, best, MB/s",
                      "warm, median",
                      "times the kernel, best",
                      "times count_batches, best"),
                  counts.stream().map(PipelineReport::count).toList()))
          .append('\n')
          .append(Markdown.paragraph(List.of(Report.source(counts))))
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

  private static List<String> count(RecordLine line) {
    RecordLine over = line.object("over");
    return List.of(
        input(line),
        line.text("pipeline"),
        line.text("threads"),
        line.spread("warm_mb_s", 1),
        line.spread("warm_median_mb_s", 1),
        over.object("kernel").spread("warm", 2),
        over.object(PipelineCount.BATCHES).spread("warm", 2));
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
