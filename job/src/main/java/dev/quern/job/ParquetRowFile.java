package dev.quern.job;

import java.io.IOException;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.RecordWriter;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.hadoop.mapreduce.task.TaskAttemptContextImpl;
import org.apache.parquet.hadoop.ParquetOutputFormat;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.execution.datasources.parquet.ParquetFileFormat;
import org.apache.spark.sql.execution.datasources.parquet.ParquetWriteSupport;
import org.apache.spark.sql.internal.SQLConf;
import org.apache.spark.sql.types.StructType;

/** A Parquet file, written by Spark's own encoder, with metadata of ours in its footer. */
final class ParquetRowFile implements RowFile {
  private final TaskAttemptContext context;
  private final Support support;
  private final RecordWriter<Void, InternalRow> writer;
  private boolean closed;

  /** Spark's encoder, which also counts and signs. */
  private static final class Support extends ParquetWriteSupport {
    private final Map<String, String> metadata;
    private long rows;

    Support(Map<String, String> metadata) {
      this.metadata = metadata;
    }

    @Override
    public void write(InternalRow row) {
      super.write(row);
      rows++;
    }

    @Override
    public FinalizedWriteContext finalizeWrite() {
      return new FinalizedWriteContext(metadata);
    }
  }

  private ParquetRowFile(Path path, TaskAttemptContext context, Map<String, String> metadata)
      throws IOException {
    this.context = context;
    this.support = new Support(metadata);
    try {
      this.writer = new ParquetOutputFormat<InternalRow>(support).getRecordWriter(context, path);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while opening " + path, e);
    }
  }

  /**
   * Puts what Spark's encoder wants to know into the configuration of the write, on the driver.
   *
   * @param options those of the write: {@code compression}
   */
  static void prepare(
      SparkSession session,
      Job job,
      scala.collection.immutable.Map<String, String> options,
      StructType schema) {
    new ParquetFileFormat().prepareWrite(session, job, options, schema);
    // The commit protocol asks Hadoop for the committer; Parquet's own only adds summary files.
    job.getConfiguration().unset(SQLConf.OUTPUT_COMMITTER_CLASS().key());
  }

  /** A file of tokens; the schema is the one given to {@link #prepare}. */
  static ParquetRowFile tokens(Path path, TaskAttemptContext context, Map<String, String> metadata)
      throws IOException {
    return new ParquetRowFile(path, context, metadata);
  }

  /** A file of rows set aside. */
  static ParquetRowFile quarantine(Path path, TaskAttemptContext context, StructType schema)
      throws IOException {
    Configuration configuration = new Configuration(context.getConfiguration());
    ParquetWriteSupport.setSchema(schema, configuration);
    return new ParquetRowFile(
        path, new TaskAttemptContextImpl(configuration, context.getTaskAttemptID()), Map.of());
  }

  @Override
  public void write(InternalRow row) throws IOException {
    try {
      writer.write(null, row);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while writing", e);
    }
  }

  @Override
  public void close() throws IOException {
    if (closed) {
      return;
    }
    closed = true;
    try {
      writer.close(context);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while completing a file", e);
    }
  }

  @Override
  public long rows() {
    return support.rows;
  }
}
