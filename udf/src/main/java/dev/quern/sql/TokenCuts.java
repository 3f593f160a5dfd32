package dev.quern.sql;

import dev.quern.tokenizer.IdBuffer;
import dev.quern.tokenizer.TokenizerException;
import dev.quern.tokenizer.TokenizerException.Reason;
import java.util.ArrayList;
import java.util.List;

/**
 * Where a document may be cut: between two of its tokens, if no character is on both sides. Pieces
 * are measured by tokenizing them, since a piece alone may have other tokens than it had within the
 * document: a pre-tokenizer looks ahead, a normalizer joins characters, a model chooses another
 * way.
 *
 * <p>Cuts are counted in tokens of the document (cut k has k of them before it), positions in
 * bytes.
 */
final class TokenCuts {
  /** The number of tokens of the bytes from {@code begin} to {@code end}, taken alone. */
  interface Measure {
    long tokens(int begin, int end);
  }

  /** A piece of the document, in bytes of it, and how many tokens it has alone. */
  record Piece(int begin, int end, int tokens) {}

  /** Of a cut that would go through a character, or give an empty piece. */
  private static final int NONE = -1;

  private final int tokens;
  private final int length;
  private final long added;
  private final int[] positions;
  private final Measure measure;

  /**
   * @param document its tokens with their offsets; read here, not kept
   * @param length of the document
   * @param added tokens that the document and every piece has besides, of the template
   * @param last the last cut that will be asked for; fewer of them take less memory
   */
  TokenCuts(IdBuffer document, int length, long added, long last, Measure measure) {
    this.tokens = document.count();
    this.length = length;
    this.added = added;
    this.measure = measure;
    this.positions = new int[(int) Math.min(tokens, last) + 1];
    // A cut stands behind all the tokens before it (a blank that belongs to none goes to the piece
    // behind) and not behind the begin of one after it: parts of a character have it all.
    long next = length;
    for (int cut = tokens - 1; cut > 0; cut--) {
      next = Math.min(next, document.begin(cut));
      if (cut < positions.length) {
        positions[cut] = (int) next;
      }
    }
    long end = 0;
    long before = 0;
    for (int cut = 1; cut < positions.length; cut++) {
      end = Math.max(end, document.end(cut - 1));
      boolean usable = end <= positions[cut] && end > before && end < length;
      positions[cut] = usable ? (int) end : NONE;
      before = usable ? end : before;
    }
    if (last >= tokens) {
      positions[tokens] = length;
    }
  }

  /**
   * The end of a beginning of the document with at most {@code most} tokens: the whole of it if it
   * has no more, else the longest one that a cut ends, but for those that have more alone than
   * within. 0 if there is none.
   */
  int truncated(long most) {
    int cut = usableOrNone(0, most - added);
    while (cut > 0) {
      long excess = count(0, cut) - most;
      if (excess <= 0) {
        break;
      }
      cut = usableOrNone(0, cut - excess);
    }
    return positions[cut];
  }

  /**
   * Pieces that together cover the document, each with at most {@code most} tokens, begin and end
   * later than the one before and share {@code overlap} tokens of the document with it.
   *
   * @throws TokenizerException if what stands between two cuts has more than {@code most}
   */
  List<Piece> chunks(long most, long overlap) {
    if (tokens == 0) {
      return List.of(new Piece(0, length, (int) added));
    }
    List<Piece> pieces = new ArrayList<>();
    int first = 0;
    int reached = 0;
    while (true) {
      int least = after(first);
      int cut = Math.max(least, usableOrNone(first, first + most - added));
      long count = count(first, cut);
      while (count > most && cut > Math.max(least, reached)) {
        cut = Math.max(least, usableOrNone(first, cut - (count - most)));
        count = count(first, cut);
      }
      if (cut <= reached) {
        // It has more tokens alone than within, and ends no later than the one before.
        first = least;
        continue;
      }
      if (count > most) {
        throw new TokenizerException(
            Reason.INVALID_ARGUMENT,
            "max_tokens is "
                + most
                + ", but bytes "
                + positions[first]
                + " to "
                + positions[cut]
                + " of the text can't be cut without cutting a character, and have "
                + count
                + " tokens; give at least "
                + count);
      }
      pieces.add(new Piece(positions[first], positions[cut], (int) count));
      if (cut == tokens) {
        return pieces;
      }
      reached = cut;
      first = Math.max(least, usableOrNone(first, cut - overlap));
    }
  }

  private long count(int first, int cut) {
    return first == 0 && cut == tokens
        ? tokens + added
        : measure.tokens(positions[first], positions[cut]);
  }

  /** The last usable cut after {@code first} that is at most {@code cut}; {@code first} if none. */
  private int usableOrNone(int first, long cut) {
    int found = (int) Math.min(cut, positions.length - 1);
    while (found > first && positions[found] == NONE) {
      found--;
    }
    return Math.max(first, found);
  }

  /** The first usable cut after {@code first}. */
  private int after(int first) {
    int cut = Math.min(first + 1, tokens);
    while (positions[cut] == NONE) {
      cut++;
    }
    return cut;
  }
}
