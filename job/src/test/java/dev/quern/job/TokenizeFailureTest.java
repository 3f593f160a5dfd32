package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.quern.job.JobException.Exit;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.ForeachPartitionFunction;
import org.apache.spark.serializer.KryoSerializer;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.api.java.UDF2;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.ArrowUtils;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import scala.reflect.ClassTag;

/**
 * What may go wrong during a run: no document is lost or doubled, and nothing half made is seen.
 */
class TokenizeFailureTest {
  private static final int DOCUMENTS = 400;
  private static final CountDownLatch SLOW_BEGAN = new CountDownLatch(1);
  private static final AtomicBoolean SLOW_ENDED = new AtomicBoolean();
  private static JobSession job;
  @TempDir Path folder;

  @BeforeAll
  static void start() {
    job = new JobSession();
    UDF2<String, Long, String> once =
        (text, id) -> {
          if (id % 100 == 50 && TaskContext.get().attemptNumber() == 0) {
            throw new IllegalStateException("this document fails at first");
          }
          return text;
        };
    UDF2<String, Long, String> always =
        (text, id) -> {
          if (id == 250) {
            throw new IllegalStateException("this document always fails");
          }
          return text;
        };
    job.spark.udf().register("fails_once", once, DataTypes.StringType);
    job.spark.udf().register("fails_always", always, DataTypes.StringType);
    // Every tenth has no text: the quarantine must obey the same rules.
    job.spark
        .range(0, DOCUMENTS, 1, 4)
        .selectExpr("id", "if(id % 10 = 3, null, concat('document number ', id)) as text")
        .createOrReplaceTempView("numbered");
    for (String udf : List.of("fails_once", "fails_always")) {
      job.spark
          .sql("SELECT id, " + udf + "(text, id) AS text FROM numbered")
          .createOrReplaceTempView(udf);
    }
  }

  @AfterAll
  static void stop() {
    job.close();
  }

  private String out() {
    return folder.resolve("out").toString();
  }

  private TokenizeResult run(String table, String... more) {
    return job.run(arguments(table, more));
  }

  private String[] arguments(String table, String... more) {
    List<String> arguments =
        new ArrayList<>(
            List.of("--input-format=table", "--input", table, "--output", out(), "--keep=id"));
    arguments.addAll(List.of(more));
    return arguments.toArray(String[]::new);
  }

  private JobException failed(String table, String... more) {
    try {
      run(table, more);
    } catch (JobException e) {
      assertThat(e.exit()).isEqualTo(Exit.FAILED);
      return e;
    }
    throw new AssertionError("the run did not fail");
  }

  private Map<Long, List<Integer>> expected() {
    Map<Long, List<Integer>> expected = new TreeMap<>();
    for (long id = 0; id < DOCUMENTS; id++) {
      if (id % 10 != 3) {
        expected.put(id, job.ids("document number " + id));
      }
    }
    return expected;
  }

  @ParameterizedTest
  @ValueSource(strings = {"parquet", "arrow"})
  void aTaskThatFailsInTheMiddleOfAFileIsDoneAgainAndEachDocumentIsThereOnce(String format)
      throws IOException {
    TokenizeResult result = run("fails_once", "--format", format);
    assertThat(result.documents()).isEqualTo(DOCUMENTS);
    assertThat(result.quarantined()).isEqualTo(DOCUMENTS / 10);
    assertThat(result.tokens()).isEqualTo(expected().values().stream().mapToLong(List::size).sum());
    if (format.equals("parquet")) {
      assertThat(job.read(out())).isEqualTo(expected());
    }
    assertThat(job.spark.read().parquet(result.quarantine()).select("id").distinct().count())
        .isEqualTo(DOCUMENTS / 10);
    assertThat(job.spark.read().parquet(result.quarantine()).count()).isEqualTo(DOCUMENTS / 10);
    assertThat(JobSession.list(folder)).containsExactly("out");
    try (var files = Files.list(folder.resolve("out"))) {
      assertThat(files.filter(file -> file.getFileName().toString().startsWith("part-")))
          .hasSize(4);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"parquet", "arrow"})
  void aTaskThatAlwaysFailsFailsTheRunAndLeavesNothing(String format) {
    long before = ArrowUtils.rootAllocator().getAllocatedMemory();
    assertThat(failed("fails_always", "--format", format))
        .hasMessageContaining("this document always fails")
        .hasMessageContaining("nothing was written");
    assertThat(JobSession.list(folder)).isEmpty();
    assertThat(ArrowUtils.rootAllocator().getAllocatedMemory()).isEqualTo(before);
  }

  @Test
  void theOldOutputStaysAsItWasIfTheNewOneFails() {
    run("numbered");
    Map<Long, List<Integer>> old = job.read(out());
    assertThat(failed("fails_always", "--mode=overwrite")).hasMessageContaining("is as it was");
    assertThat(job.read(out())).isEqualTo(old).isEqualTo(expected());
    assertThat(JobSession.list(folder)).containsExactly("out");
  }

  /** Files with a defect. */
  private record Defective(RowFile.Opener files, Defect defect) implements RowFile.Opener {
    @Override
    public String extension() {
      return files.extension();
    }

    @Override
    public RowFile open(
        org.apache.hadoop.fs.Path path, TaskAttemptContext context, Map<String, String> metadata)
        throws IOException {
      RowFile whole = files.open(path, context, metadata);
      return new RowFile() {
        private boolean lost = defect != Defect.LOSES_A_ROW;

        @Override
        public void write(InternalRow row) throws IOException {
          if (lost) {
            whole.write(row);
          }
          lost = true;
        }

        @Override
        public void close() throws IOException {
          whole.close();
          if (defect == Defect.CANNOT_BE_COMPLETED) {
            throw new IOException("the disk is full");
          }
        }

        @Override
        public long rows() {
          return whole.rows();
        }
      };
    }
  }

  private enum Defect {
    LOSES_A_ROW,
    CANNOT_BE_COMPLETED
  }

  /** Loses one row of each file, as a defective encoder or file system might. */
  public static final class LosingFormat extends ParquetTokenFormat {
    private static final long serialVersionUID = 1L;

    @Override
    RowFile.Opener prepare(
        SparkSession session,
        Job job,
        scala.collection.immutable.Map<String, String> options,
        StructType schema) {
      return new Defective(super.prepare(session, job, options, schema), Defect.LOSES_A_ROW);
    }
  }

  @Test
  void aRunWhoseCountsDoNotMatchFailsAndIsNotSeen() {
    try {
      job.run(JobSession.options(arguments("numbered")), LosingFormat.class);
    } catch (JobException e) {
      assertThat(e.exit()).isEqualTo(Exit.FAILED);
      assertThat(e)
          .hasMessageContaining(
              "the counts do not match: 400 documents were read, but 356 rows written and 40 set"
                  + " aside");
      assertThat(JobSession.list(folder)).isEmpty();
      return;
    }
    throw new AssertionError("rows were lost and nobody noticed");
  }

  /** Fails when it is completed. */
  public static final class UnclosableFormat extends ArrowTokenFormat {
    private static final long serialVersionUID = 1L;

    @Override
    RowFile.Opener prepare(
        SparkSession session,
        Job job,
        scala.collection.immutable.Map<String, String> options,
        StructType schema) {
      return new Defective(
          super.prepare(session, job, options, schema), Defect.CANNOT_BE_COMPLETED);
    }
  }

  @Test
  void aFileThatCannotBeCompletedLeavesNothing() {
    try {
      job.run(JobSession.options(arguments("numbered", "--format=arrow")), UnclosableFormat.class);
    } catch (JobException e) {
      assertThat(e).hasMessageContaining("the disk is full");
      assertThat(JobSession.list(folder)).isEmpty();
      return;
    }
    throw new AssertionError("the run did not fail");
  }

  @Test
  void anotherCommitterOfHadoopMovesTheQuarantineToo() {
    String key = "mapreduce.outputcommitter.factory.class";
    var hadoop = job.spark.sparkContext().hadoopConfiguration();
    hadoop.set(
        key, "org.apache.hadoop.mapreduce.lib.output.committer.manifest.ManifestCommitterFactory");
    try {
      TokenizeResult result = run("fails_once");
      assertThat(job.read(out())).isEqualTo(expected());
      assertThat(job.spark.read().parquet(result.quarantine()).count()).isEqualTo(40);
      assertThat(JobSession.list(folder)).containsExactly("out");
    } finally {
      hadoop.unset(key);
    }
  }

  @Test
  void aFolderLeftByAKilledRunIsExplainedAndNotTouched() throws IOException {
    Files.createDirectory(folder.resolve(".out.quern-dead"));
    run("numbered");
    assertThat(job.output()).contains(".out.quern-dead is of a run that was killed");
    assertThat(JobSession.list(folder)).containsExactly(".out.quern-dead", "out");
  }

  /** What goes through spark.serializer: task results, and broadcasts on a cluster. */
  @Test
  void kryoCanWriteWhatTasksSendBack() throws Exception {
    CountingCommitProtocol protocol = new CountingCommitProtocol("0", out(), false);
    var hadoop = new org.apache.hadoop.conf.Configuration();
    hadoop.set("mapreduce.fileoutputcommitter.algorithm.version", "1");
    var id =
        new org.apache.hadoop.mapreduce.TaskAttemptID(
            new org.apache.hadoop.mapreduce.TaskID(
                "0", 0, org.apache.hadoop.mapreduce.TaskType.MAP, 0),
            0);
    hadoop.set("mapreduce.task.attempt.id", id.toString());
    hadoop.setBoolean("mapreduce.task.ismap", true);
    hadoop.set("mapreduce.job.id", id.getJobID().toString());
    var context = new org.apache.hadoop.mapreduce.task.TaskAttemptContextImpl(hadoop, id);
    protocol.setupJob(context);
    protocol.setupTask(context);
    var kryo = new KryoSerializer(job.spark.sparkContext().getConf()).newInstance();
    List<Object> sent =
        List.of(protocol.commitTask(context).obj(), TokenizerSpec.builtIn(JobSession.TOKENIZER));
    for (Object value : sent) {
      ClassTag<Object> type = ClassTag.apply(value.getClass());
      Object back = kryo.deserialize(kryo.serialize(value, type), type);
      assertThat(back).usingRecursiveComparison().isEqualTo(value);
    }
  }

  /** A local file system whose next renames and deletions of a path fail. */
  public static final class FailingFiles extends RawLocalFileSystem {
    /** Renames to, and deletions of, paths whose names match fail, this often. */
    static final Map<String, Integer> FAILURES = new ConcurrentHashMap<>();

    @Override
    public URI getUri() {
      return URI.create("failing:///");
    }

    @Override
    public String getScheme() {
      return "failing";
    }

    private static boolean fails(String operation, org.apache.hadoop.fs.Path path) {
      return FAILURES.entrySet().stream()
          .anyMatch(
              entry ->
                  (operation + path.getName()).matches(entry.getKey())
                      && FAILURES.merge(entry.getKey(), -1, Integer::sum) >= 0);
    }

    @Override
    public boolean rename(org.apache.hadoop.fs.Path from, org.apache.hadoop.fs.Path to)
        throws IOException {
      if (fails("rename ", to)) {
        // As where a rename copies.
        mkdirs(to);
        create(new org.apache.hadoop.fs.Path(to, "part-half")).close();
        return false;
      }
      return super.rename(from, to);
    }

    @Override
    public boolean delete(org.apache.hadoop.fs.Path path, boolean recursive) throws IOException {
      return !fails("delete ", path) && super.delete(path, recursive);
    }
  }

  private OutputFolder failingOverwrite(Map<String, Integer> failures) throws IOException {
    var conf = new org.apache.hadoop.conf.Configuration();
    conf.set("fs.failing.impl", FailingFiles.class.getName());
    Files.createDirectories(folder.resolve("out"));
    Files.writeString(folder.resolve("out/old"), "old");
    Files.createDirectories(folder.resolve(".out.quern-run"));
    Files.writeString(folder.resolve(".out.quern-run/new"), "new");
    FailingFiles.FAILURES.clear();
    FailingFiles.FAILURES.putAll(failures);
    return OutputFolder.check(
        "failing://" + out(), TokenizeOptions.Mode.OVERWRITE, List.of(), "run", conf);
  }

  @Test
  void aFailedSwapPutsTheOldOutputBack() throws IOException {
    try (OutputFolder output = failingOverwrite(Map.of("rename out", 1))) {
      assertThatThrownBy(output::publish).hasMessageContaining("can't rename");
      assertThat(output.afterFailure()).contains("is as it was");
    }
    assertThat(JobSession.list(folder)).containsExactly("out");
    assertThat(JobSession.list(folder.resolve("out"))).containsExactly("old");
  }

  @Test
  void aRollbackThatFailsSaysWhereTheOldOutputIs() throws IOException {
    try (OutputFolder output = failingOverwrite(Map.of("rename out", 2))) {
      assertThatThrownBy(output::publish)
          .hasMessageContaining("can't rename")
          .satisfies(e -> assertThat(e.getSuppressed()).hasSize(1));
      assertThat(output.afterFailure()).contains(".out.quern-run-old").doesNotContain("as it was");
    }
    assertThat(JobSession.list(folder.resolve(".out.quern-run-old"))).containsExactly("old");
  }

  @Test
  void anOldOutputThatCannotBeRemovedDoesNotFailTheRun() throws IOException {
    try (OutputFolder output = failingOverwrite(Map.of("delete .*-old", 1))) {
      output.publish();
    }
    assertThat(JobSession.list(folder.resolve("out"))).containsExactly("new");
    assertThat(JobSession.list(folder)).containsExactly(".out.quern-run-old", "out");
  }

  @Test
  void aRunThatIsStoppedIsNotPublished() throws IOException {
    OutputFolder output = failingOverwrite(Map.of());
    output.close();
    assertThatThrownBy(output::publish).hasMessageContaining("is being stopped");
    assertThat(JobSession.list(folder.resolve("out"))).containsExactly("old");
  }

  /** Also while progress is shown, which marks the run's jobs for itself. */
  @Test
  void tasksOfAFailedRunAreWaitedFor() {
    RunDescription description =
        new RunDescription(JobSession.TOKENIZER, "ab".repeat(32), "fast", "", "none", Map.of());
    PrintStream lines = new PrintStream(OutputStream.nullOutputStream());
    try (RunRecord record = RunRecord.start(job.spark, description);
        TaskWatch watch = new TaskWatch(job.spark.sparkContext(), "run");
        Progress progress =
            Progress.start(job.spark, record, -1, Progress.Style.LINES, 20, lines)) {
      ForeachPartitionFunction<Long> work =
          rows -> {
            if (TaskContext.getPartitionId() == 0) {
              SLOW_BEGAN.await();
              throw new IllegalStateException("this task always fails");
            }
            SLOW_BEGAN.countDown();
            // As in a call of the native library, an interruption ends nothing.
            for (long begun = System.nanoTime(); System.nanoTime() - begun < 2_000_000_000L; ) {
              Thread.onSpinWait();
            }
            SLOW_ENDED.set(true);
          };
      assertThatThrownBy(() -> job.spark.range(0, 2, 1, 2).foreachPartition(work))
          .hasStackTraceContaining("this task always fails");
      watch.awaitEnds();
      assertThat(SLOW_ENDED).isTrue();
    }
  }
}
