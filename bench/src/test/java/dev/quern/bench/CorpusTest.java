package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.GZIPOutputStream;
import org.apache.parquet.conf.PlainParquetConfiguration;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroup;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.io.LocalOutputFile;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CorpusTest {
  private static final Corpus.Options DEFAULTS = new Corpus.Options("text", false, 0, 0);

  @TempDir private Path folder;

  private List<String> read(Corpus.Options options, Path... inputs) throws Exception {
    Corpus corpus = Corpus.read(List.of(inputs), options, folder.resolve("flat"));
    List<String> texts = new ArrayList<>();
    try (Documents.Reader reader = new Documents.Reader(corpus.file())) {
      for (byte[] utf8 = reader.text(); utf8 != null; utf8 = reader.text()) {
        texts.add(new String(utf8, StandardCharsets.UTF_8));
      }
    }
    assertThat(corpus.documents()).isEqualTo(texts.size());
    assertThat(corpus.bytes())
        .isEqualTo(texts.stream().mapToLong(t -> t.getBytes(StandardCharsets.UTF_8).length).sum());
    return texts;
  }

  private Path write(String name, String content) throws Exception {
    return Files.writeString(folder.resolve(name), content);
  }

  @Test
  void theSampleIsThereWithoutAnyArgument() throws Exception {
    assertThat(read(DEFAULTS)).hasSizeGreaterThan(100);
  }

  @Test
  void jsonLinesTextAndGzip() throws Exception {
    Path json =
        write("a.jsonl", "{\"text\":\"é\\n\",\"id\":1}\n\n{\"text\":null}\n{\"text\":\"\"}\n");
    assertThat(read(DEFAULTS, json)).containsExactly("é\n", "");
    Path text = write("b.txt", "one\r\n\ntwo");
    assertThat(read(DEFAULTS, text)).containsExactly("one", "", "two");
    assertThat(read(new Corpus.Options("text", true, 0, 0), text)).containsExactly("one\r\n\ntwo");
    ByteArrayOutputStream gzip = new ByteArrayOutputStream();
    try (GZIPOutputStream out = new GZIPOutputStream(gzip)) {
      out.write("{\"body\":\"x\"}".getBytes(StandardCharsets.UTF_8));
    }
    Path packed = Files.write(folder.resolve("c.json.gz"), gzip.toByteArray());
    assertThat(read(new Corpus.Options("body", false, 0, 0), packed)).containsExactly("x");
  }

  @Test
  void parquetAndItsNulls() throws Exception {
    Path inputs = Files.createDirectory(folder.resolve("inputs"));
    MessageType schema =
        MessageTypeParser.parseMessageType(
            "message m { required int64 id; optional binary text (STRING); }");
    try (ParquetWriter<Group> writer =
        ExampleParquetWriter.builder(new LocalOutputFile(inputs.resolve("part-0.parquet")))
            .withConf(new PlainParquetConfiguration())
            .withType(schema)
            .withCompressionCodec(CompressionCodecName.SNAPPY)
            .build()) {
      for (int i = 0; i < 5; i++) {
        Group row = new SimpleGroup(schema);
        row.add("id", (long) i);
        if (i != 2) {
          row.add("text", "ключ " + i);
        }
        writer.write(row);
      }
    }
    Files.writeString(inputs.resolve("_SUCCESS"), "");
    assertThat(read(DEFAULTS, inputs)).containsExactly("ключ 0", "ключ 1", "ключ 3", "ключ 4");
    // 11 bytes each: the third would exceed the limit.
    assertThat(read(new Corpus.Options("text", false, 25, 0), inputs)).hasSize(2);
    assertThatThrownBy(() -> read(new Corpus.Options("txt", false, 0, 0), inputs))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("no column txt but id, text")
        .hasMessageContaining("--text-column");
    assertThatThrownBy(() -> read(new Corpus.Options("id", false, 0, 0), inputs))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("not text");
  }

  @Test
  void documentsAreCutBetweenCharacters() throws Exception {
    Path text = write("a.txt", "abcdefg\n\nаяаяа\n😀a\nabcdef");
    // At three bytes, or where the character ends that is there; the rest may be short.
    assertThat(read(new Corpus.Options("text", false, 0, 3), text))
        .containsExactly("abc", "def", "g", "", "ая", "ая", "а", "😀", "a", "abc", "def");
  }

  @Test
  void whatCantBeReadIsNamedAndNotEchoed() throws Exception {
    assertThatThrownBy(() -> read(DEFAULTS, folder.resolve("nowhere")))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("nowhere");
    assertThatThrownBy(() -> read(DEFAULTS, write("d.jsonl", "{\"text\":\"a\"}\nsecret")))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("line 2")
        .hasMessageNotContaining("secret");
    Path invalid = Files.write(folder.resolve("e.txt"), new byte[] {'a', '\n', (byte) 0xff});
    assertThatThrownBy(() -> read(DEFAULTS, invalid))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("document 1 is not valid UTF-8");
    assertThatThrownBy(() -> read(DEFAULTS, write("f.jsonl", "")))
        .isInstanceOf(BenchException.class)
        .hasMessageContaining("no documents");
  }

  @Test
  void idsComeBackAsTheyWereWritten() throws Exception {
    Path file = folder.resolve("ids");
    Documents.Writer writer = new Documents.Writer(file);
    try (writer) {
      writer.ids(new int[] {1, -1, 200_000});
      writer.ids(new int[0]);
      writer.ids(new int[100_000]);
    }
    // SHA-256 of the file: anybody can make the hash again.
    byte[] digest =
        java.security.MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file));
    assertThat(writer.hash()).isEqualTo(java.util.HexFormat.of().formatHex(digest));
    try (Documents.Reader reader = new Documents.Reader(file)) {
      assertThat(reader.ids()).containsExactly(1, -1, 200_000);
      assertThat(reader.ids()).isEmpty();
      assertThat(reader.ids()).hasSize(100_000);
      assertThat(reader.ids()).isNull();
    }
  }
}
