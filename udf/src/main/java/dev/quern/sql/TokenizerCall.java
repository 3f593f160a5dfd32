package dev.quern.sql;

import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.IdBuffer;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerException;
import dev.quern.tokenizer.TokenizerException.Reason;
import java.io.Serializable;
import java.util.Objects;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.types.UTF8String;

/**
 * What one call of a SQL function does to a value, interpreted or compiled: the tokenizer, the
 * call's options and what to do with a document that can't be tokenized. Immutable and safe for any
 * number of threads. Public only because compiled plans call it; not an API.
 */
public final class TokenizerCall implements Serializable {
  private static final long serialVersionUID = 1L;

  private final String function;
  private final TokenizerReference reference;
  private final boolean addSpecialTokens;
  private final EncodeOptions.InvalidUtf8 invalidUtf8;
  private final boolean skipSpecialTokens;
  private final boolean nullOnError;

  /** Opened at the first value, in the JVM that has the value. */
  private transient volatile Opened opened;

  private record Opened(NativeTokenizer tokenizer, EncodeOptions options) {}

  TokenizerCall(
      String function,
      TokenizerReference reference,
      EncodeOptions encode,
      boolean skipSpecialTokens,
      boolean nullOnError) {
    this.function = function;
    this.reference = reference;
    this.addSpecialTokens = encode.addSpecialTokens();
    this.invalidUtf8 = encode.invalidUtf8();
    this.skipSpecialTokens = skipSpecialTokens;
    this.nullOnError = nullOnError;
  }

  String function() {
    return function;
  }

  TokenizerReference reference() {
    return reference;
  }

  boolean nullOnError() {
    return nullOnError;
  }

  private Opened opened() {
    Opened result = opened;
    if (result == null) {
      result = new Opened(reference.open(), new EncodeOptions(addSpecialTokens, invalidUtf8));
      opened = result;
    }
    return result;
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
      if (nullOnError && isOfDocument(e)) {
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
      long count = opened.tokenizer().tokenCount(base, offset, length, opened.options());
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
      byte[] text = opened().tokenizer().decode(base, offset, count, skipSpecialTokens);
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
    String otherwise = function.equals("tokenize") ? ", or use try_tokenize" : "";
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
        e.reason(), function + ": " + message, e.position(), e.document(), e);
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenizerCall that
        && function.equals(that.function)
        && reference.equals(that.reference)
        && addSpecialTokens == that.addSpecialTokens
        && invalidUtf8 == that.invalidUtf8
        && skipSpecialTokens == that.skipSpecialTokens
        && nullOnError == that.nullOnError;
  }

  @Override
  public int hashCode() {
    // By name: an enum's hash code differs from JVM to JVM.
    return Objects.hash(
        function, reference, addSpecialTokens, invalidUtf8.name(), skipSpecialTokens, nullOnError);
  }

  /** As EXPLAIN shows it: the tokenizer, and the options that are not the default. */
  @Override
  public String toString() {
    return reference
        + (addSpecialTokens ? ", add_special_tokens" : "")
        + (invalidUtf8 == EncodeOptions.InvalidUtf8.REPLACE ? ", invalid_utf8 replace" : "")
        + (skipSpecialTokens ? ", skip_special_tokens" : "");
  }
}
