package dev.quern.job;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.arrow.vector.BaseFixedWidthVector;
import org.apache.arrow.vector.BaseVariableWidthVector;
import org.apache.arrow.vector.BigIntVector;
import org.apache.arrow.vector.BitVector;
import org.apache.arrow.vector.DateDayVector;
import org.apache.arrow.vector.DecimalVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.Float4Vector;
import org.apache.arrow.vector.Float8Vector;
import org.apache.arrow.vector.IntVector;
import org.apache.arrow.vector.SmallIntVector;
import org.apache.arrow.vector.TimeStampMicroTZVector;
import org.apache.arrow.vector.TimeStampMicroVector;
import org.apache.arrow.vector.TinyIntVector;
import org.apache.arrow.vector.types.DateUnit;
import org.apache.arrow.vector.types.FloatingPointPrecision;
import org.apache.arrow.vector.types.TimeUnit;
import org.apache.arrow.vector.types.pojo.ArrowType;
import org.apache.arrow.vector.types.pojo.Field;
import org.apache.arrow.vector.types.pojo.FieldType;
import org.apache.arrow.vector.types.pojo.Schema;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.types.BinaryType;
import org.apache.spark.sql.types.BooleanType;
import org.apache.spark.sql.types.ByteType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DateType;
import org.apache.spark.sql.types.DecimalType;
import org.apache.spark.sql.types.DoubleType;
import org.apache.spark.sql.types.FloatType;
import org.apache.spark.sql.types.IntegerType;
import org.apache.spark.sql.types.LongType;
import org.apache.spark.sql.types.ShortType;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.TimestampNTZType;
import org.apache.spark.sql.types.TimestampType;

/** Kept columns as Arrow has them: those of plain types. */
final class ArrowColumns {
  /** As the error of {@link #type} and the help list them. */
  static final String SUPPORTED =
      "string, binary, boolean, tinyint, smallint, int, bigint, float, double, decimal, date,"
          + " timestamp and timestamp_ntz";

  private ArrowColumns() {}

  /** Copies one column's value of a row to a place in a vector. */
  @FunctionalInterface
  interface Setter {
    /** Returns the bytes it took, about. */
    int set(InternalRow row, int ordinal, int index);
  }

  /** The Arrow type of a column; empty if these files can't have it. */
  static Optional<ArrowType> type(DataType type, String timeZone) {
    if (type instanceof StringType) {
      return Optional.of(ArrowType.Utf8.INSTANCE);
    } else if (type instanceof BinaryType) {
      return Optional.of(ArrowType.Binary.INSTANCE);
    } else if (type instanceof BooleanType) {
      return Optional.of(ArrowType.Bool.INSTANCE);
    } else if (type instanceof ByteType) {
      return Optional.of(new ArrowType.Int(8, true));
    } else if (type instanceof ShortType) {
      return Optional.of(new ArrowType.Int(16, true));
    } else if (type instanceof IntegerType) {
      return Optional.of(new ArrowType.Int(32, true));
    } else if (type instanceof LongType) {
      return Optional.of(new ArrowType.Int(64, true));
    } else if (type instanceof FloatType) {
      return Optional.of(new ArrowType.FloatingPoint(FloatingPointPrecision.SINGLE));
    } else if (type instanceof DoubleType) {
      return Optional.of(new ArrowType.FloatingPoint(FloatingPointPrecision.DOUBLE));
    } else if (type instanceof DecimalType decimal) {
      return Optional.of(new ArrowType.Decimal(decimal.precision(), decimal.scale(), 128));
    } else if (type instanceof DateType) {
      return Optional.of(new ArrowType.Date(DateUnit.DAY));
    } else if (type instanceof TimestampType) {
      return Optional.of(new ArrowType.Timestamp(TimeUnit.MICROSECOND, timeZone));
    } else if (type instanceof TimestampNTZType) {
      return Optional.of(new ArrowType.Timestamp(TimeUnit.MICROSECOND, null));
    }
    return Optional.empty();
  }

  /** The schema of a token file. */
  static Schema schema(TokenColumns columns, String timeZone, Map<String, String> metadata) {
    List<Field> fields = new java.util.ArrayList<>();
    for (StructField field : columns.kept().fields()) {
      ArrowType type =
          type(field.dataType(), timeZone)
              .orElseThrow(() -> new IllegalArgumentException("no Arrow type for " + field));
      fields.add(new Field(field.name(), new FieldType(field.nullable(), type, null), List.of()));
    }
    ArrowType int32 = new ArrowType.Int(32, true);
    Field id = new Field("element", FieldType.notNullable(int32), List.of());
    fields.add(
        new Field(
            TokenColumns.INPUT_IDS, FieldType.notNullable(ArrowType.List.INSTANCE), List.of(id)));
    fields.add(new Field(TokenColumns.TOKEN_COUNT, FieldType.notNullable(int32), List.of()));
    return new Schema(fields, metadata);
  }

  /** How values of a column get into its vector; NULLs included. */
  static Setter setter(FieldVector vector, DataType type) {
    Setter values = valueSetter(vector, type);
    return (row, ordinal, index) -> {
      if (!row.isNullAt(ordinal)) {
        return values.set(row, ordinal, index);
      }
      if (vector instanceof BaseFixedWidthVector fixed) {
        while (index >= fixed.getValueCapacity()) {
          fixed.reAlloc();
        }
        fixed.setNull(index);
      } else if (vector instanceof BaseVariableWidthVector variable) {
        variable.setNull(index);
      }
      return Integer.BYTES;
    };
  }

  private static Setter valueSetter(FieldVector vector, DataType type) {
    if (vector instanceof BaseVariableWidthVector variable) {
      boolean string = type instanceof StringType;
      return (row, ordinal, index) -> {
        byte[] bytes = string ? row.getUTF8String(ordinal).getBytes() : row.getBinary(ordinal);
        variable.setSafe(index, bytes, 0, bytes.length);
        return Integer.BYTES + bytes.length;
      };
    } else if (vector instanceof BitVector bits) {
      return (row, ordinal, index) -> {
        bits.setSafe(index, row.getBoolean(ordinal) ? 1 : 0);
        return 1;
      };
    } else if (vector instanceof TinyIntVector bytes) {
      return (row, ordinal, index) -> {
        bytes.setSafe(index, row.getByte(ordinal));
        return Byte.BYTES;
      };
    } else if (vector instanceof SmallIntVector shorts) {
      return (row, ordinal, index) -> {
        shorts.setSafe(index, row.getShort(ordinal));
        return Short.BYTES;
      };
    } else if (vector instanceof IntVector ints) {
      return (row, ordinal, index) -> {
        ints.setSafe(index, row.getInt(ordinal));
        return Integer.BYTES;
      };
    } else if (vector instanceof BigIntVector longs) {
      return (row, ordinal, index) -> {
        longs.setSafe(index, row.getLong(ordinal));
        return Long.BYTES;
      };
    } else if (vector instanceof Float4Vector floats) {
      return (row, ordinal, index) -> {
        floats.setSafe(index, row.getFloat(ordinal));
        return Float.BYTES;
      };
    } else if (vector instanceof Float8Vector doubles) {
      return (row, ordinal, index) -> {
        doubles.setSafe(index, row.getDouble(ordinal));
        return Double.BYTES;
      };
    } else if (vector instanceof DateDayVector days) {
      return (row, ordinal, index) -> {
        days.setSafe(index, row.getInt(ordinal));
        return Integer.BYTES;
      };
    } else if (vector instanceof TimeStampMicroTZVector instants) {
      return (row, ordinal, index) -> {
        instants.setSafe(index, row.getLong(ordinal));
        return Long.BYTES;
      };
    } else if (vector instanceof TimeStampMicroVector times) {
      return (row, ordinal, index) -> {
        times.setSafe(index, row.getLong(ordinal));
        return Long.BYTES;
      };
    } else if (vector instanceof DecimalVector decimals) {
      DecimalType decimal = (DecimalType) type;
      return (row, ordinal, index) -> {
        decimals.setSafe(
            index,
            row.getDecimal(ordinal, decimal.precision(), decimal.scale()).toJavaBigDecimal());
        return DecimalVector.TYPE_WIDTH;
      };
    }
    throw new IllegalArgumentException("no way to fill " + vector.getField());
  }
}
