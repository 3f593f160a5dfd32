package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;

class SpreadTest {
  @Test
  void medianOfAnOddAndAnEvenNumberOfSamples() {
    assertThat(Spread.of(List.of(3.0, 1.0, 2.0))).isEqualTo(new Spread(1, 2, 3));
    assertThat(Spread.of(List.of(4.0, 1.0, 2.0, 3.0))).isEqualTo(new Spread(1, 2.5, 4));
    assertThat(Spread.of(List.of(7.0))).isEqualTo(new Spread(7, 7, 7));
  }

  @Test
  void spreadIsRelativeToTheMedian() {
    assertThat(Spread.of(List.of(9.0, 10.0, 12.0)).relative()).isCloseTo(0.3, within(1e-12));
    assertThat(Spread.of(List.of(0.0, 0.0)).relative()).isZero();
    assertThat(Spread.of(List.of(-12.0, -10.0, -9.0)).relative()).isCloseTo(0.3, within(1e-12));
  }

  /** As numpy.percentile([15, 20, 35, 40, 50], [0, 5, 30, 40, 75, 100]) gives. */
  @Test
  void percentileIsLinearBetweenSamples() {
    double[] samples = {50, 15, 40, 20, 35};
    double[] quantiles = {0, 0.05, 0.3, 0.4, 0.75, 1};
    double[] expected = {15, 16, 23, 29, 40, 50};
    for (int i = 0; i < quantiles.length; i++) {
      assertThat(Spread.percentile(samples, quantiles[i])).isCloseTo(expected[i], within(1e-9));
    }
    assertThat(samples).containsExactly(50, 15, 40, 20, 35);
  }

  @Test
  void noSamplesAndNoSuchQuantileAreErrors() {
    assertThatThrownBy(() -> Spread.of(List.of()))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("no samples");
    assertThatThrownBy(() -> Spread.percentile(new double[] {1}, Double.NaN))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("NaN");
  }
}
