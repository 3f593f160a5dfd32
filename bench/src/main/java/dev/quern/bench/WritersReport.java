package dev.quern.bench;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;

/** What the record says of one machine about writing ids (kind writers): of each way the newest. */
final class WritersReport {
  private final List<RecordLine> current;

  WritersReport(List<RecordLine> lines) {
    current =
        Report.newest(
            lines.stream().filter(line -> line.text("kind").equals("writers")).toList(),
            line -> {
              List<String> key = new ArrayList<>(way(line));
              key.addAll(line.key("tokenizer", "corpus"));
              return key;
            });
  }

  private static List<String> way(RecordLine line) {
    return line.key("tool", "format", "encoding", "compression", "level");
  }

  /** A row for each way to write, and for each corpus its speed and size; empty without lines. */
  String page() {
    if (current.isEmpty()) {
      return "";
    }
    List<List<String>> inputs =
        current.stream().map(line -> line.key("tokenizer", "corpus")).distinct().toList();
    List<String> head = new ArrayList<>(List.of("writer", "format", "encoding", "compression"));
    for (List<String> input : inputs) {
      head.add(Report.label(input.get(1)) + " (" + Report.label(input.get(0)) + ")");
    }
    List<List<String>> rows = new ArrayList<>();
    for (List<String> way :
        new LinkedHashSet<>(current.stream().map(WritersReport::way).toList())) {
      List<String> row = new ArrayList<>(way.subList(0, 3));
      row.add((way.get(3) + " " + way.get(4)).strip());
      for (List<String> input : inputs) {
        row.add(
            current.stream()
                .filter(line -> way(line).equals(way))
                .filter(line -> line.key("tokenizer", "corpus").equals(input))
                .map(line -> line.spread("mb_s", 0) + "; " + line.decimals("bytes_per_token", 2))
                .findFirst()
                .orElse(""));
      }
      rows.add(row);
    }
    return "MB of text whose ids one thread wrote in a second; bytes of file for each id.\n\n"
        + Markdown.table(head, rows)
        + "\n"
        + Markdown.paragraph(List.of(Report.source(current)));
  }
}
