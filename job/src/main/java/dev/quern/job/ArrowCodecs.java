package dev.quern.job;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import net.jpountz.lz4.LZ4FrameInputStream;
import net.jpountz.lz4.LZ4FrameOutputStream;
import org.apache.arrow.compression.CommonsCompressionFactory;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.vector.compression.AbstractCompressionCodec;
import org.apache.arrow.vector.compression.CompressionCodec;
import org.apache.arrow.vector.compression.CompressionUtil;
import org.apache.arrow.vector.compression.CompressionUtil.CodecType;
import org.apache.arrow.vector.compression.NoCompressionCodec;

/**
 * The codecs of Arrow files. LZ4 frames are made by the lz4-java that Spark has: Arrow's own codec
 * stands on commons-compress, whose encoder brought the whole job down to 0.03 MB/s.
 */
final class ArrowCodecs implements CompressionCodec.Factory {
  @Override
  public CompressionCodec createCodec(CodecType type) {
    return switch (type) {
      case LZ4_FRAME -> new Lz4();
      case ZSTD -> Commons.codec(type);
      default -> NoCompressionCodec.INSTANCE;
    };
  }

  @Override
  public CompressionCodec createCodec(CodecType type, int level) {
    return type == CodecType.ZSTD ? Commons.codec(type, level) : createCodec(type);
  }

  /**
   * Checks that this Spark has what a codec needs.
   *
   * @throws IllegalArgumentException if not, with what to do
   */
  static void check(String compression) {
    if (!compression.equals("zstd")) {
      return;
    }
    try {
      Class.forName("org.apache.arrow.compression.CommonsCompressionFactory");
    } catch (ClassNotFoundException e) {
      throw new IllegalArgumentException(
          "compression zstd of Arrow files: Spark "
              + org.apache.spark.package$.MODULE$.SPARK_VERSION()
              + " comes without arrow-compression; use compression lz4 or none, or add the jar"
              + " org.apache.arrow:arrow-compression (--packages)",
          e);
    }
  }

  /** Apart, so that a Spark without arrow-compression (4.0) has files without zstd. */
  private static final class Commons {
    static CompressionCodec codec(CodecType type) {
      check("zstd");
      return CommonsCompressionFactory.INSTANCE.createCodec(type);
    }

    static CompressionCodec codec(CodecType type, int level) {
      check("zstd");
      return CommonsCompressionFactory.INSTANCE.createCodec(type, level);
    }
  }

  private static final class Lz4 extends AbstractCompressionCodec {
    /** The length of the original stands before a compressed buffer; the caller writes it. */
    private static final long HEADER = CompressionUtil.SIZE_OF_UNCOMPRESSED_LENGTH;

    @Override
    protected ArrowBuf doCompress(BufferAllocator allocator, ArrowBuf uncompressed) {
      byte[] bytes = new byte[Math.toIntExact(uncompressed.writerIndex())];
      uncompressed.getBytes(0, bytes);
      ByteArrayOutputStream frame = new ByteArrayOutputStream(bytes.length / 2 + 64);
      try (OutputStream out = new LZ4FrameOutputStream(frame)) {
        out.write(bytes);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      byte[] compressed = frame.toByteArray();
      ArrowBuf result = allocator.buffer(HEADER + compressed.length);
      result.setBytes(HEADER, compressed);
      result.writerIndex(HEADER + compressed.length);
      return result;
    }

    @Override
    protected ArrowBuf doDecompress(BufferAllocator allocator, ArrowBuf compressed) {
      byte[] original = new byte[Math.toIntExact(readUncompressedLength(compressed))];
      byte[] frame = new byte[Math.toIntExact(compressed.writerIndex() - HEADER)];
      compressed.getBytes(HEADER, frame);
      try (InputStream in = new LZ4FrameInputStream(new ByteArrayInputStream(frame))) {
        if (in.readNBytes(original, 0, original.length) < original.length) {
          throw new IOException("an LZ4 frame of an Arrow file ends early");
        }
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      ArrowBuf result = allocator.buffer(original.length);
      result.setBytes(0, original);
      result.writerIndex(original.length);
      return result;
    }

    @Override
    public CodecType getCodecType() {
      return CodecType.LZ4_FRAME;
    }
  }
}
