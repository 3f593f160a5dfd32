package dev.quern.job;

import dev.quern.sql.TokenizerReference;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.ConcurrentHashMap;

/**
 * A run between its start and its end, on the driver. Spark makes the file format and the commit
 * protocol itself, from class names and a map of strings: the run's id travels as an option of the
 * write, and they find the run here.
 */
final class ActiveRun implements AutoCloseable {
  /** The option of the write that holds {@link #id}. */
  static final String OPTION = "quern.run";

  private static final Map<String, ActiveRun> RUNS = new ConcurrentHashMap<>();

  private final String id = UUID.randomUUID().toString().substring(0, 8);
  private final TokenColumns columns;
  private final TokenizerReference tokenizer;
  private final Map<String, String> metadata;
  private volatile TaskCounts totals;
  private volatile TaskTimes times = TaskTimes.NONE;
  private volatile List<ExecutorSample> executors = List.of();

  /**
   * @param metadata what goes into the footer of each token file, but for what only an executor
   *     knows
   */
  ActiveRun(TokenColumns columns, TokenizerReference tokenizer, Map<String, String> metadata) {
    this.columns = columns;
    this.tokenizer = tokenizer;
    this.metadata = metadata;
    RUNS.put(id, this);
  }

  /** The run with that id. */
  static ActiveRun of(String id) {
    ActiveRun run = id == null ? null : RUNS.get(id);
    if (run == null) {
      throw new IllegalStateException(
          "Quern's file formats and its commit protocol work inside of TokenizeJob only");
    }
    return run;
  }

  String id() {
    return id;
  }

  TokenColumns columns() {
    return columns;
  }

  TokenizerReference tokenizer() {
    return tokenizer;
  }

  Map<String, String> metadata() {
    return metadata;
  }

  /**
   * Spark's job is about to be committed.
   *
   * @param sums over the task attempts that are committed
   * @param tasks each of them
   */
  void commit(TaskCounts sums, List<TaskCounts> tasks) {
    totals = sums;
    times = TaskTimes.of(tasks);
    Map<ExecutorSample.Executor, ExecutorSample> latest = new HashMap<>();
    for (TaskCounts task : tasks) {
      task.executor()
          .ifPresent(
              sample ->
                  latest.merge(
                      sample.executor(),
                      sample,
                      (a, b) -> a.timeMillis() < b.timeMillis() ? b : a));
    }
    executors = List.copyOf(latest.values());
  }

  /** Every executor that has committed a task, as it was when the last one ended. */
  List<ExecutorSample> executors() {
    return executors;
  }

  TaskTimes times() {
    return times;
  }

  TaskCounts totals() {
    return totals;
  }

  @Override
  public void close() {
    RUNS.remove(id);
  }
}
