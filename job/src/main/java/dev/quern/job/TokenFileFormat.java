package dev.quern.job;

import dev.quern.sql.TokenizerReference;
import dev.quern.tokenizer.QuernLibrary;
import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.TreeMap;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.execution.datasources.FileFormat;
import org.apache.spark.sql.execution.datasources.OutputWriter;
import org.apache.spark.sql.execution.datasources.OutputWriterFactory;
import org.apache.spark.sql.internal.SQLConf;
import org.apache.spark.sql.types.StructType;
import scala.Option;

/**
 * What the job's output formats share: Spark's write calls it through {@code
 * df.write().format(class)} and keeps its commit protocol, retries and speculation. A format says
 * how one token file is written.
 */
abstract class TokenFileFormat implements FileFormat, Serializable {
  private static final long serialVersionUID = 1L;

  /**
   * Puts what executors have to know into the configuration of the write, on the driver.
   *
   * @param options those of the write
   * @param schema of the token files
   */
  abstract RowFile.Opener prepare(
      SparkSession session,
      Job job,
      scala.collection.immutable.Map<String, String> options,
      StructType schema);

  /** These formats only write; Spark reads the files with its own. */
  @Override
  public Option<StructType> inferSchema(
      SparkSession session,
      scala.collection.immutable.Map<String, String> parameters,
      scala.collection.immutable.Seq<FileStatus> files) {
    return Option.empty();
  }

  @Override
  public OutputWriterFactory prepareWrite(
      SparkSession session,
      Job job,
      scala.collection.immutable.Map<String, String> options,
      StructType dataSchema) {
    ActiveRun run = ActiveRun.of(job.getConfiguration().get(ActiveRun.OPTION));
    RowFile.Opener files = prepare(session, job, options, run.columns().tokens());
    // The commit protocol asks Hadoop for the committer; Parquet's own only adds summary files.
    job.getConfiguration().unset(SQLConf.OUTPUT_COMMITTER_CLASS().key());
    return new Factory(files, run.columns(), run.tokenizer(), run.metadata());
  }

  private static final class Factory extends OutputWriterFactory {
    private static final long serialVersionUID = 1L;
    private final RowFile.Opener files;
    private final TokenColumns columns;
    private final TokenizerReference tokenizer;
    private final TreeMap<String, String> metadata;

    Factory(
        RowFile.Opener files,
        TokenColumns columns,
        TokenizerReference tokenizer,
        Map<String, String> metadata) {
      this.files = files;
      this.columns = columns;
      this.tokenizer = tokenizer;
      this.metadata = new TreeMap<>(metadata);
    }

    @Override
    public String getFileExtension(TaskAttemptContext context) {
      return files.extension();
    }

    @Override
    public OutputWriter newInstance(
        String path, StructType dataSchema, TaskAttemptContext context) {
      // The allocator is known once the library is loaded, which a task with no rows has not done.
      tokenizer.open();
      Map<String, String> footer = new TreeMap<>(metadata);
      footer.put("quern.allocator", QuernLibrary.allocator());
      try {
        RowFile tokens = files.open(new Path(path), context, footer);
        return new TokenWriter(path, context, columns, tokens);
      } catch (IOException e) {
        throw new UncheckedIOException("can't write to " + path, e);
      }
    }
  }
}
