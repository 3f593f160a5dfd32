package dev.quern.bench;

import com.fasterxml.jackson.core.type.TypeReference;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Every task in a process of its own: a fresh JVM, or the Python interpreter of the peers. */
final class Processes implements Kernel.Runner {
  private static final int LOG_LINES_SHOWN = 20;

  private final Path folder;
  private final long corpusBytes;
  private final String python;

  /** Works in {@code folder}; {@code python} is null without peers. */
  Processes(Path folder, long corpusBytes, String python) {
    this.folder = folder;
    this.corpusBytes = corpusBytes;
    this.python = python;
  }

  @Override
  public Map<String, Object> run(KernelTask task) throws IOException, InterruptedException {
    Path file = folder.resolve("task.json");
    Path log = folder.resolve("log");
    Path resultFile = Path.of(task.result());
    Files.deleteIfExists(resultFile);
    task.write(file);
    boolean java = task.tool().equals("quern") || task.tool().equals("jtokkit");
    List<String> command =
        java ? javaCommand(file) : List.of(python, peerScript(folder).toString(), file.toString());
    int status =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start()
            .waitFor();
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
      throw new BenchException(
          BenchException.INPUT, task.tool() + " can't do this: " + result.get("error"));
    }
    return result;
  }

  /** A heap of fixed limit, so that it does not depend on the machine's memory. */
  private List<String> javaCommand(Path task) {
    long heapMebibytes = 256 + 8 * (corpusBytes >> 20);
    return List.of(
        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "-Xmx" + heapMebibytes + "m",
        "-XX:+UseG1GC",
        "-XX:+IgnoreUnrecognizedVMOptions",
        "--enable-native-access=ALL-UNNAMED",
        "-cp",
        System.getProperty("java.class.path"),
        KernelRun.class.getName(),
        task.toString());
  }

  /** Which Python contenders an interpreter has: package name to version, null where it is not. */
  static Map<String, String> peers(Path folder, String python)
      throws IOException, InterruptedException {
    Process process;
    try {
      process =
          new ProcessBuilder(python, peerScript(folder).toString(), "--versions")
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
    } catch (IOException e) {
      throw new BenchException(
          BenchException.INPUT,
          "--peers " + python + " can't be started: name a Python 3.9+ interpreter",
          e);
    }
    byte[] output = process.getInputStream().readAllBytes();
    if (process.waitFor() != 0) {
      throw new BenchException(
          BenchException.INPUT,
          "--peers " + python + " did not run peer.py: name a Python 3.9+ interpreter");
    }
    return KernelTask.JSON.readValue(output, new TypeReference<LinkedHashMap<String, String>>() {});
  }

  private static Path peerScript(Path folder) throws IOException {
    Path script = folder.resolve("peer.py");
    if (!Files.exists(script)) {
      try (InputStream in = Processes.class.getResourceAsStream("peer.py")) {
        Files.copy(in, script);
      }
    }
    return script;
  }
}
