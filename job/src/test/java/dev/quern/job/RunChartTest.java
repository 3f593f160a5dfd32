package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The chart is an image of the expected size with something on it, for few and many executors. */
class RunChartTest {

  @ParameterizedTest
  @CsvSource({"1, 802", "2, 928", "6, 1138", "50, 2498", "200, 2878"})
  void executors(int count, int height) throws IOException {
    BufferedImage image = draw(run(count, 300));
    assertThat(image.getWidth()).isEqualTo(1600);
    assertThat(image.getHeight()).isEqualTo(height);
    assertThat(colours(image)).contains(0xffffff, 0x1f5fa8, 0xfbdab1);
  }

  @Test
  void aRunOfOneSample() throws IOException {
    ExecutorSample only = Samples.sample("driver", 0, 400_000_000, 400_000_000, 0);
    BufferedImage image =
        draw(Samples.run(0.2, new RunTotals(0, 0, 0, 0), List.of(Samples.part(1, 0.2, only))));
    assertThat(image.getWidth()).isEqualTo(1600);
  }

  @Test
  void theContainersLimitIsRed() throws IOException {
    List<RunSummary.ExecutorPart> parts =
        List.of(
            Samples.part(
                1,
                9,
                Samples.sample("1", 0, 400_000_000, 400_000_000, 0, false, 600_000_000L),
                Samples.sample("1", 9, 500_000_000, 500_000_000, 9_000_000, false, 600_000_000L)));
    assertThat(colours(draw(Samples.run(9, new RunTotals(1, 0, 9_000_000, 3), parts))))
        .contains(0xb3261e);
  }

  private static BufferedImage draw(RunSummary run) throws IOException {
    byte[] png = RunChart.png(run);
    return ImageIO.read(new ByteArrayInputStream(png));
  }

  private static Set<Integer> colours(BufferedImage image) {
    Set<Integer> colours = new HashSet<>();
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        colours.add(image.getRGB(x, y) & 0xffffff);
      }
    }
    return colours;
  }

  private static RunSummary run(int executors, int seconds) {
    Random random = new Random(executors);
    List<RunSummary.ExecutorPart> parts = new ArrayList<>();
    long total = 0;
    for (int id = 0; id < executors; id++) {
      List<ExecutorSample> samples = new ArrayList<>();
      long resident = 300_000_000;
      long peak = 0;
      long bytes = 0;
      for (int second = 0; second <= seconds; second++) {
        resident += random.nextInt(3_000_000) - 500_000;
        peak = Math.max(peak, resident);
        bytes += 20_000_000 + random.nextInt(9_000_000);
        samples.add(Samples.sample("" + id, second, resident, peak, bytes));
      }
      total += bytes;
      parts.add(Samples.part(4, seconds, samples.toArray(ExecutorSample[]::new)));
    }
    return Samples.run(seconds, new RunTotals(total / 2000, 0, total, total / 4), parts);
  }
}
