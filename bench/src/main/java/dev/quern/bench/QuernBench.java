package dev.quern.bench;

import java.io.PrintWriter;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/** The one entry point for measurements; {@code bench/bin/quern-bench} starts it. */
@Command(
    name = "quern-bench",
    mixinStandardHelpOptions = true,
    versionProvider = QuernBench.Version.class,
    subcommands = {
      KernelCommand.class,
      AllocatorCommand.class,
      PipelineCommand.class,
      SeamCommand.class,
      TriplesCommand.class,
      WritersCommand.class,
      ReportCommand.class
    },
    description = {
      "Measures Quern. A result is verified before it is timed, contenders take turns, and every"
          + " figure is given with its spread: minimum, median, maximum, and (maximum - minimum) /"
          + " median. With --record it is appended to bench/record/<triple>/<date>.jsonl.",
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  quern-bench kernel",
      "  quern-bench kernel --tokenizer tokenizer.json --corpus docs.parquet --allocator"
          + " mimalloc,system",
      "  quern-bench kernel --tokenizer cl100k_base --peers jtokkit,tiktoken --record",
      "  quern-bench allocator --corpus prose.parquet",
      "  quern-bench pipeline",
      "  quern-bench seam",
      "  quern-bench triples",
      "  quern-bench writers --corpus prose.parquet",
      "  quern-bench report",
    },
    exitCodeListHeading = "%nExit codes:%n",
    exitCodeList = {
      "0:measured",
      "2:wrong options",
      "3:a corpus, tokenizer or interpreter that can't be used",
      "4:ids or results differ: there is no time for a wrong answer",
      "5:a contender's process failed",
    })
final class QuernBench implements Runnable {
  @CommandLine.Spec private CommandLine.Model.CommandSpec spec;

  private QuernBench() {}

  public static void main(String[] arguments) {
    System.exit(commandLine().execute(arguments));
  }

  /** The command line; with {@code setOut} and {@code setErr} also for tests. */
  static CommandLine commandLine() {
    return new CommandLine(new QuernBench())
        .setUsageHelpWidth(110)
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setExecutionExceptionHandler(
            (exception, command, parsed) -> {
              if (exception instanceof BenchException expected) {
                PrintWriter error = command.getErr();
                error.println("quern-bench: " + expected.getMessage());
                error.flush();
                return expected.exitCode();
              }
              throw exception;
            });
  }

  /** Without a command there is nothing to measure: the help is the answer. */
  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }

  static final class Version implements CommandLine.IVersionProvider {
    @Override
    public String[] getVersion() {
      return new String[] {"quern-bench " + BuildInfo.version()};
    }
  }
}
