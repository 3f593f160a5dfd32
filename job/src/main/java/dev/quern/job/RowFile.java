package dev.quern.job;

import java.io.IOException;
import java.io.Serializable;
import java.util.Map;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.sql.catalyst.InternalRow;

/** One file that is being written. One implementation for each format. */
interface RowFile {
  /**
   * Ids of an array at most: with its levels it has to fit a Parquet page, with what else is in its
   * row an Arrow batch, and with the bits that say which are NULL a row of Spark's; each has 2 GiB.
   */
  int LONGEST_ARRAY = (1 << 29) - (1 << 24);

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

  /**
   * Checks an array before anything of it is written.
   *
   * @throws IllegalArgumentException if it is longer than {@link #LONGEST_ARRAY}
   */
  static void checkLength(int length, String column) {
    if (length > LONGEST_ARRAY) {
      throw new IllegalArgumentException(
          "an array of "
              + length
              + " ids in column "
              + column
              + " is more than a row of a file holds ("
              + LONGEST_ARRAY
              + "): split it before the write");
    }
  }

  /** Writes a row; it may be reused after the call. */
  void write(InternalRow row) throws IOException;

  /** Completes the file. A second call does nothing. */
  void close() throws IOException;

  /** How many rows the file has, as its own encoder counts them; final after {@link #close}. */
  long rows();
}
