package dev.quern.bench;

import com.sun.management.OperatingSystemMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.DoubleSummaryStatistics;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.Phaser;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongSupplier;

/**
 * One process of one contender: the main class of the child JVMs, and callable in this JVM for
 * tests. It reads the documents, then loads (timed), encodes them once piece by piece (cold; the
 * last piece: steady) and again, all in one call (warm). The ids of the first pass are hashed, and
 * those of the last must be the same, so that every time that is reported comes with the answer of
 * the same process. bench/peers.py does the same in the same order.
 */
final class KernelRun {
  /** Several parts for each thread, so that none waits long for the last of another. */
  private static final int PARTS_A_THREAD = 8;

  private static final int LEAST_WARM_PASSES = 3;
  private static final double ENOUGH_WARM_SECONDS = 1;
  private static final double TOO_MANY_WARM_SECONDS = 10;

  private KernelRun() {}

  public static void main(String[] arguments) throws Exception {
    KernelTask task = KernelTask.read(Path.of(arguments[0]));
    Map<String, Object> result;
    try {
      result = run(task);
    } catch (BenchException e) {
      result = Map.of("error", String.valueOf(e.getMessage()), "exit_code", e.exitCode());
    } catch (RuntimeException e) {
      // The parent shows the message; a stack trace of a missing file would only hide it.
      result = Map.of("error", String.valueOf(e.getMessage()));
    }
    KernelTask.JSON.writeValue(Path.of(task.result()).toFile(), result);
    // jtokkit's and our threads are done; nothing that still runs is worth waiting for.
    System.exit(0);
  }

  /** Does the task; speeds are MB/s (10^6 bytes of UTF-8) a thread, memory is MiB. */
  static Map<String, Object> run(KernelTask task) throws IOException, InterruptedException {
    ExecutorService pool = task.threads() > 1 ? Executors.newFixedThreadPool(task.threads()) : null;
    try {
      if (pool != null && task.each()) {
        return each(task, pool);
      }
      try (Encoding encoding = Encoding.of(task)) {
        return new Run(task, encoding, pool, encodingClock(task), 0, new Phaser(1)).run();
      }
    } finally {
      if (pool != null) {
        pool.shutdown();
      }
    }
  }

  /** Every thread runs the task for itself; speeds are their mean, memory is the most of any. */
  private static Map<String, Object> each(KernelTask task, ExecutorService pool)
      throws IOException, InterruptedException {
    Phaser together = new Phaser(task.threads());
    List<Encoding> encodings = new ArrayList<>();
    try {
      List<Callable<Map<String, Object>>> runs = new ArrayList<>();
      for (int thread = 0; thread < task.threads(); thread++) {
        Encoding encoding = Encoding.of(task);
        encodings.add(encoding);
        int first = thread * task.pieces().size() / task.threads();
        Run run = new Run(task, encoding, null, encodingClock(task), first, together);
        runs.add(
            () -> {
              try {
                return run.run();
              } finally {
                // Nobody waits for one that has failed.
                together.arriveAndDeregister();
              }
            });
      }
      List<Map<String, Object>> results = new ArrayList<>();
      for (Future<Map<String, Object>> one : pool.invokeAll(runs)) {
        results.add(Run.result(one));
      }
      Map<String, Object> result = new LinkedHashMap<>(results.get(0));
      if (results.stream().anyMatch(own -> !own.get("ids_hash").equals(result.get("ids_hash")))) {
        throw new BenchException(BenchException.WRONG_RESULT, "two threads gave different ids");
      }
      result.replaceAll(
          (field, value) -> {
            if (!(value instanceof Double)) {
              return value;
            }
            DoubleSummaryStatistics all =
                results.stream().mapToDouble(own -> (Double) own.get(field)).summaryStatistics();
            return field.endsWith("_mb_s") ? all.getAverage() : all.getMax();
          });
      return result;
    } finally {
      encodings.forEach(Encoding::close);
    }
  }

  /** Nanoseconds, of the wall or of this process's processors (in steps of 10 ms on some JDKs). */
  private static LongSupplier clock(KernelTask task) {
    if (task.clock().equals("wall")) {
      return System::nanoTime;
    }
    OperatingSystemMXBean system =
        (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    return system::getProcessCpuTime;
  }

  /**
   * The clock of what Quern encodes: this thread's own, since the JVM's compiler, at work beside
   * it, is no part of the engine. Loading has a thread of its own, so that it is the process's.
   */
  private static LongSupplier encodingClock(KernelTask task) {
    return task.clock().equals("cpu") && task.tool().equals("quern")
        ? ManagementFactory.getThreadMXBean()::getCurrentThreadCpuTime
        : clock(task);
  }

  /**
   * @param pool of the threads that divide the text; null: this thread encodes all of it
   * @param first the piece that the first pass begins with; those before it come last
   * @param together of the threads that go on at the same time
   */
  private record Run(
      KernelTask task,
      Encoding encoding,
      ExecutorService pool,
      LongSupplier clock,
      int first,
      Phaser together) {

    Map<String, Object> run() throws IOException, InterruptedException {
      if (pool != null) {
        onAllThreads(List.of(), 0); // creation of threads is no part of the first pass
      }
      // What the documents' reading left must not look like memory that the tokenizer needs.
      System.gc();
      resetHighWater();
      Map<String, Object> result = new LinkedHashMap<>();
      result.put("tool", task.tool());
      memory(result, "rss_start_mib", "VmRSS");
      LongSupplier loadingClock = KernelRun.clock(task);
      long begin = loadingClock.getAsLong();
      encoding.load();
      double loadSeconds = (loadingClock.getAsLong() - begin) / 1e9;
      // The JVM's own garbage, as the file's bytes; native memory is not touched by this.
      System.gc();
      memory(result, "rss_load_mib", "VmRSS");
      result.putAll(encoding.description());
      result.put("load_s", loadSeconds);

      List<Integer> begins = task.pieces();
      List<Double> seconds = new ArrayList<>();
      List<Integer> parts = new ArrayList<>();
      long tokens = 0;
      List<Integer> order = new ArrayList<>();
      for (int piece = 0; piece < begins.size(); piece++) {
        order.add((first + piece) % begins.size());
      }
      together.arriveAndAwaitAdvance();
      for (int piece : order) {
        begin = clock.getAsLong();
        tokens += encode(begins.get(piece), end(piece), parts);
        seconds.add(seconds(begin));
      }
      Collections.sort(parts);
      memory(result, "rss_pass_mib", "VmRSS");
      memory(result, "vm_hwm_mib", "VmHWM");
      result.put("tokens", tokens);
      String hash = hash(parts, task.ids(), tokens);
      result.put("ids_hash", hash);
      if (task.shortThreads() > 0) {
        shortThreads(result, tokens, hash);
      }
      if (!task.timed()) {
        return result;
      }
      double sum = seconds.stream().mapToDouble(s -> s).sum();
      result.put("cold_mb_s", speed(task.bytes(), sum));
      List<Double> speeds = new ArrayList<>();
      for (int piece : order) {
        speeds.add(speed(bytes(begins.get(piece), end(piece)), seconds.get(speeds.size())));
      }
      result.put("steady_mb_s", speeds.get(speeds.size() - 1));
      result.put("first_pass_mb_s", speeds.stream().map(s -> Record.rounded(s, 2)).toList());
      together.arriveAndAwaitAdvance();
      warm(result, tokens, hash);
      return result;
    }

    private void warm(Map<String, Object> result, long tokens, String hash)
        throws IOException, InterruptedException {
      List<Double> warm = new ArrayList<>();
      Map<String, Object> memoryAfter = new LinkedHashMap<>();
      double sum = 0;
      List<Integer> parts = new ArrayList<>();
      tellPerf("enable");
      while (task.passes() > 0
          ? warm.size() < task.passes()
          : (warm.size() < LEAST_WARM_PASSES || sum < ENOUGH_WARM_SECONDS)
              && sum < TOO_MANY_WARM_SECONDS) {
        parts.clear();
        long begin = clock.getAsLong();
        long again = encode(0, task.documents(), parts);
        warm.add(seconds(begin));
        sum += warm.get(warm.size() - 1);
        if (again != tokens) {
          throw otherIds(warm.size() + 1);
        }
        int passes = warm.size();
        if (passes == 10
            || passes == 100
            || passes == 1000
            || passes == 10_000
            || passes == task.passes()) {
          memory(memoryAfter, Integer.toString(passes), "VmRSS");
        }
      }
      tellPerf("disable");
      memory(result, "vm_hwm_end_mib", "VmHWM");
      memory(result, "vm_peak_mib", "VmPeak");
      if (!hash(parts, null, tokens).equals(hash)) {
        throw otherIds(warm.size() + 1);
      }
      Spread spread = Spread.of(warm);
      result.put("warm_mb_s", speed(task.bytes(), spread.minimum()));
      result.put("warm_median_mb_s", speed(task.bytes(), spread.median()));
      result.put("warm_passes", warm.size());
      if (task.passes() > 0) {
        result.put("rss_after_mib", memoryAfter);
      }
      if (pool == null && encoding instanceof Encoding.Quern quern) {
        double least = Double.MAX_VALUE;
        double spent = 0;
        for (int pass = 0; pass < LEAST_WARM_PASSES && spent < ENOUGH_WARM_SECONDS; pass++) {
          long begin = clock.getAsLong();
          if (quern.count() != tokens) {
            throw new BenchException(
                BenchException.WRONG_RESULT, "counting gave another number than encoding");
          }
          double seconds = seconds(begin);
          least = Math.min(least, seconds);
          spent += seconds;
        }
        result.put("count_mb_s", speed(task.bytes(), least));
      }
    }

    /** Memory after a hundred threads each that encoded a part and ended. */
    private void shortThreads(Map<String, Object> result, long tokens, String hash)
        throws IOException, InterruptedException {
      List<Integer> begins = split(0, task.documents());
      Map<String, Object> memoryAfter = new LinkedHashMap<>();
      int ended = 0;
      while (ended < task.shortThreads()) {
        if (ended % 100 < task.threads()) {
          memory(memoryAfter, Integer.toString(ended), "VmRSS");
        }
        Map<Thread, FutureTask<Long>> together = new LinkedHashMap<>();
        while (together.size() < Math.min(task.threads(), task.shortThreads() - ended)) {
          int part = (ended + together.size()) % begins.size();
          int end = part + 1 < begins.size() ? begins.get(part + 1) : task.documents();
          FutureTask<Long> work = new FutureTask<>(() -> encoding.encode(begins.get(part), end));
          Thread thread = new Thread(work);
          together.put(thread, work);
          thread.start();
        }
        for (Map.Entry<Thread, FutureTask<Long>> one : together.entrySet()) {
          one.getKey().join();
          result(one.getValue());
        }
        ended += together.size();
      }
      memory(memoryAfter, Integer.toString(ended), "VmRSS");
      result.put("rss_after_threads_mib", memoryAfter);
      if (ended >= begins.size() && !hash(begins, null, tokens).equals(hash)) {
        throw new BenchException(
            BenchException.WRONG_RESULT, "threads that ended gave other ids than the first pass");
      }
    }

    private static <T> T result(Future<T> work) throws InterruptedException {
      try {
        return work.get();
      } catch (ExecutionException e) {
        if (e.getCause() instanceof BenchException own) {
          throw own;
        }
        throw new BenchException(BenchException.FAILED, String.valueOf(e.getCause()), e);
      }
    }

    /** If it does not listen there are no samples, which who started both will see. */
    private void tellPerf(String command) throws IOException {
      if (task.control() != null) {
        Files.writeString(Path.of(task.control()), command + "\n");
      }
    }

    private static BenchException otherIds(int pass) {
      return new BenchException(
          BenchException.WRONG_RESULT,
          "pass " + pass + " over the same text gave other ids than the first");
    }

    private int end(int piece) {
      return piece + 1 < task.pieces().size() ? task.pieces().get(piece + 1) : task.documents();
    }

    private long bytes(int from, int to) {
      return encoding.begin(to) - encoding.begin(from);
    }

    private double seconds(long begin) {
      return (clock.getAsLong() - begin) / 1e9;
    }

    private double speed(long bytes, double seconds) {
      return bytes / 1e6 / seconds / (pool == null ? 1 : task.threads());
    }

    /**
     * Encodes documents from (inclusive) to (exclusive) on all threads, and adds the first document
     * of every part that was encoded in one call; returns the tokens.
     */
    private long encode(int from, int to, List<Integer> parts) throws InterruptedException {
      if (pool == null) {
        parts.add(from);
        return encoding.encode(from, to);
      }
      List<Integer> begins = split(from, to);
      parts.addAll(begins);
      return onAllThreads(begins, to);
    }

    /** The first documents of parts of about equal bytes. */
    private List<Integer> split(int from, int to) {
      int parts = task.threads() * PARTS_A_THREAD;
      long bytes = bytes(from, to);
      List<Integer> begins = new ArrayList<>();
      for (int document = from; document < to; document++) {
        // In the k-th of the parts: k * bytes / parts, without overflow for any corpus in memory.
        if (begins.isEmpty() || bytes(from, document) >= begins.size() * (bytes / parts + 1)) {
          begins.add(document);
        }
      }
      return begins;
    }

    private long onAllThreads(List<Integer> begins, int to) throws InterruptedException {
      AtomicInteger next = new AtomicInteger();
      Callable<Long> worker =
          () -> {
            long tokens = 0;
            for (int part = next.getAndIncrement();
                part < begins.size();
                part = next.getAndIncrement()) {
              int end = part + 1 < begins.size() ? begins.get(part + 1) : to;
              tokens += encoding.encode(begins.get(part), end);
            }
            return tokens;
          };
      List<Callable<Long>> workers = new ArrayList<>();
      for (int thread = 0; thread < task.threads(); thread++) {
        workers.add(worker);
      }
      long tokens = 0;
      for (Future<Long> future : pool.invokeAll(workers)) {
        tokens += result(future);
      }
      return tokens;
    }

    /** SHA-256 of the ids of all documents, encoded in parts that begin with these documents. */
    private String hash(List<Integer> parts, String file, long tokens) throws IOException {
      Documents.Writer writer = new Documents.Writer(file == null ? null : Path.of(file));
      long written = 0;
      try (writer) {
        int part = 0;
        for (int document = 0; document < task.documents(); document++) {
          while (part + 1 < parts.size() && parts.get(part + 1) <= document) {
            part++;
          }
          int[] ids = encoding.ids(parts.get(part), document);
          writer.ids(ids);
          written += ids.length;
        }
      }
      if (written != tokens) {
        throw new BenchException(
            BenchException.WRONG_RESULT,
            "a pass said " + tokens + " tokens, its documents have " + written);
      }
      return writer.hash();
    }

    private static void memory(Map<String, Object> result, String key, String line) {
      Double mebibytes = ProcessMemory.now().get(line);
      if (mebibytes != null) {
        result.put(key, mebibytes);
      }
    }

    /** VmHWM from now on, not of reading the documents, where the kernel lets us. */
    private static void resetHighWater() {
      try {
        Files.writeString(Path.of("/proc/self/clear_refs"), "5");
      } catch (IOException e) {
        // The high water then includes the reading.
      }
    }
  }
}
