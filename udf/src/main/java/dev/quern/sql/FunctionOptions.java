package dev.quern.sql;

import dev.quern.sql.TokenizerCall.OffsetUnit;
import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.EncodeOptions.InvalidUtf8;
import dev.quern.tokenizer.TokenizerSpec.Engine;
import dev.quern.tokenizer.TokenizerSpec.SpecialTokensInText;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Function;
import org.apache.spark.sql.internal.SQLConf;

/**
 * The options of one call, typed: what the SQL argument {@code options} says, and the session's
 * configuration for the rest. The first four belong to the tokenizer, the others to the call.
 *
 * @param pattern how a .tiktoken file splits text; the session's default is apart in {@code
 *     patternOfSession}, since it must not be an error for other files
 * @param specialTokens special tokens of a .tiktoken file; the session's are apart as well
 */
record FunctionOptions(
    Engine engine,
    SpecialTokensInText specialTokensInText,
    Optional<String> pattern,
    Optional<Map<String, Integer>> specialTokens,
    Optional<String> patternOfSession,
    Map<String, Integer> specialTokensOfSession,
    EncodeOptions encode,
    boolean skipSpecialTokens,
    Optional<OffsetUnit> offsets) {

  /** The options by the names that SQL knows. */
  enum Option {
    ENGINE,
    PATTERN,
    SPECIAL_TOKENS,
    SPECIAL_TOKENS_IN_TEXT,
    ADD_SPECIAL_TOKENS,
    INVALID_UTF8,
    SKIP_SPECIAL_TOKENS,
    OFFSETS;

    /** Those that decide what is loaded. */
    static final Set<Option> OF_TOKENIZER =
        Set.of(ENGINE, PATTERN, SPECIAL_TOKENS, SPECIAL_TOKENS_IN_TEXT);

    static final Set<Option> OF_ENCODING =
        Set.of(
            ENGINE,
            PATTERN,
            SPECIAL_TOKENS,
            SPECIAL_TOKENS_IN_TEXT,
            ADD_SPECIAL_TOKENS,
            INVALID_UTF8);

    static final Set<Option> OF_OFFSETS =
        Set.of(
            ENGINE,
            PATTERN,
            SPECIAL_TOKENS,
            SPECIAL_TOKENS_IN_TEXT,
            ADD_SPECIAL_TOKENS,
            INVALID_UTF8,
            OFFSETS);

    static final Set<Option> OF_DECODING =
        Set.of(ENGINE, PATTERN, SPECIAL_TOKENS, SPECIAL_TOKENS_IN_TEXT, SKIP_SPECIAL_TOKENS);

    String sqlName() {
      return lower(this);
    }
  }

  /** As SQL writes it. */
  static String lower(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }

  /**
   * @param given option names and values; names are not case-sensitive
   * @param allowed the options that mean something to the caller
   * @param conf the session's, for what is not given
   * @throws IllegalArgumentException naming the option, and what is allowed
   */
  static FunctionOptions parse(Map<String, String> given, Set<Option> allowed, SQLConf conf) {
    Map<Option, String> values = new TreeMap<>();
    given.forEach(
        (name, value) -> {
          Option option = option(name, allowed);
          if (value == null) {
            throw new IllegalArgumentException("the option '" + name + "' is NULL; leave it out");
          }
          if (values.put(option, option == Option.PATTERN ? value : value.strip()) != null) {
            throw new IllegalArgumentException("the option '" + name + "' is given twice");
          }
        });
    InvalidUtf8 invalidUtf8 =
        of(values, Option.INVALID_UTF8, text -> QuernConf.constant(InvalidUtf8.class, text))
            .orElseGet(() -> QuernConf.INVALID_UTF8.value(conf));
    return new FunctionOptions(
        of(values, Option.ENGINE, text -> QuernConf.constant(Engine.class, text))
            .orElseGet(() -> QuernConf.ENGINE.value(conf)),
        of(
                values,
                Option.SPECIAL_TOKENS_IN_TEXT,
                text -> QuernConf.constant(SpecialTokensInText.class, text))
            .orElseGet(() -> QuernConf.SPECIAL_TOKENS_IN_TEXT.value(conf)),
        of(values, Option.PATTERN, text -> text),
        of(values, Option.SPECIAL_TOKENS, QuernConf::specialTokens),
        QuernConf.TIKTOKEN_PATTERN.value(conf),
        QuernConf.TIKTOKEN_SPECIAL_TOKENS.value(conf),
        new EncodeOptions(
            of(values, Option.ADD_SPECIAL_TOKENS, FunctionOptions::bool).orElse(false),
            invalidUtf8),
        of(values, Option.SKIP_SPECIAL_TOKENS, FunctionOptions::bool).orElse(false),
        of(values, Option.OFFSETS, text -> QuernConf.constant(OffsetUnit.class, text)));
  }

  /** The same without what belongs to the call. */
  FunctionOptions ofTokenizer() {
    return new FunctionOptions(
        engine,
        specialTokensInText,
        pattern,
        specialTokens,
        patternOfSession,
        specialTokensOfSession,
        EncodeOptions.DEFAULT,
        false,
        Optional.empty());
  }

  private static Option option(String name, Set<Option> allowed) {
    List<String> names = allowed.stream().map(Option::sqlName).sorted().toList();
    return Arrays.stream(Option.values())
        .filter(option -> option.sqlName().equalsIgnoreCase(name) && allowed.contains(option))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "there is no option '"
                        + name
                        + "' here"
                        + QuernConf.nearest(name, names)
                            .map(nearest -> ", did you mean '" + nearest + "'?")
                            .orElse(";")
                        + " The options are "
                        + String.join(", ", names)));
  }

  private static <T> Optional<T> of(
      Map<Option, String> values, Option option, Function<String, T> parser) {
    String text = values.get(option);
    try {
      return text == null ? Optional.empty() : Optional.of(parser.apply(text));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "the option '" + option.sqlName() + "': " + e.getMessage(), e);
    }
  }

  private static boolean bool(String text) {
    if (text.equalsIgnoreCase("true") || text.equalsIgnoreCase("false")) {
      return Boolean.parseBoolean(text);
    }
    throw new IllegalArgumentException("'" + text + "' is not one of true, false");
  }
}
