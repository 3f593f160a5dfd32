package dev.quern.tokenizer;

import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** Documents made to find differences between tokenizers; the same seed gives the same ones. */
final class HardText {
  private static final String[] WORDS = {
    "the",
    "Hello",
    "tokenizer",
    "internationalization",
    "naïve",
    "Größe",
    "STRASSE",
    "iPhone",
    "x",
    "Быстрая",
    "лиса",
    "快速的棕色狐狸",
    "東京タワー",
    "のろまな",
    "빠른",
    "갈색",
    "الثعلب",
    "تेज",
    "लोमड़ी",
    "ภาษาไทย",
    "Ελληνικά",
    "ΟΔΥΣΣΕΥΣ",
    "ǅ",
    "ﬁn",
    "Å",
    "᾽",
    "ẛ̣",
    "각",
    "cafe\u0301",
    "camelCase",
    "snake_case",
    "getElementById",
    "0xDEADBEEF",
    "https://example.org/a?b=c",
    "user@example.org",
    "😀",
    "👨\u200d👩\u200d👧",
    "🇩🇪",
    "❤️",
    "𝕏",
    "𠀀",
    "½",
    "Ⅷ",
    "①",
    "٣٤٥",
    "१२३"
  };
  private static final String[] SPACES = {
    " ", "  ", "   ", "\n", "\r\n", "\n\n", "\t", " \n", "\n ", "\u00a0", "\u3000", "\u2028",
    "\u0085", "\u200b", "\r", "", " \t\n"
  };
  private static final String[] CONTRACTIONS = {
    "'s", "'S", "'t", "'re", "'RE", "'ve", "'m", "'ll", "'Ll", "'d", "’s", "’ll", "''", "'", "'x",
    "'\u017f", "'sx"
  };
  private static final String[] PUNCTUATION = {
    ".",
    ",",
    "!!",
    "?!",
    "...",
    "—",
    "“",
    "”",
    "(){}[];",
    "/*",
    "*/",
    "///",
    "$",
    "€",
    "#",
    "\\",
    "<|endoftext|>",
    "<|endofprompt|>",
    "<|fim_prefix|>",
    "<|endoftext",
    "|>",
    "\0",
    "\u007f",
    "%"
  };

  private final Random random;

  HardText(long seed) {
    random = new Random(seed);
  }

  /** The seed of this run: -Dquern.seed or a new one; printed so that it can be repeated. */
  static long seed(Class<?> test) {
    long seed = Long.getLong("quern.seed", System.nanoTime());
    System.out.println(
        "repeat with: mvn -pl native test -Dtest="
            + test.getSimpleName()
            + " -Dquern.seed="
            + seed);
    return seed;
  }

  List<String> documents(int count) {
    List<String> documents = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      documents.add(document());
    }
    return documents;
  }

  private String document() {
    return switch (random.nextInt(8)) {
      case 0 -> repeated();
      case 1 -> anyCharacters();
      case 2 -> digits();
      default -> prose();
    };
  }

  private String prose() {
    StringBuilder text = new StringBuilder();
    int parts = random.nextInt(60);
    for (int i = 0; i < parts; i++) {
      text.append(
          switch (random.nextInt(8)) {
            case 0 -> pick(CONTRACTIONS);
            case 1 -> pick(PUNCTUATION);
            case 2 -> Integer.toString(random.nextInt());
            case 3 -> pick(SPACES).repeat(1 + random.nextInt(3));
            default -> pick(WORDS);
          });
      text.append(random.nextInt(3) == 0 ? pick(SPACES) : " ");
    }
    return text.toString();
  }

  /** One piece again and again, to lengths about the limits of blocks and keys. */
  private String repeated() {
    String piece =
        switch (random.nextInt(4)) {
          case 0 -> pick(WORDS);
          case 1 -> pick(SPACES);
          case 2 -> pick(PUNCTUATION);
          default -> Character.toString('a' + random.nextInt(26));
        };
    int[] lengths = {15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 257, 1023};
    return piece.repeat(lengths[random.nextInt(lengths.length)]) + pick(WORDS);
  }

  private String digits() {
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(40); i > 0; i--) {
      text.append(random.nextInt(5) == 0 ? pick(SPACES) : Integer.toString(random.nextInt(10)));
    }
    return text.toString();
  }

  /** Code points of all planes, but no surrogates. */
  private String anyCharacters() {
    StringBuilder text = new StringBuilder();
    for (int i = random.nextInt(80); i > 0; i--) {
      int limit =
          switch (random.nextInt(4)) {
            case 0 -> 0x80;
            case 1 -> 0x800;
            case 2 -> 0x10000;
            default -> 0x110000;
          };
      int c = random.nextInt(limit);
      text.appendCodePoint(c >= 0xd800 && c < 0xe000 ? ' ' : c);
    }
    return text.toString();
  }

  private String pick(String[] from) {
    return from[random.nextInt(from.length)];
  }
}
