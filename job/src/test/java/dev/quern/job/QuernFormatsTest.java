package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Date;
import java.sql.Timestamp;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.TaskAttemptID;
import org.apache.hadoop.mapreduce.task.TaskAttemptContextImpl;
import org.apache.parquet.column.Encoding;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.metadata.BlockMetaData;
import org.apache.parquet.hadoop.metadata.ColumnChunkMetaData;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.parquet.internal.column.columnindex.OffsetIndex;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.expressions.GenericInternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.ArrowUtils;
import org.apache.spark.unsafe.Platform;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The formats quern_parquet and quern_arrow, written and read by Spark. */
class QuernFormatsTest {
  private static final String VECTORIZED = "spark.sql.parquet.enableVectorizedReader";

  private static SparkSession spark;

  @TempDir static Path warehouse;
  @TempDir Path folder;

  @BeforeAll
  static void start() {
    spark =
        SparkSession.builder()
            .master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.sql.session.timeZone", "UTC")
            .config("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
            .config("spark.sql.shuffle.partitions", "2")
            .config("spark.sql.warehouse.dir", warehouse.toString())
            .getOrCreate();
  }

  @AfterAll
  static void stop() {
    spark.stop();
  }

  private static Random random() {
    long seed = Long.getLong("quern.test.seed", System.nanoTime());
    System.out.println("QuernFormatsTest: -Dquern.test.seed=" + seed);
    return new Random(seed);
  }

  private String out() {
    return folder.resolve("out").toString();
  }

  // ---- rows of every kind ----

  private static final StructType SCHEMA =
      StructType.fromDDL(
          "id BIGINT NOT NULL, ids ARRAY<INT>, text STRING, bytes BINARY, yes BOOLEAN, i8 TINYINT,"
              + " i16 SMALLINT, i32 INT, f32 FLOAT, f64 DOUBLE, small DECIMAL(5,2), large"
              + " DECIMAL(30,4), day DATE, moment TIMESTAMP, local TIMESTAMP_NTZ, more ARRAY<INT>,"
              + " strings ARRAY<STRING>, lists ARRAY<ARRAY<INT>>, map MAP<STRING, INT>, inside"
              + " STRUCT<a: STRING, ids: ARRAY<INT>>");

  private static List<Integer> ids(Random random, int most) {
    int length = random.nextInt(5) == 0 ? 0 : random.nextInt(most);
    List<Integer> ids = new ArrayList<>();
    boolean holes = random.nextInt(8) == 0;
    for (int i = 0; i < length; i++) {
      ids.add(
          holes && random.nextInt(3) == 0
              ? null
              : (Integer) (int) (3_000 * Math.pow(random.nextDouble(), 3)));
    }
    return ids;
  }

  private static <T> T orNull(Random random, T value) {
    return random.nextInt(7) == 0 ? null : value;
  }

  private static Dataset<Row> rows(Random random, int count) {
    List<Row> rows = new ArrayList<>();
    for (long id = 0; id < count; id++) {
      String text = "t" + random.nextInt(1000) + "é東\u0000".repeat(random.nextInt(4));
      rows.add(
          RowFactory.create(
              id,
              orNull(random, ids(random, random.nextInt(20) == 0 ? 3000 : 60)),
              orNull(random, text),
              orNull(random, text.getBytes(StandardCharsets.UTF_8)),
              orNull(random, random.nextBoolean()),
              orNull(random, (byte) random.nextInt()),
              orNull(random, (short) random.nextInt()),
              orNull(random, random.nextInt()),
              orNull(random, random.nextFloat()),
              orNull(random, random.nextGaussian()),
              orNull(random, BigDecimal.valueOf(random.nextInt(99_999), 2)),
              orNull(random, BigDecimal.valueOf(random.nextLong(), 4)),
              orNull(random, Date.valueOf("2026-01-" + (10 + random.nextInt(20)))),
              orNull(random, new Timestamp(1_700_000_000_000L + random.nextInt())),
              orNull(random, LocalDateTime.of(2026, 1, 1, 0, 0).plusSeconds(random.nextInt(9999))),
              orNull(random, ids(random, 5)),
              orNull(random, Arrays.asList(text, null, "")),
              orNull(random, Arrays.asList(ids(random, 4), null)),
              orNull(random, Map.of(text, random.nextInt())),
              orNull(random, RowFactory.create(text, ids(random, 4)))));
    }
    return spark.createDataFrame(rows, SCHEMA);
  }

  private static List<String> sorted(Dataset<Row> rows) {
    // As text, since arrays of bytes are not equal to each other; JSON has every value in full.
    return rows.orderBy("id").toJSON().collectAsList();
  }

  static Stream<List<String>> parquetOptions() {
    return Stream.of(IdEncoding.values())
        .map(IdEncoding::toString)
        .flatMap(
            encoding ->
                Stream.of("none", "snappy", "zstd", "lz4", "gzip")
                    .map(codec -> List.of(encoding, codec)));
  }

  @Test
  void aDictionaryIsWrittenWhereItPays() throws IOException {
    spark
        .range(0, 100, 1, 1)
        .selectExpr("transform(sequence(1, 200), i -> cast(i % 7 as int)) as ids")
        .write()
        .format("quern_parquet")
        .option("encoding", "dictionary")
        .save(out());
    for (Path file : files(".parquet")) {
      try (ParquetFileReader reader = open(file)) {
        assertThat(column(reader.getRowGroups().get(0), "ids").getEncodings())
            .contains(Encoding.RLE_DICTIONARY);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("parquetOptions")
  void parquetIsReadBackInEveryEncodingAndCompression(List<String> options) throws IOException {
    Dataset<Row> rows = rows(random(), 700).repartition(2).cache();
    rows.write()
        .format("quern_parquet")
        .option("encoding", options.get(0))
        .option("compression", options.get(1))
        .option("parquet.page.size", 4096)
        .option("parquet.block.size", 64 << 10)
        .save(out());
    List<String> expected = sorted(rows);
    boolean split = options.get(0).equals("byte_stream_split");
    for (boolean vectorized : new boolean[] {false, true}) {
      for (String format : List.of("parquet", "quern_parquet")) {
        spark.conf().set(VECTORIZED, String.valueOf(vectorized));
        Dataset<Row> read = spark.read().format(format).load(out());
        try {
          if (split && vectorized) {
            // Once Spark can, the docs and --help need not warn any more.
            assertThatThrownBy(() -> sorted(read)).hasStackTraceContaining("BYTE_STREAM_SPLIT");
          } else {
            assertThat(sorted(read)).isEqualTo(expected);
            assertThat(read.schema()).isEqualTo(nullable(SCHEMA));
          }
        } finally {
          spark.conf().unset(VECTORIZED);
        }
      }
    }
    List<Encoding> encodings = new ArrayList<>();
    for (Path file : files(".parquet")) {
      try (ParquetFileReader reader = open(file)) {
        for (BlockMetaData group : reader.getRowGroups()) {
          for (ColumnChunkMetaData column : group.getColumns()) {
            assertThat(column.getCodec().name())
                .isEqualTo(
                    switch (options.get(1)) {
                      case "none" -> "UNCOMPRESSED";
                      case "lz4" -> "LZ4_RAW";
                      default -> options.get(1).toUpperCase(java.util.Locale.ROOT);
                    });
          }
          encodings.addAll(column(group, "ids").getEncodings());
        }
      }
    }
    // Random ids need not be worth a dictionary: see aDictionaryIsWrittenWhereItPays.
    assertThat(encodings)
        .contains(
            switch (options.get(0)) {
              case "delta_binary_packed" -> Encoding.DELTA_BINARY_PACKED;
              case "byte_stream_split" -> Encoding.BYTE_STREAM_SPLIT;
              default -> Encoding.PLAIN;
            });
    rows.unpersist();
  }

  /** As Spark reads what it has written: everything may be NULL. */
  private static StructType nullable(StructType schema) {
    return schema.asNullable();
  }

  private List<Path> files(String extension) throws IOException {
    try (Stream<Path> found = Files.walk(Path.of(out()))) {
      return found
          .filter(file -> file.getFileName().toString().startsWith("part-"))
          .filter(file -> file.toString().endsWith(extension))
          .toList();
    }
  }

  private static ParquetFileReader open(Path file) throws IOException {
    return ParquetFileReader.open(
        HadoopInputFile.fromPath(new org.apache.hadoop.fs.Path(file.toUri()), new Configuration()));
  }

  private static ColumnChunkMetaData column(BlockMetaData group, String name) {
    return group.getColumns().stream()
        .filter(column -> column.getPath().toArray()[0].equals(name))
        .findFirst()
        .orElseThrow();
  }

  @Test
  void footerAndSchemaAreThoseOfSparksOwnWriter() throws IOException {
    Dataset<Row> rows = rows(random(), 20).coalesce(1).cache();
    rows.write().parquet(folder.resolve("spark").toString());
    rows.write().format("quern_parquet").save(out());
    Path theirs;
    try (Stream<Path> found = Files.list(folder.resolve("spark"))) {
      theirs = found.filter(file -> file.toString().endsWith(".parquet")).findFirst().orElseThrow();
    }
    try (ParquetFileReader ours = open(files(".parquet").get(0));
        ParquetFileReader spark = open(theirs)) {
      assertThat(ours.getFileMetaData().getSchema()).isEqualTo(spark.getFileMetaData().getSchema());
      assertThat(ours.getFileMetaData().getKeyValueMetaData())
          .containsAllEntriesOf(spark.getFileMetaData().getKeyValueMetaData())
          .containsEntry("quern.version", QuernVersion.current());
      ColumnChunkMetaData ids = column(ours.getRowGroups().get(0), "ids");
      ColumnChunkMetaData same = column(spark.getRowGroups().get(0), "ids");
      assertThat(ids.getStatistics()).isEqualTo(same.getStatistics());
      assertThat(ids.getValueCount()).isEqualTo(same.getValueCount());
    }
    rows.unpersist();
  }

  @Test
  void pagesAndRowGroupsKeepTheirLimits() throws IOException {
    int page = 16 << 10;
    int group = 1 << 20;
    spark
        .range(0, 4000, 1, 1)
        .selectExpr(
            "id",
            // Every 500th is larger than a page.
            "transform(sequence(1, if(id % 500 = 7, 20000, 400)), i -> int(hash(id, i) & 65535)) as ids",
            "repeat('x', 50) as text")
        .write()
        .format("quern_parquet")
        .option("compression", "none")
        .option("parquet.page.size", page)
        .option("parquet.block.size", group)
        .save(out());
    long rows = 0;
    try (ParquetFileReader reader = open(files(".parquet").get(0))) {
      assertThat(reader.getRowGroups()).hasSizeGreaterThan(5);
      for (BlockMetaData block : reader.getRowGroups()) {
        assertThat(block.getTotalByteSize()).isLessThan(group + 20_000 * 4 + 64 * 2000);
        OffsetIndex index = reader.readOffsetIndex(column(block, "ids"));
        assertThat(reader.readColumnIndex(column(block, "ids")).getMinValues())
            .hasSize(index.getPageCount());
        long found = 0;
        for (int i = 0; i < index.getPageCount(); i++) {
          assertThat(index.getFirstRowIndex(i)).isEqualTo(found);
          long inPage = index.getLastRowIndex(i, block.getRowCount()) + 1 - found;
          assertThat(index.getCompressedPageSize(i))
              .as("with levels and a header, and larger only for one array")
              .isLessThan(inPage == 1 ? 20_000 * 4 + 200 : (int) (page + 8 * inPage + 200));
          found += inPage;
        }
        assertThat(found).isEqualTo(block.getRowCount());
        rows += found;
      }
    }
    assertThat(rows).isEqualTo(4000);
    // By the indexes: pages are skipped.
    assertThat(spark.read().parquet(out()).where("id = 3007").selectExpr("size(ids)").first())
        .isEqualTo(RowFactory.create(20_000));
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "zstd", "lz4"})
  void arrowIsReadBackInEveryCompression(String codec) throws IOException {
    long before = ArrowUtils.rootAllocator().getAllocatedMemory();
    Dataset<Row> rows = rows(random(), 700).repartition(3).cache();
    rows.write().format("quern_arrow").option("compression", codec).save(out());
    Dataset<Row> read = spark.read().format("quern_arrow").load(out());
    assertThat(sorted(read)).isEqualTo(sorted(rows));
    assertThat(read.schema()).isEqualTo(nullable(SCHEMA));
    assertThat(read.where("i32 > 0").count()).isEqualTo(rows.where("i32 > 0").count());
    assertThat(read.selectExpr("sum(size(ids))").first())
        .isEqualTo(rows.selectExpr("sum(size(ids))").first());
    assertThat(files(".arrow")).hasSize(3);
    // Stopped in the middle.
    assertThat(read.limit(1).collectAsList()).hasSize(1);
    assertThat(ArrowUtils.rootAllocator().getAllocatedMemory()).isEqualTo(before);
    rows.unpersist();
  }

  @Test
  void arrowFilesAreReadInPartsAndColumnsByName() {
    spark
        .range(0, 60, 1, 1)
        .selectExpr("id", "array_repeat(int(id), 500000) as ids")
        .write()
        .format("quern_arrow")
        .save(out());
    spark.conf().set("spark.sql.files.maxPartitionBytes", 20 << 20);
    try {
      Dataset<Row> read = spark.read().format("quern_arrow").load(out());
      assertThat(read.javaRDD().getNumPartitions()).isGreaterThan(3);
      assertThat(read.selectExpr("count(*)", "sum(id)", "sum(size(ids))", "sum(ids[9])").first())
          .isEqualTo(RowFactory.create(60L, 1770L, 30_000_000L, 1770L));
      Dataset<Row> other =
          spark.read().schema("ids ARRAY<INT>, gone STRING").format("quern_arrow").load(out());
      assertThat(other.selectExpr("count(ids)", "count(gone)").first())
          .isEqualTo(RowFactory.create(60L, 0L));
      assertThatThrownBy(
              () -> spark.read().schema("id STRING").format("quern_arrow").load(out()).collect())
          .hasStackTraceContaining("is BIGINT, and STRING was asked for");
    } finally {
      spark.conf().unset("spark.sql.files.maxPartitionBytes");
    }
  }

  /** Says that it has so many elements, and has none of them. */
  private static UnsafeArrayData claiming(int length) {
    byte[] header = new byte[Long.BYTES];
    Platform.putLong(header, Platform.BYTE_ARRAY_OFFSET, length);
    UnsafeArrayData array = new UnsafeArrayData();
    array.pointTo(header, Platform.BYTE_ARRAY_OFFSET, header.length);
    return array;
  }

  @ParameterizedTest
  @ValueSource(strings = {"parquet", "arrow"})
  void rowsThatNoReaderTakesAreRefused(String format) throws IOException {
    Job job = Job.getInstance(spark.sparkContext().hadoopConfiguration());
    StructType schema = StructType.fromDDL("ids ARRAY<INT>, more ARRAY<INT>");
    var options = scala.collection.immutable.Map$.MODULE$.<String, String>empty();
    RowFile.Opener opener =
        format.equals("parquet")
            ? ParquetRowFile.prepare(spark, job, options, schema)
            : ArrowRowFile.prepare(spark, options, schema);
    List<Object[]> rows = new ArrayList<>();
    rows.add(new Object[] {claiming(RowFile.LONGEST_ARRAY + 1), claiming(0)});
    if (format.equals("arrow")) {
      // Its batch has both.
      rows.add(new Object[] {claiming(RowFile.LONGEST_ARRAY / 2), claiming(300_000_000)});
    }
    for (Object[] row : rows) {
      Path file = folder.resolve(rows.indexOf(row) + "." + format);
      RowFile writer =
          opener.open(
              new org.apache.hadoop.fs.Path(file.toUri()),
              new TaskAttemptContextImpl(job.getConfiguration(), new TaskAttemptID()),
              Map.of());
      assertThatThrownBy(() -> writer.write(new GenericInternalRow(row)))
          .hasMessageMatching(
              "an array of 520093697 ids in column ids is more than a row of a file holds"
                  + " \\(520093696\\): split it before the write"
                  + "|a row of \\d+ bytes is more than a record batch of an Arrow file holds"
                  + " \\(2146435071\\): split its arrays or texts before the write");
      writer.close();
      // As a failed task leaves it: nothing takes it for complete.
      assertThat(Files.size(file)).isLessThan(1000);
      assertThatThrownBy(
              () -> spark.read().format("quern_" + format).load(file.toUri().toString()).count())
          .isNotNull();
    }
  }

  // ---- as Spark's own formats ----

  @ParameterizedTest
  @ValueSource(strings = {"quern_parquet", "quern_arrow"})
  void tablesAreMadeAndFilledInSql(String format) {
    String table = "tokens_" + format;
    try {
      spark.sql(
          "CREATE TABLE "
              + table
              + " (id BIGINT, ids ARRAY<INT>, language STRING) USING "
              + format
              + " OPTIONS (compression 'zstd', compression_level '1') PARTITIONED BY (language)"
              + " LOCATION '"
              + out()
              + "'");
      spark.sql("INSERT INTO " + table + " SELECT 1, array(1, null, 3), 'en'");
      spark.sql("INSERT INTO " + table + " VALUES (2, array(), 'de'), (3, NULL, 'de')");
      assertThat(spark.sql("SELECT * FROM " + table + " ORDER BY id").toJSON().collectAsList())
          .containsExactly(
              "{\"id\":1,\"ids\":[1,null,3],\"language\":\"en\"}",
              "{\"id\":2,\"ids\":[],\"language\":\"de\"}",
              "{\"id\":3,\"language\":\"de\"}");
      assertThat(JobSession.list(Path.of(out()))).contains("language=de", "language=en");
      spark.conf().set("spark.sql.sources.partitionOverwriteMode", "dynamic");
      spark.sql("INSERT OVERWRITE " + table + " PARTITION (language) SELECT 4, array(4), 'en'");
      assertThat(spark.sql("SELECT id FROM " + table + " ORDER BY id").toJSON().collectAsList())
          .containsExactly("{\"id\":2}", "{\"id\":3}", "{\"id\":4}");
      spark.sql("CREATE TABLE copy USING " + format + " AS SELECT * FROM " + table);
      assertThat(spark.table("copy").count()).isEqualTo(3);
    } finally {
      spark.conf().unset("spark.sql.sources.partitionOverwriteMode");
      spark.sql("DROP TABLE IF EXISTS " + table);
      spark.sql("DROP TABLE IF EXISTS copy");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"quern_parquet", "quern_arrow"})
  void partitionsAndRecordsAFileAreSparksOwn(String format) throws IOException {
    spark
        .range(0, 1000, 1, 2)
        .selectExpr("id", "array(int(id)) as ids", "id % 3 as part")
        .write()
        .format(format)
        .partitionBy("part")
        .option("maxRecordsPerFile", 50)
        .save(out());
    // 2 tasks, 3 folders of 166 or 167 rows each, at most 50 a file.
    assertThat(files("." + format.substring(6))).hasSize(2 * 3 * 4);
    assertThat(
            spark
                .read()
                .format(format)
                .load(out())
                .selectExpr("count(*)", "sum(id)", "sum(ids[0])", "sum(part)")
                .first())
        .isEqualTo(RowFactory.create(1000L, 499_500L, 499_500L, 999L));
  }

  @ParameterizedTest
  @ValueSource(strings = {"quern_parquet", "quern_arrow"})
  void anEmptyFrameHasASchema(String format) {
    Dataset<Row> none = rows(random(), 1).where("id < 0");
    none.write().format(format).save(out());
    Dataset<Row> read = spark.read().format(format).load(out());
    assertThat(read.count()).isZero();
    assertThat(read.schema()).isEqualTo(nullable(SCHEMA));
  }

  @Test
  void onlyIdsAndNoIdsAtAll() {
    DataType ints = SCHEMA.apply("ids").dataType();
    Dataset<Row> rows = rows(random(), 300).cache();
    rows.select("ids", "more").write().format("quern_parquet").save(out());
    Dataset<Row> read = spark.read().parquet(out());
    assertThat(read.schema().apply("more").dataType()).isEqualTo(ints);
    assertThat(read.exceptAll(rows.select("ids", "more")).count()).isZero();
    assertThat(read.count()).isEqualTo(300);
    rows.select("id", "text").write().mode("overwrite").format("quern_parquet").save(out());
    assertThat(sorted(spark.read().parquet(out()))).isEqualTo(sorted(rows.select("id", "text")));
    rows.unpersist();
  }

  @Test
  void sparksLegacyLayoutOfListsIsWrittenToo() {
    Dataset<Row> rows = rows(random(), 300).cache();
    spark.conf().set("spark.sql.parquet.writeLegacyFormat", "true");
    try {
      rows.write().format("quern_parquet").save(out());
    } finally {
      spark.conf().unset("spark.sql.parquet.writeLegacyFormat");
    }
    assertThat(sorted(spark.read().parquet(out()))).isEqualTo(sorted(rows));
    rows.unpersist();
  }

  @Test
  void wrongOptionsAreRefusedBeforeAnythingIsWritten() {
    Dataset<Row> rows = spark.sql("SELECT array(1) AS ids");
    assertThatThrownBy(
            () -> rows.write().format("quern_parquet").option("encoding", "rle").save(out()))
        .hasStackTraceContaining(
            "the option encoding is 'rle': it is one of plain, dictionary, delta_binary_packed,"
                + " byte_stream_split");
    assertThatThrownBy(
            () -> rows.write().format("quern_parquet").option("compression", "lzo").save(out()))
        .hasStackTraceContaining("parquet files have one of zstd, snappy, gzip, lz4, none");
    assertThatThrownBy(
            () ->
                rows.write()
                    .format("quern_arrow")
                    .option("compression", "lz4")
                    .option("compression_level", "3")
                    .save(out()))
        .hasStackTraceContaining("compression_level is for compression zstd, not for lz4");
    assertThatThrownBy(
            () -> rows.write().format("quern_arrow").option("encoding", "plain").save(out()))
        .hasStackTraceContaining("for Parquet files only");
  }
}
