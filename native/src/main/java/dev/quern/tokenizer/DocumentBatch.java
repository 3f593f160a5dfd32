package dev.quern.tokenizer;

import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.util.Objects;

/**
 * Documents that one call encodes or counts, and what came of them: {@link
 * NativeTokenizer#encode(DocumentBatch, EncodeOptions)}. What costs time once a call, and what the
 * engine does for many pre-tokens at once, is shared by them, which pays for documents of up to
 * some thousands of bytes.
 *
 * <p>The text is copied outside the Java heap when a document is added. A batch is used again after
 * {@link #clear}, keeps its memory (the text's as asked for, the ids' as large as the largest batch
 * needed) until it is closed or unreachable, and is for one thread at a time.
 */
public final class DocumentBatch implements AutoCloseable {
  private static final Cleaner CLEANER = Cleaner.create();

  private final Memory memory = new Memory();
  private final Cleaner.Cleanable release = CLEANER.register(this, memory);
  private final int mostBytes;
  private final int mostDocuments;
  private int documents;
  private long bytes;

  /** Whether the last call encoded, or counted, the documents that are here. */
  private boolean counted;

  private boolean encoded;

  /** Apart from the batch, so that the cleaner can hold it. */
  private static final class Memory implements Runnable {
    final OffHeap.Block text = new OffHeap.Block();

    /** Where documents end in the text, and their ids among all ids; of both the first is 0. */
    final OffHeap.Block offsets = new OffHeap.Block();

    final OffHeap.Block ids = new OffHeap.Block();

    @Override
    public void run() {
      text.release();
      offsets.release();
      ids.release();
    }
  }

  /**
   * An empty batch.
   *
   * @param mostBytes room for text, in bytes
   * @param mostDocuments room for documents
   */
  public DocumentBatch(int mostBytes, int mostDocuments) {
    this.mostBytes = mostBytes;
    this.mostDocuments = mostDocuments;
    memory.text.reserve(Math.max(1, mostBytes));
    memory.offsets.reserve(2 * (mostDocuments + 1L) * Long.BYTES);
    OffHeap.putLong(memory.offsets.address(), 0);
  }

  /**
   * Adds a document, addressed as in {@link NativeTokenizer}.
   *
   * @param length of the text, in bytes
   * @return false if there is no room for it, and nothing was added
   */
  public boolean add(Object base, long offset, int length) {
    NativeTokenizer.checkText(base, offset, length);
    if (documents == mostDocuments || length > mostBytes - bytes) {
      return false;
    }
    try {
      OffHeap.copy(base, offset, null, open(memory.text) + bytes, length);
      bytes += length;
      documents++;
      OffHeap.putLong(memory.offsets.address() + (long) documents * Long.BYTES, bytes);
    } finally {
      Reference.reachabilityFence(this); // the cleaner would free what is written to
    }
    counted = false;
    encoded = false;
    return true;
  }

  /** Takes all documents out. */
  public void clear() {
    documents = 0;
    bytes = 0;
    counted = false;
    encoded = false;
  }

  /** Number of documents. */
  public int documents() {
    return documents;
  }

  /** Their text, in bytes. */
  public long bytes() {
    return bytes;
  }

  /** Number of ids of a document that was encoded or counted. */
  public int count(int document) {
    if (!counted) {
      throw new IllegalStateException("the batch was not encoded or counted since it was changed");
    }
    Objects.checkIndex(document, documents);
    try {
      return Math.toIntExact(idOffset(document + 1) - idOffset(document));
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /**
   * Copies the ids of a document that was encoded, 4 bytes each in the machine's byte order, to
   * {@code offset} in {@code base}, as {@link IdBuffer#copyTo}.
   */
  public void copyTo(int document, Object base, long offset) {
    if (!encoded) {
      throw new IllegalStateException("the batch was not encoded since it was changed");
    }
    long bytes = (long) count(document) * Integer.BYTES;
    try {
      if (bytes > 0) {
        OffHeap.copy(
            null, open(memory.ids) + idOffset(document) * Integer.BYTES, base, offset, bytes);
      }
    } finally {
      Reference.reachabilityFence(this);
    }
  }

  /** The ids of a document that was encoded, as a new array. */
  public int[] ids(int document) {
    int[] array = new int[count(document)];
    copyTo(document, array, OffHeap.INT_ARRAY);
    return array;
  }

  private long idOffset(int document) {
    return OffHeap.longAt(idOffsets() + (long) document * Long.BYTES);
  }

  @Override
  public void close() {
    release.clean();
  }

  private static long open(OffHeap.Block block) {
    if (block.address() == 0) {
      throw new IllegalStateException("the batch is closed");
    }
    return block.address();
  }

  // What follows is for NativeTokenizer: the native call reads and writes here.

  long text() {
    return open(memory.text);
  }

  long offsets() {
    return open(memory.offsets);
  }

  long idOffsets() {
    return open(memory.offsets) + (mostDocuments + 1L) * Long.BYTES;
  }

  /** Makes room for that many ids; returns how many fit. */
  long reserve(long ids) {
    open(memory.text);
    memory.ids.reserve(ids * Integer.BYTES);
    return memory.ids.capacity() / Integer.BYTES;
  }

  long idsAddress() {
    return memory.ids.address();
  }

  void done(boolean withIds) {
    counted = true;
    encoded = withIds;
  }
}
