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

  @Override
  public Collection<Entry<?>> entries() {
    return List.of(INTERVAL_MILLIS, PROGRESS);
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
