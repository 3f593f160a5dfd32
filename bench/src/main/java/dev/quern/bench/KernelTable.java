package dev.quern.bench;

import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Lines of the kernel measurement, for people. */
final class KernelTable {
  private KernelTable() {}

  /** All lines of one tokenizer and corpus. */
  static String of(List<Map<String, Object>> lines) {
    StringBuilder table = new StringBuilder();
    Map<String, Object> first = lines.get(0);
    table.append(
        String.format(
            Locale.ROOT,
            "%n%s, %s: %,d bytes, %,d documents, %,d tokens; %d pieces, %d rounds, %s clock%s%n",
            first.get("tokenizer"),
            first.get("corpus"),
            first.get("bytes"),
            first.get("documents"),
            first.get("tokens"),
            first.get("pieces"),
            first.get("rounds"),
            first.get("clock"),
            first.containsKey("each") ? ", all of the text for each thread" : ""));
    table.append(
        "Median (minimum - maximum); speeds are MB/s a core, memory is MiB, x is Quern by peer.\n");
    String format = "%-34s %-21s %-21s %-21s %-21s %-20s %-6s%n";
    table.append(
        String.format(
            format, "", "load s", "cold", "steady", "warm", "RSS start/load/pass", "HWM"));
    for (Map<String, Object> line : lines) {
      table.append(
          String.format(
              format,
              name(line),
              spread(line, "load_s", 3),
              spread(line, "cold_mb_s", 1),
              spread(line, "steady_mb_s", 1),
              spread(line, "warm_mb_s", 1),
              whole(line, "rss_start_mib")
                  + "/"
                  + whole(line, "rss_load_mib")
                  + "/"
                  + whole(line, "rss_pass_mib"),
              whole(line, "vm_hwm_mib")));
      notes(line, table);
    }
    return table.toString();
  }

  /** The ratios of all lines, a line for each tokenizer, corpus and other contender. */
  static String ratios(List<Map<String, Object>> lines) {
    StringBuilder table = new StringBuilder();
    String format = "%-24s %-24s %-34s %-12s %8s %8s %8s %8s%n";
    table.append("\nMedians of the rounds' ratios\n");
    table.append(
        String.format(
            format, "tokenizer", "corpus", "contender", "over", "cold", "steady", "warm", "load"));
    for (Map<String, Object> line : lines) {
      if (line.get("over") instanceof Map<?, ?> all) {
        for (Map.Entry<?, ?> other : all.entrySet()) {
          Map<?, ?> ratios = (Map<?, ?>) other.getValue();
          table.append(
              String.format(
                  format,
                  line.get("tokenizer"),
                  line.get("corpus"),
                  name(line),
                  other.getKey(),
                  number(ratios, "cold", 2),
                  number(ratios, "steady", 2),
                  number(ratios, "warm", 2),
                  number(ratios, "load", 2)));
        }
      }
    }
    return table.toString();
  }

  private static void notes(Map<String, Object> line, StringBuilder table) {
    if (line.get("over") instanceof Map<?, ?> all) {
      for (Map.Entry<?, ?> other : all.entrySet()) {
        Map<?, ?> ratios = (Map<?, ?>) other.getValue();
        table.append(
            String.format(
                "  x over %-25s %-21s %-21s %-21s %s%n",
                other.getKey(),
                spread(ratios, "load", 2),
                spread(ratios, "cold", 2),
                spread(ratios, "steady", 2),
                spread(ratios, "warm", 2)));
      }
    }
    StringBuilder memory = new StringBuilder();
    for (String key : line.keySet()) {
      if (key.matches("rss_after_\\d+_mib")) {
        memory
            .append(memory.isEmpty() ? "  RSS after" : ",")
            .append(' ')
            .append(key.split("_")[2])
            .append(" passes ")
            .append(number(line, key, 1));
      }
    }
    if (!memory.isEmpty()) {
      table.append(memory).append('\n');
    }
    if (line.containsKey("count_mb_s")) {
      table.append("  counting only: ").append(spread(line, "count_mb_s", 1)).append('\n');
    }
    if (line.get("differs") instanceof Map<?, ?> differs) {
      table.append(
          String.format(
              "  OTHER IDS than %s: %s documents, the first is document %s, from id %s on%n",
              differs.get("from"),
              differs.get("documents"),
              differs.get("first_document"),
              differs.get("first_id")));
    } else if (line.get("verified_by") == null) {
      table.append("  not verified\n");
    } else {
      table.append(
          String.format(
              "  ids equal to those of %s, %s documents%s%n",
              line.get("verified_by"),
              line.get("verified_documents"),
              line.get("simd") == null || line.get("simd").equals("none")
                  ? ""
                  : "; " + line.get("simd")));
    }
  }

  /** Who, and of what there are several: threads, lengths of documents. */
  private static String name(Map<String, Object> line) {
    String name =
        line.get("tool").equals("quern")
            ? "quern " + line.get("engine") + " " + line.get("allocator")
            : line.get("tool") + " " + line.get("tool_version");
    String cut = line.containsKey("cut_bytes") ? " " + line.get("cut_bytes") + " B" : "";
    return name + " x" + line.get("threads") + cut;
  }

  private static String whole(Map<String, Object> line, String quantity) {
    return number(line, quantity, 0);
  }

  private static String number(Map<?, ?> line, String quantity, int digits) {
    return line.get(quantity) instanceof Number number
        ? String.format(Locale.ROOT, "%." + digits + "f", number.doubleValue())
        : "?";
  }

  private static String spread(Map<?, ?> line, String quantity, int digits) {
    return number(line, quantity, digits)
        + " ("
        + number(line, quantity + "_min", digits)
        + " - "
        + number(line, quantity + "_max", digits)
        + ")";
  }
}
