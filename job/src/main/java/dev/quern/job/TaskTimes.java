package dev.quern.job;

import java.util.Comparator;
import java.util.List;

/**
 * How evenly the work of a run was spread over its tasks, by the attempts that were committed.
 *
 * @param tasks how many
 * @param meanSeconds of a task, from its first row or file to its commit
 * @param meanBytes UTF-8 bytes of the documents of a task
 * @param longest the one that took longest; null if there was no task
 */
public record TaskTimes(int tasks, double meanSeconds, double meanBytes, Longest longest) {

  /** Of a run without tasks, or of which they are not known. */
  static final TaskTimes NONE = new TaskTimes(0, 0, 0, null);

  /** So many times what others took or had is worth a word. */
  private static final double UNEVEN = 2;

  /**
   * A task.
   *
   * @param largestDocument bytes of its largest document
   * @param tokenizerSeconds of its time, how much was spent in the tokenizer
   */
  public record Longest(
      int partition,
      String host,
      double seconds,
      long documents,
      long bytes,
      long largestDocument,
      double tokenizerSeconds) {}

  /** Of the tasks that were committed. */
  static TaskTimes of(List<TaskCounts> tasks) {
    if (tasks.isEmpty()) {
      return NONE;
    }
    TaskCounts most = tasks.stream().max(Comparator.comparingDouble(t -> t.seconds)).orElseThrow();
    return new TaskTimes(
        tasks.size(),
        tasks.stream().mapToDouble(task -> task.seconds).average().orElseThrow(),
        tasks.stream().mapToLong(task -> task.bytes).average().orElseThrow(),
        new Longest(
            most.partition,
            most.host,
            most.seconds,
            most.documents,
            most.bytes,
            most.largestDocument,
            most.tokenizerNanos / 1e9));
  }

  /** Whether one task took much longer than the others. */
  boolean uneven() {
    return tasks > 1 && longest.seconds() > UNEVEN * others(meanSeconds, longest.seconds());
  }

  /** The mean of the other tasks, from that of all. */
  private double others(double mean, double ofLongest) {
    return (mean * tasks - ofLongest) / (tasks - 1);
  }

  /** Why the longest task took as long as it did, and what would help; in one sentence. */
  String reason() {
    double times = longest.bytes() / Math.max(1, others(meanBytes, longest.bytes()));
    if (longest.largestDocument() * 2 > longest.bytes() && times > UNEVEN) {
      return RunSummary.format(
          "one document of %s, which one core encodes; --max-document-bytes sets such aside",
          RunSummary.size(longest.largestDocument()));
    }
    if (times > UNEVEN) {
      return RunSummary.format(
          "it had %s times the text of other tasks: its input can't be split (gzip, one Parquet"
              + " row group) or --file-bytes allows it; store that input in smaller parts, or set a"
              + " smaller --file-bytes",
          RunSummary.decimals(times));
    }
    return "its text was no more than that of others: its node was slower or busier, or it began"
        + " when nothing was loaded yet";
  }
}
