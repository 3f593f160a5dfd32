package dev.quern.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.quern.tokenizer.TokenizerSpec.Engine;
import dev.quern.tokenizer.TokenizerSpec.SpecialTokensInText;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** What is to be loaded, as a value. */
class TokenizerSpecTest {
  private static TokenizerSpec spec() {
    return TokenizerSpec.tiktoken(
        new byte[] {1, 2}, "a\"\\b\n😀", Map.of("<|x|>", 5, "<|\u00fc|>", 6));
  }

  @Test
  void equalByContent() {
    assertThat(spec()).isEqualTo(spec()).hasSameHashCodeAs(spec());
    assertThat(
            List.of(
                TokenizerSpec.huggingFace(new byte[] {1, 2}),
                TokenizerSpec.tiktoken(new byte[] {1}, spec().pattern(), spec().specialTokens()),
                TokenizerSpec.tiktoken(new byte[] {1, 2}, "b", spec().specialTokens()),
                TokenizerSpec.tiktoken(new byte[] {1, 2}, spec().pattern(), Map.of()),
                spec().withEngine(Engine.FAST),
                spec().withSpecialTokensInText(SpecialTokensInText.TOKEN),
                spec().withTruncation(true),
                spec().withPadding(true),
                spec().withCacheBytesPerThread(1 << 20)))
        .doesNotHaveDuplicates()
        .doesNotContain(spec());
  }

  @Test
  void travelsToExecutors() throws Exception {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
      out.writeObject(spec().withEngine(Engine.REFERENCE));
    }
    try (ObjectInputStream in =
        new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
      assertThat(in.readObject()).isEqualTo(spec().withEngine(Engine.REFERENCE));
    }
  }

  @Test
  void keepsItsBytesToItself() {
    byte[] file = {1, 2};
    TokenizerSpec spec = TokenizerSpec.huggingFace(file);
    file[0] = 9;
    spec.file()[1] = 9;
    assertThat(spec.file()).containsExactly(1, 2);
    assertThatThrownBy(() -> spec().specialTokens().put("x", 1))
        .isInstanceOf(UnsupportedOperationException.class);
  }

  @Test
  void optionsAreJson() {
    Map<String, Object> options = Json.object(spec().optionsJson());
    assertThat(options)
        .containsEntry("format", "tiktoken")
        .containsEntry("engine", "auto")
        .containsEntry("special_tokens_in_text", "text")
        .containsEntry("cache_bytes_per_thread", 32L << 20)
        .containsEntry("pattern", "a\"\\b\n😀")
        .containsEntry("special_tokens", Map.of("<|x|>", 5L, "<|\u00fc|>", 6L));
  }

  @Test
  void unknownBuiltInNamesAreErrorsThatListTheKnown() {
    assertThatThrownBy(() -> TokenizerSpec.builtIn("o300k_base"))
        .isInstanceOf(TokenizerException.class)
        .hasMessageContaining("o300k_base")
        .hasMessageContaining("o200k_base, cl100k_base, p50k_base, r50k_base, gpt2");
    assertThat(TokenizerSpec.builtIn("gpt2")).isEqualTo(TokenizerSpec.builtIn("r50k_base"));
    assertThat(TokenizerSpec.builtInPattern("gpt2")).contains("\\p{L}");
  }
}
