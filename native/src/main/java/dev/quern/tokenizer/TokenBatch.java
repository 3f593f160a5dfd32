package dev.quern.tokenizer;

import java.util.Arrays;
import java.util.Objects;

/** The token ids of several documents; unlike {@link IdBuffer} it stays valid and is immutable. */
public final class TokenBatch {
  private final int[] ids;
  private final int[] offsets;

  /** ids of document i: ids[offsets[i]] to ids[offsets[i + 1]] (exclusive). */
  TokenBatch(int[] ids, int[] offsets) {
    this.ids = ids;
    this.offsets = offsets;
  }

  /** Number of documents. */
  public int documents() {
    return offsets.length - 1;
  }

  /** Number of ids of all documents. */
  public int count() {
    return ids.length;
  }

  /** Number of ids of one document. */
  public int count(int document) {
    Objects.checkIndex(document, documents());
    return offsets[document + 1] - offsets[document];
  }

  /** The ids of one document, as a new array. */
  public int[] ids(int document) {
    Objects.checkIndex(document, documents());
    return Arrays.copyOfRange(ids, offsets[document], offsets[document + 1]);
  }
}
