package dev.quern.job;

import dev.quern.job.TokenizeOptions.OutputFormat;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.BitVectorHelper;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.IntVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.complex.ListVector;
import org.apache.arrow.vector.compression.CompressionUtil.CodecType;
import org.apache.arrow.vector.ipc.ArrowFileWriter;
import org.apache.arrow.vector.ipc.message.IpcOption;
import org.apache.arrow.vector.types.pojo.Schema;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.ProjectingInternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.catalyst.expressions.UnsafeMapData;
import org.apache.spark.sql.catalyst.expressions.UnsafeRow;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.execution.arrow.ArrowWriter;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.BinaryType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.MapType;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.ArrowUtils;
import org.apache.spark.unsafe.Platform;
import scala.jdk.javaapi.CollectionConverters;

/**
 * An Arrow IPC file, in record batches of about 16 MiB; a row of more than that has a batch of its
 * own. Token columns, which are those of type {@code array<int>}, are copied array by array; all
 * others by Spark's own {@link ArrowWriter}.
 */
final class ArrowRowFile implements RowFile {
  /** Bytes after which a batch is written; and rows, so that short documents don't make it wide. */
  private static final long BATCH_BYTES = 16L << 20;

  private static final int BATCH_ROWS = 1 << 16;

  /** Arrow's reader for Java takes batches of less than 2 GiB, with what describes them. */
  private static final long LONGEST_ROW = Integer.MAX_VALUE - (1L << 20);

  private static final AtomicLong NUMBER = new AtomicLong();

  private final List<AutoCloseable> resources = new ArrayList<>();
  private final ArrowFileWriter writer;
  private final VectorSchemaRoot root;
  private final List<TokenVector> tokens = new ArrayList<>();
  private final StructType otherSchema;
  private final VectorSchemaRoot otherRoot;
  private final ProjectingInternalRow otherRow;
  private ArrowWriter others;

  private int batchRows;
  private long batchBytes;
  private long rows;
  private boolean failed;
  private boolean closed;

  /** How a write's files are opened. */
  private record Files(StructType schema, WriteOptions options, String timeZone) implements Opener {
    @Override
    public String extension() {
      return ".arrow";
    }

    @Override
    public RowFile open(Path path, TaskAttemptContext context, Map<String, String> metadata)
        throws IOException {
      return new ArrowRowFile(
          path.getFileSystem(context.getConfiguration()),
          path,
          schema,
          options,
          timeZone,
          metadata);
    }
  }

  /**
   * Checks on the driver what executors will do.
   *
   * @param options those of the write: {@link WriteOptions}
   * @throws IllegalArgumentException if an option is wrong, or this Spark lacks what it needs
   */
  static Opener prepare(
      SparkSession session,
      scala.collection.immutable.Map<String, String> options,
      StructType schema) {
    WriteOptions ours = WriteOptions.of(OutputFormat.ARROW, CollectionConverters.asJava(options));
    ArrowCodecs.check(ours.compression());
    return new Files(schema, ours, session.conf().get("spark.sql.session.timeZone"));
  }

  /** Whether these files can have a column of that type. */
  static boolean supports(DataType type) {
    try {
      schema(new StructType().add("column", type), "UTC", Map.of());
      return true;
    } catch (RuntimeException e) {
      // What Spark throws for a type that it has no Arrow type for.
      return false;
    }
  }

  private static Schema schema(StructType schema, String timeZone, Map<String, String> metadata) {
    return new Schema(
        ArrowUtils.toArrowSchema(schema, timeZone, true, false).getFields(), metadata);
  }

  private ArrowRowFile(
      FileSystem files,
      Path path,
      StructType schema,
      WriteOptions options,
      String timeZone,
      Map<String, String> metadata)
      throws IOException {
    try {
      BufferAllocator allocator =
          add(
              ArrowUtils.rootAllocator()
                  .newChildAllocator("quern-" + NUMBER.incrementAndGet(), 0, Long.MAX_VALUE));
      root = add(VectorSchemaRoot.create(schema(schema, timeZone, metadata), allocator));
      List<Object> ordinals = new ArrayList<>();
      List<FieldVector> vectors = new ArrayList<>();
      StructType rest = new StructType();
      for (int i = 0; i < schema.size(); i++) {
        if (ParquetRowFile.isTokens(schema.apply(i).dataType())) {
          tokens.add(new TokenVector((ListVector) root.getVector(i), i));
        } else {
          ordinals.add(i);
          vectors.add(root.getVector(i));
          rest = rest.add(schema.apply(i));
        }
      }
      otherSchema = rest;
      otherRoot = new VectorSchemaRoot(vectors);
      otherRow =
          ProjectingInternalRow.apply(rest, CollectionConverters.asScala(ordinals).toIndexedSeq());
      others = ArrowWriter.create(otherRoot);
      OutputStream out = add(files.create(path, false));
      CodecType codec =
          switch (options.compression()) {
            case "zstd" -> CodecType.ZSTD;
            case "lz4" -> CodecType.LZ4_FRAME;
            default -> CodecType.NO_COMPRESSION;
          };
      writer =
          add(
              new ArrowFileWriter(
                  root,
                  null,
                  new StreamChannel(out),
                  Map.of(),
                  IpcOption.DEFAULT,
                  new ArrowCodecs(),
                  codec,
                  Optional.ofNullable(options.level())));
      writer.start();
    } catch (IOException | RuntimeException e) {
      release(e);
      throw e;
    }
  }

  /** Writes through a large array: that of {@link java.nio.channels.Channels} has 8 KiB. */
  private static final class StreamChannel implements WritableByteChannel {
    private final byte[] chunk = new byte[1 << 18];
    private final OutputStream out;
    private boolean open = true;

    StreamChannel(OutputStream out) {
      this.out = out;
    }

    @Override
    public int write(ByteBuffer bytes) throws IOException {
      int size = bytes.remaining();
      while (bytes.hasRemaining()) {
        int length = Math.min(bytes.remaining(), chunk.length);
        bytes.get(chunk, 0, length);
        out.write(chunk, 0, length);
      }
      return size;
    }

    @Override
    public boolean isOpen() {
      return open;
    }

    /** The stream is closed by who opened it. */
    @Override
    public void close() {
      open = false;
    }
  }

  /** A column of token ids. */
  private static final class TokenVector {
    private final ListVector lists;
    private final IntVector elements;
    private final int ordinal;

    /** The elements of the batch that are NULL. */
    private final BitSet nulls = new BitSet();

    private int count;

    TokenVector(ListVector lists, int ordinal) {
      this.lists = lists;
      this.elements = (IntVector) lists.getDataVector();
      this.ordinal = ordinal;
      lists.allocateNew();
    }

    /**
     * Adds a row.
     *
     * @param array null for NULL
     */
    void write(int index, ArrayData array) {
      if (array == null) {
        lists.setNull(index);
        return;
      }
      int length = array.numElements();
      lists.startNewValue(index);
      if (count == 0 && elements.getValueCapacity() < length) {
        // A large array gets what it needs; to double up to that would take three times as much.
        elements.clear();
        elements.allocateNew(length);
      }
      while (elements.getValueCapacity() < count + length) {
        elements.reAlloc();
      }
      ArrowBuf data = elements.getDataBuffer();
      if (array instanceof UnsafeArrayData unsafe && !ParquetTokenColumn.hasNulls(unsafe)) {
        Platform.copyMemory(
            unsafe.getBaseObject(),
            unsafe.getBaseOffset() + UnsafeArrayData.calculateHeaderPortionInBytes(length),
            null,
            data.memoryAddress() + (long) count * Integer.BYTES,
            (long) length * Integer.BYTES);
      } else {
        for (int i = 0; i < length; i++) {
          if (array.isNullAt(i)) {
            nulls.set(count + i);
          } else {
            data.setInt((long) (count + i) * Integer.BYTES, array.getInt(i));
          }
        }
      }
      lists.endValue(index, length);
      count += length;
    }

    /** Completes a batch: the elements were copied past their vector, which knows of none yet. */
    void finish() {
      ArrowBuf validity = elements.getValidityBuffer();
      validity.setOne(0, ((long) count + Byte.SIZE - 1) / Byte.SIZE);
      nulls.stream().forEach(index -> BitVectorHelper.unsetBit(validity, index));
      nulls.clear();
      count = 0;
    }
  }

  private <R extends AutoCloseable> R add(R resource) {
    resources.add(resource);
    return resource;
  }

  @Override
  public void write(InternalRow row) throws IOException {
    try {
      append(row);
    } catch (IOException | RuntimeException | Error e) {
      failed = true;
      throw e;
    }
  }

  private void append(InternalRow row) throws IOException {
    long bytes = 0;
    for (TokenVector column : tokens) {
      if (!row.isNullAt(column.ordinal)) {
        int length = row.getArray(column.ordinal).numElements();
        RowFile.checkLength(length, column.lists.getName());
        bytes += (long) length * Integer.BYTES + length / Byte.SIZE;
      }
      bytes += Integer.BYTES;
    }
    otherRow.project(row);
    for (int i = 0; i < otherSchema.size(); i++) {
      bytes += bytes(otherRow, i, otherSchema.apply(i).dataType());
    }
    if (bytes > LONGEST_ROW) {
      throw new IllegalArgumentException(
          "a row of "
              + bytes
              + " bytes is more than a record batch of an Arrow file holds ("
              + LONGEST_ROW
              + "): split its arrays or texts before the write");
    }
    if (batchRows > 0 && (batchBytes + bytes > BATCH_BYTES || batchRows == BATCH_ROWS)) {
      flush();
    }
    for (TokenVector column : tokens) {
      column.write(batchRows, row.isNullAt(column.ordinal) ? null : row.getArray(column.ordinal));
    }
    others.write(otherRow);
    batchRows++;
    batchBytes += bytes;
  }

  /** What a value takes in its vector, about. */
  private static long bytes(InternalRow row, int ordinal, DataType type) {
    if (row.isNullAt(ordinal)) {
      return Integer.BYTES;
    } else if (type instanceof StringType) {
      return Integer.BYTES + row.getUTF8String(ordinal).numBytes();
    } else if (type instanceof BinaryType) {
      return Integer.BYTES + row.getBinary(ordinal).length;
    }
    Object value =
        type instanceof ArrayType
            ? row.getArray(ordinal)
            : type instanceof MapType
                ? row.getMap(ordinal)
                : type instanceof StructType struct ? row.getStruct(ordinal, struct.size()) : null;
    if (value instanceof UnsafeArrayData array) {
      return array.getSizeInBytes();
    } else if (value instanceof UnsafeMapData map) {
      return map.getSizeInBytes();
    } else if (value instanceof UnsafeRow struct) {
      return struct.getSizeInBytes();
    }
    return type.defaultSize();
  }

  private void flush() throws IOException {
    tokens.forEach(TokenVector::finish);
    others.finish();
    root.setRowCount(batchRows);
    writer.writeBatch();
    rows += batchRows;
    // A batch that one huge row has made large gives its memory back.
    if (batchBytes > 2 * BATCH_BYTES) {
      root.clear();
      tokens.forEach(column -> column.lists.allocateNew());
      others = ArrowWriter.create(otherRoot);
    } else {
      tokens.forEach(column -> column.lists.reset());
      others.reset();
    }
    batchRows = 0;
    batchBytes = 0;
  }

  @Override
  public void close() throws IOException {
    if (closed) {
      return;
    }
    closed = true;
    Throwable failure = null;
    try {
      // After a failure the task is aborted, which deletes the file: don't make it look complete.
      if (!failed) {
        if (batchRows > 0) {
          flush();
        }
        writer.end();
      }
    } catch (IOException | RuntimeException e) {
      failure = e;
      throw e;
    } finally {
      release(failure);
    }
  }

  /** Closes what is open, in reverse; memory is given back even if the file can't be closed. */
  private void release(Throwable failure) throws IOException {
    IOException thrown = null;
    for (int i = resources.size() - 1; i >= 0; i--) {
      if ((failed || failure != null) && resources.get(i) instanceof ArrowFileWriter) {
        // Its close would write a footer.
        continue;
      }
      try {
        resources.get(i).close();
      } catch (Exception e) {
        if (failure != null) {
          failure.addSuppressed(e);
        } else if (thrown != null) {
          thrown.addSuppressed(e);
        } else {
          thrown = e instanceof IOException io ? io : new IOException(e);
        }
      }
    }
    resources.clear();
    if (thrown != null) {
      throw thrown;
    }
  }

  @Override
  public long rows() {
    return rows;
  }
}
