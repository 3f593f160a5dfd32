package dev.quern.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import picocli.CommandLine.Option;

/** What every measurement does with its lines: print them, as a table or as JSON, and keep them. */
final class RecordOptions {
  @Option(
      names = "--json",
      description = "Print one line of JSON a measurement, with every sample, instead of a table.")
  boolean json;

  @Option(
      names = "--record",
      description = "Append the lines to bench/record/<triple>/<date>.jsonl. Default: only print.")
  boolean record;

  @Option(
      names = "--note",
      paramLabel = "TEXT",
      description = "Goes into the lines: what else ran on the machine, pinned cores ...")
  String note;

  /** The checkout: the launcher names it. */
  static Path root() {
    return Path.of(System.getProperty("quern.root", "")).toAbsolutePath();
  }

  /** Before a long measurement: whether it can be recorded at all. */
  void check() {
    if (record && !Files.isDirectory(root().resolve("bench"))) {
      throw new BenchException(
          BenchException.USAGE,
          "--record needs the checkout: there is no folder bench in "
              + root()
              + "; start bench/bin/quern-bench, or set -Dquern.root");
    }
  }

  /** Puts the environment into every line, after its kind. */
  static List<Map<String, Object>> withEnvironment(
      List<Map<String, Object>> lines, Map<String, Object> environment) {
    List<Map<String, Object>> complete = new ArrayList<>();
    for (Map<String, Object> line : lines) {
      Map<String, Object> whole = new LinkedHashMap<>();
      whole.put("kind", line.get("kind"));
      whole.putAll(environment);
      whole.putAll(line);
      complete.add(whole);
    }
    return complete;
  }

  void finish(List<Map<String, Object>> lines, String table, PrintWriter out, PrintWriter progress)
      throws IOException {
    if (json) {
      lines.forEach(line -> out.println(Record.toJson(line)));
    } else {
      out.print(table);
    }
    out.flush();
    if (record) {
      progress.println(
          "recorded in "
              + Record.append(root().resolve("bench").resolve("record"), lines)
              + "; quern-bench report --write shows it in README.md and bench/report");
      progress.flush();
    }
  }
}
