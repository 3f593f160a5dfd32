package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;

/** Thinning: bounded, in order, even, and no extreme lost. */
class SampleSeriesTest {

  @Test
  void keepsEverythingWhileThereIsRoom() {
    SampleSeries series = new SampleSeries(at(0, 5), 64);
    List<ExecutorSample> all = new ArrayList<>(List.of(series.first()));
    for (int i = 1; i < 60; i++) {
      ExecutorSample sample = at(i, 100 - i);
      all.add(sample);
      series.add(sample);
    }
    assertThat(series.samples()).isEqualTo(all);
  }

  @Test
  void neverLosesFirstPeakOrLatest() {
    long seed = Long.getLong("quern.seed", System.nanoTime());
    System.out.println("SampleSeriesTest: repeat with -Dquern.seed=" + seed);
    Random random = new Random(seed);
    for (int round = 0; round < 300; round++) {
      int capacity = 4 + random.nextInt(60);
      int count = 1 + random.nextInt(3000);
      List<ExecutorSample> all = new ArrayList<>(List.of(at(0, random.nextInt(1000))));
      SampleSeries series = new SampleSeries(all.get(0), capacity);
      for (int i = 1; i < count; i++) {
        all.add(at(i, random.nextInt(1000)));
        series.add(all.get(i));
        if (random.nextInt(500) == 0) {
          capacity = 4 + random.nextInt(capacity);
          series.limit(capacity);
        }
        assertThat(series.samples()).hasSizeLessThanOrEqualTo(capacity);
      }
      List<ExecutorSample> kept = series.samples();
      assertThat(kept).as("round %d", round).first().isSameAs(all.get(0));
      assertThat(kept).last().isSameAs(all.get(count - 1));
      assertThat(kept)
          .isSortedAccordingTo(Comparator.comparingLong(ExecutorSample::timeMillis))
          .doesNotHaveDuplicates();
      assertThat(highest(kept)).isEqualTo(highest(all));
      assertThat(series.latest()).isSameAs(all.get(count - 1));
      assertThat(series.arrived()).isEqualTo(count);
    }
  }

  @Test
  void thinsEvenly() {
    SampleSeries series = new SampleSeries(at(0, 1), 100);
    for (int i = 1; i < 100_000; i++) {
      series.add(at(i, 1));
    }
    List<ExecutorSample> kept = series.samples();
    assertThat(kept).hasSizeBetween(45, 100);
    long widest = 0;
    for (int i = 1; i < kept.size(); i++) {
      widest = Math.max(widest, kept.get(i).timeMillis() - kept.get(i - 1).timeMillis());
    }
    // 2048 samples a stride; a neighbour is at most two strides away.
    assertThat(widest).isLessThanOrEqualTo(2 * 2048 * 1000);
  }

  @Test
  void needsRoomForFourSamples() {
    assertThatThrownBy(() -> new SampleSeries(at(0, 1), 3))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("3");
  }

  private static long highest(List<ExecutorSample> samples) {
    return samples.stream().mapToLong(sample -> sample.memory().resident()).max().orElseThrow();
  }

  private static ExecutorSample at(int second, long resident) {
    return Samples.sample("1", second, resident, resident, second * 1000L);
  }
}
