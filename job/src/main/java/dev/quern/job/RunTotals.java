package dev.quern.job;

/**
 * What the run produced, summed over the commit messages of the successful task attempts: each
 * document counts once, whatever was retried. Samples count retries too; the record shows both.
 *
 * @param documents documents read
 * @param quarantined of these, how many were set aside
 * @param bytes UTF-8 bytes of the text of the documents written
 * @param tokens token ids written
 * @param verified of the documents, how many --verify found equal to the reference engine
 * @param verifySeconds what that took in the tasks, added up over them
 * @param tasks how evenly the work was spread
 */
public record RunTotals(
    long documents,
    long quarantined,
    long bytes,
    long tokens,
    long verified,
    double verifySeconds,
    TaskTimes tasks) {

  /** Of a run that verifies nothing, and whose tasks are not known. */
  public RunTotals(long documents, long quarantined, long bytes, long tokens) {
    this(documents, quarantined, bytes, tokens, 0, 0, TaskTimes.NONE);
  }
}
