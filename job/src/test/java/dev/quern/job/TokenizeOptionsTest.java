package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import dev.quern.job.JobException.Exit;
import dev.quern.job.TokenizeOptions.OutputFormat;
import dev.quern.sql.QuernConf;
import java.io.IOException;
import java.nio.file.Files;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import picocli.CommandLine.Model.OptionSpec;

class TokenizeOptionsTest {
  private static final String[] LEAST = {"--input", "a.parquet", "--output", "b"};

  private static TokenizeOptions parse(String... more) {
    List<String> arguments = new java.util.ArrayList<>(List.of(LEAST));
    arguments.addAll(List.of(more));
    return TokenizeOptions.parse(arguments, key -> null);
  }

  private static void assertUsage(String message, String... arguments) {
    assertThatThrownBy(() -> TokenizeOptions.parse(arguments))
        .isInstanceOfSatisfying(JobException.class, e -> assertThat(e.exit()).isEqualTo(Exit.USAGE))
        .hasMessageContaining(message);
  }

  @Test
  void defaultsAreThoseOfTheHelp() {
    TokenizeOptions options = parse();
    assertThat(options.input()).containsExactly("a.parquet");
    assertThat(options.inputFormat()).isNull();
    assertThat(options.textColumn()).isEqualTo("text");
    assertThat(options.keep()).isEmpty();
    assertThat(options.tokenizer()).isEqualTo("o200k_base");
    assertThat(options.format()).isEqualTo(OutputFormat.PARQUET);
    assertThat(options.compression()).isEqualTo("zstd");
    assertThat(options.fileBytes()).isEqualTo(256L << 20);
    assertThat(options.maxDocumentBytes()).isEqualTo(64L << 20);
    assertThat(options.appendEos()).isNull();
    assertThat(options.sample()).isEqualTo(1);
    assertThat(options.limit()).isNull();
    assertThat(options.verify()).isZero();
    assertThat(options.dryRun()).isFalse();
    assertThat(parse("--format", "arrow").compression()).isEqualTo("none");
  }

  @Test
  void inputsAndColumnsMayBeSeparatedByCommasButNotInsideOfAGlob() {
    TokenizeOptions options =
        TokenizeOptions.parse(
            "--input", "x/{a,b}.json,y", "--input=z", "--output", "o", "--keep", "id,url");
    assertThat(options.input()).containsExactly("x/{a,b}.json", "y", "z");
    assertThat(options.keep()).containsExactly("id", "url");
  }

  @Test
  void appendEosTakesATokenOrNone() {
    assertThat(parse("--append-eos", "--dry-run").appendEos())
        .isEqualTo(TokenizeOptions.EOS_OF_TOKENIZER);
    assertThat(parse("--append-eos", "</s>").appendEos()).isEqualTo("</s>");
    assertThat(parse("--append-eos=false").appendEos()).isNull();
  }

  @ParameterizedTest
  @CsvSource({"1000, 1000", "64k, 65536", "2KiB, 2048", "256MiB, 268435456", "1 g, 1073741824"})
  void sizesHaveUnits(String text, long bytes) {
    assertThat(parse("--file-bytes", text).fileBytes()).isEqualTo(bytes);
  }

  @Test
  void wrongValuesAreNamedWithWhatIsAllowed() {
    assertUsage("--output is missing", "--input", "a");
    assertUsage("--input is missing", "--output", "a");
    assertUsage("'many' is not a size", "--input=a", "--output=b", "--file-bytes=many");
    assertUsage("parquet, arrow", "--input=a", "--output=b", "--format=avro");
    assertUsage("exclude each other", "--input=a", "--output=b", "--limit=1", "--sample=0.5");
    assertUsage("--verify 1.5 is not a fraction", "--input=a", "--output=b", "--verify=1.5");
    assertUsage("--verify NaN is not a fraction", "--input=a", "--output=b", "--verify=NaN");
    assertUsage("between 0 and 1", "--input=a", "--output=b", "--sample=2");
    assertUsage(
        "one of none, zstd, lz4",
        "--input=a",
        "--output=b",
        "--format=arrow",
        "--compression=gzip");
    assertUsage("names a column twice", "--input=a", "--output=b", "--keep=id,id");
    assertUsage("unexpected argument 'c'", "--input=a", "--output=b", "c");
  }

  @Test
  void anUnknownOptionSuggestsTheNearest() {
    assertUsage("unknown option --inptu; did you mean --input?", "--inptu", "a");
    assertUsage(
        "unknown option --txt-column; did you mean --text-column?",
        "--input=a",
        "--output=b",
        "--txt-column=c");
    assertUsage("unknown option --zzzzzzzzzzzz; --help lists them all", "--zzzzzzzzzzzz");
  }

  @Test
  void anOptionWinsOverItsKeyAndThatOverTheKeyOfSql() {
    Map<String, String> conf = new HashMap<>();
    conf.put("spark.quern.job.input", "a.json,b.json");
    conf.put("spark.quern.job.output", "out");
    conf.put("spark.quern.job.textColumn", "body");
    conf.put("spark.quern.job.dryRun", "true");
    conf.put("spark.quern.job.appendEos", "true");
    conf.put("spark.quern.tokenizer", "gpt2");
    conf.put("spark.quern.engine", "reference");
    TokenizeOptions options = TokenizeOptions.parse(List.of(), conf::get);
    assertThat(options.input()).containsExactly("a.json", "b.json");
    assertThat(options.textColumn()).isEqualTo("body");
    assertThat(options.dryRun()).isTrue();
    assertThat(options.appendEos()).isEqualTo(TokenizeOptions.EOS_OF_TOKENIZER);
    assertThat(options.tokenizer()).isEqualTo("gpt2");
    assertThat(options.tokenizerOptions()).containsEntry("engine", "reference");

    conf.put("spark.quern.job.tokenizer", "cl100k_base");
    options =
        TokenizeOptions.parse(
            List.of("--text-column", "content", "--dry-run=false", "--input", "c.json"), conf::get);
    assertThat(options.input()).containsExactly("c.json");
    assertThat(options.textColumn()).isEqualTo("content");
    assertThat(options.dryRun()).isFalse();
    assertThat(options.tokenizer()).isEqualTo("cl100k_base");
  }

  @Test
  void everyOptionHasAKeyThatQuernKnows() {
    Collection<String> known = QuernConf.allEntries().stream().map(QuernConf.Entry::key).toList();
    assertThat(TokenizeOptions.keyed())
        .hasSizeGreaterThan(20)
        .allSatisfy(
            option -> assertThat(known).contains(TokenizeOptions.key(option.longestName())));
    assertThat(TokenizeOptions.key("--max-document-bytes"))
        .isEqualTo("spark.quern.job.maxDocumentBytes");
  }

  @Test
  void anUnknownKeyIsRefusedWithTheNearest() {
    SparkConf conf =
        new SparkConf(false)
            .set("spark.quern.job.textColumn", "a")
            .set("spark.quern.tokenizers.mine", "a.json")
            .set("spark.quern.metrics.interval", "1s");
    TokenizeOptions.checkKeys(conf);
    conf.set("spark.quern.job.txtColumn", "a");
    assertThatThrownBy(() -> TokenizeOptions.checkKeys(conf))
        .isInstanceOf(JobException.class)
        .hasMessage(
            "unknown configuration key spark.quern.job.txtColumn; did you mean"
                + " spark.quern.job.textColumn?");
  }

  @Test
  void theHelpHasEveryOptionAndEveryExitCode() {
    String help = TokenizeOptions.parse("--help").notice();
    for (OptionSpec option : TokenizeOptions.keyed()) {
      assertThat(help).contains(option.longestName());
    }
    assertThat(TokenizeOptions.SECTIONS.values().stream().flatMap(List::stream))
        .doesNotHaveDuplicates()
        .hasSize(TokenizeOptions.keyed().size() + 2);
    for (Exit exit : Exit.values()) {
      assertThat(help).contains(String.format("%3d  ", exit.code()));
    }
    assertThat(help).contains("Examples:").doesNotContain("${");
    assertThat(help.lines()).allSatisfy(line -> assertThat(line).hasSizeLessThanOrEqualTo(120));
    assertThat(TokenizeOptions.parse("--version").notice()).startsWith("Quern ");
  }

  @Test
  void theTableInTheReadmeIsTheOneOfTheCode() throws IOException {
    java.nio.file.Path file = PythonEnvironment.checkout().resolve("README.md");
    assumeThat(file).exists();
    String readme = Files.readString(file);
    String begin = "<!--BEGIN:OPTIONS-->";
    assertThat(readme).contains(begin);
    String table =
        readme
            .substring(readme.indexOf(begin) + begin.length(), readme.indexOf("<!--END:OPTIONS-->"))
            .strip();
    assertThat(table)
        .as("make it again: TokenizeOptions.toMarkdown()")
        .isEqualTo(TokenizeOptions.toMarkdown().strip());
  }

  @Test
  void theRecordHasEveryOption() {
    assertThat(parse("--limit", "3", "--keep", "id").values())
        .containsEntry("limit", "3")
        .containsEntry("keep", "id")
        .containsEntry("format", "parquet")
        .containsEntry("compression", "zstd")
        .containsEntry("engine", "auto");
  }
}
