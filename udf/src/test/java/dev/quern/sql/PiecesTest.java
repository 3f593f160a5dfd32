package dev.quern.sql;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.IdBuffer;
import dev.quern.tokenizer.NativeTokenizer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.streaming.Trigger;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.unsafe.Platform;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** tokenize_with_offsets, truncate_tokens and chunk_tokens. */
class PiecesTest {
  /** What a pre-tokenizer looks ahead for, what a normalizer joins, and what takes many bytes. */
  private static final String[] PARTS = {
    " ",
    "  ",
    "   ",
    "\n",
    "\n \n",
    "\r\n",
    "\t",
    "the",
    " tokenizer",
    "internationalization",
    "I",
    "'ll",
    "'",
    "'re",
    "we",
    "ABCdef",
    "123456789",
    "3",
    ".",
    "...",
    "!?",
    "cafe\u0301",
    "\u0301",
    "naïve",
    "Å",
    "\u212B",
    "ﬁ",
    "ﷺ",
    "東京タワー",
    "快速的棕色狐狸",
    "각",
    "\u1112\u1161\u11AB",
    "🦙",
    "👨‍👩‍👧",
    "𓀀",
    "<|endoftext|>",
    "</s>",
    "▁",
    "Ġ",
    "\u00A0",
    "\u3000",
    "\u200B",
    "\uFFFD",
    "x".repeat(300)
  };

  static Stream<String> tokenizers() {
    return Stream.concat(
        Stream.of("o200k_base", "cl100k_base", "gpt2"), TestSpark.GOLDENS.stream());
  }

  private static NativeTokenizer open(String name) {
    return TokenizerReference.resolve(TestSpark.session(), name, Map.of(), false).open();
  }

  private static long count(NativeTokenizer tokenizer, String text) {
    return tokenizer.tokenCount(text);
  }

  private static int characters(String text) {
    return text.codePointCount(0, text.length());
  }

  /** Texts with ids, as the view `pieces` of (id, text). */
  private static List<String> texts(Random random, int number) {
    List<String> texts = new ArrayList<>(List.of("", " ", "a", "🦙", "Hello, world"));
    while (texts.size() < number) {
      StringBuilder text = new StringBuilder();
      for (int length = random.nextInt(60); length > 0; length--) {
        text.append(PARTS[random.nextInt(PARTS.length)]);
      }
      texts.add(text.toString());
    }
    texts.addAll(
        TestSpark.documents(random, number).stream().map(row -> row.getString(1)).toList());
    List<Row> rows = new ArrayList<>();
    for (String text : texts) {
      rows.add(RowFactory.create(rows.size(), text));
    }
    StructType schema =
        new StructType().add("id", DataTypes.IntegerType).add("text", DataTypes.StringType);
    TestSpark.session().createDataFrame(rows, schema).createOrReplaceTempView("pieces");
    return texts;
  }

  private static Random random(String test) {
    long seed = Long.getLong("quern.seed", System.nanoTime());
    System.out.println("PiecesTest#" + test + ": repeat with -Dquern.seed=" + seed);
    return new Random(seed);
  }

  // ---- What is guaranteed ----------------------------------------------------------------------

  @ParameterizedTest
  @MethodSource("tokenizers")
  void offsetsAreTheNativeTokenizersAndWhatSubstringTakes(String name) {
    List<String> texts = texts(random("offsets"), 100);
    NativeTokenizer tokenizer = open(name);
    for (Row row :
        TestSpark.rows(
            "SELECT id, tokenize_with_offsets(text, :t), tokenize_with_offsets(binary(text), :t)"
                    .replace(":t", "'" + name + "'")
                + " FROM pieces")) {
      String text = texts.get(row.getInt(0));
      byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
      List<Row> inCharacters = row.getList(1);
      List<Row> inBytes = row.getList(2);
      IdBuffer ids =
          tokenizer.encodeWithOffsets(
              bytes, Platform.BYTE_ARRAY_OFFSET, bytes.length, EncodeOptions.DEFAULT);
      assertThat(inBytes).hasSize(ids.count());
      assertThat(inCharacters).hasSize(ids.count());
      for (int i = 0; i < ids.count(); i++) {
        int begin = (int) ids.begin(i);
        int end = (int) ids.end(i);
        assertThat(inBytes.get(i)).isEqualTo(RowFactory.create(ids.id(i), begin, end));
        String before = new String(bytes, 0, begin, StandardCharsets.UTF_8);
        String token = new String(bytes, begin, end - begin, StandardCharsets.UTF_8);
        assertThat(inCharacters.get(i))
            .isEqualTo(
                RowFactory.create(
                    ids.id(i), characters(before), characters(before) + characters(token)));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tokenizers")
  void truncatedTextIsABeginningWithAtMostSoManyTokens(String name) {
    List<String> texts = texts(random("truncated"), 60);
    NativeTokenizer tokenizer = open(name);
    boolean oneWord = name.startsWith("word"); // a word without its place is one unknown token
    for (int most : new int[] {0, 1, 2, 3, 7, 20, 100, 100_000}) {
      for (Row row :
          TestSpark.rows(
              ("SELECT id, truncate_tokens(text, %1$d, '%2$s'),"
                      + " truncate_tokens(binary(text), %1$d, '%2$s') FROM pieces")
                  .formatted(most, name))) {
        String text = texts.get(row.getInt(0));
        String cut = row.getString(1);
        String what = name + ", " + most + ": " + text;
        // A character that is cut would have become U+FFFD.
        assertThat(text).as(what).startsWith(cut);
        assertThat(row.<byte[]>getAs(2)).isEqualTo(cut.getBytes(StandardCharsets.UTF_8));
        long tokens = count(tokenizer, cut);
        assertThat(tokens).as(what).isLessThanOrEqualTo(most);
        if (count(tokenizer, text) <= most) {
          assertThat(cut).as(what).isEqualTo(text);
        } else if (!oneWord && !TestSpark.GOLDENS.contains(name)) {
          // At most the rest of a character less.
          assertThat(tokens).as(what).isGreaterThan(most - 5);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tokenizers")
  void chunksCoverTheTextAndOverlap(String name) {
    List<String> texts = texts(random("chunks"), 60);
    NativeTokenizer tokenizer = open(name);
    int[][] sizes = {{40, 0}, {40, 7}, {64, 63}, {100, 20}, {100_000, 1}};
    for (int[] size : sizes) {
      for (Row row :
          TestSpark.rows(
              ("SELECT id, chunk_tokens(text, %1$d, %2$d, '%3$s'),"
                      + " chunk_tokens(binary(text), %1$d, %2$d, '%3$s'),"
                      + " tokenize_with_offsets(text, '%3$s') FROM pieces")
                  .formatted(size[0], size[1], name))) {
        String text = texts.get(row.getInt(0));
        String what = name + ", " + size[0] + ", " + size[1] + ": " + text;
        int[] points = text.codePoints().toArray();
        List<Row> chunks = row.getList(1);
        List<Row> ofBytes = row.getList(2);
        List<Row> tokens = row.getList(3);
        assertThat(ofBytes).hasSameSizeAs(chunks);
        if (text.isEmpty()) {
          assertThat(chunks).isEmpty();
          continue;
        }
        assertThat(chunks.get(0).getInt(1)).as(what).isZero();
        assertThat(chunks.get(chunks.size() - 1).getInt(2)).as(what).isEqualTo(points.length);
        for (int i = 0; i < chunks.size(); i++) {
          String chunk = chunks.get(i).getString(0);
          int begin = chunks.get(i).getInt(1);
          int end = chunks.get(i).getInt(2);
          assertThat(chunk).as(what).isEqualTo(new String(points, begin, end - begin));
          assertThat(chunks.get(i).getInt(3))
              .as(what)
              .isLessThanOrEqualTo(size[0])
              .isEqualTo((int) count(tokenizer, chunk));
          assertThat(ofBytes.get(i).<byte[]>getAs(0))
              .isEqualTo(chunk.getBytes(StandardCharsets.UTF_8));
          assertThat(ofBytes.get(i).getInt(2) - ofBytes.get(i).getInt(1))
              .isEqualTo(ofBytes.get(i).<byte[]>getAs(0).length);
          if (i > 0) {
            int previousBegin = chunks.get(i - 1).getInt(1);
            int previousEnd = chunks.get(i - 1).getInt(2);
            assertThat(begin).as(what).isGreaterThan(previousBegin);
            assertThat(begin).as(what).isLessThanOrEqualTo(previousEnd);
            assertThat(end).as(what).isGreaterThan(previousEnd);
            long shared =
                tokens.stream()
                    .filter(token -> token.getInt(1) >= begin && token.getInt(2) <= previousEnd)
                    .count();
            if (size[0] > size[1] + 40) {
              assertThat(shared).as(what).isGreaterThanOrEqualTo(size[1]);
            }
          }
        }
      }
    }
  }

  // ---- Values ----------------------------------------------------------------------------------

  @ParameterizedTest
  @MethodSource("dev.quern.sql.FunctionsTest#waysToEvaluate")
  void everyWayToEvaluateGivesTheSame(String way) throws Exception {
    TestSpark.with(
        TestSpark.waysToEvaluate().get(way),
        () -> {
          List<Row> rows =
              TestSpark.rows(
                  "SELECT to_json(tokenize_with_offsets(s)), truncate_tokens(s, n),"
                      + " to_json(chunk_tokens(s, 4, n)), truncate_tokens(b, n),"
                      + " to_json(tokenize_with_offsets(b)), to_json(chunk_tokens(b, 4, n)),"
                      + " truncate_tokens(NULL, n), truncate_tokens(s, NULL),"
                      + " truncate_tokens('Hello, world', 2), chunk_tokens(NULL, 1, NULL)"
                      + " FROM VALUES (1, 'naïve 東京', X'6E61C3AF7665', 2), (2, '', X'', 2),"
                      + " (3, NULL, NULL, 2), (4, 'naïve', X'61', NULL) AS t(id, s, b, n)"
                      + " ORDER BY id");
          assertThat(rows.get(0).getString(0))
              .isEqualTo(
                  "[{\"id\":1503,\"begin\":0,\"end\":2},{\"id\":9954,\"begin\":2,\"end\":3},"
                      + "{\"id\":737,\"begin\":3,\"end\":5},{\"id\":185244,\"begin\":5,\"end\":8}]");
          assertThat(rows.get(0).getString(1)).isEqualTo("naï");
          assertThat(rows.get(0).getString(2))
              .isEqualTo("[{\"text\":\"naïve 東京\",\"begin\":0,\"end\":8,\"token_count\":4}]");
          assertThat(rows.get(0).<byte[]>getAs(3)).asHexString().isEqualTo("6E61C3AF");
          assertThat(rows.get(0).getString(4))
              .isEqualTo(
                  "[{\"id\":1503,\"begin\":0,\"end\":2},{\"id\":9954,\"begin\":2,\"end\":4},"
                      + "{\"id\":737,\"begin\":4,\"end\":6}]");
          assertThat(rows.get(0).getString(5))
              .isEqualTo("[{\"text\":\"bmHDr3Zl\",\"begin\":0,\"end\":6,\"token_count\":3}]");
          assertThat(rows.get(1).getString(0)).isEqualTo("[]");
          assertThat(rows.get(1).getString(1)).isEmpty();
          assertThat(rows.get(1).getString(2)).isEqualTo("[]");
          assertThat(rows.get(1).<byte[]>getAs(3)).isEmpty();
          for (int column = 0; column < 8; column++) {
            assertThat(rows.get(2).isNullAt(column)).isTrue();
          }
          assertThat(rows.get(3).getString(0)).startsWith("[{\"id\":1503");
          for (int column : new int[] {1, 2, 3, 5}) {
            assertThat(rows.get(3).isNullAt(column)).isTrue();
          }
          for (Row row : rows) {
            assertThat(row.isNullAt(6) && row.isNullAt(7) && row.isNullAt(9)).isTrue();
            assertThat(row.getString(8)).isEqualTo("Hello,");
          }
        });
  }

  @Test
  void typesAreThoseOfTheText() {
    StructType schema =
        TestSpark.session()
            .sql(
                "SELECT tokenize_with_offsets('a'), truncate_tokens('a', 1S), truncate_tokens(X'61',"
                    + " 1L), chunk_tokens(X'61', 1), chunk_tokens('a' COLLATE UNICODE_CI, 1Y, 0)")
            .schema();
    assertThat(schema.fields()[0].dataType().catalogString())
        .isEqualTo("array<struct<id:int,begin:int,end:int>>");
    assertThat(schema.fields()[1].dataType()).isEqualTo(DataTypes.StringType);
    assertThat(schema.fields()[2].dataType()).isEqualTo(DataTypes.BinaryType);
    assertThat(schema.fields()[3].dataType().catalogString())
        .isEqualTo("array<struct<text:binary,begin:int,end:int,token_count:int>>");
    assertThat(
            ((StructType) ((ArrayType) schema.fields()[4].dataType()).elementType())
                .fields()[0]
                .dataType()
                .sql())
        .isEqualTo("STRING COLLATE UNICODE_CI");
    assertThat(schema.fields()).allSatisfy(field -> assertThat(field.nullable()).isFalse());
  }

  @Test
  void overlapIsCountedInTokensOfTheText() {
    assertThat(
            TestSpark.<List<String>>value(
                "SELECT chunk_tokens('a b c d e f g', max_tokens => 3, overlap => 1).text"))
        .containsExactly("a b c", " c d e", " e f g");
    assertThat(TestSpark.<List<String>>value("SELECT chunk_tokens('a b c d e', 3, 2).text"))
        .containsExactly("a b c", " b c d", " c d e");
    assertThat(TestSpark.rows("SELECT inline(chunk_tokens('a b c', 2))"))
        .containsExactly(RowFactory.create("a b", 0, 3, 2), RowFactory.create(" c", 3, 5, 1));
  }

  @Test
  void specialTokensThatAreAddedCount() {
    String added = ", 'words', map('add_special_tokens', 'true'))";
    assertThat(TestSpark.<String>value("SELECT truncate_tokens('corn stone flour', 4" + added))
        .isEqualTo("corn stone");
    assertThat(TestSpark.<String>value("SELECT truncate_tokens('corn stone flour', 2" + added))
        .isEmpty();
    assertThat(TestSpark.rows("SELECT inline(chunk_tokens('corn stone flour', 4, 1" + added + ")"))
        .containsExactly(
            RowFactory.create("corn stone", 0, 10, 4), RowFactory.create(" stone flour", 4, 16, 4));
    assertThat(
            TestSpark.<List<Row>>value("SELECT tokenize_with_offsets('corn stone'" + added).stream()
                .map(row -> row.toString()))
        .containsExactly("[0,0,0]", "[2,0,4]", "[3,5,10]", "[1,0,0]");
    assertThatThrownBy(() -> TestSpark.rows("SELECT truncate_tokens('corn', 1" + added))
        .hasStackTraceContaining(
            "truncate_tokens: max_tokens is 1, but 2 special tokens are added to every text");
    assertThatThrownBy(() -> TestSpark.rows("SELECT chunk_tokens('corn', 2, 0" + added))
        .hasStackTraceContaining("max_tokens is 2, but 2 special tokens are added to every chunk");
    assertThatThrownBy(() -> TestSpark.rows("SELECT chunk_tokens('corn', 4, 2" + added))
        .hasStackTraceContaining("overlap is 2; give 0 or more, and less than the 2 tokens");
  }

  @Test
  void offsetsOfReplacedBytes() {
    String options = ", options => map('invalid_utf8', 'replace', 'offsets', '%s'))";
    String call = "SELECT tokenize_with_offsets(X'61E28262'" + options;
    assertThat(TestSpark.<List<Row>>value(call.formatted("bytes")).stream().map(Row::toString))
        .first()
        .isEqualTo("[64,0,1]");
    assertThat(TestSpark.<List<Row>>value(call.formatted("bytes")))
        .last()
        .satisfies(token -> assertThat(token.getInt(2)).isEqualTo(4));
    assertThat(TestSpark.<List<Row>>value(call.formatted("characters")))
        .as("the two bad bytes are one character")
        .last()
        .satisfies(token -> assertThat(token.getInt(2)).isEqualTo(3));
    String replace = ", options => map('invalid_utf8', 'replace'))";
    assertThat(TestSpark.<String>value("SELECT truncate_tokens(string(X'61E28262'), 100" + replace))
        .isEqualTo("a\uFFFDb");
    assertThat(TestSpark.<byte[]>value("SELECT truncate_tokens(X'61E28262', 100" + replace))
        .asString(StandardCharsets.UTF_8)
        .isEqualTo("a\uFFFDb");
    assertThat(
            TestSpark.<List<String>>value(
                "SELECT chunk_tokens(string(X'61E28262'), 9" + replace + ".text"))
        .containsExactly("a\uFFFDb");
  }

  /** A WordPiece tokenizer drops blanks, and an empty result is no empty text. */
  @Test
  void textWithoutTokensIsKept() {
    assertThat(TestSpark.rows("SELECT inline(chunk_tokens('  ', 1, 0, 'wordpiece'))"))
        .containsExactly(RowFactory.create("  ", 0, 2, 0));
    assertThat(TestSpark.<String>value("SELECT truncate_tokens('  ', 0, 'wordpiece')"))
        .isEqualTo("  ");
  }

  @Test
  void aLongTextKeepsNearlyAllThatIsAskedFor() {
    for (String unit : List.of("東", "é", "🦙", "word ", "    ")) {
      for (int most : new int[] {1, 5, 64}) {
        String cut =
            TestSpark.value(
                "SELECT truncate_tokens(repeat('" + unit + "', 3000), " + most + ", 'gpt2')");
        assertThat(unit.repeat(3000)).startsWith(cut);
        assertThat(open("gpt2").tokenCount(cut)).isLessThanOrEqualTo(most).isGreaterThan(most - 4);
      }
    }
  }

  // ---- Where calls stand -----------------------------------------------------------------------

  @Test
  void streamsAndViews(@TempDir Path folder) throws Exception {
    Files.writeString(folder.resolve("a.txt"), "a b c\n");
    TestSpark.rows(
        "CREATE OR REPLACE TEMPORARY VIEW short AS SELECT truncate_tokens('a b c', 2) AS s");
    TestSpark.rows("CREATE VIEW kept_chunks AS SELECT inline(chunk_tokens('a b c', 2))");
    try {
      assertThat(TestSpark.<String>value("SELECT s FROM short")).isEqualTo("a b");
      assertThat(TestSpark.<Long>value("SELECT count(*) FROM kept_chunks")).isEqualTo(2L);
    } finally {
      TestSpark.rows("DROP VIEW kept_chunks");
    }
    Dataset<Row> chunks =
        TestSpark.session()
            .readStream()
            .text(folder.toUri().toString())
            .selectExpr(
                "value", "inline(chunk_tokens(value, 2))", "tokenize_with_offsets(value) AS tokens")
            .selectExpr("text", "tokens[2].`begin` AS third", "truncate_tokens(value, 1) AS cut");
    chunks
        .writeStream()
        .format("memory")
        .queryName("streamed_chunks")
        .trigger(Trigger.AvailableNow())
        .start()
        .awaitTermination();
    assertThat(TestSpark.rows("SELECT * FROM streamed_chunks ORDER BY text DESC"))
        .containsExactly(RowFactory.create("a b", 3, "a"), RowFactory.create(" c", 3, "a"));
  }

  // ---- Errors ----------------------------------------------------------------------------------

  @Test
  void wrongArgumentsSayWhatToDo() {
    for (String[] wrong :
        new String[][] {
          {
            "truncate_tokens('a')",
            "the argument `max_tokens` is missing; it takes text, max_tokens"
          },
          {"truncate_tokens('a', 'b')", "DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE"},
          {"truncate_tokens('a', 'b')", "second (`max_tokens`)"},
          {"truncate_tokens('a', 1.5)", "\"INT\" or another integral type"},
          {"truncate_tokens('a', -1)", "truncate_tokens: max_tokens is -1; give 0 or more"},
          {"chunk_tokens('a', 3, 'gpt2')", "third (`overlap`)"},
          {"chunk_tokens('a', 0)", "chunk_tokens: max_tokens is 0; give 1 or more"},
          {"chunk_tokens('a', 3, 3)", "overlap is 3; give 0 or more, and less than the 3 tokens"},
          {"chunk_tokens('a', 3, -1)", "overlap is -1; give 0 or more"},
          {
            "chunk_tokens('a 𓀀', 1, 0, 'gpt2')",
            "max_tokens is 1, but bytes 2 to 6 of the text can't be cut without cutting a character,"
          },
          {
            "chunk_tokens(X'FF', 3)",
            "chunk_tokens: the text is not UTF-8 at byte 0; give the option"
          },
          {"truncate_tokens(X'FF', 3)", "truncate_tokens: the text is not UTF-8 at byte 0"},
          {
            "tokenize_with_offsets(X'FF')", "tokenize_with_offsets: the text is not UTF-8 at byte 0"
          },
          {
            "tokenize_with_offsets('a', options => map('offsets', 'words'))",
            "the option 'offsets': 'words' is not one of bytes, characters"
          },
          {"tokenize('a', options => map('offsets', 'bytes'))", "no option 'offsets' here"}
        }) {
      assertThatThrownBy(() -> TestSpark.rows("SELECT " + wrong[0]))
          .as(wrong[0])
          .hasStackTraceContaining(wrong[1]);
    }
  }

  @Test
  void eachUnitForEachType() {
    Row row =
        TestSpark.rows(
                "SELECT tokenize_with_offsets('naïve', options => map('offsets', 'bytes')) ="
                    + " tokenize_with_offsets(binary('naïve')),"
                    + " tokenize_with_offsets(binary('naïve'), options => map('offsets',"
                    + " 'characters')) = tokenize_with_offsets('naïve')")
            .get(0);
    assertThat(List.of(row.getBoolean(0), row.getBoolean(1))).containsOnly(true);
  }
}
