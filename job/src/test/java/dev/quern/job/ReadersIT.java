package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.column.Encoding;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What others than Spark find in the files: pyarrow, DuckDB and Polars, in every encoding and
 * compression. QuernFormatsTest has what Spark finds.
 */
class ReadersIT {
  @TempDir private Path folder;

  private static SparkSession session() {
    return SparkSession.builder()
        .master("local[2]")
        .config("spark.ui.enabled", "false")
        .getOrCreate();
  }

  @Test
  void everyReaderFindsTheSameIds() throws Exception {
    try (SparkSession spark = session()) {
      // Empty, NULL, with NULLs inside, short ones, and one that is larger than a page and a batch.
      Dataset<Row> rows =
          spark
              .range(0, 3000, 1, 2)
              .selectExpr(
                  "id",
                  "CASE WHEN id % 7 = 1 THEN array() WHEN id % 11 = 2 THEN NULL"
                      + " WHEN id % 13 = 3 THEN array(1, NULL, int(id))"
                      + " WHEN id = 2000 THEN transform(sequence(1, 5000000), i -> int(hash(i) & 131071))"
                      + " ELSE transform(sequence(1, 1 + int(hash(id) & 255)), i -> int(hash(id, i) &"
                      + " 131071)) END AS ids")
              .cache();
      Files.writeString(
          folder.resolve("expected.json"), String.join("\n", rows.toJSON().collectAsList()));
      for (IdEncoding encoding : IdEncoding.values()) {
        for (String codec : TokenizeOptions.OutputFormat.PARQUET.compressions()) {
          rows.write()
              .format("quern_parquet")
              .option("encoding", encoding.toString())
              .option("compression", codec)
              .option("parquet.block.size", 4 << 20)
              .option("parquet.page.size", 64 << 10)
              .save(folder.resolve("parquet-" + encoding + "-" + codec).toString());
        }
      }
      for (String codec : TokenizeOptions.OutputFormat.ARROW.compressions()) {
        rows.write()
            .format("quern_arrow")
            .option("compression", codec)
            .save(folder.resolve("arrow-" + codec).toString());
      }
    }
    String said = read(folder);
    // DuckDB has byte_stream_split for floating-point numbers only; once it reads ids, so may the
    // docs.
    String refused = "BYTE_STREAM_SPLIT encoding is only supported for FLOAT or DOUBLE data";
    assertThat(said.lines().filter(line -> !line.endsWith(" equal")))
        .as(said)
        .hasSize(5)
        .allMatch(line -> line.contains("byte_stream_split") && line.contains("with_duckdb FAILED"))
        .allMatch(line -> line.contains(refused));
    assertThat(said.lines().filter(line -> line.endsWith(" equal"))).hasSize((4 * 5 + 3) * 4 - 5);
  }

  /** Spark's vectorized reader fails where a dictionary's pages follow others of a row group. */
  @Test
  void readersTakePlainPagesAfterThoseOfADictionary() throws Exception {
    try (SparkSession spark = session()) {
      Dataset<Row> rows =
          spark
              .range(0, 60_000, 1, 1)
              .selectExpr(
                  "id",
                  "CASE WHEN id = 50000 THEN array(-100)"
                      + " WHEN id = 20000 THEN transform(sequence(1, 5000000), i -> int(hash(i) & 16383))"
                      + " ELSE transform(sequence(1, 20), i -> int(hash(id, i) & 16383)) END AS ids")
              .cache();
      Files.writeString(
          folder.resolve("expected.json"), String.join("\n", rows.toJSON().collectAsList()));
      String out = folder.resolve("parquet-mixed").toString();
      rows.write().format("quern_parquet").option("parquet.block.size", 64 << 20).save(out);
      String hash = "sum(cast(xxhash64(id, ids) AS decimal(38, 0)))";
      for (String vectorized : List.of("false", "true")) {
        spark.conf().set("spark.sql.parquet.enableVectorizedReader", vectorized);
        assertThat(spark.read().parquet(out).selectExpr(hash).first())
            .isEqualTo(rows.selectExpr(hash).first());
      }
      Path file;
      try (Stream<Path> files = Files.list(Path.of(out))) {
        file = files.filter(path -> path.toString().endsWith(".parquet")).findFirst().orElseThrow();
      }
      try (ParquetFileReader reader =
          ParquetFileReader.open(
              HadoopInputFile.fromPath(
                  new org.apache.hadoop.fs.Path(file.toUri()), new Configuration()))) {
        assertThat(reader.getRowGroups()).hasSize(1);
        assertThat(reader.getRowGroups().get(0).getColumns().get(1).getEncodings())
            .contains(Encoding.PLAIN, Encoding.RLE_DICTIONARY);
      }
    }
    assertThat(read(folder).lines()).hasSize(4).allMatch(line -> line.endsWith(" equal"));
  }

  /** Runs read_tokens.py, and returns what it said. */
  static String read(Path folder, String... arguments) throws IOException, InterruptedException {
    Path script = PythonEnvironment.checkout().resolve("job/src/test/python/read_tokens.py");
    List<String> command = new ArrayList<>();
    command.add(PythonEnvironment.readers().python().toString());
    command.addAll(List.of(script.toString(), folder.toString()));
    command.addAll(List.of(arguments));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    process.waitFor();
    return said;
  }
}
