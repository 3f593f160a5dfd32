package dev.quern.tokenizer;

import java.util.List;

/**
 * The native functions themselves, over documents that lie off the heap already: what a call costs
 * without Java's part (checks, the copy of the text, statistics), and, many documents in one call,
 * without the call. For measurements only; it stands in this package, in the benchmarks' jar,
 * because the native functions are no business of anybody else.
 */
public final class RawCalls implements AutoCloseable {
  private final OffHeap.Block textBlock = new OffHeap.Block();
  private final OffHeap.Block idBlock = new OffHeap.Block();
  private final OffHeap.Block offsetBlock = new OffHeap.Block();
  private final long handle;
  private final int documents;
  private final long bytes;
  private final long capacity;

  /** Loads the tokenizer (the library must be loaded) and copies the documents. */
  public RawCalls(TokenizerSpec spec, List<byte[]> texts) {
    this.handle = load(spec);
    this.documents = texts.size();
    this.bytes = texts.stream().mapToLong(text -> text.length).sum();
    // No tokenizer makes more ids than bytes, but for one an empty document might have.
    this.capacity = bytes + documents;
    long text = textBlock.reserve(Math.max(1, bytes));
    idBlock.reserve(capacity * Integer.BYTES);
    offsetBlock.reserve(2 * (documents + 1L) * Long.BYTES);
    long at = 0;
    OffHeap.putLong(offsets(), 0);
    for (int i = 0; i < documents; i++) {
      byte[] document = texts.get(i);
      OffHeap.copy(document, OffHeap.BYTE_ARRAY, null, text + at, document.length);
      at += document.length;
      OffHeap.putLong(offsets() + (i + 1L) * Long.BYTES, at);
    }
  }

  private static long load(TokenizerSpec spec) {
    byte[] file = spec.file();
    byte[] options = spec.optionsJson().getBytes(java.nio.charset.StandardCharsets.UTF_8);
    OffHeap.Block block = new OffHeap.Block();
    try {
      long address = block.reserve((long) file.length + options.length);
      OffHeap.copy(file, OffHeap.BYTE_ARRAY, null, address, file.length);
      OffHeap.copy(options, OffHeap.BYTE_ARRAY, null, address + file.length, options.length);
      return checked(
          QuernLibrary.quern_load(address, file.length, address + file.length, options.length));
    } finally {
      block.release();
    }
  }

  /** The floor: a native function that only returns a number. */
  public static long version() {
    return QuernLibrary.quern_abi_version();
  }

  /** Encodes one document; returns how many ids. */
  public long encode(int document) {
    return checked(
        QuernLibrary.quern_encode(
            handle,
            textBlock.address() + begin(document),
            begin(document + 1) - begin(document),
            0,
            idBlock.address(),
            capacity));
  }

  /** Encodes all documents in one call; returns how many ids. */
  public long encodeAll() {
    return checked(
        QuernLibrary.quern_encode_batch(
            handle,
            textBlock.address(),
            bytes,
            offsets(),
            documents,
            0,
            idBlock.address(),
            capacity,
            offsets() + (documents + 1L) * Long.BYTES));
  }

  /** The ids that the last call wrote, as many as it returned. */
  public int[] ids(long count) {
    int[] ids = new int[Math.toIntExact(count)];
    OffHeap.copy(
        null, idBlock.address(), ids, OffHeap.INT_ARRAY, (long) ids.length * Integer.BYTES);
    return ids;
  }

  private long offsets() {
    return offsetBlock.address();
  }

  private long begin(int document) {
    return OffHeap.longAt(offsets() + (long) document * Long.BYTES);
  }

  private static long checked(long result) {
    if (result < 0) {
      throw QuernLibrary.failure(result);
    }
    return result;
  }

  @Override
  public void close() {
    checked(QuernLibrary.quern_release(handle));
    textBlock.release();
    idBlock.release();
    offsetBlock.release();
  }
}
