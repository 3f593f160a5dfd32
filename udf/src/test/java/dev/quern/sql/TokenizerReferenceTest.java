package dev.quern.sql;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.QuernLibrary;
import dev.quern.tokenizer.TokenizerException;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkFiles;
import org.apache.spark.sql.AnalysisException;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TokenizerReferenceTest {
  private static final SparkSession SESSION = TestSpark.session();
  private static final String BYTES =
      TestSpark.ALLOWED.resolve("bytes.tiktoken").toUri().toString();

  private static TokenizerReference resolve(String name, Map<String, String> options) {
    return TokenizerReference.resolve(SESSION, name, options, false);
  }

  // ---- Loading and sharing ---------------------------------------------------------------------

  @Test
  void manyTasksLoadOneTokenizer() {
    long before = QuernLibrary.tokenizersLoaded();
    // Special tokens that no other test has: content that is not loaded yet.
    String call =
        "token_count(concat('the ', id), '"
            + BYTES
            + "',"
            + " map('pattern', '\\\\w+|\\\\W+', 'special_tokens', '{\"<one-load>\": 300}'))";
    assertThat(
            SESSION
                .range(0, 6_400, 1, 64)
                .selectExpr(call + " AS n")
                .selectExpr("sum(n)")
                .first()
                .getLong(0))
        .isPositive();
    assertThat(SESSION.range(0, 64, 1, 32).selectExpr(call).collectAsList()).hasSize(64);
    assertThat(QuernLibrary.tokenizersLoaded() - before).isEqualTo(1);
  }

  @Test
  void openGivesTheSameTokenizerToAll() throws Exception {
    TokenizerReference reference = resolve("gpt2", Map.of());
    TokenizerReference received = copyThroughSerialization(reference);
    assertThat(received).isEqualTo(reference).hasSameHashCodeAs(reference);
    assertThat(received.open()).isSameAs(reference.open());
    assertThat(received.name()).isEqualTo("gpt2");
    assertThat(received.engine()).isEqualTo("fast");
    assertThat(received.contentHash())
        .matches("[0-9a-f]{64}")
        .isEqualTo(received.open().contentHash());
    assertThat(received.toString())
        .isEqualTo("gpt2 " + received.contentHash().substring(0, 12) + " fast");
    try (ByteArrayOutputStream bytes = new ByteArrayOutputStream()) {
      new ObjectOutputStream(bytes).writeObject(reference);
      assertThat(bytes.size()).as("a task carries no tokenizer file").isLessThan(10_000);
    }
  }

  private static TokenizerReference copyThroughSerialization(TokenizerReference reference)
      throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(reference);
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      return (TokenizerReference) in.readObject();
    }
  }

  @Test
  void theSameTokenizerByTheReferenceEngine() {
    TokenizerReference reference = resolve("gpt2", Map.of());
    TokenizerReference judge = reference.ofReferenceEngine();
    assertThat(judge.engine()).isEqualTo("reference").isEqualTo(judge.open().engine());
    assertThat(judge.open().contentHash()).isEqualTo(reference.contentHash());
    assertThat(judge.broadcast()).isSameAs(reference.broadcast());
  }

  @Test
  void equalContentSharesOneBroadcast() {
    TokenizerReference first = resolve("cl100k_base", Map.of());
    assertThat(resolve("cl100k_base", Map.of())).isSameAs(first);
    TokenizerReference gpt2 = resolve("gpt2", Map.of());
    TokenizerReference r50k = resolve("r50k_base", Map.of());
    assertThat(r50k).isEqualTo(gpt2);
    assertThat(r50k.broadcast()).isSameAs(gpt2.broadcast());
    assertThat(r50k.name()).isEqualTo("r50k_base");
    TokenizerReference byUri =
        resolve(TestSpark.ALLOWED.resolve("words.json").toString(), Map.of());
    assertThat(byUri.broadcast()).isSameAs(resolve("words", Map.of()).broadcast());
    assertThat(resolve("gpt2", Map.of("special_tokens_in_text", "token"))).isNotEqualTo(gpt2);
  }

  @Test
  void aChangedFileIsAnotherTokenizer(@TempDir Path folder) throws Exception {
    Path file = folder.resolve("words.json");
    Files.writeString(file, TestSpark.WORDS_JSON);
    TokenizerReference corn = TokenizerReference.resolve(SESSION, file.toString(), Map.of(), true);
    // The same length, and within the same second as far as a coarse clock can tell.
    Files.writeString(file, TestSpark.WORDS_JSON.replace("\"corn\"", "\"rice\""));
    TokenizerReference rice = TokenizerReference.resolve(SESSION, file.toString(), Map.of(), true);
    assertThat(rice).isNotEqualTo(corn);
    assertThat(rice.open().encode("rice")).containsExactly(2);
    assertThat(corn.open().encode("corn")).containsExactly(2);

    Files.setLastModifiedTime(file, FileTime.from(Instant.now().minusSeconds(3_600)));
    TokenizerReference settled =
        TokenizerReference.resolve(SESSION, file.toString(), Map.of(), true);
    assertThat(settled).isEqualTo(rice);
    assertThat(TokenizerReference.resolve(SESSION, file.toString(), Map.of(), true))
        .as("read once while its time and length stay")
        .isSameAs(settled);
    Files.writeString(file, TestSpark.WORDS_JSON);
    assertThat(TokenizerReference.resolve(SESSION, file.toString(), Map.of(), true))
        .isEqualTo(corn);
  }

  @Test
  void moreTokenizersThanAreKeptOpenStillWork() {
    TokenizerReference first = tiktoken(0);
    NativeTokenizer opened = first.open();
    for (int i = 1; i < 12; i++) {
      assertThat(tiktoken(i).open().encode("the")).containsExactly(257);
    }
    assertThat(opened.encode("the")).as("still in use").containsExactly(257);
    assertThat(first.open().contentHash()).isEqualTo(opened.contentHash());
  }

  private static TokenizerReference tiktoken(int number) {
    return resolve(
        BYTES, Map.of("pattern", "\\w+|\\W+", "special_tokens", "{\"<" + number + ">\": 400}"));
  }

  // ---- Names and files -------------------------------------------------------------------------

  @Test
  void namesMeanBuiltInsMappedFilesShippedFilesAndUris() throws Exception {
    assertThat(TestSpark.<List<Integer>>value("SELECT tokenize('stone', 'words')"))
        .isEqualTo(List.of(3));
    assertThat(TestSpark.<List<Integer>>value("SELECT tokenize('husks', 'shipped.json')"))
        .isEqualTo(List.of(4));
    String uri = TestSpark.ALLOWED.resolve("words.json").toUri().toString();
    assertThat(TestSpark.<List<Integer>>value("SELECT tokenize('stone', '" + uri + "')"))
        .isEqualTo(List.of(3));
    TestSpark.with(
        Map.of("spark.quern.tokenizer", "words"),
        () ->
            assertThat(TestSpark.<Integer>value("SELECT token_count('corn stone')")).isEqualTo(2));
  }

  @Test
  void tiktokenFilesNeedAPattern() throws Exception {
    assertThatThrownBy(() -> resolve(BYTES, Map.of()))
        .isInstanceOf(TokenizerException.class)
        .hasMessageContaining("option pattern")
        .hasMessageContaining("spark.quern.tiktoken.pattern");
    assertThat(resolve(BYTES, Map.of("pattern", "gpt2")).open().encode("the")).containsExactly(257);
    TestSpark.with(
        Map.of(
            "spark.quern.tiktoken.pattern", "cl100k_base",
            "spark.quern.tiktoken.specialTokens", "{\"<|end|>\": 500}",
            "spark.quern.specialTokensInText", "token"),
        () -> {
          assertThat(
                  TestSpark.<List<Integer>>value("SELECT tokenize('the<|end|>', '" + BYTES + "')"))
              .isEqualTo(List.of(257, 500));
          // What the session says of .tiktoken files is nothing to other kinds.
          assertThat(TestSpark.<Integer>value("SELECT token_count('corn', 'words')")).isEqualTo(1);
          assertThat(TestSpark.<Integer>value("SELECT token_count('corn')")).isPositive();
        });
  }

  @Test
  void sqlLoadsOnlyAllowedFiles(@TempDir Path folder) throws Exception {
    Path secret = folder.resolve("words.json");
    Files.writeString(secret, TestSpark.WORDS_JSON);
    Path beside = Files.createDirectories(TestSpark.FOLDER.resolve("allowed-not"));
    Files.writeString(beside.resolve("words.json"), TestSpark.WORDS_JSON);
    Path link = TestSpark.ALLOWED.resolve("link.json");
    Files.deleteIfExists(link);
    Files.createSymbolicLink(link, secret);
    for (String path :
        List.of(
            secret.toString(),
            secret.toUri().toString(),
            beside.resolve("words.json").toString(),
            TestSpark.ALLOWED + "/../allowed-not/words.json",
            "file:" + TestSpark.ALLOWED + "/../../" + folder.getFileName() + "/words.json",
            link.toString(),
            "FILE://" + link,
            "File:" + link,
            "FILE:" + secret,
            "/no/such/file.json",
            "hdfs://elsewhere/y/words.json")) {
      assertThatThrownBy(() -> TestSpark.rows("SELECT tokenize('corn', '" + path + "')"))
          .as(path)
          .isInstanceOf(AnalysisException.class)
          .hasMessageContaining("SQL may not load the tokenizer file '" + path + "'")
          .hasMessageContaining("spark.quern.allowedTokenizerPaths")
          .hasMessageContaining("spark.quern.tokenizers.<name>");
    }
    Path inside = TestSpark.ALLOWED.resolve("words.json");
    SparkConf conf = new SparkConf(false).set("spark.quern.allowedTokenizerPaths", "FILE:/");
    assertThat(locate(conf, link.toString()))
        .as("what is opened is what was checked, not the link")
        .contains("file:" + secret.toRealPath());
    assertThat(locate(conf, inside.toString())).contains("file:" + inside);
    Files.delete(link);
    assertThat(
            TokenizerReference.resolve(SESSION, secret.toString(), Map.of(), true)
                .open()
                .encode("corn"))
        .as("whoever starts the application may name any file")
        .containsExactly(2);
  }

  @Test
  void theApplicationDecidesWhatNamesMean() {
    Configuration hadoop = new Configuration();
    SparkConf conf =
        new SparkConf(false)
            .set("spark.quern.tokenizer", "hdfs://nn/default/tokenizer.json")
            .set("spark.quern.tokenizers.ours", "s3a://bucket/ours.json")
            .set("spark.quern.tokenizers.gpt2", "s3a://bucket/ours.json")
            .set("spark.quern.allowedTokenizerPaths", "file:/, s3a://bucket/open");
    assertThat(locate(conf, "o200k_base")).isEmpty();
    assertThat(locate(conf, "ours")).contains("s3a://bucket/ours.json");
    assertThat(locate(conf, "hdfs://nn/default/tokenizer.json"))
        .as("the application's own default needs no further permission")
        .contains("hdfs://nn/default/tokenizer.json");
    assertThat(locate(conf, "file:/opt/t.json")).contains("file:/opt/t.json");
    assertThatThrownBy(() -> locate(conf, "hdfs://nn/default/other.json"))
        .hasMessageContaining("SQL may not load");
    assertThatThrownBy(() -> locate(conf, "gpt2"))
        .hasMessageContaining("spark.quern.tokenizers.gpt2")
        .hasMessageContaining("choose another name");
    assertThat(
            TokenizerResolver.locate(conf, hadoop, "hdfs://nn/default/other.json", true)
                .map(Object::toString))
        .contains("hdfs://nn/default/other.json");
  }

  private static Optional<String> locate(SparkConf conf, String name) {
    return TokenizerResolver.locate(conf, new Configuration(), name, false).map(Object::toString);
  }

  @Test
  void whatASessionSetsOfFileSystemsDoesNotCount() throws Exception {
    TestSpark.with(
        Map.of("fs.defaultFS", "nothing://nowhere", "spark.hadoop.fs.defaultFS", "nothing://x"),
        () -> {
          String file = TestSpark.ALLOWED.resolve("words.json").toString();
          assertThat(resolve(file, Map.of()).open().encode("corn")).containsExactly(2);
        });
    // Not asked at all: this file system does not answer.
    SparkConf conf =
        new SparkConf(false)
            .set(
                "spark.quern.allowedTokenizerPaths", "hdfs://nn.invalid/x, hdfs://other.invalid/x");
    assertThatThrownBy(() -> locate(conf, "s3a://nn.invalid/x/t.json"))
        .hasMessageContaining("SQL may not load");
  }

  @Test
  void shippedFilesAreThoseOfTheApplication() {
    String name = "listed.json";
    SparkConf conf = new SparkConf(false).set("spark.files", "hdfs://nn/a/" + name);
    assertThat(locate(conf, name))
        .contains("file:" + Path.of(SparkFiles.getRootDirectory(), name).toAbsolutePath());
    conf.set("spark.master", "yarn").set("spark.submit.deployMode", "cluster");
    assertThat(locate(conf, name).get())
        .startsWith("file:")
        .doesNotContain("spark-")
        .endsWith(name);
  }

  @Test
  void whatASessionSetsDoesNotName() {
    SESSION.conf().set("spark.quern.tokenizers.sneaky", "/etc/passwd");
    try {
      assertThatThrownBy(() -> TestSpark.rows("SELECT tokenize('a', 'sneaky')"))
          .isInstanceOf(AnalysisException.class)
          .hasMessageContaining("there is no tokenizer 'sneaky'")
          .hasMessageContaining("what a session sets does not count");
    } finally {
      SESSION.conf().unset("spark.quern.tokenizers.sneaky");
    }
  }

  @Test
  void badFilesAreNamedAndNeverQuoted() throws Exception {
    Path file = TestSpark.ALLOWED.resolve("bad.json");
    String secret = TestSpark.SECRET;
    for (String content :
        List.of(
            secret,
            "",
            "root:x:0:0:" + secret + ":/root:/bin/bash\n",
            "{\"password\": \"" + secret + "\"}",
            "{\"model\": {\"type\": \"" + secret + "\"}}",
            "{ " + secret,
            "YWJj 0\n" + secret + " 1\n",
            "YWJj 0\nYWJj " + secret + "\n",
            TestSpark.WORDS_JSON.replace("\"Whitespace\"", "\"" + secret + "\""))) {
      Files.writeString(file, content);
      assertThatThrownBy(
              () -> TestSpark.rows("SELECT tokenize('a', '" + file + "', map('pattern', 'gpt2'))"))
          .as(content)
          .isInstanceOf(AnalysisException.class)
          .hasMessageContaining("'" + file + "' can't be loaded")
          .satisfies(
              e -> {
                for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                  assertThat(cause.toString()).doesNotContain(secret);
                }
              });
      assertThatThrownBy(() -> TestSpark.rows("SELECT tokenize('a', '" + file + "')"))
          .as(content)
          .isInstanceOf(AnalysisException.class)
          .hasMessageContaining("'" + file + "' can't be loaded")
          .satisfies(
              e -> {
                for (Throwable cause = e; cause != null; cause = cause.getCause()) {
                  assertThat(cause.toString()).doesNotContain(secret);
                }
              });
    }
    Files.delete(file);
    assertThatThrownBy(() -> TestSpark.rows("SELECT tokenize('a', '" + file + "')"))
        .isInstanceOf(AnalysisException.class)
        .hasMessageContaining("there is no file");
    assertThatThrownBy(() -> TestSpark.rows("SELECT tokenize('a', '" + TestSpark.ALLOWED + "')"))
        .isInstanceOf(AnalysisException.class)
        .hasMessageContaining("is a folder; give the tokenizer.json or .tiktoken in it");
    assertThatThrownBy(() -> TestSpark.rows("SELECT tokenize('a', 'gone')"))
        .isInstanceOf(AnalysisException.class)
        .hasMessageContaining("the tokenizer 'gone' can't be loaded: there is no file");
  }
}
