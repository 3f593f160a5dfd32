package dev.quern.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.fail;
import static org.assertj.core.api.Assumptions.assumeThat;

import com.knuddels.jtokkit.Encodings;
import com.knuddels.jtokkit.api.Encoding;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * An independent implementation of the built-in tokenizers gives the same ids. It takes character
 * classes from the JDK, so it judges only characters that the running JDK knows; the goldens are
 * there for the others.
 */
class JtokkitTest {
  static Stream<String> names() {
    return TokenizerSpec.builtInNames().stream();
  }

  private static Encoding jtokkit(String name) {
    return Encodings.newLazyEncodingRegistry()
        .getEncoding(name.equals("gpt2") ? "r50k_base" : name)
        .orElseThrow();
  }

  private static boolean known(String text) {
    return text.codePoints().allMatch(Character::isDefined);
  }

  private static void compare(String name, List<String> documents) {
    Encoding judge = jtokkit(name);
    try (NativeTokenizer tokenizer = NativeTokenizer.load(TokenizerSpec.builtIn(name))) {
      for (String text : documents) {
        int[] ids = tokenizer.encode(text);
        assertThat(new String(tokenizer.decode(ids, false), StandardCharsets.UTF_8))
            .isEqualTo(text);
        if (!known(text)) {
          continue;
        }
        int[] expected = judge.encodeOrdinary(text).toArray();
        if (!Arrays.equals(ids, expected)) {
          int at = Arrays.mismatch(ids, expected);
          fail(
              "%s: id %d differs (ours %s, jtokkit %s) in %s",
              name,
              at,
              at < ids.length ? ids[at] : "none",
              at < expected.length ? expected[at] : "none",
              Json.quote(text));
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("names")
  void hardTextGivesTheSameIds(String name) {
    List<String> documents = new ArrayList<>(Goldens.texts());
    documents.addAll(new HardText(HardText.seed(getClass())).documents(400));
    documents.add("a".repeat(100_000));
    documents.add(" ".repeat(100_000));
    documents.add("ab1 ".repeat(20_000));
    documents.add("快速的棕色狐狸".repeat(3_000));
    compare(name, documents);
  }

  @Tag("long")
  @ParameterizedTest
  @MethodSource("names")
  void muchHardTextGivesTheSameIds(String name) {
    compare(name, new HardText(HardText.seed(getClass())).documents(100_000));
  }

  @ParameterizedTest
  @MethodSource("names")
  void sampleCorpusGivesTheSameIds(String name) throws IOException {
    Path sample =
        Path.of("..", "job", "src/main/resources/dev/quern/job/sample", "documents.jsonl");
    assumeThat(sample).exists();
    List<String> documents =
        Files.readAllLines(sample).stream()
            .map(line -> (String) Json.object(line).get("text"))
            .toList();
    compare(name, documents);
  }
}
