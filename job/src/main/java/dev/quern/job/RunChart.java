package dev.quern.job;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.ToDoubleFunction;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.ImageOutputStream;
import org.knowm.xchart.AnnotationLine;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.XYSeries.XYSeriesRenderStyle;
import org.knowm.xchart.style.Styler.ChartTheme;
import org.knowm.xchart.style.Styler.YAxisPosition;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * The chart of a run: resident memory (line, left axis) against throughput (area, right axis) over
 * time. One executor has the picture for itself; several get a panel each, all to the same scale,
 * below one for their sum.
 *
 * <p>The only class that loads AWT; the driver uses it once, at the end of a run, without a
 * display.
 */
final class RunChart {

  /** More panels nobody reads: those with the highest peaks are shown. */
  private static final int MOST_PANELS = 60;

  /** Of the PNG's compression: the fastest, for a file that is a little larger. */
  private static final float FAST = 0.8f;

  private static final int WIDTH = 1600;
  private static final int HEADER = 134;
  private static final int MARGIN = 28;

  static final Color INK = new Color(0x1b2733);
  private static final Color FAINT_INK = new Color(0x5c6b7a);
  static final Color GRID = new Color(0xe6eaee);
  private static final Color MEMORY = new Color(0x1f5fa8);
  private static final Color MEMORY_PEAK = new Color(0x0b2f5c);
  private static final Color SPEED = new Color(0xc96a00);
  private static final Color SPEED_AREA = new Color(0xf6a23c & 0xffffff | 0x66000000, true);
  private static final Color LIMIT = new Color(0xb3261e);

  /** A unit that keeps an axis's numbers short. */
  private record Unit(String name, double size) {
    static Unit ofBytes(double bytes) {
      return bytes >= 10e9 ? new Unit("GB", 1e9) : new Unit("MB", 1e6);
    }

    static Unit ofSeconds(double seconds) {
      if (seconds >= 3 * 3600) {
        return new Unit("hours", 3600);
      }
      return seconds >= 600 ? new Unit("minutes", 60) : new Unit("seconds", 1);
    }
  }

  /** One curve each, in seconds since the run began, bytes, and MB/s. */
  private record Panel(
      String title,
      String note,
      List<double[]> memory,
      List<double[]> speed,
      double peakSecond,
      double peak,
      Double limit) {}

  /** What all panels of one kind share. */
  private record Scale(Unit time, double seconds, Unit bytes, double memory, double speed) {}

  private RunChart() {}

  /** The chart as a PNG file. */
  static byte[] png(RunSummary run) throws IOException {
    prepareToDraw();
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    ImageWriter writer = ImageIO.getImageWritersByFormatName("png").next();
    try (ImageOutputStream out = ImageIO.createImageOutputStream(file)) {
      ImageWriteParam how = writer.getDefaultWriteParam();
      how.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
      how.setCompressionQuality(FAST);
      writer.setOutput(out);
      writer.write(null, new IIOImage(draw(run), null, null), how);
    } finally {
      writer.dispose();
    }
    return file.toByteArray();
  }

  /** To be called before anything is drawn. */
  static void prepareToDraw() {
    // Without this a server's JDK with DISPLAY set would look for an X server.
    if (System.getProperty("java.awt.headless") == null) {
      System.setProperty("java.awt.headless", "true");
    }
    ImageIO.setUseCache(false); // no temporary file
  }

  private static BufferedImage draw(RunSummary run) {
    List<RunSummary.ExecutorPart> shown =
        run.executors().size() <= MOST_PANELS
            ? run.executors()
            : run.executors().stream()
                .sorted(Comparator.comparingLong(RunSummary.ExecutorPart::residentPeak).reversed())
                .limit(MOST_PANELS)
                .toList();
    int bars = shown.size() == 1 ? 120 : 60;
    List<Panel> panels = shown.stream().map(part -> panel(run, part, bars)).toList();
    if (panels.size() == 1) {
      BufferedImage image = canvas(HEADER + 640 + MARGIN);
      Graphics2D graphics = graphics(image);
      header(graphics, run, shown.size());
      paint(graphics, panels.get(0), scale(run, panels), false, 0, HEADER, WIDTH, 640);
      graphics.dispose();
      return image;
    }
    int columns = panels.size() <= 4 ? 2 : panels.size() <= 12 ? 3 : panels.size() <= 30 ? 4 : 5;
    int rows = (panels.size() + columns - 1) / columns;
    int width = (WIDTH - MARGIN) / columns;
    int height = columns == 2 ? 330 : columns == 3 ? 270 : columns == 4 ? 225 : 190;
    BufferedImage image = canvas(HEADER + 420 + 16 + rows * height + MARGIN);
    Graphics2D graphics = graphics(image);
    header(graphics, run, shown.size());
    Panel sum = sum(run);
    paint(graphics, sum, scale(run, List.of(sum)), false, 0, HEADER, WIDTH, 420);
    Scale scale = scale(run, panels);
    for (int i = 0; i < panels.size(); i++) {
      int x = MARGIN / 2 + i % columns * width;
      int y = HEADER + 420 + 16 + i / columns * height;
      paint(graphics, panels.get(i), scale, true, x, y, width, height);
    }
    graphics.dispose();
    return image;
  }

  private static BufferedImage canvas(int height) {
    return new BufferedImage(WIDTH, height, BufferedImage.TYPE_INT_RGB);
  }

  private static Graphics2D graphics(BufferedImage image) {
    Graphics2D graphics = image.createGraphics();
    graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    graphics.setRenderingHint(
        RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
    graphics.setColor(Color.WHITE);
    graphics.fillRect(0, 0, image.getWidth(), image.getHeight());
    return graphics;
  }

  // ---- what is to be drawn

  private static Panel panel(RunSummary run, RunSummary.ExecutorPart part, int bars) {
    List<double[]> memory = new ArrayList<>();
    List<double[]> speed = new ArrayList<>();
    long peak = part.residentPeak();
    double peakSecond = 0;
    boolean peakSeen = false;
    for (ExecutorSample sample : part.samples()) {
      double second = second(run, sample);
      memory.add(new double[] {second, sample.memory().resident()});
      boolean reached =
          sample.memory().resident() >= peak
              || (sample.memory().residentPeak() >= peak
                  && part.first().memory().residentPeak() < peak);
      if (reached && !peakSeen) {
        peakSeen = true;
        peakSecond = second;
      }
    }
    // Bars no narrower than that: what is finer is noise of task ends, and can't be seen.
    double narrowest = seconds(run) / bars;
    ExecutorSample from = part.first();
    for (ExecutorSample to : part.samples()) {
      double begin = second(run, from);
      double end = second(run, to);
      if (end > begin && (end - begin >= narrowest || to == part.latest())) {
        double rate = (to.work().bytes() - from.work().bytes()) / 1e6 / (end - begin);
        speed.add(new double[] {begin, rate});
        speed.add(new double[] {end, rate});
        from = to;
      }
    }
    Long limit = part.latest().memory().cgroupLimit();
    boolean local = part.executor().id().equals("driver");
    return new Panel(
        (local ? "driver and executor in one process, " : "executor " + part.executor().id() + ", ")
            + part.executor().host(),
        RunSummary.format(
            "%s MB/s, peak %s%s, %d %s%s",
            RunSummary.decimals(part.megabytesPerSecond()),
            RunSummary.size(peak),
            limit == null ? "" : " of " + RunSummary.size(limit),
            part.cores(),
            part.cores() == 1 ? "core" : "cores",
            part.alive() ? "" : ", lost or ended"),
        memory,
        speed,
        peakSecond,
        peak,
        limit == null ? null : limit.doubleValue());
  }

  private static double second(RunSummary run, ExecutorSample sample) {
    return Math.max(0, (sample.timeMillis() - run.startMillis()) / 1e3);
  }

  /** All executors together, on a common grid of times. */
  private static Panel sum(RunSummary run) {
    int steps = 120;
    double step = seconds(run) / steps;
    double[] resident = new double[steps + 1];
    double[] bytes = new double[steps + 1];
    for (RunSummary.ExecutorPart part : run.executors()) {
      ExecutorSample before = part.first();
      ExecutorSample after = part.first();
      int next = 1;
      for (int i = 0; i <= steps; i++) {
        while (second(run, after) < i * step && next < part.samples().size()) {
          before = after;
          after = part.samples().get(next++);
        }
        boolean there =
            (i + 1) * step > second(run, part.first()) // the first sample may be a moment late
                && (part.alive() || i * step <= second(run, part.latest()));
        if (there) {
          resident[i] += between(run, before, after, i * step, s -> s.memory().resident());
        }
        bytes[i] += between(run, before, after, i * step, s -> s.work().bytes());
      }
    }
    List<double[]> memory = new ArrayList<>();
    List<double[]> speed = new ArrayList<>();
    int highest = 0;
    for (int i = 0; i <= steps; i++) {
      memory.add(new double[] {i * step, resident[i]});
      highest = resident[i] > resident[highest] ? i : highest;
      if (i > 0) {
        double rate = (bytes[i] - bytes[i - 1]) / 1e6 / step;
        speed.add(new double[] {(i - 1) * step, rate});
        speed.add(new double[] {i * step, rate});
      }
    }
    return new Panel(
        "all executors together",
        RunSummary.format(
            "%s MB/s, at most %s at one time",
            RunSummary.decimals(run.megabytesPerSecond()),
            RunSummary.size(Math.round(resident[highest]))),
        memory,
        speed,
        highest * step,
        resident[highest],
        null);
  }

  /** The value at a moment, on a straight line between two samples; constant outside. */
  private static double between(
      RunSummary run,
      ExecutorSample before,
      ExecutorSample after,
      double second,
      ToDoubleFunction<ExecutorSample> of) {
    double begin = second(run, before);
    double end = second(run, after);
    double share = end > begin ? Math.max(0, Math.min(1, (second - begin) / (end - begin))) : 1;
    return of.applyAsDouble(before) + share * (of.applyAsDouble(after) - of.applyAsDouble(before));
  }

  private static double seconds(RunSummary run) {
    return run.executors().stream()
        .mapToDouble(part -> second(run, part.latest()))
        .reduce(run.wallSeconds(), Math::max);
  }

  private static Scale scale(RunSummary run, List<Panel> panels) {
    double memory = 1e6;
    double speed = 1e-3;
    for (Panel panel : panels) {
      memory = Math.max(memory, panel.peak());
      for (double[] point : panel.speed()) {
        speed = Math.max(speed, point[1]);
      }
    }
    double highest = memory;
    for (Panel panel : panels) {
      // A limit far above would press the curves to the floor: its label alone has to do.
      if (panel.limit() != null && panel.limit() <= 2.5 * memory) {
        highest = Math.max(highest, panel.limit());
      }
    }
    double seconds = seconds(run);
    return new Scale(
        Unit.ofSeconds(seconds), seconds, Unit.ofBytes(highest), highest * 1.18, speed * 1.25);
  }

  // ---- drawing

  private static void header(Graphics2D graphics, RunSummary run, int shown) {
    graphics.setColor(INK);
    graphics.setFont(new Font(Font.SANS_SERIF, Font.BOLD, 26));
    graphics.drawString("Resident memory against throughput", MARGIN, 44);
    graphics.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 16));
    graphics.setColor(FAINT_INK);
    graphics.drawString(
        RunSummary.format(
            "%s, engine %s, allocator %s; %s of text in %s: %s MB/s, %,.0f tokens/s; peak RSS %s%s",
            run.description().tokenizer(),
            run.description().engine(),
            run.allocators().isEmpty() ? "unknown" : String.join(" and ", run.allocators()),
            RunSummary.size(run.totals().bytes()),
            RunSummary.duration(run.wallSeconds()),
            RunSummary.decimals(run.megabytesPerSecond()),
            run.tokensPerSecond(),
            RunSummary.size(run.residentPeakLargest()),
            run.executors().size() == 1
                ? ""
                : " in the largest of "
                    + run.executors().size()
                    + " executors"
                    + (shown < run.executors().size()
                        ? " (the " + shown + " with the highest peaks are shown)"
                        : "")),
        MARGIN,
        74);
    int x = MARGIN;
    int y = 106;
    graphics.setColor(MEMORY);
    graphics.setStroke(new BasicStroke(3f));
    graphics.drawLine(x, y - 6, x + 34, y - 6);
    x = label(graphics, "resident memory (RSS), left axis", x + 44, y);
    graphics.setColor(SPEED_AREA);
    graphics.fillRect(x, y - 14, 34, 15);
    graphics.setColor(SPEED);
    graphics.setStroke(new BasicStroke(1.5f));
    graphics.drawLine(x, y - 14, x + 34, y - 14);
    x = label(graphics, "throughput, MB of UTF-8 text a second, right axis", x + 44, y);
    graphics.setColor(MEMORY_PEAK);
    graphics.fillOval(x, y - 11, 11, 11);
    x = label(graphics, "peak RSS", x + 20, y);
    if (run.executors().stream().anyMatch(part -> part.latest().memory().cgroupLimit() != null)) {
      graphics.setColor(LIMIT);
      graphics.setStroke(dashes(2f));
      graphics.drawLine(x, y - 6, x + 34, y - 6);
      label(graphics, "container's memory limit", x + 44, y);
    }
  }

  /** Writes a legend's text; answers where the next entry begins. */
  private static int label(Graphics2D graphics, String text, int x, int y) {
    graphics.setColor(INK);
    graphics.drawString(text, x, y);
    return x + graphics.getFontMetrics().stringWidth(text) + 36;
  }

  private static BasicStroke dashes(float width) {
    return new BasicStroke(
        width, BasicStroke.CAP_BUTT, BasicStroke.JOIN_ROUND, 10f, new float[] {7f, 5f}, 0f);
  }

  private static void paint(
      Graphics2D graphics,
      Panel panel,
      Scale scale,
      boolean small,
      int x,
      int y,
      int width,
      int height) {
    int titled = title(graphics, panel, small, x, y, width);
    XYChart chart =
        new XYChartBuilder().width(width).height(height - titled).theme(ChartTheme.XChart).build();
    style(chart.getStyler(), scale, small);
    if (!small) {
      chart.setXAxisTitle(scale.time().name());
      chart.setYAxisGroupTitle(0, "RSS, " + scale.bytes().name());
      chart.setYAxisGroupTitle(1, "MB/s");
    }
    double bytes = scale.bytes().size();
    double time = scale.time().size();
    if (!panel.speed().isEmpty()) {
      XYSeries speed = series(chart, "throughput", panel.speed(), time, 1);
      speed.setYAxisGroup(1);
      speed.setXYSeriesRenderStyle(XYSeriesRenderStyle.Area);
      speed.setLineColor(SPEED).setLineStyle(new BasicStroke(small ? 1f : 1.5f));
      speed.setFillColor(SPEED_AREA);
    }
    XYSeries memory = series(chart, "resident memory", panel.memory(), time, bytes);
    memory.setLineColor(MEMORY).setLineStyle(new BasicStroke(small ? 2f : 3f));
    XYSeries peak =
        series(
            chart, "peak", List.of(new double[] {panel.peakSecond(), panel.peak()}), time, bytes);
    peak.setXYSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
    peak.setMarker(SeriesMarkers.CIRCLE).setMarkerColor(MEMORY_PEAK);
    if (!small) {
      double within = Math.max(0.05, Math.min(0.95, panel.peakSecond() / scale.seconds()));
      chart.addAnnotation(
          new AnnotationText(
              "peak " + RunSummary.size(Math.round(panel.peak())),
              within * scale.seconds() / time,
              (panel.peak() + scale.memory() * 0.05) / bytes,
              false));
    }
    if (panel.limit() != null && panel.limit() <= scale.memory()) {
      chart.addAnnotation(new AnnotationLine(panel.limit() / bytes, false, false));
    }
    Graphics2D here = (Graphics2D) graphics.create(x, y + titled, width, height - titled);
    chart.paint(here, width, height - titled);
    here.dispose();
  }

  /** Writes a panel's heading, the note below it where there is little room; answers its height. */
  private static int title(
      Graphics2D graphics, Panel panel, boolean small, int x, int y, int width) {
    int left = x + (small ? 14 : MARGIN);
    int room = width - 2 * (left - x);
    graphics.setColor(INK);
    graphics.setFont(new Font(Font.SANS_SERIF, Font.BOLD, small ? 13 : 17));
    graphics.drawString(fit(graphics, panel.title(), room), left, y + 18);
    int titleWidth = graphics.getFontMetrics().stringWidth(panel.title()) + 16;
    graphics.setColor(FAINT_INK);
    graphics.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, small ? 12 : 15));
    if (small) {
      graphics.drawString(fit(graphics, panel.note(), room), left, y + 34);
      return 36;
    }
    graphics.drawString(fit(graphics, panel.note(), room - titleWidth), left + titleWidth, y + 18);
    return 24;
  }

  /** The text, cut with an ellipsis to a width in pixels. */
  private static String fit(Graphics2D graphics, String text, int width) {
    String cut = text;
    while (cut.length() > 1 && graphics.getFontMetrics().stringWidth(cut) > width) {
      cut = cut.substring(0, cut.length() - 2) + "\u2026";
    }
    return cut;
  }

  private static XYSeries series(
      XYChart chart, String name, List<double[]> points, double xUnit, double yUnit) {
    double[] xs = points.stream().mapToDouble(point -> point[0] / xUnit).toArray();
    double[] ys = points.stream().mapToDouble(point -> point[1] / yUnit).toArray();
    XYSeries series = chart.addSeries(name, xs, ys);
    series.setMarker(SeriesMarkers.NONE);
    return series;
  }

  private static void style(XYStyler styler, Scale scale, boolean small) {
    Font plain = new Font(Font.SANS_SERIF, Font.PLAIN, small ? 12 : 15);
    styler.setLegendVisible(false);
    styler.setAntiAlias(true);
    styler.setChartBackgroundColor(Color.WHITE);
    styler.setPlotBackgroundColor(Color.WHITE);
    styler.setPlotBorderVisible(false);
    styler.setPlotGridLinesColor(GRID);
    styler.setPlotGridLinesStroke(new BasicStroke(1f));
    styler.setPlotGridVerticalLinesVisible(false);
    styler.setPlotContentSize(1);
    styler.setPlotMargin(0);
    styler.setChartPadding(small ? 8 : 18);
    styler.setChartFontColor(INK);
    styler.setChartTitleVisible(false);
    styler.setAxisTitleFont(plain);
    styler.setAxisTickLabelsFont(plain);
    styler.setAxisTickLabelsColor(FAINT_INK);
    styler.setAxisTickMarksColor(GRID);
    styler.setAxisTitlesVisible(!small);
    styler.setYAxisGroupPosition(0, YAxisPosition.Left);
    styler.setYAxisGroupPosition(1, YAxisPosition.Right);
    styler.setYAxisGroupTitleColor(0, MEMORY);
    styler.setYAxisGroupTickLabelsColorMap(0, MEMORY);
    styler.setYAxisGroupTitleColor(1, SPEED);
    styler.setYAxisGroupTickLabelsColorMap(1, SPEED);
    styler.setXAxisTitleColor(FAINT_INK);
    styler.setXAxisMin(0.0);
    // A little room at the end: for the last mark, and XChart puts odd ticks on data that end
    // there.
    styler.setXAxisMax(scale.seconds() / scale.time().size() * 1.012);
    styler.setYAxisMin(0, 0.0);
    styler.setYAxisMax(0, scale.memory() / scale.bytes().size());
    styler.setYAxisMin(1, 0.0);
    styler.setYAxisMax(1, scale.speed());
    styler.setYAxisTickMarkSpacingHint(small ? 34 : 60);
    styler.setXAxisTickMarkSpacingHint(small ? 60 : 120);
    styler.setMarkerSize(small ? 6 : 10);
    styler.setAnnotationTextFont(new Font(Font.SANS_SERIF, Font.BOLD, small ? 11 : 15));
    styler.setAnnotationTextFontColor(MEMORY_PEAK);
    styler.setAnnotationLineColor(LIMIT);
    styler.setAnnotationLineStroke(dashes(small ? 1.5f : 2f));
  }
}
