package dev.quern.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.quern.job.JobException.Exit;
import dev.quern.job.TrialReport.Run;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkConf;
import org.apache.spark.deploy.SparkHadoopUtil;

/**
 * {@code quern allocator-trial}: the job on a sample, by turns with both allocators, each time as a
 * new application: an allocator is chosen when a process starts, and a process that has done work
 * does not have the memory of a new one. This process starts the applications and reads their
 * records; spark-submit runs it, for its class path and its access to file systems, but it has no
 * SparkContext.
 */
public final class AllocatorTrial {
  /** Where the launcher is that starts an application. */
  private static final String LAUNCHER = "QUERN_LAUNCHER";

  /** What SPARK_HOME was when the user called the launcher; empty for none. */
  private static final String SPARK_HOME = "QUERN_SPARK_HOME";

  private static final List<String> ALLOCATORS = List.of(TrialReport.SYSTEM, TrialReport.MIMALLOC);
  private static final String ROUNDS = "--rounds";
  private static final int DEFAULT_ROUNDS = 5;
  private static final int MOST_ROUNDS = 100;
  private static final String RUNS = "runs";
  private static final String FIGURES = "allocator-trial.json";
  private static final String CHART = "allocator-trial.png";

  private static final String HELP =
      """
      Usage: quern allocator-trial --input URI --output URI [--rounds N] [options of quern tokenize and spark-submit]

      Shows what the choice of the memory allocator costs and gains on your corpus and your executors. The job runs
      2 N times, by turns with spark.quern.allocator=system and mimalloc, each time as a new application with new
      executors and the options given. Then the trade is printed and drawn: throughput against resident memory, and
      which allocator is recommended with which spark.executor.memoryOverhead.

        --rounds N      How often each allocator runs, 1 to 100. Default: 5.
        --engine E      As of quern tokenize: reference allocates much for each document, fast hardly anything, so
                        that the trade is another. The default, auto, is what a run without --engine uses.
        --output URI    A folder that is not there yet. It gets allocator-trial.json, allocator-trial.png and, in
                        runs/, the record of each run. The token files of the runs are deleted.

      Take enough text that each run computes for a minute or more (--sample), and no --limit, which is one task. With
      dynamic allocation switched off (--conf spark.dynamicAllocation.enabled=false) all runs have as many executors.
      Applications run in client mode. --allocator, --mode, --dry-run and --deploy-mode can't be given.

      Example:
        quern allocator-trial --master yarn --num-executors 4 --executor-cores 4 --executor-memory 4g \\
          --input hdfs:///docs --sample 0.01 --output hdfs:///trial

      Exit codes: as those of quern tokenize; a run that fails ends the trial with its own.
      """;

  private final String launcher;
  private final List<String> arguments;
  private final int rounds;
  private final Path output;
  private final FileSystem files;
  private final PrintStream out;
  private volatile Process running;

  private AllocatorTrial(
      String launcher,
      List<String> arguments,
      int rounds,
      Path output,
      FileSystem files,
      PrintStream out) {
    this.launcher = launcher;
    this.arguments = arguments;
    this.rounds = rounds;
    this.output = output;
    this.files = files;
    this.out = out;
  }

  public static void main(String[] arguments) {
    int code;
    try {
      code = run(List.of(arguments), System.out);
    } catch (JobException e) {
      System.err.println("quern: " + e.getMessage());
      code = e.exit().code();
    } catch (IOException e) {
      System.err.println("quern: the trial failed: " + e.getMessage());
      code = Exit.FAILED.code();
    } catch (InterruptedException e) {
      code = Exit.INTERRUPTED.code();
    }
    if (code != 0) {
      System.exit(code);
    }
  }

  /** What is the trial's own of the command line, and what each run gets. */
  record Options(int rounds, String output, List<String> passed) {}

  /**
   * @return null if only help was asked for
   * @throws JobException for what a trial can't take
   */
  static Options parse(List<String> arguments) {
    int rounds = DEFAULT_ROUNDS;
    String output = null;
    List<String> passed = new ArrayList<>();
    for (int i = 0; i < arguments.size(); i++) {
      String argument = arguments.get(i);
      int equals = argument.startsWith("--") ? argument.indexOf('=') : -1;
      String name = equals < 0 ? argument : argument.substring(0, equals);
      switch (name) {
        case "-h", "--help" -> {
          return null;
        }
        case "--allocator", "--mode", "--dry-run", "--deploy-mode" ->
            throw JobException.usage(
                name
                    + " can't be given to allocator-trial, which sets it itself; leave it out (see"
                    + " quern allocator-trial --help)");
        case ROUNDS, "--output" -> {
          if (equals < 0 && i + 1 == arguments.size()) {
            throw JobException.usage(name + " needs a value");
          }
          String value = equals < 0 ? arguments.get(++i) : argument.substring(equals + 1);
          if (name.equals(ROUNDS)) {
            rounds = rounds(value);
          } else {
            output = value;
          }
        }
        default -> passed.add(argument);
      }
    }
    if (output == null || output.isBlank()) {
      throw JobException.usage(
          "--output is missing: name a folder for the trial's record; see quern allocator-trial"
              + " --help");
    }
    return new Options(rounds, output, passed);
  }

  private static int rounds(String value) {
    try {
      int rounds = Integer.parseInt(value);
      if (rounds >= 1 && rounds <= MOST_ROUNDS) {
        return rounds;
      }
    } catch (NumberFormatException e) {
      // Said below.
    }
    throw JobException.usage("--rounds " + value + " is not a number from 1 to " + MOST_ROUNDS);
  }

  private static int run(List<String> arguments, PrintStream out)
      throws IOException, InterruptedException {
    Options options = parse(arguments);
    if (options == null) {
      out.print(HELP);
      return 0;
    }
    String launcher = System.getenv(LAUNCHER);
    if (launcher == null) {
      throw JobException.usage(
          "allocator-trial starts applications by the launcher: call it as job/bin/quern"
              + " allocator-trial");
    }
    Configuration conf = SparkHadoopUtil.get().newConfiguration(new SparkConf());
    Path output = new Path(options.output());
    FileSystem files = output.getFileSystem(conf);
    output = files.makeQualified(output);
    if (files.exists(output)) {
      throw JobException.refused(
          "the output " + output + " exists; a trial needs a folder that is not there yet");
    }
    return new AllocatorTrial(launcher, options.passed(), options.rounds(), output, files, out)
        .run();
  }

  private int run() throws IOException, InterruptedException {
    // A signal to this process alone must not leave an application behind.
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  Process process = running;
                  if (process != null) {
                    process.destroy();
                  }
                }));
    List<Run> runs = new ArrayList<>();
    for (int round = 1; round <= rounds; round++) {
      for (int turn = 0; turn < ALLOCATORS.size(); turn++) {
        // The order changes from round to round: what comes first finds colder caches of files.
        String allocator = ALLOCATORS.get((round + turn + 1) % ALLOCATORS.size());
        out.println(
            "Run " + (runs.size() + 1) + " of " + rounds * ALLOCATORS.size() + ": " + allocator);
        Path folder = new Path(new Path(output, RUNS), round + "-" + allocator);
        int code = tokenize(allocator, folder);
        if (code != 0) {
          System.err.println(
              "quern: the run with "
                  + allocator
                  + " has failed, as said above, and with it the trial; "
                  + output
                  + " has the records of those before it");
          return code;
        }
        Run run = read(folder, round, allocator);
        clear(folder);
        out.println("  " + run.line());
        if (!runs.isEmpty()) {
          checkSame(runs.get(0), run);
        }
        runs.add(run);
      }
    }
    report(new TrialReport(runs));
    return 0;
  }

  private int tokenize(String allocator, Path folder) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of(launcher, "tokenize"));
    // Before the user's own, of which a later one wins.
    command.addAll(List.of("--conf", "spark.quern.metrics.interval=200ms"));
    command.addAll(arguments);
    command.addAll(
        List.of(
            "--deploy-mode", "client", "--allocator", allocator, "--output", folder.toString()));
    ProcessBuilder builder =
        new ProcessBuilder(command)
            .redirectInput(ProcessBuilder.Redirect.INHERIT)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .redirectError(ProcessBuilder.Redirect.INHERIT);
    Map<String, String> environment = builder.environment();
    String sparkHome = environment.remove(SPARK_HOME);
    if (sparkHome == null || sparkHome.isEmpty()) {
      // The launcher has set it to the Spark of the build.
      environment.remove("SPARK_HOME");
    } else {
      environment.put("SPARK_HOME", sparkHome);
    }
    running = builder.start();
    int code = running.waitFor();
    running = null;
    return code;
  }

  private Run read(Path folder, int round, String allocator) throws IOException {
    Path summary = new Path(new Path(folder, RunRecord.FOLDER), RunRecord.SUMMARY);
    try (InputStream in = files.open(summary)) {
      Run run = Run.of(new ObjectMapper().readTree(in), round);
      if (!run.allocator().equals(allocator)) {
        throw new IOException(
            "the run was to use "
                + allocator
                + ", and its record "
                + summary
                + " says "
                + run.allocator());
      }
      return run;
    }
  }

  /** Keeps the record of a run, not its tokens. */
  private void clear(Path folder) throws IOException {
    for (FileStatus file : files.listStatus(folder)) {
      if (!file.getPath().getName().equals(RunRecord.FOLDER)) {
        files.delete(file.getPath(), true);
      }
    }
  }

  private static void checkSame(Run first, Run other) throws IOException {
    if (first.documents() != other.documents() || first.tokens() != other.tokens()) {
      throw new IOException(
          "the runs do not do the same: the first made "
              + first.tokens()
              + " tokens of "
              + first.documents()
              + " documents, this one "
              + other.tokens()
              + " of "
              + other.documents()
              + "; take an input that does not change, and --sample in place of --limit");
    }
  }

  private void report(TrialReport report) throws IOException {
    write(FIGURES, report.json());
    report.lines().forEach(out::println);
    try {
      write(CHART, TrialChart.png(report));
      out.println("Chart: " + new Path(output, CHART));
    } catch (IOException | RuntimeException | Error e) {
      // As of a run's chart: without fonts or the desktop module it fails in many ways.
      out.println(
          "The chart can't be drawn on this machine ("
              + e
              + "); it needs the JDK's desktop module and a font");
    }
    out.println("Figures: " + new Path(output, FIGURES));
  }

  private void write(String name, byte[] content) throws IOException {
    try (OutputStream file = files.create(new Path(output, name), false)) {
      file.write(content);
    }
  }
}
