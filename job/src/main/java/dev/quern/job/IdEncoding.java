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
   * Indices into a list of ids, of as many bits as a page's largest needs. Half the bytes of plain
   * ids, so that compression takes less time, and mostly less to store after it.
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
     * @param endsGroup whether the row group ends with this page
     * @return the encoded page; valid until the next call
     */
    BytesInput encode(int[] ids, int count, boolean endsGroup);

    /** How the page was encoded that {@link #encode} has last returned. */
    Encoding encoding();

    /** What the row group's dictionary would take if the group ended now. */
    default int dictionaryBytes() {
      return 0;
    }

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
    public BytesInput encode(int[] ids, int count, boolean endsGroup) {
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
    public BytesInput encode(int[] ids, int count, boolean endsGroup) {
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
    public BytesInput encode(int[] ids, int count, boolean endsGroup) {
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
   * The index of an id is the id: the dictionary has all numbers up to the row group's largest id.
   * Nothing has to be looked up, and as a row group has most of a vocabulary, indices have hardly
   * more bits than those of a dictionary of what occurs. Where that does not pay at a row group's
   * first page, or an id is none that a tokenizer has, the pages from there on are plain.
   */
  private static final class Indexed implements Encoder {
    /** A dictionary page is at most 1 MiB, Parquet's own default limit. */
    private static final int MOST = 1 << 18;

    /** How many a row group has, if it has more than one: at least about so many. */
    private static final int PAGES = 16;

    private final Plain plain = new Plain();

    /** Of the row group so far, ids in the dictionary; 0 before there is one. */
    private int size;

    private boolean abandoned;
    private Encoding last;
    private byte[] page = new byte[0];

    @Override
    public BytesInput encode(int[] ids, int count, boolean endsGroup) {
      int min = 0;
      int max = 0;
      for (int i = 0; i < count; i++) {
        min = Math.min(min, ids[i]);
        max = Math.max(max, ids[i]);
      }
      if (!abandoned && min >= 0 && max < MOST) {
        int bits = Math.max(1, Integer.SIZE - Integer.numberOfLeadingZeros(max));
        if (size > 0 || pays(count, bits, max + 1, endsGroup ? 1 : PAGES)) {
          size = Math.max(size, max + 1);
          last = Encoding.RLE_DICTIONARY;
          return packed(ids, count, bits);
        }
      }
      abandoned = true;
      last = Encoding.PLAIN;
      return plain.encode(ids, count, endsGroup);
    }

    /** Whether so many pages like this one are smaller with a dictionary. */
    private static boolean pays(int count, int bits, int size, int pages) {
      long saved = (long) count * (Integer.SIZE - bits) / Byte.SIZE;
      return (long) size * Integer.BYTES < pages * saved;
    }

    @Override
    public Encoding encoding() {
      return last;
    }

    /** The width of an index, then all of them as one bit-packed run. */
    private BytesInput packed(int[] ids, int count, int bits) {
      int groups = (count + 7) >>> 3;
      page = sized(page, 1 + 5 + (long) groups * bits + Long.BYTES);
      ByteBuffer out = ByteBuffer.wrap(page).order(ByteOrder.LITTLE_ENDIAN);
      out.put((byte) bits);
      RunLengths.putVarint(out, groups << 1 | 1);
      int at = out.position();
      int whole = count & -8;
      pack(ids, whole, bits, out, at);
      if (whole < count) {
        int[] rest = Arrays.copyOf(Arrays.copyOfRange(ids, whole, count), 8);
        pack(rest, 8, bits, out, at + (whole >>> 3) * bits);
      }
      return BytesInput.from(page, 0, at + groups * bits);
    }

    /**
     * Of 8 indices, three words of 3, 3 and 2, of which none depends on the 8 before: at most 3 *
     * 18 bits and the last up to 7 of the word before, which share its first byte.
     */
    private static void pack(int[] ids, int count, int bits, ByteBuffer out, int at) {
      int second = 3 * bits;
      int third = 6 * bits;
      int shift = third & 7;
      int between = (third & ~7) - (second & ~7);
      for (int i = 0; i < count; i += 8, at += bits) {
        long a = three(ids, i, bits);
        long b = a >>> (second & ~7) | three(ids, i + 3, bits) << (second & 7);
        long c = ids[i + 6] | (long) ids[i + 7] << bits;
        out.putLong(at, a);
        out.putLong(at + (second >>> 3), b);
        out.putLong(at + (third >>> 3), b >>> between | c << shift);
      }
    }

    private static long three(int[] ids, int i, int bits) {
      return ids[i] | (long) ids[i + 1] << bits | (long) ids[i + 2] << 2 * bits;
    }

    @Override
    public int dictionaryBytes() {
      return size * Integer.BYTES;
    }

    @Override
    public DictionaryPage dictionary() {
      DictionaryPage result = null;
      if (size > 0) {
        ByteBuffer all = ByteBuffer.allocate(dictionaryBytes()).order(ByteOrder.LITTLE_ENDIAN);
        for (int id = 0; id < size; id++) {
          all.putInt(id);
        }
        result = new DictionaryPage(BytesInput.from(all.array()), size, Encoding.PLAIN);
      }
      size = 0;
      abandoned = false;
      return result;
    }
  }
}
