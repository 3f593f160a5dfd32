package dev.quern.job;

import dev.quern.sql.TokenizerReference;
import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.IdBuffer;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerException;
import dev.quern.tokenizer.TokenizerStatistics;
import java.io.Serializable;
import org.apache.spark.sql.catalyst.expressions.XXH64;
import org.apache.spark.unsafe.Platform;

/**
 * Encodes a share of the documents a second time, by a tokenizer that is the judge, and says what
 * differs. Its work counts as verification, and not as throughput of the tokenizer.
 */
final class Verifier {
  /**
   * Not the default of --seed: else the documents of a sample would be those that are verified
   * first.
   */
  private static final long SEED = 0x7665_7269_6679L;

  /**
   * What is verified.
   *
   * @param fraction of the documents, more than 0
   * @param judge gives the ids that are right; loaded by a JVM's first document that is verified
   * @param engine the engine that is judged
   * @param run the run it is for: {@link ActiveRun#id}
   */
  record Settings(double fraction, TokenizerReference judge, String engine, String run)
      implements Serializable {}

  private final Settings settings;
  private final EncodeOptions options;
  private final TaskCounts counts;

  /**
   * @param options those the documents are encoded with
   */
  Verifier(Settings settings, EncodeOptions options, TaskCounts counts) {
    this.settings = settings;
    this.options = options;
    this.counts = counts;
  }

  /** Whether this document is to be verified: by a hash of its text, the same on each attempt. */
  boolean takes(Object base, long offset, int length) {
    return isTaken(base, offset, length, SEED, settings.fraction());
  }

  /**
   * Whether a text belongs to a share of all texts, by its XXH64. A smaller share of the same seed
   * is part of a larger one.
   */
  static boolean isTaken(Object base, long offset, int length, long seed, double fraction) {
    long hash = XXH64.hashUnsafeBytes(base, offset, length, seed);
    return (hash >>> 11) * 0x1.0p-53 < fraction;
  }

  /**
   * Encodes a document again that has been encoded.
   *
   * @param ids its ids, 4 bytes each in the machine's byte order, from {@code at} on
   * @return what differs; null if nothing does
   */
  String difference(Object base, long offset, int length, byte[] ids, long at, int count) {
    NativeTokenizer judge = settings.judge().open();
    long begun = System.nanoTime();
    try {
      IdBuffer right = encode(judge, base, offset, length);
      int both = Math.min(count, right.count());
      int first = 0;
      while (first < both && id(ids, at, first) == right.id(first)) {
        first++;
      }
      if (first == count && count == right.count()) {
        return null;
      }
      String given = first < count ? String.valueOf(id(ids, at, first)) : "missing";
      String expected = first < right.count() ? String.valueOf(right.id(first)) : "none";
      int expectedCount = right.count();
      return "its id at index "
          + first
          + " is "
          + given
          + ", and "
          + expected
          + " by the reference engine ("
          + count
          + " and "
          + expectedCount
          + " ids)"
          + position(judge, base, offset, length, first);
    } catch (TokenizerException refusal) {
      return "it has " + count + " ids, and the reference engine refuses it: " + reason(refusal);
    } finally {
      count(begun);
    }
  }

  /**
   * Encodes a document again that the tokenizer has refused.
   *
   * @return what differs; null if nothing does
   */
  String difference(Object base, long offset, int length, TokenizerException given) {
    NativeTokenizer judge = settings.judge().open();
    long begun = System.nanoTime();
    try {
      int expected = encode(judge, base, offset, length).count();
      return "it is refused ("
          + reason(given)
          + "), and has "
          + expected
          + " ids by the reference engine";
    } catch (TokenizerException right) {
      return given.reason() == right.reason() && given.position() == right.position()
          ? null
          : "it is refused (" + reason(given) + "), and by the reference engine " + reason(right);
    } finally {
      count(begun);
    }
  }

  private IdBuffer encode(NativeTokenizer judge, Object base, long offset, int length) {
    return TokenizerStatistics.uncounted(() -> judge.encode(base, offset, length, options));
  }

  private void count(long begun) {
    counts.verified++;
    counts.verifyNanos += System.nanoTime() - begun;
  }

  private static int id(byte[] ids, long at, int index) {
    return Platform.getInt(ids, at + (long) index * Integer.BYTES);
  }

  /** Where the judge's id begins; up to there both have the same ids. */
  private String position(NativeTokenizer judge, Object base, long offset, int length, int index) {
    try {
      IdBuffer spans =
          TokenizerStatistics.uncounted(
              () -> judge.encodeWithOffsets(base, offset, length, options));
      return ", at byte " + (index < spans.count() ? spans.begin(index) : length);
    } catch (TokenizerException e) {
      return "";
    }
  }

  /** As the quarantine has it; never the message, which may be about the content. */
  private static String reason(TokenizerException refusal) {
    return QuarantineReason.of(refusal)
        + (refusal.position() < 0 ? "" : " at byte " + refusal.position());
  }

  /** The whole of what a user is told. */
  Failure failure(String document, int length, String difference) {
    return new Failure(
        settings.run(),
        "the engine "
            + settings.engine()
            + " differs from the reference engine in "
            + document
            + " ("
            + length
            + " bytes, tokenizer "
            + settings.judge().name()
            + "): "
            + difference
            + ". Please report it with that document; --engine reference tokenizes the corpus"
            + " meanwhile");
  }

  /** A difference that fails the run. */
  static final class Failure extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final String run;

    private Failure(String run, String message) {
      super(message);
      this.run = run;
    }

    /** {@link ActiveRun#id}. */
    String run() {
      return run;
    }
  }
}
