package dev.quern.sql;

import dev.quern.sql.TokenCuts.Piece;
import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.EncodeOptions.InvalidUtf8;
import dev.quern.tokenizer.IdBuffer;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerException;
import dev.quern.tokenizer.TokenizerException.Reason;
import java.io.Serializable;
import java.util.List;
import java.util.Objects;
import org.apache.spark.sql.catalyst.expressions.GenericInternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.catalyst.util.GenericArrayData;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.types.UTF8String;

/**
 * What one call of a SQL function does to a value, interpreted or compiled: the tokenizer, the
 * call's options and what to do with a document that can't be tokenized. Immutable and safe for any
 * number of threads. Public only because compiled plans call it; not an API.
 */
public final class TokenizerCall implements TokenizerChoice {
  private static final long serialVersionUID = 1L;

  /** What offsets count. */
  enum OffsetUnit {
    BYTES,
    CHARACTERS
  }

  /**
   * All of a call but its tokenizer.
   *
   * @param offsets null for what substring counts: characters of a STRING, bytes of a BINARY
   */
  record How(
      String function,
      boolean addSpecialTokens,
      InvalidUtf8 invalidUtf8,
      boolean skipSpecialTokens,
      OffsetUnit offsets,
      boolean nullOnError)
      implements Serializable {
    private static final long serialVersionUID = 1L;

    How(String function, FunctionOptions options, boolean nullOnError) {
      this(
          function,
          options.encode().addSpecialTokens(),
          options.encode().invalidUtf8(),
          options.skipSpecialTokens(),
          options.offsets().orElse(null),
          nullOnError);
    }

    boolean replaces() {
      return invalidUtf8 == InvalidUtf8.REPLACE;
    }

    @Override
    public int hashCode() {
      // By name: an enum's hash code differs from JVM to JVM.
      return Objects.hash(
          function, addSpecialTokens, invalidUtf8.name(), skipSpecialTokens, nullOnError);
    }

    /** As EXPLAIN shows it: the options that are not the default, each after a comma. */
    @Override
    public String toString() {
      return (addSpecialTokens ? ", add_special_tokens" : "")
          + (replaces() ? ", invalid_utf8 replace" : "")
          + (skipSpecialTokens ? ", skip_special_tokens" : "")
          + (offsets == null ? "" : ", offsets " + FunctionOptions.lower(offsets));
    }
  }

  private final How how;
  private final TokenizerReference reference;

  /** Opened at the first value, in the JVM that has the value. */
  private transient volatile Opened opened;

  /** With the number of tokens that the options add to every document. */
  private record Opened(NativeTokenizer tokenizer, EncodeOptions options, long added) {
    long count(Object base, long offset, int length) {
      return tokenizer.tokenCount(base, offset, length, options);
    }
  }

  TokenizerCall(How how, TokenizerReference reference) {
    this.how = how;
    this.reference = reference;
  }

  @Override
  public String function() {
    return how.function();
  }

  @Override
  public boolean nullOnError() {
    return how.nullOnError();
  }

  TokenizerReference reference() {
    return reference;
  }

  private Opened opened() {
    Opened result = opened;
    if (result == null) {
      NativeTokenizer tokenizer = reference.open();
      EncodeOptions options = new EncodeOptions(how.addSpecialTokens(), how.invalidUtf8());
      long added =
          how.addSpecialTokens()
              ? tokenizer.tokenCount(new byte[0], Platform.BYTE_ARRAY_OFFSET, 0, options)
              : 0;
      result = new Opened(tokenizer, options, added);
      opened = result;
    }
    return result;
  }

  /** The content hash of the tokenizer. */
  public UTF8String contentHash() {
    return UTF8String.fromString(reference.contentHash());
  }

  /** The ids of a STRING; null if it can't be tokenized and the call is try_tokenize. */
  public ArrayData tokenize(UTF8String text) {
    return tokenize(text.getBaseObject(), text.getBaseOffset(), text.numBytes());
  }

  /** The ids of a BINARY; null if it can't be tokenized and the call is try_tokenize. */
  public ArrayData tokenize(byte[] text) {
    return tokenize(text, Platform.BYTE_ARRAY_OFFSET, text.length);
  }

  private ArrayData tokenize(Object base, long offset, int length) {
    Opened opened = opened();
    try {
      IdBuffer ids = opened.tokenizer().encode(base, offset, length, opened.options());
      // A new array for each row: an operator may keep rows without copying what they hold.
      UnsafeArrayData array = UnsafeArrayData.createFreshArray(ids.count(), Integer.BYTES);
      ids.copyTo(
          array.getBaseObject(),
          array.getBaseOffset() + UnsafeArrayData.calculateHeaderPortionInBytes(ids.count()));
      return array;
    } catch (TokenizerException e) {
      if (how.nullOnError() && isOfDocument(e)) {
        return null;
      }
      throw explained(e);
    }
  }

  /** How many ids a STRING has. */
  public int tokenCount(UTF8String text) {
    return tokenCount(text.getBaseObject(), text.getBaseOffset(), text.numBytes());
  }

  /** How many ids a BINARY has. */
  public int tokenCount(byte[] text) {
    return tokenCount(text, Platform.BYTE_ARRAY_OFFSET, text.length);
  }

  private int tokenCount(Object base, long offset, int length) {
    Opened opened = opened();
    try {
      long count = opened.count(base, offset, length);
      if (count > Integer.MAX_VALUE) {
        throw new TokenizerException(
            Reason.INVALID_ARGUMENT,
            "the document has " + count + " tokens, more than an INT holds; split it");
      }
      return (int) count;
    } catch (TokenizerException e) {
      throw explained(e);
    }
  }

  // ---- Offsets and pieces ----------------------------------------------------------------------

  /** The ids of a STRING with their offsets: an array of (id, begin, end). */
  public ArrayData tokenizeWithOffsets(UTF8String text) {
    boolean characters = how.offsets() != OffsetUnit.BYTES;
    // A part that is not UTF-8 is as many characters as take its place.
    UTF8String counted = characters && how.replaces() ? text.makeValid() : text;
    return tokenizeWithOffsets(
        counted.getBaseObject(), counted.getBaseOffset(), counted.numBytes(), characters);
  }

  /** The same of a BINARY. */
  public ArrayData tokenizeWithOffsets(byte[] text) {
    if (how.offsets() == OffsetUnit.CHARACTERS) {
      return tokenizeWithOffsets(UTF8String.fromBytes(text));
    }
    return tokenizeWithOffsets(text, Platform.BYTE_ARRAY_OFFSET, text.length, false);
  }

  private ArrayData tokenizeWithOffsets(
      Object base, long offset, int length, boolean inCharacters) {
    Opened opened = opened();
    try {
      IdBuffer ids = opened.tokenizer().encodeWithOffsets(base, offset, length, opened.options());
      Positions positions = new Positions(base, offset, inCharacters);
      return TokenRows.of(ids, positions);
    } catch (TokenizerException e) {
      throw explained(e);
    }
  }

  /** The beginning of a STRING that has at most that many tokens. */
  public UTF8String truncate(UTF8String text, long most) {
    // What is cut off is text, and text it must be.
    UTF8String valid = how.replaces() ? text.makeValid() : text;
    int end = truncated(valid.getBaseObject(), valid.getBaseOffset(), valid.numBytes(), most);
    return end == valid.numBytes() ? valid : part(valid, 0, end);
  }

  /** The same of a BINARY. */
  public byte[] truncate(byte[] text, long most) {
    return truncate(UTF8String.fromBytes(text), most).getBytes();
  }

  private int truncated(Object base, long offset, int length, long most) {
    Opened opened = opened();
    try {
      refuse(most < 0, "max_tokens is " + most + "; give 0 or more");
      refuse(
          most < opened.added(),
          "max_tokens is "
              + most
              + ", but "
              + opened.added()
              + " special tokens are added to every text; give more, or leave out the option"
              + " 'add_special_tokens'");
      return cuts(opened, base, offset, length, most - opened.added()).truncated(most);
    } catch (TokenizerException e) {
      throw explained(e);
    }
  }

  /** The chunks of a STRING: an array of (text, begin, end, token_count). */
  public ArrayData chunks(UTF8String text, long most, long overlap) {
    return chunks(text, most, overlap, how.offsets() != OffsetUnit.BYTES, false);
  }

  /** The same of a BINARY. */
  public ArrayData chunks(byte[] text, long most, long overlap) {
    return chunks(
        UTF8String.fromBytes(text), most, overlap, how.offsets() == OffsetUnit.CHARACTERS, true);
  }

  private ArrayData chunks(
      UTF8String given, long most, long overlap, boolean inCharacters, boolean binary) {
    Opened opened = opened();
    try {
      refuse(most < 1, "max_tokens is " + most + "; give 1 or more");
      refuse(
          most <= opened.added(),
          "max_tokens is "
              + most
              + ", but "
              + opened.added()
              + " special tokens are added to every chunk; give more, or leave out the option"
              + " 'add_special_tokens'");
      refuse(
          overlap < 0 || overlap >= most - opened.added(),
          "overlap is "
              + overlap
              + "; give 0 or more, and less than the "
              + (most - opened.added())
              + " tokens of its text that a chunk may have");
      UTF8String text = how.replaces() ? given.makeValid() : given;
      Object base = text.getBaseObject();
      long offset = text.getBaseOffset();
      if (text.numBytes() == 0) {
        return new GenericArrayData(new Object[0]);
      }
      List<Piece> pieces =
          cuts(opened, base, offset, text.numBytes(), Long.MAX_VALUE).chunks(most, overlap);
      Positions positions = new Positions(base, offset, inCharacters);
      Object[] rows = new Object[pieces.size()];
      for (int i = 0; i < rows.length; i++) {
        Piece piece = pieces.get(i);
        UTF8String part = part(text, piece.begin(), piece.end());
        rows[i] =
            new GenericInternalRow(
                new Object[] {
                  binary ? part.getBytes() : part,
                  positions.of(piece.begin()),
                  positions.of(piece.end()),
                  piece.tokens()
                });
      }
      return new GenericArrayData(rows);
    } catch (TokenizerException e) {
      throw explained(e);
    }
  }

  private static TokenCuts cuts(Opened opened, Object base, long offset, int length, long last) {
    EncodeOptions plain = new EncodeOptions(false, opened.options().invalidUtf8());
    IdBuffer ids = opened.tokenizer().encodeWithOffsets(base, offset, length, plain);
    return new TokenCuts(
        ids,
        length,
        opened.added(),
        last,
        (begin, end) -> opened.count(base, offset + begin, end - begin));
  }

  /** A copy: the memory of the text may be used for the next row. */
  private static UTF8String part(UTF8String text, int begin, int end) {
    byte[] bytes = new byte[end - begin];
    Platform.copyMemory(
        text.getBaseObject(),
        text.getBaseOffset() + begin,
        bytes,
        Platform.BYTE_ARRAY_OFFSET,
        bytes.length);
    return UTF8String.fromBytes(bytes);
  }

  private static void refuse(boolean wrong, String message) {
    if (wrong) {
      throw new TokenizerException(Reason.INVALID_ARGUMENT, message);
    }
  }

  // ---- Back to text ----------------------------------------------------------------------------

  /** The text of an ARRAY of INT. */
  public UTF8String detokenize(ArrayData ids) {
    int count = ids.numElements();
    refuseNulls(ids, count);
    if (ids instanceof UnsafeArrayData array) {
      return detokenize(
          array.getBaseObject(),
          array.getBaseOffset() + UnsafeArrayData.calculateHeaderPortionInBytes(count),
          count);
    }
    return detokenize(ids.toIntArray(), Platform.INT_ARRAY_OFFSET, count);
  }

  /** The text of an ARRAY of BIGINT, which is what Python's lists of numbers become. */
  public UTF8String detokenizeLongs(ArrayData ids) {
    int[] narrow = new int[ids.numElements()];
    refuseNulls(ids, narrow.length);
    for (int i = 0; i < narrow.length; i++) {
      long id = ids.getLong(i);
      if (id != (int) id) {
        throw explained(
            new TokenizerException(
                Reason.UNKNOWN_ID,
                "the id " + id + " at index " + i + " is not in the vocabulary"));
      }
      narrow[i] = (int) id;
    }
    return detokenize(narrow, Platform.INT_ARRAY_OFFSET, narrow.length);
  }

  private UTF8String detokenize(Object base, long offset, int count) {
    try {
      byte[] text = opened().tokenizer().decode(base, offset, count, how.skipSpecialTokens());
      // Ids cut within a character decode to a part of it; a STRING has to be UTF-8.
      return UTF8String.fromBytes(text).makeValid();
    } catch (TokenizerException e) {
      throw explained(e);
    }
  }

  private void refuseNulls(ArrayData ids, int count) {
    for (int i = 0; i < count; i++) {
      if (ids.isNullAt(i)) {
        throw explained(
            new TokenizerException(
                Reason.INVALID_ARGUMENT,
                "the id at index " + i + " is NULL; remove it with array_compact"));
      }
    }
  }

  /** Whether the document is to blame, not the tokenizer, the library or the machine. */
  private static boolean isOfDocument(TokenizerException e) {
    return switch (e.reason()) {
      case INVALID_UTF8, SPECIAL_TOKEN, ENCODE -> true;
      default -> false;
    };
  }

  /** The same in SQL's words: which function, and what can be written to avoid it. */
  private TokenizerException explained(TokenizerException e) {
    String otherwise = how.function().equals("tokenize") ? ", or use try_tokenize" : "";
    String message =
        switch (e.reason()) {
          case INVALID_UTF8 ->
              "the text is not UTF-8 at byte "
                  + e.position()
                  + "; give the option 'invalid_utf8' the value 'replace', or set "
                  + QuernConf.INVALID_UTF8.key()
                  + " to it"
                  + otherwise;
          case SPECIAL_TOKEN ->
              "the text has a special token at byte "
                  + e.position()
                  + "; give the option 'special_tokens_in_text' the value 'text' or 'token', or set "
                  + QuernConf.SPECIAL_TOKENS_IN_TEXT.key()
                  + " to one of them"
                  + otherwise;
          case ENCODE -> e.getMessage() + otherwise;
          default -> e.getMessage();
        };
    return new TokenizerException(
        e.reason(), how.function() + ": " + message, e.position(), e.document(), e);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenizerCall that
        && how.equals(that.how)
        && reference.equals(that.reference);
  }

  @Override
  public int hashCode() {
    return Objects.hash(how, reference);
  }

  /** As EXPLAIN shows it: the tokenizer, and the options that are not the default. */
  @Override
  public String toString() {
    return reference.toString() + how;
  }
}
