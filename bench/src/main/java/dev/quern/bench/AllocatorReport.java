package dev.quern.bench;

import static dev.quern.bench.RecordLine.format;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.stream.Stream;

/**
 * What the record says of one machine about allocators (lines of kind allocator), beside the
 * figures of the experiment that they repeat: Hugging Face tokenizers' pull request 2073.
 *
 * <p>Each table has the newest lines that have what it shows. Of the runs over a corpus those over
 * its most bytes are the experiment; options of the allocators, often tried on less, are compared
 * with the system's allocator in their own run.
 */
final class AllocatorReport {
  /** MiB in a MB of 10^6 bytes: the experiment's unit is MiB/s. */
  private static final double MIB = 1e6 / (1 << 20);

  /** Its own figures: machine, threads, MiB/s before and after. */
  private static final List<List<String>> EXPERIMENT =
      List.of(
          List.of("NVIDIA Vera, aarch64, 88 cores", "1", "3.96", "6.18", "+56 %"),
          List.of("NVIDIA Vera, aarch64, 88 cores", "88", "17.75", "19.40", "+9.3 %"),
          List.of("EPYC 9124, x86_64, 16 cores", "1", "3.84", "5.19", "+35 %"),
          List.of("EPYC 9124, x86_64, 16 cores", "16", "23.40", "42.72", "+83 %"),
          List.of("Apple M3 Pro, 12 cores", "1", "4.64", "6.90", "+48 %"),
          List.of("Apple M3 Pro, 12 cores", "12", "17.53", "34.60", "+97 %"));

  private final List<RecordLine> own;

  AllocatorReport(List<RecordLine> lines) {
    own = complete(lines.stream().filter(line -> line.text("kind").equals("allocator")).toList());
  }

  /**
   * Lines of one contender, input and commit as one: speed may be measured in a run of its own, on
   * a quiet machine. Of a field that several have the newest counts; so does its date.
   */
  private static List<RecordLine> complete(List<RecordLine> lines) {
    Map<List<String>, Map<String, Object>> complete = new LinkedHashMap<>();
    for (RecordLine line : lines.stream().sorted(Comparator.comparing(RecordLine::date)).toList()) {
      List<String> key = new ArrayList<>(contenderAndInput(line));
      key.addAll(line.key("commit", "corpus_hash"));
      Map<String, Object> fields = complete.computeIfAbsent(key, k -> new LinkedHashMap<>());
      Map<String, Object> over =
          new LinkedHashMap<>(new RecordLine(fields).object("over_system").fields());
      over.putAll(line.object("over_system").fields());
      fields.putAll(line.fields());
      if (!over.isEmpty()) {
        fields.put("over_system", over);
      }
    }
    return complete.values().stream().map(RecordLine::new).toList();
  }

  private static List<String> contenderAndInput(RecordLine line) {
    return line.key(
        "seat",
        "engine",
        "allocator",
        "build",
        "variables",
        "collect",
        "tokenizer",
        "corpus",
        "bytes",
        "chunks",
        "threads");
  }

  /** The newest lines that have this field, one for each contender, input and threads. */
  private List<RecordLine> with(String field, Predicate<RecordLine> which) {
    return Report.newest(
            own.stream().filter(line -> line.has(field)).filter(which).toList(),
            AllocatorReport::contenderAndInput)
        .stream()
        .sorted(
            Comparator.comparing((RecordLine line) -> line.text("seat").equals("native") ? 0 : 1)
                .thenComparing(line -> line.text("engine"))
                .thenComparing(line -> line.number("threads")))
        .toList();
  }

  private static boolean isPlain(RecordLine line) {
    return !line.has("build") && !line.has("variables") && !line.has("collect");
  }

  /** Those of the whole corpus, if a part of it was measured too. */
  private static List<RecordLine> whole(List<RecordLine> lines) {
    Map<String, Double> most = new LinkedHashMap<>();
    lines.forEach(line -> most.merge(line.text("corpus"), line.number("bytes"), Math::max));
    return lines.stream()
        .filter(line -> line.number("bytes") == most.get(line.text("corpus")))
        .toList();
  }

  /** A line with mimalloc and the one with the system's allocator that it was compared with. */
  private record Pair(RecordLine system, RecordLine mimalloc) {}

  private static List<Pair> pairs(List<RecordLine> lines) {
    List<Pair> pairs = new ArrayList<>();
    for (RecordLine mimalloc : lines) {
      lines.stream()
          .filter(line -> line.text("allocator").equals("system"))
          .filter(line -> mimalloc.text("allocator").equals("mimalloc"))
          .filter(
              line -> line.date().equals(mimalloc.date()) && place(line).equals(place(mimalloc)))
          .findFirst()
          .ifPresent(system -> pairs.add(new Pair(system, mimalloc)));
    }
    return pairs;
  }

  private static List<String> place(RecordLine line) {
    return line.key("seat", "engine", "tokenizer", "corpus", "bytes", "chunks", "threads");
  }

  private static String seat(RecordLine line) {
    return line.text("engine")
        + (line.text("seat").equals("jvm") ? " in a JVM" : ", native")
        + ", "
        + threads(line);
  }

  private static String contender(RecordLine line) {
    String option = option(line);
    return seat(line) + ", " + line.text("allocator") + (option.isEmpty() ? "" : " " + option);
  }

  private static String threads(RecordLine line) {
    return line.text("threads").equals("1") ? "1 thread" : line.text("threads") + " threads";
  }

  /** The README's table: what mimalloc gains and costs. Empty without lines. */
  String summary() {
    List<Pair> speeds = pairs(whole(with("median_mb_s", AllocatorReport::isPlain)));
    if (speeds.isEmpty()) {
      return "";
    }
    List<Pair> memory = pairs(whole(with("memory_passes", AllocatorReport::isPlain)));
    List<List<String>> rows = new ArrayList<>();
    for (Pair pair : speeds) {
      rows.add(
          List.of(
              seat(pair.mimalloc),
              pair.system.decimals("median_mb_s", 1)
                  + ", "
                  + pair.mimalloc.decimals("median_mb_s", 1),
              times(pair.mimalloc, "median"),
              memory.stream()
                  .filter(other -> place(other.mimalloc).equals(place(pair.mimalloc)))
                  .findFirst()
                  .map(
                      other ->
                          format(
                              "%.0f, %.0f (%s)",
                              left(other.system),
                              left(other.mimalloc),
                              times(other.mimalloc, "rss")))
                  .orElse("")));
    }
    List<RecordLine> lines =
        Stream.concat(speeds.stream(), memory.stream()).map(Pair::mimalloc).toList();
    RecordLine first = lines.get(0);
    return Markdown.table(
            List.of(
                "system's allocator, mimalloc",
                "MB/s",
                "speed, times system's",
                "RSS after "
                    + Markdown.list(
                        memory.stream()
                            .map(pair -> pair.mimalloc.text("memory_passes"))
                            .distinct()
                            .toList())
                    + " passes, MiB (times system's)"),
            rows)
        + "\n"
        + Markdown.paragraph(
            List.of(
                format(
                    "%s, %s: %.1f MB of text in %s documents; `crate` is Hugging Face's own batch call, the engine of the experiment.",
                    Report.label(first.text("tokenizer")),
                    Report.label(first.text("corpus")),
                    first.number("bytes") / 1e6,
                    first.text("documents")),
                Report.source(lines)));
  }

  private static String times(RecordLine line, String figure) {
    String ratio = line.object("over_system").decimals(figure, 2);
    return ratio.isEmpty() ? "" : "×" + ratio;
  }

  /** RSS in MiB after the passes for memory. */
  private static double left(RecordLine line) {
    return line.number("rss_after_" + line.text("memory_passes") + "_mib");
  }

  /** The three tables of the experiment, and what goes beyond it. */
  String page() {
    StringBuilder page = new StringBuilder();
    speed(page);
    shares(page);
    memory(page);
    growth(page);
    options(page);
    return page.toString();
  }

  private static void part(
      StringBuilder page,
      String about,
      List<String> head,
      List<List<String>> rows,
      List<RecordLine> lines) {
    page.append(Markdown.paragraph(List.of(about)))
        .append('\n')
        .append(Markdown.table(head, rows))
        .append('\n')
        .append(Markdown.paragraph(List.of(Report.source(lines))))
        .append('\n');
  }

  private void speed(StringBuilder page) {
    List<Pair> pairs = pairs(whole(with("median_mb_s", AllocatorReport::isPlain)));
    if (pairs.isEmpty()) {
      return;
    }
    List<List<String>> rows = new ArrayList<>();
    for (Pair pair : pairs) {
      RecordLine over = pair.mimalloc.object("over_system");
      rows.add(
          List.of(
              input(pair.mimalloc),
              seat(pair.mimalloc),
              mebibytes(pair.system),
              mebibytes(pair.mimalloc),
              change(over, "median"),
              change(over, "best")));
    }
    for (List<String> row : EXPERIMENT) {
      rows.add(
          List.of(
              "the experiment: " + row.get(0),
              "crate, native, " + (row.get(1).equals("1") ? "1 thread" : row.get(1) + " threads"),
              row.get(2),
              row.get(3),
              row.get(4),
              ""));
    }
    part(
        page,
        "**Throughput by allocator.** MiB of text a second, all threads together. The experiment's own figures are below ours.",
        List.of(
            "input or machine",
            "engine",
            "system, MiB/s",
            "mimalloc, MiB/s",
            "median pass",
            "best pass"),
        rows,
        pairs.stream().map(Pair::mimalloc).toList());
  }

  private static String input(RecordLine line) {
    return format(
        "%s, %s, %.1f MB",
        Report.label(line.text("tokenizer")),
        Report.label(line.text("corpus")),
        line.number("bytes") / 1e6);
  }

  private static String mebibytes(RecordLine line) {
    double median = line.number("median_mb_s") * MIB;
    int digits = median < 100 ? 2 : 0;
    String number = "%." + digits + "f";
    return format(
        number + " (" + number + " to " + number + ")",
        median,
        line.number("median_mb_s_min") * MIB,
        line.number("median_mb_s_max") * MIB);
  }

  private static String change(RecordLine over, String figure) {
    return over.has(figure)
        ? format(
            "%+.0f %% (%+.0f to %+.0f)",
            100 * (over.number(figure) - 1),
            100 * (over.number(figure + "_min") - 1),
            100 * (over.number(figure + "_max") - 1))
        : "";
  }

  private void shares(StringBuilder page) {
    List<RecordLine> lines = whole(with("cpu_libc_malloc", AllocatorReport::isPlain));
    if (lines.isEmpty()) {
      return;
    }
    List<List<String>> rows = new ArrayList<>();
    for (RecordLine line : lines) {
      rows.add(
          List.of(
              seat(line),
              line.text("allocator"),
              percent(line, "cpu_libc_malloc"),
              percent(line, "cpu_mimalloc"),
              percent(line, "cpu_thread_local"),
              line.decimals("cpu_samples", 0)));
    }
    rows.add(
        List.of(
            "the experiment: Vera, crate, native, 88 threads",
            "system",
            "1.8 %",
            "0 %",
            "0 %",
            ""));
    rows.add(
        List.of(
            "the experiment: Vera, crate, native, 88 threads",
            "mimalloc",
            "0.13 %",
            "0.96 %",
            "14.25 %",
            ""));
    part(
        page,
        format(
            "**Share of CPU time** (%s) in the C library's malloc, free and realloc, in mimalloc, and in functions that compute addresses of"
                + " thread-local variables.",
            Markdown.list(lines.stream().map(line -> line.text("cpu_source")).distinct().toList())),
        List.of(
            "engine", "allocator", "malloc, free, realloc", "mimalloc", "thread-local", "samples"),
        rows,
        lines);
  }

  private static String percent(RecordLine line, String field) {
    return line.has(field) ? format("%.2f %%", 100 * line.number(field)) : "";
  }

  private void memory(StringBuilder page) {
    List<Pair> pairs = pairs(whole(with("memory_passes", AllocatorReport::isPlain)));
    if (pairs.isEmpty()) {
      return;
    }
    List<List<String>> rows = new ArrayList<>();
    for (Pair pair : pairs) {
      rows.add(
          List.of(
              seat(pair.mimalloc),
              pair.mimalloc.text("memory_passes"),
              twice(pair, "rss_start_mib", 1),
              format(
                  "%.0f, %.0f (×%.2f)",
                  left(pair.system), left(pair.mimalloc), left(pair.mimalloc) / left(pair.system)),
              twice(pair, "vm_peak_mib", 1),
              twice(pair, "library_bytes", 1 << 20)));
    }
    rows.add(List.of("the experiment: Vera, 1 thread", "50", "", "237, 704 (×2.97)", "", ""));
    rows.add(List.of("the experiment: Vera, 88 threads", "50", "", "720, 2035 (×2.83)", "", ""));
    rows.add(
        List.of(
            "the experiment: Vera", "50", "", "", "6.1, 9.2 GiB (×1.50)", "10.08, 10.24 (×1.02)"));
    part(
        page,
        "**Memory** in MiB: the system's allocator, mimalloc, and their ratio. VmPeak counts what is only reserved.",
        List.of(
            "engine", "passes", "RSS before loading", "RSS after the passes", "VmPeak", "library"),
        rows,
        pairs.stream().map(Pair::mimalloc).toList());
  }

  private static String twice(Pair pair, String field, double unit) {
    double system = pair.system.number(field) / unit;
    double mimalloc = pair.mimalloc.number(field) / unit;
    String number = unit == 1 ? "%.0f" : "%.2f";
    return Double.isNaN(system + mimalloc)
        ? ""
        : format(number + ", " + number + " (×%.2f)", system, mimalloc, mimalloc / system);
  }

  /** Whether memory grows with passes, or with threads that have ended. */
  private void growth(StringBuilder page) {
    List<RecordLine> lines =
        new ArrayList<>(with("memory_passes", line -> line.number("memory_passes") > 100));
    int passes = lines.size();
    lines.addAll(with("short_threads", line -> true));
    if (lines.isEmpty()) {
      return;
    }
    List<List<String>> rows = new ArrayList<>();
    for (int i = 0; i < lines.size(); i++) {
      RecordLine line = lines.get(i);
      boolean ofPasses = i < passes;
      TreeSet<Integer> after = new TreeSet<>();
      for (String field : line.fields().keySet()) {
        if (field.matches(ofPasses ? "rss_after_\\d+_mib" : "rss_after_\\d+_threads_mib")) {
          after.add(Integer.valueOf(field.split("_")[2]));
        }
      }
      String ending = ofPasses ? "_mib" : "_threads_mib";
      rows.add(
          List.of(
              input(line),
              contender(line),
              (ofPasses ? "passes: " : "threads that have ended: ")
                  + String.join(", ", after.stream().map(number -> format("%d", number)).toList()),
              String.join(
                  ", ",
                  after.stream()
                      .map(number -> line.decimals("rss_after_" + number + ending, 1))
                      .toList())));
    }
    part(
        page,
        "**Does memory grow?** RSS in MiB after more and more passes over the same text, and after threads that have come and gone.",
        List.of("input", "contender", "after", "RSS"),
        rows,
        lines);
  }

  /** All contenders of runs that had options or other builds beside the packed ones. */
  private List<RecordLine> tried() {
    List<RecordLine> speeds = with("median_mb_s", AllocatorReport::hasBoth);
    List<List<String>> inputs =
        speeds.stream().filter(line -> !isPlain(line)).map(AllocatorReport::place).toList();
    return speeds.stream().filter(line -> inputs.contains(place(line))).toList();
  }

  private static boolean hasBoth(RecordLine line) {
    return line.has("median_mb_s") && line.has("memory_passes");
  }

  private void options(StringBuilder page) {
    List<RecordLine> lines = tried();
    if (lines.isEmpty()) {
      return;
    }
    List<List<String>> rows = new ArrayList<>();
    for (RecordLine line : lines) {
      rows.add(
          List.of(
              Integer.toString(rows.size() + 1),
              input(line),
              contender(line),
              line.spread("median_mb_s", 1),
              times(line, "median"),
              format("%.0f", left(line)),
              times(line, "rss"),
              line.text("memory_passes"),
              line.text("commit")));
    }
    part(
        page,
        "**Options of the allocators**: MB/s of all threads together, and RSS in MiB after the passes. × is times the system's allocator without"
            + " options, in the same run. The numbers are those in the chart.",
        List.of("", "input", "contender", "MB/s", "×", "RSS", "×", "passes", "commit"),
        rows,
        lines);
  }

  /** RSS against throughput: a panel an engine and seat, a color an allocator. */
  List<ReportChart> charts() {
    List<RecordLine> lines =
        new ArrayList<>(whole(with("median_mb_s", line -> isPlain(line) && hasBoth(line))));
    List<RecordLine> tried = tried();
    tried.stream().filter(line -> !lines.contains(line)).forEach(lines::add);
    Map<String, Map<String, List<RecordLine>>> panels = new LinkedHashMap<>();
    for (RecordLine line : lines) {
      panels
          .computeIfAbsent(
              format(
                  "%s, %s: %s",
                  line.text("engine"),
                  line.text("seat").equals("jvm") ? "in a JVM" : "native",
                  input(line)),
              key -> new LinkedHashMap<>())
          .computeIfAbsent(line.text("allocator") + ", " + threads(line), key -> new ArrayList<>())
          .add(line);
    }
    if (panels.isEmpty()) {
      return List.of();
    }
    return List.of(
        new ReportChart(
            "memory.png",
            "Resident memory against throughput, by engine and allocator",
            Report.source(lines),
            panels.entrySet().stream()
                .map(
                    panel ->
                        new ReportChart.Panel(
                            panel.getKey(),
                            "RSS after the passes, MiB",
                            "MB of text a second, all threads",
                            panel.getValue().entrySet().stream()
                                .map(series -> series(series.getKey(), series.getValue(), tried))
                                .toList()))
                .toList()));
  }

  /**
   * @param numbered lines that the table of options numbers
   */
  private static ReportChart.Series series(
      String name, List<RecordLine> lines, List<RecordLine> numbered) {
    RecordLine first = lines.get(0);
    return new ReportChart.Series(
        name,
        first.text("allocator"),
        first.text("threads").equals("1") ? 0 : 1,
        lines.stream()
            .map(
                line ->
                    new ReportChart.Point(
                        numbered.contains(line) ? Integer.toString(numbered.indexOf(line) + 1) : "",
                        left(line),
                        line.number("median_mb_s")))
            .toList());
  }

  /** What sets a contender apart from the packed one; empty for that. */
  private static String option(RecordLine line) {
    List<String> options = new ArrayList<>();
    if (line.has("build")) {
      options.add(line.text("build"));
    }
    line.object("variables")
        .fields()
        .forEach(
            (name, value) -> options.add(name.replaceFirst("^(MI)?MALLOC_", "") + "=" + value));
    if (line.has("collect")) {
      options.add("collect");
    }
    return String.join(" ", options);
  }
}
