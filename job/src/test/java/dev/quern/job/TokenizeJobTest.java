package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.quern.job.JobException.Exit;
import dev.quern.tokenizer.QuernLibrary;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.apache.arrow.compression.CommonsCompressionFactory;
import org.apache.arrow.memory.BufferAllocator;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowFileReader;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.execution.ui.SQLAppStatusStore;
import org.apache.spark.sql.execution.ui.SQLExecutionUIData;
import org.apache.spark.sql.execution.ui.SQLPlanMetric;
import org.apache.spark.sql.execution.ui.SparkPlanGraphNode;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.util.ArrowUtils;
import org.apache.spark.util.Utils;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import scala.jdk.javaapi.CollectionConverters;

/** What goes in and what comes out; TokenizeFailureTest has what may go wrong on the way. */
class TokenizeJobTest {
  private static JobSession job;
  @TempDir Path folder;

  @BeforeAll
  static void start() {
    job = new JobSession();
  }

  @AfterAll
  static void stop() {
    job.close();
  }

  private String out() {
    return folder.resolve("out").toString();
  }

  private static JobException refused(String... arguments) {
    try {
      job.run(arguments);
    } catch (JobException e) {
      return e;
    }
    throw new AssertionError("was not refused");
  }

  // ---- formats ----

  @ParameterizedTest
  @ValueSource(strings = {"parquet", "orc", "json", "csv"})
  void everyInputFormatGivesTheIdsOfTheTokenizer(String format) throws IOException {
    String in = folder.resolve("in").toString();
    if (format.equals("csv")) {
      // As RFC 4180 has it: Spark's own writer trims.
      StringBuilder csv = new StringBuilder("id,text\n");
      for (int i = 0; i < JobSession.TEXTS.size(); i++) {
        csv.append(i)
            .append(",\"")
            .append(JobSession.TEXTS.get(i).replace("\"", "\"\""))
            .append("\"\n");
      }
      in += ".csv";
      Files.writeString(Path.of(in), csv);
    } else {
      job.documents(JobSession.TEXTS).repartition(2).write().format(format).save(in);
    }
    TokenizeResult result = job.run("--input", in, "--output", out(), "--keep", "id");
    assertThat(job.read(out())).isEqualTo(job.expected());
    assertThat(result.documents()).isEqualTo(JobSession.TEXTS.size());
    assertThat(result.written()).isEqualTo(JobSession.TEXTS.size());
    assertThat(result.quarantine()).isNull();
    assertThat(result.tokens())
        .isEqualTo(job.expected().values().stream().mapToLong(List::size).sum());
    assertThat(result.bytes())
        .isEqualTo(
            JobSession.TEXTS.stream()
                .mapToLong(t -> t.getBytes(StandardCharsets.UTF_8).length)
                .sum());
    assertThat(folder.resolve("out/_SUCCESS")).exists();
    assertThat(folder.resolve("out/_quern/summary.json")).exists();
    assertThat(job.output()).contains("gpt2", "8 read");
  }

  @Test
  void textIsADocumentALineOrAFile() throws IOException {
    Path in = Files.createDirectory(folder.resolve("in"));
    Files.writeString(in.resolve("a.txt"), "first\nsecond\n");
    try (OutputStream zip = new GZIPOutputStream(Files.newOutputStream(in.resolve("b.txt.gz")))) {
      zip.write("third".getBytes(StandardCharsets.UTF_8));
    }
    TokenizeResult lines = job.run("--input", in.toString(), "--output", out());
    assertThat(lines.documents()).isEqualTo(3);
    assertThat(onlyIds(out()))
        .containsExactlyInAnyOrder(job.ids("first"), job.ids("second"), job.ids("third"));

    String whole = folder.resolve("whole").toString();
    job.run("--input", in + "/*.txt", "--output", whole, "--whole-file");
    assertThat(onlyIds(whole)).containsExactly(job.ids("first\nsecond\n"));
  }

  private static List<List<Integer>> onlyIds(String output) {
    return job.spark.read().parquet(output).collectAsList().stream()
        .map(row -> row.<Integer>getList(row.fieldIndex("input_ids")))
        .toList();
  }

  @Test
  void aTableOrViewIsReadByName() {
    job.documents(JobSession.TEXTS).createOrReplaceTempView("documents");
    job.run("--input-format", "table", "--input", "documents", "--output", out(), "--keep", "id");
    assertThat(job.read(out())).isEqualTo(job.expected());
    assertThat(refused("--input-format=table", "--input=documnets", "--output", out() + "2"))
        .hasMessageContaining("documnets");
  }

  @Test
  void keptColumnsAreAsTheyWere() {
    String in = folder.resolve("in.parquet").toString();
    job.documents(JobSession.TEXTS)
        .selectExpr(
            "id",
            "text",
            "array(id, id + 1) as list",
            "named_struct('a', text) as struct",
            "if(id = 1, null, concat('u', id)) as Url")
        .write()
        .parquet(in);
    job.run("--input", in, "--output", out(), "--keep", "id,list,struct,url,text");
    var read = job.spark.read().parquet(out());
    assertThat(read.columns())
        .containsExactly("id", "list", "struct", "Url", "text", "input_ids", "token_count");
    assertThat(read.drop("input_ids", "token_count").orderBy("id").collectAsList())
        .isEqualTo(
            job.spark
                .read()
                .parquet(in)
                .select("id", "list", "struct", "Url", "text")
                .orderBy("id")
                .collectAsList());
  }

  @Test
  void theFooterSaysWhichTokenizerMadeTheIds() throws IOException {
    job.run("--input", job.parquet(folder), "--output", out(), "--append-eos");
    for (Path file : parts(out(), ".parquet")) {
      Map<String, String> footer = footer(file);
      assertThat(footer)
          .containsEntry("quern.tokenizer", "gpt2")
          .containsEntry("quern.tokenizer.hash", job.tokenizer.contentHash())
          .containsEntry("quern.engine", "fast")
          .containsEntry("quern.allocator", QuernLibrary.allocator())
          .containsEntry("quern.version", QuernVersion.current())
          .containsEntry("quern.appended.id", String.valueOf(JobSession.END_OF_TEXT));
    }
  }

  private static Map<String, String> footer(Path file) throws IOException {
    try (ParquetFileReader reader =
        ParquetFileReader.open(
            HadoopInputFile.fromPath(
                new org.apache.hadoop.fs.Path(file.toUri()), new Configuration()))) {
      return reader.getFileMetaData().getKeyValueMetaData();
    }
  }

  private static List<Path> parts(String output, String extension) throws IOException {
    try (Stream<Path> files = Files.list(Path.of(output))) {
      List<Path> found =
          files
              .filter(file -> file.getFileName().toString().startsWith("part-"))
              .filter(file -> file.toString().endsWith(extension))
              .toList();
      assertThat(found).isNotEmpty();
      return found;
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"zstd", "snappy", "gzip", "lz4", "none"})
  void parquetHasTheCodecThatWasAskedFor(String codec) throws IOException {
    job.run("--input", job.parquet(folder), "--output", out(), "--keep=id", "--compression", codec);
    assertThat(job.read(out())).isEqualTo(job.expected());
    try (ParquetFileReader reader =
        ParquetFileReader.open(
            HadoopInputFile.fromPath(
                new org.apache.hadoop.fs.Path(parts(out(), ".parquet").get(0).toUri()),
                new Configuration()))) {
      assertThat(reader.getRowGroups().get(0).getColumns().get(0).getCodec().name())
          .isEqualToIgnoringCase(
              switch (codec) {
                case "none" -> "uncompressed";
                case "lz4" -> "lz4_raw";
                default -> codec;
              });
    }
  }

  /** From column batches, with columns in another order, or from rows. */
  @ParameterizedTest
  @ValueSource(booleans = {true, false})
  void keptColumnsOfAllKindsArriveFromParquet(boolean columnar) {
    String in = folder.resolve("in.parquet").toString();
    job.documents(JobSession.TEXTS)
        .selectExpr(
            "if(id = 2, null, named_struct('a', text, 'b', array(id))) as struct",
            "text",
            "if(id = 3, null, array(1, if(id = 5, null, 2))) as ints",
            "if(id = 4, null, map(text, array(id, null))) as map",
            "cast(id as decimal(30, 3)) as dec",
            "timestamp'2026-01-01 12:34:56.789' as ts",
            "cast(text as binary) as b",
            "id")
        .write()
        .parquet(in);
    job.spark.conf().set("spark.sql.parquet.enableVectorizedReader", columnar);
    try {
      job.run("--input", in, "--output", out(), "--keep=id,text,map,ints,dec,ts,b,struct");
    } finally {
      job.spark.conf().unset("spark.sql.parquet.enableVectorizedReader");
    }
    String[] kept = {"id", "text", "map", "ints", "dec", "ts", "b", "struct"};
    assertThat(
            job.spark.read().parquet(out()).selectExpr(kept).orderBy("id").toJSON().collectAsList())
        .isEqualTo(
            job.spark.read().parquet(in).selectExpr(kept).orderBy("id").toJSON().collectAsList());
    assertThat(job.read(out())).isEqualTo(job.expected());
  }

  @ParameterizedTest
  @ValueSource(strings = {"none", "zstd", "lz4"})
  void arrowFilesAreReadBackByArrow(String codec) throws IOException {
    String in = folder.resolve("in.parquet").toString();
    job.documents(JobSession.TEXTS)
        .selectExpr(
            "*",
            "if(id = 2, null, concat('u', id)) as s",
            "cast(text as binary) as b",
            "id % 2 = 0 as bool",
            "cast(id as tinyint) as i8",
            "cast(id as smallint) as i16",
            "cast(id as int) as i32",
            "cast(id / 3 as float) as f32",
            "if(id = 3, null, cast(id as double) / 3) as f64",
            "cast(id as decimal(20, 3)) as dec",
            "date'2026-01-01' as d",
            "timestamp'2026-01-01 12:34:56.789' as ts",
            "timestamp_ntz'2026-01-01 12:34:56.789' as ntz",
            "if(id = 3, null, array(1, if(id = 5, null, 2))) as ints",
            "named_struct('a', text, 'b', array(id)) as struct")
        .write()
        .parquet(in);
    String kept = "id,s,b,bool,i8,i16,i32,f32,f64,dec,d,ts,ntz,ints,struct";
    long before = ArrowUtils.rootAllocator().getAllocatedMemory();
    job.run(
        "--input", in, "--output", out(), "--format=arrow", "--keep", kept, "--compression", codec);
    assertThat(ArrowUtils.rootAllocator().getAllocatedMemory()).isEqualTo(before);

    Map<Long, List<Integer>> ids = new TreeMap<>();
    Map<Long, Map<String, Object>> rows = new TreeMap<>();
    for (Path file : parts(out(), ".arrow")) {
      readArrow(
          file,
          root -> {
            assertThat(root.getSchema().getCustomMetadata())
                .containsEntry("quern.tokenizer.hash", job.tokenizer.contentHash())
                .containsEntry("quern.allocator", QuernLibrary.allocator())
                .containsEntry("quern.version", QuernVersion.current());
            for (int i = 0; i < root.getRowCount(); i++) {
              Map<String, Object> row = new HashMap<>();
              for (var vector : root.getFieldVectors()) {
                row.put(vector.getName(), vector.getObject(i));
              }
              List<Integer> list = integers(row.get("input_ids"));
              assertThat(row.get("token_count")).isEqualTo(list.size());
              ids.put((Long) row.get("id"), list);
              rows.put((Long) row.get("id"), row);
            }
          });
    }
    assertThat(ids).isEqualTo(job.expected());
    assertThat(rows.get(2L).get("s")).isNull();
    assertThat(rows.get(3L).get("s")).hasToString("u3");
    assertThat(rows.get(3L).get("f64")).isNull();
    assertThat(rows.get(4L).get("f64")).isEqualTo(4 / 3.0);
    assertThat(rows.get(4L).get("f32")).isEqualTo((float) (4 / 3.0));
    assertThat(rows.get(4L).get("b"))
        .isEqualTo(JobSession.TEXTS.get(4).getBytes(StandardCharsets.UTF_8));
    assertThat(rows.get(4L).get("bool")).isEqualTo(true);
    assertThat(rows.get(4L).get("i8")).isEqualTo((byte) 4);
    assertThat(rows.get(4L).get("i16")).isEqualTo((short) 4);
    assertThat(rows.get(4L).get("i32")).isEqualTo(4);
    assertThat(rows.get(4L).get("dec")).hasToString("4.000");
    assertThat(rows.get(4L).get("d")).isEqualTo(20454);
    assertThat(rows.get(4L).get("ts")).isEqualTo(1767270896789000L);
    assertThat(rows.get(4L).get("ntz")).hasToString("2026-01-01T12:34:56.789");
    assertThat(rows.get(3L).get("ints")).isNull();
    assertThat(rows.get(4L).get("ints")).hasToString("[1,2]");
    assertThat(rows.get(5L).get("ints")).hasToString("[1,null]");
    assertThat(rows.get(0L).get("struct")).hasToString("{\"a\":\"Hello, world!\",\"b\":[0]}");
  }

  private static List<Integer> integers(Object list) {
    return ((List<?>) list).stream().map(id -> (Integer) id).toList();
  }

  private interface RootCheck {
    void check(VectorSchemaRoot root) throws IOException;
  }

  private static void readArrow(Path file, RootCheck check) throws IOException {
    try (BufferAllocator allocator = new RootAllocator();
        FileInputStream in = new FileInputStream(file.toFile());
        ArrowFileReader reader =
            new ArrowFileReader(in.getChannel(), allocator, CommonsCompressionFactory.INSTANCE)) {
      while (reader.loadNextBatch()) {
        check.check(reader.getVectorSchemaRoot());
      }
      // Also without any batch the schema is there.
      assertThat(reader.getVectorSchemaRoot().getVector("input_ids")).isNotNull();
    }
  }

  @Test
  void arrowBatchesAreBounded() throws IOException {
    // 40 documents of about 2 MB of ids each, and an empty one: several batches of 16 MiB.
    job.spark
        .range(40)
        .selectExpr("id", "repeat(concat(' a', id), 250000) as text")
        .unionByName(job.spark.range(40, 41).selectExpr("id", "'' as text"))
        .coalesce(1)
        .write()
        .parquet(folder.resolve("in.parquet").toString());
    job.run(
        "--input",
        folder.resolve("in.parquet").toString(),
        "--output",
        out(),
        "--format=arrow",
        "--keep=id");
    List<Integer> batches = new ArrayList<>();
    Map<Long, Integer> counts = new TreeMap<>();
    for (Path file : parts(out(), ".arrow")) {
      readArrow(
          file,
          root -> {
            batches.add(root.getRowCount());
            for (int i = 0; i < root.getRowCount(); i++) {
              List<Integer> ids = integers(root.getVector("input_ids").getObject(i));
              long id = (Long) root.getVector("id").getObject(i);
              counts.put(id, ids.size());
              if (!ids.isEmpty()) {
                List<Integer> period = job.ids(" a" + id);
                assertThat(ids.subList(0, period.size())).isEqualTo(period);
                assertThat(ids.subList(ids.size() - period.size(), ids.size())).isEqualTo(period);
              }
            }
          });
    }
    assertThat(counts).hasSize(41).containsEntry(40L, 0);
    assertThat(batches).hasSizeGreaterThan(3).allSatisfy(rows -> assertThat(rows).isLessThan(20));
  }

  // ---- the quarantine ----

  private static final byte[] INVALID = {'a', 'b', (byte) 0xff, 'c'};

  private void writeBadDocuments(String in) {
    List<Row> rows =
        List.of(
            RowFactory.create(1L, "good".getBytes(StandardCharsets.UTF_8)),
            RowFactory.create(2L, null),
            RowFactory.create(3L, INVALID),
            RowFactory.create(4L, "long ".repeat(100).getBytes(StandardCharsets.UTF_8)),
            RowFactory.create(5L, "x <|endoftext|>".getBytes(StandardCharsets.UTF_8)));
    job.spark
        .createDataFrame(
            rows, new StructType().add("id", DataTypes.LongType).add("text", DataTypes.BinaryType))
        .coalesce(1)
        .write()
        .parquet(in);
  }

  @ParameterizedTest
  @CsvSource({"parquet,binary", "parquet,string", "arrow,binary"})
  void whatCannotBeTokenizedIsSetAsideWithTheReason(String format, String type) {
    String in = folder.resolve("in.parquet").toString();
    writeBadDocuments(in);
    if (type.equals("string")) {
      // Parquet does not check: the bytes of a string column may be anything.
      String strings = folder.resolve("strings.parquet").toString();
      job.spark
          .read()
          .parquet(in)
          .withColumn("text", functions.expr("cast(text as string)"))
          .write()
          .parquet(strings);
      in = strings;
    }
    TokenizeResult result =
        job.run(
            "--input",
            in,
            "--output",
            out(),
            "--format",
            format,
            "--keep",
            "id",
            "--max-document-bytes",
            "400",
            "--special-tokens-in-text",
            "error");
    assertThat(result.documents()).isEqualTo(5);
    assertThat(result.quarantined()).isEqualTo(4);
    assertThat(result.quarantine()).isEqualTo(result.output() + "/_quern/quarantine");
    Map<Long, Row> aside = new TreeMap<>();
    for (Row row : job.spark.read().parquet(result.quarantine()).collectAsList()) {
      aside.put(row.getLong(0), row);
    }
    assertThat(job.spark.read().parquet(result.quarantine()).columns())
        .containsExactly("id", "reason", "position", "bytes", "detail");
    assertThat(aside.get(2L).mkString("|")).isEqualTo("2|null_text|null|null|null");
    assertThat(aside.get(3L).mkString("|")).startsWith("3|invalid_utf8|2|4|");
    assertThat(aside.get(4L).mkString("|")).startsWith("4|too_large|null|500|");
    assertThat(aside.get(5L).mkString("|")).startsWith("5|special_token|2|15|");
    if (format.equals("parquet")) {
      assertThat(job.read(out())).isEqualTo(Map.of(1L, job.ids("good")));
    }
  }

  @Test
  void replacedUtf8IsTokenizedAndSpecialTokensCanCount() {
    String in = folder.resolve("in.parquet").toString();
    writeBadDocuments(in);
    job.run(
        "--input", in,
        "--output", out(),
        "--keep", "id",
        "--invalid-utf8", "replace",
        "--special-tokens-in-text", "token");
    Map<Long, List<Integer>> read = job.read(out());
    assertThat(read.get(3L)).isEqualTo(job.ids("ab\uFFFDc"));
    assertThat(read.get(5L)).endsWith(JobSession.END_OF_TEXT);
  }

  @Test
  void withoutKeptColumnsTheQuarantineHasFileAndRow() throws IOException {
    String in = folder.resolve("in.parquet").toString();
    writeBadDocuments(in);
    TokenizeResult result = job.run("--input", in, "--output", out());
    assertThat(job.spark.read().parquet(result.output()).columns())
        .containsExactly("input_ids", "token_count");
    List<Row> aside = job.spark.read().parquet(result.quarantine()).orderBy("row").collectAsList();
    assertThat(aside).hasSize(2);
    assertThat(aside.get(0).<String>getAs("file")).contains("in.parquet/part-");
    assertThat(aside.get(0).<Long>getAs("row")).isEqualTo(1);
    assertThat(aside.get(1).<Long>getAs("row")).isEqualTo(2);

    Path lines = folder.resolve("lines.txt");
    Files.write(lines, new byte[] {'a', '\n', 'b', '\n', (byte) 0xc3, '\n', 'd', '\n'});
    String second = folder.resolve("second").toString();
    TokenizeResult text = job.run("--input", lines.toString(), "--output", second);
    Row row = job.spark.read().parquet(text.quarantine()).first();
    assertThat(row.<String>getAs("file")).endsWith("lines.txt");
    assertThat(row.<Long>getAs("block_start")).isEqualTo(0);
    assertThat(row.<Long>getAs("row")).isEqualTo(2);
    assertThat(row.<Long>getAs("position")).isEqualTo(0);
  }

  @Test
  void aRecordThatCannotBeParsedIsSetAside() throws IOException {
    Path in = folder.resolve("in.jsonl");
    Files.writeString(
        in,
        "{\"id\": 1, \"text\": \"good\"}\n{\"id\": 2, \"te\n{\"id\": 3, \"text\": null}\n{\"id\": 4}\n");
    TokenizeResult result = job.run("--input", in.toString(), "--output", out());
    assertThat(result.documents()).isEqualTo(4);
    assertThat(
            job.spark.read().parquet(result.quarantine()).select("row", "reason").collectAsList())
        .containsExactlyInAnyOrder(
            RowFactory.create(1L, "malformed_record"),
            RowFactory.create(2L, "null_text"),
            RowFactory.create(3L, "null_text"));
  }

  @ParameterizedTest
  @ValueSource(strings = {"parquet", "arrow"})
  void anOutputWithoutAnyRowCanBeRead(String format) throws IOException {
    String in = folder.resolve("in.parquet").toString();
    job.spark.range(3).selectExpr("id", "cast(null as string) as text").write().parquet(in);
    TokenizeResult result =
        job.run("--input", in, "--output", out(), "--keep=id", "--format", format);
    assertThat(result.quarantined()).isEqualTo(3);
    assertThat(result.tokens()).isZero();
    if (format.equals("parquet")) {
      assertThat(job.spark.read().parquet(out()).columns())
          .containsExactly("id", "input_ids", "token_count");
      assertThat(job.spark.read().parquet(out()).count()).isZero();
    } else {
      for (Path file : parts(out(), ".arrow")) {
        readArrow(file, root -> assertThat(root.getRowCount()).isZero());
      }
    }

    String nothing = folder.resolve("nothing.parquet").toString();
    job.spark.read().parquet(in).where("false").write().parquet(nothing);
    TokenizeResult empty =
        job.run("--input", nothing, "--output", out() + "2", "--keep=id", "--format", format);
    assertThat(empty.documents()).isZero();
    assertThat(parts(out() + "2", "." + format)).isNotEmpty();
  }

  @Test
  void aKeptColumnMayHaveANameOfTheQuarantine() {
    String in = folder.resolve("in.parquet").toString();
    job.spark.sql("SELECT 'why' AS reason, cast(null AS string) AS text").write().parquet(in);
    TokenizeResult result = job.run("--input", in, "--output", out(), "--keep=reason");
    Row row = job.spark.read().parquet(result.quarantine()).first();
    assertThat(row.<String>getAs("reason")).isEqualTo("why");
    assertThat(row.<String>getAs("quern_reason")).isEqualTo("null_text");
  }

  // ---- options ----

  @Test
  void theEndOfTextIsAppendedAndCounts() {
    job.run("--input", job.parquet(folder), "--output", out(), "--keep=id", "--append-eos");
    job.expected()
        .forEach(
            (id, ids) -> {
              List<Integer> ended = new ArrayList<>(ids);
              ended.add(JobSession.END_OF_TEXT);
              assertThat(job.read(out())).containsEntry(id, ended);
            });
    JobException unknown =
        refused(
            "--input", job.parquet(folder.resolve("2")), "--output=x", "--append-eos", "</end>");
    assertThat(unknown.exit()).isEqualTo(Exit.REFUSED);
    assertThat(unknown).hasMessageContaining("no such token; it has <|endoftext|>");
  }

  @Test
  void limitIsExactAndTheSampleDoesNotDependOnTheSplit() {
    String in = folder.resolve("in.parquet").toString();
    job.spark.range(3000).selectExpr("id", "concat('document ', id) as text").write().parquet(in);
    TokenizeResult limited =
        job.run("--input", in, "--output", out(), "--keep=id", "--limit", "17");
    assertThat(limited.documents()).isEqualTo(17);
    assertThat(job.read(out())).hasSize(17);

    String again = folder.resolve("again.parquet").toString();
    job.spark.read().parquet(in).repartition(5).write().parquet(again);
    job.run("--input", in, "--output", out() + "a", "--keep=id", "--sample=0.1", "--seed=7");
    job.run("--input", again, "--output", out() + "b", "--keep=id", "--sample=0.1", "--seed=7");
    job.run("--input", again, "--output", out() + "c", "--keep=id", "--sample=0.1", "--seed=8");
    job.run("--input", again, "--output", out() + "d", "--keep=id", "--sample=0.2", "--seed=7");
    var sample = job.read(out() + "a").keySet();
    assertThat(sample).hasSizeBetween(200, 400).isEqualTo(job.read(out() + "b").keySet());
    assertThat(sample).isNotEqualTo(job.read(out() + "c").keySet());
    assertThat(job.read(out() + "d").keySet()).containsAll(sample);
  }

  @Test
  void filesAreAboutAsLargeAsAsked() throws IOException {
    String in = folder.resolve("in.parquet").toString();
    // Words that do not repeat: 8 MB of text, which no codec makes small.
    job.spark
        .range(4000)
        .selectExpr(
            "id",
            "array_join(transform(sequence(0, 249), i -> substr(md5(concat(id, i)), 1, 7)), ' ') as text")
        .coalesce(1)
        .write()
        .option("parquet.block.size", 1 << 20)
        .parquet(in);
    Map<String, Integer> files = new HashMap<>();
    for (String size : List.of("2MiB", "8MiB")) {
      String out = out() + size;
      job.run("--input", in, "--output", out, "--file-bytes", size, "--compression=none");
      List<Path> parts = parts(out, ".parquet");
      files.put(size, parts.size());
      long asked =
          TokenizeOptions.parse("--input=a", "--output=b", "--file-bytes", size).fileBytes();
      for (Path file : parts) {
        // Such text has twice as many ids as what the estimate was made for.
        assertThat(Files.size(file)).isLessThan(3 * asked);
      }
    }
    assertThat(files.get("2MiB")).isGreaterThan(files.get("8MiB")).isBetween(3, 16);
  }

  /**
   * The tolerance that --help states, with the sample: prose and code in 105 languages and kinds.
   */
  @ParameterizedTest
  @CsvSource({
    "parquet, plain, zstd",
    "parquet, plain, snappy",
    "parquet, dictionary, none",
    "parquet, delta_binary_packed, zstd",
    "parquet, byte_stream_split, none",
    "arrow, plain, none",
    "arrow, plain, lz4"
  })
  void filesOfOrdinaryTextAreHalfToTwiceAsLargeAsAsked(
      String format, String encoding, String compression) throws IOException {
    Path in = folder.resolve("in.jsonl");
    String sample =
        Files.readString(
            PythonEnvironment.checkout()
                .resolve("job/src/main/resources/dev/quern/job/sample/documents.jsonl"));
    Files.writeString(in, sample.repeat(8));
    List<String> arguments = new ArrayList<>();
    arguments.addAll(List.of("--input", in.toString(), "--output", out(), "--tokenizer"));
    arguments.addAll(List.of("o200k_base", "--format", format, "--file-bytes", "1MiB"));
    arguments.addAll(List.of("--compression", compression));
    if (format.equals("parquet")) {
      arguments.addAll(List.of("--encoding", encoding));
    }
    TokenizeOptions options = TokenizeOptions.parse(arguments.toArray(String[]::new));
    job.run(options, options.format().writer());
    List<Path> parts = parts(out(), "." + format);
    assertThat(parts).hasSizeBetween(3, 16);
    long rest = Long.MAX_VALUE;
    for (Path part : parts) {
      rest = Math.min(rest, Files.size(part));
      assertThat(Files.size(part)).isLessThan(2 << 20);
    }
    for (Path part : parts) {
      assertThat(Files.size(part)).isGreaterThan(Files.size(part) == rest ? 0 : 1 << 19);
    }
  }

  @Test
  void aDryRunChecksEverythingAndWritesNothing() {
    String in = job.parquet(folder);
    assertThat(job.run("--input", in, "--output", out(), "--dry-run", "--keep=id")).isNull();
    assertThat(job.output())
        .contains("Tokenizer  gpt2", "Tasks ", "id BIGINT, input_ids ARRAY<INT>, token_count INT");
    assertThat(JobSession.list(folder)).containsExactly("documents.parquet");
    assertThat(refused("--input", in, "--output", out(), "--dry-run", "--keep=di"))
        .hasMessageContaining("did you mean id?");
  }

  @Test
  void anInputThatIsNotAsItMustBeIsRefused() throws IOException {
    String in = job.parquet(folder);
    assertThat(refused("--input", in + "x", "--output", out()))
        .hasMessageContaining("does not exist")
        .extracting(JobException::exit)
        .isEqualTo(Exit.REFUSED);
    assertThat(refused("--input", in, "--output", out(), "--text-column", "txt"))
        .hasMessageContaining(
            "--text-column txt: the input has no such column; did you mean text? (it has id, text)");
    assertThat(refused("--input", in, "--output", out(), "--text-column", "id"))
        .hasMessageContaining("the column id is BIGINT");
    Files.writeString(folder.resolve("data.bin"), "x");
    assertThat(refused("--input", folder.resolve("data.bin").toString(), "--output", out()))
        .hasMessageContaining("--input-format");
    Files.writeString(folder.resolve("broken.parquet"), "this is no Parquet file");
    assertThat(refused("--input", folder.resolve("broken.parquet").toString(), "--output", out()))
        .extracting(JobException::exit)
        .isEqualTo(Exit.REFUSED);

    String own = folder.resolve("own.parquet").toString();
    job.spark.sql("SELECT 'a' AS text, 1 AS Token_Count").write().parquet(own);
    assertThat(refused("--input", own, "--output", out(), "--keep=token_count"))
        .hasMessageContaining("a column of that name already");
    assertThat(JobSession.list(folder)).doesNotContain("out");
  }

  @Test
  void aTokenizerThatCannotBeUsedIsRefused() throws IOException {
    String in = job.parquet(folder);
    assertThat(refused("--input", in, "--output", out(), "--tokenizer", "gpt3"))
        .hasMessageContaining("gpt3")
        .hasMessageContaining("o200k_base");
    Path file = folder.resolve("tokenizer.json");
    Files.writeString(
        file,
        "{\"version\":\"1.0\",\"model\":{\"type\":\"WordLevel\",\"vocab\":{\"a\":0},\"unk_token\":\"a\"}}");
    String words = file.toString();
    assertThat(refused("--input", in, "--output", out(), "--tokenizer", words, "--engine=fast"))
        .hasMessageContaining("\"fast\"")
        .hasMessageContaining("WordLevel")
        .extracting(JobException::exit)
        .isEqualTo(Exit.REFUSED);
    Files.writeString(file, "{\"secret\": 42");
    assertThat(refused("--input", in, "--output", out(), "--tokenizer", file.toString()))
        .hasMessageContaining("tokenizer.json")
        .message()
        .doesNotContain("secret");
  }

  @Test
  void anOutputThatExistsIsRefusedUnlessItIsAnEmptyFolder() throws IOException {
    String in = job.parquet(folder);
    Path out = Files.createDirectory(folder.resolve("out"));
    job.run("--input", in, "--output", out(), "--keep=id");
    assertThat(job.read(out())).isEqualTo(job.expected());
    assertThat(refused("--input", in, "--output", out()))
        .hasMessageContaining("exists")
        .hasMessageContaining("--mode overwrite")
        .extracting(JobException::exit)
        .isEqualTo(Exit.REFUSED);
    Files.writeString(out.resolve("old"), "");
    job.run("--input", in, "--output", out(), "--mode=overwrite");
    assertThat(job.spark.read().parquet(out()).columns()).doesNotContain("id");
    assertThat(JobSession.list(out)).doesNotContain("old").contains("_SUCCESS", "_quern");
    assertThat(JobSession.list(folder)).containsExactly("documents.parquet", "out");
    assertThat(refused("--input", in, "--output", folder.toString(), "--mode=overwrite"))
        .hasMessageContaining("is or contains the input");
  }

  /** What Spark's UI and its history show of the operator. */
  @Test
  void theOperatorsMetricsAreInSparksStatusStore() throws Exception {
    String in = folder.resolve("in.parquet").toString();
    // 3 MB: times are shown in milliseconds.
    job.spark
        .range(0, 3000, 1, 2)
        .selectExpr("id", "repeat(concat('document ', id, ', '), 60) as text")
        .write()
        .parquet(in);
    TokenizeResult result = job.run("--input", in, "--output", out(), "--keep=id");
    job.spark.sparkContext().listenerBus().waitUntilEmpty();
    SQLAppStatusStore store =
        ((org.apache.spark.sql.classic.SparkSession) job.spark).sharedState().statusStore();
    List<Map<String, String>> operators = new ArrayList<>();
    for (SQLExecutionUIData execution : CollectionConverters.asJava(store.executionsList())) {
      // Executions of other tests have other folders.
      if (!execution.physicalPlanDescription().contains(folder.toString())) {
        continue;
      }
      var values = CollectionConverters.asJava(store.executionMetrics(execution.executionId()));
      var nodes = store.planGraph(execution.executionId()).allNodes();
      for (SparkPlanGraphNode node : CollectionConverters.asJava(nodes)) {
        if (node.name().equals("Tokenize")) {
          operators.add(
              CollectionConverters.asJava(node.metrics()).stream()
                  .filter(metric -> values.containsKey(metric.accumulatorId()))
                  .collect(
                      Collectors.toMap(
                          SQLPlanMetric::name, metric -> values.get(metric.accumulatorId()))));
        }
      }
    }
    assertThat(operators).hasSize(1);
    Map<String, String> operator = operators.get(0);
    assertThat(operator)
        .containsEntry("documents", "3,000")
        .containsEntry("tokens", String.format(Locale.ROOT, "%,d", result.tokens()));
    // Of sizes and times the total comes first, then the least, middle and largest task.
    assertThat(operator.get("text tokenized"))
        .startsWith("total (")
        .contains("\n" + Utils.bytesToString(result.bytes()) + " (");
    Matcher time =
        Pattern.compile("\n([0-9.]+) (ms|s|m) \\(").matcher(operator.get("time in the tokenizer"));
    assertThat(time.find()).as(operator.toString()).isTrue();
    assertThat(Double.parseDouble(time.group(1))).isPositive();
  }

  @Test
  void runsInASessionThatIsThereAndLeavesItAsItIs() {
    var before =
        new TreeSet<>(job.spark.conf().getAll().toString().lines().collect(Collectors.toSet()));
    TokenizeResult result =
        TokenizeJob.run(
            job.spark, "--input", job.parquet(folder), "--output", out(), "--tokenizer", "gpt2");
    assertThat(result.documents()).isEqualTo(8);
    assertThat(result.tokenizerHash()).isEqualTo(job.tokenizer.contentHash());
    assertThat(
            new TreeSet<>(job.spark.conf().getAll().toString().lines().collect(Collectors.toSet())))
        .isEqualTo(before);
    assertThatThrownBy(
            () ->
                TokenizeJob.run(
                    job.spark, "--input", "x", "--output", "y", "--allocator", "system"))
        .isInstanceOf(JobException.class)
        .hasMessageContaining("spark.quern.allocator=system");
  }
}
