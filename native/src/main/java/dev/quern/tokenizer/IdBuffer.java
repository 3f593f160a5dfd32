package dev.quern.tokenizer;

import dev.quern.tokenizer.TokenizerException.Reason;
import java.lang.ref.Cleaner;
import java.util.Objects;

/**
 * The token ids of the last document this thread encoded, outside the Java heap. There is one for
 * each thread, for all tokenizers: it is valid until the same thread calls any method that encodes,
 * counts or decodes, and no other thread may read it.
 *
 * <p>What it costs: a thread keeps the memory of its largest document so far, up to 4 MiB for each
 * of text, ids and spans. What a larger document needs beyond that is given back: its text when the
 * call ends, its ids and spans at this thread's first call that needs less than a quarter of them,
 * everything when the thread ends.
 */
public final class IdBuffer {
  /** An id and its span take 4 and 16 bytes. */
  private static final int ID_BYTES = Integer.BYTES;

  private static final int SPAN_BYTES = 2 * Long.BYTES;
  private static final Cleaner CLEANER = Cleaner.create();
  private static final ThreadLocal<IdBuffer> CURRENT = ThreadLocal.withInitial(IdBuffer::new);

  private final Memory memory = new Memory();
  private int count;
  private boolean hasSpans;

  /** Apart from the IdBuffer, so that the cleaner can hold it. */
  private static final class Memory implements Runnable {
    final OffHeap.Block text = new OffHeap.Block();
    final OffHeap.Block ids = new OffHeap.Block();
    final OffHeap.Block spans = new OffHeap.Block();

    /** Six numbers; see {@link IdBuffer#arguments}. */
    final OffHeap.Block arguments = new OffHeap.Block();

    final TokenizerStatistics.Cell statistics = TokenizerStatistics.open();

    @Override
    public void run() {
      text.release();
      ids.release();
      spans.release();
      arguments.release();
      TokenizerStatistics.close(statistics);
    }
  }

  private IdBuffer() {
    CLEANER.register(this, memory);
  }

  /** Number of ids. */
  public int count() {
    return count;
  }

  /** The id at that index. */
  public int id(int index) {
    Objects.checkIndex(index, count);
    return OffHeap.intAt(memory.ids.address() + (long) index * ID_BYTES);
  }

  /**
   * Where the text of that id begins, in bytes of the document; only after {@link
   * NativeTokenizer#encodeWithOffsets}.
   */
  public long begin(int index) {
    return OffHeap.longAt(span(index));
  }

  /** Where the text of that id ends (exclusive), in bytes of the document; see {@link #begin}. */
  public long end(int index) {
    return OffHeap.longAt(span(index) + Long.BYTES);
  }

  private long span(int index) {
    if (!hasSpans) {
      throw new TokenizerException(
          Reason.INVALID_ARGUMENT,
          "this result has no offsets: the last call of this thread was not encodeWithOffsets");
    }
    Objects.checkIndex(index, count);
    return memory.spans.address() + (long) index * SPAN_BYTES;
  }

  /**
   * Copies the ids, 4 bytes each in the machine's byte order, to {@code offset} in {@code base}
   * (addressed as by sun.misc.Unsafe; a null base makes the offset an absolute address). The caller
   * answers for {@code 4 * count()} bytes of room there.
   */
  public void copyTo(Object base, long offset) {
    if (count > 0) {
      OffHeap.copy(null, memory.ids.address(), base, offset, (long) count * ID_BYTES);
    }
  }

  /**
   * Gives the ids to a caller who completes them where they are, to a structure with something
   * before or behind them: a huge document then needs no copy of its ids. This buffer has none any
   * more; the memory stays its own, and valid as long as the ids were.
   *
   * @param before bytes of room before the first id
   * @param bytes in all, from there on
   * @return the address of the room; what is in it beside the ids is anything
   */
  public long handOver(long before, long bytes) {
    memory.ids.grow(bytes);
    long address = memory.ids.address();
    OffHeap.copy(null, address, null, address + before, (long) count * ID_BYTES);
    count = 0;
    return address;
  }

  /** The ids as a new array. */
  public int[] toArray() {
    int[] array = new int[count];
    copyTo(array, OffHeap.INT_ARRAY);
    return array;
  }

  // What follows is for NativeTokenizer: the native call writes here.

  static IdBuffer current() {
    IdBuffer buffer = CURRENT.get();
    buffer.count = 0;
    buffer.hasSpans = false;
    return buffer;
  }

  TokenizerStatistics.Cell statistics() {
    return memory.statistics;
  }

  /** The input of a call: text or, for decoding, ids. */
  OffHeap.Block input() {
    return memory.text;
  }

  /** The output of a call: ids or, for decoding, text. */
  OffHeap.Block output() {
    return memory.ids;
  }

  OffHeap.Block spans() {
    return memory.spans;
  }

  /**
   * Writes the arguments of quern_encode for quern_encode_packed and returns their address: JNA
   * takes some 20 ns for each argument that it passes, as long as the shortest documents do.
   */
  long arguments(long handle, long text, long length, long flags, long ids, long capacity) {
    long address = memory.arguments.reserve(6L * Long.BYTES);
    OffHeap.putLong(address, handle);
    OffHeap.putLong(address + Long.BYTES, text);
    OffHeap.putLong(address + 2 * Long.BYTES, length);
    OffHeap.putLong(address + 3 * Long.BYTES, flags);
    OffHeap.putLong(address + 4 * Long.BYTES, ids);
    OffHeap.putLong(address + 5 * Long.BYTES, capacity);
    return address;
  }

  /** Makes room for that many ids, and their spans if asked; returns how many fit. */
  long reserve(long ids, boolean withSpans) {
    checkFitArray(ids);
    memory.ids.reserve(ids * ID_BYTES);
    long capacity = memory.ids.capacity() / ID_BYTES;
    if (withSpans) {
      memory.spans.reserve(ids * SPAN_BYTES);
      capacity = Math.min(capacity, memory.spans.capacity() / SPAN_BYTES);
    }
    return capacity;
  }

  /** Makes room for that many ids in all, of which some are there already; returns how many fit. */
  long grow(long ids) {
    checkFitArray(ids);
    memory.ids.grow(ids * ID_BYTES);
    return memory.ids.capacity() / ID_BYTES;
  }

  private static void checkFitArray(long ids) {
    if (ids > Integer.MAX_VALUE) {
      throw new TokenizerException(
          Reason.INVALID_ARGUMENT,
          "the document has "
              + ids
              + " token ids, more than an array holds ("
              + Integer.MAX_VALUE
              + "); split it");
    }
  }

  IdBuffer filled(long ids, boolean withSpans) {
    count = (int) ids;
    hasSpans = withSpans;
    return this;
  }
}
