package dev.quern.sql;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.quern.sql.QuernConf.Entry;
import dev.quern.sql.QuernConf.Scope;
import dev.quern.tokenizer.LibraryOptions;
import dev.quern.tokenizer.LibraryOptions.Allocator;
import dev.quern.tokenizer.TokenizerSpec.Engine;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.apache.spark.SparkConf;
import org.apache.spark.sql.AnalysisException;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.internal.SQLConf;
import org.junit.jupiter.api.Test;

class QuernConfTest {
  private static final String BEGIN = "<!--BEGIN:CONF-->";
  private static final String END = "<!--END:CONF-->";

  @Test
  void readmeHasTheTableOfTheKeys() throws Exception {
    String text = Files.readString(TestSpark.CHECKOUT.resolve("README.md"));
    assertThat(text).contains(BEGIN, END);
    assertThat(text.substring(text.indexOf(BEGIN) + BEGIN.length(), text.indexOf(END)).strip())
        .as("the table of SQL keys in README.md; QuernConf.main prints the right one")
        .isEqualTo(QuernConf.toMarkdown().strip());
  }

  @Test
  void everyEntrySaysWhatItIs() {
    for (Entry<?> entry : QuernConf.entries()) {
      assertThat(entry.key()).matches("spark\\.quern(\\.[a-z][A-Za-z0-9]*)+(\\.<name>)?");
      assertThat(entry.doc()).as(entry.key()).endsWith(".").hasSizeGreaterThan(40);
      assertThat(entry.parse(null)).as(entry.key()).satisfies(value -> {});
    }
  }

  @Test
  void valuesAreTypedAndNamedWhenWrong() {
    SparkConf conf =
        new SparkConf(false)
            .set("spark.quern.allocator", "System")
            .set("spark.quern.library.path", "/opt/libquern.so")
            .set("spark.quern.tokenizers.ours", "hdfs://nn/t.json");
    assertThat(QuernConf.libraryOptions(conf))
        .isEqualTo(new LibraryOptions(Allocator.SYSTEM, Path.of("/opt/libquern.so"), null));
    assertThat(QuernConf.libraryOptions(new SparkConf(false))).isEqualTo(LibraryOptions.DEFAULT);
    assertThat(QuernConf.mappedTokenizers(conf)).isEqualTo(Map.of("ours", "hdfs://nn/t.json"));
    assertThat(QuernConf.ENGINE.value(new SQLConf())).isEqualTo(Engine.AUTO);
    assertThat(QuernConf.ALLOWED_TOKENIZER_PATHS.parse(" a:/b , c:/d,"))
        .containsExactly("a:/b", "c:/d");
    assertThat(QuernConf.TIKTOKEN_SPECIAL_TOKENS.parse("{\"<|x|>\": 7}"))
        .isEqualTo(Map.of("<|x|>", 7));
    assertThatThrownBy(() -> QuernConf.TIKTOKEN_SPECIAL_TOKENS.parse("{\"<|x|>\": -7}"))
        .hasMessageStartingWith("spark.quern.tiktoken.specialTokens: not a JSON object");
    for (String loose :
        List.of(
            "{\"a\": 7.9}",
            "{\"a\": 7.0}",
            "{\"a\": \"7\"}",
            "{\"a\": true}",
            "{\"a\": null}",
            "{\"a\": \"\"}",
            "{\"a\": 2147483648}",
            "{\"a\": 7} x",
            "{\"a\": 7} {}",
            "{\"a\": 7, \"a\": 8}",
            "[7]",
            "\"\"",
            "null")) {
      assertThatThrownBy(() -> QuernConf.TIKTOKEN_SPECIAL_TOKENS.parse(loose))
          .as(loose)
          .hasMessageStartingWith("spark.quern.tiktoken.specialTokens: not a JSON object");
    }
    assertThat(QuernConf.CACHE_BYTES_PER_THREAD.parse(null)).isEqualTo(32L << 20);
    assertThat(QuernConf.CACHE_BYTES_PER_THREAD.parse("1048576")).isEqualTo(1L << 20);
    for (String wrong : List.of("511k", "2g", "8 apples", "-1", "", "99999999t")) {
      assertThatThrownBy(() -> QuernConf.CACHE_BYTES_PER_THREAD.parse(wrong))
          .as(wrong)
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageStartingWith("spark.quern.cache.bytesPerThread: '" + wrong + "' is not");
    }
    assertThat(QuernConf.CACHE_TOKENIZERS.parse(" 12 ")).isEqualTo(12);
    for (String wrong : List.of("0", "1001", "many", "")) {
      assertThatThrownBy(() -> QuernConf.CACHE_TOKENIZERS.parse(wrong))
          .hasMessage(
              "spark.quern.cache.tokenizers: '" + wrong + "' is not a number from 1 to 1000");
    }
    assertThat(QuernConf.TIKTOKEN_PATTERN.parse(" ?\\S+ "))
        .as("spaces are of the expression")
        .contains(" ?\\S+ ");
    assertThat(
            FunctionOptions.parse(
                    Map.of("pattern", " x ", "engine", " auto "),
                    FunctionOptions.Option.OF_ENCODING,
                    new SQLConf())
                .pattern())
        .contains(" x ");
    assertThatThrownBy(() -> QuernConf.ALLOCATOR.parse("jemalloc"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessage("spark.quern.allocator: 'jemalloc' is not one of auto, mimalloc, system");
    assertThatThrownBy(() -> QuernConf.ALLOCATOR.value(new SQLConf()))
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("SparkConf only");
  }

  @Test
  void aSessionCanNotSetKeysOfTheApplication() {
    for (String key :
        List.of(
            "spark.quern.allocator",
            "spark.quern.cache.bytesPerThread",
            "spark.quern.library.path",
            "spark.quern.library.directory",
            "spark.quern.allowedTokenizerPaths",
            "spark.quern.tokenizers.words")) {
      assertThatThrownBy(() -> TestSpark.rows("SET " + key + "=x"))
          .isInstanceOf(AnalysisException.class)
          .hasMessageContaining("a session can't set " + key)
          .hasMessageContaining("--conf");
      assertThatThrownBy(() -> TestSpark.session().conf().set(key, "x"))
          .isInstanceOf(AnalysisException.class)
          .hasMessageContaining(key);
      assertThatThrownBy(() -> TestSpark.session().conf().unset(key))
          .isInstanceOf(AnalysisException.class)
          .hasMessageContaining(key);
    }
    assertThatThrownBy(() -> TestSpark.rows("SET spark.quern.tokenizers.other=/etc/passwd"))
        .isInstanceOf(AnalysisException.class)
        .hasMessageContaining("a session can't set spark.quern.tokenizers.other");
  }

  @Test
  void aSessionsKeysAreChecked() throws Exception {
    assertThatThrownBy(() -> TestSpark.rows("SET spark.quern.engine=slow"))
        .hasMessageContaining("spark.quern.engine: 'slow' is not one of auto, fast, reference");
    TestSpark.with(
        Map.of("spark.quern.engine", "reference"),
        () ->
            assertThat(TestSpark.rows("SET spark.quern.engine").get(0).getString(1))
                .isEqualTo("reference"));
    List<Row> described =
        TestSpark.session().sql("SET -v").filter("key LIKE 'spark.quern.%'").collectAsList();
    for (Entry<?> entry : QuernConf.entries()) {
      if (!entry.isFamily()) {
        assertThat(described)
            .as(entry.key())
            .anySatisfy(
                row -> {
                  assertThat(row.getString(0)).isEqualTo(entry.key());
                  assertThat(row.getString(2)).isEqualTo(entry.doc());
                });
      }
    }
  }

  @Test
  void unknownKeysOfTheApplicationAreNamed() {
    SparkConf conf =
        new SparkConf(false)
            .set("spark.quern.allocater", "system")
            .set("spark.quern.wholly.unrelated.words", "1")
            .set("spark.quern.tokenizers.fine", "x")
            .set("spark.quern.engine", "auto")
            .set("spark.other", "1");
    assertThat(QuernConf.unknownKeys(conf))
        .containsExactly(
            "unknown configuration key spark.quern.allocater:"
                + " did you mean spark.quern.allocator?",
            "unknown configuration key spark.quern.wholly.unrelated.words: nothing reads it");
  }

  @Test
  void nearestIsTheOneWithFewestChanges() {
    List<String> words = List.of("engine", "pattern", "special_tokens", "special_tokens_in_text");
    assertThat(QuernConf.nearest("engin", words)).contains("engine");
    assertThat(QuernConf.nearest("Patern", words)).contains("pattern");
    assertThat(QuernConf.nearest("special_token", words)).contains("special_tokens");
    assertThat(QuernConf.nearest("eng", words)).contains("engine");
    assertThat(QuernConf.nearest("colour", words)).isEmpty();
  }

  @Test
  void scopesAreAsDocumented() {
    assertThat(
            QuernConf.entries().stream()
                .filter(entry -> entry.scope() == Scope.APPLICATION)
                .map(Entry::key))
        .as("what decides security or memory")
        .containsExactlyInAnyOrder(
            "spark.quern.tokenizers.<name>",
            "spark.quern.allowedTokenizerPaths",
            "spark.quern.allocator",
            "spark.quern.cache.bytesPerThread",
            "spark.quern.cache.tokenizers",
            "spark.quern.library.path",
            "spark.quern.library.directory");
  }
}
