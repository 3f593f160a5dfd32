package dev.quern.bench;

import java.util.List;
import java.util.Locale;
import java.util.Map;

/** Lines of the allocator experiment, for people. */
final class AllocatorTable {
  private AllocatorTable() {}

  /** All lines of one run. */
  static String of(List<Map<String, Object>> lines) {
    StringBuilder table = new StringBuilder();
    Map<String, Object> first = lines.get(0);
    table.append(
        String.format(
            Locale.ROOT,
            "%n%s, %s: %,d bytes, %,d documents, %,d tokens; %d rounds of %d passes%n",
            first.get("tokenizer"),
            first.get("corpus"),
            first.get("bytes"),
            first.get("documents"),
            first.get("tokens"),
            first.get("rounds"),
            first.get("passes")));
    table.append(
        "MB/s of all threads together, median of rounds (minimum - maximum); x is by system.\n");
    String format = "%-38s %7s %-22s %5s %7s %6s %5s %8s %6s %8s %6s%n";
    table.append(
        String.format(
            format,
            "",
            "threads",
            "MB/s",
            "x",
            "best",
            "RSS",
            "x",
            "VmPeak",
            "libc",
            "mimalloc",
            "TLS"));
    for (Map<String, Object> line : lines) {
      table.append(
          String.format(
              format,
              name(line),
              line.get("threads"),
              String.format(
                  Locale.ROOT,
                  "%.2f (%.2f - %.2f)",
                  number(line, "median_mb_s"),
                  number(line, "median_mb_s_min"),
                  number(line, "median_mb_s_max")),
              over(line, "median"),
              String.format(Locale.ROOT, "%.2f", number(line, "best_mb_s_max")),
              whole(line, "rss_after_" + line.get("memory_passes") + "_mib"),
              over(line, "rss"),
              whole(line, "vm_peak_mib"),
              percent(line, "cpu_libc_malloc"),
              percent(line, "cpu_mimalloc"),
              percent(line, "cpu_thread_local")));
    }
    table.append("RSS: MiB after ").append(first.getOrDefault("memory_passes", "no"));
    table.append(" passes. libc, mimalloc, TLS: shares of CPU time");
    table.append(first.containsKey("cpu_source") ? ", " + first.get("cpu_source") : ", unknown");
    return table.append(".\n").toString();
  }

  /** Seat, engine, allocator and its options. */
  static String name(Map<String, Object> line) {
    String name = line.get("seat") + " " + line.get("engine") + " " + line.get("allocator");
    if (line.get("variables") instanceof Map<?, ?> variables) {
      for (Map.Entry<?, ?> variable : variables.entrySet()) {
        name += " " + variable.getKey() + "=" + variable.getValue();
      }
    }
    return name;
  }

  private static double number(Map<?, ?> line, String key) {
    return ((Number) line.get(key)).doubleValue();
  }

  private static String over(Map<String, Object> line, String figure) {
    return line.get("over_system") instanceof Map<?, ?> over && over.containsKey(figure)
        ? String.format(Locale.ROOT, "%.2f", number(over, figure))
        : "";
  }

  private static String whole(Map<String, Object> line, String key) {
    return line.containsKey(key) ? String.format(Locale.ROOT, "%.0f", number(line, key)) : "-";
  }

  private static String percent(Map<String, Object> line, String key) {
    return line.containsKey(key)
        ? String.format(Locale.ROOT, "%.1f%%", 100 * number(line, key))
        : "-";
  }
}
