package dev.quern.bench;

import java.util.Collections;
import java.util.List;

/** The little of Markdown that reports are made of. */
final class Markdown {
  /** As wide as the README's own lines. */
  private static final int WIDTH = 160;

  private Markdown() {}

  /** A table; every row has as many cells as the head. */
  static String table(List<String> head, List<List<String>> rows) {
    StringBuilder table = new StringBuilder();
    row(table, head);
    table.append('|').append("---|".repeat(head.size())).append('\n');
    rows.forEach(row -> row(table, row));
    return table.toString();
  }

  private static void row(StringBuilder table, List<String> cells) {
    cells.forEach(cell -> table.append("| ").append(cell.replace("|", "\\|")).append(' '));
    table.append("|\n");
  }

  /** A paragraph of these sentences, broken into lines at spaces. */
  static String paragraph(List<String> sentences) {
    StringBuilder text = new StringBuilder();
    int column = 0;
    for (String word : String.join(" ", sentences).split(" +")) {
      if (column > 0 && column + 1 + word.length() > WIDTH) {
        text.append('\n');
        column = 0;
      } else if (column > 0) {
        text.append(' ');
        column++;
      }
      text.append(word);
      column += word.length();
    }
    return text.append('\n').toString();
  }

  /** "a", "a and b", "a, b and c". */
  static String list(List<String> items) {
    return items.size() < 2
        ? String.join("", items)
        : String.join(", ", items.subList(0, items.size() - 1))
            + " and "
            + items.get(items.size() - 1);
  }

  /** "3 to 5", or "3" if they all round to it. */
  static String range(List<Double> values, int digits) {
    String format = "%,." + digits + "f";
    String least = RecordLine.format(format, Collections.min(values));
    String most = RecordLine.format(format, Collections.max(values));
    return least.equals(most) ? least : least + " to " + most;
  }
}
