package dev.quern.job;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.Serializable;

/**
 * What one executor looked like at one moment; sent from the executor to the driver, which posts
 * some of them as {@link SamplesEvent}s: as JSON the names here are part of Spark's event logs, so
 * components may be added, but not renamed.
 *
 * @param executor who speaks
 * @param timeMillis when, in milliseconds since 1970: by the executor's clock when sent, by the
 *     driver's once received
 * @param last whether the executor took it while shutting down
 * @param memory bytes
 * @param work counters since the executor's JVM started; what failed or was retried is in them
 */
@JsonIgnoreProperties(ignoreUnknown = true)
record ExecutorSample(Executor executor, long timeMillis, boolean last, Memory memory, Work work)
    implements Serializable {
  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * One executor process.
   *
   * @param id Spark's id; "driver" in local mode
   */
  @JsonIgnoreProperties(ignoreUnknown = true)
  record Executor(String id, String host, long processId) implements Serializable {}

  /**
   * Memory in bytes. The parts don't add up to the resident memory: heap and buffers count what is
   * committed, resident is what was touched, and stacks, code and metadata come on top.
   *
   * @param resident RSS, what the operating system holds for the process
   * @param residentPeak the highest RSS since the process started
   * @param heapUsed of the JVM
   * @param heapCommitted of the JVM
   * @param nonHeapCommitted class metadata and compiled code
   * @param directBuffers direct ByteBuffers
   * @param mappedBuffers mapped files
   * @param sparkOffHeap Spark's own off-heap execution and storage memory
   * @param nativeAllocator what the tokenizer's allocator holds; 0 while nothing is loaded
   * @param nativeBuffers buffers of the tokenizing threads, beside the allocator
   * @param cgroupLimit limit of the container; null where there is none
   * @param cgroupUse of that limit, page cache included; null where there is none
   */
  @JsonIgnoreProperties(ignoreUnknown = true)
  record Memory(
      long resident,
      long residentPeak,
      long heapUsed,
      long heapCommitted,
      long nonHeapCommitted,
      long directBuffers,
      long mappedBuffers,
      long sparkOffHeap,
      long nativeAllocator,
      long nativeBuffers,
      Long cgroupLimit,
      Long cgroupUse)
      implements Serializable {}

  /**
   * Work since the JVM started.
   *
   * @param documents given to the tokenizer
   * @param bytes UTF-8 bytes of them
   * @param tokens token ids that came out
   * @param nativeNanos nanoseconds inside the tokenizer, summed over threads
   * @param tokenizersLoaded tokenizers really loaded, not shared
   * @param gcMillis milliseconds of garbage collection
   * @param allocator as established in this process; null while the library isn't loaded
   * @param engines of the tokenizers loaded, separated by commas; null if there is none
   */
  @JsonIgnoreProperties(ignoreUnknown = true)
  record Work(
      long documents,
      long bytes,
      long tokens,
      long nativeNanos,
      long tokenizersLoaded,
      long gcMillis,
      String allocator,
      String engines)
      implements Serializable {

    static final Work NONE = new Work(0, 0, 0, 0, 0, 0, null, null);

    /** The counters since another moment; what doesn't count up stays as it is here. */
    Work since(Work start) {
      return new Work(
          documents - start.documents,
          bytes - start.bytes,
          tokens - start.tokens,
          nativeNanos - start.nativeNanos,
          tokenizersLoaded,
          gcMillis - start.gcMillis,
          allocator,
          engines);
    }

    Work plus(Work other) {
      return new Work(
          documents + other.documents,
          bytes + other.bytes,
          tokens + other.tokens,
          nativeNanos + other.nativeNanos,
          tokenizersLoaded + other.tokenizersLoaded,
          gcMillis + other.gcMillis,
          allocator == null ? other.allocator : allocator,
          engines == null ? other.engines : engines);
    }
  }

  /** For where Java's serialization is not what is used: Kryo can't write records. */
  byte[] toJson() {
    try {
      return JSON.writeValueAsBytes(this);
    } catch (JsonProcessingException e) {
      throw new IllegalStateException(e); // a record of numbers and strings
    }
  }

  /** What {@link #toJson} has made. */
  static ExecutorSample ofJson(byte[] json) throws IOException {
    return JSON.readValue(json, ExecutorSample.class);
  }

  /** The same moment told by another clock, and by an Executor object that is already there. */
  ExecutorSample received(Executor known, long clockOffsetMillis) {
    return new ExecutorSample(
        known.equals(executor) ? known : executor,
        timeMillis + clockOffsetMillis,
        last,
        memory,
        work);
  }
}
