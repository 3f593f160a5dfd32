package dev.quern.job;

import java.io.IOException;
import java.nio.ByteOrder;
import org.apache.arrow.memory.util.MemoryUtil;
import org.apache.parquet.bytes.BytesInput;
import org.apache.parquet.column.ColumnDescriptor;
import org.apache.parquet.column.Encoding;
import org.apache.parquet.column.page.DictionaryPage;
import org.apache.parquet.column.page.PageWriter;
import org.apache.parquet.column.statistics.IntStatistics;
import org.apache.parquet.column.statistics.Statistics;
import org.apache.parquet.schema.Type.Repetition;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.unsafe.Platform;

/**
 * A column of token ids ({@code array<int>}) of a Parquet file. Arrays are taken whole: their ids
 * by one copy, their levels as runs. What Parquet's own column writer does for each value costs
 * several times what the tokenizer does for it.
 *
 * <p>A row never spans two pages, as the offset index wants it: an array that is larger than a page
 * has one of its own.
 */
final class ParquetTokenColumn {
  /** Buffers that a huge array has made larger than this are given up again. */
  static final int KEPT_BYTES = 4 << 20;

  /**
   * Of an array of more ids no dictionary is made: its indices would take twice its memory again.
   */
  private static final int MOST_INDEXED = 4 << 20;

  /** The level of an array that is NULL. Those of elements depend on what may be NULL. */
  private static final int NULL_ARRAY = 0;

  private final ColumnDescriptor descriptor;
  private final int mostIds;
  private final int mostRows;
  private final IdEncoding.Encoder encoder;

  /** An array of more ids than this is a page of its own, and plain, of the bytes as they lie. */
  private final int mostCopied;

  private final int emptyArray;
  private final int nullElement;
  private final int element;

  private final RunLengths repetitions = new RunLengths();
  private final RunLengths definitions = new RunLengths();

  private int[] ids;
  private int count;

  /** Of the page's ids so far. */
  private int min = Integer.MAX_VALUE;

  private int max = Integer.MIN_VALUE;
  private int levels;
  private int rows;
  private PageWriter pages;

  /**
   * @param descriptor of the list's elements
   * @param pageBytes what a page's ids take at most before they are encoded, but for a larger array
   * @param pageRows how many rows a page has at most
   */
  ParquetTokenColumn(
      ColumnDescriptor descriptor, IdEncoding encoding, int pageBytes, int pageRows) {
    this.descriptor = descriptor;
    this.encoder = encoding.encoder();
    this.mostIds = Math.max(1, pageBytes / Integer.BYTES);
    this.mostCopied = mostCopied(encoding);
    this.mostRows = pageRows;
    this.ids = new int[mostIds];
    this.element = descriptor.getMaxDefinitionLevel();
    this.nullElement = element - 1;
    this.emptyArray =
        descriptor.getPrimitiveType().isRepetition(Repetition.OPTIONAL) ? element - 2 : element - 1;
  }

  private int mostCopied(IdEncoding encoding) {
    if (ByteOrder.nativeOrder() != ByteOrder.LITTLE_ENDIAN) {
      return Integer.MAX_VALUE;
    }
    return switch (encoding) {
      case PLAIN -> mostIds;
      case DICTIONARY -> Math.max(mostIds, MOST_INDEXED);
      default -> Integer.MAX_VALUE;
    };
  }

  ColumnDescriptor descriptor() {
    return descriptor;
  }

  /** Begins a row group. */
  void begin(PageWriter writer) {
    pages = writer;
  }

  /**
   * Adds a row.
   *
   * @param array null for NULL
   * @return whether a page was written
   */
  boolean write(ArrayData array) throws IOException {
    int length = array == null ? 0 : array.numElements();
    RowFile.checkLength(length, descriptor.getPath()[0]);
    boolean full = rows > 0 && ((long) count + length > mostIds || rows == mostRows);
    if (full) {
      writePage();
    }
    repetitions.add(0, 1);
    rows++;
    if (length == 0) {
      define(array == null ? NULL_ARRAY : emptyArray, 1);
      return full;
    }
    if (length > 1) {
      repetitions.add(1, length - 1);
    }
    if (array instanceof UnsafeArrayData unsafe && !hasNulls(unsafe)) {
      define(element, length);
      if (length > mostCopied) {
        writePage(unsafe);
        return true;
      }
      makeRoom(length);
      int from = count;
      copy(unsafe, 0, length);
      add(from);
    } else {
      makeRoom(length);
      int from = count;
      for (int i = 0; i < length; i++) {
        if (array.isNullAt(i)) {
          define(nullElement, 1);
        } else {
          ids[count++] = array.getInt(i);
          define(element, 1);
        }
      }
      add(from);
    }
    return full;
  }

  private void makeRoom(int length) {
    if (count + length > ids.length) {
      ids = new int[length];
    }
  }

  /** Appends a part of an array without NULLs. */
  private void copy(UnsafeArrayData array, int from, int length) {
    Platform.copyMemory(
        array.getBaseObject(),
        elements(array) + (long) from * Integer.BYTES,
        ids,
        Platform.INT_ARRAY_OFFSET + (long) count * Integer.BYTES,
        (long) length * Integer.BYTES);
    count += length;
  }

  /** Where its elements begin, for Platform. */
  private static long elements(UnsafeArrayData array) {
    return array.getBaseOffset()
        + UnsafeArrayData.calculateHeaderPortionInBytes((long) array.numElements());
  }

  private void define(int level, int times) {
    definitions.add(level, times);
    levels += times;
  }

  /** Whether an element is NULL, by the bits that stand before the elements. */
  static boolean hasNulls(UnsafeArrayData array) {
    int length = array.numElements();
    long at = array.getBaseOffset() + Long.BYTES;
    for (int bit = 0; bit < length; bit += Long.SIZE, at += Long.BYTES) {
      if (Platform.getLong(array.getBaseObject(), at) != 0) {
        return true;
      }
    }
    return false;
  }

  /** Bytes in memory for the row group so far. */
  long bytes() {
    return pages.getMemSize() + (long) count * Integer.BYTES;
  }

  /** Ends a row group; its pages are then all with the page writer. */
  void end() throws IOException {
    if (rows > 0) {
      writePage();
    }
    DictionaryPage dictionary = encoder.dictionary();
    if (dictionary != null) {
      pages.writeDictionaryPage(dictionary);
    }
    pages = null;
  }

  private void writePage() throws IOException {
    BytesInput values = encoder.encode(ids, count);
    writePage(values, encoder.encoding());
    if (ids.length > mostIds && (long) ids.length * Integer.BYTES > KEPT_BYTES) {
      ids = new int[mostIds];
    }
  }

  /**
   * Writes the page of one large array. Its ids are encoded where they lie: each copy of a document
   * of 500 MB would take as much again.
   */
  private void writePage(UnsafeArrayData array) throws IOException {
    int length = array.numElements();
    encoder.plainFromHere();
    for (int from = 0; from < length; from += count) {
      count = 0;
      copy(array, from, Math.min(ids.length, length - from));
      add(0);
    }
    int bytes = Math.toIntExact((long) length * Integer.BYTES);
    BytesInput values =
        array.getBaseObject() instanceof byte[] lying
            ? BytesInput.from(
                lying, Math.toIntExact(elements(array) - Platform.BYTE_ARRAY_OFFSET), bytes)
            : BytesInput.from(MemoryUtil.directBuffer(elements(array), bytes));
    count = length;
    writePage(values, Encoding.PLAIN);
  }

  private void writePage(BytesInput values, Encoding encoding) throws IOException {
    IntStatistics statistics =
        (IntStatistics) Statistics.createStats(descriptor.getPrimitiveType());
    if (min <= max) {
      statistics.setMinMax(min, max);
    }
    // As Parquet's own writer counts: an array that is NULL or empty is a null among the elements.
    statistics.setNumNulls((long) levels - count);
    pages.writePage(
        BytesInput.concat(repetitions.bytes(), definitions.bytes(), values),
        levels,
        rows,
        statistics,
        Encoding.RLE,
        Encoding.RLE,
        encoding);
    repetitions.reset();
    definitions.reset();
    count = 0;
    min = Integer.MAX_VALUE;
    max = Integer.MIN_VALUE;
    levels = 0;
    rows = 0;
  }

  /** Takes notice of the ids of an array: those from {@code from} on. */
  private void add(int from) {
    if (from == count) {
      return;
    }
    int least = ids[from];
    int most = least;
    for (int i = from; i < count; i++) {
      // Math.min would wait for the one before; this hardly ever happens.
      if (ids[i] < least) {
        least = ids[i];
      }
      if (ids[i] > most) {
        most = ids[i];
      }
    }
    min = Math.min(min, least);
    max = Math.max(max, most);
    encoder.add(ids, from, count, least, most);
  }
}
