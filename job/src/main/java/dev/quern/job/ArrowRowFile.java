package dev.quern.job;

import java.io.IOException;
import java.nio.channels.Channels;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.arrow.compression.CommonsCompressionFactory;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.IntVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.complex.ListVector;
import org.apache.arrow.vector.compression.CompressionUtil.CodecType;
import org.apache.arrow.vector.compression.NoCompressionCodec;
import org.apache.arrow.vector.ipc.ArrowFileWriter;
import org.apache.arrow.vector.ipc.message.IpcOption;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.util.ArrowUtils;
import org.apache.spark.unsafe.Platform;

/**
 * An Arrow IPC file: kept columns, {@code input_ids: list<int32>}, {@code token_count: int32}, in
 * record batches of about 16 MiB. A document of more than that has a batch of its own.
 */
final class ArrowRowFile implements RowFile {
  /** Bytes after which a batch is written; and rows, so that short documents don't make it wide. */
  private static final long BATCH_BYTES = 16L << 20;

  private static final int BATCH_ROWS = 1 << 16;
  private static final AtomicLong NUMBER = new AtomicLong();

  private final List<AutoCloseable> resources = new ArrayList<>();
  private final ArrowFileWriter writer;
  private final VectorSchemaRoot root;
  private final List<ArrowColumns.Setter> kept = new ArrayList<>();
  private final ListVector ids;
  private final IntVector elements;
  private final IntVector counts;

  private int batchRows;
  private int batchIds;
  private long batchBytes;
  private long rows;
  private boolean failed;
  private boolean closed;

  ArrowRowFile(
      FileSystem files,
      Path path,
      TokenColumns columns,
      String compression,
      String timeZone,
      Map<String, String> metadata)
      throws IOException {
    try {
      BufferAllocator allocator =
          add(
              ArrowUtils.rootAllocator()
                  .newChildAllocator("quern-" + NUMBER.incrementAndGet(), 0, Long.MAX_VALUE));
      root =
          add(VectorSchemaRoot.create(ArrowColumns.schema(columns, timeZone, metadata), allocator));
      StructField[] fields = columns.kept().fields();
      for (int i = 0; i < fields.length; i++) {
        FieldVector vector = root.getVector(i);
        vector.allocateNew();
        kept.add(ArrowColumns.setter(vector, fields[i].dataType()));
      }
      ids = (ListVector) root.getVector(fields.length);
      ids.allocateNew();
      elements = (IntVector) ids.getDataVector();
      counts = (IntVector) root.getVector(fields.length + 1);
      counts.allocateNew();
      java.io.OutputStream out = add(files.create(path, false));
      CodecType codec =
          switch (compression) {
            case "none" -> CodecType.NO_COMPRESSION;
            case "zstd" -> CodecType.ZSTD;
            case "lz4" -> CodecType.LZ4_FRAME;
            default -> throw new IllegalArgumentException("no Arrow codec " + compression);
          };
      writer =
          add(
              new ArrowFileWriter(
                  root,
                  null,
                  Channels.newChannel(out),
                  Map.of(),
                  IpcOption.DEFAULT,
                  switch (codec) {
                    case ZSTD -> Compression.factory();
                    case LZ4_FRAME -> new ArrowLz4();
                    default -> NoCompressionCodec.Factory.INSTANCE;
                  },
                  codec));
      writer.start();
    } catch (IOException | RuntimeException e) {
      release(e);
      throw e;
    }
  }

  /** Apart, so that a Spark without arrow-compression (4.0) can write files without zstd. */
  private static final class Compression {
    static org.apache.arrow.vector.compression.CompressionCodec.Factory factory() {
      return CommonsCompressionFactory.INSTANCE;
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
    } catch (IOException | RuntimeException e) {
      failed = true;
      throw e;
    }
  }

  private void append(InternalRow row) throws IOException {
    ArrayData array = row.getArray(kept.size());
    int length = array.numElements();
    // Offsets in a batch are 32 bits wide.
    long bytes = (long) length * Integer.BYTES + 2 * Integer.BYTES;
    if (batchRows > 0 && (batchBytes + bytes > BATCH_BYTES || batchRows == BATCH_ROWS)) {
      flush();
    }
    for (int i = 0; i < kept.size(); i++) {
      bytes += kept.get(i).set(row, i, batchRows);
    }
    ids.startNewValue(batchRows);
    while (elements.getValueCapacity() < batchIds + length) {
      elements.reAlloc();
    }
    ArrowBuf data = elements.getDataBuffer();
    if (array instanceof UnsafeArrayData unsafe) {
      long header = UnsafeArrayData.calculateHeaderPortionInBytes(length);
      Platform.copyMemory(
          unsafe.getBaseObject(),
          unsafe.getBaseOffset() + header,
          null,
          data.memoryAddress() + (long) batchIds * Integer.BYTES,
          (long) length * Integer.BYTES);
    } else {
      for (int i = 0; i < length; i++) {
        data.setInt((long) (batchIds + i) * Integer.BYTES, array.getInt(i));
      }
    }
    ids.endValue(batchRows, length);
    counts.setSafe(batchRows, row.getInt(kept.size() + 1));
    batchIds += length;
    batchRows++;
    batchBytes += bytes;
  }

  private void flush() throws IOException {
    // The ids were copied past the vector: mark them all as there.
    ArrowBuf validity = elements.getValidityBuffer();
    for (int i = 0; i < batchIds; i += Byte.SIZE) {
      validity.setByte(i >> 3, 0xff);
    }
    root.setRowCount(batchRows);
    writer.writeBatch();
    rows += batchRows;
    // A batch that one huge document has made large gives its memory back.
    boolean outgrown = batchBytes > 2 * BATCH_BYTES;
    for (FieldVector vector : root.getFieldVectors()) {
      if (outgrown) {
        vector.clear();
        vector.allocateNew();
      } else {
        vector.reset();
      }
    }
    batchRows = 0;
    batchIds = 0;
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
