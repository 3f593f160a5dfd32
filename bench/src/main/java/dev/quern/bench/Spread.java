package dev.quern.bench;

import java.util.Arrays;
import java.util.Collection;

/**
 * What repeated samples of one quantity say.
 *
 * @param minimum the smallest sample
 * @param median the middle one, or the mean of the middle two
 * @param maximum the largest sample
 */
record Spread(double minimum, double median, double maximum) {

  /** Of at least one sample; an empty collection is an IllegalArgumentException. */
  static Spread of(Collection<Double> samples) {
    double[] sorted = samples.stream().mapToDouble(Double::doubleValue).sorted().toArray();
    return new Spread(percentile(sorted, 0), percentile(sorted, 0.5), percentile(sorted, 1));
  }

  /** (maximum - minimum) / median: 0 for samples that all agree, also when they are all 0. */
  double relative() {
    return maximum == minimum ? 0 : (maximum - minimum) / Math.abs(median);
  }

  /**
   * The sample below which the share {@code quantile} (0 to 1) of them lies, linear between the two
   * nearest ones as NumPy and R (type 7) have it. Samples need not be sorted.
   */
  static double percentile(double[] samples, double quantile) {
    if (samples.length == 0) {
      throw new IllegalArgumentException("a percentile of no samples");
    }
    if (!(quantile >= 0 && quantile <= 1)) {
      throw new IllegalArgumentException("quantile " + quantile + " is not within 0 and 1");
    }
    double[] sorted = samples.clone();
    Arrays.sort(sorted);
    double position = quantile * (sorted.length - 1);
    int below = (int) position;
    if (below == sorted.length - 1) {
      return sorted[below];
    }
    return sorted[below] + (position - below) * (sorted[below + 1] - sorted[below]);
  }
}
