package dev.quern.bench;

import static dev.quern.bench.RecordLine.format;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Stream;

/**
 * What the record says of one machine about documents in memory to ids (lines of kind kernel).
 *
 * <p>Of lines that measure the same (tokenizer, corpus, length of documents, contender, threads)
 * the newest counts, among those over the most bytes that were measured of the corpus: a trial over
 * a part of it replaces nothing.
 */
final class KernelReport {
  private static final List<String> SPEEDS = List.of("cold", "steady", "warm");

  /** Lines that may be compared as speeds, the newest of each. */
  private final List<RecordLine> current;

  /** Lines that say what resident memory was after many passes, the newest of each. */
  private final List<RecordLine> passes;

  KernelReport(List<RecordLine> lines) {
    // Lines without a clock are of another measurement: bench/record/README.md.
    List<RecordLine> own =
        lines.stream()
            .filter(line -> line.text("kind").equals("kernel") && line.has("clock"))
            .toList();
    Map<List<String>, Double> most = new LinkedHashMap<>();
    own.forEach(
        line -> most.merge(line.key("corpus", "cut_bytes"), line.number("bytes"), Math::max));
    current =
        Report.newest(
            own.stream()
                .filter(line -> line.number("bytes") == most.get(line.key("corpus", "cut_bytes")))
                .toList(),
            KernelReport::measured);
    passes =
        Report.newest(
            own.stream().filter(line -> passesOf(line).size() > 1).toList(),
            KernelReport::measured);
  }

  private static List<String> measured(RecordLine line) {
    return line.key(
        "tokenizer",
        "corpus",
        "cut_bytes",
        "threads",
        "each",
        "tool",
        "engine",
        "allocator",
        "cache_bytes");
  }

  /** How many cells of the table this record fills. */
  int size() {
    return cells().size();
  }

  private List<RecordLine> uncut() {
    return current.stream().filter(line -> !line.has("cut_bytes") && !line.has("each")).toList();
  }

  /**
   * Quern's own line of one thread and the default cache for each tokenizer and corpus: that of the
   * fast engine, and another's only where there is none.
   */
  private List<RecordLine> cells() {
    List<RecordLine> own =
        uncut().stream()
            .filter(line -> line.isQuern() && !line.has("cache_bytes"))
            .filter(line -> line.number("threads") == 1)
            .toList();
    List<RecordLine> fast = own.stream().filter(KernelReport::isFast).toList();
    Set<List<String>> served = Set.copyOf(fast.stream().map(KernelReport::cell).toList());
    return Report.newest(
        own.stream().filter(line -> isFast(line) || !served.contains(cell(line))).toList(),
        KernelReport::cell);
  }

  private static boolean isFast(RecordLine line) {
    return line.text("engine").equals("fast");
  }

  private static List<String> cell(RecordLine line) {
    return line.key("tokenizer", "corpus");
  }

  /** Other tools that a line of Quern's is divided by, the one that comes closest first. */
  private List<String> peers() {
    Map<String, List<Double>> leads = new TreeMap<>();
    for (RecordLine line : cells()) {
      RecordLine over = line.object("over");
      over.fields().keySet().stream()
          .filter(name -> !name.startsWith("threads_") && !name.startsWith("cut_"))
          .forEach(
              name ->
                  leads
                      .computeIfAbsent(name, key -> new ArrayList<>())
                      .add(over.object(name).number("steady")));
    }
    return leads.entrySet().stream()
        .sorted(Comparator.comparing(lead -> Spread.of(lead.getValue()).median()))
        .map(Map.Entry::getKey)
        .toList();
  }

  /** The README's table, and what has to be known to read it; empty without lines. */
  String summary() {
    List<RecordLine> cells = cells();
    if (cells.isEmpty()) {
      return "";
    }
    List<String> peers = peers();
    StringBuilder text = new StringBuilder(ratios(cells, peers.isEmpty() ? null : peers.get(0)));
    text.append('\n').append(Markdown.paragraph(conditions(cells, peers)));
    return text.toString();
  }

  /** Speeds, a row a tokenizer and a column a corpus, with the ratios to a peer. */
  private static String ratios(List<RecordLine> cells, String peer) {
    List<String> corpora = distinct(cells, "corpus");
    List<String> head = new ArrayList<>();
    head.add(
        "MB/s a core: "
            + String.join(", ", SPEEDS)
            + (peer == null ? "" : format(" (times %s)", peer)));
    corpora.forEach(corpus -> head.add(Report.label(corpus)));
    List<List<String>> rows = new ArrayList<>();
    for (String tokenizer : distinct(cells, "tokenizer")) {
      List<String> row = new ArrayList<>();
      Set<String> engines = new TreeSet<>();
      for (String corpus : corpora) {
        Optional<RecordLine> cell = find(cells, tokenizer, corpus);
        cell.ifPresent(line -> engines.add(line.text("engine")));
        row.add(cell.map(line -> speeds(line, peer)).orElse(""));
      }
      engines.remove("fast");
      row.add(
          0,
          Report.label(tokenizer)
              + (engines.isEmpty() ? "" : " (" + String.join(", ", engines) + ")"));
      rows.add(row);
    }
    return Markdown.table(head, rows);
  }

  private static Optional<RecordLine> find(
      List<RecordLine> lines, String tokenizer, String corpus) {
    return lines.stream().filter(line -> cell(line).equals(List.of(tokenizer, corpus))).findFirst();
  }

  private static String speeds(RecordLine line, String peer) {
    String speeds =
        String.join(", ", SPEEDS.stream().map(speed -> line.decimals(speed + "_mb_s", 0)).toList());
    RecordLine over = line.object("over").object(Objects.toString(peer));
    return over.fields().isEmpty()
        ? speeds
        : speeds
            + " ("
            + String.join(", ", SPEEDS.stream().map(speed -> over.decimals(speed, 1)).toList())
            + ")";
  }

  private List<String> conditions(List<RecordLine> cells, List<String> peers) {
    List<String> sentences = new ArrayList<>();
    RecordLine first = cells.get(0);
    sentences.add(
        format(
            "MB (10^6 bytes) of text a second that one core encodes (%s%s; `%s`), one native call a batch of documents: the engine `fast`%s,"
                + " the allocator %s.",
            first.text("cpu"),
            vectors(cells),
            first.text("triple"),
            cells.stream().allMatch(KernelReport::isFast) ? "" : " where no other is named",
            Markdown.list(distinct(cells, "allocator"))));
    if (!peers.isEmpty()) {
      sentences.add(
          format(
              "In brackets: times %s%s, in turn on the same documents.",
              Markdown.list(versions(peers.get(0))),
              peers.size() == 1
                  ? ""
                  : ", the closest of the others measured (" + String.join(", ", peers) + ")"));
    }
    sentences.add(
        format(
            "Medians of %s rounds in fresh processes. Cold is a first pass over %s MB; steady, the last of its %s parts; warm, the best pass"
                + " over the same text again.",
            Markdown.range(numbers(cells, "rounds"), 0),
            Markdown.range(numbers(cells, "bytes").stream().map(bytes -> bytes / 1e6).toList(), 0),
            Markdown.range(numbers(cells, "pieces"), 0)));
    if (cells.stream().filter(KernelReport::isFast).allMatch(line -> line.has("verified_by"))) {
      sentences.add("All ids were equal to the reference engine's.");
    }
    memory(cells, peers, sentences);
    threads(sentences);
    shortDocuments(sentences);
    sentences.add(Report.source(cells));
    return sentences;
  }

  private static String vectors(List<RecordLine> lines) {
    List<String> simd = distinct(lines, "simd").stream().filter(name -> !name.isEmpty()).toList();
    return simd.isEmpty() ? "" : ", " + String.join(", ", simd);
  }

  private List<String> versions(String peer) {
    return current.stream()
        .filter(line -> line.text("tool").equals(peer))
        .map(line -> peer + " " + line.text("tool_version"))
        .distinct()
        .toList();
  }

  /** What a tokenizer and a first pass over the corpus add to the documents. */
  private void memory(List<RecordLine> cells, List<String> peers, List<String> sentences) {
    List<Double> own = added(cells.stream());
    if (own.isEmpty()) {
      return;
    }
    String others = "";
    if (!peers.isEmpty()) {
      List<Double> peer =
          added(
              uncut().stream()
                  .filter(line -> line.text("tool").equals(peers.get(0)))
                  .filter(line -> line.number("threads") == 1));
      others = peer.isEmpty() ? "" : format(" (%s: %s)", peers.get(0), Markdown.range(peer, 0));
    }
    sentences.add(
        format(
            "Resident memory for the tokenizer and the ids of the first pass: %s MiB%s.",
            Markdown.range(own, 0), others));
    for (RecordLine line : passes) {
      Map<Integer, Double> after = passesOf(line);
      boolean flat = after.values().stream().distinct().count() == 1;
      sentences.add(
          format(
              "RSS %s MiB after %s passes over %s MB (%s, %s).",
              flat
                  ? "stood at " + after.values().iterator().next()
                  : "was "
                      + String.join(
                          ", ", after.values().stream().map(mib -> format("%.1f", mib)).toList()),
              Markdown.list(after.keySet().stream().map(count -> format("%d", count)).toList()),
              format("%.0f", line.number("bytes") / 1e6),
              Report.label(line.text("tokenizer")),
              Report.label(line.text("corpus"))));
    }
  }

  private static List<Double> added(Stream<RecordLine> lines) {
    return lines
        .map(line -> line.number("rss_pass_mib") - line.number("rss_start_mib"))
        .filter(mib -> !mib.isNaN())
        .toList();
  }

  /** Resident memory in MiB after so many passes over the same text. */
  private static Map<Integer, Double> passesOf(RecordLine line) {
    Map<Integer, Double> after = new TreeMap<>();
    line.fields()
        .keySet()
        .forEach(
            field -> {
              if (field.matches("rss_after_\\d+_mib")) {
                after.put(Integer.valueOf(field.split("_")[2]), line.number(field));
              }
            });
    return after;
  }

  private void threads(List<String> sentences) {
    Map<Integer, List<Double>> gains = new TreeMap<>();
    for (RecordLine line : uncut()) {
      RecordLine over = line.object("over").object("threads_1");
      if (line.isQuern() && over.has("steady")) {
        gains
            .computeIfAbsent((int) line.number("threads"), key -> new ArrayList<>())
            .addAll(SPEEDS.stream().map(over::number).toList());
      }
    }
    gains.forEach(
        (threads, ratios) ->
            sentences.add(
                format(
                    "%d threads together made %s times one thread's speed.",
                    threads, Markdown.range(ratios, 2))));
  }

  private void shortDocuments(List<String> sentences) {
    Map<List<Integer>, List<Double>> shares = new LinkedHashMap<>();
    for (RecordLine line : current) {
      RecordLine over = line.object("over");
      for (String other : over.fields().keySet()) {
        if (other.startsWith("cut_") && line.isQuern()) {
          shares
              .computeIfAbsent(
                  List.of((int) line.number("cut_bytes"), Integer.valueOf(other.substring(4))),
                  key -> new ArrayList<>())
              .addAll(
                  SPEEDS.stream().map(speed -> 100 * over.object(other).number(speed)).toList());
        }
      }
    }
    shares.forEach(
        (lengths, percent) ->
            sentences.add(
                format(
                    "Documents of %d bytes came to %s %% of the speed %s.",
                    lengths.get(0),
                    Markdown.range(percent, 0),
                    lengths.get(1) == 0 ? "of uncut ones" : "of ones of " + lengths.get(1))));
  }

  /** Every contender's speeds, memory and loading, and Quern's ratios to each other tool. */
  String page() {
    StringBuilder page = new StringBuilder();
    if (!current.isEmpty()) {
      page.append(contenders()).append('\n').append(againstPeers());
    }
    return page.toString();
  }

  private String contenders() {
    List<List<String>> rows = new ArrayList<>();
    for (RecordLine line : current) {
      rows.add(
          List.of(
              Report.label(line.text("tokenizer")),
              Report.label(line.text("corpus"))
                  + (line.has("cut_bytes") ? ", cut to " + line.text("cut_bytes") + " B" : ""),
              contender(line),
              line.text("threads"),
              line.spread("load_s", 2),
              line.spread("cold_mb_s", 0),
              line.spread("steady_mb_s", 0),
              line.spread("warm_mb_s", 0),
              String.join(
                  ", ",
                  Stream.of("rss_start_mib", "rss_load_mib", "rss_pass_mib")
                      .map(field -> line.decimals(field, 0))
                      .toList()),
              line.decimals("vm_hwm_mib", 0),
              ids(line),
              line.text("commit")));
    }
    return Markdown.table(
        List.of(
            "tokenizer",
            "corpus",
            "contender",
            "threads",
            "load, s",
            "cold, MB/s a thread",
            "steady",
            "warm",
            "RSS at start, loaded, after a pass, MiB",
            "high water",
            "ids",
            "commit"),
        rows);
  }

  private static String ids(RecordLine line) {
    RecordLine differs = line.object("differs");
    if (differs.has("documents")) {
      return format(
          "other than %s in %s documents", differs.text("from"), differs.text("documents"));
    }
    return line.has("verified_by") ? "as " + line.text("verified_by") : "not compared";
  }

  /** Who encodes, as a reader tells them apart. */
  static String contender(RecordLine line) {
    return line.isQuern()
        ? "Quern, "
            + line.text("engine")
            + ", "
            + line.text("allocator")
            + (line.has("cache_bytes") ? ", cache of " + line.text("cache_bytes") + " B" : "")
        : line.text("tool") + " " + line.text("tool_version");
  }

  private String againstPeers() {
    StringBuilder tables = new StringBuilder();
    for (String peer : peers()) {
      List<List<String>> rows = new ArrayList<>();
      for (RecordLine line : current) {
        RecordLine over = line.object("over").object(peer);
        if (!over.fields().isEmpty()) {
          rows.add(
              List.of(
                  Report.label(line.text("tokenizer")),
                  Report.label(line.text("corpus")),
                  contender(line),
                  line.text("threads"),
                  over.spread("load", 2),
                  over.spread("cold", 2),
                  over.spread("steady", 2),
                  over.spread("warm", 2)));
        }
      }
      tables
          .append(
              format(
                  "Quern's figure by that of %s in the same round (of loading, less is better):\n\n",
                  Markdown.list(versions(peer))))
          .append(
              Markdown.table(
                  List.of(
                      "tokenizer",
                      "corpus",
                      "contender",
                      "threads",
                      "load",
                      "cold",
                      "steady",
                      "warm"),
                  rows))
          .append('\n');
    }
    return tables.toString();
  }

  /** Of one thread: memory against speed, where memory could be measured, and speeds. */
  List<ReportChart> charts() {
    List<RecordLine> lines = uncut().stream().filter(line -> line.number("threads") == 1).toList();
    List<RecordLine> measured =
        lines.stream()
            .filter(line -> line.has("rss_pass_mib") && line.has("rss_start_mib"))
            .toList();
    List<ReportChart> charts = new ArrayList<>();
    if (!measured.isEmpty()) {
      charts.add(trade(measured));
    }
    if (!lines.isEmpty()) {
      charts.add(speeds(lines));
    }
    return charts;
  }

  /**
   * What a first pass adds to resident memory against its speed: a point a tokenizer and corpus.
   */
  private static ReportChart trade(List<RecordLine> lines) {
    ReportChart.Panel panel =
        new ReportChart.Panel(
            "each point a tokenizer and a corpus",
            "resident memory for the tokenizer and the ids of a first pass, MiB",
            "MB/s",
            series(
                lines,
                line ->
                    new ReportChart.Point(
                        "",
                        line.number("rss_pass_mib") - line.number("rss_start_mib"),
                        line.number("steady_mb_s"))));
    return new ReportChart(
        "trade.png",
        "Documents to ids: resident memory against MB of text a second, one thread, steady",
        Report.source(lines),
        List.of(panel));
  }

  /** Steady speeds: a panel a corpus, a group of bars a tokenizer. */
  private static ReportChart speeds(List<RecordLine> lines) {
    List<ReportChart.Panel> panels = new ArrayList<>();
    for (String corpus : distinct(lines, "corpus")) {
      panels.add(
          new ReportChart.Panel(
              Report.label(corpus),
              "",
              "MB/s",
              series(
                  lines.stream().filter(line -> line.text("corpus").equals(corpus)).toList(),
                  line ->
                      new ReportChart.Point(
                          Report.label(line.text("tokenizer")),
                          Double.NaN,
                          line.number("steady_mb_s")))));
    }
    return new ReportChart(
        "speed.png",
        "Documents to ids: MB of text a second, one thread, steady",
        Report.source(lines),
        panels);
  }

  /** One for each contender. */
  private static List<ReportChart.Series> series(
      List<RecordLine> lines, Function<RecordLine, ReportChart.Point> point) {
    Map<String, List<ReportChart.Point>> points = new LinkedHashMap<>();
    lines.forEach(
        line ->
            points
                .computeIfAbsent(contender(line), key -> new ArrayList<>())
                .add(point.apply(line)));
    return points.entrySet().stream()
        .map(one -> new ReportChart.Series(one.getKey(), one.getKey(), 0, one.getValue()))
        .toList();
  }

  private static List<String> distinct(List<RecordLine> lines, String field) {
    return new ArrayList<>(
        new LinkedHashSet<>(lines.stream().map(line -> line.text(field)).toList()));
  }

  private static List<Double> numbers(List<RecordLine> lines, String field) {
    return lines.stream().map(line -> line.number(field)).filter(value -> !value.isNaN()).toList();
  }
}
