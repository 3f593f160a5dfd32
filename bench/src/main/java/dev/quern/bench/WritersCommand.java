package dev.quern.bench;

import dev.quern.job.QuernArrowFormat;
import dev.quern.job.QuernParquetFormat;
import dev.quern.tokenizer.NativeTokenizer;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.TaskAttemptID;
import org.apache.hadoop.mapreduce.task.TaskAttemptContextImpl;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.catalyst.expressions.UnsafeRow;
import org.apache.spark.sql.catalyst.expressions.codegen.UnsafeRowWriter;
import org.apache.spark.sql.execution.datasources.FileFormat;
import org.apache.spark.sql.execution.datasources.OutputWriter;
import org.apache.spark.sql.execution.datasources.OutputWriterFactory;
import org.apache.spark.sql.execution.datasources.parquet.ParquetFileFormat;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import scala.collection.immutable.Map$;
import scala.jdk.javaapi.CollectionConverters;

/** {@code quern-bench writers}: see its description. */
@Command(
    name = "writers",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "How fast rows of token ids become files, and how large these are, by format, encoding and"
          + " compression: one thread, rows of (input_ids, token_count) in memory, files on a local"
          + " disk.",
      "",
      "Spark's own Parquet writer is one of the contenders: all of them are driven as Spark drives"
          + " a writer, row by row, and timed by JMH, a file each. Before anything is timed, each contender's file is read by Spark"
          + " and has to give the ids back.",
      "",
    })
final class WritersCommand implements Callable<Integer> {
  private static final StructType SCHEMA =
      new StructType()
          .add("input_ids", DataTypes.createArrayType(DataTypes.IntegerType, false), false)
          .add("token_count", DataTypes.IntegerType, false);

  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  @Option(
      names = "--corpus",
      paramLabel = "PATH[,PATH...]",
      description =
          "As of the command kernel; repeat the option for several. Default: the sample that ships"
              + " with quern-job.")
  List<String> corpora = new ArrayList<>();

  @Option(
      names = "--tokenizer",
      paramLabel = "NAME|FILE",
      defaultValue = "o200k_base",
      description = "A built-in vocabulary or a tokenizer.json. Default: ${DEFAULT-VALUE}.")
  String tokenizer;

  @Option(
      names = "--writers",
      split = ",",
      paramLabel = "W",
      description =
          "FORMAT[/ENCODING]/COMPRESSION[:LEVEL], as parquet/plain/zstd:1, arrow/none or"
              + " spark/snappy (Spark's own Parquet writer). Default: all of them.")
  List<String> writers = new ArrayList<>();

  @Option(
      names = "--mb",
      paramLabel = "MB",
      defaultValue = "32",
      description =
          "Text to write in one go, made by writing a corpus again and again. Default:"
              + " ${DEFAULT-VALUE}.")
  int megabytes;

  @Option(
      names = "--rounds",
      paramLabel = "N",
      defaultValue = "3",
      description =
          "Files of each contender and corpus, in turn, after one to warm up. Default:"
              + " ${DEFAULT-VALUE}.")
  int rounds;

  @Mixin RecordOptions recordOptions;

  /**
   * A way to write.
   *
   * @param encoding null where the format has no choice
   */
  private record Contender(
      String format, String encoding, String compression, Integer level, FileFormat writer) {
    static Contender of(String text) {
      String[] parts = text.split("/");
      boolean parquet = parts[0].equals("parquet");
      if (parts.length != (parquet ? 3 : 2)) {
        throw wrong(text);
      }
      String[] codec = parts[parts.length - 1].split(":");
      try {
        return new Contender(
            parts[0],
            parquet ? parts[1] : null,
            codec[0],
            codec.length > 1 ? Integer.valueOf(codec[1]) : null,
            switch (parts[0]) {
              case "parquet" -> new QuernParquetFormat();
              case "arrow" -> new QuernArrowFormat();
              case "spark" -> new ParquetFileFormat();
              default -> throw wrong(text);
            });
      } catch (NumberFormatException e) {
        throw wrong(text);
      }
    }

    private static BenchException wrong(String text) {
      return new BenchException(
          BenchException.USAGE,
          "--writers "
              + text
              + ": give parquet/ENCODING/CODEC[:LEVEL], arrow/CODEC[:LEVEL] or"
              + " spark/CODEC[:LEVEL]");
    }

    @Override
    public String toString() {
      return format
          + (encoding == null ? "" : "/" + encoding)
          + "/"
          + compression
          + (level == null ? "" : ":" + level);
    }

    Map<String, String> options() {
      Map<String, String> options = new HashMap<>();
      options.put("compression", compression);
      if (encoding != null) {
        options.put("encoding", encoding);
      }
      if (level != null) {
        options.put(
            format.equals("spark") ? "parquet.compression.codec.zstd.level" : "compression_level",
            level.toString());
      }
      return options;
    }
  }

  private List<Contender> contenders() {
    if (!writers.isEmpty()) {
      return writers.stream().map(Contender::of).toList();
    }
    List<String> all = new ArrayList<>();
    List<String> codecs = List.of("none", "snappy", "lz4", "zstd:1", "zstd:3", "zstd:9");
    for (String encoding :
        List.of("plain", "dictionary", "delta_binary_packed", "byte_stream_split")) {
      codecs.forEach(codec -> all.add("parquet/" + encoding + "/" + codec));
    }
    List.of("none", "lz4", "zstd:1", "zstd:3").forEach(codec -> all.add("arrow/" + codec));
    List.of("none", "snappy", "lz4_raw", "zstd:1", "zstd:3")
        .forEach(codec -> all.add("spark/" + codec));
    return all.stream().map(Contender::of).toList();
  }

  /** What is written: a corpus' ids, and its size in text. */
  private record Input(Corpus corpus, List<UnsafeRow> rows, long tokens, int times) {}

  @Override
  public Integer call() throws IOException {
    if (megabytes < 1 || rounds < 1) {
      throw new BenchException(BenchException.USAGE, "--mb and --rounds are at least 1");
    }
    recordOptions.check();
    List<Contender> contenders = contenders();
    PrintWriter progress = spec.commandLine().getErr();
    Map<String, Object> environment = Record.environment(RecordOptions.root(), recordOptions.note);
    Path folder = Files.createTempDirectory("quern-writers");
    List<Map<String, Object>> lines = new ArrayList<>();
    try (SparkSession session =
        SparkSession.builder()
            .master("local[1]")
            .appName("quern-bench writers")
            .config("spark.ui.enabled", "false")
            // Spark's faster reader knows all encodings but byte_stream_split.
            .config("spark.sql.parquet.enableVectorizedReader", "false")
            .getOrCreate()) {
      for (String one : corpora.isEmpty() ? List.of("") : corpora) {
        Input input = input(one, folder);
        progress.println(input.corpus().summary());
        progress.flush();
        lines.addAll(measure(session, contenders, input, folder, progress));
      }
    } finally {
      KernelCommand.delete(folder);
    }
    lines = RecordOptions.withEnvironment(lines, environment);
    recordOptions.finish(lines, table(lines), spec.commandLine().getOut(), progress);
    return 0;
  }

  private Input input(String names, Path folder) throws IOException {
    List<Path> files =
        Arrays.stream(names.split(",")).filter(name -> !name.isEmpty()).map(Path::of).toList();
    Corpus corpus =
        Corpus.read(
            files,
            new Corpus.Options("text", false, megabytes * 1_000_000L, 0),
            Files.createTempFile(folder, "corpus", ".flat"));
    List<UnsafeRow> rows = new ArrayList<>();
    long tokens = 0;
    UnsafeRowWriter writer = new UnsafeRowWriter(2);
    try (NativeTokenizer encoder = NativeTokenizer.load(KernelTask.spec(tokenizer, null));
        Documents.Reader documents = new Documents.Reader(corpus.file())) {
      for (byte[] text = documents.text(); text != null; text = documents.text()) {
        int[] ids = encoder.encode(text).toArray();
        tokens += ids.length;
        writer.reset();
        writer.zeroOutNullBytes();
        UnsafeArrayData array = UnsafeArrayData.fromPrimitiveArray(ids);
        int begin = writer.cursor();
        writer.write(array);
        writer.setOffsetAndSizeFromPreviousCursor(0, begin);
        writer.write(1, ids.length);
        rows.add(writer.getRow().copy());
      }
    }
    int times = (int) Math.max(1, Math.round(megabytes * 1e6 / corpus.bytes()));
    return new Input(corpus, rows, tokens, times);
  }

  private List<Map<String, Object>> measure(
      SparkSession session,
      List<Contender> contenders,
      Input input,
      Path folder,
      PrintWriter progress)
      throws IOException {
    Map<Contender, List<Double>> samples = new LinkedHashMap<>();
    Map<Contender, Long> sizes = new HashMap<>();
    for (Contender contender : contenders) {
      Path file = folder.resolve("file");
      WritersBenchmark.seconds(new OneFile(session, contender, input, file));
      sizes.put(contender, Files.size(file));
      verify(session, contender, input, file);
      samples.put(contender, new ArrayList<>());
    }
    for (int round = 0; round < rounds; round++) {
      for (Contender contender : contenders) {
        double seconds =
            WritersBenchmark.seconds(
                new OneFile(session, contender, input, folder.resolve("file")));
        samples.get(contender).add(input.corpus().bytes() * input.times() / 1e6 / seconds);
      }
      progress.printf("round %d of %d%n", round + 1, rounds);
      progress.flush();
    }
    List<Map<String, Object>> lines = new ArrayList<>();
    for (Contender contender : contenders) {
      Map<String, Object> line = new LinkedHashMap<>();
      line.put("kind", "writers");
      line.put("tool", contender.format().equals("spark") ? "spark" : "quern");
      line.put(
          "tool_version",
          contender.format().equals("spark") ? session.version() : BuildInfo.version());
      line.put("tokenizer", tokenizer);
      line.put("corpus", input.corpus().name());
      line.put("corpus_hash", input.corpus().hash());
      line.put("bytes", input.corpus().bytes());
      line.put("tokens", input.tokens());
      line.put("times", input.times());
      line.put("format", contender.format().equals("arrow") ? "arrow" : "parquet");
      line.put("encoding", contender.encoding());
      line.put("compression", contender.compression());
      line.put("level", contender.level());
      Spread speed = Spread.of(samples.get(contender));
      Record.putSpread(line, "mb_s", speed, 1);
      Record.putTokensPerSecond(line, "mb_s");
      line.put(
          "ids_mb_s",
          Record.rounded(
              speed.median() * input.tokens() * Integer.BYTES / input.corpus().bytes(), 1));
      line.put(
          "bytes_per_token",
          Record.rounded(
              (double) sizes.get(contender) / ((double) input.tokens() * input.times()), 3));
      line.put("rounds", rounds);
      lines.add(line);
    }
    return lines;
  }

  /** A file as a task of Spark writes it. */
  private static final class OneFile implements WritersBenchmark.Task {
    private final SparkSession session;
    private final Contender contender;
    private final Input input;
    private final Path file;
    private OutputWriterFactory factory;
    private TaskAttemptContextImpl context;

    OneFile(SparkSession session, Contender contender, Input input, Path file) {
      this.session = session;
      this.contender = contender;
      this.input = input;
      this.file = file;
    }

    @Override
    public void prepare() throws IOException {
      Files.deleteIfExists(file);
      Files.deleteIfExists(file.resolveSibling("." + file.getFileName() + ".crc"));
      scala.collection.immutable.Map<String, String> options =
          Map$.MODULE$.from(CollectionConverters.asScala(contender.options()));
      Job job =
          Job.getInstance(
              ((org.apache.spark.sql.classic.SparkSession) session)
                  .sessionState()
                  .newHadoopConfWithOptions(options));
      factory = contender.writer().prepareWrite(session, job, options, SCHEMA);
      context = new TaskAttemptContextImpl(job.getConfiguration(), new TaskAttemptID());
    }

    @Override
    public long write() {
      OutputWriter writer = factory.newInstance(file.toString(), SCHEMA, context);
      for (int i = 0; i < input.times(); i++) {
        for (InternalRow row : input.rows()) {
          writer.write(row);
        }
      }
      writer.close();
      return (long) input.times() * input.rows().size();
    }
  }

  /** Reads a file, all columns, and compares. */
  private static void verify(SparkSession session, Contender contender, Input input, Path file) {
    Iterator<Row> found =
        session
            .read()
            .format(contender.format().equals("arrow") ? "quern_arrow" : "parquet")
            .load(file.toString())
            .toLocalIterator();
    for (int i = 0; i < input.times(); i++) {
      for (UnsafeRow row : input.rows()) {
        int[] ids = row.getArray(0).toIntArray();
        Row read = found.hasNext() ? found.next() : null;
        if (read == null || read.getInt(1) != ids.length || !equal(read.getList(0), ids)) {
          throw new BenchException(
              BenchException.WRONG_RESULT,
              contender + ": the file does not give back the ids that were written; report it");
        }
      }
    }
    if (found.hasNext()) {
      throw new BenchException(
          BenchException.WRONG_RESULT, contender + ": the file has more rows than were written");
    }
  }

  private static boolean equal(List<Integer> found, int[] ids) {
    if (found.size() != ids.length) {
      return false;
    }
    int at = 0;
    for (int id : found) {
      if (id != ids[at++]) {
        return false;
      }
    }
    return true;
  }

  private static String table(List<Map<String, Object>> lines) {
    StringBuilder table = new StringBuilder();
    table.append(
        String.format(
            "%-18s %-34s %24s %10s %12s%n",
            "corpus", "writer", "MB/s of text", "ids MB/s", "bytes/token"));
    for (Map<String, Object> line : lines) {
      table.append(
          String.format(
              Locale.ROOT,
              "%-18s %-34s %24s %10.1f %12.3f%n",
              line.get("corpus"),
              Stream.of("tool", "format", "encoding", "compression", "level")
                  .map(line::get)
                  .filter(value -> value != null)
                  .map(Object::toString)
                  .reduce((a, b) -> a + " " + b)
                  .orElse(""),
              String.format(
                  Locale.ROOT,
                  "%.1f (%.1f - %.1f)",
                  line.get("mb_s"),
                  line.get("mb_s_min"),
                  line.get("mb_s_max")),
              line.get("ids_mb_s"),
              line.get("bytes_per_token")));
    }
    return table.toString();
  }
}
