package dev.quern.job;

import dev.quern.sql.QuernConf;
import dev.quern.tokenizer.EncodeOptions.InvalidUtf8;
import dev.quern.tokenizer.LibraryOptions.Allocator;
import dev.quern.tokenizer.TokenizerSpec.Engine;
import dev.quern.tokenizer.TokenizerSpec.SpecialTokensInText;
import java.lang.reflect.Field;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.SparkConf;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Help;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.UnmatchedArgumentException;

/**
 * The options of a run. Each stands here once: its name, what it does, its default. A value comes
 * from the command line; else from the configuration key {@code spark.quern.job.<camelCase of the
 * name>}; else, for what SQL has a key for too, from that key; else from the default.
 */
@Command(
    name = "TokenizeJob",
    sortOptions = false,
    usageHelpWidth = TokenizeOptions.HELP_WIDTH,
    mixinStandardHelpOptions = false)
public final class TokenizeOptions {
  /** What the configuration keys of the options begin with. */
  public static final String KEY_PREFIX = QuernConf.PREFIX + "job.";

  static final int HELP_WIDTH = 118;

  /** What {@code --append-eos} without a token stands for. */
  static final String EOS_OF_TOKENIZER = "true";

  /** Options whose value SQL has a key for as well. */
  private static final Map<String, QuernConf.Entry<?>> SQL_KEYS =
      Map.of(
          "--tokenizer", QuernConf.TOKENIZER,
          "--engine", QuernConf.ENGINE,
          "--allocator", QuernConf.ALLOCATOR,
          "--invalid-utf8", QuernConf.INVALID_UTF8,
          "--special-tokens-in-text", QuernConf.SPECIAL_TOKENS_IN_TEXT,
          "--pattern", QuernConf.TIKTOKEN_PATTERN,
          "--special-tokens", QuernConf.TIKTOKEN_SPECIAL_TOKENS);

  /** The help, section by section. */
  static final Map<String, List<String>> SECTIONS = new LinkedHashMap<>();

  static {
    SECTIONS.put(
        "Input",
        List.of(
            "--input",
            "--input-format",
            "--text-column",
            "--keep",
            "--whole-file",
            "--input-option",
            "--limit",
            "--sample",
            "--seed"));
    SECTIONS.put(
        "Tokenizer",
        List.of(
            "--tokenizer",
            "--pattern",
            "--special-tokens",
            "--append-eos",
            "--add-special-tokens",
            "--special-tokens-in-text",
            "--engine",
            "--verify",
            "--allocator"));
    SECTIONS.put(
        "Documents set aside (the quarantine)", List.of("--invalid-utf8", "--max-document-bytes"));
    SECTIONS.put(
        "Output",
        List.of(
            "--output",
            "--format",
            "--compression",
            "--compression-level",
            "--encoding",
            "--file-bytes",
            "--mode"));
    SECTIONS.put("The run", List.of("--dry-run", "--help", "--version"));
  }

  /** Formats of the input. */
  public enum InputFormat {
    PARQUET,
    ORC,
    JSON,
    CSV,
    TEXT,
    TABLE;

    @Override
    public String toString() {
      return lower(this);
    }
  }

  /** Formats of the token files. */
  public enum OutputFormat {
    PARQUET(ParquetTokenFormat.class, List.of("zstd", "snappy", "gzip", "lz4", "none")),
    ARROW(ArrowTokenFormat.class, List.of("none", "zstd", "lz4"));

    private final Class<? extends TokenFileFormat> writer;
    private final List<String> compressions;

    OutputFormat(Class<? extends TokenFileFormat> writer, List<String> compressions) {
      this.writer = writer;
      this.compressions = compressions;
    }

    Class<? extends TokenFileFormat> writer() {
      return writer;
    }

    /** The codecs it can use, the default first. */
    List<String> compressions() {
      return compressions;
    }

    @Override
    public String toString() {
      return lower(this);
    }
  }

  /** What happens to an output that exists. */
  public enum Mode {
    ERROR,
    OVERWRITE;

    @Override
    public String toString() {
      return lower(this);
    }
  }

  private static String lower(Enum<?> constant) {
    return constant.name().toLowerCase(Locale.ROOT);
  }

  @Option(
      names = "--input",
      paramLabel = "URI",
      split = ",(?![^{}]*\\})",
      splitSynopsisLabel = ",",
      description =
          "Files or folders to read, on any Hadoop file system; globs work. Repeat it, or separate"
              + " with commas. With --input-format table: the name of a table or view.")
  private List<String> input = new ArrayList<>();

  @Option(
      names = "--input-format",
      paramLabel = "FORMAT",
      description =
          "One of parquet, orc, json (an object a line), csv (with a header), text, table. Default:"
              + " what the names of the files end with.")
  private InputFormat inputFormat;

  @Option(
      names = "--text-column",
      paramLabel = "NAME",
      defaultValue = "text",
      description =
          "The column with the documents, STRING or BINARY (taken as UTF-8). Not needed for text"
              + " files. Default: ${DEFAULT-VALUE}.")
  private String textColumn;

  @Option(
      names = "--keep",
      paramLabel = "NAME",
      split = ",",
      description =
          "Columns to copy to the output beside the ids, as an id or a source. For JSON this reads"
              + " the input once more, to find their types; columns of CSV are strings.")
  private List<String> keep = new ArrayList<>();

  @Option(
      names = "--whole-file",
      arity = "0..1",
      fallbackValue = "true",
      defaultValue = "false",
      paramLabel = "true|false",
      description = "Of text files, each file is a document. Default: each line is.")
  private boolean wholeFile;

  @Option(
      names = "--input-option",
      paramLabel = "NAME=VALUE",
      split = ",",
      description =
          "An option of Spark's reader of that format, as sep=; for CSV or pathGlobFilter=*.gz.")
  private Map<String, String> inputOption = new LinkedHashMap<>();

  @Option(
      names = "--limit",
      paramLabel = "N",
      description =
          "Read exactly N documents (fewer if there are fewer), for a trial: which ones is up to Spark, and"
              + " one core tokenizes them into one file. For many documents take --sample.")
  private Long limit;

  @Option(
      names = "--sample",
      paramLabel = "F",
      description =
          "Take about this fraction of the documents, 0 < F < 1, chosen by a hash of their text and"
              + " --seed: the same ones however the input is split; equal texts go together.")
  private Double sample;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Chooses the sample. Default: ${DEFAULT-VALUE}.")
  private long seed;

  @Option(
      names = "--tokenizer",
      paramLabel = "T",
      defaultValue = "o200k_base",
      description =
          "A built-in name (o200k_base, cl100k_base, p50k_base, r50k_base or gpt2), a name mapped by"
              + " spark.quern.tokenizers.<name>, or the URI of a tokenizer.json or .tiktoken file."
              + " Only the driver reads it. Default: ${DEFAULT-VALUE}.")
  private String tokenizer;

  @Option(
      names = "--pattern",
      paramLabel = "P",
      description =
          "For a .tiktoken file that is not built in: the built-in name whose pattern it shares, or a"
              + " regular expression.")
  private String pattern;

  @Option(
      names = "--special-tokens",
      paramLabel = "JSON",
      description = "Special tokens of such a file, as {\"<|endoftext|>\": 100257}. Default: none.")
  private String specialTokens;

  @Option(
      names = "--append-eos",
      arity = "0..1",
      paramLabel = "TOKEN",
      fallbackValue = EOS_OF_TOKENIZER,
      description =
          "End each document with the id of this token; without TOKEN, with the tokenizer's own end of"
              + " text, if it has exactly one of the usual names. It counts in token_count.")
  private String appendEos;

  @Option(
      names = "--add-special-tokens",
      arity = "0..1",
      fallbackValue = "true",
      defaultValue = "false",
      paramLabel = "true|false",
      description =
          "Add what the tokenizer's own template adds, as [CLS] and [SEP]. Default: add nothing.")
  private boolean addSpecialTokens;

  @Option(
      names = "--special-tokens-in-text",
      paramLabel = "POLICY",
      defaultValue = "text",
      description =
          "Text that looks like a special token, as <|endoftext|>, is text, becomes the token, or is an"
              + " error (the document is set aside). Default: ${DEFAULT-VALUE}.")
  private SpecialTokensInText specialTokensInText;

  @Option(
      names = "--engine",
      paramLabel = "ENGINE",
      defaultValue = "auto",
      description =
          "fast is Quern's own encoder, for byte-level BPE; reference is Hugging Face's crate, for every tokenizer."
              + " auto takes fast where it knows every part of the tokenizer; fast is an error where it does not."
              + " The ids are the same. Default: ${DEFAULT-VALUE}.")
  private Engine engine;

  @Option(
      names = "--verify",
      paramLabel = "F",
      defaultValue = "0",
      description =
          "Encode about this fraction of the documents, 0 <= F <= 1, a second time by the reference"
              + " engine, in the same task. A difference fails the run and names the document and the"
              + " first id that differs. Documents are chosen by a hash (XXH64) of their text: the same"
              + " ones in every run. Default: ${DEFAULT-VALUE}.")
  private double verify;

  @Option(
      names = "--allocator",
      paramLabel = "A",
      defaultValue = "auto",
      description =
          "Memory allocator of the native library: auto, mimalloc or system. A choice that an executor"
              + " can't meet is an error. Default: ${DEFAULT-VALUE}.")
  private Allocator allocator;

  @Option(
      names = "--invalid-utf8",
      paramLabel = "POLICY",
      defaultValue = "strict",
      description =
          "strict sets a document aside whose bytes are not UTF-8, with the position; replace puts"
              + " U+FFFD there, as browsers do. Default: ${DEFAULT-VALUE}.")
  private InvalidUtf8 invalidUtf8;

  @Option(
      names = "--max-document-bytes",
      paramLabel = "SIZE",
      defaultValue = "64MiB",
      converter = Bytes.class,
      description =
          "Longer documents are set aside. A document's ids stand in one row, and rows of many"
              + " millions of ids are more than some readers take. Default: ${DEFAULT-VALUE}.")
  private long maxDocumentBytes;

  @Option(
      names = "--output",
      paramLabel = "URI",
      description =
          "Folder for the token files. It is written aside, into .NAME.quern-ID beside it, and appears"
              + " whole at the end: token files, _SUCCESS, _quern/ (record, chart, quarantine).")
  private String output;

  @Option(
      names = "--format",
      paramLabel = "FORMAT",
      defaultValue = "parquet",
      description = "parquet, or arrow (Arrow IPC files). Default: ${DEFAULT-VALUE}.")
  private OutputFormat format;

  @Option(
      names = "--compression",
      paramLabel = "CODEC",
      description =
          "Parquet: zstd (default), snappy, gzip, lz4 or none. Arrow: none (default: files that can be"
              + " mapped into memory), zstd or lz4.")
  private String compression;

  @Option(
      names = "--compression-level",
      paramLabel = "N",
      description =
          "Of zstd: 1 (fastest) to 22 (smallest files). Default: that of the format's library.")
  private Integer compressionLevel;

  @Option(
      names = "--encoding",
      paramLabel = "E",
      description =
          "How ids stand in Parquet files, before compression: dictionary (default), plain,"
              + " delta_binary_packed, or byte_stream_split (which Spark reads only with"
              + " spark.sql.parquet.enableVectorizedReader=false).")
  private IdEncoding encoding;

  @Option(
      names = "--file-bytes",
      paramLabel = "SIZE",
      defaultValue = "256MiB",
      converter = Bytes.class,
      description =
          "Aim at token files of this size, by splitting the input accordingly. An estimate: half to"
              + " twice of it for ordinary text, in every encoding and compression, up to three times for"
              + " text with very many ids a byte (as hashes); columns of --keep come on top. Smaller where the input would not feed every core; larger where a file can't be"
              + " split (gzip, one Parquet row group). Default: ${DEFAULT-VALUE}.")
  private long fileBytes;

  @Option(
      names = "--mode",
      paramLabel = "MODE",
      defaultValue = "error",
      description =
          "If the output exists and is not an empty folder: error refuses to start, overwrite replaces it"
              + " once the new one is complete. Default: ${DEFAULT-VALUE}.")
  private Mode mode;

  @Option(
      names = "--dry-run",
      arity = "0..1",
      fallbackValue = "true",
      defaultValue = "false",
      paramLabel = "true|false",
      description =
          "Check everything (input, columns, tokenizer, output), print the plan, run nothing.")
  private boolean dryRun;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "Print this text.")
  private boolean help;

  @Option(
      names = {"-V", "--version"},
      versionHelp = true,
      description = "Print the version.")
  private boolean version;

  private String notice;

  private TokenizeOptions() {}

  /** A size in bytes: 1000, 64k, 256MiB, 1g; the units are powers of 1024. */
  static final class Bytes implements ITypeConverter<Long> {
    @Override
    public Long convert(String text) {
      java.util.regex.Matcher matcher =
          java.util.regex.Pattern.compile("(?i)(\\d{1,18})\\s*([kmgt]?)(?:i?b)?")
              .matcher(text.strip());
      if (matcher.matches()) {
        int shift =
            10 * " kmgt".indexOf((matcher.group(2) + " ").toLowerCase(Locale.ROOT).charAt(0));
        long value = Long.parseLong(matcher.group(1));
        if (value > 0 && value <= Long.MAX_VALUE >> shift) {
          return value << shift;
        }
      }
      throw new CommandLine.TypeConversionException("'" + text + "' is not a size, as 64MiB or 1g");
    }
  }

  /**
   * Options from the command line only.
   *
   * @throws JobException with {@link JobException.Exit#USAGE}, saying what is wrong with which
   */
  public static TokenizeOptions parse(String... arguments) {
    return parse(List.of(arguments), key -> null);
  }

  /** Options from the command line, and from that application's configuration. */
  public static TokenizeOptions parse(List<String> arguments, SparkConf conf) {
    return parse(arguments, key -> conf.get(key, null));
  }

  static TokenizeOptions parse(List<String> arguments, Function<String, String> configuration) {
    TokenizeOptions options = new TokenizeOptions();
    CommandLine line = options.commandLine();
    line.setDefaultValueProvider(
        argument -> {
          if (!(argument instanceof OptionSpec option)) {
            return null;
          }
          String name = option.longestName();
          String value = configuration.apply(key(name));
          if (value == null && SQL_KEYS.containsKey(name)) {
            value = configuration.apply(SQL_KEYS.get(name).key());
          }
          return value;
        });
    try {
      line.parseArgs(arguments.toArray(String[]::new));
      if (line.isUsageHelpRequested()) {
        options.notice = line.getUsageMessage();
      } else if (line.isVersionHelpRequested()) {
        options.notice = "Quern " + QuernVersion.current() + System.lineSeparator();
      } else {
        options.check();
      }
      return options;
    } catch (ParameterException e) {
      throw JobException.usage(explain(e, line.getCommandSpec()));
    }
  }

  /** What is to be printed instead of a run, for --help and --version; else null. */
  String notice() {
    return notice;
  }

  private static String explain(ParameterException e, CommandSpec spec) {
    if (e instanceof UnmatchedArgumentException unmatched) {
      String argument = unmatched.getUnmatched().get(0);
      if (!argument.startsWith("-")) {
        return "unexpected argument '"
            + argument
            + "': every value belongs to an option; see --help";
      }
      String name =
          argument.contains("=") ? argument.substring(0, argument.indexOf('=')) : argument;
      return "unknown option "
          + name
          + QuernConf.nearest(name, names(spec))
              .map(nearest -> "; did you mean " + nearest + "?")
              .orElse("; --help lists them all");
    }
    String message = e.getMessage();
    java.util.regex.Matcher constants =
        java.util.regex.Pattern.compile(
                "expected one of \\[([A-Z_0-9, ]+)\\] \\(case-insensitive\\)")
            .matcher(message);
    if (constants.find()) {
      message =
          message.substring(0, constants.start())
              + "expected one of "
              + constants.group(1).toLowerCase(Locale.ROOT)
              + message.substring(constants.end());
    }
    return Character.toLowerCase(message.charAt(0)) + message.substring(1) + "; see --help";
  }

  private void check() {
    if (input.isEmpty() || output == null) {
      throw JobException.usage(
          (input.isEmpty() ? "--input" : "--output")
              + " is missing (example: --input docs.parquet --output tokens); see --help");
    }
    if (limit != null && sample != null) {
      throw JobException.usage("--limit and --sample exclude each other: give one of them");
    }
    if (limit != null && limit < 0) {
      throw JobException.usage("--limit " + limit + " is negative");
    }
    if (sample != null && !(sample > 0 && sample < 1)) {
      throw JobException.usage("--sample " + sample + " is not a fraction between 0 and 1");
    }
    if (!(verify >= 0 && verify <= 1)) {
      throw JobException.usage(
          "--verify " + verify + " is not a fraction: give 0 (none) to 1 (all documents)");
    }
    if (maxDocumentBytes > Integer.MAX_VALUE) {
      throw JobException.usage("--max-document-bytes is at most 2147483647, what an array holds");
    }
    if (compression != null
        && !format.compressions().contains(compression.toLowerCase(Locale.ROOT))) {
      throw JobException.usage(
          "--compression "
              + compression
              + ": "
              + format
              + " files have one of "
              + String.join(", ", format.compressions()));
    }
    if (encoding != null && format != OutputFormat.PARQUET) {
      throw JobException.usage("--encoding is for --format parquet, not for " + format);
    }
    if (compressionLevel != null && !compression().equals("zstd")) {
      throw JobException.usage(
          "--compression-level is for --compression zstd, not for " + compression());
    }
    if (compressionLevel != null
        && (compressionLevel < 1 || compressionLevel > WriteOptions.HIGHEST_LEVEL)) {
      throw JobException.usage(
          "--compression-level " + compressionLevel + ": give 1 to " + WriteOptions.HIGHEST_LEVEL);
    }
    if (wholeFile && inputFormat != null && inputFormat != InputFormat.TEXT) {
      throw JobException.usage("--whole-file is for text files, not for " + inputFormat);
    }
    if (keep.stream().anyMatch(String::isBlank)) {
      throw JobException.usage("--keep has an empty column name");
    }
    Set<String> names = new TreeSet<>(String.CASE_INSENSITIVE_ORDER);
    names.addAll(keep);
    if (names.size() < keep.size()) {
      throw JobException.usage(
          "--keep names a column twice: "
              + String.join(", ", keep)
              + " (upper and lower case are the same)");
    }
  }

  /** The configuration key of an option. */
  static String key(String name) {
    StringBuilder key = new StringBuilder(KEY_PREFIX);
    String[] words = name.replaceFirst("^--", "").split("-");
    key.append(words[0]);
    for (int i = 1; i < words.length; i++) {
      key.append(Character.toUpperCase(words[i].charAt(0))).append(words[i].substring(1));
    }
    return key.toString();
  }

  /** The options that have a key: all but --help and --version. */
  static List<OptionSpec> keyed() {
    return new TokenizeOptions()
        .commandLine().getCommandSpec().options().stream()
            .filter(option -> !option.usageHelp() && !option.versionHelp())
            .toList();
  }

  private static List<String> names(CommandSpec spec) {
    return spec.options().stream().flatMap(option -> Arrays.stream(option.names())).toList();
  }

  /** Makes the options' keys known as configuration, so that a misspelt one is noticed. */
  public static final class Keys implements QuernConf.Provider {
    @Override
    public Collection<QuernConf.Entry<?>> entries() {
      List<QuernConf.Entry<?>> entries = new ArrayList<>();
      for (OptionSpec option : keyed()) {
        entries.add(
            new QuernConf.Entry<>(
                key(option.longestName()),
                QuernConf.Scope.SESSION,
                null,
                "As the job's option " + option.longestName() + ", which wins.",
                text -> text));
      }
      return entries;
    }
  }

  /**
   * Refuses keys of ours that nothing reads, and values that are not allowed.
   *
   * @throws JobException naming each; of keys also the nearest there is
   */
  static void checkKeys(SparkConf conf) {
    List<String> known = QuernConf.allEntries().stream().map(QuernConf.Entry::key).toList();
    List<String> wrong = new ArrayList<>();
    for (scala.Tuple2<String, String> setting : conf.getAllWithPrefix(QuernConf.PREFIX)) {
      String key = QuernConf.PREFIX + setting._1();
      if (known.stream().noneMatch(candidate -> covers(candidate, key))) {
        wrong.add(
            "unknown configuration key "
                + key
                + QuernConf.nearest(key, known)
                    .map(nearest -> "; did you mean " + nearest + "?")
                    .orElse(""));
      }
    }
    for (QuernConf.Entry<?> entry : QuernConf.allEntries()) {
      try {
        if (conf.contains(entry.key())) {
          entry.value(conf);
        }
      } catch (IllegalArgumentException e) {
        wrong.add(e.getMessage());
      }
    }
    if (!wrong.isEmpty()) {
      throw JobException.usage(wrong.stream().sorted().collect(Collectors.joining("\n")));
    }
  }

  private static boolean covers(String known, String key) {
    int family = known.indexOf('<');
    return family < 0
        ? known.equals(key)
        : key.startsWith(known.substring(0, family)) && key.length() > family;
  }

  private CommandLine commandLine() {
    CommandLine line = new CommandLine(this);
    line.setCaseInsensitiveEnumValuesAllowed(true);
    line.setOverwrittenOptionsAllowed(false);
    line.setUsageHelpLongOptionsMaxWidth(34);
    line.setHelpSectionKeys(List.of("quern"));
    line.getHelpSectionMap().put("quern", TokenizeOptions::usage);
    return line;
  }

  private static String usage(Help help) {
    Map<String, OptionSpec> options = new TreeMap<>();
    help.commandSpec().options().forEach(option -> options.put(option.longestName(), option));
    StringBuilder text = new StringBuilder();
    text.append(resource("help-head.txt"));
    SECTIONS.forEach(
        (section, names) -> {
          text.append('\n').append(section).append(":\n");
          Help.Layout layout = help.createDefaultLayout(List.of(), List.of(), help.colorScheme());
          for (String name : names) {
            layout.addOption(options.get(name), help.createDefaultParamLabelRenderer());
          }
          text.append(layout);
        });
    text.append("\nExit codes:\n");
    for (JobException.Exit exit : JobException.Exit.values()) {
      text.append(String.format("  %3d  %s%n", exit.code(), wrapped(exit.meaning(), "       ")));
    }
    text.append(resource("help-tail.txt"));
    return text.toString();
  }

  private static String wrapped(String text, String indent) {
    StringBuilder lines = new StringBuilder();
    int column = indent.length();
    for (String word : text.split(" ")) {
      if (column + word.length() > HELP_WIDTH) {
        lines.append(System.lineSeparator()).append(indent);
        column = indent.length();
      } else if (lines.length() > 0) {
        lines.append(' ');
      }
      lines.append(word);
      column += word.length() + 1;
    }
    return lines.toString();
  }

  private static String resource(String name) {
    try (java.io.InputStream in = TokenizeOptions.class.getResourceAsStream(name)) {
      return new String(in.readAllBytes(), java.nio.charset.StandardCharsets.UTF_8);
    } catch (java.io.IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }

  /** The options as a table for the README, tested against it. */
  public static String toMarkdown() {
    StringBuilder table = new StringBuilder("| Option | Key | Meaning |\n|---|---|---|\n");
    Map<String, OptionSpec> options = new TreeMap<>();
    keyed().forEach(option -> options.put(option.longestName(), option));
    SECTIONS.values().stream()
        .flatMap(List::stream)
        .filter(options::containsKey)
        .forEach(
            name -> {
              OptionSpec option = options.get(name);
              String meaning =
                  String.join(" ", option.description())
                      .replace("${DEFAULT-VALUE}", String.valueOf(option.defaultValue()))
                      .replaceAll("(<[^ ]+>|\\{[^}]*\\})", "`$1`")
                      .replace("|", "\\|");
              table.append(
                  String.format(
                      "| `%s %s` | `%s` | %s |%n",
                      name, option.paramLabel().replace("|", "\\|"), key(name), meaning));
            });
    return table.toString();
  }

  /** Every option with its value, for the run's record. */
  public Map<String, String> values() {
    Map<String, String> values = new TreeMap<>();
    for (Field field : TokenizeOptions.class.getDeclaredFields()) {
      Option option = field.getAnnotation(Option.class);
      if (option != null && !option.usageHelp() && !option.versionHelp()) {
        try {
          Object value = field.get(this);
          String text =
              value instanceof List<?> list
                  ? list.stream().map(String::valueOf).collect(Collectors.joining(","))
                  : value instanceof Enum<?> constant ? lower(constant) : String.valueOf(value);
          if (value != null) {
            values.put(option.names()[0].substring(2), text);
          }
        } catch (IllegalAccessException e) {
          throw new IllegalStateException(e);
        }
      }
    }
    values.put("compression", compression());
    return values;
  }

  public List<String> input() {
    return input;
  }

  /** Null: to be inferred. */
  public InputFormat inputFormat() {
    return inputFormat;
  }

  public String textColumn() {
    return textColumn;
  }

  public List<String> keep() {
    return keep;
  }

  public boolean wholeFile() {
    return wholeFile;
  }

  public Map<String, String> inputOptions() {
    return inputOption;
  }

  /** Null: all. */
  public Long limit() {
    return limit;
  }

  /** 1: all. */
  public double sample() {
    return sample == null ? 1 : sample;
  }

  public long seed() {
    return seed;
  }

  public String tokenizer() {
    return tokenizer;
  }

  /**
   * What TokenizerReference takes: the options that belong to the tokenizer, where they are given.
   */
  Map<String, String> tokenizerOptions() {
    Map<String, String> options = new TreeMap<>();
    options.put("engine", lower(engine));
    options.put("special_tokens_in_text", lower(specialTokensInText));
    Stream.of(
            Map.entry("pattern", java.util.Optional.ofNullable(pattern)),
            Map.entry("special_tokens", java.util.Optional.ofNullable(specialTokens)))
        .forEach(entry -> entry.getValue().ifPresent(value -> options.put(entry.getKey(), value)));
    return options;
  }

  /** Null: nothing is appended; {@link #EOS_OF_TOKENIZER}: the tokenizer's own. */
  public String appendEos() {
    return "false".equals(appendEos) ? null : appendEos;
  }

  public boolean addSpecialTokens() {
    return addSpecialTokens;
  }

  /** 0: none; 1: all. */
  public double verify() {
    return verify;
  }

  public Allocator allocator() {
    return allocator;
  }

  public InvalidUtf8 invalidUtf8() {
    return invalidUtf8;
  }

  public long maxDocumentBytes() {
    return maxDocumentBytes;
  }

  public String output() {
    return output;
  }

  public OutputFormat format() {
    return format;
  }

  public String compression() {
    return compression == null
        ? format.compressions().get(0)
        : compression.toLowerCase(Locale.ROOT);
  }

  /** What the format's writer takes: {@link WriteOptions}. */
  Map<String, String> writeOptions() {
    Map<String, String> options = new TreeMap<>();
    options.put(WriteOptions.COMPRESSION, compression());
    if (encoding != null) {
      options.put(WriteOptions.ENCODING, encoding.toString());
    }
    if (compressionLevel != null) {
      options.put(WriteOptions.LEVEL, compressionLevel.toString());
    }
    return options;
  }

  public long fileBytes() {
    return fileBytes;
  }

  public Mode mode() {
    return mode;
  }

  public boolean dryRun() {
    return dryRun;
  }
}
