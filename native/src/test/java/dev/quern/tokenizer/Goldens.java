package dev.quern.tokenizer;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/** The files of src/test/resources/goldens; generate.py there says what is in them. */
final class Goldens {
  static final List<String> HUGGING_FACE =
      List.of(
          "byte-level-bpe",
          "split-bpe",
          "sentencepiece-bpe",
          "metaspace-bpe",
          "wordpiece",
          "unigram",
          "wordlevel");
  static final List<String> OPENAI = List.of("o200k_base", "cl100k_base", "p50k_base", "r50k_base");

  private Goldens() {}

  static TokenizerSpec spec(String name) {
    return OPENAI.contains(name)
        ? TokenizerSpec.builtIn(name)
        : TokenizerSpec.huggingFace(read(name + ".json"));
  }

  static NativeTokenizer load(String name) {
    return NativeTokenizer.load(spec(name));
  }

  /** Texts in a batch that has just room for them. */
  static DocumentBatch batch(List<byte[]> documents) {
    int bytes = documents.stream().mapToInt(document -> document.length).sum();
    DocumentBatch batch = new DocumentBatch(bytes, documents.size());
    for (byte[] document : documents) {
      if (!batch.add(document, OffHeap.BYTE_ARRAY, document.length)) {
        throw new AssertionError("there is room for " + document.length + " bytes");
      }
    }
    return batch;
  }

  /** The header, then a line for each text. */
  static List<Map<String, Object>> lines(String name) {
    return new String(read(name + ".golden.jsonl"), StandardCharsets.US_ASCII)
        .lines()
        .map(Json::object)
        .toList();
  }

  /** The texts that every golden file has. */
  static List<String> texts() {
    return lines("wordlevel").stream().skip(1).map(line -> (String) line.get("text")).toList();
  }

  static int[] ids(Object list) {
    return ((List<?>) list).stream().mapToInt(id -> Math.toIntExact((Long) id)).toArray();
  }

  private static byte[] read(String file) {
    try (InputStream in = Goldens.class.getResourceAsStream("/goldens/" + file)) {
      return in.readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
