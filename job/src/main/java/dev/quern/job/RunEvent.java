package dev.quern.job;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import org.apache.spark.scheduler.SparkListenerEvent;
import org.apache.spark.util.kvstore.KVIndex;

/**
 * A run of the job when it starts, and again when it ends: an event of Spark's event log, whose
 * names are in the log, and what Spark's UI store keeps of the run.
 *
 * @param id the same in both events
 * @param tokenizer as the user named it
 * @param engine with its vector instructions, as "fast (avx2)"
 * @param output where the tokens are, or are to be
 * @param endMillis since 1970; 0 while it runs
 * @param documents read; this and the counts below are of the successful task attempts, 0 before
 *     the end and after a failure
 * @param quarantined documents set aside
 * @param bytes of text written, UTF-8
 * @param tokens written
 * @param seconds wall time of the work, of which speeds are made
 * @param residentPeak of the executor with the highest, in bytes; 0 if none was sampled
 */
@JsonIgnoreProperties(ignoreUnknown = true)
record RunEvent(
    String id,
    State state,
    String tokenizer,
    String engine,
    String engineReason,
    String output,
    long startMillis,
    long endMillis,
    long documents,
    long quarantined,
    long bytes,
    long tokens,
    double seconds,
    long residentPeak)
    implements SparkListenerEvent {

  /** How far a run is. */
  enum State {
    RUNNING,
    FINISHED,
    FAILED
  }

  @Override
  @KVIndex
  public String id() {
    return id;
  }

  static RunEvent started(String id, RunDescription description, long startMillis) {
    return new RunEvent(
        id,
        State.RUNNING,
        description.tokenizer(),
        description.engineWithSimd(),
        description.engineReason(),
        description.options().get("output"),
        startMillis,
        0,
        0,
        0,
        0,
        0,
        0,
        0);
  }

  RunEvent failed(long millis) {
    return new RunEvent(
        id,
        State.FAILED,
        tokenizer,
        engine,
        engineReason,
        output,
        startMillis,
        millis,
        0,
        0,
        0,
        0,
        (millis - startMillis) / 1e3,
        0);
  }

  RunEvent finished(RunSummary summary) {
    return new RunEvent(
        id,
        State.FINISHED,
        tokenizer,
        engine,
        engineReason,
        output,
        startMillis,
        summary.endMillis(),
        summary.totals().documents(),
        summary.totals().quarantined(),
        summary.totals().bytes(),
        summary.totals().tokens(),
        summary.wallSeconds(),
        summary.residentPeakLargest());
  }
}
