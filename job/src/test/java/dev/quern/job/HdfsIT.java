package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.zip.GZIPOutputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Assertions;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * From HDFS to HDFS: Hadoop's own small cluster, with a NameNode and a DataNode in a process of its
 * own (its jar holds half of the world, and stays off the class path of the tests). The long
 * profile fetches that jar.
 */
@Tag("long")
@Timeout(600)
class HdfsIT {

  private static final String MANIFEST =
      "org.apache.hadoop.mapreduce.lib.output.committer.manifest.ManifestCommitterFactory";

  @TempDir private static java.nio.file.Path folder;
  private static Process cluster;
  private static String root;
  private static FileSystem files;
  private JobSession job;

  @BeforeAll
  static void startCluster() throws Exception {
    java.nio.file.Path target = PythonEnvironment.checkout().resolve("job/target");
    java.nio.file.Path details = folder.resolve("details.json");
    List<String> classPath =
        new ArrayList<>(List.of(target.resolve("minicluster") + "/*", target + "/spark/jars/*"));
    for (Class<?> needed :
        List.of(
            Assertions.class,
            org.junit.platform.commons.JUnitException.class,
            org.opentest4j.AssertionFailedError.class)) {
      classPath.add(
          java.nio.file.Path.of(needed.getProtectionDomain().getCodeSource().getLocation().toURI())
              .toString());
    }
    cluster =
        new ProcessBuilder(
                java.nio.file.Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx400m",
                "-Dtest.build.data=" + folder.resolve("data"),
                "-cp",
                String.join(File.pathSeparator, classPath),
                "org.apache.hadoop.test.MiniDFSClusterManager",
                "-format",
                "-datanodes",
                "1",
                "-writeDetails",
                details.toString())
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve("cluster.log").toFile())
            .start();
    for (int tries = 0; tries < 1200 && !details.toFile().exists(); tries++) {
      assertThat(cluster.isAlive()).as(log()).isTrue();
      Thread.sleep(100);
    }
    JsonNode said = null;
    for (int tries = 0; tries < 100 && (said == null || said.isEmpty()); tries++) {
      Thread.sleep(100); // until it is written whole
      said = new ObjectMapper().readTree(details.toFile());
    }
    assertThat(said).as(log()).isNotNull();
    root = "hdfs://127.0.0.1:" + said.at("/namenode_port").asInt();
  }

  private static String log() {
    try {
      return java.nio.file.Files.readString(folder.resolve("cluster.log"));
    } catch (IOException e) {
      return e.toString();
    }
  }

  @AfterAll
  static void stopCluster() throws Exception {
    if (cluster != null) {
      cluster.destroy();
      if (!cluster.waitFor(20, TimeUnit.SECONDS)) {
        cluster.destroyForcibly();
      }
    }
  }

  @BeforeEach
  void start() throws IOException {
    job = new JobSession();
    files = new Path(root).getFileSystem(job.spark.sessionState().newHadoopConf());
    files.delete(new Path(root + "/work"), true);
    files.mkdirs(new Path(root + "/work/in"));
  }

  @AfterEach
  void stop() {
    job.close();
  }

  @ParameterizedTest
  @CsvSource({"parquet, ''", "parquet, " + MANIFEST, "arrow, ''"})
  void aCorpusOnHdfsBecomesTokensOnHdfsAndIsReplacedWhenAsked(String format, String committer)
      throws IOException {
    if (!committer.isEmpty()) {
      job.spark
          .sparkContext()
          .hadoopConfiguration()
          .set("mapreduce.outputcommitter.factory.scheme.hdfs", committer);
    }
    List<String> texts = new ArrayList<>(JobSession.TEXTS);
    texts.add(null); // for the quarantine
    job.documents(texts).repartition(3).write().parquet(root + "/work/in/documents");
    String output = root + "/work/tokens";
    String[] arguments = {
      "--input", root + "/work/in/documents", "--output", output, "--keep", "id", "--format", format
    };
    TokenizeResult result = job.run(arguments);

    assertWritten(result, format, output);
    List<Long> first = modified(output);
    Assertions.assertThrows(JobException.class, () -> job.run(arguments));
    assertThat(modified(output)).isEqualTo(first);

    List<String> again = new ArrayList<>(List.of(arguments));
    again.addAll(List.of("--mode", "overwrite"));
    assertWritten(job.run(again.toArray(String[]::new)), format, output);
    assertThat(modified(output)).isNotEqualTo(first);
    assertThat(names(root + "/work")).containsExactly("in", "tokens");
  }

  private void assertWritten(TokenizeResult result, String format, String output)
      throws IOException {
    assertThat(result.documents()).isEqualTo(JobSession.TEXTS.size() + 1);
    assertThat(result.quarantined()).isEqualTo(1);
    assertThat(result.quarantine()).startsWith(root);
    assertThat(job.spark.read().parquet(result.quarantine()).select("reason").collectAsList())
        .hasSize(1);
    if (format.equals("parquet")) {
      assertThat(job.read(output)).isEqualTo(job.expected());
    } else {
      assertThat(names(output)).filteredOn(name -> name.endsWith(".arrow")).isNotEmpty();
    }
    assertThat(names(output)).contains("_SUCCESS", "_quern");
    assertThat(names(output + "/_quern")).contains("quarantine", "samples.parquet", "summary.json");
    try (InputStream in = files.open(new Path(output + "/_quern/summary.json"))) {
      JsonNode summary = new ObjectMapper().readTree(in);
      assertThat(summary.at("/totals/documents").asLong()).isEqualTo(result.documents());
      assertThat(summary.at("/totals/tokens").asLong()).isEqualTo(result.tokens());
    }
    assertThat(names(root + "/work")).containsExactly("in", "tokens");
  }

  @ParameterizedTest
  @CsvSource({"''", MANIFEST})
  void aRunThatFailsLeavesHdfsAsItWas(String committer) throws IOException {
    if (!committer.isEmpty()) {
      job.spark
          .sparkContext()
          .hadoopConfiguration()
          .set("mapreduce.outputcommitter.factory.scheme.hdfs", committer);
    }
    // Half of a compressed file: only the task that reads it finds out.
    ByteArrayOutputStream zipped = new ByteArrayOutputStream();
    try (OutputStream zip = new GZIPOutputStream(zipped)) {
      zip.write("one\n".repeat(1000).getBytes(StandardCharsets.UTF_8));
    }
    write("in/whole.txt", "two\n".repeat(1000).getBytes(StandardCharsets.UTF_8));
    write("in/half.txt.gz", Arrays.copyOf(zipped.toByteArray(), zipped.size() / 2));
    write("old/part-0.txt", "old".getBytes(StandardCharsets.UTF_8));
    for (String output : List.of("new", "old")) {
      JobException failed =
          Assertions.assertThrows(
              JobException.class,
              () ->
                  job.run(
                      "--input",
                      root + "/work/in",
                      "--input-format",
                      "text",
                      "--output",
                      root + "/work/" + output,
                      "--mode",
                      "overwrite"));
      assertThat(failed.exit()).isEqualTo(JobException.Exit.FAILED);
      assertThat(names(root + "/work")).containsExactly("in", "old");
      assertThat(names(root + "/work/old")).containsExactly("part-0.txt");
    }
  }

  private static void write(String file, byte[] content) throws IOException {
    try (OutputStream out = files.create(new Path(root + "/work/" + file))) {
      out.write(content);
    }
  }

  private static List<String> names(String path) throws IOException {
    return Stream.of(files.listStatus(new Path(path)))
        .map(status -> status.getPath().getName())
        .sorted()
        .toList();
  }

  private static List<Long> modified(String path) throws IOException {
    return Stream.of(files.listStatus(new Path(path)))
        .map(FileStatus::getModificationTime)
        .toList();
  }
}
