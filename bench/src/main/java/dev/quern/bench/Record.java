package dev.quern.bench;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The committed record of measurements: {@code <folder>/<triple>/<date>.jsonl}, one JSON object a
 * line, only ever appended to. bench/record/README.md says what each field is.
 */
final class Record {
  private static final ObjectMapper JSON =
      new ObjectMapper().disable(SerializationFeature.INDENT_OUTPUT);

  private Record() {}

  /** Where and when: the part that all lines of one run have in common. */
  static Map<String, Object> environment(Path root, String note) {
    Map<String, Object> environment = new LinkedHashMap<>();
    environment.put("date", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    environment.put("commit", commit(root));
    environment.put("triple", triple());
    environment.put("machine", machine());
    environment.put("cpu", cpu());
    environment.put(
        "java", (System.getProperty("java.vendor.version", "") + " " + Runtime.version()).strip());
    double load = ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage();
    environment.put("load_average_before", load < 0 ? null : rounded(load, 2));
    if (note != null) {
      environment.put("note", note);
    }
    return environment;
  }

  /** As it stands in the file, without a line break. */
  static String toJson(Map<String, Object> line) {
    try {
      return JSON.writeValueAsString(line);
    } catch (IOException e) {
      throw new IllegalArgumentException(e);
    }
  }

  /** Appends the lines to today's file (UTC) of this triple; returns the file. */
  static Path append(Path folder, List<Map<String, Object>> lines) throws IOException {
    Path file =
        folder
            .resolve(triple())
            .resolve(Instant.now().atZone(ZoneOffset.UTC).toLocalDate() + ".jsonl");
    Files.createDirectories(file.getParent());
    StringBuilder text = new StringBuilder();
    lines.forEach(line -> text.append(toJson(line)).append('\n'));
    // One write in append mode: two runs at once do not tear each other's lines.
    Files.writeString(
        file, text, StandardCharsets.UTF_8, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    return file;
  }

  /** Every line of a file of the record, in order; BenchException if one is not JSON. */
  static List<Map<String, Object>> read(Path file) throws IOException {
    List<Map<String, Object>> lines = new ArrayList<>();
    for (String line : Files.readAllLines(file)) {
      try {
        lines.add(JSON.readValue(line, new TypeReference<LinkedHashMap<String, Object>>() {}));
      } catch (JsonProcessingException e) {
        throw new BenchException(
            BenchException.INPUT,
            file
                + " is not JSON in line "
                + (lines.size() + 1)
                + ": a line is appended by --record and never edited; take it back with git",
            e);
      }
    }
    return lines;
  }

  /** The median under the quantity's own name, then _min, _max and _spread. */
  static void putSpread(Map<String, Object> line, String quantity, Spread spread, int digits) {
    line.put(quantity, rounded(spread.median(), digits));
    line.put(quantity + "_min", rounded(spread.minimum(), digits));
    line.put(quantity + "_max", rounded(spread.maximum(), digits));
    line.put(quantity + "_spread", rounded(spread.relative(), 3));
  }

  /** tokens_s, at the speed of this field of the line, if it has it. */
  static void putTokensPerSecond(Map<String, Object> line, String speed) {
    if (line.get(speed) instanceof Number megabytes
        && line.get("tokens") instanceof Number tokens
        && line.get("bytes") instanceof Number bytes) {
      double each = tokens.doubleValue() / bytes.doubleValue();
      line.put("tokens_s", Math.round(megabytes.doubleValue() * 1e6 * each));
    }
  }

  static double rounded(double value, int digits) {
    return BigDecimal.valueOf(value).setScale(digits, RoundingMode.HALF_EVEN).doubleValue();
  }

  /** The Rust target triple of this JVM's platform. */
  static String triple() {
    return triple(System.getProperty("os.name"), System.getProperty("os.arch"));
  }

  static String triple(String os, String arch) {
    String cpu =
        switch (arch) {
          case "amd64" -> "x86_64";
          case "arm64" -> "aarch64";
          default -> arch;
        };
    String name = os.toLowerCase(Locale.ROOT);
    if (name.startsWith("mac")) {
      return cpu + "-apple-darwin";
    }
    if (name.startsWith("windows")) {
      return cpu + "-pc-windows-msvc";
    }
    return cpu + "-unknown-" + name + (name.equals("linux") ? "-gnu" : "");
  }

  private static String machine() {
    StringBuilder machine = new StringBuilder();
    machine.append(System.getProperty("os.name")).append(' ');
    machine.append(System.getProperty("os.version")).append(", ");
    machine.append(Runtime.getRuntime().availableProcessors()).append(" cores");
    if (ManagementFactory.getOperatingSystemMXBean()
        instanceof com.sun.management.OperatingSystemMXBean os) {
      machine
          .append(", ")
          .append(Math.round(os.getTotalMemorySize() / 1073741824.0))
          .append(" GiB");
    }
    return machine.toString();
  }

  /** What the kernel calls the processor; the architecture where it does not say. */
  private static String cpu() {
    try {
      Path info = Path.of("/proc/cpuinfo");
      if (Files.isReadable(info)) {
        for (String line : Files.readAllLines(info)) {
          if (line.startsWith("model name")) {
            return line.substring(line.indexOf(':') + 1).trim();
          }
        }
      } else if (Files.isExecutable(Path.of("/usr/sbin/sysctl"))) {
        return output(Path.of("/"), "/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string");
      }
    } catch (IOException e) {
      // The architecture is what is left to say.
    }
    return System.getProperty("os.arch");
  }

  /**
   * The checkout's commit; "+" when code that is measured differs from it; "unknown" without git.
   */
  private static String commit(Path root) {
    try {
      String commit = output(root, "git", "rev-parse", "--short=12", "HEAD");
      String changed =
          output(
              root,
              "git",
              "status",
              "--porcelain",
              "--",
              "native",
              "udf",
              "job",
              "bench/src",
              "conf",
              "bench/peers.py",
              "bench/pipeline_peers.py");
      return changed.isEmpty() ? commit : commit + "+";
    } catch (IOException e) {
      return "unknown";
    }
  }

  private static String output(Path folder, String... command) throws IOException {
    Process process =
        new ProcessBuilder(command)
            .directory(folder.toFile())
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    try {
      String text = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
      if (process.waitFor() != 0) {
        throw new IOException(command[0] + " failed");
      }
      return text.trim();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException(e);
    }
  }
}
