package dev.quern.job;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.Metadata;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;

/**
 * The columns of a run: of the rows that go from the operator to the writer, of the token files,
 * and of the quarantine. The rows have all of them; a row is either one of tokens (its reason is
 * NULL) or one set aside (its ids are NULL).
 *
 * @param kept the columns of the input that --keep names
 * @param located whether the quarantine says file and row, because no column is kept
 */
record TokenColumns(StructType kept, boolean located) implements Serializable {
  static final String INPUT_IDS = "input_ids";
  static final String TOKEN_COUNT = "token_count";

  /** What the operator adds to the kept columns; the kept ones can't have these names. */
  static final List<String> OWN = List.of(INPUT_IDS, TOKEN_COUNT);

  private static final String INTERNAL = "__quern_";

  private static final List<StructField> LOCATION =
      List.of(
          field("file", DataTypes.StringType, true),
          field("block_start", DataTypes.LongType, true),
          field("row", DataTypes.LongType, true));

  static final List<StructField> REFUSAL =
      List.of(
          field("reason", DataTypes.StringType, false),
          field("position", DataTypes.LongType, true),
          field("bytes", DataTypes.LongType, true),
          field("detail", DataTypes.StringType, true));

  private static StructField field(String name, DataType type, boolean nullable) {
    return new StructField(name, type, nullable, Metadata.empty());
  }

  /** Columns of the rows from operator to writer. */
  StructType rows() {
    List<StructField> fields = new ArrayList<>(List.of(kept.fields()));
    for (StructField field : tokenFields()) {
      fields.add(field(field.name(), field.dataType(), true));
    }
    for (StructField field : setAsideFields()) {
      fields.add(field(INTERNAL + field.name(), field.dataType(), true));
    }
    return new StructType(fields.toArray(StructField[]::new));
  }

  /** Columns of the token files: those kept, {@code input_ids} and {@code token_count}. */
  StructType tokens() {
    List<StructField> fields = new ArrayList<>(List.of(kept.fields()));
    fields.addAll(tokenFields());
    return new StructType(fields.toArray(StructField[]::new));
  }

  /**
   * Columns of the quarantine: those kept, or file, block_start and row; then reason, position,
   * bytes and detail. Where a kept column has one of these names, ours begins with {@code quern_}.
   */
  StructType quarantine() {
    Set<String> taken = new TreeSet<>();
    for (String name : kept.fieldNames()) {
      taken.add(name.toLowerCase(Locale.ROOT));
    }
    List<StructField> fields = new ArrayList<>(List.of(kept.fields()));
    for (StructField field : setAsideFields()) {
      String name = taken.contains(field.name()) ? "quern_" + field.name() : field.name();
      fields.add(field(name, field.dataType(), field.nullable()));
    }
    return new StructType(fields.toArray(StructField[]::new));
  }

  /** Where the columns of {@link #tokens} stand in {@link #rows}. */
  List<Integer> tokenOrdinals() {
    return range(0, kept.size() + OWN.size());
  }

  /** Where the columns of {@link #quarantine} stand in {@link #rows}. */
  List<Integer> quarantineOrdinals() {
    List<Integer> ordinals = range(0, kept.size());
    ordinals.addAll(range(kept.size() + OWN.size(), rows().size()));
    return ordinals;
  }

  /** Where {@code input_ids} stands in {@link #rows} and in {@link #tokens}. */
  int idsOrdinal() {
    return kept.size();
  }

  private static List<StructField> tokenFields() {
    return List.of(
        field(INPUT_IDS, DataTypes.createArrayType(DataTypes.IntegerType, false), false),
        field(TOKEN_COUNT, DataTypes.IntegerType, false));
  }

  private List<StructField> setAsideFields() {
    List<StructField> fields = new ArrayList<>(located ? LOCATION : List.of());
    fields.addAll(REFUSAL);
    return fields;
  }

  private static List<Integer> range(int begin, int end) {
    List<Integer> range = new ArrayList<>();
    for (int i = begin; i < end; i++) {
      range.add(i);
    }
    return range;
  }
}
