package dev.quern.bench;

import static dev.quern.bench.RecordLine.format;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/** What the record says of one machine about the way from Java to the tokenizer (kind seam). */
final class SeamReport {
  private final List<RecordLine> current;

  SeamReport(List<RecordLine> lines) {
    current =
        Report.newest(
                lines.stream().filter(line -> line.text("kind").equals("seam")).toList(),
                line -> line.key("tokenizer", "document_bytes"))
            .stream()
            .sorted(Comparator.comparingDouble(line -> line.number("document_bytes")))
            .toList();
  }

  private List<RecordLine> of(String tokenizer) {
    return current.stream().filter(line -> line.text("tokenizer").equals(tokenizer)).toList();
  }

  /** A sentence: what a call costs beside the work itself. */
  String summary() {
    // Of the tokenizer that is measured by default, else of whatever was measured last.
    String tokenizer =
        current.stream()
            .max(
                Comparator.comparing(
                        (RecordLine line) ->
                            line.text("tokenizer").equals(SeamBenchmark.TOKENIZER) ? 1 : 0)
                    .thenComparing(RecordLine::date))
            .map(line -> line.text("tokenizer"))
            .orElse("");
    List<RecordLine> lines =
        of(tokenizer).stream().filter(line -> line.number("document_bytes") <= 2048).toList();
    return lines.isEmpty()
        ? ""
        : format(
            "A document of %s bytes pays %s ns from Java to the tokenizer and back over what it takes inside, and %s ns from a row of SQL. %s",
            Markdown.range(numbers(lines, "document_bytes"), 0),
            Markdown.range(numbers(lines, "call_over_kernel_ns"), 0),
            Markdown.range(numbers(lines, "row_over_kernel_ns"), 0),
            Report.source(lines));
  }

  private static List<Double> numbers(List<RecordLine> lines, String field) {
    return lines.stream().map(line -> line.number(field)).toList();
  }

  /** A table for each tokenizer, a column for each size of documents. */
  String page() {
    StringBuilder page = new StringBuilder();
    Set<String> tokenizers =
        new LinkedHashSet<>(current.stream().map(line -> line.text("tokenizer")).toList());
    for (String tokenizer : tokenizers) {
      List<RecordLine> lines = of(tokenizer);
      Set<String> quantities = new LinkedHashSet<>();
      lines.forEach(line -> quantities.addAll(line.fields().keySet()));
      quantities.removeIf(field -> !field.endsWith("_ns"));
      List<String> head = new ArrayList<>();
      head.add("ns a document, tokenizer " + Report.label(tokenizer));
      lines.forEach(line -> head.add(format("%,.0f B", line.number("document_bytes"))));
      List<List<String>> rows = new ArrayList<>();
      for (String quantity : quantities) {
        List<String> row = new ArrayList<>();
        row.add("`" + quantity.replaceAll("_ns$", "") + "`");
        lines.forEach(line -> row.add(line.spread(quantity, 0)));
        rows.add(row);
      }
      page.append(Markdown.table(head, rows))
          .append('\n')
          .append(Markdown.paragraph(List.of(Report.source(lines))))
          .append('\n');
    }
    return page.toString();
  }
}
