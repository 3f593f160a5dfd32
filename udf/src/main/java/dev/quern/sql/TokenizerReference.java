package dev.quern.sql;

import dev.quern.tokenizer.LibraryOptions;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.QuernLibrary;
import dev.quern.tokenizer.TokenizerException;
import dev.quern.tokenizer.TokenizerException.Reason;
import dev.quern.tokenizer.TokenizerSpec;
import dev.quern.tokenizer.TokenizerSpec.Engine;
import java.io.Serializable;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.IntSupplier;
import org.apache.spark.SparkEnv;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.SparkSession;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The tokenizer that a plan carries: its name, the hash of its content, the engine, and a broadcast
 * of its file. The driver makes it with {@link #resolve}; driver and executors {@link #open} it.
 *
 * <p>Two references are equal if they give the same ids by the same engine; names don't matter.
 */
public final class TokenizerReference implements Serializable {
  private static final long serialVersionUID = 1L;
  private static final Logger LOG = LoggerFactory.getLogger(TokenizerReference.class);

  private record Loaded(String contentHash, Engine engine) {}

  /**
   * Tokenizers of this JVM, the longest unused one first. One that falls out is freed when its last
   * user is gone (NativeTokenizer has a Cleaner), so a server that sees ever new files does not
   * grow for ever. The lock makes each load only once.
   */
  private static final Map<Loaded, NativeTokenizer> OPEN =
      leastRecentlyUsed(TokenizerReference::keptOpen);

  private final String name;
  private final String contentHash;
  private final Engine requestedEngine;
  private final String engine;
  private final Broadcast<TokenizerSpec> spec;

  TokenizerReference(
      String name,
      String contentHash,
      Engine requestedEngine,
      String engine,
      Broadcast<TokenizerSpec> spec) {
    this.name = name;
    this.contentHash = contentHash;
    this.requestedEngine = requestedEngine;
    this.engine = engine;
    this.spec = spec;
  }

  /**
   * Finds, reads, checks and broadcasts a tokenizer. On the driver only.
   *
   * @param session whose configuration, file systems and credentials count
   * @param name a built-in name, a mapped name, a file given by {@code --files}, or a URI of a
   *     tokenizer.json or .tiktoken file; null for the session's {@link QuernConf#TOKENIZER}
   * @param options as those of the SQL functions that decide what is loaded: engine, pattern,
   *     special_tokens, special_tokens_in_text; the session's configuration stands in for the rest
   * @param trusted true if whoever started the application chose the name: any file may then be
   *     read, and {@link QuernConf#ALLOWED_TOKENIZER_PATHS} does not count. Never true for a name
   *     from SQL.
   * @throws TokenizerException if the tokenizer is unknown, not allowed or can't be loaded
   * @throws IllegalArgumentException if an option is unknown or has a wrong value
   */
  public static TokenizerReference resolve(
      SparkSession session, String name, Map<String, String> options, boolean trusted) {
    var classic = (org.apache.spark.sql.classic.SparkSession) session;
    var conf = classic.sessionState().conf();
    FunctionOptions parsed =
        FunctionOptions.parse(options, FunctionOptions.Option.OF_TOKENIZER, conf);
    return TokenizerResolver.resolve(
        classic, name == null ? QuernConf.TOKENIZER.value(conf) : name, parsed, trusted);
  }

  /**
   * The same tokenizer by the reference engine, of the same broadcast: the same ids, or one of the
   * engines has a defect.
   */
  public TokenizerReference ofReferenceEngine() {
    return new TokenizerReference(name, contentHash, Engine.REFERENCE, "reference", spec);
  }

  /**
   * The one tokenizer of this JVM with that content and engine, loaded if it is not yet. All tasks
   * share it; nobody closes it.
   *
   * @throws TokenizerException if the native library or the tokenizer can't be loaded here
   */
  public NativeTokenizer open() {
    synchronized (OPEN) {
      NativeTokenizer tokenizer = OPEN.get(new Loaded(contentHash, requestedEngine));
      return tokenizer != null
          ? tokenizer
          : load(spec.value().withEngine(requestedEngine), name, contentHash);
    }
  }

  /** How many tokenizers this JVM keeps open that nobody may be using. */
  static int keptOpen() {
    SparkEnv environment = SparkEnv.get();
    return environment == null
        ? QuernConf.CACHE_TOKENIZERS.parse(null)
        : QuernConf.CACHE_TOKENIZERS.value(environment.conf());
  }

  /** A map that forgets the entry that was used longest ago when there are too many. */
  static <K, V> Map<K, V> leastRecentlyUsed(IntSupplier capacity) {
    return new LinkedHashMap<>(16, 0.75f, true) {
      private static final long serialVersionUID = 1L;

      @Override
      protected boolean removeEldestEntry(Map.Entry<K, V> eldest) {
        return size() > capacity.getAsInt();
      }
    };
  }

  /**
   * Loads a tokenizer into this JVM.
   *
   * @param expectedHash what its content hash must be; null if that is to be found out
   */
  static NativeTokenizer load(TokenizerSpec spec, String name, String expectedHash) {
    synchronized (OPEN) {
      SparkEnv environment = SparkEnv.get();
      LibraryOptions library =
          environment == null
              ? LibraryOptions.DEFAULT
              : QuernConf.libraryOptions(environment.conf());
      QuernLibrary.load(library);
      if (environment != null) {
        // Each JVM's own: it changes no id, and takes no part in what the driver sends.
        long cacheBytes = QuernConf.CACHE_BYTES_PER_THREAD.value(environment.conf());
        spec = spec.withCacheBytesPerThread(cacheBytes);
      }
      NativeTokenizer tokenizer = NativeTokenizer.load(spec);
      if (expectedHash != null && !expectedHash.equals(tokenizer.contentHash())) {
        throw new TokenizerException(
            Reason.INTERNAL,
            "the tokenizer "
                + name
                + " has the content hash "
                + tokenizer.contentHash()
                + " here and "
                + expectedHash
                + " on the driver; give driver and executors the same version of Quern");
      }
      NativeTokenizer loadedBefore =
          OPEN.putIfAbsent(new Loaded(tokenizer.contentHash(), spec.engine()), tokenizer);
      if (loadedBefore != null) {
        return loadedBefore;
      }
      LOG.info(
          "Tokenizer {} loaded: hash {}, engine {} ({}), vector instructions {}, allocator {}",
          name,
          tokenizer.contentHash(),
          tokenizer.engine(),
          tokenizer.engineReason(),
          tokenizer.simd(),
          QuernLibrary.allocator());
      if (!tokenizer.notices().isEmpty()) {
        LOG.warn("Tokenizer {}: {}", name, String.join("; ", tokenizer.notices()));
      }
      return tokenizer;
    }
  }

  Broadcast<TokenizerSpec> broadcast() {
    return spec;
  }

  /** As it was asked for: a name or a URI. */
  public String name() {
    return name;
  }

  /** SHA-256 of the file and of the options that change ids, as 64 hexadecimal digits. */
  public String contentHash() {
    return contentHash;
  }

  /** The engine that serves it: reference or fast. */
  public String engine() {
    return engine;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenizerReference that
        && contentHash.equals(that.contentHash)
        && requestedEngine == that.requestedEngine;
  }

  @Override
  public int hashCode() {
    return contentHash.hashCode() * 31 + requestedEngine.name().hashCode();
  }

  /** As EXPLAIN shows it: name, first digits of the hash, engine. */
  @Override
  public String toString() {
    return as(name);
  }

  /** The same under a name that a column may use for it. */
  String as(String name) {
    return name + " " + contentHash.substring(0, 12) + " " + engine;
  }
}
