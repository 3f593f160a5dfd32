package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.quern.job.JobException.Exit;
import dev.quern.sql.TokenizerReference;
import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.EncodeOptions.InvalidUtf8;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerException;
import dev.quern.tokenizer.TokenizerSpec;
import dev.quern.tokenizer.TokenizerStatistics;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.spark.TaskContext;
import org.apache.spark.sql.api.java.UDF1;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.util.LongAccumulator;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * --verify. The judge that disagrees is p50k_base, which is gpt2 but for runs of spaces: all
 * documents have the same ids by both, except those with more than two spaces in a row.
 */
class VerifyTest {
  private static final String JUDGE = "p50k_base";
  private static final EncodeOptions OPTIONS = new EncodeOptions(false, InvalidUtf8.STRICT);
  private static final int DOCUMENTS = 1000;
  private static JobSession job;
  private static final AtomicBoolean OUTLIVED = new AtomicBoolean();
  private static LongAccumulator attempts;
  @TempDir Path folder;

  @BeforeAll
  static void start() {
    job = new JobSession();
    attempts = job.spark.sparkContext().longAccumulator("attempts");
    UDF1<String, String> seen =
        text -> {
          if (text != null && text.contains("   ")) {
            attempts.add(1);
          }
          return text;
        };
    // A second attempt waits until it is told that the run has ended.
    UDF1<String, String> waiting =
        text -> {
          TaskContext task = TaskContext.get();
          long begun = System.nanoTime();
          while (task.attemptNumber() > 0 && !task.isInterrupted()) {
            if (System.nanoTime() - begun > 60_000_000_000L) {
              OUTLIVED.set(true);
              throw new IllegalStateException("the run goes on");
            }
            Thread.sleep(10);
          }
          return text;
        };
    UDF1<String, String> atFirst =
        text -> TaskContext.get().attemptNumber() == 0 ? text : text.replace("   ", " ");
    job.spark.udf().register("seen", seen, DataTypes.StringType);
    job.spark.udf().register("waiting", waiting, DataTypes.StringType);
    job.spark.udf().register("at_first", atFirst, DataTypes.StringType);
    job.spark
        .range(0, DOCUMENTS, 1, 4)
        .selectExpr("id", "if(id % 10 = 3, null, concat('document number ', id)) as text")
        .createOrReplaceTempView("alike");
    job.spark
        .sql(
            "SELECT id, seen(if(id = 700, 'a document   with three spaces', text)) AS text FROM alike")
        .createOrReplaceTempView("one_differs");
    job.spark
        .sql("SELECT id, waiting(text) AS text FROM one_differs")
        .createOrReplaceTempView("differs_and_waits");
    job.spark
        .sql("SELECT id, at_first(if(id = 700, 'three   spaces', text)) AS text FROM alike")
        .createOrReplaceTempView("differs_at_first");
  }

  @AfterAll
  static void stop() {
    job.close();
  }

  @BeforeEach
  void forget() {
    attempts.reset();
  }

  private String[] arguments(String table, String... more) {
    List<String> arguments =
        new ArrayList<>(
            List.of(
                "--input-format=table",
                "--input",
                table,
                "--output",
                folder.resolve("out").toString(),
                "--keep=id"));
    arguments.addAll(List.of(more));
    return arguments.toArray(String[]::new);
  }

  private JobException failed(String... arguments) {
    try {
      job.runJudged(JUDGE, arguments);
    } catch (JobException e) {
      assertThat(e.exit()).isEqualTo(Exit.FAILED);
      return e;
    }
    throw new AssertionError("the difference was not noticed");
  }

  // ---- The run ---------------------------------------------------------------------------------

  @Test
  void aDifferenceFailsTheRunAtOnceAndNamesDocumentAndId() {
    int[] given = job.tokenizer.encode("a document   with three spaces");
    int[] right;
    try (NativeTokenizer judge = NativeTokenizer.load(TokenizerSpec.builtIn(JUDGE))) {
      right = judge.encode("a document   with three spaces");
    }
    assertThat(given[2]).isNotEqualTo(right[2]);
    assertThat(failed(arguments("differs_and_waits", "--verify=1")))
        .hasMessageContaining("in the document with id 700 (30 bytes, tokenizer " + JUDGE + ")")
        .hasMessageContaining(
            "its id at index 2 is "
                + given[2]
                + ", and "
                + right[2]
                + " by the reference engine ("
                + given.length
                + " and "
                + right.length
                + " ids), at byte 10")
        .hasMessageContaining("--engine reference")
        .hasMessageContaining("nothing was written")
        .hasMessageNotContaining("three spaces");
    assertThat(JobSession.list(folder)).isEmpty();
    assertThat(OUTLIVED).isFalse();
  }

  @Test
  void aDifferenceThatIsGoneAtTheNextAttemptFailsTheRunToo() {
    assertThat(failed(arguments("differs_at_first", "--verify=1")))
        .hasMessageContaining("the document with id 700");
    assertThat(JobSession.list(folder)).isEmpty();
  }

  @Test
  void whereNoColumnIsKeptTheDocumentIsNamedByFileAndRow() {
    String input = job.parquet(folder);
    List<String> arguments =
        List.of("--input", input, "--output", folder.resolve("out").toString());
    List<String> all = new ArrayList<>(arguments);
    all.add("--verify=1");
    assertThat(failed(all.toArray(String[]::new)))
        .hasMessageContaining("in the document in row 4 of file:")
        .hasMessageContaining(".parquet (28 bytes");
    assertThat(JobSession.list(folder)).containsExactly("documents.parquet");
  }

  @Test
  void whatIsVerifiedIsCountedAndIsNotThroughput() throws IOException {
    TokenizerStatistics.Snapshot before = TokenizerStatistics.snapshot();
    TokenizeResult all = job.runJudged(JUDGE, arguments("alike", "--verify=1"));
    // Those without a text are not encoded at all.
    assertThat(all.verified()).isEqualTo(DOCUMENTS * 9 / 10).isEqualTo(all.written());
    TokenizerStatistics.Snapshot done = TokenizerStatistics.snapshot().minus(before);
    assertThat(done.documents()).isEqualTo(all.written());
    assertThat(done.bytes()).isEqualTo(all.bytes());
    assertThat(done.tokens()).isEqualTo(all.tokens());
    JsonNode totals =
        new ObjectMapper()
            .readTree(Files.readAllBytes(folder.resolve("out/_quern/summary.json")))
            .get("totals");
    assertThat(totals.get("documents_verified").asLong()).isEqualTo(900);
    assertThat(totals.get("verify_seconds").asDouble()).isPositive();
    assertThat(job.output())
        .contains("Verify     all of the documents, by the reference engine")
        .contains("verified   900 documents equal by the reference engine");
  }

  @Test
  void aFractionIsTheSameDocumentsHoweverTheyAreSplit() {
    long verified =
        job.runJudged(JUDGE, arguments("alike", "--verify=0.3", "--mode=overwrite")).verified();
    assertThat(verified).isBetween(180L, 360L);
    job.spark.table("alike").repartition(7).createOrReplaceTempView("alike_in_other_parts");
    assertThat(
            job.runJudged(
                    JUDGE, arguments("alike_in_other_parts", "--verify=0.3", "--mode=overwrite"))
                .verified())
        .isEqualTo(verified);
    assertThat(job.output()).contains("Verify     about 30.0 % of the documents");
  }

  @Test
  void nothingIsVerifiedByDefault() {
    TokenizeResult result = job.runJudged(JUDGE, arguments("one_differs"));
    assertThat(result.verified()).isZero();
    assertThat(attempts.value()).isEqualTo(1);
    assertThat(job.output()).doesNotContain("erif");
  }

  @Test
  void theReferenceEngineHasNothingToVerify() {
    TokenizeResult result = job.run(arguments("one_differs", "--verify=1", "--engine=reference"));
    assertThat(result.verified()).isZero();
    assertThat(job.output()).contains("--verify: nothing to verify, the engine in use is the");
  }

  /** By whatever engine this version takes: if it is the reference engine, there is nothing. */
  @Test
  void theEngineOfThisVersionIsEqualToTheReferenceEngine() {
    String input = job.parquet(folder);
    TokenizeResult result =
        job.run(
            "--input",
            input,
            "--output",
            folder.resolve("out").toString(),
            "--keep=id",
            "--verify=1");
    boolean reference = job.tokenizer.engine().equals("reference");
    assertThat(result.verified()).isEqualTo(reference ? 0 : JobSession.TEXTS.size());
    assertThat(job.read(folder.resolve("out").toString())).isEqualTo(job.expected());
  }

  // ---- The comparison --------------------------------------------------------------------------

  private static Verifier verifier(String judge, EncodeOptions options, TaskCounts counts) {
    return new Verifier(
        new Verifier.Settings(
            1,
            TokenizerReference.resolve(
                job.spark, judge, Map.of("special_tokens_in_text", "error"), true),
            "fast",
            "run"),
        options,
        counts);
  }

  private static String difference(Verifier verifier, String text, int... ids) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    ByteBuffer buffer =
        ByteBuffer.allocate(ids.length * Integer.BYTES + 8).order(ByteOrder.nativeOrder());
    buffer.putLong(-1);
    for (int id : ids) {
      buffer.putInt(id);
    }
    return verifier.difference(
        utf8,
        Platform.BYTE_ARRAY_OFFSET,
        utf8.length,
        buffer.array(),
        Platform.BYTE_ARRAY_OFFSET + 8L,
        ids.length);
  }

  private static TokenizerException refusal(TokenizerException.Reason reason, long position) {
    return new TokenizerException(reason, "refused", position, -1, null);
  }

  @Test
  void idsThatDifferAreMissingOrTooManyAreFound() {
    TaskCounts counts = new TaskCounts();
    Verifier verifier = verifier(JobSession.TOKENIZER, OPTIONS, counts);
    assertThat(difference(verifier, "Hello, world!", 15496, 11, 995, 0)).isNull();
    assertThat(difference(verifier, "")).isNull();
    assertThat(difference(verifier, "Hello, world!", 15496, 11, 996, 0))
        .isEqualTo(
            "its id at index 2 is 996, and 995 by the reference engine (4 and 4 ids), at byte 6");
    assertThat(difference(verifier, "Hello, world!", 15496, 11, 995))
        .isEqualTo(
            "its id at index 3 is missing, and 0 by the reference engine (3 and 4 ids), at byte 12");
    assertThat(difference(verifier, "Hello, world!", 15496, 11, 995, 0, 7))
        .isEqualTo(
            "its id at index 4 is 7, and none by the reference engine (5 and 4 ids), at byte 13");
    assertThat(counts.verified).isEqualTo(5);
    assertThat(counts.verifyNanos).isPositive();
  }

  @Test
  void refusalsAreComparedToo() {
    Verifier verifier = verifier(JobSession.TOKENIZER, OPTIONS, new TaskCounts());
    assertThat(difference(verifier, "one <|endoftext|>", 1))
        .isEqualTo("it has 1 ids, and the reference engine refuses it: special_token at byte 4");
    byte[] text = "one <|endoftext|>".getBytes(StandardCharsets.UTF_8);
    long at = Platform.BYTE_ARRAY_OFFSET;
    assertThat(
            verifier.difference(
                text, at, text.length, refusal(TokenizerException.Reason.SPECIAL_TOKEN, 4)))
        .isNull();
    assertThat(
            verifier.difference(
                text, at, text.length, refusal(TokenizerException.Reason.SPECIAL_TOKEN, 3)))
        .isEqualTo(
            "it is refused (special_token at byte 3), and by the reference engine special_token at"
                + " byte 4");
    assertThat(verifier.difference(text, at, 3, refusal(TokenizerException.Reason.ENCODE, -1)))
        .isEqualTo("it is refused (not_encodable), and has 1 ids by the reference engine");
    byte[] wrong = {'a', -1};
    assertThat(
            verifier.difference(
                wrong, at, wrong.length, refusal(TokenizerException.Reason.INVALID_UTF8, 1)))
        .isNull();
  }
}
