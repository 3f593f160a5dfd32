package dev.quern.bench;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * One process of one contender: the main class of the child JVMs, and callable in this JVM for
 * tests. It reads the documents, then loads (timed), encodes them once (cold, its tail: steady) and
 * again (warm), and at the end makes the ids once more, untimed, so that every time that is
 * reported comes with the hash of the answer that the same process gives.
 */
final class KernelRun {
  /** Documents that a thread takes at a time: enough to hide the counter, few enough to share. */
  private static final int DOCUMENTS_AT_A_TIME = 16;

  private KernelRun() {}

  public static void main(String[] arguments) throws Exception {
    KernelTask task = KernelTask.read(Path.of(arguments[0]));
    Map<String, Object> result;
    try {
      result = run(task);
    } catch (RuntimeException e) {
      // The parent shows the message; a stack trace of a missing file would only hide it.
      result = Map.of("error", String.valueOf(e.getMessage()));
    }
    KernelTask.JSON.writeValue(Path.of(task.result()).toFile(), result);
  }

  /** Does the task; speeds are MB/s (10^6 bytes of UTF-8) a thread, memory is MiB. */
  static Map<String, Object> run(KernelTask task) throws IOException, InterruptedException {
    List<byte[]> documents = Documents.texts(Path.of(task.corpus()));
    int[] sizes = documents.stream().mapToInt(d -> d.length).toArray();
    Encoding.Source source =
        switch (task.tool()) {
          case "quern" -> Encoding.quern(task, documents);
          case "jtokkit" -> Encoding.jtokkit(task, documents);
          default -> throw new IllegalArgumentException("unknown tool " + task.tool());
        };
    System.gc(); // the documents' reading must not look like memory that the tokenizer needs
    Map<String, Double> start = ProcessMemory.now();

    long begin = System.nanoTime();
    try (Encoding encoding = source.load()) {
      double loadSeconds = (System.nanoTime() - begin) / 1e9;
      Map<String, Double> loaded = ProcessMemory.now();

      Map<String, Object> result = new LinkedHashMap<>();
      result.put("tool", task.tool());
      result.putAll(encoding.description());
      result.put("load_s", loadSeconds);
      if (task.timed()) {
        Passes passes = new Passes(encoding, sizes, task.threads());
        passes.run(task, result);
        Map<String, Double> end = ProcessMemory.now();
        memory(result, "rss_start_mib", start, "VmRSS");
        memory(result, "rss_load_mib", loaded, "VmRSS");
        memory(result, "rss_end_mib", end, "VmRSS");
        memory(result, "vm_hwm_mib", end, "VmHWM");
        memory(result, "vm_peak_mib", end, "VmPeak");
      }
      writeIds(task, encoding, sizes.length, result);
      return result;
    }
  }

  private static void memory(
      Map<String, Object> result, String key, Map<String, Double> memory, String line) {
    if (memory.containsKey(line)) {
      result.put(key, memory.get(line));
    }
  }

  private static void writeIds(
      KernelTask task, Encoding encoding, int documents, Map<String, Object> result)
      throws IOException {
    long tokens = 0;
    Documents.Writer ids = new Documents.Writer(task.ids() == null ? null : Path.of(task.ids()));
    try (ids) {
      for (int document = 0; document < documents; document++) {
        int[] row = encoding.ids(document);
        ids.ids(row);
        tokens += row.length;
      }
    }
    Object counted = result.putIfAbsent("tokens", tokens);
    if (counted != null && !counted.equals(tokens)) {
      throw new BenchException(
          BenchException.WRONG_RESULT,
          "a timed pass gave " + counted + " tokens, the checked one " + tokens);
    }
    result.put("ids_hash", ids.hash());
  }

  /** The timed passes over all documents. */
  private static final class Passes {
    private final Encoding encoding;
    private final int[] sizes;
    private final int threads;

    Passes(Encoding encoding, int[] sizes, int threads) {
      this.encoding = encoding;
      this.sizes = sizes;
      this.threads = threads;
    }

    void run(KernelTask task, Map<String, Object> result) throws InterruptedException {
      int tail = sizes.length;
      long tailBytes = 0;
      while (tail > 0 && tailBytes < task.tailBytes()) {
        tail--;
        tailBytes += sizes[tail];
      }
      long bytes = 0;
      for (int size : sizes) {
        bytes += size;
      }
      ExecutorService pool = threads > 1 ? Executors.newFixedThreadPool(threads) : null;
      try {
        if (pool != null) {
          encode(pool, 0, 0); // thread creation is no part of the first pass
        }
        long t0 = System.nanoTime();
        long tokens = encode(pool, 0, tail);
        long t1 = System.nanoTime();
        tokens += encode(pool, tail, sizes.length);
        long t2 = System.nanoTime();
        result.put("tokens", tokens);
        result.put("cold_mb_s", megabytesPerSecond(bytes, t2 - t0));
        result.put("steady_mb_s", megabytesPerSecond(tailBytes, t2 - t1));
        result.put("steady_bytes", tailBytes);
        List<Double> warm = new ArrayList<>();
        for (int pass = 0; pass < task.warmPasses(); pass++) {
          long before = System.nanoTime();
          long again = encode(pool, 0, sizes.length);
          warm.add(megabytesPerSecond(bytes, System.nanoTime() - before));
          if (again != tokens) {
            throw new BenchException(
                BenchException.WRONG_RESULT,
                "warm pass " + (pass + 1) + " gave " + again + " tokens, the first " + tokens);
          }
        }
        result.put("warm_mb_s", warm);
      } finally {
        if (pool != null) {
          pool.shutdown();
        }
      }
    }

    private double megabytesPerSecond(long bytes, long nanoseconds) {
      return bytes * 1e3 / nanoseconds / threads;
    }

    /** Encodes documents from (inclusive) to (exclusive) on all threads; returns the tokens. */
    private long encode(ExecutorService pool, int from, int to) throws InterruptedException {
      AtomicInteger next = new AtomicInteger(from);
      Callable<Long> worker =
          () -> {
            long tokens = 0;
            for (int begin = next.getAndAdd(DOCUMENTS_AT_A_TIME);
                begin < to;
                begin = next.getAndAdd(DOCUMENTS_AT_A_TIME)) {
              int end = Math.min(to, begin + DOCUMENTS_AT_A_TIME);
              for (int document = begin; document < end; document++) {
                tokens += encoding.encode(document);
              }
            }
            return tokens;
          };
      try {
        if (pool == null) {
          return worker.call();
        }
        List<Callable<Long>> workers = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
          workers.add(worker);
        }
        long tokens = 0;
        for (Future<Long> future : pool.invokeAll(workers)) {
          tokens += future.get();
        }
        return tokens;
      } catch (InterruptedException | RuntimeException e) {
        throw e;
      } catch (ExecutionException e) {
        throw new BenchException(BenchException.FAILED, String.valueOf(e.getCause()), e);
      } catch (Exception e) {
        throw new IllegalStateException(e); // the worker throws none
      }
    }
  }
}
