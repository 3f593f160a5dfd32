package dev.quern.bench;

import com.fasterxml.jackson.annotation.JsonIgnore;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.PropertyNamingStrategies;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/**
 * What one process of one contender is to do, handed over as a JSON file (names in snake case) that
 * a JVM and a Python interpreter read alike.
 *
 * @param tool quern, jtokkit, tokenizers or tiktoken
 * @param engine the engine asked of Quern: auto, fast, reference
 * @param allocator the allocator asked of Quern: auto, mimalloc, system
 * @param tokenizer a built-in name or a file
 * @param pattern of a .tiktoken file that is not built in; null for others
 * @param ranks for tiktoken: the file of the vocabulary; null for others
 * @param corpus flat file of texts
 * @param threads that encode at the same time, each whole documents
 * @param warmPasses timed passes over the same text after the first
 * @param timed false: only write the ids
 * @param tailBytes the last bytes of the first pass, timed on their own as the steady speed
 * @param ids file to write the ids to; null: only hash them
 * @param result file to write the result to, as JSON
 */
record KernelTask(
    String tool,
    String engine,
    String allocator,
    String tokenizer,
    String pattern,
    String ranks,
    String corpus,
    int threads,
    int warmPasses,
    boolean timed,
    long tailBytes,
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

  /** The tokenizer to load, before an engine is chosen. */
  @JsonIgnore
  TokenizerSpec spec() {
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
