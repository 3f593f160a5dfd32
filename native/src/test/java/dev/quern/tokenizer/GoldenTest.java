package dev.quern.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.quern.tokenizer.EncodeOptions.InvalidUtf8;
import dev.quern.tokenizer.TokenizerException.Reason;
import dev.quern.tokenizer.TokenizerSpec.SpecialTokensInText;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Ids, offsets and text equal those of the Python packages tokenizers and tiktoken. */
class GoldenTest {
  private static final EncodeOptions ADDING = new EncodeOptions(true, InvalidUtf8.STRICT);

  static Stream<String> all() {
    return Stream.concat(Goldens.HUGGING_FACE.stream(), Goldens.OPENAI.stream());
  }

  static Stream<String> huggingFace() {
    return Goldens.HUGGING_FACE.stream();
  }

  private static List<Map<String, Object>> documents(String name) {
    List<Map<String, Object>> lines = Goldens.lines(name);
    return lines.subList(1, lines.size());
  }

  private static IdBuffer encode(NativeTokenizer tokenizer, String text, EncodeOptions options) {
    byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
    return tokenizer.encode(utf8, OffHeap.BYTE_ARRAY, utf8.length, options);
  }

  @ParameterizedTest
  @MethodSource("all")
  void specialTokensInTextAreText(String name) {
    try (NativeTokenizer tokenizer = Goldens.load(name)) {
      for (Map<String, Object> document : documents(name)) {
        String text = (String) document.get("text");
        int[] expected = Goldens.ids(document.get("text_ids"));
        assertThat(tokenizer.encode(text))
            .as("%s: ids of %s", name, Json.quote(text))
            .isEqualTo(expected);
        assertThat(tokenizer.tokenCount(text)).isEqualTo(expected.length);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("all")
  void specialTokensInTextAreTokens(String name) {
    TokenizerSpec spec = Goldens.spec(name).withSpecialTokensInText(SpecialTokensInText.TOKEN);
    try (NativeTokenizer tokenizer = NativeTokenizer.load(spec)) {
      for (Map<String, Object> document : documents(name)) {
        String text = (String) document.get("text");
        Object expected = document.getOrDefault("token_ids", document.get("text_ids"));
        assertThat(tokenizer.encode(text))
            .as("%s: ids of %s", name, Json.quote(text))
            .isEqualTo(Goldens.ids(expected));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("all")
  void specialTokensInTextAreErrors(String name) {
    TokenizerSpec spec = Goldens.spec(name).withSpecialTokensInText(SpecialTokensInText.ERROR);
    try (NativeTokenizer tokenizer = NativeTokenizer.load(spec)) {
      for (Map<String, Object> document : documents(name)) {
        String text = (String) document.get("text");
        long at = (Long) document.get("special_at");
        if (at < 0) {
          assertThat(tokenizer.encode(text))
              .as("%s: ids of %s", name, Json.quote(text))
              .isEqualTo(Goldens.ids(document.get("text_ids")));
          continue;
        }
        assertThatThrownBy(() -> tokenizer.encode(text))
            .as("%s: error for %s", name, Json.quote(text))
            .isInstanceOfSatisfying(
                TokenizerException.class,
                e -> {
                  assertThat(e.reason()).isEqualTo(Reason.SPECIAL_TOKEN);
                  assertThat(e.position()).isEqualTo(at);
                });
      }
    }
  }

  @ParameterizedTest
  @MethodSource("huggingFace")
  void postProcessorAddsTokensOnRequest(String name) {
    try (NativeTokenizer tokenizer = Goldens.load(name)) {
      for (Map<String, Object> document : documents(name)) {
        String text = (String) document.get("text");
        Object expected = document.getOrDefault("added_ids", document.get("text_ids"));
        assertThat(encode(tokenizer, text, ADDING).toArray())
            .as("%s: ids of %s", name, Json.quote(text))
            .isEqualTo(Goldens.ids(expected));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("huggingFace")
  void offsetsAreBytesOfTheDocument(String name) {
    try (NativeTokenizer tokenizer = Goldens.load(name)) {
      for (Map<String, Object> document : documents(name)) {
        String text = (String) document.get("text");
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        IdBuffer ids =
            tokenizer.encodeWithOffsets(
                utf8, OffHeap.BYTE_ARRAY, utf8.length, EncodeOptions.DEFAULT);
        List<Long> spans = new ArrayList<>();
        for (int i = 0; i < ids.count(); i++) {
          spans.add(ids.begin(i));
          spans.add(ids.end(i));
        }
        assertThat(spans)
            .as("%s: offsets of %s", name, Json.quote(text))
            .isEqualTo(document.get("spans"));
        assertThat(ids.toArray()).isEqualTo(Goldens.ids(document.get("text_ids")));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("all")
  void decodingGivesTheText(String name) {
    try (NativeTokenizer tokenizer = Goldens.load(name)) {
      for (Map<String, Object> document : documents(name)) {
        Object text = document.get("text");
        Object decoded = document.getOrDefault("decoded", text);
        Object ids = document.get("text_ids");
        assertThat(utf8(tokenizer.decode(Goldens.ids(ids), false)))
            .as("%s: ids of %s", name, Json.quote((String) text))
            .isEqualTo(decoded);
        assertThat(
                utf8(tokenizer.decode(Goldens.ids(document.getOrDefault("added_ids", ids)), true)))
            .as("%s: ids of %s, special tokens left out", name, Json.quote((String) text))
            .isEqualTo(document.getOrDefault("skipped", decoded));
      }
    }
  }

  private static String utf8(byte[] text) {
    return new String(text, StandardCharsets.UTF_8);
  }

  @ParameterizedTest
  @MethodSource("all")
  void batchesGiveTheSameIds(String name) {
    List<Map<String, Object>> documents = documents(name);
    List<byte[]> texts =
        documents.stream()
            .map(document -> ((String) document.get("text")).getBytes(StandardCharsets.UTF_8))
            .toList();
    try (NativeTokenizer tokenizer = Goldens.load(name);
        DocumentBatch batch = Goldens.batch(texts)) {
      tokenizer.encode(batch, EncodeOptions.DEFAULT);
      assertThat(batch.documents()).isEqualTo(documents.size());
      for (int i = 0; i < documents.size(); i++) {
        assertThat(batch.ids(i)).isEqualTo(Goldens.ids(documents.get(i).get("text_ids")));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("all")
  void specialTokensHaveTheirIds(String name) {
    try (NativeTokenizer tokenizer = Goldens.load(name)) {
      Map<?, ?> tokens = (Map<?, ?>) Goldens.lines(name).get(0).get("special_tokens");
      tokens.forEach(
          (token, id) ->
              assertThat(tokenizer.tokenId((String) token))
                  .as("%s: %s", name, token)
                  .hasValue(((Long) id).intValue()));
      assertThat(tokenizer.tokenId("no such token")).isEmpty();
    }
  }

  @Test
  void builtInSpecialTokensAreThoseOfTiktoken() {
    for (String name : Goldens.OPENAI) {
      Map<?, ?> expected = (Map<?, ?>) Goldens.lines(name).get(0).get("special_tokens");
      Map<String, Integer> ours = TokenizerSpec.builtIn(name).specialTokens();
      assertThat(ours).as(name).hasSameSizeAs(expected);
      ours.forEach((token, id) -> assertThat(expected.get(token)).isEqualTo((long) id));
    }
  }

  @Test
  void truncationAndPaddingApplyOnlyOnRequest() {
    List<?> expected = (List<?>) Goldens.lines("wordpiece").get(0).get("truncated_and_padded_ids");
    try (NativeTokenizer plain = Goldens.load("wordpiece");
        NativeTokenizer applied =
            NativeTokenizer.load(
                Goldens.spec("wordpiece").withTruncation(true).withPadding(true))) {
      assertThat(plain.notices()).anyMatch(notice -> notice.contains("truncation"));
      assertThat(plain.notices()).anyMatch(notice -> notice.contains("padding"));
      assertThat(applied.contentHash()).isNotEqualTo(plain.contentHash());
      List<String> texts = Goldens.texts();
      for (int i = 0; i < texts.size(); i++) {
        assertThat(encode(applied, texts.get(i), ADDING).toArray())
            .as(Json.quote(texts.get(i)))
            .isEqualTo(Goldens.ids(expected.get(i)));
      }
    }
  }
}
