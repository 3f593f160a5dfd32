package dev.quern.bench;

import com.knuddels.jtokkit.Encodings;
import com.knuddels.jtokkit.api.EncodingType;
import dev.quern.tokenizer.LibraryOptions;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.QuernLibrary;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** A loaded tokenizer of some tool, over documents that it has in the form it likes best. */
interface Encoding extends AutoCloseable {
  /** Encodes one document as the tool's users do; the ids are made and their number returned. */
  int encode(int document);

  /** The ids of one document; not in timed passes. */
  int[] ids(int document);

  /** What was established after loading: engine, allocator, tool_version, tokenizer_hash. */
  Map<String, Object> description();

  @Override
  void close();

  /**
   * The documents in the form that the tool takes, made before memory and load time are measured.
   * {@link Source#load} is the tool's own part.
   */
  interface Source {
    Encoding load() throws IOException;
  }

  /** Quern: UTF-8 in, ids into this thread's own reusable buffer. */
  static Source quern(KernelTask task, List<byte[]> documents) {
    return () -> {
      QuernLibrary.load(
          new LibraryOptions(
              LibraryOptions.Allocator.valueOf(task.allocator().toUpperCase(Locale.ROOT)),
              LibraryOptions.DEFAULT.library(),
              LibraryOptions.DEFAULT.directory()));
      TokenizerSpec spec =
          task.spec()
              .withEngine(TokenizerSpec.Engine.valueOf(task.engine().toUpperCase(Locale.ROOT)));
      return new Quern(NativeTokenizer.load(spec), documents);
    };
  }

  /** jtokkit, the tokenizer that JVM users have: a String in, boxed-free lists out. */
  static Source jtokkit(KernelTask task, List<byte[]> documents) {
    String[] texts =
        documents.stream()
            .map(utf8 -> new String(utf8, StandardCharsets.UTF_8))
            .toArray(String[]::new);
    documents.clear();
    return () -> new Jtokkit(task.tokenizer(), texts);
  }

  /** See {@link #quern}. */
  final class Quern implements Encoding {
    private final NativeTokenizer tokenizer;
    private final byte[][] documents;

    Quern(NativeTokenizer tokenizer, List<byte[]> documents) {
      this.tokenizer = tokenizer;
      this.documents = documents.toArray(byte[][]::new);
    }

    @Override
    public int encode(int document) {
      return tokenizer.encode(documents[document]).count();
    }

    @Override
    public int[] ids(int document) {
      return tokenizer.encode(documents[document]).toArray();
    }

    @Override
    public Map<String, Object> description() {
      return Map.of(
          "tool_version",
          BuildInfo.version(),
          "engine",
          tokenizer.engine(),
          "allocator",
          QuernLibrary.allocator(),
          "tokenizer_hash",
          tokenizer.contentHash());
    }

    @Override
    public void close() {
      tokenizer.close();
    }
  }

  /** See {@link #jtokkit}. */
  final class Jtokkit implements Encoding {
    private final com.knuddels.jtokkit.api.Encoding encoding;
    private final String[] documents;

    Jtokkit(String name, String[] documents) {
      this.encoding =
          Encodings.newLazyEncodingRegistry()
              .getEncoding(EncodingType.fromName(jtokkitName(name)).orElseThrow());
      this.documents = documents;
    }

    private static String jtokkitName(String name) {
      return name.equals("gpt2") ? "r50k_base" : name;
    }

    @Override
    public int encode(int document) {
      return encoding.encodeOrdinary(documents[document]).size();
    }

    @Override
    public int[] ids(int document) {
      return encoding.encodeOrdinary(documents[document]).toArray();
    }

    @Override
    public Map<String, Object> description() {
      return Map.of("tool_version", BuildInfo.jtokkitVersion(), "engine", "jtokkit");
    }

    @Override
    public void close() {}
  }
}
