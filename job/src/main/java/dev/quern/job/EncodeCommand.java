package dev.quern.job;

import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.StringJoiner;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code quern encode}: standard input to token ids on standard output, without Spark. */
@Command(
    name = "quern encode",
    sortOptions = false,
    description = {
      "Encodes standard input, as one document of UTF-8, and prints its token ids on one line.",
      ""
    },
    footer = {
      "",
      "Examples:",
      "  echo -n 'Hello, world!' | quern encode",
      "  quern encode --tokenizer llama/tokenizer.json --tokens < document.txt",
      "",
      "Exit codes: 0 done, 2 wrong use, 3 the tokenizer or the text is at fault."
    })
public final class EncodeCommand implements Callable<Integer> {

  @Option(
      names = "--tokenizer",
      paramLabel = "T",
      defaultValue = "o200k_base",
      description = {
        "A built-in name (o200k_base, cl100k_base, p50k_base, r50k_base, gpt2), or a tokenizer.json or .tiktoken file"
            + " on this machine. Default: ${DEFAULT-VALUE}."
      })
  private String tokenizer;

  @Option(
      names = "--pattern",
      paramLabel = "P",
      description =
          "For a .tiktoken file, which has none: the pattern that splits the text, as a regular expression or the name"
              + " of the built-in tokenizer that uses it.")
  private String pattern;

  @Option(
      names = "--special-token",
      paramLabel = "TEXT=ID",
      description = "For a .tiktoken file: a special token; give it once for each.")
  private Map<String, Integer> specialTokens = Map.of();

  @Option(
      names = "--special-tokens-in-text",
      paramLabel = "text|token|error",
      defaultValue = "text",
      description =
          "What text that looks like a special token is: plain text, the token, or an error. Default: ${DEFAULT-VALUE}.")
  private String specialTokensInText;

  @Option(
      names = "--tokens",
      description = "Prints a line for each id: the id, a tab, its text in JSON quotes.")
  private boolean tokens;

  @Option(
      names = {"-h", "--help"},
      usageHelp = true,
      description = "Prints this text.")
  private boolean help;

  public static void main(String[] arguments) {
    System.exit(
        new CommandLine(new EncodeCommand())
            .setExecutionExceptionHandler(EncodeCommand::explain)
            .execute(arguments));
  }

  private static int explain(
      Exception failure, CommandLine command, CommandLine.ParseResult parsed) {
    command.getErr().println("quern encode: " + failure.getMessage());
    return failure instanceof IllegalArgumentException ? 2 : 3;
  }

  @Override
  public Integer call() throws IOException {
    PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
    try (NativeTokenizer loaded = NativeTokenizer.load(spec())) {
      byte[] text = System.in.readAllBytes();
      int[] ids = loaded.encode(text).toArray();
      if (tokens) {
        for (int id : ids) {
          String piece = new String(loaded.decode(new int[] {id}, false), StandardCharsets.UTF_8);
          out.println(id + "\t" + quoted(piece));
        }
      } else {
        StringJoiner line = new StringJoiner(" ");
        for (int id : ids) {
          line.add(Integer.toString(id));
        }
        out.println(line);
      }
    }
    out.flush();
    return 0;
  }

  private TokenizerSpec spec() {
    TokenizerSpec.SpecialTokensInText policy;
    try {
      policy =
          TokenizerSpec.SpecialTokensInText.valueOf(specialTokensInText.toUpperCase(Locale.ROOT));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "--special-tokens-in-text is '"
              + specialTokensInText
              + "'; it can be text, token or error",
          e);
    }
    return withoutPolicy().withSpecialTokensInText(policy);
  }

  private TokenizerSpec withoutPolicy() {
    if (TokenizerSpec.builtInNames().contains(tokenizer)) {
      return TokenizerSpec.builtIn(tokenizer);
    }
    Path file = Path.of(tokenizer);
    byte[] bytes;
    try {
      bytes = Files.readAllBytes(file);
    } catch (NoSuchFileException e) {
      throw new IllegalArgumentException(
          "there is no file and no built-in tokenizer '"
              + tokenizer
              + "'; the built-in ones are "
              + String.join(", ", TokenizerSpec.builtInNames()),
          e);
    } catch (IOException e) {
      throw new IllegalArgumentException(
          "can't read --tokenizer " + tokenizer + ": " + e.getMessage(), e);
    }
    if (!tokenizer.endsWith(".tiktoken")) {
      return TokenizerSpec.huggingFace(bytes);
    }
    if (pattern == null) {
      throw new IllegalArgumentException(
          tokenizer
              + " has ranks only: name the pattern that splits the text by --pattern (a regular expression, or one of "
              + String.join(", ", TokenizerSpec.builtInNames())
              + ")");
    }
    String regex =
        TokenizerSpec.builtInNames().contains(pattern)
            ? TokenizerSpec.builtInPattern(pattern)
            : pattern;
    return TokenizerSpec.tiktoken(bytes, regex, specialTokens);
  }

  /** JSON's quotes: a token may hold line ends, or half a character (shown as U+FFFD). */
  private static String quoted(String text) {
    StringBuilder quoted = new StringBuilder("\"");
    for (int codePoint : text.codePoints().toArray()) {
      if (codePoint == '"' || codePoint == '\\') {
        quoted.append('\\').appendCodePoint(codePoint);
      } else if (Character.isISOControl(codePoint) || List.of(0x2028, 0x2029).contains(codePoint)) {
        quoted.append(String.format("\\u%04x", codePoint));
      } else {
        quoted.appendCodePoint(codePoint);
      }
    }
    return quoted.append('"').toString();
  }
}
