package dev.quern.job;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.Locale;
import org.apache.parquet.bytes.BytesInput;
import org.apache.parquet.bytes.HeapByteBufferAllocator;
import org.apache.parquet.column.Encoding;
import org.apache.parquet.column.page.DictionaryPage;
import org.apache.parquet.column.values.delta.DeltaBinaryPackingValuesWriterForInteger;

/**
 * How the ids of a Parquet page are laid out, as Parquet's format has it (Encodings.md).
 * Compression comes after it. Each encoder takes a page's ids as one array.
 */
enum IdEncoding {
  /** 4 bytes an id: nothing to do but copy. */
  PLAIN,

  /**
   * Indices into a list of the row group's distinct ids, of as many bits as they need. Half the
   * bytes of plain ids, so that compression takes less time, and mostly less to store after it.
   */
  DICTIONARY,

  /** Differences of neighbours, of as many bits as 32 of them need. */
  DELTA_BINARY_PACKED,

  /** First all lowest bytes, then all second ones ... */
  BYTE_STREAM_SPLIT;

  /** Encodes the pages of one column, one after the other. */
  interface Encoder {
    /**
     * Encodes a page.
     *
     * @param ids the page's ids are the first {@code count} of it
     * @return the encoded page; valid until the next call
     */
    BytesInput encode(int[] ids, int count);

    /** How the page was encoded that {@link #encode} has last returned. */
    Encoding encoding();

    /**
     * The row group has got a page that is plain, and all after it have to be: Spark's vectorized
     * reader fails where indices follow plain values.
     */
    default void plainFromHere() {}

    /** At the end of a row group: its dictionary, null if there is none, and begins a new one. */
    default DictionaryPage dictionary() {
      return null;
    }
  }

  Encoder encoder() {
    return switch (this) {
      case PLAIN -> new Plain();
      case DICTIONARY -> new Indexed();
      case DELTA_BINARY_PACKED -> new Delta();
      case BYTE_STREAM_SPLIT -> new Split();
    };
  }

  /** As it is written in options. */
  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** An array of at least that size: this one, or a new one that is a little larger. */
  private static byte[] sized(byte[] bytes, long size) {
    if (size > Integer.MAX_VALUE - 16) {
      throw new IllegalArgumentException("a page of " + size + " bytes is more than Parquet has");
    }
    // What one huge document has needed is given back.
    boolean outgrown = bytes.length > ParquetTokenColumn.KEPT_BYTES && size < bytes.length / 4;
    return bytes.length >= size && !outgrown
        ? bytes
        : new byte[(int) Math.min(Integer.MAX_VALUE - 16, size + size / 8)];
  }

  private static final class Plain implements Encoder {
    private byte[] page = new byte[0];

    @Override
    public BytesInput encode(int[] ids, int count) {
      int size = Math.toIntExact((long) count * Integer.BYTES);
      page = sized(page, size);
      ByteBuffer.wrap(page).order(ByteOrder.LITTLE_ENDIAN).asIntBuffer().put(ids, 0, count);
      return BytesInput.from(page, 0, size);
    }

    @Override
    public Encoding encoding() {
      return Encoding.PLAIN;
    }
  }

  private static final class Split implements Encoder {
    private byte[] page = new byte[0];

    @Override
    public BytesInput encode(int[] ids, int count) {
      int size = Math.toIntExact((long) count * Integer.BYTES);
      page = sized(page, size);
      for (int stream = 0; stream < Integer.BYTES; stream++) {
        int at = stream * count;
        int shift = stream * Byte.SIZE;
        for (int i = 0; i < count; i++) {
          page[at + i] = (byte) (ids[i] >>> shift);
        }
      }
      return BytesInput.from(page, 0, size);
    }

    @Override
    public Encoding encoding() {
      return Encoding.BYTE_STREAM_SPLIT;
    }
  }

  /** Parquet's own writer: its calls value by value are fast enough here. */
  private static final class Delta implements Encoder {
    private static final int SLAB = 1 << 16;

    @Override
    public BytesInput encode(int[] ids, int count) {
      // A new one for each page: used again, it leaves widths of the page before in a last block
      // that is not full, where zeros belong.
      DeltaBinaryPackingValuesWriterForInteger writer =
          new DeltaBinaryPackingValuesWriterForInteger(
              SLAB, 1 << 20, new HeapByteBufferAllocator());
      for (int i = 0; i < count; i++) {
        writer.writeInteger(ids[i]);
      }
      return writer.getBytes();
    }

    @Override
    public Encoding encoding() {
      return Encoding.DELTA_BINARY_PACKED;
    }
  }

  /**
   * Ids are small numbers, so that a table answers which index an id has. Where a dictionary does
   * not pay at a row group's first page, or an id is none that a tokenizer has, or there are too
   * many, the pages from there on are plain.
   */
  private static final class Indexed implements Encoder {
    /** Ids from here on get no place in the table. */
    private static final int LARGEST = 1 << 20;

    /** A dictionary page is at most 1 MiB, Parquet's own default limit. */
    private static final int MOST = 1 << 18;

    /** Indices that are kept room for, whatever the pages need. */
    private static final int KEPT = 1 << 18;

    private final Plain plain = new Plain();

    /** By id, its index + 1; 0 for an id that has none yet. */
    private int[] table = new int[1 << 16];

    private int[] dictionary = new int[1 << 12];
    private int size;
    private boolean used;
    private boolean abandoned;
    private Encoding last;
    private int[] indices = new int[0];
    private byte[] page = new byte[0];

    @Override
    public BytesInput encode(int[] ids, int count) {
      if (!abandoned && index(ids, count)) {
        int bits = Math.max(1, Integer.SIZE - Integer.numberOfLeadingZeros(size - 1));
        long encoded = ((long) count * bits + Byte.SIZE - 1) / Byte.SIZE;
        if (used || encoded + (long) size * Integer.BYTES < (long) count * Integer.BYTES) {
          used = true;
          last = Encoding.RLE_DICTIONARY;
          return packed(count, bits);
        }
      }
      abandoned = true;
      last = Encoding.PLAIN;
      return plain.encode(ids, count);
    }

    @Override
    public Encoding encoding() {
      return last;
    }

    @Override
    public void plainFromHere() {
      abandoned = true;
    }

    /** Puts the index of each id into {@link #indices}; false if one can't have any. */
    private boolean index(int[] ids, int count) {
      if (indices.length < count || indices.length > Math.max(count, KEPT) * 4L) {
        indices = new int[(count + 7) & ~7];
      }
      int[] found = indices;
      int[] known = table;
      for (int i = 0; i < count; i++) {
        int id = ids[i];
        if (id < 0 || id >= known.length) {
          if (id < 0 || id >= LARGEST) {
            return false;
          }
          known = table = Arrays.copyOf(table, Integer.highestOneBit(id) << 1);
        }
        int index = known[id];
        if (index == 0) {
          if (size == MOST) {
            return false;
          }
          if (size == dictionary.length) {
            dictionary = Arrays.copyOf(dictionary, size * 2);
          }
          dictionary[size++] = id;
          known[id] = index = size;
        }
        found[i] = index - 1;
      }
      return true;
    }

    /** The width of an index, then all of them as one bit-packed run. */
    private BytesInput packed(int count, int bits) {
      int groups = (count + 7) >>> 3;
      page = sized(page, 1 + 5 + (long) groups * bits + Long.BYTES);
      ByteBuffer out = ByteBuffer.wrap(page).order(ByteOrder.LITTLE_ENDIAN);
      out.put((byte) bits);
      RunLengths.putVarint(out, groups << 1 | 1);
      int at = out.position();
      // Of 8 indices, three words of 3, 3 and 2, of which none depends on the 8 before: at most
      // 3 * 18 bits and the last up to 7 of the word before, which share its first byte.
      int second = 3 * bits;
      int third = 6 * bits;
      int shift = third & 7;
      int between = (third & ~7) - (second & ~7);
      Arrays.fill(indices, count, groups * 8, 0);
      for (int i = 0; i < groups * 8; i += 8, at += bits) {
        long a = three(i, bits);
        long b = a >>> (second & ~7) | three(i + 3, bits) << (second & 7);
        long c = indices[i + 6] | (long) indices[i + 7] << bits;
        out.putLong(at, a);
        out.putLong(at + (second >>> 3), b);
        out.putLong(at + (third >>> 3), b >>> between | c << shift);
      }
      return BytesInput.from(page, 0, at);
    }

    private long three(int i, int bits) {
      return indices[i] | (long) indices[i + 1] << bits | (long) indices[i + 2] << 2 * bits;
    }

    @Override
    public DictionaryPage dictionary() {
      DictionaryPage result = null;
      if (used) {
        byte[] bytes = new byte[size * Integer.BYTES];
        ByteBuffer.wrap(bytes)
            .order(ByteOrder.LITTLE_ENDIAN)
            .asIntBuffer()
            .put(dictionary, 0, size);
        result = new DictionaryPage(BytesInput.from(bytes), size, Encoding.PLAIN);
      }
      for (int i = 0; i < size; i++) {
        table[dictionary[i]] = 0;
      }
      size = 0;
      used = false;
      abandoned = false;
      return result;
    }
  }
}
