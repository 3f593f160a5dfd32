package dev.quern.sql;

import java.util.List;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.BinaryType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.IntegerType;
import org.apache.spark.sql.types.IntegralType;
import org.apache.spark.sql.types.LongType;
import org.apache.spark.sql.types.NullType;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.unsafe.types.UTF8String;

/**
 * What the SQL functions do: the arguments with a value in each row, their types, the type of the
 * result, and which method of {@link TokenizerCall} makes it. tokenize and try_tokenize are one.
 */
enum Operation {
  TOKENIZE("tokenize", "text") {
    @Override
    DataType result(DataType first) {
      return IDS;
    }

    @Override
    Object apply(TokenizerCall call, DataType first, Object[] values) {
      return values[0] instanceof UTF8String text
          ? call.tokenize(text)
          : call.tokenize((byte[]) values[0]);
    }
  },

  TOKEN_COUNT("tokenCount", "text") {
    /** INT as Spark's length and size have: it is what an array can hold. */
    @Override
    DataType result(DataType first) {
      return DataTypes.IntegerType;
    }

    @Override
    Object apply(TokenizerCall call, DataType first, Object[] values) {
      return values[0] instanceof UTF8String text
          ? call.tokenCount(text)
          : call.tokenCount((byte[]) values[0]);
    }
  },

  OFFSETS("tokenizeWithOffsets", "text") {
    @Override
    DataType result(DataType first) {
      return TOKENS;
    }

    @Override
    Object apply(TokenizerCall call, DataType first, Object[] values) {
      return values[0] instanceof UTF8String text
          ? call.tokenizeWithOffsets(text)
          : call.tokenizeWithOffsets((byte[]) values[0]);
    }
  },

  TRUNCATE("truncate", "text", "max_tokens") {
    @Override
    DataType result(DataType first) {
      return text(first);
    }

    @Override
    Object apply(TokenizerCall call, DataType first, Object[] values) {
      long most = ((Number) values[1]).longValue();
      return values[0] instanceof UTF8String text
          ? call.truncate(text, most)
          : call.truncate((byte[]) values[0], most);
    }
  },

  CHUNK("chunks", "text", "max_tokens", "overlap") {
    @Override
    DataType result(DataType first) {
      return DataTypes.createArrayType(
          new StructType()
              .add("text", text(first), false)
              .add("begin", DataTypes.IntegerType, false)
              .add("end", DataTypes.IntegerType, false)
              .add("token_count", DataTypes.IntegerType, false),
          false);
    }

    @Override
    Object apply(TokenizerCall call, DataType first, Object[] values) {
      long most = ((Number) values[1]).longValue();
      long overlap = ((Number) values[2]).longValue();
      return values[0] instanceof UTF8String text
          ? call.chunks(text, most, overlap)
          : call.chunks((byte[]) values[0], most, overlap);
    }
  },

  DETOKENIZE("detokenize", "ids") {
    @Override
    String required(int index, DataType type) {
      boolean right =
          type instanceof ArrayType array
              && (array.elementType() instanceof IntegerType
                  || array.elementType() instanceof LongType
                  // The type of array() without elements.
                  || array.elementType() instanceof NullType);
      return right ? null : "\"ARRAY<INT>\" or \"ARRAY<BIGINT>\"";
    }

    @Override
    DataType result(DataType first) {
      return DataTypes.StringType;
    }

    @Override
    Object apply(TokenizerCall call, DataType first, Object[] values) {
      ArrayData ids = (ArrayData) values[0];
      return isLong(first) ? call.detokenizeLongs(ids) : call.detokenize(ids);
    }

    @Override
    String method(DataType first) {
      return isLong(first) ? "detokenizeLongs" : super.method(first);
    }

    private boolean isLong(DataType type) {
      return ((ArrayType) type).elementType() instanceof LongType;
    }
  },

  TOKENIZER_ID("contentHash") {
    @Override
    DataType result(DataType first) {
      return DataTypes.StringType;
    }

    @Override
    Object apply(TokenizerCall call, DataType first, Object[] values) {
      return call.contentHash();
    }
  };

  private static final DataType IDS = DataTypes.createArrayType(DataTypes.IntegerType, false);
  private static final DataType TOKENS =
      DataTypes.createArrayType(
          new StructType()
              .add("id", DataTypes.IntegerType, false)
              .add("begin", DataTypes.IntegerType, false)
              .add("end", DataTypes.IntegerType, false),
          false);

  private final String method;
  private final List<String> arguments;

  /**
   * @param arguments what they are called; those after the first are whole numbers
   */
  Operation(String method, String... arguments) {
    this.method = method;
    this.arguments = List.of(arguments);
  }

  /** The method of {@link TokenizerCall} that compiled code calls. */
  String method(DataType first) {
    return method;
  }

  List<String> arguments() {
    return arguments;
  }

  /** What the type of an argument should be, for the error of analysis; null if it is right. */
  String required(int index, DataType type) {
    if (index > 0) {
      return type instanceof IntegralType ? null : "\"INT\" or another integral type";
    }
    // StringType covers every collation; a collation has no part in tokenizing.
    return type instanceof StringType || type instanceof BinaryType
        ? null
        : "\"STRING\" or \"BINARY\"";
  }

  /** The type of the result. {@code first} is that of the first argument, null if there is none. */
  abstract DataType result(DataType first);

  /** The result, interpreted; no value is NULL. */
  abstract Object apply(TokenizerCall call, DataType first, Object[] values);

  /** The type of a part of a text: that of NULL is no part of anything. */
  private static DataType text(DataType type) {
    return type instanceof NullType ? DataTypes.StringType : type;
  }
}
