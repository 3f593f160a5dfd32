package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;

/** What the lines say; QuernPluginTest shows them during a real run. */
class ProgressTest {

  private static final RunSamples.Live LIVE =
      new RunSamples.Live(
          new ExecutorSample.Work(1_234_567, 300_000_000, 75_000_000, 0, 1, 0, "system", "fast"),
          1_800_000_000,
          2);

  @Test
  void aLineHasDocumentsSpeedMemoryAndTimeLeft() {
    assertThat(Progress.line(LIVE, 30, OptionalDouble.of(0.25)))
        .isEqualTo("25%, 1 min 30 s left, 10.0 MB/s, 2.50M tokens/s, 1.23M documents, RSS 1,800 MB")
        .hasSizeLessThan(80);
  }

  @Test
  void noGuessWithoutSomethingToGoBy() {
    assertThat(Progress.line(LIVE, 30, OptionalDouble.empty())).doesNotContain("left", "%");
    assertThat(Progress.line(LIVE, 30, OptionalDouble.of(0.001))).doesNotContain("left");
    assertThat(Progress.line(LIVE, 1, OptionalDouble.of(0.5))).doesNotContain("left");
    assertThat(Progress.line(LIVE, 60, OptionalDouble.of(0.999))).startsWith("99%");
  }

  @Test
  void doesNotShareALineWithSparksOwnBar() {
    assertThat(Progress.style(Progress.Style.AUTO, true)).isEqualTo(Progress.Style.LINES);
    assertThat(Progress.style(Progress.Style.LINE, true)).isEqualTo(Progress.Style.LINE);
    assertThat(Progress.style(Progress.Style.OFF, false)).isEqualTo(Progress.Style.OFF);
  }

  @Test
  void oneLineIsWrittenOverAndClearedAtTheEnd() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ProgressLine line = new ProgressLine(new PrintStream(out, true, StandardCharsets.UTF_8));
    line.show("long line");
    line.show("short");
    line.clear();
    line.clear();
    assertThat(out.toString(StandardCharsets.UTF_8))
        .isEqualTo("\rlong line" + "\rshort    " + "\r     \r");
  }

  @Test
  void aLineFitsTheTerminal() {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    new ProgressLine(new PrintStream(out, true, StandardCharsets.UTF_8)).show("x".repeat(500));
    assertThat(out.toString(StandardCharsets.UTF_8)).isEqualTo("\r" + "x".repeat(79));
  }
}
