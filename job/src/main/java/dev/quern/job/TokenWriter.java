package dev.quern.job;

import java.io.IOException;
import java.io.UncheckedIOException;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.ProjectingInternalRow;
import org.apache.spark.sql.execution.datasources.OutputWriter;
import scala.jdk.javaapi.CollectionConverters;

/**
 * Parts the rows of a task into its token file and its quarantine file. The latter lies in a folder
 * beside the former, inside the folder of the task attempt, so that the committer moves or deletes
 * both alike; it is made when the first row is set aside.
 */
final class TokenWriter extends OutputWriter {
  /** Where an output has its quarantine. */
  static final String QUARANTINE = RunRecord.FOLDER + "/quarantine";

  private final String path;
  private final TaskAttemptContext context;
  private final TokenColumns columns;
  private final RowFile tokens;
  private final ProjectingInternalRow tokenRow;
  private final ProjectingInternalRow setAsideRow;
  private final TaskCounts counts = TaskCounts.current();
  private RowFile quarantine;
  private boolean closed;

  TokenWriter(String path, TaskAttemptContext context, TokenColumns columns, RowFile tokens) {
    this.path = path;
    this.context = context;
    this.columns = columns;
    this.tokens = tokens;
    this.tokenRow = view(columns.tokens(), columns.tokenOrdinals());
    this.setAsideRow = view(columns.quarantine(), columns.quarantineOrdinals());
  }

  private static ProjectingInternalRow view(
      org.apache.spark.sql.types.StructType schema, java.util.List<Integer> ordinals) {
    java.util.List<Object> boxed = java.util.List.copyOf(ordinals);
    return ProjectingInternalRow.apply(schema, CollectionConverters.asScala(boxed).toIndexedSeq());
  }

  @Override
  public void write(InternalRow row) {
    try {
      if (!row.isNullAt(columns.idsOrdinal())) {
        tokenRow.project(row);
        tokens.write(tokenRow);
      } else {
        if (quarantine == null) {
          quarantine = ParquetRowFile.quarantine(quarantinePath(), context, columns.quarantine());
        }
        setAsideRow.project(row);
        quarantine.write(setAsideRow);
      }
    } catch (IOException e) {
      throw new UncheckedIOException("can't write to " + path, e);
    } catch (OutOfMemoryError e) {
      throw HeapSpace.explain(
          e,
          row.isNullAt(columns.idsOrdinal())
              ? "writing a document set aside"
              : "writing a document of "
                  + row.getArray(columns.idsOrdinal()).numElements()
                  + " ids");
    }
  }

  private Path quarantinePath() {
    Path file = new Path(path);
    String name = file.getName();
    int dot = name.indexOf('.');
    String stem = dot < 0 ? name : name.substring(0, dot);
    return new Path(new Path(file.getParent(), QUARANTINE), stem + ".parquet");
  }

  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    try {
      try {
        tokens.close();
      } finally {
        if (quarantine != null) {
          quarantine.close();
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException("can't complete " + path, e);
    }
    counts.written += tokens.rows();
    counts.tokenFiles++;
    if (quarantine != null) {
      counts.quarantined += quarantine.rows();
      counts.quarantineFiles++;
    }
  }

  @Override
  public String path() {
    return path;
  }
}
