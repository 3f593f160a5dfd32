package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;

import dev.quern.tokenizer.LibraryOptions;
import dev.quern.tokenizer.QuernLibrary;
import java.io.PrintWriter;
import java.io.StringWriter;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class SeamTest {
  /** On the thread that lives as long as the other tests of this JVM. */
  @BeforeAll
  static void loadTheLibrary() {
    QuernLibrary.load(LibraryOptions.DEFAULT);
  }

  /** Through JMH and all the checks of its set-up; the figures of so short a run mean nothing. */
  @Test
  void everyPathIsVerifiedAndMeasured() {
    StringWriter out = new StringWriter();
    StringWriter error = new StringWriter();
    int code =
        QuernBench.commandLine()
            .setOut(new PrintWriter(out))
            .setErr(new PrintWriter(error))
            .execute(
                "seam",
                "--document-bytes",
                "2048,1048576",
                "--forks",
                "0",
                "--iterations",
                "1",
                "--milliseconds",
                "20",
                "--json");
    assertThat(code).as(error.toString()).isZero();
    assertThat(out.toString().lines())
        .hasSize(2)
        .allSatisfy(
            line ->
                assertThat(line)
                    .startsWith("{\"kind\":\"seam\"")
                    .contains("\"version_ns\":", "\"call_over_kernel_ns\":")
                    .contains("\"token_count_row_ns\":", "\"row_over_kernel_ns\":")
                    .contains("\"utf8_string_ns\":", "\"utf8_string_over_kernel_ns\":"));
  }
}
