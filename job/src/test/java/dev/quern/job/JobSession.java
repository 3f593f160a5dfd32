package dev.quern.job;

import dev.quern.sql.TokenizerReference;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

/** A local Spark for the tests of the job, documents, and a look at outputs. */
final class JobSession implements AutoCloseable {
  /** The smallest of the built-in ones. */
  static final String TOKENIZER = "gpt2";

  /** Its end of text. */
  static final int END_OF_TEXT = 50256;

  static final List<String> TEXTS =
      List.of(
          "Hello, world!",
          "",
          "The quick brown fox jumps over the lazy dog.",
          "Größe, naïve, 東京, Москва 👩‍👩‍👧",
          "def f(x):\n    return x ** 2\n",
          "one <|endoftext|> \"two\"",
          "a\r\nb\tc\u0000d",
          "word ".repeat(2000));

  final SparkSession spark;
  final NativeTokenizer tokenizer;
  final ByteArrayOutputStream printed = new ByteArrayOutputStream();

  /** Two cores, and three attempts for each task. */
  JobSession() {
    spark =
        SparkSession.builder()
            .master("local[2,3]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.quern.progress", "off")
            .getOrCreate();
    tokenizer = NativeTokenizer.load(TokenizerSpec.builtIn(TOKENIZER));
  }

  @Override
  public void close() {
    tokenizer.close();
    spark.stop();
  }

  /** Runs the job with {@link #TOKENIZER}, what it prints going to {@link #printed}. */
  TokenizeResult run(String... arguments) {
    TokenizeOptions options = options(arguments);
    return run(options, options.format().writer());
  }

  TokenizeResult run(TokenizeOptions options, Class<? extends TokenFileFormat> writer) {
    printed.reset();
    return new TokenizeJob(
            spark, options, new PrintStream(printed, true, StandardCharsets.UTF_8), writer)
        .run();
  }

  /** A run whose --verify takes another tokenizer than the reference engine for right. */
  TokenizeResult runJudged(String judge, String... arguments) {
    TokenizeOptions options = options(arguments);
    printed.reset();
    return new TokenizeJob(
            spark,
            options,
            new PrintStream(printed, true, StandardCharsets.UTF_8),
            options.format().writer(),
            TokenizerReference.resolve(spark, judge, Map.of(), true))
        .run();
  }

  static TokenizeOptions options(String... arguments) {
    List<String> all = new ArrayList<>(List.of(arguments));
    if (!all.contains("--tokenizer")) {
      all.addAll(List.of("--tokenizer", TOKENIZER));
    }
    return TokenizeOptions.parse(all.toArray(String[]::new));
  }

  /** What was printed by the last run. */
  String output() {
    return printed.toString(StandardCharsets.UTF_8);
  }

  /** Documents with columns id and text, ids from 0. */
  Dataset<Row> documents(List<String> texts) {
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < texts.size(); i++) {
      rows.add(RowFactory.create((long) i, texts.get(i)));
    }
    return spark.createDataFrame(
        rows, new StructType().add("id", DataTypes.LongType).add("text", DataTypes.StringType));
  }

  /** {@link #TEXTS} as a Parquet file. */
  String parquet(Path folder) {
    String path = folder.resolve("documents.parquet").toString();
    documents(TEXTS).coalesce(1).write().parquet(path);
    return path;
  }

  /** The ids of {@link #TEXTS}, by document id, made without Spark. */
  Map<Long, List<Integer>> expected() {
    Map<Long, List<Integer>> expected = new TreeMap<>();
    for (int i = 0; i < TEXTS.size(); i++) {
      expected.put((long) i, ids(TEXTS.get(i)));
    }
    return expected;
  }

  List<Integer> ids(String text) {
    List<Integer> ids = new ArrayList<>();
    for (int id : tokenizer.encode(text)) {
      ids.add(id);
    }
    return ids;
  }

  /** Ids by document id, of a Parquet output that has kept {@code id}. Each document once. */
  Map<Long, List<Integer>> read(String output) {
    Map<Long, List<Integer>> found = new TreeMap<>();
    for (Row row : spark.read().parquet(output).collectAsList()) {
      List<Integer> ids = row.getList(row.fieldIndex("input_ids"));
      if (found.put(Long.valueOf(String.valueOf(row.<Object>getAs("id"))), ids) != null
          || row.<Integer>getAs("token_count") != ids.size()) {
        throw new AssertionError("twice, or miscounted: " + row);
      }
    }
    return found;
  }

  /** Names of all that lies in a folder, hidden files too; checksums of the local files not. */
  static List<String> list(Path folder) {
    if (!Files.exists(folder)) {
      return List.of();
    }
    try (Stream<Path> found = Files.list(folder)) {
      return found
          .map(path -> path.getFileName().toString())
          .filter(name -> !name.endsWith(".crc"))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
