package dev.quern.bench;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * What share of a process's CPU time went where, from samples of perf. The event is cpu-clock, a
 * timer of the kernel's, for virtual machines often have no counters of the processor; so it is
 * time, not cycles or instructions.
 */
final class CpuShares {
  /** What the record says of the source; samples a second of each running thread. */
  static final String SOURCE = "perf record -e cpu-clock -F 997";

  /** The C library's allocator: exported functions, and the local ones that carry the work. */
  private static final Pattern LIBC =
      Pattern.compile(
          "(__libc_|__|_int_)?(malloc|free|realloc|calloc|memalign|posix_memalign|aligned_alloc)"
              + "|cfree|_int_free_.*|malloc_consolidate|malloc_usable_size|unlink_chunk.*|sysmalloc.*"
              + "|systrim.*|heap_trim.*|tcache_.*|arena_get.*|grow_heap|new_heap|__default_morecore"
              + "|_mid_memalign.*|alloc_perturb|checked_request2size|ptmalloc_.*");

  private static final Pattern MIMALLOC = Pattern.compile("_?mi_.*");

  /** Addresses of thread-local variables: of C, of libraries, and Rust's own wrapper. */
  private static final Pattern THREAD_LOCAL =
      Pattern.compile(
          "__tls_get_addr.*|_dl_tlsdesc.*|tls_get_addr_tail.*|update_get_addr.*|tlv_get_addr"
              + "|__emutls_get_address|.*LocalKey.*|.*thread_local.*");

  /** An address, a function, the file that it is in. */
  private static final Pattern SAMPLE = Pattern.compile("\\s*([0-9a-f]+) (.*) \\((.*)\\)\\s*");

  private CpuShares() {}

  /** Whether this machine lets us sample. */
  static boolean isAvailable(Path folder) throws InterruptedException {
    try {
      return new ProcessBuilder(
                  "perf",
                  "record",
                  "-q",
                  "-e",
                  "cpu-clock",
                  "-o",
                  folder.resolve("perf.try").toString(),
                  "--",
                  "true")
              .redirectErrorStream(true)
              .redirectOutput(folder.resolve("perf.log").toFile())
              .start()
              .waitFor()
          == 0;
    } catch (IOException e) {
      return false; // it is not installed
    }
  }

  /** A pipe by which the process says when to sample. */
  static Path control(Path folder) throws IOException, InterruptedException {
    Path control = folder.resolve("perf.control");
    if (!Files.exists(control)
        && new ProcessBuilder("mkfifo", control.toString()).start().waitFor() != 0) {
      throw new IOException("mkfifo " + control + " failed");
    }
    return control;
  }

  /** What a process is started with, so that it is sampled when it says so. */
  static List<String> starter(Path control, Path data) {
    return List.of(
        "perf",
        "record",
        "-q",
        "-e",
        "cpu-clock",
        "-F",
        "997",
        "--delay=-1",
        "--control=fifo:" + control,
        "-o",
        data.toString(),
        "--");
  }

  /** The shares of what was sampled; none if the passes ended before the first sample. */
  static Map<String, Object> read(Path data) throws IOException, InterruptedException {
    Path samples = data.resolveSibling("perf.samples");
    int status =
        new ProcessBuilder("perf", "script", "-i", data.toString(), "-F", "ip,sym,dso")
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .redirectOutput(samples.toFile())
            .start()
            .waitFor();
    List<String> lines =
        new String(Files.readAllBytes(samples), StandardCharsets.UTF_8).lines().toList();
    if (status != 0) {
      throw new BenchException(
          BenchException.FAILED,
          "perf can't read what it sampled: leave the shares out of --measure");
    }
    return lines.isEmpty() ? Map.of() : shares(lines);
  }

  /**
   * Shares from 0 to 1 of lines "address function (file)".
   *
   * <p>A C library without its local symbols leaves functions like _int_malloc unnamed. They are
   * compiled together with malloc, so an unnamed address within 16 KiB of where the samples of its
   * exported functions lie is counted with them.
   */
  static Map<String, Object> shares(List<String> lines) {
    long low = Long.MAX_VALUE;
    long high = 0;
    for (String line : lines) {
      Matcher sample = SAMPLE.matcher(line);
      if (sample.matches() && isLibc(sample) && LIBC.matcher(sample.group(2)).matches()) {
        long at = Long.parseUnsignedLong(sample.group(1), 16);
        low = Math.min(low, at);
        high = Math.max(high, at);
      }
    }
    long all = 0;
    long libc = 0;
    long mimalloc = 0;
    long threadLocal = 0;
    for (String line : lines) {
      Matcher sample = SAMPLE.matcher(line);
      if (!sample.matches()) {
        continue;
      }
      all++;
      String function = sample.group(2);
      if (isLibc(sample)) {
        boolean unnamed = function.equals("[unknown]");
        long at = unnamed ? Long.parseUnsignedLong(sample.group(1), 16) : 0;
        if (unnamed
            ? high > 0 && at > low - (16 << 10) && at < high + (16 << 10)
            : LIBC.matcher(function).matches()) {
          libc++;
        }
      } else if (MIMALLOC.matcher(function).matches()) {
        mimalloc++;
      }
      if (THREAD_LOCAL.matcher(function).matches()) {
        threadLocal++;
      }
    }
    Map<String, Object> shares = new LinkedHashMap<>();
    shares.put("cpu_source", SOURCE);
    shares.put("cpu_samples", all);
    shares.put("cpu_libc_malloc", Record.rounded((double) libc / all, 4));
    shares.put("cpu_mimalloc", Record.rounded((double) mimalloc / all, 4));
    shares.put("cpu_thread_local", Record.rounded((double) threadLocal / all, 4));
    return shares;
  }

  private static boolean isLibc(Matcher sample) {
    return sample.group(3).matches(".*/libc[.-][^/]*");
  }
}
