package dev.quern.bench;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;

/**
 * This process's memory as the kernel counts it, in MiB. Where there is no /proc (macOS, Windows)
 * nothing is known, and nothing is written: a missing figure, not a zero.
 */
final class ProcessMemory {
  private static final Path STATUS = Path.of("/proc/self/status");

  private ProcessMemory() {}

  /** VmRSS, VmHWM, VmPeak ... of this process now, in MiB; empty where there is no /proc. */
  static Map<String, Double> now() {
    try {
      return Files.isReadable(STATUS) ? parse(Files.readString(STATUS)) : Map.of();
    } catch (IOException e) {
      return Map.of();
    }
  }

  /** The lines of /proc/PID/status that are in kB, in MiB. */
  static Map<String, Double> parse(String status) {
    Map<String, Double> mebibytes = new HashMap<>();
    for (String line : status.split("\n")) {
      String[] words = line.trim().split("[:\\s]+");
      if (words.length == 3 && words[2].equals("kB")) {
        mebibytes.put(words[0], Math.round(Long.parseLong(words[1]) / 102.4) / 10.0);
      }
    }
    return mebibytes;
  }
}
