package dev.quern.job;

/**
 * What a run has made. The counts are sums over the committed task attempts: each document counts
 * once, whatever was retried.
 *
 * @param output the folder, as a URI
 * @param quarantine the folder of the rows set aside; null if there are none
 * @param record the folder of the run's record
 * @param chart the chart of memory and throughput; null if none could be drawn
 * @param documents documents read
 * @param quarantined of these, how many were set aside
 * @param bytes UTF-8 bytes of the text of the documents tokenized
 * @param tokens token ids written, those of --append-eos included
 * @param verified documents that --verify found equal to the reference engine
 * @param seconds wall time from the first task to the visible output
 * @param tokenizerHash identity of the tokenizer
 */
public record TokenizeResult(
    String output,
    String quarantine,
    String record,
    String chart,
    long documents,
    long quarantined,
    long bytes,
    long tokens,
    long verified,
    double seconds,
    String tokenizerHash) {

  /** Rows in the token files. */
  public long written() {
    return documents - quarantined;
  }
}
