package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.TaskAttemptID;
import org.apache.hadoop.mapreduce.task.TaskAttemptContextImpl;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.expressions.GenericInternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.catalyst.expressions.XXH64;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.unsafe.Platform;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * A row of very many ids between two short ones, as Spark, pyarrow, DuckDB and Polars read it. More
 * of them ({@code -Dquern.test.long.ids}) want a larger heap than the tests have.
 */
@Tag("long")
class LongRowsIT {
  private static final int LENGTH = Integer.getInteger("quern.test.long.ids", 20_000_000);
  private static final StructType SCHEMA = StructType.fromDDL("id BIGINT, ids ARRAY<INT>");

  /** The seed of SQL's xxhash64. */
  private static final long SEED = 42;

  @TempDir private Path folder;

  /** Spread over 17 bits; read_tokens.py has the same. */
  private static int id(int index) {
    return index * 0x9E3779B1 >>> 15;
  }

  /** What the job gives its writer: an array in a byte[]. */
  private static UnsafeArrayData array(int length) {
    long header = UnsafeArrayData.calculateHeaderPortionInBytes((long) length);
    byte[] bytes = new byte[Math.toIntExact((header + length * 4L + 7) / 8 * 8)];
    Platform.putLong(bytes, Platform.BYTE_ARRAY_OFFSET, length);
    for (int i = 0; i < length; i++) {
      Platform.putInt(bytes, Platform.BYTE_ARRAY_OFFSET + header + i * 4L, id(i));
    }
    UnsafeArrayData array = new UnsafeArrayData();
    array.pointTo(bytes, Platform.BYTE_ARRAY_OFFSET, bytes.length);
    return array;
  }

  /** Writes rows 0, 1 and 2 of 3, {@code length} and 5 ids as a task would. */
  static void write(SparkSession spark, Path file, Map<String, String> options, int length)
      throws IOException {
    Job job = Job.getInstance(spark.sparkContext().hadoopConfiguration());
    var given =
        scala.collection.immutable.Map$.MODULE$.from(
            scala.jdk.javaapi.CollectionConverters.asScala(options));
    RowFile.Opener opener =
        file.toString().endsWith(".parquet")
            ? ParquetRowFile.prepare(spark, job, given, SCHEMA)
            : ArrowRowFile.prepare(spark, given, SCHEMA);
    RowFile out =
        opener.open(
            new org.apache.hadoop.fs.Path(file.toUri()),
            new TaskAttemptContextImpl(job.getConfiguration(), new TaskAttemptID()),
            Map.of());
    long row = 0;
    for (int of : new int[] {3, length, 5}) {
      out.write(new GenericInternalRow(new Object[] {row++, array(of)}));
    }
    out.close();
    assertThat(out.rows()).isEqualTo(3);
  }

  /** Has Spark read the file, and compares by a hash of all ids in their order. */
  static void read(SparkSession spark, Path file, int length) {
    String format = file.toString().endsWith(".parquet") ? "parquet" : "quern_arrow";
    List<Row> rows =
        spark
            .read()
            .format(format)
            .load(file.toString())
            .selectExpr("id", "size(ids)", "xxhash64(ids)")
            .orderBy("id")
            .collectAsList();
    int[] lengths = {3, length, 5};
    assertThat(rows).hasSize(lengths.length);
    for (int row = 0; row < lengths.length; row++) {
      long hash = SEED;
      for (int i = 0; i < lengths[row]; i++) {
        hash = XXH64.hashInt(id(i), hash);
      }
      assertThat(rows.get(row).getInt(1)).isEqualTo(lengths[row]);
      assertThat(rows.get(row).getLong(2)).isEqualTo(hash);
    }
  }

  @Test
  void everyReaderFindsThem() throws Exception {
    try (SparkSession spark =
        SparkSession.builder()
            .master("local[1]")
            .config("spark.ui.enabled", "false")
            .getOrCreate()) {
      for (IdEncoding encoding : IdEncoding.values()) {
        Path file = folder.resolve("parquet-" + encoding + "/part-0.parquet");
        Files.createDirectories(file.getParent());
        write(spark, file, Map.of("encoding", encoding.toString()), LENGTH);
        // Spark reads byte_stream_split row by row only.
        spark
            .conf()
            .set(
                "spark.sql.parquet.enableVectorizedReader",
                encoding != IdEncoding.BYTE_STREAM_SPLIT);
        read(spark, file, LENGTH);
      }
      for (String codec : TokenizeOptions.OutputFormat.ARROW.compressions()) {
        Path file = folder.resolve("arrow-" + codec + "/part-0.arrow");
        Files.createDirectories(file.getParent());
        write(spark, file, Map.of("compression", codec), LENGTH);
        read(spark, file, LENGTH);
      }
    }
    String said = ReadersIT.read(folder, "--long", String.valueOf(LENGTH));
    Stream<String> wrong = said.lines().filter(line -> !line.endsWith(" equal"));
    assertThat(wrong)
        .as(said)
        .allMatch(line -> line.startsWith("parquet-byte_stream_split with_duckdb FAILED"));
    assertThat(said.lines().filter(line -> line.endsWith(" equal"))).hasSize((4 + 3) * 4 - 1);
  }
}
