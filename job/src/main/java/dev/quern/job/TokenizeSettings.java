package dev.quern.job;

import dev.quern.sql.TokenizerReference;
import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.EncodeOptions.InvalidUtf8;
import java.io.Serializable;

/**
 * What the operator does with each document.
 *
 * @param endOfText the id that ends each document; negative for none
 * @param maxDocumentBytes documents with more bytes of text are set aside
 * @param sample the fraction of the documents that is taken, 1 for all
 * @param seed chooses which ones
 * @param verify what is encoded a second time, and by what; null for nothing
 * @param input how the operator's input is laid out
 */
record TokenizeSettings(
    TokenizerReference tokenizer,
    boolean addSpecialTokens,
    InvalidUtf8 invalidUtf8,
    int endOfText,
    long maxDocumentBytes,
    double sample,
    long seed,
    Verifier.Settings verify,
    Layout input)
    implements Serializable {

  /**
   * The columns of the operator's input: the text, those kept, then what the others say where they
   * stand; -1 where there is none.
   *
   * @param binary whether the text is BINARY
   * @param kept how many columns are kept
   * @param file the path of the file
   * @param blockStart where the task's part of the file begins, in bytes
   * @param row the row in the file, where the format knows it
   * @param countRows whether rows may be counted from the start of the block instead
   * @param malformed whether the record could not be parsed
   */
  record Layout(
      boolean binary, int kept, int file, int blockStart, int row, boolean countRows, int malformed)
      implements Serializable {}

  EncodeOptions encodeOptions() {
    return new EncodeOptions(addSpecialTokens, invalidUtf8);
  }

  /** For EXPLAIN. */
  @Override
  public String toString() {
    return "tokenizer="
        + tokenizer.name()
        + ", hash="
        + tokenizer.contentHash().substring(0, 12)
        + ", engine="
        + tokenizer.engine();
  }
}
