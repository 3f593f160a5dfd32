package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.zip.GZIPOutputStream;
import org.apache.spark.launcher.JavaModuleOptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The job as a process: what it prints and what it ends with. */
class TokenizeProcessTest {
  @TempDir Path folder;

  private record Ran(int code, String out, String err) {
    void assertRefused(int expected, String message) {
      assertThat(code).as(err).isEqualTo(expected);
      assertThat(err).contains("quern: ").contains(message).doesNotContain("\tat ");
    }
  }

  private Process start(String... arguments) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of(JavaModuleOptions.defaultModuleOptionArray()));
    command.addAll(
        List.of(
            "-Xmx1g",
            "-Dspark.ui.enabled=false",
            "-Dspark.master=local[1]",
            "-Dspark.driver.host=127.0.0.1",
            "-Dspark.driver.bindAddress=127.0.0.1",
            "-Dspark.quern.metrics.interval=100ms",
            "-cp",
            System.getProperty("java.class.path"),
            TokenizeJob.class.getName()));
    command.addAll(List.of(arguments));
    return new ProcessBuilder(command)
        .redirectOutput(folder.resolve("stdout").toFile())
        .redirectError(folder.resolve("stderr").toFile())
        .start();
  }

  private Ran run(String... arguments) throws IOException, InterruptedException {
    Process process = start(arguments);
    assertThat(process.waitFor(5, TimeUnit.MINUTES)).isTrue();
    return new Ran(
        process.exitValue(),
        Files.readString(folder.resolve("stdout")),
        Files.readString(folder.resolve("stderr")));
  }

  @Test
  void helpIsPrintedWithoutStartingSpark() throws Exception {
    Ran help = run("--help");
    assertThat(help.code()).isZero();
    assertThat(help.out()).startsWith("Usage: quern tokenize").contains("--text-column");
  }

  @Test
  void wrongUseEndsWith2() throws Exception {
    run("--input", "a", "--outptu", "b").assertRefused(2, "did you mean --output?");
  }

  @Test
  void whatIsRefusedBeforeTheRunEndsWith3AndARunWith0() throws Exception {
    Path in = folder.resolve("in.txt");
    Files.writeString(in, "one\ntwo\n");
    String out = folder.resolve("out").toString();
    Ran done = run("--input", in.toString(), "--output", out, "--tokenizer", "gpt2");
    assertThat(done.code()).as(done.err()).isZero();
    assertThat(done.out())
        .contains("Written to file:" + out, "2 read, 2 written", "Chart: file:" + out);
    assertThat(folder.resolve("out/_quern/memory.png")).isNotEmptyFile();
    run("--input", in.toString(), "--output", out, "--tokenizer", "gpt2")
        .assertRefused(3, "--mode overwrite");
  }

  @Test
  void aRunThatFailsEndsWith4() throws Exception {
    // Half of a compressed file: only the task that reads it finds out.
    ByteArrayOutputStream zipped = new ByteArrayOutputStream();
    try (OutputStream zip = new GZIPOutputStream(zipped)) {
      zip.write("one\n".repeat(1000).getBytes(StandardCharsets.UTF_8));
    }
    Path in = folder.resolve("in.txt.gz");
    Files.write(in, Arrays.copyOf(zipped.toByteArray(), zipped.size() / 2));
    Path output = Files.createDirectory(folder.resolve("outputs"));
    Ran failed = run("--input", in.toString(), "--output", output + "/out", "--tokenizer", "gpt2");
    assertThat(failed.code()).as(failed.err()).isEqualTo(4);
    assertThat(failed.err()).contains("quern: the run failed: ", "nothing was written to ");
    assertThat(JobSession.list(output)).isEmpty();
  }

  @Test
  void aDocumentThatTheHeapIsTooSmallForSaysSo() throws Exception {
    // A file is read whole, by Spark, into an array of twice its size and more.
    Path in = folder.resolve("in.txt");
    Files.writeString(in, "some words of many\n".repeat(16 << 20));
    Path output = Files.createDirectory(folder.resolve("outputs"));
    Ran failed =
        run(
            "--input",
            in.toString(),
            "--whole-file",
            "true",
            "--output",
            output + "/out",
            "--tokenizer",
            "gpt2",
            "--max-document-bytes",
            "1g");
    assertThat(failed.code()).as(failed.err()).isEqualTo(4);
    assertThat(failed.err())
        .containsPattern(
            "quern: the run failed: the Java heap of 1.0 GiB is too small for reading the next"
                + " documents: raise spark.driver.memory \\(--driver-memory\\)");
    assertThat(JobSession.list(output)).isEmpty();
  }

  @ParameterizedTest
  @CsvSource({"TERM, 143", "INT, 130"})
  @DisabledOnOs(OS.WINDOWS)
  void aRunThatIsStoppedLeavesNothing(String signal, int code) throws Exception {
    assumeFalse(
        signal.equals("INT") && interruptIsIgnored(),
        "Ctrl-C is ignored by what runs the tests (a job in the background), so by its processes");
    Path in = folder.resolve("in.txt");
    Files.writeString(in, "some words that take a while\n".repeat(2_000_000));
    Path output = Files.createDirectory(folder.resolve("outputs"));
    Process process =
        start("--input", in.toString(), "--output", output + "/out", "--tokenizer", "gpt2");
    while (process.isAlive() && JobSession.list(output).isEmpty()) {
      Thread.sleep(20);
    }
    assertThat(JobSession.list(output)).singleElement().asString().startsWith(".out.quern-");
    Process kill = new ProcessBuilder("kill", "-" + signal, String.valueOf(process.pid())).start();
    assertThat(kill.waitFor()).isZero();
    assertThat(process.waitFor(2, TimeUnit.MINUTES)).isTrue();
    assertThat(process.exitValue()).isEqualTo(code);
    assertThat(JobSession.list(output)).isEmpty();
  }

  /** Processes inherit it, and Java leaves it so. Where there is no /proc it isn't known. */
  private static boolean interruptIsIgnored() throws IOException {
    Path status = Path.of("/proc/self/status");
    if (!Files.exists(status)) {
      return false;
    }
    return Files.readAllLines(status).stream()
        .filter(line -> line.startsWith("SigIgn:"))
        .mapToLong(line -> Long.parseUnsignedLong(line.substring(7).strip(), 16))
        .anyMatch(signals -> (signals & 1L << 1) != 0); // SIGINT is 2, bits count from 1
  }
}
