package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.abort;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;

/**
 * A Python with the packages that a file of requirements names, in target/ of the checkout. It is
 * made once and made again when the requirements change; a lock keeps two test runs from doing so
 * at the same time.
 */
public final class PythonEnvironment {

  private static final Path ROOT = checkout();
  private static final int OLDEST_MINOR = 10;

  /** By the folder of each. */
  private static final Map<Path, PythonEnvironment> MADE = new TreeMap<>();

  private final Path folder;

  private PythonEnvironment(Path folder) {
    this.folder = folder;
  }

  /**
   * The environment of the notebooks, made if it is not there. Where there is no Python 3.10 or
   * newer with pip, the calling test is skipped with a message that says so; anything else that
   * goes wrong fails it.
   */
  public static PythonEnvironment require() {
    return require("target/python", ROOT.resolve("notebooks/requirements.txt"));
  }

  /** As {@link #require()}, with what reads files beside Spark. */
  static PythonEnvironment readers() {
    return require(
        "target/python-readers", ROOT.resolve("job/src/test/python/requirements-readers.txt"));
  }

  private static synchronized PythonEnvironment require(String name, Path requirements) {
    Path folder = ROOT.resolve(name);
    if (MADE.containsKey(folder)) {
      return MADE.get(folder);
    }
    String python = System.getProperty("quern.python", "python3");
    String missing = missing(python);
    if (missing != null) {
      abort(missing + ": tests with Python are skipped (-Dquern.python names another one)");
    }
    try {
      Files.createDirectories(folder);
      try (FileChannel channel =
              FileChannel.open(
                  ROOT.resolve(name + ".lock"),
                  StandardOpenOption.CREATE,
                  StandardOpenOption.WRITE);
          FileLock lock = channel.lock()) {
        assertThat(lock.isValid()).isTrue();
        String wanted = Files.readString(requirements);
        Path installed = folder.resolve("installed.txt");
        if (!Files.exists(installed) || !Files.readString(installed).equals(wanted)) {
          System.out.println("Installing " + requirements + " into " + folder);
          run(List.of(python, "-m", "venv", "--clear", folder.toString()));
          run(
              List.of(
                  folder.resolve("bin/python").toString(),
                  "-m",
                  "pip",
                  "install",
                  "--quiet",
                  "--disable-pip-version-check",
                  "-r",
                  requirements.toString()));
          Files.writeString(installed, wanted);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    PythonEnvironment environment = new PythonEnvironment(folder);
    MADE.put(folder, environment);
    return environment;
  }

  /** The folder of the checkout. */
  public static Path checkout() {
    Path folder = Path.of("").toAbsolutePath();
    while (!Files.exists(folder.resolve("notebooks/requirements.txt"))) {
      folder = folder.getParent();
      if (folder == null) {
        throw new IllegalStateException("run the tests inside the checkout");
      }
    }
    return folder;
  }

  /** The interpreter of the environment. */
  public Path python() {
    return folder.resolve("bin/python");
  }

  /** The complete Spark that the pyspark package brings: bin/, jars/, python/. */
  public Path sparkHome() {
    try (var versions = Files.list(folder.resolve("lib"))) {
      return versions
          .map(version -> version.resolve("site-packages/pyspark"))
          .filter(Files::isDirectory)
          .findFirst()
          .orElseThrow(() -> new IllegalStateException("no pyspark in " + folder));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /**
   * A command with this Python first on its PATH, for Spark's Python workers too, and with the JVM
   * that runs the tests. Spark settings of the machine are not passed on.
   */
  public ProcessBuilder command(String... command) {
    ProcessBuilder builder = new ProcessBuilder(command);
    Map<String, String> variables = builder.environment();
    variables.keySet().removeIf(name -> name.startsWith("SPARK_") || name.startsWith("PYSPARK_"));
    variables.put("SPARK_HOME", sparkHome().toString());
    variables.put("PYSPARK_PYTHON", python().toString());
    variables.put("PYSPARK_DRIVER_PYTHON", python().toString());
    variables.put("JAVA_HOME", System.getProperty("java.home"));
    variables.merge(
        "PATH", folder.resolve("bin").toString(), (old, bin) -> bin + File.pathSeparator + old);
    return builder;
  }

  /** What a test can't do without, in a sentence; null if it is all there. */
  private static String missing(String python) {
    try {
      Process process =
          new ProcessBuilder(
                  python,
                  "-c",
                  "import sys, venv, ensurepip; print(sys.version_info[0] * 100 + sys.version_info[1])")
              .redirectErrorStream(true)
              .start();
      String said =
          new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
      if (process.waitFor() != 0) {
        return python + " has no venv or no pip (Debian and Ubuntu: apt-get install python3-venv)";
      }
      return Integer.parseInt(said) >= 300 + OLDEST_MINOR
          ? null
          : python + " is older than 3." + OLDEST_MINOR;
    } catch (IOException e) {
      return "there is no " + python;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(e);
    }
  }

  private static void run(List<String> command) throws IOException {
    Process process =
        new ProcessBuilder(new ArrayList<>(command)).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    try {
      assertThat(process.waitFor(1, TimeUnit.MINUTES))
          .as("%s has closed its output, but does not end", command)
          .isTrue();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException(e);
    }
    assertThat(process.exitValue()).as("%s said:%n%s", command, output).isZero();
  }
}
