package dev.quern.bench;

import com.fasterxml.jackson.core.type.TypeReference;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Checks, builds, tests and runs the Rust side for target triples. What happened to a step is
 * {@link #YES}, {@link #NO} and why, {@link #NOT_HERE} and what is missing, or {@link #NOT_RUN}.
 */
final class Triples {
  static final String TOKENIZER = "gpt2";
  static final String YES = "yes";
  static final String NO = "no: ";
  static final String NOT_HERE = "not here: ";
  static final String NOT_RUN = "not run";

  /** The steps, by their names in the record. */
  static final List<String> STEPS = List.of("graph", "built", "tests", "benchmark");

  /**
   * Asks for the resident memory of the process, which is the emulator's: qemu 7.2 keeps about 30
   * KB of notes on each mapping of 10 MB that a program has given back.
   */
  private static final String NOT_EMULATED = "resident_memory_stays_flat_and_the_control_grows";

  private static final Pattern PASSED =
      Pattern.compile("(?m)^test result: \\S+ (\\d+) passed; \\d+ failed; (\\d+) ignored;");
  private static final Pattern GRAPH =
      Pattern.compile("(?m)^(\\d+) targets with mimalloc, (\\d+) without$");

  private final Path root;
  private final Path rust;
  private final Path folder;
  private final Corpus corpus;
  private final Path json;
  private final PrintWriter progress;
  private final Map<String, Boolean> mimalloc;
  private final Map<String, String> rustc;

  /**
   * In a checkout; logs and what is built go to bench/target/triples.
   *
   * @param folder for the tasks of the native program
   * @param json the tokenizer to run it with
   */
  Triples(Path root, Path folder, Corpus corpus, Path json, PrintWriter progress)
      throws IOException, InterruptedException {
    this.root = root;
    this.rust = root.resolve("native").resolve("rust");
    this.folder = folder;
    this.corpus = corpus;
    this.json = json;
    this.progress = progress;
    this.mimalloc = table(root);
    Path log = Files.createDirectories(root.resolve("bench/target/triples")).resolve("rustc.log");
    run(List.of("rustc", "-vV"), Map.of(), log);
    this.rustc = pairs(Files.readString(log), ": ");
  }

  /** The table of native/rust/allocator/Cargo.toml, in its order: whether a target has mimalloc. */
  static Map<String, Boolean> table(Path root) throws IOException {
    Path file = root.resolve("native/rust/allocator/Cargo.toml");
    if (!Files.exists(file)) {
      throw new BenchException(
          BenchException.USAGE,
          "the targets stand in the checkout: there is no "
              + file
              + "; start bench/bin/quern-bench, or set -Dquern.root");
    }
    Map<String, Boolean> table = new LinkedHashMap<>();
    String text = Files.readString(file);
    text.substring(text.indexOf("\n[target]\n") + "\n[target]\n".length())
        .lines()
        .takeWhile(line -> !line.startsWith("["))
        .filter(line -> line.contains(".dependencies"))
        .forEach(
            line ->
                table.put(
                    line.substring(0, line.indexOf(".dependencies")),
                    line.contains("libmimalloc-sys")));
    return table;
  }

  static boolean hasFailed(Map<String, Object> line) {
    return STEPS.stream().anyMatch(step -> line.get(step).toString().startsWith(NO));
  }

  /** How many steps a line has an outcome of. */
  static long done(Map<String, Object> line) {
    return STEPS.stream()
        .map(step -> line.get(step).toString())
        .filter(outcome -> outcome.equals(YES) || outcome.startsWith(NO))
        .count();
  }

  /** One line of the record for each of the targets. */
  List<Map<String, Object>> check(List<String> targets, List<String> steps)
      throws IOException, InterruptedException {
    Map<String, Object> graph = steps.contains("graph") ? graph() : Map.of("graph", NOT_RUN);
    Map<String, Object> expected = null;
    List<Map<String, Object>> lines = new ArrayList<>();
    for (String target : targets) {
      Map<String, Object> line = new LinkedHashMap<>();
      line.put("kind", "triples");
      line.put("target", target);
      line.put("rustc", rustc.get("release"));
      line.put("allocator", mimalloc.get(target) ? "mimalloc" : "system");
      line.putAll(graph);
      Map<String, String> toolchain = toolchain(target);
      Path logs = Files.createDirectories(root.resolve("bench/target/triples").resolve(target));
      List<String> runner = runner(toolchain);
      if (!runner.isEmpty()) {
        line.put("runner", version(runner.get(0), logs.resolve("runner.log")));
      }
      String built = toolchain.get("no-toolchain");
      if (built != null) {
        built = NOT_HERE + built;
      } else {
        boolean needed = steps.stream().anyMatch(step -> !step.equals("graph"));
        built = needed ? build(target, toolchain, logs) : NOT_RUN;
      }
      line.put("built", built);
      String missing = toolchain.get("no-runner");
      boolean runs = built.equals(YES) && missing == null;
      String why =
          built.equals(NOT_RUN) ? NOT_RUN : NOT_HERE + (missing == null ? "not built" : missing);
      line.put("tests", runs ? NOT_RUN : why);
      line.put("benchmark", runs ? NOT_RUN : why);
      if (runs && steps.contains("tests")) {
        line.putAll(test(target, toolchain, !runner.isEmpty(), logs));
      }
      if (runs && steps.contains("benchmark")) {
        if (expected == null) {
          expected = expected(target, logs);
        }
        line.putAll(benchmark(target, runner, expected, logs));
      }
      lines.add(line);
    }
    return lines;
  }

  /** One test asks Cargo about every target that rustc knows. */
  private Map<String, Object> graph() throws IOException, InterruptedException {
    tell("dependency graphs of all targets");
    Path log = root.resolve("bench/target/triples/graph.log");
    int status =
        run(
            List.of(
                "cargo",
                "test",
                "--locked",
                "-p",
                "quern-ffi",
                "--test",
                "rules",
                "mimalloc_on_exactly_the_targets_of_the_table",
                "--",
                "--nocapture"),
            Map.of(),
            log);
    Matcher found = GRAPH.matcher(Files.readString(log));
    if (status != 0 || !found.find()) {
      return Map.of("graph", NO + firstError(log));
    }
    int known = Integer.parseInt(found.group(1)) + Integer.parseInt(found.group(2));
    Map<String, Object> graph = new LinkedHashMap<>();
    graph.put("graph", YES);
    graph.put("graph_others", known - mimalloc.size());
    return graph;
  }

  /**
   * Variables to build and run with; no-toolchain or no-runner and why, where that can't be done.
   */
  private Map<String, String> toolchain(String target) throws IOException, InterruptedException {
    Path log = folder.resolve("toolchain");
    int status =
        run(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Drust=" + rust,
                "-Drust.minimum=1", // Cargo knows the real one
                root.resolve("native/src/build/java/BuildNative.java").toString(),
                "toolchain",
                target),
            Map.of(),
            log);
    String said = Files.readString(log);
    return status == 0 ? pairs(said, "=") : Map.of("no-toolchain", said.strip());
  }

  private static List<String> runner(Map<String, String> toolchain) {
    return toolchain.entrySet().stream()
        .filter(entry -> entry.getKey().endsWith("_RUNNER"))
        .flatMap(entry -> Arrays.stream(entry.getValue().split(" ")))
        .toList();
  }

  private String version(String program, Path log) throws IOException, InterruptedException {
    run(List.of(program, "--version"), Map.of(), log);
    return Files.readString(log).lines().findFirst().orElse(program);
  }

  /** Both libraries and the native program, as they ship. */
  private String build(String target, Map<String, String> toolchain, Path logs)
      throws IOException, InterruptedException {
    tell(target + ": building");
    for (String more : List.of("--no-default-features", "")) {
      List<String> command = new ArrayList<>(List.of("cargo", "build", "--release", "--locked"));
      command.addAll(List.of("-p", "quern-ffi"));
      command.addAll(more.isEmpty() ? List.of("-p", "quern-bench") : List.of(more));
      command.addAll(forTarget(target));
      Path log = logs.resolve("build" + more + ".log");
      if (run(command, toolchain, log) != 0) {
        return NO + firstError(log);
      }
      Path library = library(logs, more.isEmpty());
      Files.createDirectories(library.getParent());
      Files.copy(
          built(target).resolve(library.getFileName()),
          library,
          StandardCopyOption.REPLACE_EXISTING);
    }
    return YES;
  }

  /** The whole workspace's, with the libraries just built. */
  private Map<String, Object> test(
      String target, Map<String, String> toolchain, boolean emulated, Path logs)
      throws IOException, InterruptedException {
    tell(target + ": testing");
    List<String> command = new ArrayList<>(List.of("cargo", "test", "--locked"));
    command.addAll(forTarget(target));
    Map<String, String> environment = new LinkedHashMap<>(toolchain);
    environment.put("QUERN_LIBRARY_TARGET", target);
    environment.put("QUERN_LIBRARY_DEFAULT", library(logs, true).toString());
    environment.put("QUERN_LIBRARY_SYSTEM", library(logs, false).toString());
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("tests", YES);
    if (emulated) {
      command.addAll(List.of("--", "--skip", NOT_EMULATED));
      result.put("tests_left_out", List.of(NOT_EMULATED));
    }
    Path log = logs.resolve("tests.log");
    int status = run(command, environment, log);
    String said = Files.readString(log);
    if (status != 0) {
      result.put("tests", NO + firstError(log));
    }
    for (int group : List.of(1, 2)) {
      result.put(
          group == 1 ? "tests_passed" : "tests_ignored",
          PASSED
              .matcher(said)
              .results()
              .map(MatchResult.class::cast)
              .mapToInt(each -> Integer.parseInt(each.group(group)))
              .sum());
    }
    return result;
  }

  /** What this machine's own program gives under Hugging Face's crate: the judge. */
  private Map<String, Object> expected(String target, Path logs)
      throws IOException, InterruptedException {
    String host = rustc.get("host");
    if (!target.equals(host)) {
      tell(host + ": building the program whose ids are the right ones");
      Path log = logs.resolve("build-here.log");
      List<String> command =
          List.of("cargo", "build", "--release", "--locked", "-p", "quern-bench");
      if (run(command, Map.of(), log) != 0) {
        throw new BenchException(
            BenchException.FAILED, host + " can't be built: repair what it says:\n" + log);
      }
    }
    return encode(host, List.of(), "crate", logs);
  }

  private Map<String, Object> benchmark(
      String target, List<String> runner, Map<String, Object> expected, Path logs)
      throws IOException, InterruptedException {
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("benchmark", YES);
    result.put("corpus", corpus.name());
    result.put("corpus_hash", corpus.hash());
    result.put("bytes", corpus.bytes());
    result.put("tokenizer", TOKENIZER);
    result.put("ids_hash", expected.get("ids_hash"));
    String allocator = mimalloc.get(target) ? "mimalloc" : "system";
    for (String engine : List.of("crate", "reference", "fast")) {
      tell(target + ": encoding with " + engine);
      Map<String, Object> answer = encode(target, runner, engine, logs);
      if (answer.containsKey("error")) {
        result.put("benchmark", NO + engine + ": " + answer.get("error"));
      } else if (!expected.get("ids_hash").equals(answer.get("ids_hash"))) {
        result.put("benchmark", NO + "the ids of " + engine + " differ from the crate's here");
      } else if (!allocator.equals(answer.get("allocator"))) {
        result.put("benchmark", NO + "served by " + answer.get("allocator"));
      }
    }
    return result;
  }

  /** The native program's answer; with "error" where there is none. */
  private Map<String, Object> encode(String target, List<String> runner, String engine, Path logs)
      throws IOException, InterruptedException {
    Path task = folder.resolve("task.json");
    Path answer = folder.resolve("answer.json");
    Files.deleteIfExists(answer);
    Map<String, Object> fields = new LinkedHashMap<>();
    fields.put("engine", engine);
    fields.put("tokenizer", json.toString());
    fields.put("corpus", corpus.file().toString());
    fields.put("threads", 2);
    fields.put("timed", true);
    fields.put("passes", 1);
    fields.put("short_threads", 0);
    fields.put("collect", false);
    fields.put("add_special_tokens", true);
    fields.put("result", answer.toString());
    KernelTask.JSON.writeValue(task.toFile(), fields);
    List<String> command = new ArrayList<>(runner);
    command.add(built(target).resolve("quern-allocator-bench").toString());
    command.add(task.toString());
    Path log = logs.resolve("benchmark-" + engine + ".log");
    int status = run(command, Map.of("RAYON_NUM_THREADS", "2"), log);
    if (!Files.exists(answer)) {
      return Map.of("error", "ended with status " + status + ", see " + root.relativize(log));
    }
    return KernelTask.JSON.readValue(
        answer.toFile(), new TypeReference<LinkedHashMap<String, Object>>() {});
  }

  /** This machine's own goes where every build of it goes. */
  private List<String> forTarget(String target) {
    return target.equals(rustc.get("host")) ? List.of() : List.of("--target", target);
  }

  private Path built(String target) {
    Path built = rust.resolve(System.getenv().getOrDefault("CARGO_TARGET_DIR", "target"));
    return (target.equals(rustc.get("host")) ? built : built.resolve(target)).resolve("release");
  }

  private static Path library(Path logs, boolean standard) {
    String target = logs.getFileName().toString();
    return logs.resolve(standard ? "default" : "system")
        .resolve(target.contains("-apple-") ? "libquern.dylib" : "libquern.so");
  }

  private void tell(String what) {
    progress.println(what + " ...");
    progress.flush();
  }

  /** Runs a command in the Rust workspace; returns its status. All it says is in the log. */
  private int run(List<String> command, Map<String, String> environment, Path log)
      throws IOException, InterruptedException {
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .directory(rust.toFile())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile());
    builder.environment().putAll(environment);
    try {
      return builder.start().waitFor();
    } catch (IOException e) {
      throw new BenchException(
          BenchException.INPUT,
          command.get(0) + " can't be started: install it, or put it on the PATH",
          e);
    }
  }

  /** The tests that failed, or the first line that says error, and where all of it is. */
  private String firstError(Path log) throws IOException {
    String said = new String(Files.readAllBytes(log), StandardCharsets.UTF_8);
    String failed =
        said.lines()
            .filter(line -> line.startsWith("test ") && line.endsWith(" FAILED"))
            .map(line -> line.split(" ")[1])
            .collect(Collectors.joining(", "));
    String error =
        said.lines().filter(line -> line.startsWith("error")).findFirst().orElse("see the log");
    return (failed.isEmpty() ? error : failed) + " (" + root.relativize(log) + ")";
  }

  private static Map<String, String> pairs(String text, String separator) {
    Map<String, String> pairs = new LinkedHashMap<>();
    text.lines()
        .map(line -> line.split(separator, 2))
        .filter(parts -> parts.length == 2)
        .forEach(parts -> pairs.put(parts[0], parts[1]));
    return pairs;
  }
}
