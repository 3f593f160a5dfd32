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
import org.apache.spark.sql.types.StructType;
import scala.Option;

/**
 * What the output formats share: Spark's write calls it through {@code df.write().format(class)}
 * and keeps its commit protocol, retries and speculation. A format says how one token file is
 * written.
 */
abstract class TokenFileFormat implements FileFormat, Serializable {
  private static final long serialVersionUID = 1L;

  /** What a format needs to open a file on an executor. */
  record FileSettings(TokenColumns columns, String compression, String timeZone)
      implements Serializable {}

  /** How the names of its files end. */
  abstract String extension(FileSettings settings);

  /**
   * Opens a token file.
   *
   * @param metadata for its footer
   */
  abstract RowFile open(
      Path path, TaskAttemptContext context, FileSettings settings, Map<String, String> metadata)
      throws IOException;

  /** The codec of the quarantine, and of the token files if they are Parquet. */
  abstract String parquetCompression(String compression);

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
    // Every format writes Parquet: the quarantine is.
    ParquetRowFile.prepare(
        session,
        job,
        options.updated("compression", parquetCompression(run.compression())),
        run.columns().tokens());
    return new Factory(
        this,
        new FileSettings(
            run.columns(), run.compression(), session.conf().get("spark.sql.session.timeZone")),
        run.tokenizer(),
        run.metadata());
  }

  private static final class Factory extends OutputWriterFactory {
    private static final long serialVersionUID = 1L;
    private final TokenFileFormat format;
    private final FileSettings settings;
    private final TokenizerReference tokenizer;
    private final TreeMap<String, String> metadata;

    Factory(
        TokenFileFormat format,
        FileSettings settings,
        TokenizerReference tokenizer,
        Map<String, String> metadata) {
      this.format = format;
      this.settings = settings;
      this.tokenizer = tokenizer;
      this.metadata = new TreeMap<>(metadata);
    }

    @Override
    public String getFileExtension(TaskAttemptContext context) {
      return format.extension(settings);
    }

    @Override
    public OutputWriter newInstance(
        String path, StructType dataSchema, TaskAttemptContext context) {
      // The allocator is known once the library is loaded, which a task with no rows has not done.
      tokenizer.open();
      Map<String, String> footer = new TreeMap<>(metadata);
      footer.put("quern.allocator", QuernLibrary.allocator());
      try {
        RowFile tokens = format.open(new Path(path), context, settings, footer);
        return new TokenWriter(path, context, settings.columns(), tokens);
      } catch (IOException e) {
        throw new UncheckedIOException("can't write to " + path, e);
      }
    }
  }
}
