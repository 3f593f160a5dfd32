package dev.quern.tokenizer;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * The tokenizers that need no file: OpenAI's. Their ranks are resources of the jtokkit jar; the
 * patterns and special ids are those of openai/tiktoken, tiktoken_ext/openai_public.py. Patterns
 * are in the text of its versions before 0.8, without possessive quantifiers: they split the same
 * way, and the reference engine's regex dialect reads {@code {1,3}+} differently.
 */
enum BuiltIn {
  O200K_BASE(
      String.join(
          "|",
          "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+"
              + "(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
          "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*"
              + "(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
          "\\p{N}{1,3}",
          " ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*",
          "\\s*[\\r\\n]+",
          "\\s+(?!\\S)",
          "\\s+"),
      Map.of("<|endoftext|>", 199999, "<|endofprompt|>", 200018)),
  CL100K_BASE(
      "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}"
          + "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
      Map.of(
          "<|endoftext|>",
          100257,
          "<|fim_prefix|>",
          100258,
          "<|fim_middle|>",
          100259,
          "<|fim_suffix|>",
          100260,
          "<|endofprompt|>",
          100276)),
  P50K_BASE(Patterns.GPT2, Map.of("<|endoftext|>", 50256)),
  R50K_BASE(Patterns.GPT2, Map.of("<|endoftext|>", 50256), "gpt2");

  /** Apart, because an enum's constants can't refer to its static fields. */
  private static final class Patterns {
    static final String GPT2 =
        "'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
  }

  private static final Map<String, BuiltIn> BY_NAME =
      Arrays.stream(values())
          .flatMap(value -> value.names.stream().map(name -> Map.entry(name, value)))
          .collect(
              Collectors.toMap(
                  Map.Entry::getKey, Map.Entry::getValue, (a, b) -> a, LinkedHashMap::new));

  final String pattern;
  final Map<String, Integer> specialTokens;
  private final List<String> names;

  BuiltIn(String pattern, Map<String, Integer> specialTokens, String... aliases) {
    this.pattern = pattern;
    this.specialTokens = specialTokens;
    this.names =
        java.util.stream.Stream.concat(
                java.util.stream.Stream.of(name().toLowerCase(java.util.Locale.ROOT)),
                Arrays.stream(aliases))
            .toList();
  }

  /** All names and aliases, with what they stand for. */
  static Map<String, BuiltIn> byName() {
    return BY_NAME;
  }

  /** Class path of the ranks. */
  String resource() {
    return "com/knuddels/jtokkit/" + names.get(0) + ".tiktoken";
  }
}
