package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.quern.job.JobException.Exit;
import java.io.IOException;
import java.io.OutputStreamWriter;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.zip.GZIPOutputStream;
import org.apache.spark.SparkConf;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerJobStart;
import org.apache.spark.sql.DataFrameReader;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Inputs that would be read otherwise than meant: refused, with what to do. */
class CorpusTest {
  private static JobSession job;
  @TempDir Path folder;

  @BeforeAll
  static void start() {
    job = new JobSession();
  }

  @AfterAll
  static void stop() {
    job.close();
  }

  private Path file(String name, String content) throws IOException {
    Path file = folder.resolve("in").resolve(name);
    Files.createDirectories(file.getParent());
    return Files.writeString(file, content);
  }

  private String in() {
    return folder.resolve("in").toString();
  }

  private String[] arguments(String input, String... more) {
    List<String> arguments =
        new ArrayList<>(List.of("--input", input, "--output", folder.resolve("out").toString()));
    arguments.addAll(List.of(more));
    return arguments.toArray(String[]::new);
  }

  private long documents(String input, String... more) {
    return job.run(arguments(input, more)).documents();
  }

  private String fails(Exit exit, String input, String... more) {
    try {
      job.run(arguments(input, more));
    } catch (JobException e) {
      assertThat(e.exit()).isEqualTo(exit);
      assertThat(folder.resolve("out")).doesNotExist();
      return e.getMessage();
    }
    throw new AssertionError("the run did not fail");
  }

  @Test
  void filesOfTwoFormatsAreRefusedAndBothNamed() throws IOException {
    file("a.txt", "one");
    file("_hidden.parquet", "");
    file("sub/.b.csv", "");
    Path json = file("c.jsonl", "{\"text\": \"two\"}");
    assertThat(fails(Exit.REFUSED, in()))
        .contains("a.txt", "c.jsonl", "pathGlobFilter", "--input-format");
    assertThat(documents(in(), "--input-option", "pathGlobFilter=*.jsonl")).isEqualTo(1);
    Files.delete(json);
    assertThat(documents(in(), "--mode=overwrite")).isEqualTo(1);
  }

  @Test
  void filesInNestedFoldersAreNotLeftOutSilently() throws IOException {
    file("a.txt", "one");
    file("deep/b.txt", "two");
    assertThat(fails(Exit.REFUSED, in()))
        .contains("deep/b.txt", "1 of 2 files", "docs/*", "recursiveFileLookup=true");
    assertThat(documents(in(), "--input-option", "recursiveFileLookup=true")).isEqualTo(2);
    assertThat(documents(in() + "/deep", "--mode=overwrite")).isEqualTo(1);
  }

  @Test
  void partitionColumnsAreFoldersThatAreRead() throws IOException {
    file("language=de/a b%[1].txt", "eins");
    file("language=en/b.txt", "one");
    assertThat(documents(in(), "--keep=language")).isEqualTo(2);
  }

  @Test
  void inputsThatOverlapAreReadOnce() throws IOException {
    Path file = file("a.txt", "one");
    file("_b.txt", "hidden");
    assertThat(fails(Exit.REFUSED, in() + "," + file)).contains("lies in the input", "a.txt");
    assertThat(documents(in() + "/*.txt," + file)).isEqualTo(1);
  }

  @Test
  void anOutputThatIsATablesFolderIsRefused() {
    Path table = folder.resolve("table");
    job.documents(List.of("one")).write().parquet(table.toString());
    job.spark.read().parquet(table.toString()).createOrReplaceTempView("of_files");
    List<String> arguments =
        List.of(
            "--input-format=table", "--input=of_files", "--mode=overwrite", "--output=" + table);
    try {
      job.run(arguments.toArray(String[]::new));
    } catch (JobException e) {
      assertThat(e.exit()).isEqualTo(Exit.REFUSED);
      assertThat(e).hasMessageContaining("is or contains the input");
      return;
    }
    throw new AssertionError("the run has overwritten its input");
  }

  @Test
  void csvWithColumnsInAnotherOrderFails() throws IOException {
    file("a.csv", "id,text\n1,one\n");
    file("b.csv", "id,text\n2,two\n");
    assertThat(documents(in(), "--keep=id")).isEqualTo(2);
    assertThat(documents(in(), "--mode=overwrite")).isEqualTo(2);
    Files.move(folder.resolve("out"), folder.resolve("done"));
    file("b.csv", "text,id\ntwo,2\n");
    assertThat(fails(Exit.FAILED, in(), "--keep=id")).contains("header", "b.csv");
    assertThat(fails(Exit.FAILED, in())).contains("header");
  }

  /** As pandas writes them, whose index has no name; Spark makes names of its own for these. */
  @Test
  void csvWithEmptyAndDoubleNamesIsRead() throws IOException {
    file("a.csv", ",text,x,x\n0,one,1,2\n");
    assertThat(documents(in(), "--keep=_c0")).isEqualTo(1);
    assertThat(documents(in(), "--mode=overwrite")).isEqualTo(1);
  }

  @Test
  void theSampleOfJsonIsReadWithTheReadersOptions() throws IOException {
    file("a.json", "{\"text\":\n\"one\"}");
    assertThat(documents(in(), "--input-option", "MULTILINE=true")).isEqualTo(1);
    file("a.json", "{\"text\": \"one\"}|{\"text\": \"two\"}");
    assertThat(documents(in(), "--input-option", "lineSep=|", "--mode=overwrite")).isEqualTo(2);
  }

  /** Beside three small files one that only one core can read, with nearly all the text. */
  @Test
  void aPartThatCannotBeSplitIsSpread() throws IOException {
    byte[] noise = new byte[2000];
    Random random = new Random(1);
    for (int number = 0; number < 4; number++) {
      Path file = folder.resolve("in").resolve("docs-" + number + ".jsonl.gz");
      Files.createDirectories(file.getParent());
      try (Writer lines =
          new OutputStreamWriter(
              new GZIPOutputStream(Files.newOutputStream(file)), StandardCharsets.UTF_8)) {
        for (int i = 0; i < (number == 2 ? 2500 : 10); i++) {
          random.nextBytes(noise);
          String text = HexFormat.of().formatHex(noise);
          lines.write("{\"id\": " + i + ", \"text\": \"" + text + "\"}\n");
        }
      }
    }
    String in = folder.resolve("in").toString();
    job.run(arguments(in, "--keep=id"));
    assertThat(job.output()).contains("can't be split").contains("spread over 2 tasks");
    assertThat(documentsOfTasks()).hasSize(2).allMatch(rows -> rows > 1000);

    job.run(arguments(in, "--mode=overwrite"));
    assertThat(job.output()).contains("one core will do it alone").contains("--keep a column");
    assertThat(documentsOfTasks()).anyMatch(rows -> rows >= 2500);
    JsonNode tasks =
        new ObjectMapper()
            .readTree(folder.resolve("out").resolve("_quern/summary.json").toFile())
            .get("tasks");
    assertThat(tasks.get("count").asInt()).isEqualTo(documentsOfTasks().size());
    JsonNode longest = tasks.get("longest");
    assertThat(longest.get("documents").asInt()).isGreaterThanOrEqualTo(2500);
    assertThat(longest.get("bytes").asLong()).isGreaterThanOrEqualTo(2500 * 4000);
    assertThat(longest.get("largest_document_bytes").asLong()).isEqualTo(4000);
    assertThat(longest.get("seconds").asDouble())
        .isGreaterThan(longest.get("tokenizer_seconds").asDouble());
  }

  /** Rows of each token file. */
  private List<Long> documentsOfTasks() {
    return job
        .spark
        .read()
        .parquet(folder.resolve("out").toString())
        .groupBy(functions.input_file_name())
        .count()
        .collectAsList()
        .stream()
        .map(row -> row.getLong(1))
        .toList();
  }

  @Test
  void aDryRunRunsNothing() throws Exception {
    job.spark
        .range(0, 40_000, 1, 4)
        .selectExpr("id", "cast(id as string) as text")
        .repartition(3)
        .createOrReplaceTempView("shuffled");
    int jobs =
        jobsOf(
            () -> {
              for (String limit : List.of("--seed=0", "--limit=20000")) {
                job.run(arguments("shuffled", "--input-format=table", "--dry-run", limit));
                assertThat(job.output()).contains("Dry run");
              }
            });
    assertThat(jobs).isZero();
    TokenizeResult limited =
        job.run(arguments("shuffled", "--input-format=table", "--limit=20000"));
    assertThat(limited.documents()).isEqualTo(20_000);
    assertThat(JobSession.list(folder.resolve("out")))
        .filteredOn(name -> name.startsWith("part-"))
        .hasSize(1);
  }

  private static int jobsOf(Runnable work) throws Exception {
    AtomicInteger jobs = new AtomicInteger();
    SparkListener listener =
        new SparkListener() {
          @Override
          public void onJobStart(SparkListenerJobStart start) {
            jobs.incrementAndGet();
          }
        };
    job.spark.sparkContext().addSparkListener(listener);
    try {
      work.run();
      job.spark.sparkContext().listenerBus().waitUntilEmpty(60_000);
    } finally {
      job.spark.sparkContext().removeSparkListener(listener);
    }
    return jobs.get();
  }

  @Test
  void theSchemaOfParquetIsFoundAsSparkFindsIt() throws Exception {
    job.spark
        .range(0, 10, 1, 2)
        .selectExpr(
            "cast(id as string) as text",
            "id",
            "cast(id as decimal(20, 3)) as price",
            "timestamp_seconds(id) as time",
            "array(struct(id as a, date'2026-01-01' as b)) as parts",
            "cast('x' as char(3)) as code",
            "map('k', cast('v' as binary)) as pairs")
        .write()
        .parquet(in() + "/spark");
    documents(in() + "/spark");
    Files.move(folder.resolve("out"), folder.resolve("first"));
    // Not of Spark: no schema of its own in the footer.
    String samples = folder.resolve("first/_quern/samples.parquet").toString();
    job.spark
        .range(3)
        .selectExpr("'a' as text", "id", "2 as day")
        .write()
        .parquet(in() + "/p/day=1");
    job.spark.range(3).selectExpr("'a' as text").write().parquet(in() + "/merged/a");
    job.spark.range(3).selectExpr("'a' as text", "id").write().parquet(in() + "/merged/b");

    assertThat(keepsAll(in() + "/spark", "text")).isZero();
    assertThat(keepsAll(samples, "executor_id")).isZero();
    assertThat(keepsAll(in() + "/p", "text")).isPositive();
    assertThat(keepsAll(in() + "/merged/*", "text", "mergeSchema=true")).isPositive();
    job.spark.conf().set("spark.sql.parquet.mergeSchema", "true");
    try {
      assertThat(keepsAll(in() + "/merged/*", "text")).isPositive();
    } finally {
      job.spark.conf().unset("spark.sql.parquet.mergeSchema");
    }
  }

  /** How many jobs it takes to see that the columns are those of Spark. */
  private int keepsAll(String input, String text, String... options) throws Exception {
    List<String> more = new ArrayList<>(List.of("--dry-run", "--text-column", text));
    DataFrameReader reader = job.spark.read();
    for (String option : options) {
      more.addAll(List.of("--input-option", option));
      reader.option(option.split("=")[0], option.split("=")[1]);
    }
    StructType schema = reader.parquet(input).schema();
    for (String name : schema.fieldNames()) {
      more.addAll(List.of("--keep", name));
    }
    int jobs = jobsOf(() -> job.run(arguments(input, more.toArray(String[]::new))));
    assertThat(job.output()).contains(": " + Corpus.describe(schema) + ", input_ids ARRAY<INT>");
    return jobs;
  }

  @Test
  void filesystemsThatAreNotThereAreExplained() throws IOException {
    Path file = file("a.txt", "one");
    job.spark.sparkContext().hadoopConfiguration().set("fs.absent.impl", "org.example.Absent");
    for (String uri : List.of("absent://bucket/a.txt", "nonsense://bucket/a.txt")) {
      assertThat(fails(Exit.REFUSED, uri)).contains("input");
      assertThat(fails(Exit.REFUSED, file.toString(), "--tokenizer", uri)).contains("tokenizer");
      try {
        job.run("--input", file.toString(), "--output", uri);
        throw new AssertionError("the run did not fail");
      } catch (JobException e) {
        assertThat(e.exit()).isEqualTo(Exit.REFUSED);
        assertThat(e).hasMessageContaining("output");
      }
    }
  }

  @Test
  void wrongValuesOfKeysAndColumnsKeptTwiceAreWrongUse() {
    try {
      TokenizeOptions.checkKeys(
          new SparkConf(false)
              .set("spark.quern.progress", "loud")
              .set("spark.quern.metrics.interval", "1ms"));
      throw new AssertionError("not noticed");
    } catch (JobException e) {
      assertThat(e.exit()).isEqualTo(Exit.USAGE);
      assertThat(e)
          .hasMessageContaining("spark.quern.progress: 'loud'")
          .hasMessageContaining("spark.quern.metrics.interval: '1ms'");
    }
    assertThat(fails(Exit.USAGE, "in.txt", "--keep=id,ID")).contains("--keep names a column twice");
  }
}
