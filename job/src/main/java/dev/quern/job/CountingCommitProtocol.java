package dev.quern.job;

import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.JobContext;
import org.apache.hadoop.mapreduce.OutputCommitter;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.lib.output.PathOutputCommitter;
import org.apache.hadoop.mapreduce.lib.output.PathOutputCommitterFactory;
import org.apache.spark.internal.io.FileCommitProtocol.TaskCommitMessage;
import org.apache.spark.internal.io.FileNameSpec;
import org.apache.spark.sql.execution.datasources.SQLHadoopMapReduceCommitProtocol;
import scala.Option;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Spark's commit protocol, whose task messages also carry what the attempt has read and written.
 * Before the job is committed, documents read = rows written + rows set aside must hold over the
 * attempts that were committed; otherwise the job fails, and its output does not become visible.
 */
public final class CountingCommitProtocol extends SQLHadoopMapReduceCommitProtocol {
  private static final long serialVersionUID = 1L;
  private static final String WRITE_ID = "spark.sql.sources.writeJobUUID";
  private final String jobId;
  private final String outputPath;
  private transient PathOutputCommitter committer;

  /**
   * Spark's own message, and the counts beside it. Not a record: task results go through
   * spark.serializer, and Kryo can't write records.
   */
  private static final class Counted implements Serializable {
    private static final long serialVersionUID = 1L;
    private Object message;
    private TaskCounts counts;
  }

  /** As Spark calls it. */
  public CountingCommitProtocol(String jobId, String path, boolean dynamicPartitionOverwrite) {
    super(jobId, path, dynamicPartitionOverwrite);
    this.jobId = jobId;
    this.outputPath = path;
  }

  /**
   * The committer that Hadoop is configured to use for this file system ({@code
   * mapreduce.outputcommitter.factory.*}), as for any other job; by default FileOutputCommitter.
   * What counts is that it commits the whole folder of an attempt: the quarantine is a folder
   * inside.
   */
  @Override
  public OutputCommitter setupCommitter(TaskAttemptContext context) {
    try {
      committer = PathOutputCommitterFactory.createCommitter(new Path(outputPath), context);
      return committer;
    } catch (IOException e) {
      throw new java.io.UncheckedIOException("no output committer for " + outputPath, e);
    }
  }

  @Override
  public String newTaskTempFile(
      TaskAttemptContext context, Option<String> directory, FileNameSpec spec) {
    // Spark asks only FileOutputCommitter for its folder, and lets others write in place.
    try {
      return new Path(committer.getWorkPath(), getFilename(context, spec)).toString();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException("no folder to write to for " + outputPath, e);
    }
  }

  /**
   * Committers other than FileOutputCommitter (manifest, S3A) find the files of a write by an id in
   * the configuration. Spark 4.2 sets it after it has set up the job, and then tasks and driver
   * would look in different places: it is set here, to the same id in all calls.
   */
  private void identify(JobContext context) {
    context.getConfiguration().set(WRITE_ID, jobId);
  }

  @Override
  public void setupJob(JobContext context) {
    identify(context);
    super.setupJob(context);
  }

  @Override
  public void abortJob(JobContext context) {
    identify(context);
    super.abortJob(context);
  }

  @Override
  public void setupTask(TaskAttemptContext context) {
    identify(context);
    super.setupTask(context);
  }

  @Override
  public void abortTask(TaskAttemptContext context) {
    identify(context);
    super.abortTask(context);
  }

  @Override
  public TaskCommitMessage commitTask(TaskAttemptContext context) {
    identify(context);
    Counted counted = new Counted();
    counted.message = super.commitTask(context).obj();
    counted.counts = TaskCounts.current();
    counted.counts.end();
    return new TaskCommitMessage(counted);
  }

  @Override
  public void commitJob(JobContext context, Seq<TaskCommitMessage> commits) {
    TaskCounts sums = new TaskCounts();
    List<TaskCounts> tasks = new ArrayList<>();
    List<TaskCommitMessage> messages = new ArrayList<>();
    for (TaskCommitMessage commit : CollectionConverters.asJava(commits)) {
      Counted counted = (Counted) commit.obj();
      sums.add(counted.counts);
      tasks.add(counted.counts);
      messages.add(new TaskCommitMessage(counted.message));
    }
    if (sums.documents != sums.written + sums.quarantined) {
      throw new IllegalStateException(
          "the counts do not match: "
              + sums.documents
              + " documents were read, but "
              + sums.written
              + " rows written and "
              + sums.quarantined
              + " set aside. The output is not committed; this is a defect of Quern or of the"
              + " storage, please report it");
    }
    identify(context);
    ActiveRun.of(context.getConfiguration().get(ActiveRun.OPTION)).commit(sums, tasks);
    super.commitJob(context, CollectionConverters.asScala(messages).toList());
  }
}
