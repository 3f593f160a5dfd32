package dev.quern.sql;

import dev.quern.tokenizer.IdBuffer;
import dev.quern.tokenizer.TokenizerException;
import dev.quern.tokenizer.TokenizerException.Reason;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.unsafe.Platform;

/**
 * Tokens with their offsets as an array of rows (id, begin, end) in Spark's own binary form: what a
 * row object for each token would cost is many times the tokenizing.
 */
final class TokenRows {
  private TokenRows() {}

  /** An UnsafeRow of three INTs: a word that says which are NULL, and one for each field. */
  private static final int ROW_BYTES = 4 * Long.BYTES;

  /** In the array each row has a word that says where it is. */
  private static final int MOST = (Integer.MAX_VALUE - (1 << 20)) / (ROW_BYTES + Long.BYTES);

  /**
   * @throws TokenizerException if there are more tokens than such an array holds, some 50 million
   */
  static UnsafeArrayData of(IdBuffer ids, Positions positions) {
    int count = ids.count();
    if (count > MOST) {
      throw new TokenizerException(
          Reason.INVALID_ARGUMENT,
          "the document has "
              + count
              + " tokens, more than an array of offsets holds ("
              + MOST
              + "); split it");
    }
    int header = UnsafeArrayData.calculateHeaderPortionInBytes(count);
    int rows = header + count * Long.BYTES;
    // Zeros: no element and no field is NULL.
    byte[] array = new byte[rows + count * ROW_BYTES];
    long base = Platform.BYTE_ARRAY_OFFSET;
    Platform.putLong(array, base, count);
    for (int i = 0; i < count; i++) {
      int row = rows + i * ROW_BYTES;
      Platform.putLong(array, base + header + (long) i * Long.BYTES, (long) row << 32 | ROW_BYTES);
      Platform.putInt(array, base + row + Long.BYTES, ids.id(i));
      Platform.putInt(array, base + row + 2 * Long.BYTES, positions.of(ids.begin(i)));
      Platform.putInt(array, base + row + 3 * Long.BYTES, positions.of(ids.end(i)));
    }
    UnsafeArrayData result = new UnsafeArrayData();
    result.pointTo(array, base, array.length);
    return result;
  }
}
