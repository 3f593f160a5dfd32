package dev.quern.bench;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import picocli.CommandLine.Option;

/** The corpus of a measurement that has one. */
final class CorpusOptions {
  @Option(
      names = "--corpus",
      split = ",",
      paramLabel = "PATH",
      description =
          "Files, or folders of them, as of quern-bench kernel. Default: the sample that ships with"
              + " quern-job.")
  private List<Path> corpus = new ArrayList<>();

  @Option(
      names = "--text-column",
      paramLabel = "NAME",
      defaultValue = "text",
      description = "Column or field that holds the text. Default: ${DEFAULT-VALUE}.")
  private String textColumn;

  /** Writes the documents into a flat file; {@code byteLimit} as of {@link Corpus.Options}. */
  Corpus read(long byteLimit, Path flatFile) {
    return Corpus.read(corpus, new Corpus.Options(textColumn, false, byteLimit, 0), flatFile);
  }
}
