package dev.quern.job;

import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.util.TaskCompletionListener;

/**
 * What one task attempt has read and written. Operator and writer of the same task share one; the
 * commit message carries it to the driver, so that only attempts that were committed count
 * (accumulators count retries twice).
 */
final class TaskCounts implements Serializable {
  private static final long serialVersionUID = 1L;
  private static final Map<TaskContext, TaskCounts> CURRENT = new ConcurrentHashMap<>();

  /** Documents that the operator took in, after sampling. */
  long documents;

  /** Rows in the token files and in the quarantine files, as the files themselves count them. */
  long written;

  long quarantined;

  /** Token files and quarantine files. */
  long tokenFiles;

  long quarantineFiles;

  /** UTF-8 bytes of the documents that were tokenized, and their ids. */
  long bytes;

  long tokens;

  /** Documents encoded a second time for --verify, and the nanoseconds of it. */
  long verified;

  long verifyNanos;

  /** Bytes of the largest document that was tokenized, and nanoseconds in the tokenizer. */
  long largestDocument;

  long tokenizerNanos;

  /** See {@link #end}. */
  int partition;

  String host;
  double seconds;

  /** The executor at that moment, {@link ExecutorSample#toJson}; null if it is not sampled. */
  private byte[] executor;

  private final long begun = System.nanoTime();

  /** Of the task that runs in this thread; one of its own outside of any task. */
  static TaskCounts current() {
    TaskContext task = TaskContext.get();
    if (task == null) {
      return new TaskCounts();
    }
    TaskCounts counts = CURRENT.get(task);
    if (counts == null) {
      counts = new TaskCounts();
      CURRENT.put(task, counts);
      task.addTaskCompletionListener((TaskCompletionListener) CURRENT::remove);
    }
    return counts;
  }

  /** The attempt is about to be committed: where it ran, for how long, and in what memory. */
  void end() {
    TaskContext task = TaskContext.get();
    partition = task == null ? 0 : task.partitionId();
    host = SparkEnv.get().blockManager().blockManagerId().host();
    seconds = (System.nanoTime() - begun) / 1e9;
    ExecutorSample now = ExecutorSampler.now();
    executor = now == null ? null : now.toJson();
  }

  /** The executor as it was when the attempt was committed; empty if it is not sampled. */
  Optional<ExecutorSample> executor() {
    try {
      return executor == null ? Optional.empty() : Optional.of(ExecutorSample.ofJson(executor));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  void add(TaskCounts other) {
    documents += other.documents;
    written += other.written;
    quarantined += other.quarantined;
    tokenFiles += other.tokenFiles;
    quarantineFiles += other.quarantineFiles;
    bytes += other.bytes;
    tokens += other.tokens;
    verified += other.verified;
    verifyNanos += other.verifyNanos;
  }
}
