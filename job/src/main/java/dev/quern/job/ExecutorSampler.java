package dev.quern.job;

import dev.quern.tokenizer.QuernLibrary;
import dev.quern.tokenizer.TokenizerStatistics;
import java.io.IOException;
import java.lang.management.BufferPoolMXBean;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.lang.management.MemoryMXBean;
import java.lang.management.MemoryUsage;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.spark.SparkEnv;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Samples this process on a thread of its own and hands each sample to a sink. A task never waits
 * for that, and nothing that goes wrong here reaches one: failures are counted and logged once.
 */
final class ExecutorSampler implements AutoCloseable {

  /** Where samples go; on an executor the plugin's channel to the driver. */
  interface Sink {
    void send(ExecutorSample sample) throws IOException;
  }

  private static final Logger LOG = LoggerFactory.getLogger(ExecutorSampler.class);

  /** The one of this process, for its tasks. */
  private static volatile ExecutorSampler ofThisProcess;

  private final ExecutorSample.Executor executor;
  private final Sink sink;
  private final ResidentMemory resident = ResidentMemory.ofThisProcess();
  private final Optional<CgroupMemory> cgroup = CgroupMemory.ofThisProcess();
  private final MemoryMXBean jvm = ManagementFactory.getMemoryMXBean();
  private final List<BufferPoolMXBean> buffers =
      ManagementFactory.getPlatformMXBeans(BufferPoolMXBean.class);
  private final List<GarbageCollectorMXBean> collectors =
      ManagementFactory.getGarbageCollectorMXBeans();
  private String allocator;
  private final AtomicLong failures = new AtomicLong();
  private final ScheduledExecutorService thread;

  /** Takes the first sample now, in the caller's thread, then one every interval. */
  ExecutorSampler(String executorId, String host, long intervalMillis, Sink sink) {
    this.executor = new ExecutorSample.Executor(executorId, host, ProcessHandle.current().pid());
    this.sink = sink;
    this.thread =
        Executors.newSingleThreadScheduledExecutor(
            work -> {
              Thread sampler = new Thread(work, "quern-sampler");
              sampler.setDaemon(true);
              return sampler;
            });
    sample(false);
    ofThisProcess = this;
    // A delay, not a rate: after a long pause of the JVM one sample is enough.
    thread.scheduleWithFixedDelay(
        () -> sample(false), intervalMillis, intervalMillis, TimeUnit.MILLISECONDS);
  }

  /** How many samples were lost, in taking or in sending them. */
  long failures() {
    return failures.get();
  }

  /**
   * What this process looks like now, for a task to take to the driver itself; null if the process
   * is not sampled, or can't be.
   */
  static ExecutorSample now() {
    ExecutorSampler sampler = ofThisProcess;
    try {
      return sampler == null ? null : sampler.take(false);
    } catch (Exception | LinkageError e) {
      LOG.debug("no sample of the end of a task", e);
      return null;
    }
  }

  /** Takes a last sample; best effort. */
  @Override
  public void close() {
    ofThisProcess = null;
    thread.shutdownNow();
    try {
      thread.awaitTermination(1, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    sample(true);
  }

  /** The readers are not for two threads at once. */
  private synchronized ExecutorSample take(boolean last) {
    return new ExecutorSample(executor, System.currentTimeMillis(), last, memory(), work());
  }

  private void sample(boolean last) {
    try {
      sink.send(take(last));
    } catch (Exception | LinkageError e) {
      if (failures.getAndIncrement() == 0) {
        LOG.warn(
            "A sample of memory and throughput was lost on executor {}; the run goes on, its record"
                + " has a gap. Further losses are counted, not logged.",
            executor.id(),
            e);
      }
    }
  }

  private ExecutorSample.Memory memory() {
    ResidentMemory.Usage process = resident.read();
    CgroupMemory.Usage container = cgroup.map(CgroupMemory::read).orElse(CgroupMemory.Usage.NONE);
    MemoryUsage heap = jvm.getHeapMemoryUsage();
    return new ExecutorSample.Memory(
        process.resident(),
        process.peak(),
        heap.getUsed(),
        heap.getCommitted(),
        jvm.getNonHeapMemoryUsage().getCommitted(),
        buffers("direct"),
        buffers("mapped"),
        sparkOffHeap(),
        QuernLibrary.allocatedBytes(),
        TokenizerStatistics.bufferBytes(),
        container.limit(),
        container.use());
  }

  private long buffers(String pool) {
    for (BufferPoolMXBean bean : buffers) {
      if (bean.getName().equals(pool)) {
        return Math.max(0, bean.getMemoryUsed());
      }
    }
    return 0;
  }

  private static long sparkOffHeap() {
    SparkEnv env = SparkEnv.get();
    return env == null
        ? 0
        : env.memoryManager().offHeapExecutionMemoryUsed()
            + env.memoryManager().offHeapStorageMemoryUsed();
  }

  private ExecutorSample.Work work() {
    TokenizerStatistics.Snapshot done = TokenizerStatistics.snapshot();
    long gcMillis = 0;
    for (GarbageCollectorMXBean collector : collectors) {
      gcMillis += Math.max(0, collector.getCollectionTime());
    }
    return new ExecutorSample.Work(
        done.documents(),
        done.bytes(),
        done.tokens(),
        done.nanoseconds(),
        QuernLibrary.tokenizersLoaded(),
        gcMillis,
        allocator(),
        engines());
  }

  private static String engines() {
    List<String> engines = TokenizerStatistics.engines();
    return engines.isEmpty() ? null : String.join(", ", engines);
  }

  /** Null until something has loaded the library; sampling itself never does. */
  private String allocator() {
    if (allocator == null && QuernLibrary.isLoaded()) {
      allocator = QuernLibrary.allocator();
    }
    return allocator;
  }
}
