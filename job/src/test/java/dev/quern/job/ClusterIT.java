package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.knuddels.jtokkit.Encodings;
import com.knuddels.jtokkit.api.Encoding;
import com.knuddels.jtokkit.api.EncodingType;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.hadoop.ParquetReader;
import org.apache.parquet.hadoop.example.GroupReadSupport;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/**
 * The fat jar on a real cluster: two workers, an executor each, in processes of their own. The
 * judge is jtokkit, a tokenizer that shares no code with Quern's, run here outside Spark.
 */
@DisabledOnOs(OS.WINDOWS)
class ClusterIT {
  private static final int FILES = 16;

  @TempDir private static Path folder;
  private static StandaloneCluster cluster;
  private static List<String> passages;

  @BeforeAll
  static void start() throws Exception {
    cluster = new StandaloneCluster(folder.resolve("cluster"), 2);
    passages = new ArrayList<>();
    ObjectMapper json = new ObjectMapper();
    Path sample =
        PythonEnvironment.checkout()
            .resolve("job/src/main/resources/dev/quern/job/sample/documents.jsonl");
    for (String line : Files.readAllLines(sample)) {
      passages.add(json.readTree(line).get("text").asText());
    }
  }

  @AfterAll
  static void stop() {
    if (cluster != null) {
      cluster.close();
    }
  }

  @Test
  void twoExecutorsTokenizeEachDocumentOnceWithOneTokenizerEach() throws Exception {
    Map<Integer, String> documents = documents(20_000, folder.resolve("short"));
    Path output = folder.resolve("short-tokens");
    StandaloneCluster.Ran ran =
        cluster.await(
            cluster.submit(
                "--input", folder.resolve("short").toString(),
                "--output", output.toString(),
                "--keep", "id"));

    assertThat(ran.code()).as(ran.output()).isZero();
    assertIds(documents, output);
    JsonNode summary = summary(output);
    assertThat(summary.at("/totals/documents").asLong()).isEqualTo(documents.size());
    assertThat(summary.at("/totals/documents_quarantined").asLong()).isZero();
    assertThat(summary.at("/executors")).hasSize(2);
    for (JsonNode executor : summary.at("/executors")) {
      assertThat(executor.at("/tokenizers_loaded").asInt()).as(summary.toString()).isEqualTo(1);
      assertThat(executor.at("/documents").asLong()).as(summary.toString()).isPositive();
      assertThat(executor.at("/rss_peak_bytes").asLong()).isGreaterThan(50L << 20);
    }
    assertThat(output.resolve("_quern/memory.png")).isNotEmptyFile();
  }

  /**
   * SIGKILL, so the executor has no chance to say goodbye; Spark runs its tasks again elsewhere.
   */
  @Test
  @Tag("long")
  void killedExecutorLosesAndDoublesNoDocument() throws Exception {
    Map<Integer, String> documents = documents(120_000, folder.resolve("long"));
    Path output = folder.resolve("long-tokens");
    Process submitted =
        cluster.submit(
            "--input", folder.resolve("long").toString(),
            "--output", output.toString(),
            "--keep", "id");
    // A file of tokens is being written, into the folder aside: the run is in the middle.
    String aside = "." + output.getFileName() + ".quern-";
    while (submitted.isAlive()
        && files(folder)
            .filter(file -> file.toString().contains(aside))
            .noneMatch(file -> size(file) > 0)) {
      Thread.sleep(20);
    }
    List<ProcessHandle> executors = cluster.executors().toList();
    assertThat(executors).isNotEmpty();
    ProcessHandle victim = executors.get(0);
    assertThat(submitted.isAlive()).as("the job ended before an executor was killed").isTrue();
    assertThat(victim.destroyForcibly()).isTrue();
    StandaloneCluster.Ran ran = cluster.await(submitted);

    assertThat(ran.code()).as(ran.output()).isZero();
    assertIds(documents, output);
    assertThat(summary(output).at("/totals/documents").asLong()).isEqualTo(documents.size());
    // Its last message is kept: the record knows the process that is no more.
    assertThat(summary(output).at("/executors"))
        .anySatisfy(
            executor -> {
              assertThat(executor.at("/process_id").asLong()).isEqualTo(victim.pid());
              assertThat(executor.at("/alive_at_end").asBoolean()).isFalse();
            });
  }

  @Test
  @Tag("long")
  void anAllocatorTrialHasNewExecutorsForEachRun() throws Exception {
    documents(20_000, folder.resolve("sample"));
    Path output = folder.resolve("trial");
    Path log = folder.resolve("trial.log");
    ProcessBuilder trial =
        new ProcessBuilder(
                PythonEnvironment.checkout().resolve("job/bin/quern").toString(),
                "allocator-trial",
                "--rounds",
                "1",
                "--master",
                cluster.master(),
                "--conf",
                "spark.driver.host=127.0.0.1",
                "--conf",
                "spark.driver.bindAddress=127.0.0.1",
                "--input",
                folder.resolve("sample").toString(),
                "--output",
                output.toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile());
    trial.environment().keySet().removeIf(name -> name.startsWith("SPARK_"));
    trial.environment().put("JAVA_HOME", System.getProperty("java.home"));
    assertThat(trial.start().waitFor()).as(Files.readString(log)).isZero();

    String said = Files.readString(log);
    assertThat(said).contains("1024 MiB of heap per executor").doesNotContain("one process here");
    Set<Long> processes = new HashSet<>();
    int executors = 0;
    for (String allocator : List.of("system", "mimalloc")) {
      JsonNode summary = summary(output.resolve("runs").resolve("1-" + allocator));
      for (JsonNode executor : summary.at("/executors")) {
        if (executor.at("/documents").asLong() > 0) {
          assertThat(executor.at("/allocator").asText()).isEqualTo(allocator);
        }
        processes.add(executor.at("/process_id").asLong());
        executors++;
      }
    }
    assertThat(executors).as(said).isGreaterThanOrEqualTo(2);
    assertThat(processes).as(said).hasSize(executors);
  }

  /** Real text, cut at random: document i begins with its own number. */
  private static Map<Integer, String> documents(int count, Path input) throws IOException {
    long seed = Long.getLong("quern.seed", System.nanoTime());
    System.out.println("ClusterIT: repeat with -Dquern.seed=" + seed);
    Random random = new Random(seed);
    Map<Integer, String> documents = new LinkedHashMap<>();
    ObjectMapper json = new ObjectMapper();
    Files.createDirectories(input);
    for (int file = 0; file < FILES; file++) {
      try (BufferedWriter out =
          Files.newBufferedWriter(input.resolve("documents-" + file + ".jsonl"))) {
        for (int id = count * file / FILES; id < count * (file + 1) / FILES; id++) {
          String passage = passages.get(random.nextInt(passages.size()));
          int from = random.nextInt(passage.length());
          int to = Math.min(passage.length(), from + 1 + random.nextInt(400));
          String text = "Document " + id + "\n" + whole(passage.substring(from, to));
          documents.put(id, text);
          ObjectNode line = json.createObjectNode().put("id", id).put("text", text);
          out.write(json.writeValueAsString(line));
          out.newLine();
        }
      }
    }
    return documents;
  }

  /** Without the halves of surrogate pairs that the cut left. */
  private static String whole(String text) {
    int from = !text.isEmpty() && Character.isLowSurrogate(text.charAt(0)) ? 1 : 0;
    int to = text.length();
    if (to > from && Character.isHighSurrogate(text.charAt(to - 1))) {
      to--;
    }
    return text.substring(from, to);
  }

  private static void assertIds(Map<Integer, String> documents, Path output) throws IOException {
    Encoding judge = Encodings.newDefaultEncodingRegistry().getEncoding(EncodingType.O200K_BASE);
    Map<Integer, String> left = new LinkedHashMap<>(documents);
    List<Path> parts =
        files(output)
            .filter(file -> file.toString().endsWith(".parquet"))
            .filter(file -> !output.relativize(file).toString().startsWith("_"))
            .toList();
    assertThat(parts).isNotEmpty();
    for (Path part : parts) {
      try (ParquetReader<Group> reader =
          ParquetReader.builder(new GroupReadSupport(), new org.apache.hadoop.fs.Path(part.toUri()))
              .withConf(new Configuration())
              .build()) {
        for (Group row = reader.read(); row != null; row = reader.read()) {
          int id = Math.toIntExact(row.getLong("id", 0));
          String text = left.remove(id);
          assertThat(text).as("document %d is there twice, or was never read", id).isNotNull();
          Group list = row.getGroup("input_ids", 0);
          int[] ids = new int[list.getFieldRepetitionCount("list")];
          for (int i = 0; i < ids.length; i++) {
            ids[i] = list.getGroup("list", i).getInteger("element", 0);
          }
          assertThat(ids).as(text).isEqualTo(judge.encodeOrdinary(text).toArray());
          assertThat(row.getInteger("token_count", 0)).isEqualTo(ids.length);
        }
      }
    }
    assertThat(left).as("documents that are not in the output").isEmpty();
  }

  private static JsonNode summary(Path output) throws IOException {
    return new ObjectMapper().readTree(output.resolve("_quern/summary.json").toFile());
  }

  /** All files under a folder; a file that goes while they are listed is no error. */
  private static Stream<Path> files(Path top) {
    if (!Files.isDirectory(top)) {
      return Stream.of(top).filter(Files::isRegularFile);
    }
    try (Stream<Path> children = Files.list(top)) {
      return children.toList().stream().flatMap(ClusterIT::files);
    } catch (IOException e) {
      return Stream.empty();
    }
  }

  private static long size(Path file) {
    try {
      return Files.size(file);
    } catch (IOException e) {
      return 0;
    }
  }
}
