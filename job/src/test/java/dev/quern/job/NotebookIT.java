package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Runs each notebook from its first cell to its last; a cell that fails fails this. */
class NotebookIT {

  private static final String RUN =
      """
      import sys, nbformat
      from nbclient import NotebookClient
      notebook = nbformat.read(sys.argv[1], as_version=4)
      NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": sys.argv[2]}}).execute()
      nbformat.write(notebook, sys.argv[3])
      """;

  @TempDir private Path folder;

  static List<String> notebooks() throws IOException {
    try (Stream<Path> files = Files.list(PythonEnvironment.checkout().resolve("notebooks"))) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.endsWith(".ipynb"))
          .sorted()
          .toList();
    }
  }

  @ParameterizedTest
  @MethodSource("notebooks")
  void everyCellRuns(String notebook) throws Exception {
    PythonEnvironment python = PythonEnvironment.require();
    Path root = PythonEnvironment.checkout();
    Path executed = root.resolve("job/target").resolve(notebook);
    ProcessBuilder builder =
        python.command(
            python.python().toString(),
            "-c",
            RUN,
            root.resolve("notebooks").resolve(notebook).toString(),
            root.resolve("notebooks").toString(),
            executed.toString());
    // The kernel is the one of this environment, whatever the machine has registered.
    builder
        .environment()
        .put(
            "JUPYTER_PATH",
            python.python().getParent().getParent().resolve("share/jupyter").toString());
    builder.environment().put("JUPYTER_DATA_DIR", folder.toString());
    builder.environment().put("IPYTHONDIR", folder.resolve("ipython").toString());
    Process process = builder.redirectErrorStream(true).start();
    String said = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(process.waitFor()).as(said).isZero();
    // The chart: a picture that a cell has drawn.
    assertThat(Files.readString(executed)).contains("image/png");
  }
}
