package dev.quern.bench;

import static dev.quern.bench.RecordLine.format;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * Tables and charts of the record. {@link #page} has everything, a chapter for each machine; {@link
 * #sections} is what the README shows, of one machine.
 */
final class Report {
  /** The markers in the README, and the name of a section between them. */
  private static final Pattern SECTION =
      Pattern.compile(
          "(<!--BEGIN:RECORD\\[(?<name>[a-z]+)\\]-->)(?<text>.*?)(<!--END:RECORD\\[\\k<name>\\]-->)",
          Pattern.DOTALL);

  /** Names for people, of what the project's own measurements use. */
  private static final Map<String, String> LABELS =
      Map.ofEntries(
          Map.entry("gpt2", "GPT-2"),
          Map.entry("llama3_1/tokenizer.json", "Llama 3.1"),
          Map.entry("qwen3/tokenizer.json", "Qwen 3"),
          Map.entry("deepseek_v3/tokenizer.json", "DeepSeek V3"),
          Map.entry("english.parquet", "English"),
          Map.entry("code.parquet", "code"),
          Map.entry("cjk.parquet", "Chinese, Japanese, Korean"),
          Map.entry("multilingual.parquet", "six languages"));

  /**
   * Where lines may be compared: the processor and the rest of the machine, but not the version of
   * its operating system, which changes with every update.
   */
  private record Machine(String triple, String cpu, String size) {
    static Machine of(RecordLine line) {
      return new Machine(
          line.text("triple"), line.text("cpu"), line.text("machine").replaceFirst("^[^,]*, ", ""));
    }
  }

  /** The lines of one machine, by kind. */
  private record Chapter(
      Machine machine,
      List<RecordLine> lines,
      KernelReport kernel,
      AllocatorReport allocator,
      SeamReport seam,
      WritersReport writers,
      PipelineReport pipeline) {
    static Chapter of(Machine machine, List<RecordLine> lines) {
      return new Chapter(
          machine,
          lines,
          new KernelReport(lines),
          new AllocatorReport(lines),
          new SeamReport(lines),
          new WritersReport(lines),
          new PipelineReport(lines));
    }

    String newest() {
      return lines.stream().map(RecordLine::date).max(Comparator.naturalOrder()).orElse("");
    }
  }

  private final List<Chapter> chapters;
  private final TriplesReport triples;

  /**
   * @param lines all of the record, in the order in which they were appended
   */
  Report(List<RecordLine> lines) {
    triples = new TriplesReport(lines);
    Map<Machine, List<RecordLine>> machines = new LinkedHashMap<>();
    lines.stream()
        .filter(line -> !TriplesReport.isOne(line))
        .forEach(
            line -> machines.computeIfAbsent(Machine.of(line), key -> new ArrayList<>()).add(line));
    chapters =
        machines.entrySet().stream()
            .map(entry -> Chapter.of(entry.getKey(), entry.getValue()))
            .sorted(
                Comparator.comparing((Chapter chapter) -> chapter.kernel.size())
                    .thenComparing(Chapter::newest)
                    .reversed())
            .toList();
  }

  /** Every line of the record in that folder, oldest file first; BenchException if one is none. */
  static List<RecordLine> read(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      throw new BenchException(
          BenchException.INPUT,
          "there is no record: no folder "
              + folder
              + "; start bench/bin/quern-bench in the checkout, or name a folder with --from");
    }
    List<Path> files;
    try (Stream<Path> all = Files.walk(folder)) {
      files =
          all.filter(file -> file.toString().endsWith(".jsonl"))
              .sorted(
                  Comparator.comparing((Path file) -> file.getFileName().toString())
                      .thenComparing(Path::toString))
              .toList();
    }
    List<RecordLine> lines = new ArrayList<>();
    for (Path file : files) {
      Record.read(file).forEach(fields -> lines.add(new RecordLine(fields)));
    }
    if (lines.isEmpty()) {
      throw new BenchException(
          BenchException.INPUT,
          folder + " has no line of a record: measure with --record, or name another with --from");
    }
    return lines;
  }

  /** The newest line of each key, in the order of the keys; of equally old ones the last. */
  static List<RecordLine> newest(List<RecordLine> lines, Function<RecordLine, List<String>> key) {
    Map<List<String>, RecordLine> newest = new LinkedHashMap<>();
    for (RecordLine line : lines) {
      newest.merge(
          key.apply(line),
          line,
          (old, found) -> found.date().compareTo(old.date()) < 0 ? old : found);
    }
    return List.copyOf(newest.values());
  }

  /** What people call a tokenizer or a corpus of the record. */
  static String label(String name) {
    return LABELS.getOrDefault(name, name.replaceAll("(/tokenizer)?\\.(json|jsonl|parquet)$", ""));
  }

  /** Of which commits lines are, from when, and what else the machine did. */
  static String source(List<RecordLine> lines) {
    Map<String, Set<String>> notes = new LinkedHashMap<>();
    lines.forEach(
        line ->
            notes
                .computeIfAbsent(line.text("commit"), key -> new LinkedHashSet<>())
                .add(line.text("note")));
    List<String> commits = new ArrayList<>();
    notes.forEach(
        (commit, said) -> {
          said.remove("");
          commits.add(commit + (said.isEmpty() ? "" : " (" + String.join("; ", said) + ")"));
        });
    Set<String> days = new TreeSet<>(lines.stream().map(line -> day(line.date())).toList());
    return format(
        "Recorded %s at commit %s.", Markdown.list(List.copyOf(days)), Markdown.list(commits));
  }

  private static String day(String date) {
    return date.substring(0, Math.min(10, date.length()));
  }

  /** What the README may show, by the name of the section: of the machine with the most to show. */
  Map<String, String> sections() {
    Chapter chapter = chapters.get(0);
    Map<String, String> sections = new LinkedHashMap<>();
    sections.put("kernel", chapter.kernel.summary());
    sections.put("allocator", chapter.allocator.summary());
    sections.put("seam", chapter.seam.summary());
    sections.put("pipeline", chapter.pipeline.summary());
    sections.put("triples", triples.table());
    return sections;
  }

  /** Charts of the same machine; the page shows them. */
  List<ReportChart> charts() {
    Chapter chapter = chapters.get(0);
    return Stream.of(chapter.kernel.charts(), chapter.allocator.charts())
        .flatMap(List::stream)
        .toList();
  }

  /** All tables, as one page of Markdown. */
  String page() {
    StringBuilder page = new StringBuilder();
    page.append("# What was measured\n\n");
    page.append(
        Markdown.paragraph(
            List.of(
                "Made of [the record](../record) by `bench/bin/quern-bench report --write`, never by hand.",
                "Of lines that measure the same on the same machine the newest stands here.",
                "A figure is the median of its rounds, with minimum and maximum in brackets;"
                    + " [the record's own page](../record/README.md) says what each is and how it was measured.",
                "Figures of different commits, dates and machines are no comparison; ratios are of one run.")));
    if (!triples.table().isEmpty()) {
      page.append("\n## Target triples\n\n").append(triples.table());
    }
    for (Chapter chapter : chapters) {
      page.append(
          format(
              "%n## `%s`: %s, %s%n",
              chapter.machine.triple, chapter.machine.cpu, chapter.machine.size));
      boolean shown = chapter == chapters.get(0);
      section(
          page,
          "Documents in memory to ids",
          chapter.kernel.page(),
          shown ? chapter.kernel.charts() : List.of());
      section(
          page,
          "Memory allocators",
          chapter.allocator.page(),
          shown ? chapter.allocator.charts() : List.of());
      section(page, "Between Java, SQL and the tokenizer", chapter.seam.page(), List.of());
      section(page, "Ids to files", chapter.writers.page(), List.of());
      section(page, "Files of text to files of ids", chapter.pipeline.page(), List.of());
      Set<String> others =
          new LinkedHashSet<>(chapter.lines.stream().map(line -> line.text("kind")).toList());
      others.removeAll(
          List.of("kernel", "allocator", "seam", "writers", "pipeline", "pipeline_cold"));
      others.forEach(
          kind -> section(page, kind, OtherReport.page(ofKind(chapter, kind)), List.of()));
    }
    return page.toString();
  }

  private static List<RecordLine> ofKind(Chapter chapter, String kind) {
    return chapter.lines.stream().filter(line -> line.text("kind").equals(kind)).toList();
  }

  private static void section(
      StringBuilder page, String title, String text, List<ReportChart> charts) {
    if (text.isEmpty()) {
      return;
    }
    page.append("\n### ").append(title).append("\n\n");
    charts.forEach(drawn -> page.append(format("![%s](%s)%n%n", drawn.title(), drawn.file())));
    page.append(text.stripTrailing()).append('\n');
  }

  /**
   * The text with every section between its markers; BenchException if it names one that there is
   * not, or has no markers at all.
   */
  static String fill(String text, Map<String, String> sections) {
    Matcher matcher = SECTION.matcher(text);
    StringBuilder filled = new StringBuilder();
    boolean found = false;
    while (matcher.find()) {
      String section = sections.get(matcher.group("name"));
      if (section == null) {
        throw new BenchException(
            BenchException.INPUT,
            "the README has the marker RECORD["
                + matcher.group("name")
                + "], of which there is nothing to report: it is one of "
                + String.join(", ", sections.keySet()));
      }
      // On lines of its own, or within a sentence.
      String body =
          matcher.group("text").startsWith("\n")
              ? "\n" + section.strip() + "\n"
              : section.strip().replace('\n', ' ');
      matcher.appendReplacement(
          filled, Matcher.quoteReplacement(matcher.group(1) + body + matcher.group(4)));
      found = true;
    }
    if (!found) {
      throw new BenchException(
          BenchException.INPUT,
          "the README has no place for figures: set <!--BEGIN:RECORD[kernel]--> and"
              + " <!--END:RECORD[kernel]--> where they belong");
    }
    return matcher.appendTail(filled).toString();
  }
}
