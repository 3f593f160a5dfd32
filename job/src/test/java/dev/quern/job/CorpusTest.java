package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import dev.quern.job.JobException.Exit;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.spark.SparkConf;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerJobStart;
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

  @Test
  void aDryRunRunsNothing() throws Exception {
    job.spark
        .range(0, 40_000, 1, 4)
        .selectExpr("id", "cast(id as string) as text")
        .repartition(3)
        .createOrReplaceTempView("shuffled");
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
      for (String limit : List.of("--seed=0", "--limit=20000")) {
        job.run(arguments("shuffled", "--input-format=table", "--dry-run", limit));
        assertThat(job.output()).contains("Dry run");
      }
      job.spark.sparkContext().listenerBus().waitUntilEmpty(60_000);
      assertThat(jobs).hasValue(0);
    } finally {
      job.spark.sparkContext().removeSparkListener(listener);
    }
    TokenizeResult limited =
        job.run(arguments("shuffled", "--input-format=table", "--limit=20000"));
    assertThat(limited.documents()).isEqualTo(20_000);
    assertThat(JobSession.list(folder.resolve("out")))
        .filteredOn(name -> name.startsWith("part-"))
        .hasSize(1);
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
