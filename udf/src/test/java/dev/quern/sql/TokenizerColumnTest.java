package dev.quern.sql;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.streaming.Trigger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Calls whose tokenizer a column names. */
class TokenizerColumnTest {
  @ParameterizedTest
  @MethodSource("dev.quern.sql.FunctionsTest#waysToEvaluate")
  void eachRowByItsTokenizer(String way) throws Exception {
    TestSpark.with(
        TestSpark.waysToEvaluate().get(way),
        () -> {
          String names = "VALUES ('gpt2'), ('cl100k_base'), (' o200k_base '), ('unigram')";
          for (Row row :
              TestSpark.rows(
                  "SELECT name, tokenize('Hello, world', name), try_tokenize('Hello, world', name),"
                      + " token_count('Hello, world', name),"
                      + " detokenize(tokenize('Hello, world', name), name), tokenizer_id(name),"
                      + " truncate_tokens('Hello, world', 2, name),"
                      + " chunk_tokens('Hello, world', 3, 1, name).text,"
                      + " tokenize_with_offsets('Hello, world', name).id,"
                      + " token_count('Hello', tokenizer => name, options =>"
                      + " map('engine', 'reference')) FROM "
                      + names
                      + " AS t(name)")) {
            String constant = "'" + row.getString(0) + "'";
            assertThat(row.getList(1))
                .isEqualTo(TestSpark.value("SELECT tokenize('Hello, world', " + constant + ")"));
            assertThat(row.getList(2)).isEqualTo(row.getList(1));
            assertThat(row.getInt(3)).isEqualTo(row.getList(1).size());
            assertThat(row.getString(4))
                .isEqualTo(
                    TestSpark.value(
                        "SELECT detokenize(tokenize('Hello, world', :n), :n)"
                            .replace(":n", constant)));
            assertThat(row.getString(5))
                .isEqualTo(TestSpark.value("SELECT tokenizer_id(" + constant + ")"));
            assertThat(row.getString(6))
                .isEqualTo(
                    TestSpark.value("SELECT truncate_tokens('Hello, world', 2, " + constant + ")"));
            assertThat(row.getList(7))
                .isEqualTo(
                    TestSpark.value(
                        "SELECT chunk_tokens('Hello, world', 3, 1, " + constant + ").text"));
            assertThat(row.getList(8)).isEqualTo(row.getList(1));
            assertThat(row.getInt(9))
                .isEqualTo(
                    TestSpark.<Integer>value("SELECT token_count('Hello', " + constant + ")"));
          }
        });
  }

  @ParameterizedTest
  @MethodSource("dev.quern.sql.FunctionsTest#waysToEvaluate")
  void nullNamesGiveNullAndOthersAreErrors(String way) throws Exception {
    TestSpark.with(
        TestSpark.waysToEvaluate().get(way),
        () -> {
          assertThat(
                  TestSpark.rows(
                          "SELECT tokenize('a', n) IS NULL AND token_count('a', n) IS NULL AND"
                              + " tokenizer_id(n) IS NULL FROM VALUES (string(NULL)) t(n)")
                      .get(0)
                      .getBoolean(0))
              .isTrue();
          for (String function : List.of("tokenize", "try_tokenize", "token_count")) {
            for (String name :
                List.of("gpt3", TestSpark.ALLOWED.resolve("words.json").toString())) {
              assertThatThrownBy(
                      () ->
                          TestSpark.rows(
                              "SELECT " + function + "('a', n) FROM VALUES ('" + name + "') t(n)"))
                  .hasStackTraceContaining(function + ": ")
                  .hasStackTraceContaining("is not the name of a tokenizer. A column may name")
                  .hasStackTraceContaining("cl100k_base, gone, gpt2")
                  .hasStackTraceContaining("spark.quern.tokenizers.<name>")
                  .hasStackTraceContaining("never a path or URI");
            }
          }
        });
  }

  @Test
  void aDocumentIsNeverRepeated() {
    assertThatThrownBy(
            () ->
                TestSpark.rows(
                    "SELECT tokenize(t, t) FROM VALUES ('"
                        + TestSpark.SECRET
                        + " and more') AS d(t)"))
        .hasStackTraceContaining("what this row has is not the name of a tokenizer")
        .message()
        .doesNotContain(TestSpark.SECRET);
  }

  @Test
  void whatCanNotBeLoadedFailsOnlyRowsThatNameIt() {
    String query = "SELECT n, token_count('a', n) FROM VALUES ('gpt2'), ('gone') AS t(n)";
    assertThat(TestSpark.rows(query + " WHERE n <> 'gone'")).hasSize(1);
    assertThatThrownBy(() -> TestSpark.rows(query))
        .hasStackTraceContaining(
            "token_count: the tokenizer 'gone' can't be loaded: there is no file");
    // Its file has no pattern option, and the others may not have one.
    assertThatThrownBy(
            () ->
                TestSpark.rows(
                    "SELECT token_count('a', n, map('pattern', 'gpt2')) FROM VALUES ('gpt2') AS t(n)"))
        .hasStackTraceContaining("leave out the options pattern");
  }

  /** More of them than the JVM keeps open, row by row, in two tasks at once. */
  @Test
  void moreTokenizersThanAreKept() {
    List<String> names =
        IntStream.range(0, TestSpark.GOLDENS.size() + 4)
            .mapToObj(
                i ->
                    i < 4
                        ? List.of("gpt2", "p50k_base", "cl100k_base", "o200k_base").get(i)
                        : TestSpark.GOLDENS.get(i - 4))
            .toList();
    assertThat(names).hasSizeGreaterThan(TokenizerReference.keptOpen());
    String list = "array('" + String.join("', '", names) + "')";
    List<Row> counts =
        TestSpark.rows(
            "SELECT n, collect_set(c) FROM (SELECT element_at("
                + list
                + ", int(id % "
                + names.size()
                + ") + 1) AS n, token_count('one two', n) AS c FROM range(0, 88, 1, 2)) GROUP BY n");
    assertThat(counts).hasSameSizeAs(names);
    for (Row row : counts) {
      assertThat(row.<Integer>getList(1))
          .containsExactly(
              TestSpark.<Integer>value(
                  "SELECT token_count('one two', '" + row.getString(0) + "')"));
    }
  }

  @Test
  void plansSayWhatMayBeNamed() {
    String hash = TestSpark.value("SELECT tokenizer_id('cl100k_base')");
    String query = "SELECT tokenize(n, n) FROM VALUES ('gpt2'), ('cl100k_base') AS t(n)";
    assertThat(TestSpark.<String>value("EXPLAIN EXTENDED " + query))
        .contains("by name: byte-level-bpe ")
        .contains("cl100k_base " + hash.substring(0, 12) + " fast | ")
        .contains("gone (can't be loaded) | ");
    assertThat(TestSpark.session().sql(query).columns()).containsExactly("tokenize(n, n)");
  }

  @Test
  void streamsAndPermanentViews(@TempDir Path folder) throws Exception {
    Files.writeString(folder.resolve("a.csv"), "Hello,gpt2\nHello,cl100k_base\n");
    Dataset<Row> counted =
        TestSpark.session()
            .readStream()
            .schema("t STRING, n STRING")
            .csv(folder.toUri().toString())
            .selectExpr("n", "token_count(t, n) AS c");
    counted
        .writeStream()
        .format("memory")
        .queryName("counted_by_name")
        .trigger(Trigger.AvailableNow())
        .start()
        .awaitTermination();
    assertThat(TestSpark.<Long>value("SELECT sum(c) FROM counted_by_name")).isEqualTo(2L);
    TestSpark.rows(
        "CREATE VIEW counts_by_name AS SELECT token_count('Hello', n) AS c FROM VALUES ('gpt2')"
            + " AS t(n)");
    try {
      assertThat(TestSpark.<Integer>value("SELECT c FROM counts_by_name")).isEqualTo(1);
    } finally {
      TestSpark.rows("DROP VIEW counts_by_name");
    }
  }
}
