package dev.quern.job;

import org.apache.spark.SparkEnv;

/** What is said where the Java heap is too small for a document. */
final class HeapSpace {
  private HeapSpace() {}

  /**
   * What the task should fail with. The error is not its cause, but suppressed in it: Spark ends an
   * executor for a failure with a fatal cause, and all that the user sees is that one was lost. A
   * heap that had no room for a huge array is well once the task is gone.
   *
   * @param doing what, for the message
   * @throws OutOfMemoryError the one given, if it is of another kind
   */
  static IllegalStateException explain(OutOfMemoryError error, String doing) {
    String message = String.valueOf(error.getMessage());
    if (!message.startsWith("Java heap space") && !message.startsWith("Requested array size")) {
      throw error;
    }
    boolean local = SparkEnv.get() == null || SparkEnv.get().executorId().equals("driver");
    IllegalStateException explained =
        new IllegalStateException(
            "the Java heap of "
                + TokenizeJob.bytes(Runtime.getRuntime().maxMemory())
                + " is too small for "
                + doing
                + ": raise "
                + (local
                    ? "spark.driver.memory (--driver-memory)"
                    : "spark.executor.memory (--executor-memory)")
                + ", or take the longest documents out of the input");
    explained.addSuppressed(error);
    return explained;
  }
}
