package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.quern.tokenizer.TokenizerStatistics;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.imageio.ImageIO;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** The plugin, the record and the progress in real sessions that tokenize. */
@Timeout(300)
class QuernPluginTest {

  private static final long DOCUMENTS = 4000;
  private static final RunDescription DESCRIPTION =
      new RunDescription(
          "o200k_base", "ab".repeat(32), "reference", "", "none", Map.of("format", "none"));

  @TempDir Path folder;
  private SparkSession session;

  @AfterEach
  void stop() {
    if (session != null) {
      session.stop();
    }
  }

  @Test
  void aRunIsRecorded() throws IOException {
    start(QuernPlugin.class);
    tokenize(); // work of the session before the run must not be in its record
    RunRecord record = RunRecord.start(session, DESCRIPTION);
    long tokens = tokenize();
    record.finish(
        new RunTotals(DOCUMENTS + 1, 1, 1_000_000, tokens), List.of(ExecutorSampler.now()));
    record.finish(new RunTotals(0, 0, 0, 0), List.of()); // does nothing
    assertThat(record.write(new org.apache.hadoop.fs.Path(folder.toUri()))).isTrue();

    List<Row> samples =
        session
            .read()
            .parquet(folder.resolve("_quern").resolve("samples.parquet").toString())
            .orderBy("time")
            .collectAsList();
    assertThat(samples).hasSizeGreaterThanOrEqualTo(2);
    Row first = samples.get(0);
    Row last = samples.get(samples.size() - 1);
    assertThat(first.<Long>getAs("documents")).isZero();
    assertThat(last.<Long>getAs("documents")).isEqualTo(DOCUMENTS);
    assertThat(last.<Long>getAs("tokens")).isEqualTo(tokens);
    assertThat(last.<Long>getAs("bytes")).isGreaterThan(100 * DOCUMENTS);
    assertThat(last.<Long>getAs("native_nanoseconds")).isPositive();
    assertThat(last.<String>getAs("executor_id")).isEqualTo("driver");
    assertThat(last.<Long>getAs("process_id")).isEqualTo(ProcessHandle.current().pid());
    assertThat(last.<Integer>getAs("cores")).isEqualTo(2);
    assertThat(last.<String>getAs("allocator")).isIn("mimalloc", "system");
    assertThat(last.<Long>getAs("tokenizers_loaded")).isPositive();
    for (Row sample : samples) {
      assertThat(sample.<Long>getAs("rss_bytes")).isGreaterThan(50_000_000);
      assertThat(sample.<Long>getAs("rss_peak_bytes"))
          .isGreaterThanOrEqualTo(sample.<Long>getAs("rss_bytes"));
    }

    JsonNode summary = new ObjectMapper().readTree(folder.resolve("_quern/summary.json").toFile());
    assertThat(summary.at("/totals/documents").asLong()).isEqualTo(DOCUMENTS + 1);
    assertThat(summary.at("/totals/documents_quarantined").asLong()).isEqualTo(1);
    assertThat(summary.at("/sampled/documents").asLong()).isEqualTo(DOCUMENTS);
    assertThat(summary.at("/sampled/executors").asInt()).isEqualTo(1);
    assertThat(summary.at("/executors/0/cores").asInt()).isEqualTo(2);
    assertThat(summary.at("/executors/0/rss_peak_bytes").asLong())
        .isGreaterThanOrEqualTo(summary.at("/executors/0/rss_start_bytes").asLong());
    assertThat(summary.at("/environment/spark").asText()).isEqualTo(session.version());
    assertThat(ImageIO.read(folder.resolve("_quern/memory.png").toFile()).getWidth())
        .isEqualTo(1600);
    assertThat(record.summaryLines())
        .anyMatch(line -> line.matches("memory +RSS .* MB at start, .* at peak, .*"));
  }

  @Test
  void gaugesAreScraped() throws IOException, InterruptedException {
    long expected = TokenizerStatistics.snapshot().documents() + DOCUMENTS; // other tests' too
    start(QuernPlugin.class);
    tokenize();
    String name = "_driver_plugin_dev_quern_job_QuernPlugin_";
    String metrics = scrape();
    for (int tries = 0; tries < 600 && value(metrics, name + "documents") < expected; tries++) {
      Thread.sleep(50); // the sample after the last task is on its way
      metrics = scrape();
    }
    assertThat(value(metrics, name + "documents")).isEqualTo(expected);
    assertThat(value(metrics, name + "executors")).isEqualTo(1);
    assertThat(value(metrics, name + "residentBytes")).isGreaterThan(50e6);
    assertThat(value(metrics, name + "residentPeakBytes"))
        .isGreaterThanOrEqualTo(value(metrics, name + "executor_driver_residentBytes"));
    assertThat(value(metrics, name + "executor_driver_documents")).isEqualTo(expected);
    assertThat(value(metrics, name + "executor_driver_bytes")).isPositive();
    assertThat(value(metrics, name + "executor_driver_tokens")).isPositive();
    assertThat(value(metrics, name + "megabytesPerSecond")).isNotNegative();
    assertThat(value(metrics, name + "executor_driver_tokensPerSecond")).isNotNegative();
    assertThat(value(metrics, name + "executor_driver_nativeAllocatorBytes")).isNotNegative();
  }

  @Test
  void progressTellsOfThisThreadsJobsAndEnds() throws InterruptedException {
    start(QuernPlugin.class);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    Progress progress;
    try (RunRecord record = RunRecord.start(session, DESCRIPTION)) {
      PrintStream stream = new PrintStream(out, true, StandardCharsets.UTF_8);
      progress = Progress.start(session, record, -1, Progress.Style.LINE, 50, stream);
      tokenize();
      for (int tries = 0; tries < 600 && !text(out).contains("100%"); tries++) {
        Thread.sleep(50);
      }
      progress.close();
    }
    assertThat(text(out)).contains("100%", " documents, RSS ", " tokens/s").endsWith(" \r");
    int length = out.size();
    progress.close();
    tokenize();
    Thread.sleep(200); // longer than a line's interval
    assertThat(out.size()).isEqualTo(length);
  }

  @Test
  void withoutATerminalEachLineOfTheProgressIsALineOfItsOwn() throws InterruptedException {
    start(QuernPlugin.class);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (RunRecord record = RunRecord.start(session, DESCRIPTION)) {
      PrintStream stream = new PrintStream(out, true, StandardCharsets.UTF_8);
      Progress progress = Progress.start(session, record, -1, Progress.Style.LINES, 20, stream);
      tokenize();
      for (int tries = 0; tries < 600 && !text(out).contains("100%"); tries++) {
        Thread.sleep(50);
      }
      progress.close();
    }
    assertThat(text(out)).contains("quern: 100%, ").endsWith(System.lineSeparator());
    assertThat(text(out).lines())
        .allSatisfy(
            line ->
                assertThat(line)
                    .startsWith("quern: ")
                    .contains(" tokens/s, ", " documents, RSS ")
                    .doesNotContain("\r"));
  }

  @Test
  void withoutThePluginTheRecordSaysSo() throws IOException {
    start(null);
    RunRecord record = RunRecord.start(session, DESCRIPTION);
    assertThatThrownBy(record::summaryLines).isInstanceOf(IllegalStateException.class);
    record.finish(new RunTotals(1, 0, 1, 1), List.of());
    assertThat(record.write(new org.apache.hadoop.fs.Path(folder.toUri()))).isFalse();
    assertThat(record.summaryLines()).anyMatch(line -> line.contains("spark.plugins"));
    assertThat(Files.exists(folder.resolve("_quern/summary.json"))).isTrue();
    assertThat(session.read().parquet(folder.resolve("_quern/samples.parquet").toString()).count())
        .isZero();
  }

  @Test
  void aPluginThatCanNotSendFailsNoTask() {
    start(Mute.class);
    try (RunRecord record = RunRecord.start(session, DESCRIPTION)) {
      assertThat(tokenize()).isPositive();
      record.finish(new RunTotals(DOCUMENTS, 0, 1, 1), List.of());
      assertThat(record.summary().executors()).isEmpty();
    }
    assertThat(Mute.attempts).isPositive();
  }

  @Test
  void anIntervalThatIsNoneStopsTheApplicationAtItsStart() {
    assertThatThrownBy(
            () ->
                builder(QuernPlugin.class)
                    .config(MetricsConf.INTERVAL_MILLIS.key(), "often")
                    .getOrCreate())
        .hasStackTraceContaining(
            "spark.quern.metrics.interval: 'often' is not a time of at least 10ms");
  }

  /** Its executors' channel to the driver is broken. */
  public static final class Mute implements SparkPlugin {
    private static volatile int attempts;

    @Override
    public DriverPlugin driverPlugin() {
      return new QuernPlugin().driverPlugin();
    }

    @Override
    public ExecutorPlugin executorPlugin() {
      ExecutorPlugin plugin = new QuernPlugin().executorPlugin();
      return new ExecutorPlugin() {
        @Override
        public void init(PluginContext context, Map<String, String> fromDriver) {
          plugin.init(new MuteContext(context), fromDriver);
        }

        @Override
        public void shutdown() {
          plugin.shutdown();
        }
      };
    }

    private record MuteContext(PluginContext context) implements PluginContext {
      @Override
      public void send(Object message) throws IOException {
        attempts++;
        throw new IOException("no way to the driver");
      }

      @Override
      public Object ask(Object message) throws Exception {
        return context.ask(message);
      }

      @Override
      public com.codahale.metrics.MetricRegistry metricRegistry() {
        return context.metricRegistry();
      }

      @Override
      public org.apache.spark.SparkConf conf() {
        return context.conf();
      }

      @Override
      public String executorID() {
        return context.executorID();
      }

      @Override
      public String hostname() {
        return context.hostname();
      }

      @Override
      public Map<String, org.apache.spark.resource.ResourceInformation> resources() {
        return context.resources();
      }
    }
  }

  private void start(Class<? extends SparkPlugin> plugin) {
    session = builder(plugin).getOrCreate();
    session.sparkContext().setLogLevel("ERROR");
  }

  private static SparkSession.Builder builder(Class<? extends SparkPlugin> plugin) {
    SparkSession.Builder builder =
        SparkSession.builder()
            .master("local[2]")
            .appName("QuernPluginTest")
            .config("spark.ui.port", "0")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", "1")
            .config(
                "spark.metrics.conf.driver.sink.prometheusServlet.class",
                "org.apache.spark.metrics.sink.PrometheusServlet")
            .config("spark.metrics.conf.driver.sink.prometheusServlet.path", "/metrics/prometheus")
            .config(MetricsConf.INTERVAL_MILLIS.key(), "20ms");
    return plugin == null ? builder : builder.config("spark.plugins", plugin.getName());
  }

  /** Tokenizes DOCUMENTS documents in several tasks; answers the number of tokens. */
  private long tokenize() {
    return session
        .range(0, DOCUMENTS, 1, 8)
        .selectExpr(
            "sum(token_count(concat(repeat('A sentence about many things. ', 5), cast(id AS"
                + " string))))")
        .first()
        .getLong(0);
  }

  private String scrape() throws IOException, InterruptedException {
    URI uri = URI.create(session.sparkContext().uiWebUrl().get() + "/metrics/prometheus/");
    HttpResponse<String> response =
        HttpClient.newHttpClient()
            .send(HttpRequest.newBuilder(uri).build(), HttpResponse.BodyHandlers.ofString());
    assertThat(response.statusCode()).isEqualTo(200);
    return response.body();
  }

  /** The value of the gauge whose name ends so, -1 if there is none. */
  private static double value(String metrics, String name) {
    Matcher line =
        Pattern.compile("^\\S*" + name + "_Value\\{[^}]*\\} (\\S+)$", Pattern.MULTILINE)
            .matcher(metrics);
    return line.find() ? Double.parseDouble(line.group(1)) : -1;
  }

  private static String text(ByteArrayOutputStream out) {
    return out.toString(StandardCharsets.UTF_8);
  }
}
