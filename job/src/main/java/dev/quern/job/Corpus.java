package dev.quern.job;

import dev.quern.job.TokenizeOptions.InputFormat;
import dev.quern.job.TokenizeSettings.Layout;
import dev.quern.sql.QuernConf;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.metadata.BlockMetaData;
import org.apache.parquet.hadoop.metadata.ColumnChunkMetaData;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.spark.SparkThrowable;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.DataFrameReader;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.execution.datasources.FileIndex;
import org.apache.spark.sql.execution.datasources.HadoopFsRelation;
import org.apache.spark.sql.execution.datasources.LogicalRelation;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.types.BinaryType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import scala.jdk.javaapi.CollectionConverters;

/**
 * The input of a run, checked and ready to be tokenized.
 *
 * @param rows columns as {@link Layout} says: text, those kept, where the row is from
 * @param kept the columns of --keep
 * @param format of the input
 * @param paths what was read, globs resolved; empty for a table
 * @param files how many files; 0 if it is not made of files
 * @param bytes of these; -1 if not known
 * @param textPerByte bytes of text in a byte of the files, estimated
 * @param parts in how many parts Spark can read the files at most, estimated
 */
record Corpus(
    Dataset<Row> rows,
    Layout layout,
    StructType kept,
    InputFormat format,
    List<Path> paths,
    int files,
    long bytes,
    double textPerByte,
    long parts) {

  private static final String TEXT = "__quern_text";
  private static final String FILE = "__quern_file";
  private static final String BLOCK = "__quern_block";
  private static final String ROW = "__quern_row";
  private static final String MALFORMED = "__quern_malformed";
  private static final String CORRUPT_RECORD = "__quern_corrupt_record";

  /** Lines of JSON that are read to see which columns there are. */
  private static final int JSON_LINES = 1000;

  /** Parquet footers that are read to see how much text there is in a file. */
  private static final int FOOTERS = 4;

  private static final Map<String, InputFormat> EXTENSIONS =
      Map.ofEntries(
          Map.entry("parquet", InputFormat.PARQUET),
          Map.entry("pq", InputFormat.PARQUET),
          Map.entry("orc", InputFormat.ORC),
          Map.entry("json", InputFormat.JSON),
          Map.entry("jsonl", InputFormat.JSON),
          Map.entry("ndjson", InputFormat.JSON),
          Map.entry("csv", InputFormat.CSV),
          Map.entry("txt", InputFormat.TEXT),
          Map.entry("text", InputFormat.TEXT),
          Map.entry("md", InputFormat.TEXT));

  private static final Set<String> COMPRESSED =
      Set.of("gz", "gzip", "bz2", "zst", "zstd", "xz", "lz4", "snappy", "deflate");

  /** How much text a compressed byte holds, about, where nothing says it. */
  private static final double COMPRESSION_RATIO = 3;

  /**
   * Opens the input.
   *
   * @throws JobException if it is not there, or has not the columns that the options name
   */
  static Corpus open(SparkSession session, TokenizeOptions options) {
    try {
      return new Reader(session, options).read();
    } catch (IOException e) {
      throw JobException.refused("can't read the input: " + e.getMessage(), e);
    } catch (Exception e) {
      // What Spark itself finds wrong; its AnalysisException is checked, but not declared for Java.
      if (e instanceof SparkThrowable) {
        throw JobException.refused("can't read the input: " + firstLine(e), e);
      }
      throw e;
    }
  }

  static String firstLine(Throwable e) {
    String message = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
    return message.lines().findFirst().orElse(message);
  }

  /** What is known while the input is being opened. */
  private static final class Reader {
    private final SparkSession session;
    private final TokenizeOptions options;
    private final Configuration conf;
    private final List<Path> paths = new ArrayList<>();
    private InputFormat format;

    Reader(SparkSession session, TokenizeOptions options) {
      this.session = session;
      this.options = options;
      this.conf = session.sessionState().newHadoopConf();
    }

    Corpus read() throws IOException {
      format = options.inputFormat();
      Dataset<Row> source;
      if (format == InputFormat.TABLE) {
        if (options.input().size() > 1) {
          throw JobException.usage("--input-format table takes one --input, the table's name");
        }
        source = session.table(options.input().get(0));
      } else {
        resolvePaths();
        source = load();
      }
      return select(source);
    }

    private void resolvePaths() throws IOException {
      Set<InputFormat> formats = EnumSet.noneOf(InputFormat.class);
      for (String uri : options.input()) {
        Path path;
        try {
          path = new Path(uri);
        } catch (IllegalArgumentException e) {
          throw JobException.refused("--input '" + uri + "' is not a path: " + e.getMessage());
        }
        FileSystem files = path.getFileSystem(conf);
        FileStatus[] found = files.globStatus(path);
        if (found == null || found.length == 0) {
          throw JobException.refused("the input " + files.makeQualified(path) + " does not exist");
        }
        for (FileStatus status : found) {
          paths.add(files.makeQualified(status.getPath()));
          if (options.inputFormat() == null) {
            formats.add(inferFormat(files, status));
          }
        }
      }
      if (format == null) {
        if (formats.size() > 1) {
          throw JobException.refused(
              "the input has files of several formats ("
                  + formats.stream().map(String::valueOf).collect(Collectors.joining(", "))
                  + "); run Quern for each, or say --input-format");
        }
        format = formats.iterator().next();
      }
      if (options.wholeFile() && format != InputFormat.TEXT) {
        throw JobException.usage("--whole-file is for text files, not for " + format);
      }
    }

    private InputFormat inferFormat(FileSystem files, FileStatus status) throws IOException {
      FileStatus file = firstFile(files, status);
      if (file == null) {
        throw JobException.refused("the input " + status.getPath() + " has no files");
      }
      List<String> parts =
          new ArrayList<>(
              Arrays.asList(file.getPath().getName().toLowerCase(Locale.ROOT).split("\\.")));
      if (COMPRESSED.contains(parts.get(parts.size() - 1))) {
        parts.remove(parts.size() - 1);
      }
      InputFormat inferred = parts.size() < 2 ? null : EXTENSIONS.get(parts.get(parts.size() - 1));
      if (inferred == null) {
        throw JobException.refused(
            "the name of "
                + file.getPath()
                + " does not say which format it has; say --input-format parquet, orc, json, csv or"
                + " text");
      }
      return inferred;
    }

    /** The first file in a folder that Spark would read: hidden ones are left out. */
    private static FileStatus firstFile(FileSystem files, FileStatus status) throws IOException {
      if (status.isFile()) {
        return status;
      }
      FileStatus[] children = files.listStatus(status.getPath());
      Arrays.sort(children);
      for (FileStatus child : children) {
        String name = child.getPath().getName();
        boolean hidden = name.startsWith(".") || (name.startsWith("_") && !name.contains("="));
        FileStatus file = hidden ? null : firstFile(files, child);
        if (file != null) {
          return file;
        }
      }
      return null;
    }

    private String[] uris() {
      // Escaped, or Spark takes a bracket in a file's name for a glob.
      return paths.stream()
          .map(path -> path.toString().replaceAll("([\\[\\]{}*?\\\\])", "\\\\$1"))
          .toArray(String[]::new);
    }

    private Dataset<Row> load() {
      DataFrameReader reader = session.read().format(format.toString());
      switch (format) {
        case CSV -> {
          // As RFC 4180 has it: names in the first line, quotes doubled, documents of many lines.
          Map<String, String> csv = new LinkedHashMap<>();
          csv.put("header", "true");
          csv.put("multiLine", "true");
          csv.put("escape", "\"");
          // By default Spark drops NUL characters, and takes a quoted empty text for NULL.
          csv.put("charToEscapeQuoteEscaping", "\"");
          csv.put("nullValue", "\u0001NULL\u0001");
          csv.putAll(options.inputOptions());
          StructType names = session.read().options(csv).csv(uris()).schema();
          return reader
              .options(csv)
              .option("columnNameOfCorruptRecord", CORRUPT_RECORD)
              .schema(names.add(CORRUPT_RECORD, DataTypes.StringType))
              .load(uris());
        }
        case JSON -> {
          return reader
              .options(options.inputOptions())
              .option("columnNameOfCorruptRecord", CORRUPT_RECORD)
              .schema(jsonSchema().add(CORRUPT_RECORD, DataTypes.StringType))
              .load(uris());
        }
        case TEXT -> {
          return reader
              .option("wholetext", options.wholeFile())
              .options(options.inputOptions())
              .load(uris());
        }
        default -> {
          return reader.options(options.inputOptions()).load(uris());
        }
      }
    }

    /**
     * Of the columns that are needed only. Types of kept ones must be right for all rows, so that
     * all are looked at; without any, a look at the first lines is enough to find a misspelt name.
     */
    private StructType jsonSchema() {
      StructType found;
      if (options.keep().isEmpty() && !options.inputOptions().containsKey("multiLine")) {
        Dataset<String> lines = session.read().textFile(uris()).limit(JSON_LINES);
        found =
            session
                .read()
                .options(options.inputOptions())
                .option("columnNameOfCorruptRecord", CORRUPT_RECORD)
                .json(session.createDataset(lines.collectAsList(), Encoders.STRING()))
                .schema();
        return needed(found);
      }
      return needed(
          session
              .read()
              .options(options.inputOptions())
              .option("columnNameOfCorruptRecord", CORRUPT_RECORD)
              .json(uris())
              .schema());
    }

    private StructType needed(StructType found) {
      StructType needed =
          new StructType()
              .add(
                  column(found, options.textColumn(), "--text-column").name(),
                  DataTypes.StringType);
      for (String name : options.keep()) {
        StructField field = column(found, name, "--keep");
        if (!needed.contains(field)) {
          needed = needed.add(field.name(), field.dataType());
        }
      }
      return needed;
    }

    private Corpus select(Dataset<Row> source) {
      StructType schema = source.schema();
      String textName = format == InputFormat.TEXT ? "value" : options.textColumn();
      StructField text = column(schema, textName, "--text-column");
      if (!(text.dataType() instanceof StringType) && !(text.dataType() instanceof BinaryType)) {
        throw JobException.refused(
            "the column "
                + text.name()
                + " is "
                + text.dataType().sql()
                + "; --text-column must be STRING or BINARY");
      }
      List<Column> columns = new ArrayList<>();
      columns.add(reference(source, text).as(TEXT));
      StructType kept = new StructType();
      for (String name : options.keep()) {
        StructField field = column(schema, name, "--keep");
        if (TokenColumns.OWN.contains(field.name().toLowerCase(Locale.ROOT))) {
          throw JobException.refused(
              "--keep "
                  + name
                  + ": the output has a column of that name already; rename it in a view, and read that"
                  + " (--input-format table)");
        }
        checkType(field);
        kept = kept.add(field.name(), field.dataType(), field.nullable());
        columns.add(reference(source, field));
      }
      boolean located = options.keep().isEmpty() && hasFiles(source);
      int file = -1;
      int block = -1;
      int row = -1;
      if (located) {
        file = columns.size();
        columns.add(source.col("_metadata.file_path").as(FILE));
        if (knowsRows(source)) {
          row = columns.size();
          columns.add(source.col("_metadata.row_index").as(ROW));
        } else {
          block = columns.size();
          columns.add(source.col("_metadata.file_block_start").as(BLOCK));
        }
      }
      int malformed = -1;
      if (Arrays.asList(schema.fieldNames()).contains(CORRUPT_RECORD)) {
        malformed = columns.size();
        columns.add(source.col(CORRUPT_RECORD).isNotNull().as(MALFORMED));
      }
      Dataset<Row> rows = source.select(columns.toArray(Column[]::new));
      // A limit takes rows from anywhere: how many came before one is lost.
      boolean countRows = options.limit() == null;
      if (options.limit() != null) {
        rows = limited(rows, options.limit());
      }
      Layout layout =
          new Layout(
              text.dataType() instanceof BinaryType,
              kept.size(),
              file,
              block,
              row,
              countRows,
              malformed);
      return measured(source, rows, layout, kept, text.name());
    }

    /** Spark takes the rows of a limit into one partition. */
    private Dataset<Row> limited(Dataset<Row> rows, long limit) {
      if (limit > Integer.MAX_VALUE - 16) {
        throw JobException.usage("--limit is at most 2147483631");
      }
      Dataset<Row> taken = rows.limit((int) limit);
      int parallel = session.sparkContext().defaultParallelism();
      // Below, moving them to other cores costs more than it gains.
      return limit < 10_000 ? taken : taken.repartition((int) Math.max(parallel, limit / 100_000));
    }

    private void checkType(StructField field) {
      if (options.format() == TokenizeOptions.OutputFormat.ARROW
          && ArrowColumns.type(field.dataType(), "UTC").isEmpty()) {
        throw JobException.refused(
            "--keep "
                + field.name()
                + ": the column is "
                + field.dataType().sql()
                + ", which --format arrow can't have; it has "
                + ArrowColumns.SUPPORTED
                + ". Use --format parquet, or a view without it");
      }
    }

    private static Column reference(Dataset<Row> source, StructField field) {
      return source.col("`" + field.name().replace("`", "``") + "`");
    }

    /** The column of that name, found as Spark finds it. */
    private StructField column(StructType schema, String name, String option) {
      boolean caseSensitive = session.sessionState().conf().caseSensitiveAnalysis();
      List<StructField> matches =
          Arrays.stream(schema.fields())
              .filter(
                  field ->
                      caseSensitive
                          ? field.name().equals(name)
                          : field.name().equalsIgnoreCase(name))
              .toList();
      if (matches.size() == 1) {
        return matches.get(0);
      }
      List<String> names =
          Arrays.stream(schema.fieldNames())
              .filter(known -> !known.startsWith("__quern_"))
              .toList();
      if (matches.size() > 1) {
        throw JobException.refused(
            option + " " + name + " is ambiguous: the input has " + String.join(", ", names));
      }
      Optional<String> nearest = QuernConf.nearest(name, names);
      throw JobException.refused(
          option
              + " "
              + name
              + ": the input has no such column"
              + nearest.map(candidate -> "; did you mean " + candidate + "?").orElse("")
              + " (it has "
              + (names.isEmpty() ? "none" : String.join(", ", names))
              + ")");
    }

    private boolean hasFiles(Dataset<Row> source) {
      return format != InputFormat.TABLE || canResolve(source, "_metadata.file_path");
    }

    private boolean knowsRows(Dataset<Row> source) {
      return canResolve(source, "_metadata.row_index");
    }

    private static boolean canResolve(Dataset<Row> source, String column) {
      try {
        source.select(functions.col(column));
        return true;
      } catch (Exception e) {
        if (e instanceof org.apache.spark.sql.AnalysisException) {
          return false;
        }
        throw e;
      }
    }

    private Corpus measured(
        Dataset<Row> source, Dataset<Row> rows, Layout layout, StructType kept, String text) {
      int files = 0;
      long bytes = 0;
      List<String> names = new ArrayList<>();
      LogicalPlan plan =
          ((org.apache.spark.sql.classic.Dataset<Row>) source).queryExecution().analyzed();
      for (LogicalPlan leaf : CollectionConverters.asJava(plan.collectLeaves())) {
        if (leaf instanceof LogicalRelation relation
            && relation.relation() instanceof HadoopFsRelation of) {
          FileIndex index = of.location();
          files += index.inputFiles().length;
          bytes += index.sizeInBytes();
          names.addAll(Arrays.asList(index.inputFiles()));
        } else {
          bytes = -1;
          files = 0;
          break;
        }
      }
      double textPerByte = 1;
      long parts = Long.MAX_VALUE;
      if (files > 0 && (layout.row() >= 0 || format == InputFormat.PARQUET)) {
        Footers footers = footers(names, text);
        textPerByte = footers.textPerByte;
        parts = footers.rowGroups;
      } else if (files > 0) {
        String name = names.get(0).toLowerCase(Locale.ROOT);
        boolean compressed = COMPRESSED.contains(name.substring(name.lastIndexOf('.') + 1));
        boolean whole = compressed || format == InputFormat.CSV || options.wholeFile();
        textPerByte = compressed || format == InputFormat.ORC ? COMPRESSION_RATIO : 1;
        parts = whole ? files : Long.MAX_VALUE;
      }
      return new Corpus(
          rows, layout, kept, format, List.copyOf(paths), files, bytes, textPerByte, parts);
    }

    private record Footers(double textPerByte, long rowGroups) {}

    /** Looks at a few files, and takes the others for alike. */
    private Footers footers(List<String> names, String text) {
      long textBytes = 0;
      long fileBytes = 0;
      long rowGroups = 0;
      int read = 0;
      int step = Math.max(1, names.size() / FOOTERS);
      for (int i = 0; i < names.size() && read < FOOTERS; i += step) {
        Path path = new Path(java.net.URI.create(names.get(i)));
        try (ParquetFileReader reader =
            ParquetFileReader.open(HadoopInputFile.fromPath(path, conf))) {
          fileBytes += path.getFileSystem(conf).getFileStatus(path).getLen();
          for (BlockMetaData block : reader.getFooter().getBlocks()) {
            rowGroups++;
            for (ColumnChunkMetaData chunk : block.getColumns()) {
              if (chunk.getPath().toArray()[0].equalsIgnoreCase(text)) {
                textBytes += chunk.getTotalUncompressedSize();
              }
            }
          }
          read++;
        } catch (IOException | RuntimeException e) {
          // It is only an estimate; the run itself says what is wrong with the file.
          return new Footers(COMPRESSION_RATIO, Long.MAX_VALUE);
        }
      }
      return new Footers(
          textBytes == 0 ? COMPRESSION_RATIO : (double) textBytes / fileBytes,
          Math.max(1, rowGroups * names.size() / read));
    }
  }

  /**
   * The rows, moved to other partitions first if most cores would otherwise have nothing to do: a
   * few files that can't be split (gzip, one row group) and that are worth it. The shuffle costs
   * little beside tokenizing; above a gigabyte a core it would fill disks, and is left out.
   */
  Dataset<Row> balanced(int cores) {
    double text = bytes * textPerByte;
    boolean countsRows = layout.blockStart() >= 0;
    return files == 0
            || countsRows
            || parts * 2 > cores
            || text < (8 << 20)
            || text > cores * (double) (1 << 30)
        ? rows
        : rows.repartition(cores);
  }

  /** What the columns are, for the plan that is printed. */
  static String describe(StructType schema) {
    return Arrays.stream(schema.fields())
        .map(field -> field.name() + " " + sql(field.dataType()))
        .collect(Collectors.joining(", "));
  }

  private static String sql(DataType type) {
    return type.sql();
  }
}
