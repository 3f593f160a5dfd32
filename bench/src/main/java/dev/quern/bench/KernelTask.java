package dev.quern.bench;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * What one process of one contender is to do, handed over as a JSON file (names in snake case) that
 * a JVM and a Python interpreter read alike.
 *
 * @param tool quern, quern-native (the same engine in a native program), jtokkit, gigatoken,
 *     snaptokens, tiktoken or tokenizers
 * @param engine the engine asked of Quern: auto, fast, reference; of quern-native also crate
 * @param allocator the allocator asked of Quern: auto, mimalloc, system
 * @param cacheBytes of each thread, asked of Quern; null: its default
 * @param tokenizer a built-in name or a file
 * @param pattern of a .tiktoken file that is not built in; null for others
 * @param ranks for tiktoken: the file of ranks; null if there is none
 * @param json for the others in Python: the tokenizer.json; null if there is none
 * @param corpus flat file of texts
 * @param documents in it
 * @param bytes of UTF-8 in it
 * @param pieces the first document of each piece of the first pass, in order; the first is 0
 * @param threads that encode at the same time
 * @param each every thread encodes all documents, in memory of its own and from another one on;
 *     else they are divided
 * @param passes over the same text after the first; 0: as many as fill a second, at least 3
 * @param clock wall, or cpu: time of the processor that the encoding thread takes
 * @param timed false: only the first pass, for its ids
 * @param addSpecialTokens of Quern: what the tokenizer's template adds, too
 * @param collect of Quern: the thread that made a batch gives freed memory back behind it
 * @param shortThreads of Quern: threads, {@code threads} at a time, that after all passes each
 *     encode a part of the documents and end; 0: none
 * @param library of Quern: the library's file, or for quern-native the program's; null: the packed
 *     one
 * @param control where {@code perf record --control} listens: sampling is on during the passes
 *     after the first; null: it is not asked
 * @param ids file to write the first pass's ids to; null: only hash them
 * @param result file to write the result to, as JSON
 */
record KernelTask(
    String tool,
    String engine,
    String allocator,
    Long cacheBytes,
    String tokenizer,
    String pattern,
    String ranks,
    String json,
    String corpus,
    int documents,
    long bytes,
    List<Integer> pieces,
    int threads,
    boolean each,
    int passes,
    String clock,
    boolean timed,
    boolean addSpecialTokens,
    boolean collect,
    int shortThreads,
    String library,
    String control,
    String ids,
    String result) {
  static final ObjectMapper JSON =
      new ObjectMapper().setPropertyNamingStrategy(PropertyNamingStrategies.SNAKE_CASE);

  static KernelTask read(Path file) throws IOException {
    return JSON.readValue(file.toFile(), KernelTask.class);
  }

  void write(Path file) throws IOException {
    JSON.writeValue(file.toFile(), this);
  }

  /** The tokenizer to load, with the engine that was asked for. */
  @JsonIgnore
  TokenizerSpec spec() {
    TokenizerSpec spec =
        spec(tokenizer, pattern)
            .withEngine(TokenizerSpec.Engine.valueOf(engine.toUpperCase(Locale.ROOT)));
    return cacheBytes == null ? spec : spec.withCacheBytesPerThread(cacheBytes);
  }

  /**
   * A tokenizer by built-in name or file.
   *
   * @param pattern of a .tiktoken file: a regular expression or a built-in name; else not looked at
   */
  static TokenizerSpec spec(String tokenizer, String pattern) {
    if (TokenizerSpec.builtInNames().contains(tokenizer)) {
      return TokenizerSpec.builtIn(tokenizer);
    }
    byte[] file;
    try {
      file = Files.readAllBytes(Path.of(tokenizer));
    } catch (IOException e) {
      throw new BenchException(
          BenchException.INPUT,
          "tokenizer "
              + tokenizer
              + " can't be read: name a file, or one of "
              + String.join(", ", TokenizerSpec.builtInNames()),
          e);
    }
    if (!tokenizer.endsWith(".tiktoken")) {
      return TokenizerSpec.huggingFace(file);
    }
    if (pattern == null) {
      throw new BenchException(
          BenchException.USAGE,
          "tokenizer "
              + tokenizer
              + " has ranks only: add its regular expression, or the built-in vocabulary whose it"
              + " is, with --pattern");
    }
    String regex =
        TokenizerSpec.builtInNames().contains(pattern)
            ? TokenizerSpec.builtInPattern(pattern)
            : pattern;
    return TokenizerSpec.tiktoken(file, regex, Map.of());
  }
}
