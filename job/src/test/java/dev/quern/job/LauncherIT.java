package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** {@code job/bin/quern} as a user runs it, with the jar of this build and the Spark it fetched. */
@DisabledOnOs(OS.WINDOWS)
class LauncherIT {

  private static final Path ROOT = PythonEnvironment.checkout();
  private static final String SAMPLE =
      "job/src/main/resources/dev/quern/job/sample/documents.jsonl";

  /** A name with a space, for everything that is run and written. */
  @TempDir private Path temporary;

  private record Ran(int code, String output, String errors) {}

  @Test
  void helpNamesEveryCommand() throws Exception {
    for (String[] asked : new String[][] {{}, {"help"}, {"--help"}, {"-h"}}) {
      Ran ran = run(ROOT.resolve("job/bin/quern"), "", asked);
      assertThat(ran.code()).isZero();
      assertThat(ran.output())
          .contains("quern demo", "quern tokenize", "quern encode", "SPARK_HOME");
    }
  }

  @Test
  void unknownCommandNamesTheNearest() throws Exception {
    Ran near = run(ROOT.resolve("job/bin/quern"), "", "tokenise");
    assertThat(near.code()).isEqualTo(2);
    assertThat(near.errors()).contains("'tokenise'", "did you mean 'tokenize'?");
    Ran far = run(ROOT.resolve("job/bin/quern"), "", "xyzzy123");
    assertThat(far.code()).isEqualTo(2);
    assertThat(far.errors()).contains("demo tokenize encode").doesNotContain("did you mean");
  }

  @Test
  void wrongSparkHomeIsNamed() throws Exception {
    Ran ran =
        run(
            ROOT.resolve("job/bin/quern"),
            "",
            Map.of("SPARK_HOME", "/nowhere"),
            "tokenize",
            "--help");
    assertThat(ran.code()).isEqualTo(2);
    assertThat(ran.errors()).contains("SPARK_HOME is '/nowhere'", "bin/spark-submit");
  }

  @Test
  void encodePrintsIds() throws Exception {
    String text = "Hello, wörld! 🙂\r\n";
    for (String name : TokenizerSpec.builtInNames()) {
      Ran ran = run(ROOT.resolve("job/bin/quern"), text, "encode", "--tokenizer", name);
      assertThat(ran.code()).as(ran.errors()).isZero();
      try (NativeTokenizer tokenizer = NativeTokenizer.load(TokenizerSpec.builtIn(name))) {
        assertThat(ran.output().strip())
            .isEqualTo(
                Arrays.stream(tokenizer.encode(text))
                    .mapToObj(Integer::toString)
                    .collect(Collectors.joining(" ")));
      }
    }
    Ran pieces = run(ROOT.resolve("job/bin/quern"), "Hello\n", "encode", "--tokens");
    assertThat(pieces.output().lines()).containsExactly("13225\t\"Hello\"", "198\t\"\\u000a\"");
  }

  @Test
  void encodeSaysWhatIsWrong() throws Exception {
    Ran unknown = run(ROOT.resolve("job/bin/quern"), "a", "encode", "--tokenizer", "o300k");
    assertThat(unknown.code()).isEqualTo(2);
    assertThat(unknown.errors()).contains("'o300k'", "o200k_base");
    Path broken = Files.writeString(temporary.resolve("tokenizer.json"), "{\"secret\": ");
    Ran unreadable =
        run(ROOT.resolve("job/bin/quern"), "a", "encode", "--tokenizer", broken.toString());
    assertThat(unreadable.code()).isEqualTo(3);
    assertThat(unreadable.errors()).doesNotContain("secret", "Exception");
  }

  /** A checkout in a folder with a space, called through a link, from elsewhere. */
  @Test
  void runsFromAnywhere() throws Exception {
    Path checkout = Files.createDirectories(temporary.resolve("a check out"));
    Files.createDirectories(checkout.resolve("job/bin"));
    Files.copy(ROOT.resolve("job/bin/quern"), checkout.resolve("job/bin/quern"));
    checkout.resolve("job/bin/quern").toFile().setExecutable(true);
    Files.createSymbolicLink(checkout.resolve("job/target"), ROOT.resolve("job/target"));
    Files.createSymbolicLink(checkout.resolve("conf"), ROOT.resolve("conf"));
    Path link = temporary.resolve("quern");
    Files.createSymbolicLink(link, Path.of("a check out/job/bin/quern"));
    Path input = Files.copy(ROOT.resolve(SAMPLE), temporary.resolve("the input.json"));
    Path output = temporary.resolve("the output");
    Ran ran =
        run(
            link,
            "",
            "tokenize",
            "--master",
            "local[2]",
            "--input",
            input.toString(),
            "--keep",
            "id",
            "--driver-memory",
            "1g",
            "--output",
            output.toString());
    assertThat(ran.code()).as(ran.errors()).isZero();
    assertThat(output.resolve("_SUCCESS")).exists();
    assertThat(output.resolve("_quern/summary.json")).exists();
    assertThat(ran.output()).contains(output.toString());
  }

  @Test
  void demoRunsAgain() throws Exception {
    for (int time = 1; time <= 2; time++) {
      Ran ran = run(ROOT.resolve("job/bin/quern"), "", "demo", "--limit", "300");
      assertThat(ran.code()).as(ran.errors()).isZero();
      assertThat(ran.output()).contains("300");
    }
  }

  @Test
  void startsFromAnArchiveOfClasses() throws Exception {
    assertThat(loadedByDemo()).contains("dev.quern.job.TokenizeJob source: shared objects file");
    List<Path> archives;
    try (Stream<Path> files = Files.list(ROOT.resolve("job/target"))) {
      archives = files.filter(file -> file.toString().endsWith(".jsa")).toList();
    }
    assertThat(archives).isNotEmpty();
    try {
      for (Path archive : archives) {
        Files.delete(archive);
        Files.writeString(archive, "no archive");
      }
      assertThat(loadedByDemo()).contains("dev.quern.job.TokenizeJob source: ").contains(".jar");
    } finally {
      for (Path archive : archives) {
        Files.delete(archive); // the next run makes it anew
      }
    }
  }

  /** What the JVM says of where the job's class is from. */
  private String loadedByDemo() throws Exception {
    Path log = temporary.resolve("classes.txt");
    Ran ran =
        run(
            ROOT.resolve("job/bin/quern"),
            "",
            "demo",
            "--limit",
            "10",
            "--conf",
            "spark.driver.extraJavaOptions=-Xlog:class+load:file=" + log);
    assertThat(ran.code()).as(ran.errors()).isZero();
    assertThat(ran.output() + ran.errors()).doesNotContain("[warning]", "[error]");
    try (Stream<String> lines = Files.lines(log)) {
      return lines
          .filter(line -> line.contains("dev.quern.job.TokenizeJob source:"))
          .collect(Collectors.joining("\n"));
    }
  }

  /** Each run is an application of its own. Where mimalloc is linked, as Quern is tested on. */
  @Test
  @EnabledOnOs(OS.LINUX)
  void allocatorTrialComparesBothAndRecommendsOne() throws Exception {
    Path input = Files.copy(ROOT.resolve(SAMPLE), temporary.resolve("the sample.json"));
    Path output = temporary.resolve("the trial");
    String[] arguments = {
      "allocator-trial",
      "--rounds=1",
      "--master",
      "local[2]",
      "--driver-memory",
      "1g",
      "--engine",
      "reference",
      "--input",
      input.toString(),
      "--output",
      output.toString()
    };
    Ran ran = run(ROOT.resolve("job/bin/quern"), "", arguments);
    assertThat(ran.code()).as(ran.errors()).isZero();
    assertThat(ran.output())
        .contains("Run 1 of 2: system", "Run 2 of 2: mimalloc", "engine reference;")
        .containsPattern(
            "Recommended: --conf spark.quern.allocator=(system|mimalloc)"
                + " --conf spark.executor.memoryOverhead=\\d+m");
    JsonNode figures = new ObjectMapper().readTree(output.resolve("allocator-trial.json").toFile());
    assertThat(figures.at("/engine").asText()).isEqualTo("reference");
    assertThat(figures.at("/runs")).hasSize(2);
    assertThat(figures.at("/mimalloc/rss_peak_bytes/median").asLong()).isGreaterThan(50L << 20);
    assertThat(output.resolve("allocator-trial.png")).isNotEmptyFile();
    assertThat(JobSession.list(output.resolve("runs"))).containsExactly("1-mimalloc", "1-system");
    assertThat(JobSession.list(output.resolve("runs/1-system"))).containsExactly("_quern");
    Ran again = run(ROOT.resolve("job/bin/quern"), "", arguments);
    assertThat(again.code()).isEqualTo(3);
    assertThat(again.errors()).contains("a trial needs a folder that is not there yet");
  }

  @Test
  void allocatorTrialExplainsItself() throws Exception {
    Ran help = run(ROOT.resolve("job/bin/quern"), "", "allocator-trial", "--help");
    assertThat(help.code()).as(help.errors()).isZero();
    assertThat(help.output()).startsWith("Usage: quern allocator-trial");
    Ran wrong = run(ROOT.resolve("job/bin/quern"), "", "allocator-trial", "--mode", "overwrite");
    assertThat(wrong.code()).isEqualTo(2);
    assertThat(wrong.errors()).contains("--mode can't be given").doesNotContain("Exception");
  }

  /** A Spark of the user's own: the complete one that pyspark brings. */
  @Test
  void demoRunsOnTheSparkOfSparkHome() throws Exception {
    String spark = PythonEnvironment.require().sparkHome().toString();
    Ran ran =
        run(
            ROOT.resolve("job/bin/quern"),
            "",
            Map.of("SPARK_HOME", spark),
            "demo",
            "--limit",
            "50");
    assertThat(ran.code()).as(ran.errors()).isZero();
    assertThat(ran.output()).contains("50 read, 50 written");
  }

  /**
   * Two executors in processes of their own, with the build's Spark and with the one of pyspark.
   */
  @ParameterizedTest
  @Tag("long")
  @ValueSource(booleans = {false, true})
  void aClusterOfProcessesTokenizes(boolean sparkOfPython) throws Exception {
    Path output = temporary.resolve("the output");
    Map<String, String> variables =
        sparkOfPython
            ? Map.of("SPARK_HOME", PythonEnvironment.require().sparkHome().toString())
            : Map.of();
    Ran ran =
        run(
            ROOT.resolve("job/bin/quern"),
            "",
            variables,
            "tokenize",
            "--master",
            "local-cluster[2,1,1024]",
            "--conf",
            "spark.driver.host=127.0.0.1",
            "--conf",
            "spark.driver.bindAddress=127.0.0.1",
            "--input",
            Files.copy(ROOT.resolve(SAMPLE), temporary.resolve("the sample.json")).toString(),
            "--keep",
            "id",
            "--output",
            output.toString());
    assertThat(ran.code()).as(ran.errors()).isZero();
    JsonNode summary = new ObjectMapper().readTree(output.resolve("_quern/summary.json").toFile());
    assertThat(summary.at("/totals/documents").asLong()).isEqualTo(226);
    assertThat(summary.at("/sampled/documents").asLong()).isEqualTo(226);
    assertThat(summary.at("/executors")).as(summary.toString()).hasSize(2);
    for (JsonNode executor : summary.at("/executors")) {
      assertThat(executor.at("/id").asText()).as(summary.toString()).isIn("0", "1");
    }
  }

  private Ran run(Path launcher, String input, String... arguments)
      throws IOException, InterruptedException {
    return run(launcher, input, Map.of(), arguments);
  }

  private Ran run(Path launcher, String input, Map<String, String> variables, String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(launcher.toString()));
    command.addAll(List.of(arguments));
    Path output = Files.createTempFile(temporary, "output", ".txt");
    Path errors = Files.createTempFile(temporary, "errors", ".txt");
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(temporary.toFile())
            .redirectOutput(output.toFile())
            .redirectError(errors.toFile());
    Map<String, String> environment = builder.environment();
    environment.keySet().removeIf(name -> name.startsWith("SPARK_"));
    environment.put("JAVA_HOME", System.getProperty("java.home"));
    environment.putAll(variables);
    Process process = builder.start();
    try (OutputStream standardInput = process.getOutputStream()) {
      standardInput.write(input.getBytes(StandardCharsets.UTF_8));
    } catch (IOException e) {
      // A command that does not read its input may have ended already.
      assertThat(e).hasMessageContaining("Broken pipe");
    }
    return new Ran(process.waitFor(), Files.readString(output), Files.readString(errors));
  }
}
