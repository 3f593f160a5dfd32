package dev.quern.sql;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.internal.SQLConf;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;

/**
 * One SparkSession for all test classes (starting one takes longer than most tests), and small
 * tokenizer files for it. A test that sets a key does it through {@link #with}.
 */
final class TestSpark {
  private TestSpark() {}

  /** Words of its own, no unknown token, and a template that frames a document in [CLS], [SEP]. */
  static final String WORDS_JSON =
      """
      {"version":"1.0","truncation":null,"padding":null,
       "added_tokens":[
        {"id":0,"content":"[CLS]","single_word":false,"lstrip":false,"rstrip":false,
         "normalized":false,"special":true},
        {"id":1,"content":"[SEP]","single_word":false,"lstrip":false,"rstrip":false,
         "normalized":false,"special":true}],
       "normalizer":null,
       "pre_tokenizer":{"type":"Whitespace"},
       "post_processor":{"type":"TemplateProcessing",
        "single":[{"SpecialToken":{"id":"[CLS]","type_id":0}},{"Sequence":{"id":"A","type_id":0}},
                  {"SpecialToken":{"id":"[SEP]","type_id":0}}],
        "pair":[{"Sequence":{"id":"A","type_id":0}},{"Sequence":{"id":"B","type_id":0}}],
        "special_tokens":{"[CLS]":{"id":"[CLS]","ids":[0],"tokens":["[CLS]"]},
                          "[SEP]":{"id":"[SEP]","ids":[1],"tokens":["[SEP]"]}}},
       "decoder":null,
       "model":{"type":"WordLevel","vocab":{"[CLS]":0,"[SEP]":1,"corn":2,"stone":3,"flour":4},
        "unk_token":"[UNK]"}}
      """;

  /** The folder of the whole project, wherever below it the tests run. */
  static final Path CHECKOUT = checkout();

  private static Path checkout() {
    Path folder = Path.of("").toAbsolutePath();
    while (!Files.exists(folder.resolve("udf/functions.md"))) {
      folder = folder.getParent();
      if (folder == null) {
        throw new IllegalStateException("run the tests inside the checkout");
      }
    }
    return folder;
  }

  /** What no error message may repeat. */
  static final String SECRET = "hunter2-is-my-password";

  /** Small ones of every family, by the names that the session maps to them. */
  static final List<String> GOLDENS =
      List.of(
          "byte-level-bpe",
          "metaspace-bpe",
          "sentencepiece-bpe",
          "split-bpe",
          "unigram",
          "wordlevel",
          "wordpiece");

  static final Path FOLDER = folder();
  static final Path ALLOWED = FOLDER.resolve("allowed");
  private static SparkSession session;

  static synchronized SparkSession session() {
    if (session == null) {
      SparkSession.Builder builder =
          SparkSession.builder()
              .master("local[2]")
              .appName("quern-udf tests")
              .config("spark.ui.enabled", "false")
              .config("spark.sql.shuffle.partitions", "2")
              .config("spark.sql.warehouse.dir", FOLDER.resolve("warehouse").toUri().toString())
              .config("spark.files", FOLDER.resolve("shipped.json").toUri().toString())
              .config("spark.quern.tokenizers.words", FOLDER.resolve("words.json").toString())
              .config("spark.quern.tokenizers.gone", FOLDER.resolve("gone.json").toString())
              .config("spark.quern.allowedTokenizerPaths", "hdfs://elsewhere/x, " + ALLOWED)
              .config("spark.quern.library.directory", FOLDER.toString());
      for (String golden : GOLDENS) {
        Path file = CHECKOUT.resolve("native/src/test/resources/goldens/" + golden + ".json");
        builder.config("spark.quern.tokenizers." + golden, file.toUri().toString());
      }
      session = builder.getOrCreate();
      session.sparkContext().setLogLevel("ERROR");
    }
    return session;
  }

  private static Path folder() {
    try {
      Path folder = Files.createTempDirectory("quern-udf").toRealPath();
      Files.createDirectories(folder.resolve("allowed"));
      Files.writeString(folder.resolve("words.json"), WORDS_JSON);
      Files.writeString(folder.resolve("shipped.json"), WORDS_JSON.replace("flour", "husks"));
      Files.writeString(folder.resolve("allowed/words.json"), WORDS_JSON);
      Files.write(folder.resolve("allowed/bytes.tiktoken"), ranks("th", "the", "he"));
      Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder)));
      return folder;
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private static void delete(Path folder) {
    try (var files = Files.walk(folder)) {
      files.sorted(java.util.Comparator.reverseOrder()).forEach(file -> file.toFile().delete());
    } catch (IOException e) {
      // The system's temporary folder; nothing depends on it.
    }
  }

  /** A .tiktoken file of all bytes and these tokens after them. */
  static byte[] ranks(String... tokens) {
    StringBuilder lines = new StringBuilder();
    int rank = 0;
    for (int b = 0; b < 256; b++) {
      lines.append(Base64.getEncoder().encodeToString(new byte[] {(byte) b}));
      lines.append(' ').append(rank++).append('\n');
    }
    for (String token : tokens) {
      lines.append(Base64.getEncoder().encodeToString(token.getBytes(StandardCharsets.UTF_8)));
      lines.append(' ').append(rank++).append('\n');
    }
    return lines.toString().getBytes(StandardCharsets.US_ASCII);
  }

  static List<Row> rows(String query) {
    return session().sql(query).collectAsList();
  }

  /** The only value of the only row. */
  @SuppressWarnings("unchecked")
  static <T> T value(String query) {
    List<Row> rows = rows(query);
    if (rows.size() != 1) {
      throw new AssertionError(query + " has " + rows.size() + " rows");
    }
    return rows.get(0).isNullAt(0)
        ? null
        : (T)
            (rows.get(0).get(0) instanceof scala.collection.Seq<?>
                ? rows.get(0).getList(0)
                : rows.get(0).get(0));
  }

  interface Body {
    void run() throws Exception;
  }

  /** Runs with session keys set, and sets them back. */
  static void with(Map<String, String> settings, Body body) throws Exception {
    SQLConf conf = ((org.apache.spark.sql.classic.SparkSession) session()).sessionState().conf();
    Map<String, String> before = new TreeMap<>();
    settings.keySet().stream()
        .filter(conf::contains)
        .forEach(key -> before.put(key, conf.getConfString(key)));
    try {
      settings.forEach(session().conf()::set);
      body.run();
    } finally {
      settings.keySet().forEach(session().conf()::unset);
      before.forEach(session().conf()::set);
    }
  }

  /** Settings that make Spark evaluate expressions in each of its ways, by name. */
  static Map<String, Map<String, String>> waysToEvaluate() {
    // Without these rules a query over literals is answered by the optimizer.
    String rules =
        "org.apache.spark.sql.catalyst.optimizer.ConstantFolding,"
            + "org.apache.spark.sql.catalyst.optimizer.ConvertToLocalRelation";
    return Map.of(
        "whole stage",
        Map.of("spark.sql.optimizer.excludedRules", rules),
        "compiled projections",
        Map.of(
            "spark.sql.optimizer.excludedRules", rules,
            "spark.sql.codegen.wholeStage", "false",
            "spark.sql.codegen.factoryMode", "CODEGEN_ONLY"),
        "interpreted",
        Map.of(
            "spark.sql.optimizer.excludedRules", rules,
            "spark.sql.codegen.wholeStage", "false",
            "spark.sql.codegen.factoryMode", "NO_CODEGEN"),
        "constant folding",
        Map.of());
  }

  static final StructType DOCUMENTS =
      new StructType()
          .add("id", DataTypes.IntegerType)
          .add("text", DataTypes.StringType)
          .add("bytes", DataTypes.BinaryType);

  /** Text of many scripts as STRING, and random bytes (mostly no UTF-8) as BINARY. */
  static List<Row> documents(Random random, int count) {
    int[][] ranges = {
      {' ', '~'},
      {'a', 'z'},
      {0xC0, 0x24F},
      {0x400, 0x4FF},
      {0x4E00, 0x9FFF},
      {0xAC00, 0xD7A3},
      {0x1F300, 0x1F6FF},
      {0x300, 0x36F},
      {'\t', '\r'},
      {0x10000, 0x10FFFF}
    };
    List<Row> documents = new ArrayList<>();
    for (int id = 0; id < count; id++) {
      StringBuilder text = new StringBuilder();
      int length = random.nextInt(id % 50 == 0 ? 5_000 : 200);
      int[] range = ranges[0];
      for (int i = 0; i < length; i++) {
        if (random.nextInt(8) == 0) {
          range = ranges[random.nextInt(ranges.length)];
        }
        text.appendCodePoint(range[0] + random.nextInt(range[1] - range[0] + 1));
      }
      byte[] bytes = new byte[random.nextInt(100)];
      random.nextBytes(bytes);
      documents.add(RowFactory.create(id, text.toString(), bytes));
    }
    return documents;
  }
}
