package dev.quern.job;

import dev.quern.sql.QuernConf;
import dev.quern.sql.QuernConf.Entry;
import dev.quern.sql.QuernConf.Scope;
import java.util.Arrays;
import java.util.Collection;
import java.util.List;
import java.util.Locale;
import org.apache.spark.network.util.JavaUtils;

/** The configuration keys of sampling and progress. */
public final class MetricsConf implements QuernConf.Provider {

  private static final long SHORTEST_INTERVAL_MILLIS = 10;

  public static final Entry<Long> INTERVAL_MILLIS =
      new Entry<>(
          QuernConf.PREFIX + "metrics.interval",
          Scope.APPLICATION,
          "1s",
          "How often each executor samples its memory and throughput, with the plugin"
              + " dev.quern.job.QuernPlugin: a time with its unit, at least 10ms. A sample costs"
              + " about 0.1 ms of one core and 400 bytes on the driver.",
          MetricsConf::interval);

  public static final Entry<Progress.Style> PROGRESS =
      new Entry<>(
          QuernConf.PREFIX + "progress",
          Scope.APPLICATION,
          "auto",
          "How the job shows its progress on standard error: line (one updating line), lines (a"
              + " line every 30 seconds), off, or auto (line on a terminal, else lines).",
          MetricsConf::style);

  public static final Entry<Boolean> UI =
      new Entry<>(
          QuernConf.PREFIX + "ui",
          Scope.APPLICATION,
          "true",
          "Whether the plugin dev.quern.job.QuernPlugin adds a tab to Spark's UI and keeps samples"
              + " in the event log, for the history server: true or false. In the log they take at"
              + " most 20 samples a second of all executors together, about 700 bytes each before"
              + " compression.",
          MetricsConf::truth);

  @Override
  public Collection<Entry<?>> entries() {
    return List.of(INTERVAL_MILLIS, PROGRESS, UI);
  }

  private static long interval(String text) {
    long millis;
    try {
      millis = JavaUtils.timeStringAsMs(text);
    } catch (NumberFormatException e) {
      millis = 0;
    }
    if (millis < SHORTEST_INTERVAL_MILLIS) {
      throw new IllegalArgumentException(
          "'"
              + text
              + "' is not a time of at least "
              + SHORTEST_INTERVAL_MILLIS
              + "ms with its unit, such as 1s or 200ms");
    }
    return millis;
  }

  private static boolean truth(String text) {
    if (text.equalsIgnoreCase("true") || text.equalsIgnoreCase("false")) {
      return Boolean.parseBoolean(text);
    }
    throw new IllegalArgumentException("'" + text + "' is neither true nor false");
  }

  private static Progress.Style style(String text) {
    for (Progress.Style style : Progress.Style.values()) {
      if (style.name().equalsIgnoreCase(text)) {
        return style;
      }
    }
    throw new IllegalArgumentException(
        "'"
            + text
            + "' is not one of "
            + String.join(
                ", ",
                Arrays.stream(Progress.Style.values())
                    .map(style -> style.name().toLowerCase(Locale.ROOT))
                    .toList()));
  }
}
