package dev.quern.job;

import dev.quern.tokenizer.NativeTokenizer;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Collectors;

/** The token of --append-eos. */
final class EndOfText {
  /**
   * What the families of tokenizers call the end of a document. Tokens that end a turn of a chat
   * (&lt;|im_end|&gt;, &lt;|eot_id|&gt;) are not among them. A tokenizer file does not say which it
   * is.
   */
  static final List<String> USUAL =
      List.of("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>", "[SEP]");

  private EndOfText() {}

  /**
   * The id of that token.
   *
   * @param token as given to --append-eos; {@link TokenizeOptions#EOS_OF_TOKENIZER} for the
   *     tokenizer's own; null for none, which is -1
   * @throws JobException if there is no such token, or more than one could be meant
   */
  static int id(NativeTokenizer tokenizer, String token) {
    if (token == null) {
      return -1;
    }
    if (!token.equals(TokenizeOptions.EOS_OF_TOKENIZER)) {
      OptionalInt id = tokenizer.tokenId(token);
      if (id.isEmpty()) {
        throw JobException.refused(
            "--append-eos "
                + token
                + ": the tokenizer has no such token"
                + present(tokenizer).stream()
                    .collect(
                        Collectors.collectingAndThen(Collectors.joining(", "), EndOfText::but)));
      }
      return id.getAsInt();
    }
    List<String> present = present(tokenizer);
    if (present.size() != 1) {
      throw JobException.refused(
          "--append-eos: "
              + (present.isEmpty()
                  ? "the tokenizer has none of the usual tokens for the end of a text ("
                      + String.join(", ", USUAL)
                      + ")"
                  : "the tokenizer has several tokens for the end of a text ("
                      + String.join(", ", present)
                      + ")")
              + "; say which: --append-eos TOKEN");
    }
    return tokenizer.tokenId(present.get(0)).getAsInt();
  }

  private static List<String> present(NativeTokenizer tokenizer) {
    return USUAL.stream().filter(candidate -> tokenizer.tokenId(candidate).isPresent()).toList();
  }

  private static String but(String names) {
    return names.isEmpty() ? "" : "; it has " + names;
  }
}
