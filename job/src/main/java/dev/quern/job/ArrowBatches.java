package dev.quern.job;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.SeekableByteChannel;
import java.util.Collections;
import java.util.Iterator;
import java.util.NoSuchElementException;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowFileReader;
import org.apache.arrow.vector.ipc.message.ArrowBlock;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.execution.vectorized.ConstantColumnVector;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.ArrowUtils;
import org.apache.spark.sql.vectorized.ArrowColumnVector;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;

/**
 * The rows of a part of an Arrow IPC file: of the record batches that begin in it. A row is valid
 * until the next one is asked for.
 */
final class ArrowBatches implements Iterator<InternalRow>, AutoCloseable {
  private final Path path;
  private final StructType schema;
  private final BufferAllocator allocator;
  private final FSDataInputStream in;
  private final ArrowFileReader reader;
  private final Iterator<ArrowBlock> blocks;
  private Iterator<InternalRow> rows = Collections.emptyIterator();
  private boolean closed;

  /**
   * Opens a part of a file.
   *
   * @param schema the columns that are wanted; those that the file does not have are NULL
   * @param start where the part begins, in bytes
   */
  ArrowBatches(Path path, Configuration configuration, StructType schema, long start, long length)
      throws IOException {
    this.path = path;
    this.schema = schema;
    FileSystem files = path.getFileSystem(configuration);
    long size = files.getFileStatus(path).getLen();
    this.allocator = ArrowUtils.rootAllocator().newChildAllocator("quern-read", 0, Long.MAX_VALUE);
    FSDataInputStream opened = null;
    try {
      opened = files.open(path);
      this.in = opened;
      this.reader = new ArrowFileReader(new StreamChannel(in, size), allocator, new ArrowCodecs());
      this.blocks =
          reader.getRecordBlocks().stream()
              .filter(block -> block.getOffset() >= start && block.getOffset() < start + length)
              .iterator();
    } catch (IOException | RuntimeException e) {
      allocator.close();
      if (opened != null) {
        opened.close();
      }
      throw e;
    }
  }

  /** The columns of a file. */
  static StructType schema(Path path, Configuration configuration) throws IOException {
    try (ArrowBatches file = new ArrowBatches(path, configuration, new StructType(), 0, 0)) {
      return ArrowUtils.fromArrowSchema(file.reader.getVectorSchemaRoot().getSchema());
    }
  }

  @Override
  public boolean hasNext() {
    try {
      while (!closed && !rows.hasNext()) {
        if (!blocks.hasNext()) {
          close();
          return false;
        }
        reader.loadRecordBatch(blocks.next());
        rows = batch().rowIterator();
      }
    } catch (IOException e) {
      throw new UncheckedIOException("can't read " + path, e);
    }
    return !closed;
  }

  @Override
  public InternalRow next() {
    if (!hasNext()) {
      throw new NoSuchElementException("no rows are left in " + path);
    }
    return rows.next();
  }

  private ColumnarBatch batch() throws IOException {
    VectorSchemaRoot root = reader.getVectorSchemaRoot();
    ColumnVector[] columns = new ColumnVector[schema.size()];
    for (int i = 0; i < columns.length; i++) {
      StructField field = schema.apply(i);
      FieldVector vector = find(root, field.name());
      if (vector == null) {
        ConstantColumnVector none = new ConstantColumnVector(root.getRowCount(), field.dataType());
        none.setNull();
        columns[i] = none;
      } else {
        DataType found = ArrowUtils.fromArrowField(vector.getField());
        if (!found.sameType(field.dataType())) {
          throw new IllegalArgumentException(
              "the column "
                  + field.name()
                  + " of "
                  + path
                  + " is "
                  + found.sql()
                  + ", and "
                  + field.dataType().sql()
                  + " was asked for: name the schema that the files have");
        }
        columns[i] = new ArrowColumnVector(vector);
      }
    }
    return new ColumnarBatch(columns, root.getRowCount());
  }

  private static FieldVector find(VectorSchemaRoot root, String name) {
    for (FieldVector vector : root.getFieldVectors()) {
      if (vector.getName().equals(name)) {
        return vector;
      }
    }
    return null;
  }

  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    try (BufferAllocator memory = allocator;
        FSDataInputStream file = in) {
      reader.close(false);
    } catch (IOException e) {
      throw new UncheckedIOException("can't close " + path, e);
    }
  }

  /** Hadoop's stream as Arrow wants it. */
  private static final class StreamChannel implements SeekableByteChannel {
    private final byte[] chunk = new byte[1 << 18];
    private final FSDataInputStream in;
    private final long size;

    StreamChannel(FSDataInputStream in, long size) {
      this.in = in;
      this.size = size;
    }

    @Override
    public int read(ByteBuffer target) throws IOException {
      int length = in.read(chunk, 0, Math.min(target.remaining(), chunk.length));
      if (length > 0) {
        target.put(chunk, 0, length);
      }
      return length;
    }

    @Override
    public long position() throws IOException {
      return in.getPos();
    }

    @Override
    public SeekableByteChannel position(long position) throws IOException {
      in.seek(position);
      return this;
    }

    @Override
    public long size() {
      return size;
    }

    @Override
    public int write(ByteBuffer source) {
      throw new UnsupportedOperationException("the file is only read");
    }

    @Override
    public SeekableByteChannel truncate(long length) {
      throw new UnsupportedOperationException("the file is only read");
    }

    @Override
    public boolean isOpen() {
      return true;
    }

    @Override
    public void close() {}
  }
}
