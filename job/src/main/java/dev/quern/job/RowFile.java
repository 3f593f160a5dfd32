package dev.quern.job;

import java.io.IOException;
import java.io.Serializable;
import java.util.Map;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.sql.catalyst.InternalRow;

/** One file that is being written. One implementation for each format. */
interface RowFile {
  /** Opens the files of a write, on executors. */
  interface Opener extends Serializable {
    /** How the names of its files end. */
    String extension();

    /**
     * Opens a file.
     *
     * @param metadata for its footer
     */
    RowFile open(Path path, TaskAttemptContext context, Map<String, String> metadata)
        throws IOException;
  }

  /** Writes a row; it may be reused after the call. */
  void write(InternalRow row) throws IOException;

  /** Completes the file. A second call does nothing. */
  void close() throws IOException;

  /** How many rows the file has, as its own encoder counts them; final after {@link #close}. */
  long rows();
}
