package dev.quern.tokenizer;

import dev.quern.tokenizer.TokenizerException.Reason;
import java.lang.ref.Cleaner;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/**
 * A loaded tokenizer. Safe for any number of threads at once; two with the same content and engine
 * share their memory.
 *
 * <p>Text is UTF-8. Methods with {@code Object base, long offset} address it as sun.misc.Unsafe and
 * Spark's UTF8String do: an offset in the object, or an absolute address if base is null (such text
 * is read in place, other text is copied once; the fast engine takes it in pieces of 4 MiB, so that
 * a document of any length needs no other copy of its text). The caller answers for what these
 * point to; only a byte[] is checked.
 *
 * <p>{@link #close} returns at once: calls that run then end undisturbed, and the last of them
 * frees the memory; later calls throw {@link Reason#CLOSED}; a second close does nothing. A
 * tokenizer that is never closed is freed after it became unreachable. The accessors of what it is
 * (contentHash, engine, model ...) stay usable.
 */
public final class NativeTokenizer implements AutoCloseable {
  private static final Cleaner CLEANER = Cleaner.create();

  /** Of a longer document in the heap no copy is made, but of one piece after the other. */
  private static final int PIECE_BYTES = (int) OffHeap.Block.KEPT_BYTES;

  /** Slot and generation, never an address: a stale one is an error in the native registry. */
  final long handle;

  private final Cleaner.Cleanable release;
  private final String contentHash;
  private final String engine;
  private final String engineReason;
  private final String simd;
  private final String model;
  private final int vocabularySize;
  private final List<String> notices;

  private NativeTokenizer(long handle) {
    this.handle = handle;
    // The native registry counts the users of a tokenizer: a release while calls run is safe there,
    // so that no count has to be kept (and fought over by all threads) here.
    this.release = CLEANER.register(this, () -> QuernLibrary.quern_release(handle));
    Map<String, Object> description = describe();
    this.contentHash = (String) description.get("content_hash");
    this.engine = (String) description.get("engine");
    this.engineReason = (String) description.get("engine_reason");
    this.simd = (String) description.get("simd");
    this.model = (String) description.get("model");
    this.vocabularySize = Math.toIntExact((Long) description.get("vocabulary_size"));
    this.notices =
        ((List<?>) description.get("notices")).stream().map(notice -> (String) notice).toList();
    TokenizerStatistics.loaded(this);
  }

  /**
   * Loads a tokenizer, or shares the one that is loaded already. The native library is loaded first
   * if it is not yet, with {@link LibraryOptions#DEFAULT}.
   *
   * @throws TokenizerException {@link Reason#UNSUPPORTED} if the file can't be read or served
   */
  public static NativeTokenizer load(TokenizerSpec spec) {
    QuernLibrary.ensureLoaded();
    byte[] file = spec.sharedFile();
    byte[] options = spec.optionsJson().getBytes(StandardCharsets.UTF_8);
    // Not the thread's buffer: a tokenizer file is large, and loading is rare.
    OffHeap.Block block = new OffHeap.Block();
    try {
      long address = block.reserve((long) file.length + options.length);
      OffHeap.copy(file, OffHeap.BYTE_ARRAY, null, address, file.length);
      OffHeap.copy(options, OffHeap.BYTE_ARRAY, null, address + file.length, options.length);
      long handle =
          QuernLibrary.quern_load(address, file.length, address + file.length, options.length);
      if (handle <= 0) {
        throw QuernLibrary.failure(handle);
      }
      return new NativeTokenizer(handle);
    } finally {
      block.release();
    }
  }

  private Map<String, Object> describe() {
    OffHeap.Block block = new OffHeap.Block();
    try {
      long needed = 8192;
      while (true) {
        long address = block.reserve(needed);
        needed = checked(QuernLibrary.quern_describe(handle, address, block.capacity()));
        if (needed <= block.capacity()) {
          byte[] json = new byte[Math.toIntExact(needed)];
          OffHeap.copy(null, address, json, OffHeap.BYTE_ARRAY, json.length);
          return Json.object(new String(json, StandardCharsets.UTF_8));
        }
      }
    } finally {
      block.release();
    }
  }

  /**
   * SHA-256 of the tokenizer file in hex; where options that change ids differ from their defaults,
   * of that and the options. Equal hashes mean equal ids.
   */
  public String contentHash() {
    return contentHash;
  }

  /** The engine in use: "reference" or "fast". */
  public String engine() {
    return engine;
  }

  /** Why that engine, in one sentence. */
  public String engineReason() {
    return engineReason;
  }

  /** The vector instructions: avx512, avx2, neon or portable; none if the engine has no choice. */
  public String simd() {
    return simd;
  }

  /** BPE, WordPiece, Unigram or WordLevel. */
  public String model() {
    return model;
  }

  /** Number of token ids, added and special tokens included. */
  public int vocabularySize() {
    return vocabularySize;
  }

  /** What of the file is ignored or read differently, a sentence each; to be logged once. */
  public List<String> notices() {
    return notices;
  }

  /** The id of a token of the vocabulary or an added or special token; empty if there is none. */
  public OptionalInt tokenId(String token) {
    byte[] utf8 = utf8(token);
    IdBuffer buffer = IdBuffer.current();
    try {
      long text = input(buffer, utf8, OffHeap.BYTE_ARRAY, utf8.length);
      long id = QuernLibrary.quern_token_id(handle, text, utf8.length);
      return id == QuernLibrary.UNKNOWN_ID
          ? OptionalInt.empty()
          : OptionalInt.of(Math.toIntExact(checked(id)));
    } finally {
      done(buffer);
    }
  }

  /**
   * Encodes one document; an empty one has no ids (unless special tokens are added).
   *
   * @param length of the text, in bytes
   * @return this thread's buffer, valid until its next call
   */
  public IdBuffer encode(Object base, long offset, int length, EncodeOptions options) {
    return encode(base, offset, length, options, false);
  }

  /** Encodes one document with {@link EncodeOptions#DEFAULT}. */
  public IdBuffer encode(byte[] utf8) {
    return encode(utf8, OffHeap.BYTE_ARRAY, utf8.length, EncodeOptions.DEFAULT);
  }

  /**
   * Encodes one document with {@link EncodeOptions#DEFAULT}.
   *
   * @throws TokenizerException {@link Reason#INVALID_UTF8} if a surrogate stands alone
   */
  public int[] encode(String text) {
    return encode(utf8(text)).toArray();
  }

  /**
   * As {@link #encode(Object, long, int, EncodeOptions)}, and each id with the range of bytes of
   * the document it stands for (empty for a special token that was added).
   */
  public IdBuffer encodeWithOffsets(Object base, long offset, int length, EncodeOptions options) {
    return encode(base, offset, length, options, true);
  }

  private IdBuffer encode(
      Object base, long offset, int length, EncodeOptions options, boolean withSpans) {
    long flags = options.flags();
    IdBuffer buffer = IdBuffer.current();
    long begun = buffer.statistics().begin(length);
    try {
      if (!withSpans && inPieces(base, length, options)) {
        long count = pieces(buffer, base, offset, length, flags, true);
        if (count >= 0) {
          buffer.statistics().add(1, length, count, begun);
          return buffer.filled(count, false);
        }
      }
      long text = input(buffer, base, offset, length);
      // English has about 4.5 bytes an id; half as many as bytes nearly always suffice.
      long needed = length / 2 + 16L;
      while (true) {
        long capacity = buffer.reserve(needed, withSpans);
        long ids = buffer.output().address();
        needed =
            checked(
                withSpans
                    ? QuernLibrary.quern_encode_offsets(
                        handle, text, length, flags, ids, buffer.spans().address(), capacity)
                    : QuernLibrary.quern_encode_packed(
                        buffer.arguments(handle, text, length, flags, ids, capacity)));
        if (needed <= capacity) {
          buffer.statistics().add(1, length, needed, begun);
          return buffer.filled(needed, withSpans);
        }
      }
    } finally {
      done(buffer);
    }
  }

  private boolean inPieces(Object base, int length, EncodeOptions options) {
    return length > PIECE_BYTES
        && base != null
        && engine.equals("fast")
        && !options.addSpecialTokens();
  }

  /**
   * Encodes a long document piece by piece, each as long as one can be copied at once, cut where
   * the engine says that the ids stay the same; or only counts.
   *
   * @return how many ids there are; -1 if one of the pieces is an error, which has to be found in
   *     the whole: it might not be the first, and its place is told in the document
   */
  private long pieces(
      IdBuffer buffer, Object base, long offset, int length, long flags, boolean write) {
    if (base instanceof byte[] array) {
      checkRange(offset - OffHeap.BYTE_ARRAY, length, array.length);
    }
    long count = 0;
    long capacity = write ? buffer.reserve(length / 2 + 16L, false) : 0;
    long most = PIECE_BYTES;
    int at = 0;
    while (at < length) {
      int piece = (int) Math.min(most, length - at);
      long text = input(buffer, base, offset + at, piece);
      if (piece < length - at) {
        piece = (int) checked(QuernLibrary.quern_cut(handle, text, piece));
        if (piece == 0) {
          most *= 2;
          continue;
        }
      }
      most = PIECE_BYTES;
      at += piece;
      while (true) {
        long ids = write ? buffer.output().address() + count * Integer.BYTES : 0;
        long room = capacity - count;
        long needed =
            QuernLibrary.quern_encode_packed(
                buffer.arguments(handle, text, piece, flags, room == 0 ? 0 : ids, room));
        if (needed < 0) {
          return -1;
        }
        if (!write || needed <= room) {
          count += needed;
          break;
        }
        // What is left has about as many ids a byte as what is done.
        capacity = buffer.grow((long) ((count + needed) * 1.05 * length / at) + 16);
      }
    }
    return count;
  }

  /**
   * Encodes the documents of a batch in one call. The first that fails fails the batch; {@link
   * TokenizerException#document} is its index.
   */
  public void encode(DocumentBatch batch, EncodeOptions options) {
    TokenizerStatistics.Cell statistics = IdBuffer.current().statistics();
    long begun = statistics.begin(Long.MAX_VALUE);
    // As for one document; the engine wants a little room behind the ids of each.
    long needed = batch.bytes() / 2 + 16L * batch.documents() + 16;
    long capacity;
    do {
      capacity = batch.reserve(needed);
      needed = encode(batch, options, batch.idsAddress(), capacity);
    } while (needed > capacity);
    batch.done(true);
    statistics.add(batch.documents(), batch.bytes(), needed, begun);
  }

  /** How many ids {@link #encode(DocumentBatch, EncodeOptions)} would give each document. */
  public void count(DocumentBatch batch, EncodeOptions options) {
    TokenizerStatistics.Cell statistics = IdBuffer.current().statistics();
    long begun = statistics.begin(Long.MAX_VALUE);
    long count = encode(batch, options, 0, 0);
    batch.done(false);
    statistics.add(batch.documents(), batch.bytes(), count, begun);
  }

  /** Returns the number of ids; where they do not fit they are only counted. */
  private long encode(DocumentBatch batch, EncodeOptions options, long ids, long capacity) {
    try {
      return checked(
          QuernLibrary.quern_encode_batch(
              handle,
              batch.text(),
              batch.bytes(),
              batch.offsets(),
              batch.documents(),
              options.flags(),
              ids,
              capacity,
              batch.idOffsets()));
    } finally {
      Reference.reachabilityFence(this);
      Reference.reachabilityFence(batch);
    }
  }

  /** How many ids {@link #encode(Object, long, int, EncodeOptions)} would give; makes none. */
  public long tokenCount(Object base, long offset, int length, EncodeOptions options) {
    long flags = options.flags();
    IdBuffer buffer = IdBuffer.current();
    long begun = buffer.statistics().begin(length);
    try {
      long count = -1;
      if (inPieces(base, length, options)) {
        count = pieces(buffer, base, offset, length, flags, false);
      }
      if (count < 0) {
        long text = input(buffer, base, offset, length);
        // Without room for ids it counts.
        long arguments = buffer.arguments(handle, text, length, flags, 0, 0);
        count = checked(QuernLibrary.quern_encode_packed(arguments));
      }
      buffer.statistics().add(1, length, count, begun);
      return count;
    } finally {
      done(buffer);
    }
  }

  /** How many ids {@link #encode(String)} would give. */
  public long tokenCount(String text) {
    byte[] utf8 = utf8(text);
    return tokenCount(utf8, OffHeap.BYTE_ARRAY, utf8.length, EncodeOptions.DEFAULT);
  }

  /**
   * The text of ids, as bytes: a document cut between ids may begin or end within a character.
   *
   * @param skipSpecialTokens leaves out special tokens
   * @throws TokenizerException {@link Reason#UNKNOWN_ID} if an id is not in the vocabulary
   */
  public byte[] decode(int[] ids, boolean skipSpecialTokens) {
    return decode(ids, OffHeap.INT_ARRAY, ids.length, skipSpecialTokens);
  }

  /** As {@link #decode(int[], boolean)}, for {@code count} ids of 4 bytes at an address. */
  public byte[] decode(Object base, long offset, int count, boolean skipSpecialTokens) {
    if (base instanceof int[] array) {
      checkRange(offset - OffHeap.INT_ARRAY, (long) count * Integer.BYTES, array.length * 4L);
    } else if (count < 0) {
      throw negative(count);
    }
    IdBuffer buffer = IdBuffer.current();
    try {
      // Always copied: Spark's arrays are aligned to 8 bytes, other callers' may be to none.
      long bytes = (long) count * Integer.BYTES;
      long ids = buffer.input().reserve(bytes);
      OffHeap.copy(base, offset, null, ids, bytes);
      long flags = skipSpecialTokens ? QuernLibrary.SKIP_SPECIAL_TOKENS : 0;
      long needed = 6L * count + 64;
      while (true) {
        long text = buffer.output().reserve(needed);
        long capacity = buffer.output().capacity();
        needed = checked(QuernLibrary.quern_decode(handle, ids, count, flags, text, capacity));
        if (needed > Integer.MAX_VALUE - 8) {
          throw new TokenizerException(
              Reason.INVALID_ARGUMENT,
              "the text of " + count + " ids has " + needed + " bytes, more than an array holds");
        }
        if (needed <= capacity) {
          byte[] out = new byte[(int) needed];
          OffHeap.copy(null, text, out, OffHeap.BYTE_ARRAY, out.length);
          return out;
        }
      }
    } finally {
      done(buffer);
    }
  }

  @Override
  public void close() {
    release.clean();
  }

  @Override
  public String toString() {
    return "NativeTokenizer(" + model + ", " + vocabularySize + " ids, " + contentHash + ")";
  }

  /** The address of the text: its own, or that of a copy in the thread's buffer. */
  private static long input(IdBuffer buffer, Object base, long offset, int length) {
    checkText(base, offset, length);
    if (base == null) {
      return offset;
    }
    long address = buffer.input().reserve(length);
    OffHeap.copy(base, offset, null, address, length);
    return address;
  }

  static void checkText(Object base, long offset, int length) {
    if (base instanceof byte[] array) {
      checkRange(offset - OffHeap.BYTE_ARRAY, length, array.length);
    } else if (length < 0) {
      throw negative(length);
    }
  }

  private static void checkRange(long begin, long length, long size) {
    if (begin < 0 || length < 0 || begin > size - length) {
      throw new TokenizerException(
          Reason.INVALID_ARGUMENT,
          length + " bytes at offset " + begin + " are outside the array of " + size + " bytes");
    }
  }

  private static TokenizerException negative(int length) {
    return new TokenizerException(Reason.INVALID_ARGUMENT, "the length is negative: " + length);
  }

  private static long checked(long result) {
    if (result < 0) {
      throw QuernLibrary.failure(result);
    }
    return result;
  }

  /** To be called after each native call: the tokenizer was reachable until here. */
  private void done(IdBuffer buffer) {
    Reference.reachabilityFence(this);
    buffer.input().releaseIfLarge();
  }

  /** String.getBytes would turn a lone surrogate into a question mark, silently. */
  private static byte[] utf8(String text) {
    try {
      ByteBuffer encoded = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
      byte[] bytes = new byte[encoded.remaining()];
      encoded.get(bytes);
      return bytes;
    } catch (CharacterCodingException e) {
      int i = 0;
      while (!Character.isSurrogate(text.charAt(i))
          || Character.isSupplementaryCodePoint(text.codePointAt(i))) {
        i += Character.charCount(text.codePointAt(i));
      }
      throw new TokenizerException(
          Reason.INVALID_UTF8,
          "the text has a surrogate without its partner at character "
              + i
              + ": it has no UTF-8 form; replace it by U+FFFD",
          text.substring(0, i).getBytes(StandardCharsets.UTF_8).length,
          -1,
          e);
    }
  }
}
