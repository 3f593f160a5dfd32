package dev.quern.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.api.ReadSupport;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.apache.parquet.io.InputFile;
import org.apache.parquet.io.LocalInputFile;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.PrimitiveType;
import org.apache.parquet.schema.Type;

/**
 * The documents of a measurement, read once and written as one flat file for all contenders, so
 * that no contender's process carries a Parquet reader in its memory.
 *
 * @param name the files' names, or "sample"
 * @param file the flat file ({@link Documents})
 * @param documents how many; those without a text are left out
 * @param bytes of UTF-8 in all
 * @param hash SHA-256 of the flat file
 * @param cut about how many bytes documents were cut to; 0: they are as they were
 */
record Corpus(String name, Path file, long documents, long bytes, String hash, int cut) {
  /** For people. */
  String summary() {
    return String.format(
        Locale.ROOT, "%s: %d documents, %.1f MB, SHA-256 %s", name, documents, bytes / 1e6, hash);
  }

  /** The corpus that ships with quern-job. */
  static final String SAMPLE = "/dev/quern/job/sample/documents.jsonl";

  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * How to read.
   *
   * @param textColumn the column or field that holds the text
   * @param wholeFile a plain text file is one document, else every line is
   * @param byteLimit stop before the document that would exceed it; 0 for no limit
   * @param cut cut documents at the first character boundary at or after so many bytes; 0: don't
   */
  record Options(String textColumn, boolean wholeFile, long byteLimit, int cut) {}

  /** Reads files and folders (of files with a known ending), or the sample when there are none. */
  static Corpus read(List<Path> inputs, Options options, Path flatFile) {
    List<Path> files = new ArrayList<>();
    for (Path input : inputs) {
      files.addAll(filesOf(input));
    }
    Sink sink = new Sink(options.byteLimit(), options.cut());
    try {
      try (Documents.Writer writer = new Documents.Writer(flatFile)) {
        sink.writer = writer;
        if (inputs.isEmpty()) {
          try (InputStream sample = Corpus.class.getResourceAsStream(SAMPLE)) {
            if (sample == null) {
              throw new BenchException(
                  BenchException.INPUT,
                  "the sample corpus is not on the class path ("
                      + SAMPLE
                      + " of quern-job): build quern-job, or name a corpus with --corpus");
            }
            readJsonLines("the sample", sample, options.textColumn(), sink);
          }
        }
        for (Path file : files) {
          if (!sink.full) {
            readFile(file, options, sink);
          }
        }
      }
    } catch (IOException e) {
      throw new BenchException(
          BenchException.INPUT, "the corpus can't be read: " + e.getMessage(), e);
    }
    if (sink.documents == 0) {
      throw new BenchException(
          BenchException.INPUT, "the corpus has no documents: choose another with --corpus");
    }
    String name =
        inputs.isEmpty()
            ? "sample"
            : String.join(",", inputs.stream().map(p -> p.getFileName().toString()).toList());
    return new Corpus(
        name, flatFile, sink.documents, sink.bytes, sink.writer.hash(), options.cut());
  }

  /** Counts and writes documents until the limit is met. */
  private static final class Sink {
    final long byteLimit;
    final int cut;
    Documents.Writer writer;
    long documents;
    long bytes;
    boolean full;

    Sink(long byteLimit, int cut) {
      this.byteLimit = byteLimit;
      this.cut = cut;
    }

    void add(String where, long row, byte[] utf8) throws IOException {
      try {
        StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(utf8));
      } catch (CharacterCodingException e) {
        // Contenders treat invalid bytes differently; a comparison over them would say nothing.
        throw new BenchException(
            BenchException.INPUT,
            where + ", document " + row + " is not valid UTF-8: repair it or leave it out");
      }
      if (byteLimit > 0 && bytes + utf8.length > byteLimit) {
        full = true;
        return;
      }
      bytes += utf8.length;
      int begin = 0;
      while (cut > 0 && utf8.length - begin > cut) {
        int end = begin + cut;
        while (end < utf8.length && (utf8[end] & 0xC0) == 0x80) {
          end++; // within a character
        }
        write(Arrays.copyOfRange(utf8, begin, end));
        begin = end;
      }
      if (begin == 0 || begin < utf8.length) {
        write(begin == 0 ? utf8 : Arrays.copyOfRange(utf8, begin, utf8.length));
      }
    }

    private void write(byte[] utf8) throws IOException {
      writer.text(utf8);
      documents++;
    }
  }

  private static List<Path> filesOf(Path input) {
    if (Files.isRegularFile(input)) {
      return List.of(input);
    }
    if (!Files.isDirectory(input)) {
      throw new BenchException(
          BenchException.INPUT, "--corpus " + input + ": there is no such file or folder");
    }
    try (Stream<Path> entries = Files.list(input)) {
      return entries
          .filter(p -> Files.isRegularFile(p) && !p.getFileName().toString().matches("[._].*"))
          .sorted()
          .toList();
    } catch (IOException e) {
      throw new BenchException(BenchException.INPUT, "--corpus " + input + " can't be listed", e);
    }
  }

  private static void readFile(Path file, Options options, Sink sink) throws IOException {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    if (name.endsWith(".parquet")) {
      readParquet(file, options.textColumn(), sink);
      return;
    }
    boolean gzip = name.endsWith(".gz");
    String plain = gzip ? name.substring(0, name.length() - 3) : name;
    try (InputStream raw = Files.newInputStream(file);
        InputStream in = gzip ? new GZIPInputStream(raw) : raw) {
      if (plain.matches(".*\\.(jsonl|ndjson|json)")) {
        readJsonLines(file.toString(), in, options.textColumn(), sink);
      } else if (options.wholeFile()) {
        sink.add(file.toString(), 0, in.readAllBytes());
      } else {
        readLines(file.toString(), in, sink);
      }
    }
  }

  private static void readJsonLines(String where, InputStream in, String textColumn, Sink sink)
      throws IOException {
    BufferedReader lines = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
    long row = 0;
    for (String line = lines.readLine(); line != null && !sink.full; line = lines.readLine()) {
      if (line.isBlank()) {
        continue;
      }
      JsonNode object;
      try {
        object = JSON.readTree(line);
      } catch (IOException e) {
        throw new BenchException(
            BenchException.INPUT,
            where + ", line " + (row + 1) + " is not a JSON object: a corpus has one on every line",
            e);
      }
      JsonNode text = object.get(textColumn);
      if (text == null) {
        List<String> fields = new ArrayList<>();
        object.fieldNames().forEachRemaining(fields::add);
        throw noSuchColumn(where + ", line " + (row + 1), textColumn, fields);
      }
      if (!text.isNull()) {
        sink.add(where, row, text.asText().getBytes(StandardCharsets.UTF_8));
      }
      row++;
    }
  }

  /** Lines end with \n; a \r before it stays out, as in Spark's text source. */
  private static void readLines(String where, InputStream in, Sink sink) throws IOException {
    byte[] all = in.readAllBytes();
    long row = 0;
    for (int begin = 0; begin < all.length && !sink.full; row++) {
      int end = begin;
      while (end < all.length && all[end] != '\n') {
        end++;
      }
      int textEnd = end > begin && all[end - 1] == '\r' ? end - 1 : end;
      sink.add(where, row, Arrays.copyOfRange(all, begin, textEnd));
      begin = end + 1;
    }
  }

  private static void readParquet(Path file, String textColumn, Sink sink) throws IOException {
    InputFile input = new LocalInputFile(file);
    MessageType schema;
    try (ParquetFileReader reader = ParquetFileReader.open(input)) {
      schema = reader.getFileMetaData().getSchema();
    }
    if (!schema.containsField(textColumn)) {
      throw noSuchColumn(
          file.toString(), textColumn, schema.getFields().stream().map(Type::getName).toList());
    }
    Type column = schema.getType(textColumn);
    if (!column.isPrimitive()
        || column.isRepetition(Type.Repetition.REPEATED)
        || column.asPrimitiveType().getPrimitiveTypeName()
            != PrimitiveType.PrimitiveTypeName.BINARY) {
      throw new BenchException(
          BenchException.INPUT,
          file + ": column " + textColumn + " is not text: name a string column, --text-column");
    }
    try (ParquetReader<Group> rows =
        new OneColumn(input, new MessageType("text", column)).build()) {
      long row = 0;
      for (Group group = rows.read(); group != null && !sink.full; group = rows.read()) {
        if (group.getFieldRepetitionCount(0) > 0) {
          sink.add(file.toString(), row, group.getBinary(0, 0).getBytes());
        }
        row++;
      }
    }
  }

  /** A reader of parquet-hadoop's plain groups, for one column of the file. */
  private static final class OneColumn extends ParquetReader.Builder<Group> {
    OneColumn(InputFile file, MessageType schema) {
      super(file);
      set(ReadSupport.PARQUET_READ_SCHEMA, schema.toString());
    }

    @Override
    protected ReadSupport<Group> getReadSupport() {
      return new GroupReadSupport();
    }
  }

  private static BenchException noSuchColumn(String where, String column, List<String> columns) {
    return new BenchException(
        BenchException.INPUT,
        where
            + ": there is no column "
            + column
            + " but "
            + String.join(", ", columns)
            + ": name the one that holds the text with --text-column");
  }
}
