package dev.quern.job;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.util.List;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.BitmapEncoder.BitmapFormat;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.XYSeries.XYSeriesRenderStyle;
import org.knowm.xchart.style.Styler.ChartTheme;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * The chart of an allocator trial: each run a point, resident memory to the right and throughput
 * upwards, both from zero; what is up and to the left is better.
 */
final class TrialChart {
  private static final Color SYSTEM = new Color(0x1f5fa8);
  private static final Color MIMALLOC = new Color(0xc96a00);

  private TrialChart() {}

  /** The chart as a PNG file. */
  static byte[] png(TrialReport report) throws IOException {
    RunChart.prepareToDraw();
    TrialReport.Recommendation recommended = report.recommendation();
    XYChart chart =
        new XYChartBuilder()
            .width(1200)
            .height(800)
            .theme(ChartTheme.XChart)
            .title(
                RunSummary.format(
                    "Engine %s: recommended is %s with memoryOverhead %dm",
                    report.runs().get(0).engine(),
                    recommended.side().allocator(),
                    recommended.side().overheadMebibytes()))
            .xAxisTitle("peak RSS of the largest executor, MB")
            .yAxisTitle("MB of UTF-8 text a second and core")
            .build();
    Font plain = new Font(Font.SANS_SERIF, Font.PLAIN, 16);
    var styler = chart.getStyler();
    styler.setDefaultSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
    styler.setChartBackgroundColor(Color.WHITE);
    styler.setPlotBorderVisible(false);
    styler.setPlotGridLinesColor(RunChart.GRID);
    styler.setPlotGridLinesStroke(new BasicStroke(1f));
    styler.setChartFontColor(RunChart.INK);
    styler.setChartTitleFont(new Font(Font.SANS_SERIF, Font.BOLD, 20));
    styler.setAxisTitleFont(plain);
    styler.setAxisTickLabelsFont(plain);
    styler.setLegendFont(plain);
    styler.setLegendPosition(LegendPosition.InsideSW);
    styler.setMarkerSize(14);
    styler.setChartPadding(18);
    styler.setPlotContentSize(1);
    styler.setPlotMargin(0);
    styler.setYAxisDecimalPattern("0.###");
    styler.setXAxisMin(0.0);
    styler.setYAxisMin(0.0);
    styler.setXAxisMax(
        report.runs().stream().mapToDouble(run -> run.resident() / 1e6).max().orElse(1) * 1.15);
    styler.setYAxisMax(
        report.runs().stream().mapToDouble(TrialReport.Run::perCore).max().orElse(1) * 1.15);
    series(chart, report, TrialReport.SYSTEM, SYSTEM);
    series(chart, report, TrialReport.MIMALLOC, MIMALLOC);
    ByteArrayOutputStream file = new ByteArrayOutputStream();
    BitmapEncoder.saveBitmap(chart, file, BitmapFormat.PNG);
    return file.toByteArray();
  }

  private static void series(XYChart chart, TrialReport report, String allocator, Color color) {
    List<TrialReport.Run> runs =
        report.runs().stream().filter(run -> run.allocator().equals(allocator)).toList();
    XYSeries series =
        chart.addSeries(
            allocator,
            runs.stream().mapToDouble(run -> run.resident() / 1e6).toArray(),
            runs.stream().mapToDouble(TrialReport.Run::perCore).toArray());
    series.setMarker(SeriesMarkers.CIRCLE).setMarkerColor(color);
  }
}
