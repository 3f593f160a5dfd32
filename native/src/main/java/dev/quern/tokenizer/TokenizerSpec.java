package dev.quern.tokenizer;

import dev.quern.tokenizer.TokenizerException.Reason;
import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.util.Arrays;
import java.util.Collections;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;

/**
 * What to load: the bytes of a tokenizer file and the options that belong to it. Immutable,
 * serializable (a driver reads the file, executors get the bytes) and equal by content. Nothing is
 * checked here; {@link NativeTokenizer#load} does that.
 */
public final class TokenizerSpec implements Serializable {
  private static final long serialVersionUID = 1L;

  /** Of {@link #withCacheBytesPerThread}: 32 MiB. */
  public static final long DEFAULT_CACHE_BYTES_PER_THREAD = 32L << 20;

  /** Kinds of tokenizer files. */
  public enum Format {
    /** A tokenizer.json of Hugging Face's tokenizers. */
    HUGGING_FACE,
    /** Lines of a base64 token and its rank; pattern and special tokens stand outside the file. */
    TIKTOKEN
  }

  /** Which encoder does the work. Configuration key spark.quern.engine. */
  public enum Engine {
    /** Quern's own where it knows every part of the tokenizer, else Hugging Face's crate. */
    AUTO,
    /** Quern's own; an error that names the part, if there is one that it does not know. */
    FAST,
    /** Hugging Face's crate. */
    REFERENCE
  }

  /**
   * What a document's text means that looks like a special token (as {@code <|endoftext|>}).
   * Hugging Face's default is TOKEN, that of tiktoken's encode ERROR, of its encode_ordinary TEXT.
   * A corpus is data, so TEXT is ours for both kinds of file.
   */
  public enum SpecialTokensInText {
    /** Text like any other. */
    TEXT,
    /** The special token. */
    TOKEN,
    /** A {@link TokenizerException} with its byte position. */
    ERROR
  }

  private final Format format;
  private final byte[] file;
  private final String pattern;
  private final TreeMap<String, Integer> specialTokens;
  private final Engine engine;
  private final SpecialTokensInText specialTokensInText;
  private final boolean truncation;
  private final boolean padding;
  private final long cacheBytesPerThread;

  private TokenizerSpec(
      Format format,
      byte[] file,
      String pattern,
      TreeMap<String, Integer> specialTokens,
      Engine engine,
      SpecialTokensInText specialTokensInText,
      boolean truncation,
      boolean padding,
      long cacheBytesPerThread) {
    this.format = format;
    this.file = file;
    this.pattern = pattern;
    this.specialTokens = specialTokens;
    this.engine = engine;
    this.specialTokensInText = specialTokensInText;
    this.truncation = truncation;
    this.padding = padding;
    this.cacheBytesPerThread = cacheBytesPerThread;
  }

  /**
   * A tokenizer.json of Hugging Face's tokenizers.
   *
   * @param tokenizerJson the file's bytes; copied
   */
  public static TokenizerSpec huggingFace(byte[] tokenizerJson) {
    return of(Format.HUGGING_FACE, tokenizerJson.clone(), null, Map.of());
  }

  /**
   * A .tiktoken file.
   *
   * @param ranks the file's bytes; copied
   * @param pattern regular expression of the pre-tokens
   * @param specialTokens text and id of each special token; may be empty
   */
  public static TokenizerSpec tiktoken(
      byte[] ranks, String pattern, Map<String, Integer> specialTokens) {
    return of(
        Format.TIKTOKEN, ranks.clone(), Objects.requireNonNull(pattern, "pattern"), specialTokens);
  }

  /**
   * One of the built-in tokenizers.
   *
   * @param name o200k_base, cl100k_base, p50k_base, r50k_base or its other name gpt2
   * @throws TokenizerException if there is none of that name; the message lists them
   */
  public static TokenizerSpec builtIn(String name) {
    BuiltIn builtIn = known(name);
    try (InputStream in =
        TokenizerSpec.class.getClassLoader().getResourceAsStream(builtIn.resource())) {
      if (in == null) {
        throw new TokenizerException(
            Reason.UNSUPPORTED,
            "the ranks of "
                + name
                + " are missing: no resource "
                + builtIn.resource()
                + " on the class path; add the jar com.knuddels:jtokkit, which has it");
      }
      return of(Format.TIKTOKEN, in.readAllBytes(), builtIn.pattern, builtIn.specialTokens);
    } catch (IOException e) {
      throw new TokenizerException(
          Reason.UNSUPPORTED,
          "the resource " + builtIn.resource() + " can't be read; check the jar that holds it",
          e);
    }
  }

  /** Names that {@link #builtIn} knows, aliases included. */
  public static Set<String> builtInNames() {
    return Collections.unmodifiableSet(BuiltIn.byName().keySet());
  }

  /**
   * The pattern of a built-in tokenizer, for other .tiktoken files that are split the same way.
   *
   * @throws TokenizerException if there is none of that name; the message lists them
   */
  public static String builtInPattern(String name) {
    return known(name).pattern;
  }

  private static BuiltIn known(String name) {
    BuiltIn builtIn = BuiltIn.byName().get(Objects.requireNonNull(name, "name"));
    if (builtIn == null) {
      throw new TokenizerException(
          Reason.UNSUPPORTED,
          "there is no built-in tokenizer '"
              + name
              + "'; the built-in ones are "
              + String.join(", ", BuiltIn.byName().keySet()));
    }
    return builtIn;
  }

  private static TokenizerSpec of(
      Format format, byte[] file, String pattern, Map<String, Integer> specialTokens) {
    return new TokenizerSpec(
        format,
        file,
        pattern,
        new TreeMap<>(specialTokens),
        Engine.AUTO,
        SpecialTokensInText.TEXT,
        false,
        false,
        DEFAULT_CACHE_BYTES_PER_THREAD);
  }

  public TokenizerSpec withEngine(Engine value) {
    return new TokenizerSpec(
        format,
        file,
        pattern,
        specialTokens,
        Objects.requireNonNull(value, "engine"),
        specialTokensInText,
        truncation,
        padding,
        cacheBytesPerThread);
  }

  public TokenizerSpec withSpecialTokensInText(SpecialTokensInText value) {
    return new TokenizerSpec(
        format,
        file,
        pattern,
        specialTokens,
        engine,
        Objects.requireNonNull(value, "specialTokensInText"),
        truncation,
        padding,
        cacheBytesPerThread);
  }

  /** Whether the file's truncation section is applied; if not (the default), no text is lost. */
  public TokenizerSpec withTruncation(boolean value) {
    return new TokenizerSpec(
        format,
        file,
        pattern,
        specialTokens,
        engine,
        specialTokensInText,
        value,
        padding,
        cacheBytesPerThread);
  }

  /** Whether the file's padding section is applied; the default is false. */
  public TokenizerSpec withPadding(boolean value) {
    return new TokenizerSpec(
        format,
        file,
        pattern,
        specialTokens,
        engine,
        specialTokensInText,
        truncation,
        value,
        cacheBytesPerThread);
  }

  /**
   * How much native memory the fast engine may keep for each thread that uses it, caches and all,
   * whatever the number of tokenizers: from 512 KiB to 1 GiB. It changes no id and no content hash.
   */
  public TokenizerSpec withCacheBytesPerThread(long value) {
    return new TokenizerSpec(
        format,
        file,
        pattern,
        specialTokens,
        engine,
        specialTokensInText,
        truncation,
        padding,
        value);
  }

  public Format format() {
    return format;
  }

  /** The file's bytes, as a new array. */
  public byte[] file() {
    return file.clone();
  }

  /** The file's bytes themselves. */
  byte[] sharedFile() {
    return file;
  }

  /** The pattern of a .tiktoken file; null for other formats. */
  public String pattern() {
    return pattern;
  }

  /** Special tokens given for a .tiktoken file; empty for other formats. */
  public Map<String, Integer> specialTokens() {
    return Collections.unmodifiableMap(specialTokens);
  }

  public Engine engine() {
    return engine;
  }

  public SpecialTokensInText specialTokensInText() {
    return specialTokensInText;
  }

  public boolean truncation() {
    return truncation;
  }

  public boolean padding() {
    return padding;
  }

  public long cacheBytesPerThread() {
    return cacheBytesPerThread;
  }

  /** The options as the native library reads them. */
  String optionsJson() {
    StringBuilder json = new StringBuilder(512);
    json.append("{\"format\":")
        .append(format == Format.TIKTOKEN ? "\"tiktoken\"" : "\"huggingface\"")
        .append(",\"engine\":\"")
        .append(engine.name().toLowerCase(Locale.ROOT))
        .append("\",\"special_tokens_in_text\":\"")
        .append(specialTokensInText.name().toLowerCase(Locale.ROOT))
        .append("\",\"truncation\":")
        .append(truncation)
        .append(",\"padding\":")
        .append(padding)
        .append(",\"cache_bytes_per_thread\":")
        .append(cacheBytesPerThread);
    if (format == Format.TIKTOKEN) {
      json.append(",\"pattern\":").append(Json.quote(pattern)).append(",\"special_tokens\":{");
      String separator = "";
      for (Map.Entry<String, Integer> token : specialTokens.entrySet()) {
        json.append(separator)
            .append(Json.quote(token.getKey()))
            .append(':')
            .append(token.getValue());
        separator = ",";
      }
      json.append('}');
    }
    return json.append('}').toString();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenizerSpec that
        && format == that.format
        && engine == that.engine
        && specialTokensInText == that.specialTokensInText
        && truncation == that.truncation
        && padding == that.padding
        && cacheBytesPerThread == that.cacheBytesPerThread
        && Objects.equals(pattern, that.pattern)
        && specialTokens.equals(that.specialTokens)
        && Arrays.equals(file, that.file);
  }

  @Override
  public int hashCode() {
    return Objects.hash(
        format,
        engine,
        specialTokensInText,
        truncation,
        padding,
        cacheBytesPerThread,
        pattern,
        specialTokens,
        Arrays.hashCode(file));
  }

  /** Kind, size and options; never the content. */
  @Override
  public String toString() {
    return "TokenizerSpec(" + format + ", " + file.length + " bytes, engine " + engine + ")";
  }
}
