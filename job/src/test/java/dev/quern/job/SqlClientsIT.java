package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The SQL functions from every client that Spark has, through the real pyspark package, with no
 * more than the jar on the server. Skipped, with a message, where there is no Python.
 */
class SqlClientsIT {
  private static final Path ROOT = PythonEnvironment.checkout();
  private static final String JAR = ROOT.resolve("job/target/quern-job.jar").toString();
  private static final String SCRIPT =
      ROOT.resolve("job/src/test/resources/dev/quern/job/sql_functions.py").toString();
  private static final String QUERY = "SELECT tokenize('Hello, world!') AS ids";
  private static final String IDS = "[13225,11,2375,0]";

  @TempDir private Path folder;

  @Test
  void pySpark() throws Exception {
    PythonEnvironment python = PythonEnvironment.require();
    assertThat(run(python, python.python().toString(), SCRIPT, JAR)).contains("all is well");
  }

  @Test
  void sparkSql() throws Exception {
    PythonEnvironment python = PythonEnvironment.require();
    String said =
        run(
            python,
            bin(python, "spark-sql"),
            "--master",
            "local[1]",
            "--jars",
            JAR,
            "--conf",
            "spark.ui.enabled=false",
            "--conf",
            "spark.driver.host=127.0.0.1",
            "-e",
            QUERY);
    assertThat(said).contains(IDS);
  }

  @Test
  void thriftServer() throws Exception {
    PythonEnvironment python = PythonEnvironment.require();
    int port = freePort();
    List<String> server =
        submit(python, "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2");
    server.addAll(
        List.of(
            "spark-internal",
            "--hiveconf",
            "hive.server2.thrift.port=" + port,
            "--hiveconf",
            "hive.server2.thrift.bind.host=127.0.0.1"));
    withServer(
        python,
        server,
        port,
        () -> {
          String said =
              run(
                  python,
                  bin(python, "beeline"),
                  "-u",
                  "jdbc:hive2://127.0.0.1:" + port,
                  "-e",
                  QUERY + ";");
          assertThat(said).contains(IDS);
        });
  }

  @Test
  void connect() throws Exception {
    PythonEnvironment python = PythonEnvironment.require();
    int port = freePort();
    List<String> server = submit(python, "org.apache.spark.sql.connect.service.SparkConnectServer");
    server.addAll(
        List.of(
            "--conf",
            "spark.connect.grpc.binding.address=127.0.0.1",
            "--conf",
            "spark.connect.grpc.binding.port=" + port,
            "spark-internal"));
    withServer(
        python,
        server,
        port,
        () ->
            assertThat(run(python, python.python().toString(), SCRIPT, "sc://127.0.0.1:" + port))
                .contains("all is well"));
  }

  private static List<String> submit(PythonEnvironment python, String mainClass) {
    return new ArrayList<>(
        List.of(
            bin(python, "spark-submit"),
            "--master",
            "local[2]",
            "--jars",
            JAR,
            "--conf",
            "spark.ui.enabled=false",
            "--conf",
            "spark.driver.host=127.0.0.1",
            "--class",
            mainClass));
  }

  private static String bin(PythonEnvironment python, String name) {
    return python.sparkHome().resolve("bin").resolve(name).toString();
  }

  private interface Client {
    void use() throws Exception;
  }

  /** Starts the server, waits until it listens, and stops it whatever the client does. */
  private void withServer(PythonEnvironment python, List<String> command, int port, Client client)
      throws Exception {
    Path log = folder.resolve("server.log");
    Process server =
        python
            .command(command.toArray(String[]::new))
            .directory(folder.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    try {
      long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(3);
      while (!listens(port)) {
        assertThat(server.isAlive()).as(Files.readString(log)).isTrue();
        assertThat(System.nanoTime() < end)
            .as("no server on port %d after 3 minutes:%n%s", port, Files.readString(log))
            .isTrue();
        Thread.sleep(200);
      }
      client.use();
    } finally {
      List<ProcessHandle> all = new ArrayList<>(server.descendants().toList());
      all.add(server.toHandle());
      all.forEach(ProcessHandle::destroy);
      if (!server.waitFor(20, TimeUnit.SECONDS)) {
        all.forEach(ProcessHandle::destroyForcibly);
      }
    }
  }

  private static boolean listens(int port) {
    try (Socket socket = new Socket(InetAddress.getByName("127.0.0.1"), port)) {
      return socket.isConnected();
    } catch (IOException e) {
      return false;
    }
  }

  private static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getByName("127.0.0.1"))) {
      return socket.getLocalPort();
    }
  }

  /** Both streams of a command that must end with 0. It runs where its files do no harm. */
  private String run(PythonEnvironment python, String... command) throws Exception {
    Process process =
        python.command(command).directory(folder.toFile()).redirectErrorStream(true).start();
    process.getOutputStream().close(); // a client that asks for more must not wait for it
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(said).isZero();
    return said;
  }
}
