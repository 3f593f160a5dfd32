package dev.quern.bench;

import java.io.IOException;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.VerboseMode;

/**
 * One file, from its opening to its end, by JMH: a call each, in this JVM, so that the contenders
 * can take turns over the rows that are in memory.
 */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.SingleShotTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
public class WritersBenchmark {
  /** What is to be written; JMH's own parameters are words. */
  interface Task {
    /** Makes way for the file, and asks the format for a writer. */
    void prepare() throws IOException;

    /** Writes it; returns its rows. */
    long write() throws IOException;
  }

  private static Task task;

  /** Returns the seconds that one file took. */
  static synchronized double seconds(Task file) {
    task = file;
    try {
      return new Runner(
                  new OptionsBuilder()
                      .include(WritersBenchmark.class.getName() + "\\.file")
                      .forks(0)
                      .warmupIterations(0)
                      .measurementIterations(1)
                      .verbosity(VerboseMode.SILENT)
                      .shouldFailOnError(true)
                      .build())
              .runSingle()
              .getPrimaryResult()
              .getScore()
          / 1e9;
    } catch (RunnerException e) {
      throw new BenchException(
          BenchException.FAILED, "a file could not be written: repair what it says: " + e, e);
    } finally {
      task = null;
    }
  }

  @Setup(Level.Iteration)
  public void prepare() throws IOException {
    task.prepare();
  }

  @Benchmark
  public long file() throws IOException {
    return task.write();
  }
}
