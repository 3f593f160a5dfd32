package dev.quern.bench;

import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.function.Supplier;

/**
 * The flat file that a corpus and its ids are handed over in, between processes and languages: for
 * every document the length as 4 bytes little endian, then the content: UTF-8 bytes of a text
 * (length in bytes), or ids of 4 bytes little endian (length in ids). The hash of a corpus or of
 * ids in the record is the SHA-256 of this file, so it can be made again with any tool.
 */
final class Documents {
  private Documents() {}

  /** Writes one flat file; {@link #hash} is known after close. */
  static final class Writer implements AutoCloseable {
    private final DigestOutputStream out;
    private ByteBuffer buffer = ByteBuffer.allocate(1 << 16).order(ByteOrder.LITTLE_ENDIAN);
    private String hash;

    /** Writes to the file, or only hashes when it is null. */
    Writer(Path file) throws IOException {
      OutputStream target =
          file == null
              ? OutputStream.nullOutputStream()
              : new BufferedOutputStream(Files.newOutputStream(file), 1 << 20);
      out = new DigestOutputStream(target, sha256());
    }

    void text(byte[] utf8) throws IOException {
      buffer.clear().putInt(utf8.length);
      out.write(buffer.array(), 0, Integer.BYTES);
      out.write(utf8);
    }

    void ids(int[] ids) throws IOException {
      int bytes = Math.multiplyExact(Math.addExact(ids.length, 1), Integer.BYTES);
      if (buffer.capacity() < bytes) {
        buffer = ByteBuffer.allocate(bytes).order(ByteOrder.LITTLE_ENDIAN);
      }
      buffer.clear().putInt(ids.length).asIntBuffer().put(ids);
      out.write(buffer.array(), 0, bytes);
    }

    @Override
    public void close() throws IOException {
      out.close();
      if (hash == null) {
        hash = HexFormat.of().formatHex(out.getMessageDigest().digest());
      }
    }

    String hash() {
      return hash;
    }
  }

  /** Reads a flat file, of texts or of ids, document by document. */
  static final class Reader implements AutoCloseable {
    private final DataInputStream in;

    Reader(Path file) throws IOException {
      in = new DataInputStream(new BufferedInputStream(Files.newInputStream(file), 1 << 20));
    }

    /** The next document's text, or null at the end of the file. */
    byte[] text() throws IOException {
      int length = length();
      return length < 0 ? null : content(length);
    }

    /** The next document's ids, or null at the end of the file. */
    int[] ids() throws IOException {
      int length = length();
      if (length < 0) {
        return null;
      }
      int[] ids = new int[length];
      ByteBuffer.wrap(content(Math.multiplyExact(length, Integer.BYTES)))
          .order(ByteOrder.LITTLE_ENDIAN)
          .asIntBuffer()
          .get(ids);
      return ids;
    }

    /** {@link #text} for callers that can't handle an IOException. */
    Supplier<byte[]> texts() {
      return () -> {
        try {
          return text();
        } catch (IOException e) {
          throw new UncheckedIOException(e);
        }
      };
    }

    private byte[] content(int bytes) throws IOException {
      byte[] content = in.readNBytes(bytes);
      if (content.length != bytes) {
        throw new EOFException("the flat file ends in the middle of a document");
      }
      return content;
    }

    private int length() throws IOException {
      byte[] length = in.readNBytes(Integer.BYTES);
      if (length.length == 0) {
        return -1;
      }
      return ByteBuffer.wrap(length).order(ByteOrder.LITTLE_ENDIAN).getInt();
    }

    @Override
    public void close() throws IOException {
      in.close();
    }
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every JDK has it
    }
  }
}
