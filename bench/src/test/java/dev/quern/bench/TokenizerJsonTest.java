package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;

import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerSpec;
import dev.quern.tokenizer.TokenizerSpec.Engine;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TokenizerJsonTest {
  @ParameterizedTest
  @ValueSource(strings = {"gpt2", "cl100k_base"})
  void theFileGivesTheIdsOfTheRanks(String name, @TempDir Path folder) throws Exception {
    List<byte[]> documents = new ArrayList<>();
    Corpus corpus =
        Corpus.read(
            List.of(), new Corpus.Options("text", false, 200_000, 0), folder.resolve("corpus"));
    try (Documents.Reader reader = new Documents.Reader(corpus.file())) {
      for (byte[] text = reader.text(); text != null; text = reader.text()) {
        documents.add(text);
      }
    }
    TokenizerSpec ranks = TokenizerSpec.builtIn(name);
    Path file = folder.resolve("tokenizer.json");
    TokenizerJson.write(ranks, file);
    TokenizerSpec json = TokenizerSpec.huggingFace(Files.readAllBytes(file));
    try (NativeTokenizer expected = NativeTokenizer.load(ranks.withEngine(Engine.REFERENCE));
        NativeTokenizer found = NativeTokenizer.load(json.withEngine(Engine.REFERENCE))) {
      assertThat(found.vocabularySize()).isEqualTo(expected.vocabularySize());
      assertThat(found.tokenId("<|endoftext|>"))
          .isEqualTo(OptionalInt.of(ranks.specialTokens().get("<|endoftext|>")));
      for (int document = 0; document < documents.size(); document++) {
        int[] want = expected.encode(documents.get(document)).toArray();
        assertThat(found.encode(documents.get(document)).toArray())
            .as("document %d", document)
            .isEqualTo(want);
      }
    }
  }
}
