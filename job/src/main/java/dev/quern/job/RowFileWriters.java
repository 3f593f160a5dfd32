package dev.quern.job;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Map;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.execution.datasources.OutputWriter;
import org.apache.spark.sql.execution.datasources.OutputWriterFactory;
import org.apache.spark.sql.types.StructType;

/** Makes Spark's writers of files that any DataFrame or table is written to. */
final class RowFileWriters extends OutputWriterFactory {
  private static final long serialVersionUID = 1L;
  private final RowFile.Opener files;

  RowFileWriters(RowFile.Opener files) {
    this.files = files;
  }

  @Override
  public String getFileExtension(TaskAttemptContext context) {
    return files.extension();
  }

  @Override
  public OutputWriter newInstance(String path, StructType schema, TaskAttemptContext context) {
    try {
      return new Writer(
          path,
          files.open(new Path(path), context, Map.of("quern.version", QuernVersion.current())));
    } catch (IOException e) {
      throw new UncheckedIOException("can't write to " + path, e);
    }
  }

  private static final class Writer extends OutputWriter {
    private final String path;
    private final RowFile file;

    Writer(String path, RowFile file) {
      this.path = path;
      this.file = file;
    }

    @Override
    public void write(InternalRow row) {
      try {
        file.write(row);
      } catch (IOException e) {
        throw new UncheckedIOException("can't write to " + path, e);
      }
    }

    @Override
    public void close() {
      try {
        file.close();
      } catch (IOException e) {
        throw new UncheckedIOException("can't complete " + path, e);
      }
    }

    @Override
    public String path() {
      return path;
    }
  }
}
