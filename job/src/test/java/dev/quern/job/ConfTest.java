package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import dev.quern.sql.QuernConf;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.hadoop.mapred.JobConf;
import org.apache.logging.log4j.Level;
import org.apache.logging.log4j.core.LoggerContext;
import org.apache.logging.log4j.core.config.Configuration;
import org.apache.logging.log4j.core.config.ConfigurationSource;
import org.apache.logging.log4j.core.config.properties.PropertiesConfigurationFactory;
import org.apache.spark.SparkConf;
import org.apache.spark.internal.config.ConfigEntry;
import org.apache.spark.launcher.SparkLauncher;
import org.apache.spark.metrics.sink.Sink;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** The files in conf/: every key is one that something reads, and Spark starts with them. */
class ConfTest {

  private static final Path CONF = PythonEnvironment.checkout().resolve("conf");

  /** Objects that register Spark's configuration entries when they are initialised. */
  private static final List<String> REGISTRIES =
      List.of(
          "org.apache.spark.internal.config.package$",
          "org.apache.spark.internal.config.UI$",
          "org.apache.spark.internal.config.Status$",
          "org.apache.spark.internal.config.Network$",
          "org.apache.spark.sql.internal.SQLConf$");

  /**
   * Keys whose entries are in modules of Spark that are not on this class path (spark-yarn and
   * spark-kubernetes, of which a distribution has the jars), from "Running Spark on YARN" and
   * "Running Spark on Kubernetes" of Spark 4.2's manual: written by hand, no test knows whether
   * Spark has them.
   */
  private static final Set<String> ELSEWHERE =
      Set.of(
          "spark.yarn.maxAppAttempts",
          "spark.kubernetes.container.image",
          "spark.kubernetes.namespace",
          "spark.kubernetes.authenticate.driver.serviceAccountName",
          "spark.kubernetes.local.dirs.tmpfs");

  private static final String HADOOP = "spark.hadoop.";

  @TempDir private Path folder;

  @BeforeAll
  static void registerSparksKeys() throws ClassNotFoundException {
    for (String registry : REGISTRIES) {
      Class.forName(registry);
    }
  }

  @Test
  void thereIsAFileForEachKindOfCluster() throws IOException {
    assertThat(defaults().map(file -> file.getFileName().toString()))
        .containsExactlyInAnyOrder(
            "spark-defaults-local.conf",
            "spark-defaults-standalone.conf",
            "spark-defaults-yarn.conf",
            "spark-defaults-kubernetes.conf");
  }

  @ParameterizedTest
  @MethodSource("defaults")
  void everyKeyIsKnownAndItsValueValid(Path file) throws IOException {
    Map<String, String> settings = Start.settings(file);
    assertThat(settings).isNotEmpty();
    settings.forEach(
        (key, value) -> {
          if (key.startsWith(QuernConf.PREFIX)) {
            QuernConf.Entry<?> entry =
                QuernConf.allEntries().stream()
                    .filter(candidate -> candidate.key().equals(key))
                    .findFirst()
                    .orElseThrow(() -> new AssertionError(file + ": nothing reads " + key));
            entry.parse(value);
          } else if (key.startsWith(HADOOP)) {
            // Hadoop's own files of defaults have every key that is not deprecated.
            assertThat(new JobConf().get(key.substring(HADOOP.length())))
                .as("%s: %s, a key of Hadoop", file, key)
                .isNotNull();
          } else if (!key.equals(SparkLauncher.SPARK_MASTER) && !ELSEWHERE.contains(key)) {
            ConfigEntry<?> entry = ConfigEntry.findEntry(key);
            assertThat(entry).as("%s: %s, a key of Spark", file, key).isNotNull();
            entry.valueConverter().apply(value);
          }
        });
  }

  /** The options' keys stand in a table that a test of theirs compares. */
  @Test
  void readmeNamesEveryKey() throws IOException {
    String readme = Files.readString(PythonEnvironment.checkout().resolve("README.md"));
    assertThat(QuernConf.allEntries())
        .allSatisfy(entry -> assertThat(readme).contains("`" + entry.key() + "`"));
  }

  /** A key stands below a comment, or below another key that does. */
  @ParameterizedTest
  @MethodSource("defaults")
  void everyKeyHasItsReason(Path file) throws IOException {
    boolean explained = false;
    for (String line : Files.readAllLines(file)) {
      if (line.startsWith("#")) {
        explained = true;
      } else if (line.isBlank()) {
        explained = false;
      } else if (!line.startsWith("spark.plugins") && !line.contains("spark.master")) {
        assertThat(line.startsWith("spark.submit") || explained).as("%s: %s", file, line).isTrue();
      }
    }
  }

  /** Standalone: the same keys, with the workers that Spark starts itself for one application. */
  @ParameterizedTest
  @CsvSource({
    "spark-defaults-local.conf, ''",
    "spark-defaults-standalone.conf, 'local-cluster[1,4,4096]'"
  })
  void sparkStarts(String file, String master) throws Exception {
    Path home = Files.createDirectories(folder.resolve("spark"));
    Files.createDirectories(home.resolve("jars"));
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    ManagementFactory.getRuntimeMXBean().getInputArguments().stream()
        .filter(option -> option.startsWith("--add-opens") || option.startsWith("-XX:+Ignore"))
        .forEach(command::add);
    String classPath =
        System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
    command.addAll(
        List.of("-cp", classPath, Start.class.getName(), CONF.resolve(file).toString(), master));
    ProcessBuilder builder =
        new ProcessBuilder(command).directory(folder.toFile()).redirectErrorStream(true);
    builder.environment().put("SPARK_HOME", home.toString());
    builder.environment().put("SPARK_SCALA_VERSION", "2.13");
    Process process = builder.start();
    List<String> lines = new ArrayList<>();
    try (BufferedReader output = process.inputReader(StandardCharsets.UTF_8)) {
      output.lines().forEach(lines::add);
    }
    assertThat(process.waitFor()).as(() -> String.join(System.lineSeparator(), lines)).isZero();
    assertThat(lines).contains("sum 4950");
  }

  /** Starts Spark with a file of ours and sums on an executor. Arguments: the file, a master. */
  static final class Start {
    public static void main(String[] arguments) throws IOException {
      SparkConf conf = new SparkConf().setAppName("ConfTest");
      settings(Path.of(arguments[0])).forEach(conf::set);
      if (!arguments[1].isEmpty()) {
        conf.setMaster(arguments[1]);
        conf.set("spark.executor.extraClassPath", System.getProperty("java.class.path"));
      }
      conf.set("spark.ui.port", "0");
      try (SparkSession session = SparkSession.builder().config(conf).getOrCreate()) {
        Object sum = session.range(100).selectExpr("sum(id)").first().get(0);
        System.out.println("sum " + sum);
      }
    }

    /** As spark-submit reads them. */
    static Map<String, String> settings(Path file) throws IOException {
      Properties properties = new Properties();
      try (BufferedReader in = Files.newBufferedReader(file)) {
        properties.load(in);
      }
      Map<String, String> settings = new TreeMap<>();
      properties
          .stringPropertyNames()
          .forEach(key -> settings.put(key, properties.getProperty(key).strip()));
      return settings;
    }
  }

  @Test
  void metricsGoToPrometheusEndpointOfTheDriver() throws Exception {
    Properties metrics = new Properties();
    try (InputStream in = Files.newInputStream(CONF.resolve("metrics.properties"))) {
      metrics.load(in);
    }
    assertThat(metrics.getProperty("driver.sink.prometheusServlet.path"))
        .isEqualTo("/metrics/prometheus");
    Class<?> sink = Class.forName(metrics.getProperty("driver.sink.prometheusServlet.class"));
    assertThat(Sink.class).isAssignableFrom(sink);
    assertThat(metrics).hasSize(2);
  }

  @Test
  void logsShowWarningsAndOurOwnLines() throws IOException {
    Path file = CONF.resolve("log4j2.properties");
    try (InputStream in = Files.newInputStream(file);
        LoggerContext context = new LoggerContext("ConfTest")) {
      Configuration configuration =
          new PropertiesConfigurationFactory()
              .getConfiguration(context, new ConfigurationSource(in, file.toFile()));
      configuration.initialize();
      assertThat(configuration.getAppenders()).containsOnlyKeys("stderr");
      assertThat(configuration.getRootLogger().getLevel()).isEqualTo(Level.WARN);
      assertThat(configuration.getLoggerConfig("dev.quern.job").getLevel()).isEqualTo(Level.INFO);
      assertThat(configuration.getLoggerConfig("org.apache.spark").getLevel())
          .isEqualTo(Level.WARN);
    }
  }

  static Stream<Path> defaults() throws IOException {
    File[] files = CONF.toFile().listFiles((where, name) -> name.startsWith("spark-defaults"));
    return Stream.of(files).map(File::toPath).sorted();
  }
}
