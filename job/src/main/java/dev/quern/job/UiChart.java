package dev.quern.job;

import java.text.DecimalFormat;
import java.text.DecimalFormatSymbols;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import scala.xml.Utility;

/**
 * Resident memory (line, left axis) against throughput (bars, right axis) over time, as an SVG
 * element for a page: no script, nothing fetched, colours that a light and a dark page can bear.
 */
final class UiChart {

  private static final int WIDTH = 1200;
  private static final int HEIGHT = 340;
  private static final int LEFT = 84;
  private static final int RIGHT = WIDTH - 74;
  private static final int TOP = 34;
  private static final int BOTTOM = HEIGHT - 44;

  /** Bars no narrower than that part of the whole: what is finer can't be seen. */
  private static final int BARS = 120;

  private static final String MEMORY = "#3b82c4";
  private static final String SPEED = "#f0a03c";
  private static final String LIMIT = "#d0342c";

  private final StringBuilder svg = new StringBuilder();
  private final List<ExecutorSample> samples;
  private final long begin;
  private final double seconds;
  private final Unit time;
  private final Unit bytes;
  private final double highestBytes;
  private double highestSpeed = 1e-3;

  /** A unit that keeps an axis's numbers short. */
  private record Unit(String name, double size) {}

  private UiChart(List<ExecutorSample> samples) {
    this.samples = samples;
    begin = samples.get(0).timeMillis();
    seconds = Math.max(1e-3, second(samples.get(samples.size() - 1)));
    time =
        seconds >= 3 * 3600
            ? new Unit("hours", 3600)
            : seconds >= 600 ? new Unit("minutes", 60) : new Unit("seconds", 1);
    double highest = 1e6;
    for (ExecutorSample sample : samples) {
      highest = Math.max(highest, sample.memory().resident());
    }
    Long limit = samples.get(samples.size() - 1).memory().cgroupLimit();
    if (limit != null && limit <= 2.5 * highest) {
      highest = Math.max(highest, limit);
    }
    bytes = highest >= 10e9 ? new Unit("GB", 1e9) : new Unit("MB", 1e6);
    highestBytes = highest * 1.1;
  }

  /**
   * @param title what the samples are of, for a reader who can't see the chart
   * @param samples in order of time, at least two
   */
  static String svg(String title, List<ExecutorSample> samples) {
    return new UiChart(samples).draw(title);
  }

  private String draw(String title) {
    element(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"100%%\" role=\"img\""
            + " aria-label=\"%s\" font-size=\"13\" fill=\"currentColor\">",
        WIDTH, HEIGHT, Utility.escape(title));
    StringBuilder bars = bars();
    legend();
    grid();
    svg.append(bars);
    memory();
    return svg.append("</svg>").toString();
  }

  private double second(ExecutorSample sample) {
    return (sample.timeMillis() - begin) / 1e3;
  }

  private double x(double second) {
    return LEFT + (RIGHT - LEFT) * second / seconds;
  }

  private double yOfBytes(double resident) {
    return BOTTOM - (BOTTOM - TOP) * resident / highestBytes;
  }

  private double yOfSpeed(double speed) {
    return BOTTOM - (BOTTOM - TOP) * speed / highestSpeed;
  }

  private record Bar(double begin, double end, double speed, ExecutorSample sample) {}

  /** Each with what it stands for as a tooltip. They decide the right axis, so they come first. */
  private StringBuilder bars() {
    List<Bar> bars = new ArrayList<>();
    ExecutorSample from = samples.get(0);
    ExecutorSample latest = samples.get(samples.size() - 1);
    for (ExecutorSample to : samples) {
      double span = second(to) - second(from);
      if (span > 0 && (span >= seconds / BARS || to == latest)) {
        double speed = (to.work().bytes() - from.work().bytes()) / 1e6 / span;
        bars.add(new Bar(second(from), second(to), Math.max(0, speed), to));
        from = to;
      }
    }
    for (Bar bar : bars) {
      highestSpeed = Math.max(highestSpeed, bar.speed() * 1.1);
    }
    StringBuilder drawn = new StringBuilder();
    for (Bar bar : bars) {
      drawn.append(
          format(
              "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\""
                  + " fill-opacity=\"0.55\"><title>%s to %s: %s MB/s, RSS %s</title></rect>",
              x(bar.begin()),
              yOfSpeed(bar.speed()),
              x(bar.end()) - x(bar.begin()),
              BOTTOM - yOfSpeed(bar.speed()),
              SPEED,
              RunSummary.duration(bar.begin()),
              RunSummary.duration(bar.end()),
              RunSummary.decimals(bar.speed()),
              RunSummary.size(bar.sample().memory().resident())));
    }
    return drawn;
  }

  private void legend() {
    element(
        "<rect x=\"%d\" y=\"4\" width=\"26\" height=\"12\" fill=\"%s\" fill-opacity=\"0.55\"/>",
        LEFT + 210, SPEED);
    element(
        "<line x1=\"%d\" y1=\"10\" x2=\"%d\" y2=\"10\" stroke=\"%s\" stroke-width=\"3\"/>",
        LEFT, LEFT + 26, MEMORY);
    text(LEFT + 32, 15, "start", "resident memory (RSS)");
    text(LEFT + 242, 15, "start", "throughput, MB of text a second");
  }

  private void grid() {
    axis(
        highestBytes / bytes.size(),
        value -> {
          double y = yOfBytes(value * bytes.size());
          element(
              "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"currentColor\""
                  + " stroke-opacity=\"0.15\"/>",
              LEFT, y, RIGHT, y);
          text(LEFT - 8, y + 4, "end", number(value));
        });
    axis(highestSpeed, value -> text(RIGHT + 8, yOfSpeed(value) + 4, "start", number(value)));
    axis(
        seconds / time.size(),
        value -> text(x(value * time.size()), BOTTOM + 18, "middle", number(value)));
    text((LEFT + RIGHT) / 2.0, HEIGHT - 6, "middle", time.name());
    sideways(18, "RSS, " + bytes.name());
    sideways(WIDTH - 12, "MB/s");
  }

  private interface Tick {
    void at(double value);
  }

  /** Four to ten round numbers from 0 to the highest. */
  private static void axis(double highest, Tick tick) {
    double step = Math.pow(10, Math.floor(Math.log10(highest)));
    step = highest / step < 2 ? step / 5 : highest / step < 5 ? step / 2 : step;
    for (int i = 0; i * step <= highest; i++) {
      tick.at(i * step);
    }
  }

  private static String number(double value) {
    return new DecimalFormat("0.####", DecimalFormatSymbols.getInstance(Locale.ROOT)).format(value);
  }

  private void memory() {
    StringBuilder path = new StringBuilder();
    ExecutorSample highest = samples.get(0);
    for (ExecutorSample sample : samples) {
      path.append(path.length() == 0 ? "M" : "L")
          .append(format("%.1f %.1f", x(second(sample)), yOfBytes(sample.memory().resident())));
      if (sample.memory().resident() > highest.memory().resident()) {
        highest = sample;
      }
    }
    element(
        "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2.5\""
            + " stroke-linejoin=\"round\"/>",
        path, MEMORY);
    double x = x(second(highest));
    double y = yOfBytes(highest.memory().resident());
    element("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"%s\"/>", x, y, MEMORY);
    boolean left = x > (LEFT + RIGHT) / 2.0;
    text(
        left ? x - 8 : x + 8,
        y - 8,
        left ? "end" : "start",
        RunSummary.size(highest.memory().resident()));
    Long limit = samples.get(samples.size() - 1).memory().cgroupLimit();
    if (limit != null && limit <= highestBytes) {
      double at = yOfBytes(limit);
      element(
          "<line x1=\"%d\" y1=\"%.1f\" x2=\"%d\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"2\""
              + " stroke-dasharray=\"7 5\"/>",
          LEFT, at, RIGHT, at, LIMIT);
      text(LEFT + 6, at - 5, "start", "container's limit " + RunSummary.size(limit));
    }
  }

  private void sideways(int x, String text) {
    element(
        "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 %d %d)\">%s</text>",
        x, (TOP + BOTTOM) / 2, x, (TOP + BOTTOM) / 2, text);
  }

  private void text(double x, double y, String anchor, String text) {
    element("<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">%s</text>", x, y, anchor, text);
  }

  private void element(String pattern, Object... values) {
    svg.append(format(pattern, values));
  }

  private static String format(String pattern, Object... values) {
    return String.format(Locale.ROOT, pattern, values);
  }
}
