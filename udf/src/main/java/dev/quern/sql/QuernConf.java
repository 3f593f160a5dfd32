package dev.quern.sql;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import dev.quern.tokenizer.EncodeOptions.InvalidUtf8;
import dev.quern.tokenizer.LibraryOptions;
import dev.quern.tokenizer.LibraryOptions.Allocator;
import dev.quern.tokenizer.TokenizerSpec.Engine;
import dev.quern.tokenizer.TokenizerSpec.SpecialTokensInText;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.ServiceLoader;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.stream.Collectors;
import org.apache.spark.SparkConf;
import org.apache.spark.internal.config.ConfigBuilder;
import org.apache.spark.internal.config.ConfigEntry;
import org.apache.spark.internal.config.TypedConfigBuilder;
import org.apache.spark.network.util.JavaUtils;
import org.apache.spark.sql.internal.SQLConf;
import scala.Tuple2;

/**
 * Every {@code spark.quern.*} key of the SQL side, as a typed entry; other code never spells a key.
 *
 * <p>Where a value comes from: an argument of the SQL function wins over the session's value (SET,
 * {@code spark.conf.set}), which wins over the application's ({@code --conf}, spark-defaults.conf).
 * Keys with {@link Scope#APPLICATION} decide security or memory: they are read from the
 * application's SparkConf only, and a SET of one is refused.
 *
 * <p>A module that stands on this one adds its keys through {@link Provider}.
 */
public final class QuernConf {
  private QuernConf() {}

  /** What all our keys begin with. */
  public static final String PREFIX = "spark.quern.";

  /** Who may set a key. */
  public enum Scope {
    /** Only the application, when it starts. */
    APPLICATION,
    /** The application, and each session for itself. */
    SESSION
  }

  /** Adds keys: implementations are found by {@link ServiceLoader}. */
  public interface Provider {
    Collection<Entry<?>> entries();
  }

  /**
   * One key: its documentation, who may set it, and how its text becomes a value.
   *
   * @param <T> the value's type
   */
  public static final class Entry<T> {
    private final String key;
    private final Scope scope;
    private final String defaultText;
    private final String doc;
    private final Function<String, T> parser;
    private final boolean verbatim;

    /**
     * @param key the whole key; {@code <name>} at its end stands for any name
     * @param defaultText the default as a user would write it; null if a key that is not set has no
     *     text of its own (the parser is then given null)
     * @param doc what it does, with unit and price; plain text of a few sentences
     * @param parser text to value; an IllegalArgumentException's message says what is allowed
     */
    public Entry(
        String key, Scope scope, String defaultText, String doc, Function<String, T> parser) {
      this(key, scope, defaultText, doc, parser, false);
    }

    /** As above; verbatim if spaces around the value belong to it. */
    private Entry(
        String key,
        Scope scope,
        String defaultText,
        String doc,
        Function<String, T> parser,
        boolean verbatim) {
      if (!key.startsWith(PREFIX)) {
        throw new IllegalArgumentException(key + " does not begin with " + PREFIX);
      }
      this.key = key;
      this.scope = scope;
      this.defaultText = defaultText;
      this.doc = doc;
      this.parser = parser;
      this.verbatim = verbatim;
    }

    public String key() {
      return key;
    }

    public Scope scope() {
      return scope;
    }

    /** The default as a user would write it, or null. */
    public String defaultText() {
      return defaultText;
    }

    public String doc() {
      return doc;
    }

    /** The application's value. */
    public T value(SparkConf conf) {
      return parse(conf.get(key, null));
    }

    /**
     * The session's value; the application's, if the session has set none.
     *
     * @throws IllegalStateException for a key of the application: a session must not decide it
     */
    public T value(SQLConf conf) {
      if (scope == Scope.APPLICATION) {
        throw new IllegalStateException(key + " is read from the application's SparkConf only");
      }
      return parse(conf.getConfString(key, null));
    }

    /**
     * The value of that text; of the default, if the text is null.
     *
     * @throws IllegalArgumentException naming the key and what is allowed
     */
    public T parse(String text) {
      try {
        return parser.apply(text == null ? defaultText : verbatim ? text : text.strip());
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(key + ": " + e.getMessage(), e);
      }
    }

    boolean isFamily() {
      return key.endsWith("<name>");
    }

    /** What a family's keys begin with; the key itself for others. */
    String stem() {
      return isFamily() ? key.substring(0, key.length() - "<name>".length()) : key;
    }

    boolean covers(String candidate) {
      return isFamily()
          ? candidate.startsWith(stem()) && candidate.length() > stem().length()
          : candidate.equals(key);
    }
  }

  public static final Entry<String> TOKENIZER =
      new Entry<>(
          PREFIX + "tokenizer",
          Scope.SESSION,
          "o200k_base",
          "The tokenizer of SQL functions called without one: a built-in name (o200k_base,"
              + " cl100k_base, p50k_base, r50k_base or gpt2), a name mapped by"
              + " spark.quern.tokenizers.<name>, or the URI of a tokenizer.json or .tiktoken file"
              + " that spark.quern.allowedTokenizerPaths allows.",
          text -> nonEmpty(text, "a tokenizer's name or URI"));

  public static final Entry<String> TOKENIZERS =
      new Entry<>(
          PREFIX + "tokenizers.<name>",
          Scope.APPLICATION,
          null,
          "Gives a tokenizer file a name for SQL: the URI of a tokenizer.json or .tiktoken file on"
              + " any Hadoop file system. The driver reads it; executors need no access to it.",
          text -> text);

  public static final Entry<List<String>> ALLOWED_TOKENIZER_PATHS =
      new Entry<>(
          PREFIX + "allowedTokenizerPaths",
          Scope.APPLICATION,
          "",
          "Which files SQL may load as tokenizers: URI prefixes, separated by commas, that end at"
              + " whole path components (hdfs://nn/tokenizers allows hdfs://nn/tokenizers/a.json"
              + " but not hdfs://nn/tokenizers-2/a.json). The default allows none: built-in names,"
              + " mapped names and files given by --files only.",
          QuernConf::list);

  public static final Entry<Engine> ENGINE =
      new Entry<>(
          PREFIX + "engine",
          Scope.SESSION,
          "auto",
          "Which encoder does the work: fast (Quern's own, for byte-level BPE as of GPT-2, Llama 3,"
              + " Qwen, DeepSeek and o200k_base; an error that names the part of a tokenizer it"
              + " does not know), reference (Hugging Face's crate, for every tokenizer), or auto"
              + " (fast where it knows every part, else reference). The ids are the same.",
          text -> constant(Engine.class, text));

  public static final Entry<SpecialTokensInText> SPECIAL_TOKENS_IN_TEXT =
      new Entry<>(
          PREFIX + "specialTokensInText",
          Scope.SESSION,
          "text",
          "What text means that looks like a special token, as <|endoftext|>: text (like any other"
              + " text), token (the special token) or error.",
          text -> constant(SpecialTokensInText.class, text));

  public static final Entry<InvalidUtf8> INVALID_UTF8 =
      new Entry<>(
          PREFIX + "invalidUtf8",
          Scope.SESSION,
          "strict",
          "Bytes that are not UTF-8, in BINARY or STRING: strict (an error with their position) or"
              + " replace (each ill-formed part becomes U+FFFD, as WHATWG says). Strict by default,"
              + " so that no text changes unseen.",
          text -> constant(InvalidUtf8.class, text));

  public static final Entry<Optional<String>> TIKTOKEN_PATTERN =
      new Entry<>(
          PREFIX + "tiktoken.pattern",
          Scope.SESSION,
          null,
          "How a .tiktoken file that is not built in splits text: the name of a built-in tokenizer"
              + " whose pattern it shares, or a regular expression. Such a file can't be loaded"
              + " without it.",
          QuernConf::optional,
          true);

  public static final Entry<Map<String, Integer>> TIKTOKEN_SPECIAL_TOKENS =
      new Entry<>(
          PREFIX + "tiktoken.specialTokens",
          Scope.SESSION,
          null,
          "Special tokens of a .tiktoken file that is not built in, as a JSON object of text and"
              + " id: {\"<|endoftext|>\": 100257}. None by default.",
          QuernConf::specialTokens);

  public static final Entry<Allocator> ALLOCATOR =
      new Entry<>(
          PREFIX + "allocator",
          Scope.APPLICATION,
          "auto",
          "Memory allocator inside the native library: mimalloc, system, or auto (mimalloc on"
              + " x86_64 and aarch64 Linux with glibc and on Apple silicon). It trades resident memory against throughput; a JVM"
              + " has one. An explicit choice that the platform can't meet is an error.",
          text -> constant(Allocator.class, text));

  public static final Entry<Long> CACHE_BYTES_PER_THREAD =
      new Entry<>(
          PREFIX + "cache.bytesPerThread",
          Scope.APPLICATION,
          "32m",
          "Native memory that the fast engine may keep for each thread of an executor, from 512k to"
              + " 1g: room to work in and caches of what it has merged, which begin with 8 MiB and"
              + " grow while text has them merge the same again. Tokenizers that one thread uses in"
              + " turn share it.",
          QuernConf::cacheBytes);

  public static final Entry<Integer> CACHE_TOKENIZERS =
      new Entry<>(
          PREFIX + "cache.tokenizers",
          Scope.APPLICATION,
          "8",
          "How many tokenizers a driver or executor keeps loaded for queries to come, from 1 to"
              + " 1000. Each takes some tens of megabytes of native memory. A query that names more"
              + " of them in a column loads them again and again.",
          text -> number(text, 1, 1000));

  public static final Entry<Optional<Path>> LIBRARY_PATH =
      new Entry<>(
          PREFIX + "library.path",
          Scope.APPLICATION,
          null,
          "The native library's file on every node. Set, nothing else is tried; by default the one"
              + " packed in the jar is unpacked.",
          text -> optional(text).map(Path::of));

  public static final Entry<Optional<Path>> LIBRARY_DIRECTORY =
      new Entry<>(
          PREFIX + "library.directory",
          Scope.APPLICATION,
          null,
          "Folder on every node in which the packed native library is unpacked, into a private"
              + " folder of its own. It must not be mounted noexec. By default java.io.tmpdir.",
          text -> optional(text).map(Path::of));

  private static final List<Entry<?>> OWN =
      List.of(
          TOKENIZER,
          TOKENIZERS,
          ALLOWED_TOKENIZER_PATHS,
          ENGINE,
          SPECIAL_TOKENS_IN_TEXT,
          INVALID_UTF8,
          TIKTOKEN_PATTERN,
          TIKTOKEN_SPECIAL_TOKENS,
          ALLOCATOR,
          CACHE_BYTES_PER_THREAD,
          CACHE_TOKENIZERS,
          LIBRARY_PATH,
          LIBRARY_DIRECTORY);

  /** The entries of this module. */
  public static List<Entry<?>> entries() {
    return OWN;
  }

  /** The entries of this module and of every {@link Provider} on the class path, by key. */
  public static Collection<Entry<?>> allEntries() {
    Map<String, Entry<?>> all = new TreeMap<>();
    OWN.forEach(entry -> all.put(entry.key(), entry));
    // The loader of our own classes, as of the session's: with --jars it has the other modules too.
    for (Provider provider : ServiceLoader.load(Provider.class, QuernConf.class.getClassLoader())) {
      provider.entries().forEach(entry -> all.put(entry.key(), entry));
    }
    return Collections.unmodifiableCollection(all.values());
  }

  /** How the application wants the native library loaded, on the driver and on each executor. */
  public static LibraryOptions libraryOptions(SparkConf conf) {
    return new LibraryOptions(
        ALLOCATOR.value(conf),
        LIBRARY_PATH.value(conf).orElse(null),
        LIBRARY_DIRECTORY.value(conf).orElse(null));
  }

  /** Tokenizers that the application has given names: name to URI. */
  public static Map<String, String> mappedTokenizers(SparkConf conf) {
    Map<String, String> mapped = new TreeMap<>();
    for (Tuple2<String, String> setting : conf.getAllWithPrefix(TOKENIZERS.stem())) {
      mapped.put(setting._1(), setting._2());
    }
    return mapped;
  }

  /** The key that maps a tokenizer of that name. */
  public static String tokenizerKey(String name) {
    return TOKENIZERS.stem() + name;
  }

  /**
   * Makes the keys known to Spark: values are checked when they are set, {@code SET -v} shows them,
   * views keep those of the session they were made in, and a SET of an application's key fails.
   * Doing it again changes nothing.
   */
  static synchronized void register(SparkConf conf) {
    for (Entry<?> entry : allEntries()) {
      if (!entry.isFamily() && ConfigEntry.findEntry(entry.key()) == null) {
        ConfigBuilder builder =
            entry.scope() == Scope.APPLICATION
                ? SQLConf.buildStaticConf(entry.key())
                : SQLConf.buildConf(entry.key());
        TypedConfigBuilder<String> text =
            builder
                .doc(entry.doc())
                .version("0.1.0")
                .stringConf()
                .transform(
                    value -> {
                      entry.parse(value);
                      return value;
                    });
        if (entry.defaultText() == null) {
          text.createOptional();
        } else {
          text.createWithDefault(entry.defaultText());
        }
      }
    }
    // Spark knows no families of keys: these are the members there are. Values of further ones that
    // a session sets are never read.
    for (Tuple2<String, String> setting : conf.getAllWithPrefix(TOKENIZERS.stem())) {
      SQLConf.registerStaticConfigKey(TOKENIZERS.stem() + setting._1());
    }
  }

  /** Whether a session must not set that key. */
  static boolean isOfApplication(String key) {
    return allEntries().stream()
        .anyMatch(entry -> entry.scope() == Scope.APPLICATION && entry.covers(key));
  }

  /** One line for each key of ours in that SparkConf that nothing reads. */
  static List<String> unknownKeys(SparkConf conf) {
    Collection<Entry<?>> known = allEntries();
    List<String> lines = new ArrayList<>();
    for (Tuple2<String, String> setting : conf.getAllWithPrefix(PREFIX)) {
      String key = PREFIX + setting._1();
      if (known.stream().noneMatch(entry -> entry.covers(key))) {
        String nearest =
            nearest(key, known.stream().map(Entry::key).toList())
                .map(candidate -> "did you mean " + candidate + "?")
                .orElse("nothing reads it");
        lines.add("unknown configuration key " + key + ": " + nearest);
      }
    }
    Collections.sort(lines);
    return lines;
  }

  /** The entries as a table for the README, with a header; tested against it. */
  public static String toMarkdown() {
    StringBuilder table = new StringBuilder("| Key | Default | Set by | Meaning |\n");
    table.append("|---|---|---|---|\n");
    for (Entry<?> entry : OWN) {
      table
          .append("| `")
          .append(entry.key())
          .append("` | ")
          .append(
              entry.defaultText() == null || entry.defaultText().isEmpty()
                  ? "none"
                  : "`" + entry.defaultText() + "`")
          .append(" | ")
          .append(entry.scope().name().toLowerCase(Locale.ROOT))
          .append(" | ")
          .append(entry.doc().replaceAll("(<[^ ]+>|\\{[^}]*\\})", "`$1`").replace("|", "\\|"))
          .append(" |\n");
    }
    return table.toString();
  }

  /** Prints {@link #toMarkdown}. */
  public static void main(String[] arguments) {
    System.out.print(toMarkdown());
  }

  /** The candidate that a misspelt or cut word most likely means, if any is near. */
  public static Optional<String> nearest(String word, Collection<String> candidates) {
    String best = null;
    int bestDistance = Math.max(2, word.length() / 4) + 1;
    for (String candidate : candidates) {
      int distance = distance(word.toLowerCase(Locale.ROOT), candidate.toLowerCase(Locale.ROOT));
      if (distance < bestDistance) {
        best = candidate;
        bestDistance = distance;
      }
    }
    if (best == null && word.length() > 2) {
      return candidates.stream().filter(candidate -> candidate.startsWith(word)).findFirst();
    }
    return Optional.ofNullable(best);
  }

  /** Levenshtein's distance: insertions, deletions and changes of one character. */
  private static int distance(String a, String b) {
    int[] row = new int[b.length() + 1];
    for (int j = 0; j < row.length; j++) {
      row[j] = j;
    }
    for (int i = 1; i <= a.length(); i++) {
      int diagonal = row[0];
      row[0] = i;
      for (int j = 1; j < row.length; j++) {
        int change = diagonal + (a.charAt(i - 1) == b.charAt(j - 1) ? 0 : 1);
        diagonal = row[j];
        row[j] = Math.min(change, 1 + Math.min(row[j], row[j - 1]));
      }
    }
    return row[b.length()];
  }

  static <E extends Enum<E>> E constant(Class<E> type, String text) {
    for (E constant : type.getEnumConstants()) {
      if (constant.name().equalsIgnoreCase(text)) {
        return constant;
      }
    }
    throw new IllegalArgumentException(
        "'"
            + text
            + "' is not one of "
            + Arrays.stream(type.getEnumConstants())
                .map(constant -> constant.name().toLowerCase(Locale.ROOT))
                .collect(Collectors.joining(", ")));
  }

  /** Reads nothing into an id but an id, and no name twice. */
  private static final ObjectMapper STRICT =
      JsonMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
          .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
          .build();

  static Map<String, Integer> specialTokens(String json) {
    if (json == null || json.isBlank()) {
      return Map.of();
    }
    try {
      Map<String, Integer> tokens =
          STRICT.readValue(json, new TypeReference<Map<String, Integer>>() {});
      if (tokens != null && tokens.values().stream().allMatch(id -> id != null && id >= 0)) {
        return tokens;
      }
    } catch (JsonProcessingException e) {
      // Its message repeats the value; the one below says what is wanted.
    }
    throw new IllegalArgumentException(
        "not a JSON object of special tokens and their ids, as {\"<|endoftext|>\": 100257}");
  }

  private static long cacheBytes(String text) {
    long bytes;
    try {
      bytes = JavaUtils.byteStringAsBytes(text);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "'" + text + "' is not a number of bytes; write it as 32m or 33554432", e);
    }
    if (bytes < 512 << 10 || bytes > 1 << 30) {
      throw new IllegalArgumentException("'" + text + "' is not from 512k to 1g");
    }
    return bytes;
  }

  private static int number(String text, int least, int most) {
    try {
      int number = Integer.parseInt(text);
      if (number >= least && number <= most) {
        return number;
      }
    } catch (NumberFormatException e) {
      // The message is the same.
    }
    throw new IllegalArgumentException(
        "'" + text + "' is not a number from " + least + " to " + most);
  }

  private static String nonEmpty(String text, String what) {
    if (text.isEmpty()) {
      throw new IllegalArgumentException("empty; give " + what);
    }
    return text;
  }

  private static Optional<String> optional(String text) {
    return Optional.ofNullable(text).filter(value -> !value.isEmpty());
  }

  private static List<String> list(String text) {
    return Arrays.stream(text.split(",")).map(String::strip).filter(s -> !s.isEmpty()).toList();
  }
}
