package dev.quern.tokenizer;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ConcurrentSkipListSet;
import java.util.function.Supplier;

/**
 * What all tokenizers of this JVM (of this class loader) have done since it started. Only calls
 * that succeeded count; decoding does not, nor does what is {@link #uncounted}.
 *
 * <p>Documents, bytes and tokens are exact. The time is taken of batches, of documents of 1 KiB and
 * more, and of a thread's first 16 shorter ones; of the rest, of one in 16, which stands for all of
 * them: reading the clock twice takes longer than a short document.
 */
public final class TokenizerStatistics {
  private static final Set<Cell> CELLS = new HashSet<>();
  private static final Cell ENDED = new Cell();

  private static final Set<String> ENGINES = new ConcurrentSkipListSet<>();

  private static final long TIMED_BYTES = 1024;
  private static final long TIMED_EACH = 16;

  private TokenizerStatistics() {}

  /**
   * @param documents documents encoded or counted
   * @param bytes their UTF-8 text, in bytes
   * @param tokens token ids made or counted
   * @param nanoseconds inside the tokenizer, copies to and from it included, added up over threads;
   *     of short documents an estimate
   */
  public record Snapshot(long documents, long bytes, long tokens, long nanoseconds) {
    /** What was done between an earlier snapshot and this one. */
    public Snapshot minus(Snapshot earlier) {
      return new Snapshot(
          documents - earlier.documents,
          bytes - earlier.bytes,
          tokens - earlier.tokens,
          nanoseconds - earlier.nanoseconds);
    }
  }

  /**
   * The figures now, of the calls that have returned; the four may stem from slightly different
   * moments while others run.
   */
  public static Snapshot snapshot() {
    synchronized (CELLS) {
      Cell sum = new Cell();
      sum.addAll(ENDED);
      CELLS.forEach(sum::addAll);
      return new Snapshot(sum.documents, sum.bytes, sum.tokens, sum.nanoseconds);
    }
  }

  /**
   * Does work whose calls, in this thread, are not counted: as a second encoding of documents that
   * only checks the first.
   */
  public static <T> T uncounted(Supplier<T> work) {
    Cell cell = IdBuffer.current().statistics();
    boolean before = cell.uncounted;
    cell.uncounted = true;
    try {
      return work.get();
    } finally {
      cell.uncounted = before;
    }
  }

  /**
   * Bytes of native memory that the threads' buffers ({@link IdBuffer}) and batches ({@link
   * DocumentBatch}) hold now.
   */
  public static long bufferBytes() {
    return OffHeap.reserved();
  }

  /**
   * The engines of the tokenizers that this JVM has loaded, in alphabetical order, each with its
   * vector instructions where it has a choice: "fast (avx2)", "reference".
   */
  public static List<String> engines() {
    return List.copyOf(ENGINES);
  }

  static void loaded(NativeTokenizer tokenizer) {
    ENGINES.add(
        tokenizer.simd().equals("none")
            ? tokenizer.engine()
            : tokenizer.engine() + " (" + tokenizer.simd() + ")");
  }

  static Cell open() {
    Cell cell = new Cell();
    synchronized (CELLS) {
      CELLS.add(cell);
    }
    return cell;
  }

  /** The thread is gone: keep its figures, not its cell. */
  static void close(Cell cell) {
    synchronized (CELLS) {
      if (CELLS.remove(cell)) {
        ENDED.addAll(cell);
      }
    }
  }

  /**
   * The figures of one thread. Only that thread writes, so an addition needs no atomic instruction:
   * a call of 100 ns would feel four of them.
   */
  static final class Cell {
    private static final VarHandle DOCUMENTS = field("documents");
    private static final VarHandle BYTES = field("bytes");
    private static final VarHandle TOKENS = field("tokens");
    private static final VarHandle NANOSECONDS = field("nanoseconds");

    private long documents;
    private long bytes;
    private long tokens;
    private long nanoseconds;

    /** Of this thread only, as all that is not read by {@link #addAll}. */
    private boolean uncounted;

    private long shortCalls;

    /** How many calls the time of the running one stands for; 0 if it is not taken. */
    private long weight;

    private static VarHandle field(String name) {
      try {
        return MethodHandles.lookup().findVarHandle(Cell.class, name, long.class);
      } catch (ReflectiveOperationException e) {
        throw new ExceptionInInitializerError(e);
      }
    }

    /** The time, for {@link #add}, if it is taken of this call. */
    long begin(long callBytes) {
      if (callBytes >= TIMED_BYTES) {
        weight = 1;
      } else {
        long call = shortCalls++;
        weight = call < TIMED_EACH ? 1 : call % TIMED_EACH == 0 ? TIMED_EACH : 0;
      }
      return weight == 0 ? 0 : System.nanoTime();
    }

    void add(long moreDocuments, long moreBytes, long moreTokens, long begun) {
      if (uncounted) {
        return;
      }
      long moreNanoseconds = weight == 0 ? 0 : weight * (System.nanoTime() - begun);
      DOCUMENTS.setOpaque(this, documents + moreDocuments);
      BYTES.setOpaque(this, bytes + moreBytes);
      TOKENS.setOpaque(this, tokens + moreTokens);
      NANOSECONDS.setOpaque(this, nanoseconds + moreNanoseconds);
    }

    private void addAll(Cell other) {
      documents += (long) DOCUMENTS.getOpaque(other);
      bytes += (long) BYTES.getOpaque(other);
      tokens += (long) TOKENS.getOpaque(other);
      nanoseconds += (long) NANOSECONDS.getOpaque(other);
    }
  }
}
