package dev.quern.bench;

import com.fasterxml.jackson.core.JsonGenerator;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * A vocabulary of ranks as a tokenizer.json, for peers that read no other form. The merges are
 * recovered from the ranks, as is usual: a token of two or more bytes is the merge of the two parts
 * that byte pair encoding with only the lower ranks leaves of it. That is exact for ranks that were
 * made by training; what a run compares are the ids.
 */
final class TokenizerJson {
  /** The characters that stand for the bytes 0 to 255 in byte-level vocabularies. */
  private static final char[] CHARACTERS = characters();

  private TokenizerJson() {}

  /** Writes the file; of a spec that has ranks. */
  static void write(TokenizerSpec spec, Path file) throws IOException {
    TreeMap<Integer, String> byRank = new TreeMap<>();
    Map<String, Integer> ranks = new HashMap<>();
    String text = new String(spec.file(), StandardCharsets.US_ASCII);
    text.lines()
        .filter(line -> !line.isBlank())
        .forEach(
            line -> {
              String[] parts = line.split(" ");
              byte[] bytes = Base64.getDecoder().decode(parts[0]);
              // A char for a byte: the encoding can look parts up without making arrays equal.
              String token = new String(bytes, StandardCharsets.ISO_8859_1);
              ranks.put(token, Integer.parseInt(parts[1]));
              byRank.put(Integer.parseInt(parts[1]), token);
            });
    try (OutputStream out = Files.newOutputStream(file);
        JsonGenerator json = KernelTask.JSON.createGenerator(out)) {
      json.writeStartObject();
      json.writeStringField("version", "1.0");
      json.writeNullField("truncation");
      json.writeNullField("padding");
      json.writeArrayFieldStart("added_tokens");
      for (Map.Entry<String, Integer> special : byId(spec.specialTokens())) {
        json.writeStartObject();
        json.writeNumberField("id", special.getValue());
        json.writeStringField("content", special.getKey());
        for (String flag : List.of("single_word", "lstrip", "rstrip", "normalized")) {
          json.writeBooleanField(flag, false);
        }
        json.writeBooleanField("special", true);
        json.writeEndObject();
      }
      json.writeEndArray();
      json.writeNullField("normalizer");
      boolean gpt2 = spec.pattern().equals(TokenizerSpec.builtInPattern("gpt2"));
      json.writeFieldName("pre_tokenizer");
      if (gpt2) {
        // As the published files of these vocabularies have it: the pattern is ByteLevel's own.
        byteLevel(json, true);
      } else {
        json.writeStartObject();
        json.writeStringField("type", "Sequence");
        json.writeArrayFieldStart("pretokenizers");
        json.writeStartObject();
        json.writeStringField("type", "Split");
        json.writeObjectFieldStart("pattern");
        json.writeStringField("Regex", spec.pattern());
        json.writeEndObject();
        json.writeStringField("behavior", "Isolated");
        json.writeBooleanField("invert", false);
        json.writeEndObject();
        byteLevel(json, false);
        json.writeEndArray();
        json.writeEndObject();
      }
      json.writeFieldName("post_processor");
      byteLevel(json, true);
      json.writeFieldName("decoder");
      byteLevel(json, true);
      json.writeObjectFieldStart("model");
      json.writeStringField("type", "BPE");
      json.writeNullField("dropout");
      json.writeNullField("unk_token");
      json.writeStringField("continuing_subword_prefix", "");
      json.writeStringField("end_of_word_suffix", "");
      json.writeBooleanField("fuse_unk", false);
      json.writeBooleanField("byte_fallback", false);
      // tiktoken looks a whole piece up first. Files of the GPT-2 kind are older than the option.
      json.writeBooleanField("ignore_merges", !gpt2);
      json.writeObjectFieldStart("vocab");
      for (Map.Entry<Integer, String> token : byRank.entrySet()) {
        json.writeNumberField(written(token.getValue()), token.getKey());
      }
      // Here too: Hugging Face gives added tokens that are not in the vocabulary ids of its own.
      for (Map.Entry<String, Integer> special : byId(spec.specialTokens())) {
        json.writeNumberField(special.getKey(), special.getValue());
      }
      json.writeEndObject();
      json.writeArrayFieldStart("merges");
      for (Map.Entry<Integer, String> token : byRank.entrySet()) {
        List<String> parts = parts(token.getValue(), token.getKey(), ranks);
        // Not two: a token that no merge makes, found only as a whole piece.
        if (parts.size() == 2) {
          json.writeStartArray();
          json.writeString(written(parts.get(0)));
          json.writeString(written(parts.get(1)));
          json.writeEndArray();
        }
      }
      json.writeEndArray();
      json.writeEndObject();
      json.writeEndObject();
    }
  }

  private static List<Map.Entry<String, Integer>> byId(Map<String, Integer> specialTokens) {
    return specialTokens.entrySet().stream()
        .sorted(Comparator.comparing(Map.Entry::getValue))
        .toList();
  }

  private static void byteLevel(JsonGenerator json, boolean useRegex) throws IOException {
    json.writeStartObject();
    json.writeStringField("type", "ByteLevel");
    json.writeBooleanField("add_prefix_space", false);
    json.writeBooleanField("trim_offsets", true);
    json.writeBooleanField("use_regex", useRegex);
    json.writeEndObject();
  }

  /** What merges of ranks below {@code limit} leave of a token. */
  private static List<String> parts(String token, int limit, Map<String, Integer> ranks) {
    List<String> parts = new ArrayList<>();
    token.chars().forEach(c -> parts.add(String.valueOf((char) c)));
    while (true) {
      int best = limit;
      int at = -1;
      for (int i = 0; i + 1 < parts.size(); i++) {
        int rank = ranks.getOrDefault(parts.get(i) + parts.get(i + 1), Integer.MAX_VALUE);
        if (rank < best) {
          best = rank;
          at = i;
        }
      }
      if (at < 0) {
        return parts;
      }
      parts.set(at, parts.get(at) + parts.remove(at + 1));
    }
  }

  private static String written(String bytes) {
    StringBuilder text = new StringBuilder(bytes.length());
    bytes.chars().forEach(b -> text.append(CHARACTERS[b]));
    return text.toString();
  }

  /** Printable bytes stand for themselves, the others follow from U+0100 on. */
  private static char[] characters() {
    char[] characters = new char[256];
    char next = 256;
    for (int b = 0; b < characters.length; b++) {
      boolean printable =
          (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
      characters[b] = printable ? (char) b : next++;
    }
    return characters;
  }
}
