package dev.quern.job;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
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
     * Takes notice of the ids of an array as they come to a page, while they are in the processor's
     * cache.
     *
     * @param ids the page's so far; the array's are those from {@code from} to {@code to}
     * @param min of the array's ids
     * @param max of the array's ids
     */
    default void add(int[] ids, int from, int to, int min, int max) {}

    /**
     * Encodes a page.
     *
     * @param ids the page's ids are the first {@code count} of it; all were {@link #add added}
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

    private static final VarHandle LONG =
        MethodHandles.byteArrayViewVarHandle(long[].class, ByteOrder.LITTLE_ENDIAN);

    private final Plain plain = new Plain();

    /** By id, its index + 1; 0 for an id that has none yet. Its length is a power of two. */
    private int[] table = new int[1 << 16];

    private int[] dictionary = new int[1 << 12];
    private int size;
    private boolean used;
    private boolean abandoned;
    private Encoding last;
    private int[] indices = new int[0];
    private byte[] page = new byte[0];

    @Override
    public void add(int[] ids, int from, int to, int min, int max) {
      if (abandoned) {
        return;
      }
      if (min < 0 || max >= LARGEST) {
        abandoned = true;
        return;
      }
      if (max >= table.length) {
        table = Arrays.copyOf(table, Integer.highestOneBit(max) << 1);
      }
      int most = (int) Math.min(MOST, size + (long) (to - from));
      if (dictionary.length < most) {
        dictionary = Arrays.copyOf(dictionary, Math.min(MOST, Math.max(most, size * 2)));
      }
      if (indices.length < to || indices.length / 8 > ids.length) {
        // Of whole eights.
        indices = Arrays.copyOf(indices, (ids.length + 7) & ~7);
      }
      int now = index(ids, from, to, table, dictionary, size, indices);
      abandoned = now < 0;
      size = abandoned ? MOST : now;
    }

    /**
     * Puts the index of each id into {@code indices}. All it needs is in variables of its own: that
     * is twice as fast as with fields.
     *
     * @return how many ids the dictionary has; -1 if it is full, and that is not enough
     */
    private static int index(
        int[] ids, int from, int to, int[] table, int[] dictionary, int size, int[] indices) {
      for (int i = from; i < to; i++) {
        int id = ids[i];
        // Ids are below its length: that spares the check of it.
        int index = table[id & table.length - 1];
        if (index == 0) {
          if (size == MOST) {
            return -1;
          }
          dictionary[size++] = id;
          table[id] = index = size;
        }
        indices[i] = index - 1;
      }
      return size;
    }

    @Override
    public BytesInput encode(int[] ids, int count) {
      if (!abandoned) {
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

    /** The width of an index, then all of them as one bit-packed run. */
    private BytesInput packed(int count, int bits) {
      int groups = (count + 7) >>> 3;
      page = sized(page, 1 + 5 + (long) groups * bits + Long.BYTES);
      ByteBuffer out = ByteBuffer.wrap(page).order(ByteOrder.LITTLE_ENDIAN);
      out.put((byte) bits);
      RunLengths.putVarint(out, groups << 1 | 1);
      Arrays.fill(indices, count, groups * 8, 0);
      return BytesInput.from(page, 0, pack(indices, groups * 8, bits, page, out.position()));
    }

    /**
     * Of 8 indices, three words of 3, 3 and 2, of which none depends on the 8 before: at most 3 *
     * 18 bits and the last up to 7 of the word before, which share its first byte.
     *
     * @return where they end in {@code page}
     */
    private static int pack(int[] indices, int count, int bits, byte[] page, int at) {
      int second = 3 * bits;
      int third = 6 * bits;
      int shift = third & 7;
      int between = (third & ~7) - (second & ~7);
      for (int i = 0; i < count; i += 8, at += bits) {
        long a = three(indices, i, bits);
        long b = a >>> (second & ~7) | three(indices, i + 3, bits) << (second & 7);
        long c = indices[i + 6] | (long) indices[i + 7] << bits;
        LONG.set(page, at, a);
        LONG.set(page, at + (second >>> 3), b);
        LONG.set(page, at + (third >>> 3), b >>> between | c << shift);
      }
      return at;
    }

    private static long three(int[] indices, int i, int bits) {
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
