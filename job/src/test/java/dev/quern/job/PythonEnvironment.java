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
import java.util.concurrent.TimeUnit;

/**
 * A Python with the packages of notebooks/requirements.txt, in target/python of the checkout. It is
 * made once and made again when the requirements change; a lock keeps two test runs from doing so
 * at the same time.
 */
public final class PythonEnvironment {

  private static final Path ROOT = checkout();
  private static final Path FOLDER = ROOT.resolve("target/python");
  private static final Path REQUIREMENTS = ROOT.resolve("notebooks/requirements.txt");
  private static final int OLDEST_MINOR = 10;

  private static PythonEnvironment environment;

  private PythonEnvironment() {}

  /**
   * The environment, made if it is not there. Where there is no Python 3.10 or newer with pip, the
   * calling test is skipped with a message that says so; anything else that goes wrong fails it.
   */
  public static synchronized PythonEnvironment require() {
    if (environment != null) {
      return environment;
    }
    String python = System.getProperty("quern.python", "python3");
    String missing = missing(python);
    if (missing != null) {
      abort(missing + ": tests with Python are skipped (-Dquern.python names another one)");
    }
    try {
      Files.createDirectories(FOLDER);
      try (FileChannel channel =
              FileChannel.open(
                  ROOT.resolve("target/python.lock"),
                  StandardOpenOption.CREATE,
                  StandardOpenOption.WRITE);
          FileLock lock = channel.lock()) {
        assertThat(lock.isValid()).isTrue();
        String wanted = Files.readString(REQUIREMENTS);
        Path installed = FOLDER.resolve("installed.txt");
        if (!Files.exists(installed) || !Files.readString(installed).equals(wanted)) {
          System.out.println("Installing " + REQUIREMENTS + " into " + FOLDER);
          run(List.of(python, "-m", "venv", "--clear", FOLDER.toString()));
          run(
              List.of(
                  FOLDER.resolve("bin/python").toString(),
                  "-m",
                  "pip",
                  "install",
                  "--quiet",
                  "--disable-pip-version-check",
                  "-r",
                  REQUIREMENTS.toString()));
          Files.writeString(installed, wanted);
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    environment = new PythonEnvironment();
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
    return FOLDER.resolve("bin/python");
  }

  /** The complete Spark that the pyspark package brings: bin/, jars/, python/. */
  public Path sparkHome() {
    try (var versions = Files.list(FOLDER.resolve("lib"))) {
      return versions
          .map(version -> version.resolve("site-packages/pyspark"))
          .filter(Files::isDirectory)
          .findFirst()
          .orElseThrow(() -> new IllegalStateException("no pyspark in " + FOLDER));
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
        "PATH", FOLDER.resolve("bin").toString(), (old, bin) -> bin + File.pathSeparator + old);
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
