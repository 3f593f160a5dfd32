package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.spark.launcher.JavaModuleOptions;

/**
 * Spark's own standalone cluster on the loopback interface: a Master and Workers of one core each,
 * as processes, from the jars that the build fetched. {@link #close} stops what was started.
 */
final class StandaloneCluster implements AutoCloseable {
  private static final Path ROOT = PythonEnvironment.checkout();
  private static final Path SPARK_HOME = ROOT.resolve("job/target/spark");
  private static final Path JAR = ROOT.resolve("job/target/quern-job.jar");
  private static final Pattern MASTER = Pattern.compile("spark://127\\.0\\.0\\.1:\\d+");

  /** What a submitted application said. */
  record Ran(int code, String output) {}

  private final Path folder;
  private final List<Process> processes = new ArrayList<>();
  private final String master;

  /** Starts the cluster and waits until all its workers are registered. */
  StandaloneCluster(Path folder, int workers) throws IOException, InterruptedException {
    this.folder = Files.createDirectories(folder);
    // An empty one: the cluster must not depend on the checkout's conf/.
    Files.createDirectories(folder.resolve("conf"));
    try {
      start(
          "master",
          "org.apache.spark.deploy.master.Master",
          "--host",
          "127.0.0.1",
          "--port",
          "0",
          "--webui-port",
          "0");
      master = awaitLog("master", MASTER, 1).group();
      awaitLog("master", Pattern.compile("I have been elected leader"), 1);
      for (int worker = 0; worker < workers; worker++) {
        start(
            "worker-" + worker,
            "org.apache.spark.deploy.worker.Worker",
            "--host",
            // Two hosts by their names: on the one that has a task Spark begins no second attempt.
            worker == 0 ? "127.0.0.1" : "localhost",
            "--webui-port",
            "0",
            "--cores",
            "1",
            "--memory",
            "1g",
            "--work-dir",
            folder.resolve("work-" + worker).toString(),
            master);
      }
      awaitLog("master", Pattern.compile("Registering worker"), workers);
    } catch (IOException | InterruptedException | RuntimeException | AssertionError e) {
      close();
      throw e;
    }
  }

  /** The URL for {@code --master}. */
  String master() {
    return master;
  }

  /** Submits the job in client mode, in the background; {@link #await(Process)} ends it. */
  Process submit(String... arguments) throws IOException {
    List<String> all =
        new ArrayList<>(
            List.of(
                "org.apache.spark.deploy.SparkSubmit",
                "--master",
                master,
                "--deploy-mode",
                "client",
                "--conf",
                "spark.driver.host=127.0.0.1",
                "--conf",
                "spark.driver.bindAddress=127.0.0.1",
                "--conf",
                "spark.ui.enabled=false",
                "--class",
                "dev.quern.job.TokenizeJob",
                JAR.toString()));
    all.addAll(List.of(arguments));
    return start("submit", all.toArray(String[]::new));
  }

  /** Waits for a submitted job. */
  Ran await(Process submitted) throws IOException, InterruptedException {
    boolean ended = submitted.waitFor(5, TimeUnit.MINUTES);
    String output = Files.readString(log("submit"));
    assertThat(ended).as("the job has not ended in 5 minutes:%n%s", output).isTrue();
    return new Ran(submitted.exitValue(), output);
  }

  /** The executors that run now: children of the workers. */
  Stream<ProcessHandle> executors() {
    return processes.stream()
        .flatMap(process -> process.toHandle().descendants())
        .filter(
            child ->
                commandLine(child).contains("org.apache.spark.executor.CoarseGrainedExecutor"));
  }

  /** The one with that number, as Spark's log names it. */
  ProcessHandle executor(String number) {
    return executors()
        .filter(child -> (commandLine(child) + " ").contains("--executor-id " + number + " "))
        .findFirst()
        .orElseThrow();
  }

  /** Empty for a process that has just ended. */
  private static String commandLine(ProcessHandle process) {
    return process
        .info()
        .arguments()
        .map(arguments -> String.join(" ", arguments))
        .or(() -> process.info().commandLine())
        .orElse("");
  }

  private Path log(String name) {
    return folder.resolve(name + ".log");
  }

  private Process start(String name, String... command) throws IOException {
    List<String> all = new ArrayList<>();
    all.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    all.addAll(List.of(JavaModuleOptions.defaultModuleOptionArray()));
    all.addAll(List.of("-Xmx1g", "-cp", SPARK_HOME.resolve("jars") + "/*"));
    all.addAll(List.of(command));
    ProcessBuilder builder =
        new ProcessBuilder(all).redirectErrorStream(true).redirectOutput(log(name).toFile());
    Map<String, String> variables = builder.environment();
    variables.keySet().removeIf(variable -> variable.startsWith("SPARK_"));
    variables.put("SPARK_HOME", SPARK_HOME.toString());
    variables.put("SPARK_SCALA_VERSION", "2.13");
    variables.put("SPARK_CONF_DIR", folder.resolve("conf").toString());
    variables.put("SPARK_LOCAL_IP", "127.0.0.1");
    variables.put("SPARK_LOCAL_DIRS", folder.resolve("local").toString());
    Process process = builder.start();
    processes.add(process);
    return process;
  }

  /** Stops a process where it is (STOP), or lets it go on (CONT). */
  static void signal(ProcessHandle process, String signal)
      throws IOException, InterruptedException {
    Process kill =
        new ProcessBuilder("kill", "-" + signal, String.valueOf(process.pid())).inheritIO().start();
    assertThat(kill.waitFor()).as("kill -%s", signal).isZero();
  }

  /**
   * Waits until the log of {@code name} has {@code pattern} in it {@code times} times, and gives
   * the first place; "submit" is the log of {@link #submit}.
   */
  Matcher awaitLog(String name, Pattern pattern, int times)
      throws IOException, InterruptedException {
    String text = "";
    for (int tries = 0; tries < 600; tries++) {
      text = new String(Files.readAllBytes(log(name)), StandardCharsets.UTF_8);
      Matcher matcher = pattern.matcher(text);
      if (matcher.results().count() >= times) {
        matcher.reset().find();
        return matcher;
      }
      Optional<Process> ended =
          processes.stream().filter(process -> !process.isAlive()).findFirst();
      assertThat(ended).as("a process of the cluster has ended:%n%s", text).isEmpty();
      Thread.sleep(100);
    }
    throw new AssertionError("'" + pattern + "' is not in the log after a minute:\n" + text);
  }

  /** Stops the workers' executors too: a worker that is told to end (SIGTERM) ends them. */
  @Override
  public void close() {
    List<ProcessHandle> all =
        processes.stream()
            .flatMap(
                process ->
                    Stream.concat(process.toHandle().descendants(), Stream.of(process.toHandle())))
            .toList();
    processes.forEach(Process::destroy);
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(10);
    while (all.stream().anyMatch(ProcessHandle::isAlive) && System.nanoTime() < end) {
      try {
        Thread.sleep(50);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        break;
      }
    }
    all.forEach(ProcessHandle::destroyForcibly);
  }
}
