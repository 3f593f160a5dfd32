package dev.quern.bench;

import com.fasterxml.jackson.core.type.TypeReference;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.parquet.conf.PlainParquetConfiguration;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroupFactory;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.io.LocalOutputFile;
import org.apache.parquet.schema.LogicalTypeAnnotation;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName;
import org.apache.parquet.schema.Types;

/**
 * The input of the pipelines: a corpus, as many times as it takes to have the bytes that are
 * wanted. Each copy of a document begins with a line of its own, so that no two are equal, and all
 * are mixed, so that every file and every task has text of every kind.
 *
 * @param folder of the Parquet files: id, from 0, and text; zstd, one row group each, of about 22.5
 *     MB of text where that makes more than 8
 * @param flat the same documents as a flat file ({@link Documents}), in the same order, for the
 *     kernel
 * @param documents how many
 * @param bytes of UTF-8 in them
 * @param hash SHA-256 of the flat file
 */
record PipelineInput(Path folder, Path flat, int documents, long bytes, String hash) {
  private static final int LEAST_FILES = 8;
  private static final long FILE_BYTES = 22_500_000;
  private static final long SEED = 20_250_101;

  private static final MessageType SCHEMA =
      Types.buildMessage()
          .required(PrimitiveTypeName.INT64)
          .named("id")
          .optional(PrimitiveTypeName.BINARY)
          .as(LogicalTypeAnnotation.stringType())
          .named("text")
          .named("documents");

  /**
   * The input of about so many bytes from the corpus, kept in {@code folder} and made when it is
   * not there.
   */
  static PipelineInput of(Corpus corpus, long bytes, Path folder) throws IOException {
    int parts = (int) Math.max(LEAST_FILES, Math.round((double) bytes / FILE_BYTES));
    Path own =
        folder.resolve("input-" + corpus.hash().substring(0, 12) + "-" + bytes + "-in-" + parts);
    Path made = own.resolve("made.json");
    Path files = own.resolve("documents");
    Path flat = own.resolve("documents.flat");
    if (!Files.exists(made)) {
      if (Files.exists(own)) {
        KernelCommand.delete(own);
      }
      Files.createDirectories(files);
      KernelTask.JSON.writeValue(made.toFile(), write(corpus, bytes, parts, files, flat));
    }
    Map<String, Object> known =
        KernelTask.JSON.readValue(
            made.toFile(), new TypeReference<LinkedHashMap<String, Object>>() {});
    return new PipelineInput(
        files,
        flat,
        ((Number) known.get("documents")).intValue(),
        ((Number) known.get("bytes")).longValue(),
        (String) known.get("hash"));
  }

  /** A document of the corpus, and which copy of it. */
  private record Copy(int number, int document) {
    byte[] text(List<byte[]> texts) {
      byte[] line =
          ("Copy " + number + ", document " + document + "\n").getBytes(StandardCharsets.UTF_8);
      byte[] text = texts.get(document);
      byte[] whole = new byte[line.length + text.length];
      System.arraycopy(line, 0, whole, 0, line.length);
      System.arraycopy(text, 0, whole, line.length, text.length);
      return whole;
    }
  }

  private static Map<String, Object> write(
      Corpus corpus, long bytes, int parts, Path files, Path flat) throws IOException {
    List<byte[]> texts = new ArrayList<>();
    try (Documents.Reader reader = new Documents.Reader(corpus.file())) {
      for (byte[] text = reader.text(); text != null; text = reader.text()) {
        texts.add(text);
      }
    }
    List<Copy> copies = new ArrayList<>();
    long all = 0;
    for (int number = 0; all < bytes; number++) {
      // The last copy is only a part of the corpus: a mixed one, too.
      List<Copy> round = new ArrayList<>();
      for (int document = 0; document < texts.size(); document++) {
        round.add(new Copy(number, document));
      }
      Collections.shuffle(round, new Random(SEED + number));
      for (Copy copy : round) {
        if (all < bytes) {
          copies.add(copy);
          all += copy.text(texts).length;
        }
      }
    }
    Collections.shuffle(copies, new Random(SEED));
    SimpleGroupFactory groups = new SimpleGroupFactory(SCHEMA);
    String hash;
    try (Documents.Writer out = new Documents.Writer(flat)) {
      for (int file = 0; file < parts; file++) {
        Path path = files.resolve(String.format("part-%05d.zstd.parquet", file));
        try (ParquetWriter<Group> writer =
            ExampleParquetWriter.builder(new LocalOutputFile(path))
                .withConf(new PlainParquetConfiguration())
                .withType(SCHEMA)
                .withCompressionCodec(CompressionCodecName.ZSTD)
                .build()) {
          int begin = (int) ((long) copies.size() * file / parts);
          int end = (int) ((long) copies.size() * (file + 1) / parts);
          for (int id = begin; id < end; id++) {
            byte[] text = copies.get(id).text(texts);
            out.text(text);
            writer.write(
                groups
                    .newGroup()
                    .append("id", (long) id)
                    .append("text", org.apache.parquet.io.api.Binary.fromConstantByteArray(text)));
          }
        }
      }
      out.close();
      hash = out.hash();
    }
    Map<String, Object> made = new LinkedHashMap<>();
    made.put("documents", copies.size());
    made.put("bytes", all);
    made.put("hash", hash);
    return made;
  }
}
