package dev.quern.job;

import java.io.Closeable;
import java.io.IOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.Job;
import org.apache.hadoop.mapreduce.TaskAttemptContext;
import org.apache.parquet.bytes.BytesInput;
import org.apache.parquet.bytes.DirectByteBufferAllocator;
import org.apache.parquet.column.ColumnDescriptor;
import org.apache.parquet.column.ColumnWriteStore;
import org.apache.parquet.column.ParquetProperties;
import org.apache.parquet.compression.CompressionCodecFactory.BytesInputCompressor;
import org.apache.parquet.hadoop.CodecFactory;
import org.apache.parquet.hadoop.ColumnChunkPageWriteStore;
import org.apache.parquet.hadoop.ParquetFileWriter;
import org.apache.parquet.hadoop.ParquetOutputFormat;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.api.WriteSupport.WriteContext;
import org.apache.parquet.hadoop.codec.ZstandardCodec;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.hadoop.util.HadoopOutputFile;
import org.apache.parquet.io.ColumnIOFactory;
import org.apache.parquet.io.api.RecordConsumer;
import org.apache.parquet.schema.MessageType;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.ProjectingInternalRow;
import org.apache.spark.sql.execution.datasources.parquet.ParquetFileFormat;
import org.apache.spark.sql.execution.datasources.parquet.ParquetWriteSupport;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.IntegerType;
import org.apache.spark.sql.types.StructType;
import scala.jdk.javaapi.CollectionConverters;

/**
 * A Parquet file. Its token columns, which are those of type {@code array<int>}, are written in
 * bulk ({@link ParquetTokenColumn}); all others by Spark's own encoder, into the same row groups.
 * Pages, their compression, indexes and encryption, and the file around them are Parquet's own.
 *
 * <p>A row group is in memory until it is complete: about {@link #ROW_GROUP_BYTES} a file, as it
 * will stand in the file, and a page of each column ({@link #PAGE_BYTES}). Hadoop's {@code
 * parquet.block.size} and {@code parquet.page.size} change that, also as options of a write.
 */
final class ParquetRowFile implements RowFile {
  /** The default of parquet.block.size; Parquet's own is 128 MiB. */
  static final long ROW_GROUP_BYTES = 32L << 20;

  /**
   * The default of parquet.page.size. Parquet's own is 1 MiB, and each page of it an allocation
   * that G1 takes for humongous, and begins to mark the whole heap for.
   */
  static final int PAGE_BYTES = 256 << 10;

  /** After how many rows the size of the other columns is looked at. */
  private static final int ROWS_UNMEASURED = 64;

  private static final String ENCODING = "quern.parquet.encoding";

  private final MessageType type;
  private final Map<String, String> metadata;
  private final ParquetProperties properties;
  private final long rowGroupBytes;
  private final PageCompressor compressor;
  private final ParquetFileWriter file;

  private final List<ParquetTokenColumn> tokens = new ArrayList<>();

  /** Where the token columns stand in a row. */
  private final List<Integer> ordinals = new ArrayList<>();

  /** The columns that are not; null if there are none. */
  private final Others others;

  private ColumnChunkPageWriteStore pages;
  private int rowGroups;
  private long rowsInGroup;
  private long rows;
  private boolean failed;
  private boolean closed;

  /** How a write's files are opened. */
  private record Files(String compression) implements Opener {
    @Override
    public String extension() {
      return compression.equals("none") ? ".parquet" : "." + compression + ".parquet";
    }

    @Override
    public RowFile open(Path path, TaskAttemptContext context, Map<String, String> metadata)
        throws IOException {
      return new ParquetRowFile(path, context.getConfiguration(), metadata);
    }
  }

  /**
   * Puts what executors have to know into the configuration of the write, on the driver.
   *
   * @param options those of the write; {@link WriteOptions} and what Spark's own format has
   */
  static Opener prepare(
      SparkSession session,
      Job job,
      scala.collection.immutable.Map<String, String> options,
      StructType schema) {
    WriteOptions ours =
        WriteOptions.of(TokenizeOptions.OutputFormat.PARQUET, CollectionConverters.asJava(options));
    // Parquet's first kind of LZ4 is read by few but Hadoop; the second one is by all.
    String codec = ours.compression().equals("lz4") ? "lz4_raw" : ours.compression();
    new ParquetFileFormat()
        .prepareWrite(session, job, options.updated(WriteOptions.COMPRESSION, codec), schema);
    Configuration configuration = job.getConfiguration();
    configuration.set(ENCODING, ours.encoding().name());
    if (ours.level() != null) {
      configuration.setInt(ZstandardCodec.PARQUET_COMPRESS_ZSTD_LEVEL, ours.level());
    }
    return new Files(ours.compression());
  }

  /** A file of rows set aside, in a write for which {@link #prepare} was called. */
  static ParquetRowFile quarantine(Path path, TaskAttemptContext context, StructType schema)
      throws IOException {
    Configuration configuration = new Configuration(context.getConfiguration());
    ParquetWriteSupport.setSchema(schema, configuration);
    return new ParquetRowFile(path, configuration, Map.of());
  }

  /** Whether a column's arrays are written in bulk. */
  static boolean isTokens(DataType type) {
    return type instanceof ArrayType array && array.elementType() instanceof IntegerType;
  }

  private ParquetRowFile(Path path, Configuration configuration, Map<String, String> metadata)
      throws IOException {
    StructType schema =
        (StructType) DataType.fromJson(configuration.get(ParquetWriteSupport.SPARK_ROW_SCHEMA()));
    WriteContext context = new ParquetWriteSupport().init(configuration);
    this.type = context.getSchema();
    this.metadata = new HashMap<>(context.getExtraMetaData());
    this.metadata.putAll(metadata);
    this.properties = properties(configuration);
    this.rowGroupBytes = configuration.getLong(ParquetOutputFormat.BLOCK_SIZE, ROW_GROUP_BYTES);
    IdEncoding encoding = IdEncoding.valueOf(configuration.get(ENCODING));

    List<Object> otherOrdinals = new ArrayList<>();
    StructType otherSchema = new StructType();
    for (int i = 0; i < schema.size(); i++) {
      if (isTokens(schema.apply(i).dataType())) {
        ordinals.add(i);
        tokens.add(
            new ParquetTokenColumn(
                leaf(schema.apply(i).name()),
                encoding,
                properties.getPageSizeThreshold(),
                properties.getPageRowCountLimit()));
      } else {
        otherOrdinals.add(i);
        otherSchema = otherSchema.add(schema.apply(i));
      }
    }
    this.others =
        otherOrdinals.isEmpty() ? null : new Others(configuration, otherSchema, otherOrdinals);

    this.compressor = new PageCompressor(configuration, properties.getPageSizeThreshold());
    this.file =
        new ParquetFileWriter(
            HadoopOutputFile.fromPath(path, configuration),
            type,
            ParquetFileWriter.Mode.CREATE,
            rowGroupBytes,
            ParquetWriter.MAX_PADDING_SIZE_DEFAULT,
            ParquetOutputFormat.createEncryptionProperties(configuration, path, context),
            properties);
    try {
      file.start();
      beginRowGroup();
    } catch (IOException | RuntimeException e) {
      failed = true;
      try {
        close();
      } catch (IOException | RuntimeException second) {
        e.addSuppressed(second);
      }
      throw e;
    }
  }

  /** As ParquetOutputFormat takes them from the configuration, which has no method for it. */
  private static ParquetProperties properties(Configuration configuration) {
    ParquetProperties.Builder builder =
        ParquetProperties.builder()
            .withPageSize(configuration.getInt(ParquetOutputFormat.PAGE_SIZE, PAGE_BYTES))
            .withDictionaryPageSize(ParquetOutputFormat.getDictionaryPageSize(configuration))
            .withDictionaryEncoding(ParquetOutputFormat.getEnableDictionary(configuration))
            .withWriterVersion(ParquetOutputFormat.getWriterVersion(configuration))
            .withMaxBloomFilterBytes(ParquetOutputFormat.getBloomFilterMaxBytes(configuration))
            .withBloomFilterEnabled(ParquetOutputFormat.getBloomFilterEnabled(configuration))
            .withPageWriteChecksumEnabled(
                ParquetOutputFormat.getPageWriteChecksumEnabled(configuration));
    configuration
        .getPropsWithPrefix(ParquetOutputFormat.ENABLE_DICTIONARY + "#")
        .forEach((column, on) -> builder.withDictionaryEncoding(column, Boolean.parseBoolean(on)));
    configuration
        .getPropsWithPrefix(ParquetOutputFormat.BLOOM_FILTER_ENABLED + "#")
        .forEach((column, on) -> builder.withBloomFilterEnabled(column, Boolean.parseBoolean(on)));
    configuration
        .getPropsWithPrefix(ParquetOutputFormat.BLOOM_FILTER_EXPECTED_NDV + "#")
        .forEach((column, count) -> builder.withBloomFilterNDV(column, Long.parseLong(count)));
    return builder.build();
  }

  private ColumnDescriptor leaf(String name) {
    return type.getColumns().stream()
        .filter(column -> column.getPath()[0].equals(name))
        .findFirst()
        .orElseThrow(() -> new IllegalStateException("no column " + name + " in " + type));
  }

  /** The columns that Spark's encoder writes. */
  private final class Others implements Closeable {
    private final ParquetWriteSupport support = new ParquetWriteSupport();
    private final MessageType part;
    private final ProjectingInternalRow view;
    private ColumnWriteStore columns;
    private RecordConsumer consumer;

    Others(Configuration configuration, StructType schema, List<Object> ordinals) {
      Configuration own = new Configuration(configuration);
      ParquetWriteSupport.setSchema(schema, own);
      part = support.init(own).getSchema();
      view =
          ProjectingInternalRow.apply(
              schema, CollectionConverters.asScala(ordinals).toIndexedSeq());
    }

    void begin() {
      columns = properties.newColumnWriteStore(part, pages, pages);
      consumer = new ColumnIOFactory(false).getColumnIO(part).getRecordWriter(columns);
      support.prepareForWrite(consumer);
    }

    void write(InternalRow row) {
      view.project(row);
      support.write(view);
    }

    long bytes() {
      return columns.getBufferedSize();
    }

    void end() {
      // It holds NULLs of nested columns back.
      consumer.flush();
      columns.flush();
      columns.close();
      columns = null;
    }

    @Override
    public void close() {
      if (columns != null) {
        columns.close();
      }
    }
  }

  /**
   * Parquet has two ways to compress a page. By direct memory it is copied less often, but that is
   * kept, and for a page of gigabytes there is none; a large one is compressed in the heap.
   */
  private static final class PageCompressor implements BytesInputCompressor {
    private final CodecFactory direct;
    private final CodecFactory heap;
    private final CompressionCodecName codec;

    PageCompressor(Configuration configuration, int pageBytes) {
      this.codec = ParquetOutputFormat.getCompression(configuration);
      this.heap = new CodecFactory(configuration, pageBytes);
      this.direct =
          CodecFactory.createDirectCodecFactory(
              configuration, new DirectByteBufferAllocator(), pageBytes);
    }

    @Override
    public BytesInput compress(BytesInput page) throws IOException {
      return (page.size() > ParquetTokenColumn.KEPT_BYTES ? heap : direct)
          .getCompressor(codec)
          .compress(page);
    }

    @Override
    public CompressionCodecName getCodecName() {
      return codec;
    }

    @Override
    public void release() {
      direct.release();
      heap.release();
    }
  }

  private void beginRowGroup() {
    pages =
        new ColumnChunkPageWriteStore(
            compressor,
            type,
            properties.getAllocator(),
            properties.getColumnIndexTruncateLength(),
            properties.getPageWriteChecksumEnabled(),
            file.getEncryptor(),
            rowGroups);
    for (ParquetTokenColumn column : tokens) {
      column.begin(pages.getPageWriter(column.descriptor()));
    }
    if (others != null) {
      others.begin();
    }
  }

  @Override
  public void write(InternalRow row) throws IOException {
    try {
      boolean measure = ++rowsInGroup % ROWS_UNMEASURED == 0;
      for (int i = 0; i < tokens.size(); i++) {
        int ordinal = ordinals.get(i);
        measure |= tokens.get(i).write(row.isNullAt(ordinal) ? null : row.getArray(ordinal));
      }
      if (others != null) {
        others.write(row);
      }
      if (measure && bytes() >= rowGroupBytes) {
        endRowGroup();
        beginRowGroup();
      }
    } catch (IOException | RuntimeException | Error e) {
      failed = true;
      throw e;
    }
  }

  private long bytes() {
    long bytes = others == null ? 0 : others.bytes();
    for (ParquetTokenColumn column : tokens) {
      bytes += column.bytes();
    }
    return bytes;
  }

  private void endRowGroup() throws IOException {
    for (ParquetTokenColumn column : tokens) {
      column.end();
    }
    if (others != null) {
      others.end();
    }
    if (rowsInGroup > 0) {
      file.startBlock(rowsInGroup);
      pages.flushToFileWriter(file);
      file.endBlock();
    }
    pages.close();
    pages = null;
    rowGroups++;
    rows += rowsInGroup;
    rowsInGroup = 0;
  }

  @Override
  public void close() throws IOException {
    if (closed) {
      return;
    }
    closed = true;
    try (Closeable freed = compressor::release;
        ParquetFileWriter open = file;
        ColumnChunkPageWriteStore unwritten = pages;
        Others begun = others) {
      // After a failure the task is aborted, which deletes the file: don't make it look complete.
      if (!failed) {
        endRowGroup();
        file.end(metadata);
      }
    }
  }

  @Override
  public long rows() {
    return rows;
  }
}
