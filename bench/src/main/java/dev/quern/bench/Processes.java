package dev.quern.bench;

import com.fasterxml.jackson.core.type.TypeReference;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Every task in a process of its own: a fresh JVM, or the Python interpreter of the peers. */
final class Processes implements Kernel.Runner {
  private static final int LOG_LINES_SHOWN = 20;

  private final Path folder;
  private final String python;
  private final List<Integer> cpus;

  /**
   * Works in {@code folder}.
   *
   * @param python the peers' interpreter; null without peers in Python
   * @param cpus a task of n threads runs on the first n of these only; empty: wherever it likes
   */
  Processes(Path folder, String python, List<Integer> cpus) {
    this.folder = folder;
    this.python = python;
    this.cpus = cpus;
  }

  @Override
  public Map<String, Object> run(KernelTask task) throws IOException, InterruptedException {
    return run(task, List.of(), Map.of());
  }

  /**
   * As {@link #run(KernelTask)}, started by another program and in an environment with more
   * variables.
   */
  Map<String, Object> run(KernelTask task, List<String> starter, Map<String, String> environment)
      throws IOException, InterruptedException {
    Path file = folder.resolve("task.json");
    Path log = folder.resolve("log");
    Path resultFile = Path.of(task.result());
    Files.deleteIfExists(resultFile);
    task.write(file);
    List<String> command = new ArrayList<>();
    if (!cpus.isEmpty()) {
      List<String> own =
          cpus.stream().limit(task.threads()).map(cpu -> Integer.toString(cpu)).toList();
      command.addAll(List.of("taskset", "-c", String.join(",", own)));
    }
    command.addAll(starter);
    if (task.tool().equals("quern") || task.tool().equals("jtokkit")) {
      command.addAll(javaCommand(task, file));
    } else if (task.tool().equals("quern-native")) {
      command.addAll(List.of(task.library(), file.toString()));
    } else {
      command.addAll(List.of(python, peerScript().toString(), file.toString()));
    }
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    builder.environment().putAll(environment);
    int status = builder.start().waitFor();
    if (!Files.exists(resultFile)) {
      List<String> lines =
          new String(Files.readAllBytes(log), StandardCharsets.UTF_8).lines().toList();
      throw new BenchException(
          BenchException.FAILED,
          "the process of "
              + task.tool()
              + " ended with status "
              + status
              + " and without a result; the end of what it said:\n"
              + String.join(
                  "\n", lines.subList(Math.max(0, lines.size() - LOG_LINES_SHOWN), lines.size())));
    }
    Map<String, Object> result =
        KernelTask.JSON.readValue(
            resultFile.toFile(), new TypeReference<LinkedHashMap<String, Object>>() {});
    if (result.containsKey("error")) {
      int code = result.get("exit_code") instanceof Integer own ? own : BenchException.INPUT;
      throw new BenchException(code, task.tool() + " can't do this: " + result.get("error"));
    }
    return result;
  }

  /**
   * Quern's documents and ids are outside the heap, and the little that loading leaves in it is
   * given back to the system, so that resident memory is the engine's; there is little Java to
   * compile, and none of it on a thread beside the one that is timed. jtokkit's documents are
   * within; its heap has a fixed limit, so that it does not depend on the machine's memory.
   */
  private static List<String> javaCommand(KernelTask task, Path file) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    if (task.tool().equals("quern")) {
      command.addAll(
          List.of(
              "-Xmx256m",
              "-Xms8m",
              "-XX:+UseSerialGC",
              "-XX:MinHeapFreeRatio=5",
              "-XX:MaxHeapFreeRatio=10",
              "-XX:TieredStopAtLevel=1",
              "-Xbatch"));
    } else {
      command.addAll(List.of("-Xmx" + (256 + 12 * (task.bytes() >> 20)) + "m", "-XX:+UseG1GC"));
    }
    command.addAll(
        List.of(
            "-XX:+IgnoreUnrecognizedVMOptions",
            "--enable-native-access=ALL-UNNAMED",
            "-cp",
            System.getProperty("java.class.path"),
            KernelRun.class.getName(),
            file.toString()));
    return command;
  }

  /** The file of the peers, in the checkout. */
  static Path peerScript() {
    return RecordOptions.root().resolve("bench").resolve("peers.py");
  }

  /** Which Python peers an interpreter has: package name to version, null where it is not. */
  static Map<String, String> peers(String python) throws IOException, InterruptedException {
    return versions(python, peerScript());
  }

  /** What the script, asked for {@code --versions}, says about an interpreter. */
  static Map<String, String> versions(String python, Path script)
      throws IOException, InterruptedException {
    Process process;
    try {
      process =
          new ProcessBuilder(python, script.toString(), "--versions")
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
    } catch (IOException e) {
      throw new BenchException(
          BenchException.INPUT,
          python + " can't be started: name a Python 3.10+ interpreter with --python",
          e);
    }
    byte[] output = process.getInputStream().readAllBytes();
    if (process.waitFor() != 0) {
      throw new BenchException(
          BenchException.INPUT,
          python
              + " did not run "
              + script
              + ": name a Python 3.10+ interpreter with --python, and start bench/bin/quern-bench"
              + " of a checkout");
    }
    return KernelTask.JSON.readValue(output, new TypeReference<LinkedHashMap<String, String>>() {});
  }

  /**
   * The interpreter of an environment under bench/target with the versions of
   * bench/NAME-requirements.txt, made when it is missing or the file has changed.
   */
  static String environment(String name, java.io.PrintWriter progress)
      throws IOException, InterruptedException {
    Path bench = RecordOptions.root().resolve("bench");
    Path requirements = bench.resolve(name + "-requirements.txt");
    if (!Files.exists(requirements)) {
      throw new BenchException(
          BenchException.USAGE,
          "the peers need the checkout: there is no "
              + requirements
              + "; start bench/bin/quern-bench, or name an interpreter with --python");
    }
    Path environment = bench.resolve("target").resolve(name);
    Path installed = environment.resolve("installed.txt");
    Path python = environment.resolve("bin").resolve("python");
    if (!Files.exists(installed) || Files.mismatch(installed, requirements) >= 0) {
      progress.println("installing the peers into " + environment + " ...");
      progress.flush();
      setUp(bench, "python3", "-m", "venv", "--clear", environment.toString());
      setUp(bench, python.toString(), "-m", "pip", "install", "-q", "-r", requirements.toString());
      Files.copy(requirements, installed);
    }
    return python.toString();
  }

  private static void setUp(Path bench, String... command)
      throws IOException, InterruptedException {
    Path log = bench.resolve("target").resolve("peers.log");
    Files.createDirectories(log.getParent());
    int status;
    try {
      status =
          new ProcessBuilder(command)
              .redirectErrorStream(true)
              .redirectOutput(log.toFile())
              .start()
              .waitFor();
    } catch (IOException e) {
      throw new BenchException(
          BenchException.INPUT,
          command[0] + " can't be started: install Python 3.10+, or name one with --python",
          e);
    }
    if (status != 0) {
      throw new BenchException(
          BenchException.INPUT,
          "the peers can't be installed ("
              + String.join(" ", command)
              + "); what it said is in "
              + log
              + ": repair that, or name an interpreter that has them with --python");
    }
  }
}
