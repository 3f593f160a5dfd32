package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PipelineTest {
  private static final Path CHECKOUT = Path.of("").toAbsolutePath().getParent();
  private static SparkSession session;

  private final StringWriter progress = new StringWriter();

  @TempDir Path folder;

  @BeforeEach
  void root() {
    System.setProperty("quern.root", CHECKOUT.toString());
  }

  @AfterEach
  void noRoot() {
    System.clearProperty("quern.root");
  }

  @AfterAll
  static void stop() throws Exception {
    if (session != null) {
      session.close();
      session = null;
    }
  }

  @Test
  void onlyTheStockCopyHasSparksOwnDefaults() {
    List<String> copy = command("copy");
    List<String> stock = command(Pipeline.STOCK_COPY);
    assertThat(copy).contains("-Xmx1800m", "-XX:+UseParallelGC", "-Dspark.master=local[2]");
    assertThat(copy).anyMatch(part -> part.startsWith("-Dspark.plugins="));
    assertThat(stock).contains("-Xmx1800m", "-Dspark.master=local[2]");
    assertThat(stock).noneMatch(part -> part.contains("ParallelGC") || part.contains("plugins"));
    assertThat(copy).containsAll(stock);
  }

  private static List<String> command(String pipeline) {
    return new PipelineTask(
            pipeline, "in", "ids", "out", "gpt2", null, List.of(), 2, 1, List.of(), "result")
        .javaCommand(Path.of("task.json"));
  }

  /** In this JVM; the processes have theirs. */
  private static SparkSession session() {
    if (session == null) {
      session =
          SparkSession.builder()
              .master("local[2]")
              .config("spark.ui.enabled", "false")
              .config("spark.driver.host", "localhost")
              .config("spark.driver.bindAddress", "127.0.0.1")
              .getOrCreate();
    }
    return session;
  }

  private Corpus corpus(int bytes) {
    return Corpus.read(
        List.of(), new Corpus.Options("text", false, bytes, 0), folder.resolve("corpus"));
  }

  private Pipeline.Plan plan(PipelineInput input, List<String> pipelines, String json) {
    return new Pipeline.Plan(
        input,
        "sample",
        "cl100k_base",
        json,
        "0123456789abcdef",
        pipelines,
        List.of("--format", "parquet", "--compression", "snappy"),
        2,
        2,
        2);
  }

  private static Map<String, Object> kernel(
      Path flat, int documents, long bytes, int threads, int passes) {
    return Map.of("tool", "quern", "cold_mb_s", 1.0, "warm_mb_s", 2.0, "warm_median_mb_s", 1.5);
  }

  private Map<String, Object> inThisJvm(PipelineTask task) throws java.io.IOException {
    return PipelineRun.run(session(), task);
  }

  @Test
  void theInputHasDistinctDocumentsOfTheWantedBytesAndIsMadeOnce() throws Exception {
    Corpus corpus = corpus(20_000);
    PipelineInput input = PipelineInput.of(corpus, 50_000, folder);
    assertThat(input.bytes()).isBetween(50_000L, 70_000L);
    List<String> texts = new ArrayList<>();
    try (Documents.Reader reader = new Documents.Reader(input.flat())) {
      for (byte[] text = reader.text(); text != null; text = reader.text()) {
        texts.add(new String(text, java.nio.charset.StandardCharsets.UTF_8));
      }
    }
    assertThat(texts).hasSize(input.documents()).doesNotHaveDuplicates();
    assertThat(input.documents()).isGreaterThan((int) corpus.documents() * 2);
    // Parquet has the same, in the order of the ids.
    List<String> rows =
        session()
            .read()
            .parquet(input.folder().toString())
            .orderBy("id")
            .select("text")
            .collectAsList()
            .stream()
            .map(row -> row.getString(0))
            .toList();
    assertThat(rows).isEqualTo(texts);
    try (Stream<Path> files = Files.list(input.folder())) {
      assertThat(files.filter(file -> file.toString().endsWith(".parquet"))).hasSize(8);
    }
    Files.writeString(input.folder().resolve("_seen"), "");
    assertThat(PipelineInput.of(corpus, 50_000, folder)).isEqualTo(input);
    assertThat(input.folder().resolve("_seen")).exists();
  }

  @Test
  void theHashDependsOnIdsAndTheirOrderButNotOnRowsOrder() {
    String one = write("one", "(1, array(1, 2)), (2, array(3)), (3, cast(array() as array<int>))");
    String mixed =
        write("two", "(3, cast(array() as array<int>)), (2, array(3)), (1, array(1, 2))");
    Map<String, Object> hash = PipelineRun.hash(session(), one);
    assertThat(hash).containsEntry("documents", 3L).containsEntry("tokens", 3L);
    assertThat(PipelineRun.hash(session(), mixed)).isEqualTo(hash);
    for (String other :
        List.of(
            "(1, array(2, 1)), (2, array(3)), (3, cast(array() as array<int>))",
            "(1, array(1, 2, 3)), (2, cast(array() as array<int>)), (3, cast(array() as array<int>))",
            "(2, array(1, 2)), (1, array(3)), (3, cast(array() as array<int>))")) {
      assertThat(PipelineRun.hash(session(), write("other", other)).get("hash"))
          .isNotEqualTo(hash.get("hash"));
    }
  }

  private String write(String name, String rows) {
    String path = folder.resolve(name).toString();
    session()
        .sql("SELECT col1 AS id, col2 AS input_ids FROM VALUES " + rows)
        .write()
        .mode("overwrite")
        .parquet(path);
    return path;
  }

  @Test
  void pipelinesAreCheckedThenMeasuredInTurn() throws Exception {
    PipelineInput input = PipelineInput.of(corpus(20_000), 40_000, folder);
    List<String> order = new ArrayList<>();
    Pipeline.Runner runner =
        task -> {
          order.add(task.pipeline());
          return inThisJvm(task);
        };
    List<Map<String, Object>> lines =
        new Pipeline(
                plan(input, List.of("quern", "copy", "scan", "kernel"), null),
                runner,
                PipelineTest::kernel,
                folder,
                new PrintWriter(progress))
            .measure();
    assertThat(order)
        .containsExactly(
            "reference",
            "verify",
            "quern",
            "verify",
            "quern",
            "copy",
            "scan",
            "scan",
            "copy",
            "quern");
    assertThat(progress.toString()).contains("quern: ids equal to those of the reference engine");
    assertThat(lines).extracting("pipeline").containsExactly("quern", "copy", "scan", "kernel");
    Map<String, Object> quern = lines.get(0);
    assertThat(quern).containsEntry("verified", "ids").containsEntry("rounds", 2);
    assertThat(quern).containsKeys("cold_mb_s", "warm_mb_s", "warm_median_mb_s", "ids_hash");
    assertThat((Map<?, ?>) quern.get("over"))
        .extracting(Map::keySet)
        .isEqualTo(java.util.Set.of("copy", "scan", "kernel", "scan_and_kernel"));
    Map<?, ?> sample = (Map<?, ?>) ((List<?>) quern.get("samples")).get(0);
    assertThat((List<?>) sample.get("seconds")).hasSize(2);
    assertThat(PipelineCommand.table(lines)).contains("quern / scan_and_kernel");
    // The reference's ids stay; outputs don't.
    order.clear();
    new Pipeline(
            plan(input, List.of("scan"), null),
            runner,
            PipelineTest::kernel,
            folder,
            new PrintWriter(progress))
        .measure();
    assertThat(order).containsExactly("scan", "scan");
    try (Stream<Path> left = Files.list(folder.resolve("output"))) {
      assertThat(left).isEmpty();
    }
  }

  @Test
  void countsAreCheckedAndDividedByTheKernelAndByEachOther() throws Exception {
    PipelineInput input = PipelineInput.of(corpus(20_000), 40_000, folder);
    List<String> counts =
        List.of(PipelineCount.CACHED, PipelineCount.FILES, PipelineCount.BATCHES, "kernel");
    Pipeline.Runner runner =
        task -> {
          try {
            return inThisJvm(task);
          } finally {
            // A process of its own would have ended.
            session().catalog().clearCache();
          }
        };
    List<Map<String, Object>> lines =
        new Pipeline(
                plan(input, counts, null),
                runner,
                PipelineTest::kernel,
                folder,
                new PrintWriter(progress))
            .measure();
    assertThat(lines.get(0)).containsEntry("verified", "tokens counted");
    Object tokens = lines.get(0).get("tokens");
    assertThat(((Number) tokens).longValue()).isPositive();
    assertThat(lines.subList(0, 3)).allMatch(line -> line.get("tokens").equals(tokens));
    assertThat((Map<?, ?>) lines.get(0).get("over"))
        .extracting(Map::keySet)
        .isEqualTo(java.util.Set.of(PipelineCount.FILES, PipelineCount.BATCHES, "kernel"));
    assertThat(PipelineCommand.table(lines)).contains("count_files / count_batches");
    assertThat(PipelineTask.read(task(PipelineCount.CACHED)).javaCommand(folder))
        .contains("-Xmx4g", "-Dspark.quern.tokenizers.measured=/a/tokenizer.json");

    // A wrong number is no time.
    assertThatThrownBy(
            () ->
                new Pipeline(
                        plan(input, List.of(PipelineCount.FILES), null),
                        task -> {
                          Map<String, Object> result = runner.run(task);
                          result.computeIfPresent(
                              "tokens", (key, right) -> ((Number) right).longValue() - 1);
                          return result;
                        },
                        PipelineTest::kernel,
                        folder,
                        new PrintWriter(progress))
                    .measure())
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("count_files made");
  }

  private Path task(String pipeline) throws java.io.IOException {
    Path file = folder.resolve("task.json");
    new PipelineTask(
            pipeline,
            "in",
            "ids",
            "out",
            "/a/tokenizer.json",
            null,
            List.of(),
            2,
            1,
            List.of(),
            "result")
        .write(file);
    return file;
  }

  @Test
  void wrongIdsOfQuernAreNoTime() throws Exception {
    PipelineInput input = PipelineInput.of(corpus(20_000), 20_000, folder);
    Pipeline.Runner runner =
        task -> {
          Map<String, Object> result = inThisJvm(task);
          if (task.pipeline().equals("quern")) {
            // Another document's ids: the numbers of rows and of ids stay.
            String output = (String) result.get("output");
            session()
                .read()
                .parquet(output)
                .selectExpr("id + 1 AS id", "input_ids")
                .write()
                .parquet(output + "-moved");
            result.put("output", output + "-moved");
          }
          return result;
        };
    assertThatThrownBy(
            () ->
                new Pipeline(
                        plan(input, List.of("quern"), null),
                        runner,
                        PipelineTest::kernel,
                        folder,
                        new PrintWriter(progress))
                    .measure())
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("quern has other ids than the reference engine")
        .extracting("exitCode")
        .isEqualTo(BenchException.WRONG_RESULT);
  }

  /** The real processes: a Spark of its own for each, and what is installed for Python. */
  @Test
  @Tag("long")
  void processesOfTheirOwn() throws Exception {
    Path python = CHECKOUT.resolve("bench/target/pipeline-peers/bin/python");
    List<String> pipelines = new ArrayList<>(List.of("quern", "copy", "scan"));
    String json = null;
    if (Files.exists(python)) {
      pipelines.add("gigatoken");
      json = folder.resolve("tokenizer.json").toString();
      TokenizerJson.write(KernelTask.spec("cl100k_base", null), Path.of(json));
    }
    PipelineInput input = PipelineInput.of(corpus(0), 500_000, folder);
    List<Map<String, Object>> lines =
        new Pipeline(
                plan(input, pipelines, json),
                new PipelineProcesses(folder, python.toString()),
                PipelineTest::kernel,
                folder,
                new PrintWriter(progress))
            .measure();
    assertThat(lines).as(progress.toString()).hasSize(pipelines.size());
    assertThat(lines.get(0)).containsEntry("verified", "ids").containsKey("heap_mib");
    if (pipelines.contains("gigatoken")) {
      assertThat(lines.get(3)).containsEntry("verified", "ids");
    }
  }

  /** The packaged job, as its launcher starts it; skipped where it is not built. */
  @Test
  @Tag("long")
  void coldProcessesAreTimedWhole() throws Exception {
    assumeTrue(
        Files.isDirectory(CHECKOUT.resolve("job/target/spark/jars"))
            && Files.exists(CHECKOUT.resolve("job/target/quern-job.jar")),
        "the job is not packaged");
    PipelineInput input = PipelineInput.of(corpus(0), 500_000, folder);
    PipelineCold.Plan plan =
        new PipelineCold.Plan(
            CHECKOUT, "sample", "cl100k_base", List.of(), 2, 1, folder.resolve("out"));
    List<Map<String, Object>> lines =
        PipelineCold.measure(
            new PipelineProcesses(folder, null), input, plan, new PrintWriter(progress));
    assertThat(lines).extracting("pipeline").containsExactly("quern", "scan");
    assertThat(lines.get(0)).containsKeys("total_s", "over", "driver_memory");
    assertThat(PipelineCold.table(lines)).contains("quern / scan");
    assertThat(folder.resolve("out")).doesNotExist();
  }
}
