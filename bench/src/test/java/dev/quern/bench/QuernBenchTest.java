package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import picocli.CommandLine;

class QuernBenchTest {
  private final StringWriter out = new StringWriter();
  private final StringWriter error = new StringWriter();

  private int run(String... arguments) {
    return QuernBench.commandLine()
        .setOut(new PrintWriter(out))
        .setErr(new PrintWriter(error))
        .execute(arguments);
  }

  @AfterEach
  void noRoot() {
    System.clearProperty("quern.root");
  }

  @Test
  void helpNamesEveryCommandOptionAndExitCode() {
    assertThat(run("--help")).isZero();
    assertThat(out.toString())
        .contains(
            "kernel",
            "allocator",
            "pipeline",
            "seam",
            "writers",
            "report",
            "Exit codes:",
            "Examples:");
    for (String command : List.of("kernel", "allocator", "pipeline", "seam", "writers", "report")) {
      out.getBuffer().setLength(0);
      assertThat(run(command, "--help")).isZero();
      CommandLine parser = QuernBench.commandLine().getSubcommands().get(command);
      parser
          .getCommandSpec()
          .options()
          .forEach(
              option -> {
                assertThat(out.toString()).contains(option.longestName());
                assertThat(option.description()).as(option.longestName()).isNotEmpty();
              });
    }
  }

  @Test
  void withoutACommandTheHelpIsTheAnswer() {
    assertThat(run()).isZero();
    assertThat(out.toString()).startsWith("Usage: quern-bench");
  }

  @Test
  void wrongArgumentsAreNamed() {
    assertThat(run("kernel", "--treads", "1")).isEqualTo(2);
    assertThat(error.toString()).contains("--treads").contains("--threads");
    assertThat(run("kernel", "--threads", "100000")).isEqualTo(2);
    assertThat(error.toString()).contains("--threads 100000: speeds are per core");
    assertThat(run("kernel", "--allocator", "jemalloc")).isEqualTo(2);
    assertThat(error.toString()).contains("jemalloc");
    assertThat(run("kernel", "--rounds", "0")).isEqualTo(2);
    assertThat(run("kernel", "--cut", "64,0")).isEqualTo(2);
    assertThat(run("pipeline", "--threads", "100000")).isEqualTo(2);
    assertThat(error.toString()).contains("--threads 100000: this machine gives");
    assertThat(run("pipeline", "--passes", "0")).isEqualTo(2);
    assertThat(run("pipeline", "--mb", "0")).isEqualTo(2);
    assertThat(run("pipeline", "--tokenizer", "x.tiktoken")).isEqualTo(2);
    assertThat(error.toString()).contains("x.tiktoken: name a built-in vocabulary");
    assertThat(run("pipeline", "--pipelines", "spark")).isEqualTo(2);
    assertThat(run("kernel", "--peers", "gigatokens")).isEqualTo(2);
    assertThat(error.toString()).contains("gigatokens");
    assertThat(run("kernel", "--peers", "hf", "--python", "/no/such/python")).isEqualTo(3);
    assertThat(error.toString()).contains("/no/such/python").contains("--python");
    assertThat(run("kernel", "--peers", "hf")).as("no checkout here").isEqualTo(2);
    assertThat(error.toString()).contains("peers-requirements.txt");
    assertThat(run("kernel", "--tokenizer", "/no/such/tokenizer.json")).isEqualTo(3);
    assertThat(error.toString()).contains("/no/such/tokenizer.json");
    if (Runtime.getRuntime().availableProcessors() > 1) {
      assertThat(run("kernel", "--threads", "1,2", "--clock", "cpu")).isEqualTo(2);
      assertThat(run("kernel", "--threads", "2", "--cpu", "0")).isEqualTo(2);
    }
    assertThat(run("kernel", "--corpus", "/no/such/file")).isEqualTo(3);
    assertThat(error.toString()).contains("/no/such/file");
    assertThat(run("seam", "--forks", "-1")).isEqualTo(2);
    assertThat(run("allocator", "--rounds", "0")).isEqualTo(2);
    assertThat(run("allocator", "--threads", "100000")).isEqualTo(2);
    assertThat(run("allocator", "--seat", "jvm", "--engine", "crate")).isEqualTo(2);
    assertThat(error.toString()).contains("crate is native only");
    assertThat(run("allocator", "--variable", "MIMALLOC_PURGE_DELAY")).isEqualTo(2);
    assertThat(error.toString()).contains("--variable MIMALLOC_PURGE_DELAY: give NAME=VALUE");
    assertThat(run("allocator", "--tokenizer", "ranks.tiktoken")).isEqualTo(2);
    assertThat(run("allocator", "--measure", "speed")).as("no checkout here").isEqualTo(2);
    assertThat(error.toString()).contains("there is no folder native/rust");
  }

  @Test
  void aRecordNeedsTheCheckout(@TempDir Path elsewhere) {
    System.setProperty("quern.root", elsewhere.toString());
    assertThat(run("kernel", "--record")).isEqualTo(2);
    assertThat(error.toString()).contains("--record needs the checkout");
  }

  @Test
  void aMeasurementIsPrintedAndRecorded(@TempDir Path checkout) throws Exception {
    System.setProperty("quern.root", checkout.toString());
    Files.createDirectory(checkout.resolve("bench"));
    assertThat(
            run(
                "kernel",
                "--tokenizer",
                "r50k_base",
                "--mb",
                "0.05",
                "--passes",
                "1",
                "--rounds",
                "1",
                "--json",
                "--record",
                "--note",
                "a test"))
        .as(error.toString())
        .isZero();
    Path file;
    try (var files = Files.walk(checkout.resolve("bench/record"))) {
      file = files.filter(Files::isRegularFile).findFirst().orElseThrow();
    }
    List<Map<String, Object>> lines = Record.read(file);
    assertThat(lines).extracting("tool").containsExactly("quern", "jtokkit");
    assertThat(lines).extracting("note").containsOnly("a test");
    assertThat(lines).extracting("corpus").containsOnly("sample");
    assertThat(Files.readString(file)).isEqualTo(out.toString());
  }
}
