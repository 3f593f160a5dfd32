package dev.quern.bench;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.ImageTypeSpecifier;
import javax.imageio.ImageWriter;
import javax.imageio.metadata.IIOMetadata;
import javax.imageio.metadata.IIOMetadataNode;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.ImageOutputStream;
import org.knowm.xchart.AnnotationText;
import org.knowm.xchart.CategoryChart;
import org.knowm.xchart.CategoryChartBuilder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries.XYSeriesRenderStyle;
import org.knowm.xchart.style.AxesChartStyler;
import org.knowm.xchart.style.Styler.ChartTheme;
import org.knowm.xchart.style.Styler.LegendLayout;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.Marker;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * A chart of the record: what it shows, and how it is drawn. A picture carries the hash of what it
 * shows, so that a test can tell whether it is the record's without comparing pixels, which differ
 * with the fonts of a machine.
 *
 * @param file the picture's name
 * @param source a line below the title
 * @param panels side by side, two in a row
 */
record ReportChart(String file, String title, String source, List<Panel> panels) {
  /**
   * One set of axes.
   *
   * @param xTitle of points; empty: the series are bars, in groups by their points' labels
   */
  record Panel(String title, String xTitle, String yTitle, List<Series> series) {}

  /**
   * Points of one kind.
   *
   * @param color series of the same color in all panels have the same one
   * @param shape of the marks: 0, 1 ...
   */
  record Series(String name, String color, int shape, List<Point> points) {}

  /**
   * A value.
   *
   * @param label what stands beside it, or the group of a bar; may be empty
   */
  record Point(String label, double x, double y) {}

  private static final String KEYWORD = "quern-record";
  private static final String METADATA = "javax_imageio_png_1.0";
  private static final int WIDTH = 1600;
  private static final int HEADER = 90;
  private static final int PANEL = 520;
  private static final Color INK = new Color(0x1b2733);
  private static final Color FAINT_INK = new Color(0x5c6b7a);
  private static final Color GRID = new Color(0xe6eaee);
  private static final List<Color> COLORS =
      List.of(
          new Color(0x1f5fa8),
          new Color(0xc96a00),
          new Color(0x5b8c5a),
          new Color(0x8e5ea2),
          new Color(0xb3261e),
          new Color(0x7a6a53),
          new Color(0x3fa7b5));
  private static final List<Marker> SHAPES =
      List.of(
          SeriesMarkers.CIRCLE,
          SeriesMarkers.DIAMOND,
          SeriesMarkers.SQUARE,
          SeriesMarkers.TRIANGLE_UP,
          SeriesMarkers.TRIANGLE_DOWN);

  /** Of everything that is shown: title, names and numbers. */
  String hash() {
    try {
      byte[] shown = toString().getBytes(StandardCharsets.UTF_8);
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(shown));
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every JDK has SHA-256", e);
    }
  }

  /** The hash of what that picture shows; empty if it is none of ours. */
  static Optional<String> hashOf(byte[] png) throws IOException {
    ImageReader reader = ImageIO.getImageReadersByFormatName("png").next();
    try (ImageInputStream in = ImageIO.createImageInputStream(new ByteArrayInputStream(png))) {
      reader.setInput(in);
      var entries =
          ((IIOMetadataNode) reader.getImageMetadata(0).getAsTree(METADATA))
              .getElementsByTagName("tEXtEntry");
      for (int i = 0; i < entries.getLength(); i++) {
        IIOMetadataNode entry = (IIOMetadataNode) entries.item(i);
        if (entry.getAttribute("keyword").equals(KEYWORD)) {
          return Optional.of(entry.getAttribute("value"));
        }
      }
      return Optional.empty();
    } finally {
      reader.dispose();
    }
  }

  /** The chart as a PNG file. */
  byte[] png() throws IOException {
    // Without this a JDK with DISPLAY set would look for an X server.
    if (System.getProperty("java.awt.headless") == null) {
      System.setProperty("java.awt.headless", "true");
    }
    ImageIO.setUseCache(false); // no temporary file
    BufferedImage image = draw();
    IIOMetadataNode entry = new IIOMetadataNode("tEXtEntry");
    entry.setAttribute("keyword", KEYWORD);
    entry.setAttribute("value", hash());
    IIOMetadataNode text = new IIOMetadataNode("tEXt");
    text.appendChild(entry);
    IIOMetadataNode root = new IIOMetadataNode(METADATA);
    root.appendChild(text);
    ImageWriter writer = ImageIO.getImageWritersByFormatName("png").next();
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    try (ImageOutputStream out = ImageIO.createImageOutputStream(file)) {
      IIOMetadata metadata = writer.getDefaultImageMetadata(new ImageTypeSpecifier(image), null);
      metadata.mergeTree(METADATA, root);
      writer.setOutput(out);
      writer.write(new IIOImage(image, null, metadata));
    } finally {
      writer.dispose();
    }
    return file.toByteArray();
  }

  private BufferedImage draw() {
    int columns = Math.min(2, panels.size());
    int rows = (panels.size() + columns - 1) / columns;
    int width = WIDTH / columns;
    BufferedImage image =
        new BufferedImage(WIDTH, HEADER + rows * PANEL, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    graphics.setRenderingHint(RenderingHints.KEY_ANTIALIASING, RenderingHints.VALUE_ANTIALIAS_ON);
    graphics.setRenderingHint(
        RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
    graphics.setColor(Color.WHITE);
    graphics.fillRect(0, 0, image.getWidth(), image.getHeight());
    graphics.setColor(INK);
    graphics.setFont(new Font(Font.SANS_SERIF, Font.BOLD, 26));
    graphics.drawString(title, 28, 42);
    graphics.setColor(FAINT_INK);
    graphics.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 15));
    graphics.drawString(source, 28, 70);
    List<String> colors =
        panels.stream()
            .flatMap(panel -> panel.series.stream())
            .map(Series::color)
            .distinct()
            .toList();
    // Bars are compared from panel to panel; points have a scale of their own.
    double highest =
        panels.stream()
            .flatMap(panel -> panel.series.stream())
            .flatMap(series -> series.points.stream())
            .mapToDouble(Point::y)
            .max()
            .orElse(1);
    for (int i = 0; i < panels.size(); i++) {
      Panel panel = panels.get(i);
      Graphics2D here =
          (Graphics2D)
              graphics.create(i % columns * width, HEADER + i / columns * PANEL, width, PANEL);
      if (panel.xTitle.isEmpty()) {
        bars(panel, width, colors, highest).paint(here, width, PANEL);
      } else {
        points(panel, width, colors).paint(here, width, PANEL);
      }
      here.dispose();
    }
    graphics.dispose();
    return image;
  }

  private static CategoryChart bars(Panel panel, int width, List<String> colors, double highest) {
    CategoryChart chart =
        new CategoryChartBuilder()
            .width(width)
            .height(PANEL)
            .theme(ChartTheme.XChart)
            .title(panel.title)
            .yAxisTitle(panel.yTitle)
            .build();
    style(chart.getStyler());
    chart.getStyler().setAvailableSpaceFill(0.8).setXAxisLabelRotation(30);
    chart.getStyler().setYAxisMax(highest * 1.05);
    List<String> groups =
        panel.series.stream()
            .flatMap(series -> series.points.stream())
            .map(Point::label)
            .distinct()
            .toList();
    for (Series series : panel.series) {
      Map<String, Double> values = new HashMap<>();
      series.points.forEach(point -> values.put(point.label, point.y));
      // All series of a chart have all groups; nothing is drawn where there is no value.
      chart
          .addSeries(series.name, groups, groups.stream().map(values::get).toList())
          .setFillColor(color(series, colors));
    }
    return chart;
  }

  private static XYChart points(Panel panel, int width, List<String> colors) {
    XYChart chart =
        new XYChartBuilder()
            .width(width)
            .height(PANEL)
            .theme(ChartTheme.XChart)
            .title(panel.title)
            .xAxisTitle(panel.xTitle)
            .yAxisTitle(panel.yTitle)
            .build();
    style(chart.getStyler());
    double right = 0;
    double top = 0;
    for (Series series : panel.series) {
      for (Point point : series.points) {
        right = Math.max(right, point.x);
        top = Math.max(top, point.y);
      }
    }
    chart.getStyler().setDefaultSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
    chart.getStyler().setMarkerSize(12);
    chart.getStyler().setXAxisMin(0.0);
    chart.getStyler().setXAxisMax(right * 1.15);
    chart.getStyler().setYAxisMax(top * 1.15);
    chart.getStyler().setAnnotationTextFont(new Font(Font.SANS_SERIF, Font.PLAIN, 12));
    chart.getStyler().setAnnotationTextFontColor(FAINT_INK);
    for (Series series : panel.series) {
      chart
          .addSeries(
              series.name,
              series.points.stream().mapToDouble(Point::x).toArray(),
              series.points.stream().mapToDouble(Point::y).toArray())
          .setMarker(SHAPES.get(series.shape % SHAPES.size()))
          .setMarkerColor(color(series, colors));
      for (Point point : series.points) {
        if (!point.label.isEmpty()) {
          chart.addAnnotation(
              new AnnotationText(point.label, point.x, point.y + top * 0.035, false));
        }
      }
    }
    return chart;
  }

  private static Color color(Series series, List<String> colors) {
    return COLORS.get(colors.indexOf(series.color) % COLORS.size());
  }

  private static void style(AxesChartStyler styler) {
    Font plain = new Font(Font.SANS_SERIF, Font.PLAIN, 14);
    styler.setChartBackgroundColor(Color.WHITE);
    styler.setPlotBorderVisible(false);
    styler.setPlotGridLinesColor(GRID);
    styler.setPlotGridLinesStroke(new BasicStroke(1f));
    styler.setPlotGridVerticalLinesVisible(false);
    styler.setChartFontColor(INK);
    styler.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 17));
    styler.setAxisTitleFont(plain);
    styler.setAxisTickLabelsFont(plain);
    styler.setLegendFont(plain);
    styler.setLegendPosition(LegendPosition.OutsideS);
    styler.setLegendLayout(LegendLayout.Horizontal);
    styler.setLegendBorderColor(Color.WHITE);
    styler.setChartPadding(14);
    styler.setPlotMargin(0);
    styler.setPlotContentSize(1);
    styler.setYAxisMin(0.0);
    styler.setYAxisDecimalPattern("#,##0.###");
    styler.setXAxisDecimalPattern("#,##0.###");
  }
}
