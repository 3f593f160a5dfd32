package dev.quern.bench;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * A table of lines of which nothing else is known than that they are of one kind: what is equal in
 * all of them stands above it, what differs has a column.
 */
final class OtherReport {
  /** Said elsewhere on the page, or of no use in a table. */
  private static final Set<String> LEFT_OUT =
      Set.of(
          "kind",
          "date",
          "triple",
          "machine",
          "cpu",
          "java",
          "load_average_before",
          "note",
          "commit");

  private OtherReport() {}

  /** Of the newest run among lines of one kind, at least one. */
  static String page(List<RecordLine> lines) {
    String date = lines.stream().map(RecordLine::date).max(String::compareTo).orElseThrow();
    List<RecordLine> run = lines.stream().filter(line -> line.date().equals(date)).toList();
    Set<String> fields = new LinkedHashSet<>();
    run.forEach(line -> fields.addAll(line.fields().keySet()));
    fields.removeAll(LEFT_OUT);
    fields.removeIf(
        field ->
            field.matches(".*_(min|max|spread|hash)")
                || run.stream().anyMatch(line -> line.fields().get(field) instanceof Iterable));
    List<String> equal = new ArrayList<>();
    List<String> columns = new ArrayList<>();
    for (String field : fields) {
      if (run.stream().map(line -> line.text(field)).distinct().count() == 1) {
        equal.add(field + " " + run.get(0).text(field));
      } else {
        columns.add(field);
      }
    }
    List<List<String>> rows =
        run.stream()
            .map(line -> columns.stream().map(field -> cell(line, field)).toList())
            .toList();
    StringBuilder page = new StringBuilder();
    if (!columns.isEmpty()) {
      page.append(Markdown.table(columns, rows)).append('\n');
    }
    return page.append(
            Markdown.paragraph(List.of(String.join(", ", equal) + ".", Report.source(run))))
        .toString();
  }

  private static String cell(RecordLine line, String field) {
    return line.has(field + "_min") ? line.spread(field, 2) : line.text(field);
  }
}
