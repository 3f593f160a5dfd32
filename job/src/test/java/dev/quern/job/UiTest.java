package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.quern.tokenizer.TokenizerStatistics;
import java.io.IOException;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.spark.SecurityManager;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.history.FsHistoryProvider;
import org.apache.spark.deploy.history.HistoryServer;
import org.apache.spark.scheduler.SparkListenerEvent;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.status.ElementTrackingStore;
import org.apache.spark.util.JsonProtocol;
import org.apache.spark.util.kvstore.InMemoryStore;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import scala.Option;

/** The tab of Spark's UI, over HTTP from a real Spark and a real history server. */
@Timeout(300)
class UiTest {

  private static final String SAMPLE = "src/main/resources/dev/quern/job/sample/documents.jsonl";

  @TempDir private Path folder;
  private Path events;
  private SparkSession session;

  @BeforeEach
  void prepare() throws IOException {
    events = Files.createDirectories(folder.resolve("events"));
  }

  @AfterEach
  void stop() {
    if (session != null) {
      session.stop();
    }
  }

  @Test
  void theTabAndTheHistoryShowWhatTheRecordSays() throws Exception {
    start("true");
    Path output = folder.resolve("tokens");
    TokenizeJob.run(
        session, "--input", SAMPLE, "--input-format", "json", "--output", output.toString());
    JsonNode record = new ObjectMapper().readTree(output.resolve("_quern/summary.json").toFile());
    String live =
        UiPages.await(
            session.sparkContext().uiWebUrl().get() + "/quern/",
            page -> page.contains("<td>finished</td>"));

    assertThat(UiPages.table(live, "quern-runs")).hasSize(1);
    Map<String, String> run = UiPages.table(live, "quern-runs").get(0);
    assertThat(run)
        .containsEntry("Tokenizer", "o200k_base")
        .containsEntry("Output", output.toString())
        .containsEntry("Documents", count(record.at("/totals/documents")))
        .containsEntry("Set aside", count(record.at("/totals/documents_quarantined")))
        .containsEntry("Text", RunSummary.size(record.at("/totals/bytes").asLong()))
        .containsEntry("Tokens", count(record.at("/totals/tokens")))
        .containsEntry("MB/s", RunSummary.decimals(record.at("/totals/mb_per_second").asDouble()))
        .containsEntry(
            "Tokens/s",
            RunSummary.format("%,.0f", record.at("/totals/tokens_per_second").asDouble()))
        .containsEntry(
            "Peak RSS", RunSummary.size(record.at("/sampled/rss_peak_largest_bytes").asLong()));
    assertThat(run.get("Engine")).startsWith(record.at("/tokenizer/engine").asText());

    // Counted since this JVM started: other tests have tokenized in it.
    TokenizerStatistics.Snapshot done = TokenizerStatistics.snapshot();
    assertThat(UiPages.table(live, "quern-executors")).hasSize(1);
    Map<String, String> executor = UiPages.table(live, "quern-executors").get(0);
    assertThat(executor)
        .containsEntry("Executor", "driver")
        .containsEntry("State", "active")
        .containsEntry("Cores", "2")
        .containsEntry("Documents", RunSummary.format("%,d", done.documents()))
        .containsEntry("Text", RunSummary.size(done.bytes()))
        .containsEntry("Tokens", RunSummary.format("%,d", done.tokens()))
        .containsEntry("Allocator", record.at("/executors/0/allocator").asText())
        .containsKeys("MB/s now", "Tokens/s now", "MB/s", "Tokens/s", "RSS", "Peak RSS");
    assertThat(executor.get("Engine")).contains(record.at("/tokenizer/engine").asText());
    assertThat(live).contains("<svg", "<meta http-equiv=\"refresh\"").doesNotContain("src=\"http");

    String application = session.sparkContext().applicationId();
    session.stop();
    // In memory, and on disk as JSON and as what Spark has for classes that it does not know.
    for (String serializer : List.of("", "JSON", "PROTOBUF")) {
      SparkConf conf = new SparkConf(false).set("spark.history.fs.logDirectory", uri(events));
      if (!serializer.isEmpty()) {
        Path store = Files.createDirectory(folder.resolve(serializer));
        conf.set("spark.history.store.path", store.toString())
            .set("spark.history.store.serializer", serializer)
            .set("spark.history.store.hybridStore.enabled", "false");
      }
      String history = history(conf, application);
      assertThat(UiPages.table(history, "quern-runs")).containsExactly(run);
      Map<String, String> then = UiPages.table(history, "quern-executors").get(0);
      assertThat(then).doesNotContainKeys("State", "MB/s now", "Tokens/s now");
      for (String column : List.of("Executor", "Host", "Cores", "Documents", "Tokens", "Engine")) {
        assertThat(then).containsEntry(column, executor.get(column));
      }
      assertThat(history).contains("<svg").doesNotContain("http-equiv=\"refresh\"");
    }
  }

  @Test
  void aFailedRunAndAnExecutorOfItsOwnAreShownAndAllIsEscaped() throws Exception {
    start("true");
    String evil = "<img src=x onerror=alert(1)>\"&'";
    RunDescription description =
        new RunDescription(evil, "0", evil, evil, "none", Map.of("output", evil));
    RunRecord.start(session, description).close();
    ExecutorSample.Executor executor = new ExecutorSample.Executor(evil, evil, 1);
    post(event(executor, 0), event(executor, 1));
    String address = session.sparkContext().uiWebUrl().get() + "/quern/";
    String page = UiPages.await(address, text -> text.contains("<td>failed</td>"));
    String escaped = "&lt;img src=x onerror=alert(1)&gt;&quot;&amp;'";
    page = UiPages.await(address, text -> text.contains("<td>" + escaped + "</td>"));
    assertThat(page).doesNotContain("<img src=x");
    assertThat(UiPages.table(page, "quern-runs").get(0))
        .containsEntry("State", "failed")
        .containsEntry("Output", escaped)
        .containsEntry("Documents", "");

    assertThat(UiPages.fetch(address + "?executor=driver&refresh=off").body())
        .contains("throughput, executor driver", "show all")
        .doesNotContain("http-equiv=\"refresh\"");
    assertThat(UiPages.fetch(address + "?executor=%3Cb%3E77").body())
        .contains("all executors together")
        .doesNotContain("<b>77");
  }

  @Test
  void switchedOffThereIsNeitherTabNorEvent() throws Exception {
    start("false");
    session.range(0, 100, 1, 2).selectExpr("sum(token_count(cast(id AS string)))").first();
    HttpResponse<String> answer =
        UiPages.fetch(session.sparkContext().uiWebUrl().get() + "/quern/");
    assertThat(answer.body()).doesNotContain("quern-executors");
    session.stop();
    try (Stream<Path> logs = Files.walk(events)) {
      for (Path log : logs.filter(Files::isRegularFile).toList()) {
        assertThat(Files.readString(log)).doesNotContain("SamplesEvent");
      }
    }
  }

  @Test
  void eventsOfAnotherVersionAreRead() {
    SparkListenerEvent event =
        JsonProtocol.sparkEventFromJson(
            "{\"Event\":\"dev.quern.job.SamplesEvent\",\"more\":1,\"executors\":[{\"executor\":"
                + "{\"id\":\"1\",\"more\":2},\"timeMillis\":5,\"memory\":{\"resident\":7,\"more\":{}},"
                + "\"work\":{\"documents\":9,\"more\":[]},\"more\":\"\"}]}");
    ExecutorSample sample = ((SamplesEvent) event).executors().get(0);
    assertThat(sample.executor().id()).isEqualTo("1");
    assertThat(sample.memory().resident()).isEqualTo(7);
    assertThat(sample.work().documents()).isEqualTo(9);
    SamplesEvent whole = event(new ExecutorSample.Executor("a\"\n\u0000é", "h", 3), 1);
    assertThat(JsonProtocol.sparkEventFromJson(JsonProtocol.sparkEventToJsonString(whole)))
        .isEqualTo(whole);
  }

  @Test
  void aLongLifeWithManyExecutorsStaysBounded() {
    InMemoryStore store = new InMemoryStore();
    SparkConf conf = new SparkConf(false).set("spark.ui.retainedDeadExecutors", "10");
    ElementTrackingStore tracked = new ElementTrackingStore(store, conf);
    UiListener listener = UiListener.replayed(tracked, conf);
    for (int id = 0; id < 200; id++) {
      for (int second = 0; second < 1000; second++) {
        listener.onOtherEvent(event(new ExecutorSample.Executor("" + id, "h", id), second));
      }
      if (id < 150) {
        listener.onExecutorRemoved(new SparkListenerExecutorRemoved(1, "" + id, "idle"));
      }
    }
    for (int run = 0; run < 1000; run++) {
      listener.onOtherEvent(
          RunEvent.started(
              "" + run, new RunDescription("t", "0", "fast", "", "none", Map.of()), run));
    }
    tracked.close(false);
    List<UiListener.ExecutorView> views = UiListener.stored(store, UiListener.ExecutorView.class);
    assertThat(views).hasSize(50 + 10 + 1).allMatch(view -> view.samples().size() <= 256);
    UiListener.ExecutorView all =
        views.stream().filter(UiListener.ExecutorView::isAll).findFirst().orElseThrow();
    assertThat(all.latest().work().documents()).isEqualTo(200 * 999);
    assertThat(all.latest().memory().resident()).isEqualTo(50 * 1999L);
    assertThat(UiListener.stored(store, RunEvent.class)).hasSizeLessThanOrEqualTo(200);
  }

  /** A document a second, and a byte of resident memory. */
  private static SamplesEvent event(ExecutorSample.Executor executor, int second) {
    return new SamplesEvent(
        List.of(
            new ExecutorSample(
                executor,
                Samples.START + second * 1000L,
                false,
                new ExecutorSample.Memory(1000 + second, 2000, 0, 0, 0, 0, 0, 0, 0, 0, null, null),
                new ExecutorSample.Work(second, second, second, 0, 1, 0, "system", "fast"))));
  }

  private void post(SparkListenerEvent... posted) {
    for (SparkListenerEvent event : posted) {
      session.sparkContext().listenerBus().post(event);
    }
  }

  private void start(String ui) {
    session =
        SparkSession.builder()
            .master("local[2]")
            .appName("UiTest")
            .config("spark.ui.port", "0")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.shuffle.partitions", "1")
            .config("spark.plugins", QuernPlugin.class.getName())
            .config("spark.eventLog.enabled", "true")
            .config("spark.eventLog.dir", uri(events))
            .config("spark.eventLog.compress", "false")
            .config(MetricsConf.INTERVAL_MILLIS.key(), "20ms")
            .config(MetricsConf.PROGRESS.key(), "off")
            .config(MetricsConf.UI.key(), ui)
            .getOrCreate();
    session.sparkContext().setLogLevel("ERROR");
  }

  private static String uri(Path path) {
    return path.toUri().toString();
  }

  /** The page of an application that has ended, from a history server that is stopped again. */
  private static String history(SparkConf conf, String application) throws Exception {
    conf.set("spark.driver.host", "127.0.0.1");
    FsHistoryProvider provider = new FsHistoryProvider(conf);
    HistoryServer server =
        new HistoryServer(conf, provider, new SecurityManager(conf, Option.empty(), null), 0);
    try {
      server.bind();
      provider.start();
      return UiPages.await(
          "http://127.0.0.1:" + server.boundPort() + "/history/" + application + "/quern/",
          page -> page.contains("quern-executors"));
    } finally {
      server.stop();
    }
  }

  private static String count(JsonNode number) {
    return RunSummary.format("%,d", number.asLong());
  }
}
