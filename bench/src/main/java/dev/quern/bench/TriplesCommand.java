package dev.quern.bench;

import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code quern-bench triples}: see its description. */
@Command(
    name = "triples",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "What is known of each target triple: its dependency graph is checked (mimalloc exactly where"
          + " native/rust/allocator/Cargo.toml has it), both libraries are built, the tests of the"
          + " whole Rust workspace run, and the native program of quern-bench allocator encodes a"
          + " corpus under every engine, with the same ids as here.",
      "",
      "Targets of other machines are built with a cross compiler and run under qemu. What can't be"
          + " done here says what is missing, and counts as nothing. A run takes about ten minutes a"
          + " target on two cores.",
      "",
      "A new target: one line in the table of native/rust/allocator/Cargo.toml, then this command"
          + " with --record, which also writes the README's table.",
      "",
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern-bench triples",
      "  quern-bench triples --target s390x-unknown-linux-gnu",
      "  quern-bench triples --steps graph",
      "  quern-bench triples --record",
    })
final class TriplesCommand implements Callable<Integer> {
  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  @Option(
      names = "--target",
      split = ",",
      paramLabel = "T",
      description = "Only these of the table; several with commas. Default: all.")
  List<String> targets = new ArrayList<>();

  @Option(
      names = "--steps",
      split = ",",
      paramLabel = "S",
      defaultValue = "graph,built,tests,benchmark",
      description = "What to do; tests and benchmark build as well. Default: ${DEFAULT-VALUE}.")
  List<String> steps;

  @Mixin RecordOptions recordOptions;

  @Override
  public Integer call() throws IOException, InterruptedException {
    Path root = RecordOptions.root();
    List<String> known = List.copyOf(Triples.table(root).keySet());
    for (String target : targets) {
      if (!known.contains(target)) {
        throw new BenchException(
            BenchException.USAGE,
            "--target "
                + target
                + " is not in the table of native/rust/allocator/Cargo.toml: add a line there, or"
                + " name one of "
                + String.join(", ", known));
      }
    }
    if (!Triples.STEPS.containsAll(steps)) {
      throw new BenchException(
          BenchException.USAGE,
          "--steps "
              + String.join(",", steps)
              + ": name some of "
              + String.join(",", Triples.STEPS));
    }
    recordOptions.check();
    PrintWriter progress = spec.commandLine().getErr();
    Map<String, Object> environment = Record.environment(root, recordOptions.note);
    Path folder = Files.createTempDirectory("quern-bench");
    List<Map<String, Object>> lines;
    try {
      Corpus corpus =
          Corpus.read(List.of(), new Corpus.Options("text", false, 0, 0), folder.resolve("corpus"));
      Path json = folder.resolve("tokenizer.json");
      TokenizerJson.write(TokenizerSpec.builtIn(Triples.TOKENIZER), json);
      lines =
          RecordOptions.withEnvironment(
              new Triples(root, folder, corpus, json, progress)
                  .check(targets.isEmpty() ? known : targets, steps),
              environment);
    } finally {
      KernelCommand.delete(folder);
    }
    String table = new TriplesReport(lines.stream().map(RecordLine::new).toList()).table();
    recordOptions.finish(lines, table, spec.commandLine().getOut(), progress);
    if (recordOptions.record) {
      // The README's table is a report of the record.
      spec.commandLine().getParent().execute("report", "--write");
    }
    return lines.stream().anyMatch(Triples::hasFailed) ? BenchException.FAILED : 0;
  }
}
