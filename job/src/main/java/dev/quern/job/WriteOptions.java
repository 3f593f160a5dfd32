package dev.quern.job;

import dev.quern.job.TokenizeOptions.OutputFormat;
import java.io.Serializable;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * How token files are written, as the options of a write say: those of the job, of {@code
 * df.write().format("quern_parquet")} and of a table {@code USING quern_parquet} alike.
 *
 * @param compression one of {@link OutputFormat#compressions}
 * @param level of the codec zstd; null for its default
 * @param encoding of the ids, in Parquet files
 */
record WriteOptions(String compression, Integer level, IdEncoding encoding)
    implements Serializable {
  /** Names of the options of a write. */
  static final String COMPRESSION = "compression";

  static final String LEVEL = "compression_level";
  static final String ENCODING = "encoding";

  /**
   * Bytes of a file for a byte of text, as {@link OutputFormat#compressions} has the codecs:
   * measured with o200k_base on English, code, Chinese and Japanese, and six languages together,
   * the geometric mean of the least and the most. All four are within a factor of 1.4.
   */
  private static final Map<IdEncoding, List<Double>> PARQUET_PER_TEXT =
      Map.of(
          IdEncoding.PLAIN, List.of(0.33, 0.51, 0.35, 0.51, 1.07),
          IdEncoding.DICTIONARY, List.of(0.37, 0.47, 0.38, 0.44, 0.55),
          IdEncoding.DELTA_BINARY_PACKED, List.of(0.60, 0.63, 0.59, 0.61, 0.64),
          IdEncoding.BYTE_STREAM_SPLIT, List.of(0.37, 0.50, 0.37, 0.49, 1.07));

  private static final List<Double> ARROW_PER_TEXT = List.of(1.10, 0.32, 0.51);

  /** Of zstd. */
  static final int HIGHEST_LEVEL = 22;

  /**
   * Takes ours out of the options of a write.
   *
   * @throws IllegalArgumentException saying which option is wrong, and what is right
   */
  static WriteOptions of(OutputFormat format, Map<String, String> options) {
    String compression =
        options.getOrDefault(COMPRESSION, format.compressions().get(0)).toLowerCase(Locale.ROOT);
    if (compression.equals("uncompressed")) {
      // As Spark's own formats call it too.
      compression = "none";
    }
    if (!format.compressions().contains(compression)) {
      throw wrong(COMPRESSION, compression, format + " files have", format.compressions());
    }
    return new WriteOptions(
        compression, level(options.get(LEVEL), compression), encoding(format, options));
  }

  /** Bytes of a file for a byte of the text, by ids alone: columns that are kept come on top. */
  double bytesPerText(OutputFormat format) {
    List<Double> byCodec =
        format == OutputFormat.ARROW ? ARROW_PER_TEXT : PARQUET_PER_TEXT.get(encoding);
    return byCodec.get(format.compressions().indexOf(compression));
  }

  private static Integer level(String text, String compression) {
    if (text == null) {
      return null;
    }
    if (!compression.equals("zstd")) {
      throw new IllegalArgumentException(
          "the option " + LEVEL + " is for compression zstd, not for " + compression);
    }
    if (text.matches("\\d{1,2}")) {
      int level = Integer.parseInt(text);
      if (level >= 1 && level <= HIGHEST_LEVEL) {
        return level;
      }
    }
    throw new IllegalArgumentException(
        "the option " + LEVEL + " is '" + text + "': give 1 (fastest) to " + HIGHEST_LEVEL);
  }

  private static IdEncoding encoding(OutputFormat format, Map<String, String> options) {
    String text = options.get(ENCODING);
    if (text == null) {
      return format == OutputFormat.PARQUET ? IdEncoding.DICTIONARY : IdEncoding.PLAIN;
    }
    if (format != OutputFormat.PARQUET) {
      throw new IllegalArgumentException("the option " + ENCODING + " is for Parquet files only");
    }
    for (IdEncoding encoding : IdEncoding.values()) {
      if (encoding.toString().equals(text.toLowerCase(Locale.ROOT))) {
        return encoding;
      }
    }
    throw wrong(
        ENCODING,
        text,
        "it is",
        Arrays.stream(IdEncoding.values()).map(IdEncoding::toString).toList());
  }

  private static IllegalArgumentException wrong(
      String option, String value, String what, List<String> allowed) {
    return new IllegalArgumentException(
        "the option "
            + option
            + " is '"
            + value
            + "': "
            + what
            + " one of "
            + String.join(", ", allowed));
  }
}
