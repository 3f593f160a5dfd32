package dev.quern.job;

import java.io.IOException;
import org.apache.spark.sql.catalyst.InternalRow;

/** One file that is being written. One implementation for each format. */
interface RowFile {
  /** Writes a row; it may be reused after the call. */
  void write(InternalRow row) throws IOException;

  /** Completes the file. A second call does nothing. */
  void close() throws IOException;

  /** How many rows the file has, as its own encoder counts them; final after {@link #close}. */
  long rows();
}
