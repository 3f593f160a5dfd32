package dev.quern.job;

import dev.quern.job.TokenizeOptions.InputFormat;
import dev.quern.job.TokenizeSettings.Layout;
import dev.quern.sql.QuernConf;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.HadoopReadOptions;
import org.apache.parquet.hadoop.Footer;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.metadata.BlockMetaData;
import org.apache.parquet.hadoop.metadata.ColumnChunkMetaData;
import org.apache.parquet.hadoop.metadata.ParquetMetadata;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.spark.SparkThrowable;
import org.apache.spark.sql.Column;
import org.apache.spark.sql.DataFrameReader;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.catalyst.util.CaseInsensitiveMap;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.execution.datasources.FileIndex;
import org.apache.spark.sql.execution.datasources.HadoopFsRelation;
import org.apache.spark.sql.execution.datasources.LogicalRelation;
import org.apache.spark.sql.execution.datasources.PathFilterFactory;
import org.apache.spark.sql.execution.datasources.PathFilterStrategy;
import org.apache.spark.sql.execution.datasources.parquet.ParquetFileFormat;
import org.apache.spark.sql.execution.datasources.parquet.ParquetOptions;
import org.apache.spark.sql.execution.datasources.parquet.ParquetToSparkSchemaConverter;
import org.apache.spark.sql.functions;
import org.apache.spark.sql.internal.SQLConf;
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
 * @param paths what is read, globs resolved; of a table, its files
 * @param files how many files; 0 if it is not made of files
 * @param bytes of these; -1 if not known
 * @param textPerByte bytes of text in a byte of the files, estimated
 * @param largestPart bytes of the files in the largest part that Spark can't split, estimated; 0 if
 *     it can split as it likes
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
    long largestPart) {

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

  private static final int ROWS_WORTH_SPREADING = 100;

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

    /**
     * The files of the paths and their bytes, in folders at any depth; none that Spark leaves out.
     */
    private final Map<Path, Long> dataFiles = new LinkedHashMap<>();

    /** Whether a folder has one of the summaries that Parquet had once. */
    private boolean summaries;

    /** Of the Parquet files that were looked at. */
    private final Map<Path, ParquetMetadata> footers = new HashMap<>();

    private final List<PathFilterStrategy> filters;
    private InputFormat format;

    Reader(SparkSession session, TokenizeOptions options) {
      this.session = session;
      this.options = options;
      this.conf = session.sessionState().newHadoopConf();
      // pathGlobFilter, modifiedBefore, modifiedAfter.
      this.filters =
          CollectionConverters.asJava(
              PathFilterFactory.create(new CaseInsensitiveMap<>(scalaMap(options.inputOptions()))));
    }

    private static scala.collection.immutable.Map<String, String> scalaMap(
        Map<String, String> map) {
      return scala.collection.immutable.Map$.MODULE$.from(CollectionConverters.asScala(map));
    }

    Corpus read() throws IOException {
      format = options.inputFormat();
      Dataset<Row> source;
      if (format == InputFormat.TABLE) {
        if (options.input().size() > 1) {
          throw JobException.usage("--input-format table takes one --input, the table's name");
        }
        source = session.table(options.input().get(0));
        paths.addAll(filesOf(source));
      } else {
        resolvePaths();
        source = load();
        checkAllAreRead(source);
      }
      return select(source);
    }

    private void resolvePaths() throws IOException {
      Set<Path> found = new LinkedHashSet<>();
      for (String uri : options.input()) {
        try {
          found.addAll(resolve(uri));
        } catch (JobException e) {
          throw e;
        } catch (RuntimeException | LinkageError e) {
          // Hadoop throws both where the class of a file system, or what it needs, is missing.
          throw JobException.refused("can't read --input " + uri + ": " + firstLine(e), e);
        }
      }
      for (Path path : found) {
        for (Path at = path.getParent(); at != null; at = at.getParent()) {
          if (found.contains(at)) {
            throw JobException.refused(
                "the input "
                    + path
                    + " lies in the input "
                    + at
                    + ", and would be read twice; leave one of them out of --input");
          }
        }
      }
      paths.addAll(found);
      if (format == null) {
        format = inferFormat();
      }
      if (options.wholeFile() && format != InputFormat.TEXT) {
        throw JobException.usage("--whole-file is for text files, not for " + format);
      }
    }

    /** The files and folders of one --input; lists the files in them, as Spark takes them. */
    private List<Path> resolve(String uri) throws IOException {
      Path path;
      try {
        path = new Path(uri);
      } catch (IllegalArgumentException e) {
        throw JobException.refused("--input '" + uri + "' is not a path: " + e.getMessage());
      }
      FileSystem files = path.getFileSystem(conf);
      FileStatus[] matches = files.globStatus(path);
      if (matches == null || matches.length == 0) {
        throw JobException.refused("the input " + files.makeQualified(path) + " does not exist");
      }
      List<Path> found = new ArrayList<>();
      for (FileStatus match : matches) {
        if (isHidden(match.getPath(), path)) {
          continue;
        }
        Path root = files.makeQualified(match.getPath());
        found.add(root);
        list(files, match);
      }
      if (found.isEmpty()) {
        throw JobException.refused(
            "the input " + uri + " has hidden files only (names with _ or . in front)");
      }
      return found;
    }

    /**
     * Folder by folder, as Spark lists them: Hadoop's own listing of a whole tree starts a process
     * for each local file, to ask for its owner.
     */
    private void list(FileSystem files, FileStatus at) throws IOException {
      if (!at.isDirectory()) {
        if (filters.stream().allMatch(filter -> filter.accept(at))) {
          dataFiles.put(files.makeQualified(at.getPath()), at.getLen());
        }
        return;
      }
      for (FileStatus inside : files.listStatus(at.getPath())) {
        String name = inside.getPath().getName();
        summaries |= name.equals("_metadata") || name.equals("_common_metadata");
        if (!isHidden(name)) {
          list(files, inside);
        }
      }
    }

    /** Whether a glob has matched a hidden name that is not spelt out in it. */
    private static boolean isHidden(Path match, Path glob) {
      for (; match != null && glob != null; match = match.getParent(), glob = glob.getParent()) {
        if (isHidden(match.getName()) && !match.getName().equals(glob.getName())) {
          return true;
        }
      }
      return false;
    }

    /** Names that Spark leaves out. */
    private static boolean isHidden(String name) {
      return name.startsWith(".")
          || (name.startsWith("_") && !name.contains("="))
          || name.endsWith("._COPYING_");
    }

    private InputFormat inferFormat() {
      if (dataFiles.isEmpty()) {
        throw JobException.refused("the input " + paths.get(0) + " has no files");
      }
      Path first = dataFiles.keySet().iterator().next();
      InputFormat inferred = formatOf(first);
      for (Path file : dataFiles.keySet()) {
        if (formatOf(file) != inferred) {
          throw JobException.refused(
              "the names of "
                  + first
                  + " and "
                  + file
                  + " do not say one format; choose files by a glob or by --input-option"
                  + " pathGlobFilter=*.parquet, or say --input-format if they have the same");
        }
      }
      if (inferred == null) {
        throw JobException.refused(
            "the name of "
                + first
                + " does not say which format it has; say --input-format parquet, orc, json, csv or"
                + " text");
      }
      return inferred;
    }

    /** What the file's name ends with; null if that says nothing. */
    private static InputFormat formatOf(Path file) {
      List<String> parts =
          new ArrayList<>(Arrays.asList(file.getName().toLowerCase(Locale.ROOT).split("\\.")));
      if (COMPRESSED.contains(parts.get(parts.size() - 1))) {
        parts.remove(parts.size() - 1);
      }
      return parts.size() < 2 ? null : EXTENSIONS.get(parts.get(parts.size() - 1));
    }

    private static List<Path> filesOf(Dataset<Row> source) {
      return Arrays.stream(source.inputFiles())
          .map(file -> new Path(java.net.URI.create(file)))
          .toList();
    }

    /** Spark reads the folders in a folder only if they stand for partition columns. */
    private void checkAllAreRead(Dataset<Row> source) {
      Set<Path> left = new LinkedHashSet<>(dataFiles.keySet());
      filesOf(source).forEach(left::remove);
      if (!left.isEmpty()) {
        throw JobException.refused(
            "Spark would leave out "
                + left.iterator().next()
                + " ("
                + left.size()
                + " of "
                + dataFiles.size()
                + " files), which is in a folder inside the input; name such folders (--input"
                + " 'docs/*'), or read all with --input-option recursiveFileLookup=true");
      }
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
              // Columns in another order than in the first file are an error, not other columns.
              .option("enforceSchema", mayBeSparks(names.fieldNames()))
              .options(options.inputOptions())
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
        case PARQUET -> {
          StructType schema = parquetSchema();
          return (schema == null ? reader : reader.schema(schema))
              .options(options.inputOptions())
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
     * What Spark would find, by the footer that it would read: it runs a job for that. Null where
     * it looks at more than one footer, adds columns, or may know how to read what can't be read
     * here.
     */
    private StructType parquetSchema() {
      Optional<Path> first = dataFiles.keySet().stream().min(Comparator.comparing(Path::toString));
      SQLConf sql = session.sessionState().conf();
      if (first.isEmpty()
          || summaries
          || new ParquetOptions(scalaMap(options.inputOptions()), sql).mergeSchema()
          || dataFiles.keySet().stream().anyMatch(file -> file.toString().contains("="))) {
        return null;
      }
      try {
        return ParquetFileFormat.readSchemaFromFooter(
            new Footer(first.get(), footer(first.get())), new ParquetToSparkSchemaConverter(sql));
      } catch (Exception e) {
        // Whatever it is, Spark says it better, or can read it.
        return null;
      }
    }

    private ParquetMetadata footer(Path file) throws IOException {
      ParquetMetadata footer = footers.get(file);
      if (footer == null) {
        try (ParquetFileReader reader =
            ParquetFileReader.open(
                HadoopInputFile.fromPath(file, conf), HadoopReadOptions.builder(conf).build())) {
          footer = reader.getFooter();
        }
        footers.put(file, footer);
      }
      return footer;
    }

    /**
     * Whether Spark may have made names itself, which it then does not find in the files: for an
     * empty name (_c0), for those that are there twice (with their position behind).
     */
    private static boolean mayBeSparks(String[] names) {
      Set<String> stems = new TreeSet<>(String.CASE_INSENSITIVE_ORDER);
      for (int i = 0; i < names.length; i++) {
        if (names[i].equals("_c" + i)) {
          return true;
        }
        String position = String.valueOf(i);
        if (names[i].endsWith(position)
            && !stems.add(names[i].substring(0, names[i].length() - position.length()))) {
          return true;
        }
      }
      return false;
    }

    /**
     * Of the columns that are needed only. Types of kept ones must be right for all rows, so that
     * all are looked at; without any, a look at the first lines is enough to find a misspelt name.
     */
    private StructType jsonSchema() {
      StructType found;
      boolean manyLines =
          options.inputOptions().keySet().stream().anyMatch("multiLine"::equalsIgnoreCase);
      if (options.keep().isEmpty() && !manyLines) {
        Dataset<String> lines =
            session.read().options(options.inputOptions()).textFile(uris()).limit(JSON_LINES);
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

    /**
     * In one partition, of which Spark decides what is in it each time it is computed: not moved to
     * others, or those of them that are computed again could lose and double documents.
     */
    private static Dataset<Row> limited(Dataset<Row> rows, long limit) {
      if (limit > Integer.MAX_VALUE - 16) {
        throw JobException.usage("--limit is at most 2147483631");
      }
      return rows.limit((int) limit);
    }

    private void checkType(StructField field) {
      if (options.format() == TokenizeOptions.OutputFormat.ARROW
          && !ArrowRowFile.supports(field.dataType())) {
        throw JobException.refused(
            "--keep "
                + field.name()
                + ": the column is "
                + field.dataType().sql()
                + ", which --format arrow can't have; use --format parquet, or a view without it");
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
      long largestPart = 0;
      if (files > 0 && (layout.row() >= 0 || format == InputFormat.PARQUET)) {
        Footers footers = footers(names, text);
        textPerByte = footers.textPerByte;
        largestPart = footers.largestRowGroup;
      } else if (files > 0) {
        String name = names.get(0).toLowerCase(Locale.ROOT);
        boolean compressed = COMPRESSED.contains(name.substring(name.lastIndexOf('.') + 1));
        boolean whole = compressed || format == InputFormat.CSV || options.wholeFile();
        textPerByte = compressed || format == InputFormat.ORC ? COMPRESSION_RATIO : 1;
        if (whole) {
          // Of a table only the sum is known.
          largestPart =
              dataFiles.values().stream().mapToLong(length -> length).max().orElse(bytes / files);
        }
      }
      if (options.limit() != null) {
        // Its rows stay in their partition, see there.
        largestPart = 0;
      }
      return new Corpus(
          rows, layout, kept, format, List.copyOf(paths), files, bytes, textPerByte, largestPart);
    }

    private record Footers(double textPerByte, long largestRowGroup) {}

    /** Looks at a few files, and takes the others for alike. */
    private Footers footers(List<String> names, String text) {
      long textBytes = 0;
      long fileBytes = 0;
      long largest = 0;
      int read = 0;
      int step = Math.max(1, names.size() / FOOTERS);
      for (int i = 0; i < names.size() && read < FOOTERS; i += step) {
        Path path = new Path(java.net.URI.create(names.get(i)));
        try {
          fileBytes += path.getFileSystem(conf).getFileStatus(path).getLen();
          for (BlockMetaData block : footer(path).getBlocks()) {
            // A few huge documents are not done sooner elsewhere.
            if (block.getRowCount() >= ROWS_WORTH_SPREADING) {
              largest = Math.max(largest, block.getCompressedSize());
            }
            for (ColumnChunkMetaData chunk : block.getColumns()) {
              if (chunk.getPath().toArray()[0].equalsIgnoreCase(text)) {
                textBytes += chunk.getTotalUncompressedSize();
              }
            }
          }
          read++;
        } catch (IOException | RuntimeException e) {
          // It is only an estimate; the run itself says what is wrong with the file.
          return new Footers(COMPRESSION_RATIO, 0);
        }
      }
      return new Footers(
          textBytes == 0 ? COMPRESSION_RATIO : (double) textBytes / fileBytes, largest);
    }
  }

  /**
   * The rows, moved to other partitions first if one that can't be split (gzip, one row group)
   * would hold the run up, and if that is worth it. The shuffle costs about as much as the work
   * that it spreads; above a gigabyte a core it would fill disks, and is left out.
   */
  Dataset<Row> balanced(int cores) {
    return isUneven(cores) && mayMove(cores) ? rows.repartition(cores) : rows;
  }

  /** Rows that are told apart by their place in the file have to stay there. */
  private boolean mayMove(int cores) {
    return layout.blockStart() < 0 && text() <= cores * (double) (1 << 30);
  }

  /** Whether one part of the input is half as much again as what each core has to do, or more. */
  private boolean isUneven(int cores) {
    return text() >= (8 << 20) && largestPart > 1.5 * bytes / cores;
  }

  /** Bytes of text, estimated. */
  private double text() {
    return files == 0 ? 0 : bytes * textPerByte;
  }

  /** What a user should know of input that is uneven; empty if it is not. */
  Optional<String> advice(int cores) {
    if (!isUneven(cores)) {
      return Optional.empty();
    }
    String what =
        "a part of "
            + TokenizeJob.bytes(largestPart)
            + " of the input can't be split (gzip, one Parquet row group, a whole file)";
    return Optional.of(
        mayMove(cores)
            ? what + ": its rows are spread over " + cores + " tasks first"
            : what
                + ", and one core will do it alone; store it in smaller parts"
                + (layout.blockStart() < 0
                    ? ""
                    : ", or --keep a column that tells rows apart, so that they may be spread first"));
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
