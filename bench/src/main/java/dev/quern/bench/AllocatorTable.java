package dev.quern.bench;

import java.util.ArrayList;
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
            "%n%s, %s: %,d bytes, %,d documents, %,d tokens%s%n",
            first.get("tokenizer"),
            first.get("corpus"),
            first.get("bytes"),
            first.get("documents"),
            first.get("tokens"),
            first.containsKey("rounds")
                ? "; " + first.get("rounds") + " rounds of " + first.get("passes") + " passes"
                : ""));
    table.append(
        "MB/s of all threads together, median of rounds (minimum - maximum); x is by system.\n");
    String format = "%-46s %7s %-22s %5s %7s %6s %5s %7s %5s %8s %6s %8s %6s%n";
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
            "ended",
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
              line.containsKey("median_mb_s")
                  ? String.format(
                      Locale.ROOT,
                      "%.2f (%.2f - %.2f)",
                      number(line, "median_mb_s"),
                      number(line, "median_mb_s_min"),
                      number(line, "median_mb_s_max"))
                  : "-",
              over(line, "median"),
              line.containsKey("best_mb_s_max")
                  ? String.format(Locale.ROOT, "%.2f", number(line, "best_mb_s_max"))
                  : "-",
              whole(line, "rss_after_" + line.get("memory_passes") + "_mib"),
              over(line, "rss"),
              whole(line, "rss_after_" + line.get("short_threads") + "_threads_mib"),
              over(line, "rss_threads"),
              whole(line, "vm_peak_mib"),
              percent(line, "cpu_libc_malloc"),
              percent(line, "cpu_mimalloc"),
              percent(line, "cpu_thread_local")));
    }
    List<String> legend = new ArrayList<>();
    if (first.containsKey("memory_passes")) {
      legend.add("RSS: MiB after " + first.get("memory_passes") + " passes.");
    }
    if (lines.stream().anyMatch(line -> line.containsKey("short_threads"))) {
      legend.add("ended: MiB after threads that encoded a part and ended.");
    }
    if (first.containsKey("cpu_source")) {
      legend.add("libc, mimalloc, TLS: shares of CPU time, " + first.get("cpu_source") + ".");
    }
    return table.append(String.join(" ", legend)).append('\n').toString();
  }

  /** Seat, engine, build and its options, as {@link Allocator.Contender#toString}. */
  static String name(Map<String, Object> line) {
    Object build = line.getOrDefault("build", line.get("allocator"));
    StringBuilder name = new StringBuilder();
    name.append(line.get("seat")).append(' ').append(line.get("engine")).append(' ').append(build);
    if (line.get("variables") instanceof Map<?, ?> variables) {
      variables.forEach((key, value) -> name.append(' ').append(key).append('=').append(value));
    }
    return name.append(line.containsKey("collect") ? " collect" : "").toString();
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
