package dev.quern.tokenizer;

import java.util.function.Supplier;

/**
 * Documents off the heap, and ranges of them encoded by one native call each: the engine's own
 * speed, without a copy of text or ids in Java. For measurements only; see {@link RawCalls} for why
 * it stands in this package.
 *
 * <p>The ids of a range stay in memory of their own until a range that begins with the same
 * document is encoded again, as those of other tokenizers' batch calls stay in what these return.
 * Memory is not touched beforehand, unless {@link #touch} does it: its page faults are in the first
 * pass, as they are there.
 */
public final class RawBatch implements AutoCloseable {
  private final OffHeap.Block textBlock = new OffHeap.Block();
  private final OffHeap.Block offsetBlock = new OffHeap.Block();
  private final OffHeap.Block idBlock = new OffHeap.Block();
  private final OffHeap.Block idOffsetBlock = new OffHeap.Block();
  private static final int PAGE = 4096;

  private final long bytes;
  private final long idBytes;
  private final long flags;
  private NativeTokenizer tokenizer;

  /**
   * Copies the documents.
   *
   * @param texts called once for each of {@code documents}; {@code bytes} of UTF-8 in all
   * @param addSpecialTokens what the tokenizer's template adds, too
   */
  public RawBatch(Supplier<byte[]> texts, int documents, long bytes, boolean addSpecialTokens) {
    this.flags = addSpecialTokens ? QuernLibrary.ADD_SPECIAL_TOKENS : 0;
    this.bytes = bytes;
    long text = textBlock.reserve(Math.max(1, bytes));
    long offsets = offsetBlock.reserve((documents + 1L) * Long.BYTES);
    long at = 0;
    OffHeap.putLong(offsets, 0);
    for (int i = 0; i < documents; i++) {
      byte[] document = texts.get();
      if (document.length > bytes - at) {
        throw new IllegalArgumentException("the documents have more than " + bytes + " bytes");
      }
      OffHeap.copy(document, OffHeap.BYTE_ARRAY, null, text + at, document.length);
      at += document.length;
      OffHeap.putLong(offsets + (i + 1L) * Long.BYTES, at);
    }
    // No tokenizer makes more ids than bytes, but for one an empty document might have. A range of
    // n documents has n + 1 offsets, which fit where 2 are kept for each document.
    idBytes = (bytes + documents) * Integer.BYTES;
    idBlock.reserve(idBytes);
    idOffsetBlock.reserve(2L * documents * Long.BYTES);
  }

  /**
   * Touches the memory of the ids, as a task of the job finds its own: that is used again for every
   * document, and has had its page faults long before.
   */
  public void touch() {
    for (long at = 0; at + Long.BYTES <= idBytes; at += PAGE) {
      OffHeap.putLong(idBlock.address() + at, 0);
    }
  }

  /** The tokenizer to encode with; it stays the caller's to close. */
  public void use(NativeTokenizer loaded) {
    tokenizer = loaded;
  }

  /**
   * Encodes documents from (inclusive) to (exclusive, more than from) in one native call; returns
   * how many ids. Several threads may do so at the same time with ranges that don't overlap.
   */
  public long encode(int from, int to) {
    return checked(
        QuernLibrary.quern_encode_batch(
            tokenizer.handle,
            textBlock.address(),
            bytes,
            offsetBlock.address() + (long) from * Long.BYTES,
            to - from,
            flags,
            ids(from),
            begin(to) - begin(from) + (to - from),
            idOffsets(from)));
  }

  /**
   * As {@link #encode}, but only counts: one native call a document, for there is no batch of it.
   */
  public long count(int from, int to) {
    long count = 0;
    for (int i = from; i < to; i++) {
      count +=
          checked(
              QuernLibrary.quern_count(
                  tokenizer.handle,
                  textBlock.address() + begin(i),
                  begin(i + 1) - begin(i),
                  flags));
    }
    return count;
  }

  /** The ids of a document in the range that begins with {@code from}, as last encoded. */
  public int[] ids(int from, int document) {
    long offsets = idOffsets(from) + (long) (document - from) * Long.BYTES;
    long first = OffHeap.longAt(offsets);
    int[] ids = new int[Math.toIntExact(OffHeap.longAt(offsets + Long.BYTES) - first)];
    OffHeap.copy(
        null,
        ids(from) + first * Integer.BYTES,
        ids,
        OffHeap.INT_ARRAY,
        (long) ids.length * Integer.BYTES);
    return ids;
  }

  /** Bytes of text before that document. */
  public long begin(int document) {
    return OffHeap.longAt(offsetBlock.address() + (long) document * Long.BYTES);
  }

  private long ids(int from) {
    return idBlock.address() + (begin(from) + from) * Integer.BYTES;
  }

  private long idOffsets(int from) {
    return idOffsetBlock.address() + 2L * from * Long.BYTES;
  }

  private static long checked(long result) {
    if (result < 0) {
      throw QuernLibrary.failure(result);
    }
    return result;
  }

  @Override
  public void close() {
    textBlock.release();
    offsetBlock.release();
    idBlock.release();
    idOffsetBlock.release();
  }
}
