package dev.quern.bench;

import com.knuddels.jtokkit.Encodings;
import com.knuddels.jtokkit.api.EncodingType;
import com.knuddels.jtokkit.api.IntArrayList;
import dev.quern.tokenizer.LibraryOptions;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.QuernLibrary;
import dev.quern.tokenizer.RawBatch;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.function.Supplier;

/** A tool that runs in this JVM, with the documents in the form that it likes best. */
interface Encoding extends AutoCloseable {
  /** Reads the tokenizer and makes it ready; timed. */
  void load();

  /**
   * Encodes documents from (inclusive) to (exclusive) as the tool's users do for speed, keeps the
   * ids and returns their number; from several threads at a time, for ranges that don't overlap.
   */
  long encode(int from, int to);

  /** The ids of a document in the range that began with {@code from} when last encoded. */
  int[] ids(int from, int document);

  /** Bytes of text before that document, to divide work by. */
  long begin(int document);

  /** What was established after loading: engine, simd, allocator, tool_version ... */
  Map<String, Object> description();

  @Override
  void close();

  /** The tool of the task; its library, if it has one, is loaded, its tokenizer not yet. */
  static Encoding of(KernelTask task) throws IOException {
    try (Documents.Reader reader = new Documents.Reader(Path.of(task.corpus()))) {
      return switch (task.tool()) {
        case "quern" -> new Quern(task, reader);
        case "jtokkit" -> new Jtokkit(task, reader);
        default -> throw new IllegalArgumentException("unknown tool " + task.tool());
      };
    }
  }

  /** Quern: UTF-8 off the heap, one native call a range, ids off the heap. */
  final class Quern implements Encoding {
    private final KernelTask task;
    private final RawBatch batch;
    private NativeTokenizer tokenizer;

    Quern(KernelTask task, Documents.Reader texts) {
      this.task = task;
      QuernLibrary.load(
          new LibraryOptions(
              LibraryOptions.Allocator.valueOf(task.allocator().toUpperCase(Locale.ROOT)),
              task.library() == null ? null : Path.of(task.library()),
              LibraryOptions.DEFAULT.directory()));
      batch = new RawBatch(texts.texts(), task.documents(), task.bytes(), task.addSpecialTokens());
      if (task.each()) {
        batch.touch();
      }
    }

    @Override
    public void load() {
      tokenizer = NativeTokenizer.load(task.spec());
      batch.use(tokenizer);
    }

    @Override
    public long encode(int from, int to) {
      long tokens = batch.encode(from, to);
      if (task.collect()) {
        QuernLibrary.collect();
      }
      return tokens;
    }

    /** How many ids all documents have, without making them; one native call a document. */
    long count() {
      return batch.count(0, task.documents());
    }

    @Override
    public int[] ids(int from, int document) {
      return batch.ids(from, document);
    }

    @Override
    public long begin(int document) {
      return batch.begin(document);
    }

    @Override
    public Map<String, Object> description() {
      Map<String, Object> description = new LinkedHashMap<>();
      description.put("tool_version", BuildInfo.version());
      description.put("engine", tokenizer.engine());
      description.put("engine_reason", tokenizer.engineReason());
      description.put("simd", tokenizer.simd());
      description.put("allocator", QuernLibrary.allocator());
      description.put("library_bytes", new File(QuernLibrary.file()).length());
      description.put("tokenizer_hash", tokenizer.contentHash());
      return description;
    }

    @Override
    public void close() {
      if (tokenizer != null) {
        tokenizer.close();
      }
      batch.close();
    }
  }

  /** jtokkit, the tokenizer that JVM users have: a String in, a list of primitive ids out. */
  final class Jtokkit implements Encoding {
    private final String name;
    private final String[] documents;
    private final long[] begins;
    private final IntArrayList[] ids;
    private com.knuddels.jtokkit.api.Encoding encoding;

    Jtokkit(KernelTask task, Documents.Reader texts) {
      name = task.tokenizer().equals("gpt2") ? "r50k_base" : task.tokenizer();
      documents = new String[task.documents()];
      begins = new long[task.documents() + 1];
      ids = new IntArrayList[task.documents()];
      Supplier<byte[]> all = texts.texts();
      for (int i = 0; i < documents.length; i++) {
        byte[] utf8 = all.get();
        documents[i] = new String(utf8, StandardCharsets.UTF_8);
        begins[i + 1] = begins[i] + utf8.length;
      }
    }

    @Override
    public void load() {
      encoding =
          Encodings.newLazyEncodingRegistry()
              .getEncoding(
                  EncodingType.fromName(name)
                      .orElseThrow(() -> new NoSuchElementException("jtokkit has no " + name)));
    }

    @Override
    public long encode(int from, int to) {
      long tokens = 0;
      for (int document = from; document < to; document++) {
        ids[document] = encoding.encodeOrdinary(documents[document]);
        tokens += ids[document].size();
      }
      return tokens;
    }

    @Override
    public int[] ids(int from, int document) {
      return ids[document].toArray();
    }

    @Override
    public long begin(int document) {
      return begins[document];
    }

    @Override
    public Map<String, Object> description() {
      return Map.of("tool_version", BuildInfo.jtokkitVersion(), "engine", "jtokkit");
    }

    @Override
    public void close() {}
  }
}
