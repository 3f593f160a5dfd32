package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.abort;

import java.awt.image.BufferedImage;
import java.io.File;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import javax.imageio.ImageIO;
import org.apache.spark.launcher.JavaModuleOptions;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/**
 * The tab of Spark's UI as its readers have it: the history server as a process of its own, with
 * the fat jar and without, and the pages in a real browser.
 */
@Tag("long")
@Timeout(600)
class UiIT {

  private static final Path ROOT = PythonEnvironment.checkout();
  private static final Path JAR = ROOT.resolve("job/target/quern-job.jar");

  /** A picture of a page, in pixels. */
  private static final int WIDTH = 1600;

  private static final int HEIGHT = 1000;

  @TempDir private static Path folder;
  private static SparkSession session;
  private static Path events;

  /** The session stays: its page is the live one, and its event log is that of a running one. */
  @BeforeAll
  static void tokenize() throws IOException {
    events = Files.createDirectory(folder.resolve("events"));
    session =
        SparkSession.builder()
            .master("local[2]")
            .appName("UiIT")
            .config("spark.ui.port", "0")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.plugins", QuernPlugin.class.getName())
            .config("spark.eventLog.enabled", "true")
            .config("spark.eventLog.dir", events.toUri().toString())
            .config(MetricsConf.INTERVAL_MILLIS.key(), "100ms")
            .config(MetricsConf.PROGRESS.key(), "off")
            .getOrCreate();
    session.sparkContext().setLogLevel("ERROR");
    String sample = "src/main/resources/dev/quern/job/sample/documents.jsonl";
    for (int run = 0; run < 3; run++) {
      TokenizeJob.run(
          session,
          "--input",
          sample,
          "--input-format",
          "json",
          "--output",
          folder.resolve("tokens-" + run).toString());
    }
  }

  @AfterAll
  static void stop() {
    if (session != null) {
      session.stop();
    }
  }

  @Test
  void aBrowserDrawsThePageOfARunningApplication() throws Exception {
    String address = session.sparkContext().uiWebUrl().get() + "/quern/";
    UiPages.await(address, page -> page.split("<td>finished</td>").length == 4);
    assertDrawn("live", address);
  }

  @Test
  void theHistoryServerShowsItWithTheJarAndTheRestWithout() throws Exception {
    int port = freePort();
    String address = "http://127.0.0.1:" + port + "/history/" + application();
    Process server = historyServer("with", port, JAR);
    try {
      String page = UiPages.await(address + "/quern/", text -> text.contains("quern-executors"));
      assertThat(UiPages.table(page, "quern-runs"))
          .hasSize(3)
          .allSatisfy(run -> assertThat(run).containsEntry("State", "finished"));
      assertDrawn("history", address + "/quern/");
    } finally {
      end(server);
    }

    port = freePort();
    address = "http://127.0.0.1:" + port + "/history/" + application();
    server = historyServer("without", port, null);
    try {
      String page = UiPages.await(address + "/jobs/", text -> text.contains("completedJob"));
      assertThat(page).contains("/executors/").doesNotContain("/quern/");
    } finally {
      end(server);
    }
    String log = Files.readString(folder.resolve("without.log"));
    assertThat(log.lines().filter(line -> line.contains("Drop unrecognized event")))
        .isNotEmpty()
        .allSatisfy(
            line ->
                assertThat(line)
                    .containsAnyOf("dev.quern.job.SamplesEvent", "dev.quern.job.RunEvent"));
  }

  private static String application() {
    return session.sparkContext().applicationId();
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }

  private static Process historyServer(String name, int port, Path jar) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(List.of(JavaModuleOptions.defaultModuleOptionArray()));
    command.addAll(
        List.of(
            "-Xmx600m",
            "-cp",
            (jar == null ? "" : jar + File.pathSeparator) + ROOT.resolve("job/target/spark/jars/*"),
            "-Dspark.history.fs.logDirectory=" + events.toUri(),
            "-Dspark.history.ui.port=" + port,
            "org.apache.spark.deploy.history.HistoryServer"));
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(folder.resolve(name + ".log").toFile());
    Map<String, String> variables = builder.environment();
    variables.keySet().removeIf(variable -> variable.startsWith("SPARK_"));
    variables.put("SPARK_LOCAL_IP", "127.0.0.1");
    return builder.start();
  }

  private static void end(Process process) throws InterruptedException {
    process.destroy();
    if (!process.waitFor(10, TimeUnit.SECONDS)) {
      process.destroyForcibly();
    }
  }

  /** Both curves are in the picture, and the browser has refused nothing of the page. */
  private static void assertDrawn(String name, String address) throws Exception {
    Path picture = ROOT.resolve("job/target").resolve("ui-" + name + ".png");
    Files.deleteIfExists(picture);
    Path log = folder.resolve("browser-" + name + ".log");
    Process browser =
        new ProcessBuilder(
                browser(),
                "--headless",
                "--no-sandbox", // which root may not use, and which a page of our own needs not
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--enable-logging=stderr",
                "--user-data-dir=" + folder.resolve("browser-" + name),
                "--window-size=" + WIDTH + "," + HEIGHT,
                "--screenshot=" + picture,
                address)
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    assertThat(browser.waitFor(2, TimeUnit.MINUTES)).isTrue();
    assertThat(picture).as(Files.readString(log)).isNotEmptyFile();
    assertThat(Files.readString(log)).doesNotContain("Content Security Policy", "Uncaught");
    BufferedImage image = ImageIO.read(picture.toFile());
    assertThat(pixels(image, 0x3b82c4))
        .as("line of resident memory in %s", picture)
        .isGreaterThan(1000);
    // Half transparent, on white.
    assertThat(pixels(image, 0xf7cb94)).as("bars of throughput in %s", picture).isGreaterThan(1000);
  }

  private static long pixels(BufferedImage image, int colour) {
    long found = 0;
    for (int y = 0; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        int at = image.getRGB(x, y);
        boolean near = true;
        for (int shift = 0; shift <= 16; shift += 8) {
          near &= Math.abs((at >> shift & 0xff) - (colour >> shift & 0xff)) <= 8;
        }
        found += near ? 1 : 0;
      }
    }
    return found;
  }

  private static String browser() {
    String given = System.getProperty("quern.browser");
    if (given != null) {
      return given;
    }
    for (String name : List.of("chromium", "chromium-browser", "google-chrome")) {
      for (String folder : System.getenv("PATH").split(File.pathSeparator)) {
        if (Files.isExecutable(Path.of(folder, name))) {
          return name;
        }
      }
    }
    abort(
        "there is no Chromium here (Debian and Ubuntu: apt-get install chromium; or"
            + " -Dquern.browser=FILE): the pages are not looked at in a browser");
    return null;
  }
}
