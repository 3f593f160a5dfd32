package dev.quern.sql;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.EncodeOptions.InvalidUtf8;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerSpec;
import dev.quern.tokenizer.TokenizerStatistics;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.apache.spark.sql.AnalysisException;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.streaming.StreamingQuery;
import org.apache.spark.sql.streaming.Trigger;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.unsafe.Platform;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import scala.jdk.javaapi.CollectionConverters;

class FunctionsTest {
  private static final List<Integer> HELLO = List.of(13225, 11, 2375);

  static List<String> waysToEvaluate() {
    return TestSpark.waysToEvaluate().keySet().stream().sorted().toList();
  }

  private static NativeTokenizer builtIn(String name) {
    TestSpark.session(); // Loads the library as the session's configuration says.
    TestSpark.rows("SELECT token_count('x', '" + name + "')");
    return NativeTokenizer.load(TokenizerSpec.builtIn(name));
  }

  private static List<Integer> list(int[] ids) {
    return Arrays.stream(ids).boxed().toList();
  }

  /** job/spark runs these tests with older versions of Spark, and says here which one it means. */
  @Test
  void sparkIsTheVersionThatIsMeant() {
    String version = TestSpark.session().version();
    assertThat(version).isEqualTo(System.getProperty("quern.spark.version", version));
  }

  // ---- Values ----------------------------------------------------------------------------------

  @ParameterizedTest
  @MethodSource("waysToEvaluate")
  void literalsColumnsNullsEmptyAndBinary(String way) throws Exception {
    TestSpark.with(
        TestSpark.waysToEvaluate().get(way),
        () -> {
          String rows =
              " FROM VALUES (1, 'Hello, world', X'48656C6C6F2C20776F726C64'), (2, '', X''),"
                  + " (3, NULL, NULL) AS t(id, s, b) ORDER BY id";
          List<Row> all =
              TestSpark.rows(
                  "SELECT tokenize(s), tokenize(b), try_tokenize(s), try_tokenize(b),"
                      + " token_count(s), token_count(b), detokenize(tokenize(s)),"
                      + " tokenize('Hello, world'), tokenize(NULL), token_count(NULL),"
                      + " detokenize(NULL), length(tokenizer_id())"
                      + rows);
          assertThat(all).hasSize(3);
          for (int column : new int[] {0, 1, 2, 3}) {
            assertThat(all.get(0).<Integer>getList(column)).isEqualTo(HELLO);
            assertThat(all.get(1).<Integer>getList(column)).isEmpty();
            assertThat(all.get(2).isNullAt(column)).isTrue();
          }
          for (int column : new int[] {4, 5}) {
            assertThat(all.get(0).getInt(column)).isEqualTo(3);
            assertThat(all.get(1).getInt(column)).isZero();
            assertThat(all.get(2).isNullAt(column)).isTrue();
          }
          assertThat(all.get(0).getString(6)).isEqualTo("Hello, world");
          assertThat(all.get(1).getString(6)).isEmpty();
          assertThat(all.get(2).isNullAt(6)).isTrue();
          for (Row row : all) {
            assertThat(row.<Integer>getList(7)).isEqualTo(HELLO);
            assertThat(row.isNullAt(8)).isTrue();
            assertThat(row.isNullAt(9)).isTrue();
            assertThat(row.isNullAt(10)).isTrue();
            assertThat(row.getInt(11)).isEqualTo(64);
          }
        });
  }

  @ParameterizedTest
  @MethodSource("waysToEvaluate")
  void idsAreTheNativeTokenizers(String way) throws Exception {
    long seed = Long.getLong("quern.seed", System.nanoTime());
    System.out.println("FunctionsTest#idsAreTheNativeTokenizers: repeat with -Dquern.seed=" + seed);
    List<Row> documents = TestSpark.documents(new Random(seed), 300);
    TestSpark.session()
        .createDataFrame(documents, TestSpark.DOCUMENTS)
        .createOrReplaceTempView("documents");
    try (NativeTokenizer o200k = builtIn("o200k_base");
        NativeTokenizer gpt2 = builtIn("gpt2")) {
      EncodeOptions replace = new EncodeOptions(false, InvalidUtf8.REPLACE);
      TestSpark.with(
          TestSpark.waysToEvaluate().get(way),
          () -> {
            List<Row> rows =
                TestSpark.rows(
                    "SELECT id, tokenize(text), token_count(text, 'gpt2'),"
                        + " tokenize(bytes, options => map('invalid_utf8', 'replace')),"
                        + " detokenize(tokenize(text)) FROM documents");
            assertThat(rows).hasSameSizeAs(documents);
            for (Row row : rows) {
              Row document = documents.get(row.getInt(0));
              String text = document.getString(1);
              byte[] bytes = document.getAs(2);
              assertThat(row.<Integer>getList(1)).as(text).isEqualTo(list(o200k.encode(text)));
              assertThat((long) row.getInt(2)).as(text).isEqualTo(gpt2.tokenCount(text));
              assertThat(row.<Integer>getList(3))
                  .as("bytes of document %s", row.getInt(0))
                  .isEqualTo(
                      list(
                          o200k
                              .encode(bytes, Platform.BYTE_ARRAY_OFFSET, bytes.length, replace)
                              .toArray()));
              assertThat(row.getString(4)).isEqualTo(text);
            }
          });
    }
  }

  @Test
  void everyCollationGivesTheSameIds() {
    for (String collation : List.of("UTF8_BINARY", "UTF8_LCASE", "UNICODE", "UNICODE_CI")) {
      assertThat(
              TestSpark.<List<Integer>>value(
                  "SELECT tokenize('Hello, world' COLLATE " + collation + ")"))
          .isEqualTo(HELLO);
    }
  }

  @Test
  void typesAndNullabilityAreKnown() {
    StructType schema =
        TestSpark.session()
            .sql(
                "SELECT tokenize(s), try_tokenize(s), token_count(s), detokenize(tokenize(s)),"
                    + " tokenizer_id(), tokenize(n) FROM (SELECT 'a' AS s, NULL AS n)")
            .schema();
    ArrayType ids = DataTypes.createArrayType(DataTypes.IntegerType, false);
    assertThat(schema.fields()[0].dataType()).isEqualTo(ids);
    assertThat(schema.fields()[1].dataType()).isEqualTo(ids);
    assertThat(schema.fields()[2].dataType()).isEqualTo(DataTypes.IntegerType);
    assertThat(schema.fields()[3].dataType()).isEqualTo(DataTypes.StringType);
    assertThat(schema.fields()[4].dataType()).isEqualTo(DataTypes.StringType);
    assertThat(Arrays.stream(schema.fields()).map(field -> field.nullable()))
        .containsExactly(false, true, false, false, false, true);
  }

  @Test
  void optionsDecideWhatLookAlikesAndTemplatesMean() throws Exception {
    String text = "'a<|endoftext|>'";
    assertThat(TestSpark.<List<Integer>>value("SELECT tokenize(" + text + ")"))
        .hasSizeGreaterThan(2);
    assertThat(
            TestSpark.<List<Integer>>value(
                "SELECT tokenize("
                    + text
                    + ", 'o200k_base', map('special_tokens_in_text', 'token'))"))
        .isEqualTo(List.of(64, 199999));
    TestSpark.with(
        Map.of("spark.quern.specialTokensInText", "token"),
        () ->
            assertThat(TestSpark.<List<Integer>>value("SELECT tokenize(" + text + ")"))
                .isEqualTo(List.of(64, 199999)));
    assertThat(TestSpark.<List<Integer>>value("SELECT tokenize('corn flour', 'words')"))
        .isEqualTo(List.of(2, 4));
    assertThat(
            TestSpark.<List<Integer>>value(
                "SELECT tokenize('corn flour', 'words', map('add_special_tokens', 'true'))"))
        .isEqualTo(List.of(0, 2, 4, 1));
    assertThat(
            TestSpark.<Integer>value(
                "SELECT token_count('corn', 'words', map('add_special_tokens', 'true'))"))
        .isEqualTo(3);
    assertThat(
            TestSpark.<String>value(
                "SELECT detokenize(array(64, 199999), options => map('skip_special_tokens', 'true'))"))
        .isEqualTo("a");
  }

  @Test
  void detokenizeTakesWhatPythonAndSqlCallArrays() {
    assertThat(TestSpark.<String>value("SELECT detokenize(array(13225L, 11L, 2375L))"))
        .isEqualTo("Hello, world");
    assertThat(TestSpark.<String>value("SELECT detokenize(array())")).isEmpty();
    assertThat(TestSpark.<String>value("SELECT detokenize(slice(tokenize('東'), 1, 1))"))
        .isNotNull();
    assertThat(
            TestSpark.<String>value(
                "SELECT detokenize(slice(tokenize('𓀀', 'gpt2'), 1, 1), 'gpt2')"))
        .as("a part of a character")
        .isEqualTo("\uFFFD");
    assertThatThrownBy(() -> TestSpark.rows("SELECT detokenize(array(1, NULL))"))
        .hasStackTraceContaining(
            "detokenize: the id at index 1 is NULL; remove it with array_compact");
    assertThatThrownBy(() -> TestSpark.rows("SELECT detokenize(array(5000000000))"))
        .hasStackTraceContaining(
            "detokenize: the id 5000000000 at index 0 is not in the vocabulary");
    assertThatThrownBy(() -> TestSpark.rows("SELECT detokenize(array(64, 123456789))"))
        .hasStackTraceContaining(
            "detokenize: the id at index 1 is not in the tokenizer's vocabulary");
  }

  // ---- Calls -----------------------------------------------------------------------------------

  @Test
  void argumentsByNameAndThroughTheDataFrameApi() {
    assertThat(
            TestSpark.<List<Integer>>value(
                "SELECT tokenize(tokenizer => 'cl100k_base', text => 'Hello, world')"))
        .isEqualTo(List.of(9906, 11, 1917));
    assertThat(
            TestSpark.<List<Integer>>value(
                "SELECT tokenize('Hello, world', options => map('engine', 'reference'))"))
        .isEqualTo(HELLO);
    assertThat(
            TestSpark.<List<Integer>>value(
                "SELECT tokenize('Hello, world', concat('o200k', '_base'))"))
        .isEqualTo(HELLO);
    Column call =
        functions.call_function("tokenize", functions.col("text"), functions.lit("cl100k_base"));
    assertThat(
            TestSpark.session()
                .sql("SELECT 'Hello, world' AS text")
                .select(call)
                .first()
                .<Integer>getList(0))
        .isEqualTo(List.of(9906, 11, 1917));
    assertThat(
            TestSpark.session()
                .sql("SELECT tokenize('Hello, world', :name)", Map.of("name", "cl100k_base"))
                .first()
                .<Integer>getList(0))
        .isEqualTo(List.of(9906, 11, 1917));
  }

  @Test
  void columnsAreNamedAsTheCallIsWritten() {
    assertThat(
            TestSpark.session()
                .sql(
                    "SELECT tokenize(s), token_count(s, 'gpt2'), try_tokenize(s, options =>"
                        + " map('engine', 'auto')), tokenizer_id('gpt2') FROM VALUES ('a') t(s)")
                .columns())
        .containsExactly(
            "tokenize(s)",
            "token_count(s, 'gpt2')",
            "try_tokenize(s, options => map('engine', 'auto'))",
            "tokenizer_id('gpt2')");
  }

  @Test
  void explainShowsTokenizerHashAndEngine() {
    String hash = TestSpark.value("SELECT tokenizer_id('cl100k_base')");
    String plan =
        TestSpark.rows(
                "EXPLAIN SELECT tokenize(text, 'cl100k_base') FROM"
                    + " (SELECT string(id) AS text FROM range(3))")
            .get(0)
            .getString(0);
    assertThat(plan).contains("cl100k_base " + hash.substring(0, 12) + " fast");
  }

  @Test
  void equalCallsAreOne() {
    Dataset<Row> rows = TestSpark.session().sql("SELECT string(id) AS s FROM range(3)");
    Expression gpt2 = expression(rows, "tokenize(s, 'gpt2')");
    Expression sameByOtherName = expression(rows, "tokenize(s, 'r50k_base')");
    Expression other = expression(rows, "tokenize(s, 'cl100k_base')");
    Expression otherOptions =
        expression(rows, "tokenize(s, 'gpt2', map('add_special_tokens', 'true'))");
    Expression tolerant = expression(rows, "try_tokenize(s, 'gpt2')");
    assertThat(gpt2.semanticEquals(sameByOtherName)).isTrue();
    assertThat(gpt2).isEqualTo(sameByOtherName).hasSameHashCodeAs(sameByOtherName);
    assertThat(gpt2.canonicalized().hashCode())
        .isEqualTo(sameByOtherName.canonicalized().hashCode());
    for (Expression different : List.of(other, otherOptions, tolerant)) {
      assertThat(gpt2).isNotEqualTo(different);
      assertThat(gpt2.semanticEquals(different)).isFalse();
    }
    assertThat(gpt2.deterministic()).isTrue();
    assertThat(gpt2.foldable()).isFalse();
  }

  private static Expression expression(Dataset<Row> rows, String call) {
    var plan =
        ((org.apache.spark.sql.classic.Dataset<Row>) rows.selectExpr(call + " AS c"))
            .queryExecution()
            .analyzed();
    return CollectionConverters.asJava(plan.expressions()).get(0).children().head();
  }

  @Test
  void callsAreCompiledAndEqualOnesEvaluatedOnce() throws Exception {
    for (String wholeStage : List.of("true", "false")) {
      TestSpark.with(
          Map.of(
              "spark.sql.codegen.wholeStage", wholeStage,
              "spark.sql.codegen.factoryMode", "CODEGEN_ONLY",
              "spark.sql.codegen.fallback", "false"),
          () -> {
            Dataset<Row> rows =
                TestSpark.session()
                    .range(0, 500, 1, 4)
                    .selectExpr("concat('a b ', id) AS t")
                    .selectExpr(
                        "tokenize(t) AS ids", "size(tokenize(t))", "element_at(tokenize(t), 1)");
            long before = TokenizerStatistics.snapshot().documents();
            assertThat(rows.collectAsList()).hasSize(500);
            assertThat(TokenizerStatistics.snapshot().documents() - before).isEqualTo(500);
          });
    }
    var plan =
        ((org.apache.spark.sql.classic.Dataset<Row>)
                TestSpark.session().sql("SELECT tokenize(string(id)) FROM range(9)"))
            .queryExecution()
            .executedPlan();
    assertThat(org.apache.spark.sql.execution.debug.package$.MODULE$.codegenString(plan))
        .contains("((dev.quern.sql.TokenizerCall) references[")
        .contains(".tokenize(");
  }

  @Test
  void constantsAreFolded() {
    var plan =
        ((org.apache.spark.sql.classic.Dataset<Row>)
                TestSpark.session().sql("SELECT size(tokenize('Hello, world')) + id FROM range(1)"))
            .queryExecution()
            .optimizedPlan()
            .toString();
    assertThat(plan).contains("(id#").contains(" + 3)");
  }

  // ---- Where calls stand -----------------------------------------------------------------------

  @Test
  void viewsKeepTheTokenizerOfTheSessionThatMadeThem() throws Exception {
    TestSpark.with(
        Map.of("spark.quern.tokenizer", "cl100k_base"),
        () ->
            TestSpark.rows(
                "CREATE OR REPLACE TEMPORARY VIEW ids AS SELECT tokenize('Hello, world') i"));
    assertThat(TestSpark.<List<Integer>>value("SELECT i FROM ids"))
        .isEqualTo(List.of(9906, 11, 1917));
    assertThat(TestSpark.<List<Integer>>value("SELECT tokenize('Hello, world')")).isEqualTo(HELLO);
  }

  @Test
  void persistentViewsToo() throws Exception {
    try {
      TestSpark.with(
          Map.of("spark.quern.tokenizer", "cl100k_base"),
          () -> TestSpark.rows("CREATE VIEW kept_ids AS SELECT tokenize('Hello, world') i"));
      assertThat(TestSpark.<List<Integer>>value("SELECT i FROM kept_ids"))
          .isEqualTo(List.of(9906, 11, 1917));
    } finally {
      TestSpark.rows("DROP VIEW IF EXISTS kept_ids");
    }
  }

  @Test
  void tablesAggregatesJoinsCachesAndSqlFunctions() throws Exception {
    TestSpark.session()
        .range(0, 2_000, 1, 8)
        .selectExpr("id", "concat('document number ', id) AS text")
        .createOrReplaceTempView("numbered");
    long expected =
        IntStream.range(0, 2_000).mapToLong(id -> builtInCount("document number " + id)).sum();
    TestSpark.rows(
        "CREATE TABLE token_table USING parquet AS SELECT id, tokenize(text) AS ids FROM numbered");
    TestSpark.rows("CREATE TEMPORARY FUNCTION tokens(t STRING) RETURNS INT RETURN token_count(t)");
    try {
      assertThat(TestSpark.<Long>value("SELECT sum(size(ids)) FROM token_table"))
          .isEqualTo(expected);
      for (String adaptive : List.of("true", "false")) {
        TestSpark.with(
            Map.of("spark.sql.adaptive.enabled", adaptive),
            () -> {
              assertThat(TestSpark.<Long>value("SELECT sum(token_count(text)) FROM numbered"))
                  .isEqualTo(expected);
              assertThat(
                      TestSpark.<Long>value(
                          "SELECT sum(n * c) FROM (SELECT token_count(text) AS n, count(*) AS c"
                              + " FROM numbered GROUP BY token_count(text))"))
                  .isEqualTo(expected);
              assertThat(
                      TestSpark.<Long>value(
                          "SELECT count(*) FROM token_table t JOIN numbered n ON t.id = n.id"
                              + " AND t.ids = tokenize(n.text)"))
                  .isEqualTo(2_000L);
            });
      }
      assertThat(TestSpark.<Long>value("SELECT sum(tokens(text)) FROM numbered"))
          .isEqualTo(expected);
      Dataset<Row> cached =
          TestSpark.session().sql("SELECT tokenize(text) AS ids, text FROM numbered").cache();
      try {
        assertThat(cached.selectExpr("sum(size(ids))").first().getLong(0)).isEqualTo(expected);
        assertThat(cached.selectExpr("sum(token_count(text))").first().getLong(0))
            .isEqualTo(expected);
        assertThat(cached.where("detokenize(ids) = text").count()).isEqualTo(2_000L);
      } finally {
        cached.unpersist(true);
      }
    } finally {
      TestSpark.rows("DROP TABLE token_table");
      TestSpark.rows("DROP TEMPORARY FUNCTION tokens");
    }
  }

  private static long builtInCount(String text) {
    return TokenizerReference.resolve(TestSpark.session(), null, Map.of(), false)
        .open()
        .tokenCount(text);
  }

  @Test
  void offHeapAndDictionaryColumnsOfParquet(@TempDir Path folder) throws Exception {
    List<Row> documents = TestSpark.documents(new Random(7), 200);
    String path = folder.resolve("documents.parquet").toUri().toString();
    TestSpark.session()
        .createDataFrame(documents, TestSpark.DOCUMENTS)
        .selectExpr("id", "text", "concat('part ', id % 3) AS repeated")
        .write()
        .parquet(path);
    for (String offHeap : List.of("true", "false")) {
      TestSpark.with(
          Map.of("spark.sql.columnVector.offheap.enabled", offHeap),
          () -> {
            Dataset<Row> read = TestSpark.session().read().parquet(path);
            for (Row row :
                read.selectExpr("id", "tokenize(text)", "detokenize(tokenize(repeated))")
                    .collectAsList()) {
              String text = documents.get(row.getInt(0)).getString(1);
              assertThat((long) row.getList(1).size()).isEqualTo(builtInCount(text));
              assertThat(row.getString(2)).isEqualTo("part " + row.getInt(0) % 3);
            }
          });
    }
  }

  @Test
  void streams(@TempDir Path folder) throws Exception {
    Files.writeString(folder.resolve("a.txt"), "Hello, world\n\ncorn\n");
    Dataset<Row> lines =
        TestSpark.session()
            .readStream()
            .text(folder.toUri().toString())
            .selectExpr("value", "tokenize(value) AS ids");
    StreamingQuery query =
        lines
            .writeStream()
            .format("memory")
            .queryName("streamed")
            .trigger(Trigger.AvailableNow())
            .start();
    query.awaitTermination();
    assertThat(
            TestSpark.<List<Integer>>value("SELECT ids FROM streamed WHERE value = 'Hello, world'"))
        .isEqualTo(HELLO);
    assertThat(TestSpark.<Long>value("SELECT count(*) FROM streamed")).isEqualTo(3L);
  }

  // ---- Errors ----------------------------------------------------------------------------------

  @ParameterizedTest
  @MethodSource("waysToEvaluate")
  void badDocumentsAreErrorsThatSayWhatToDo(String way) throws Exception {
    TestSpark.with(
        TestSpark.waysToEvaluate().get(way),
        () -> {
          // 'ab', then the first byte of a character without its second one.
          for (String text : List.of("X'6162C3'", "CAST(X'6162C3' AS STRING)")) {
            for (String function : List.of("tokenize", "token_count")) {
              assertThatThrownBy(() -> TestSpark.rows("SELECT " + function + "(" + text + ")"))
                  .hasStackTraceContaining(
                      function
                          + ": the text is not UTF-8 at byte 2; give the option 'invalid_utf8' the"
                          + " value 'replace', or set spark.quern.invalidUtf8 to it");
            }
            assertThatThrownBy(() -> TestSpark.rows("SELECT tokenize(" + text + ")"))
                .hasStackTraceContaining("or use try_tokenize");
            assertThat(TestSpark.<Object>value("SELECT try_tokenize(" + text + ")")).isNull();
            assertThat(
                    TestSpark.<Object>value(
                        "SELECT tokenize(" + text + ", options => map('invalid_utf8', 'replace'))"))
                .isEqualTo(TestSpark.<Object>value("SELECT tokenize('ab\uFFFD')"));
          }
          String error = "map('special_tokens_in_text', 'error')";
          assertThatThrownBy(
                  () ->
                      TestSpark.rows(
                          "SELECT tokenize('ab<|endoftext|>', options => " + error + ")"))
              .hasStackTraceContaining("tokenize: the text has a special token at byte 2")
              .hasStackTraceContaining("'special_tokens_in_text'");
          assertThat(
                  TestSpark.<Object>value(
                      "SELECT try_tokenize('ab<|endoftext|>', options => " + error + ")"))
              .isNull();
          assertThatThrownBy(() -> TestSpark.rows("SELECT tokenize('corn gold', 'words')"))
              .hasStackTraceContaining("or use try_tokenize");
          assertThat(TestSpark.<Object>value("SELECT try_tokenize('corn gold', 'words')")).isNull();
        });
  }

  @Test
  void wrongCallsAreErrorsOfAnalysis() {
    fails(
        "tokenize(3)",
        "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
        "first (`text`)",
        "\"STRING\" or \"BINARY\"",
        "\"INT\"");
    fails(
        "token_count(array('a'))", "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE", "\"ARRAY<STRING>\"");
    fails(
        "detokenize('a')",
        "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE",
        "first (`ids`)",
        "\"ARRAY<INT>\"");
    fails("detokenize(array(1.5))", "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE");
    fails("tokenize()", "the argument `text` is missing; it takes text, tokenizer, options");
    fails("tokenizer_id('gpt2', map(), 1)", "there are 3 arguments; it takes tokenizer, options");
    fails("tokenize('a', model => 'gpt2')", "no argument named `model`; it takes text, tokenizer");
    fails("tokenize('a', text => 'b')", "the argument `text` is given twice");
    fails("tokenize('a', tokenizer => 'gpt2', map())", "argument 3 has no name", "name it as well");
    fails("tokenize('a', 3)", "the argument `tokenizer` has to be a STRING, and 3 is of type INT");
    fails("tokenize('a', NULL)", "the argument `tokenizer` has to be a STRING");
    fails("tokenize('a', CAST(NULL AS STRING))", "the argument `tokenizer` is NULL; leave it out");
    fails("tokenize(s, options => map('engine', s))", "`options` has to be a constant", "map(");
    fails("tokenize('a', options => 'engine')", "`options` has to be a MAP<STRING, STRING>");
    fails(
        "tokenize('a', options => map('add_special_tokens', true))",
        "MAP<STRING, STRING>",
        "MAP<STRING, BOOLEAN>");
    fails(
        "tokenize('a', options => map('engin', 'auto'))",
        "no option 'engin' here, did you mean 'engine'?",
        "add_special_tokens, engine");
    fails(
        "tokenize('a', options => map('skip_special_tokens', 'true'))",
        "no option 'skip_special_tokens' here");
    fails(
        "tokenize('a', options => map('engine', CAST(NULL AS STRING)))",
        "the option 'engine' is NULL");
    fails(
        "tokenize('a', options => map('engine', 'slow'))",
        "the option 'engine': 'slow' is not one of auto, fast, reference");
    fails(
        "tokenize('a', options => map('add_special_tokens', 'yes'))",
        "'yes' is not one of true, false");
    fails("tokenize('a', options => map('pattern', 'gpt2'))", "built-in tokenizer", "pattern");
    fails("tokenize('a', 'words', map('engine', 'fast'))", "words", "\"fast\"", "WordLevel");
    fails(
        "tokenize('a', 'cl100k')",
        "there is no tokenizer 'cl100k', did you mean 'cl100k_base'?",
        "o200k_base",
        "words",
        "spark.quern.tokenizers.cl100k");
  }

  private static void fails(String call, String... parts) {
    assertThatThrownBy(() -> TestSpark.rows("SELECT " + call + " FROM VALUES ('a') AS t(s)"))
        .as(call)
        .isInstanceOf(AnalysisException.class)
        .message()
        .contains(parts)
        .contains(call.substring(0, call.indexOf('(')));
  }
}
