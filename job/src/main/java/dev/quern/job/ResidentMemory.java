package dev.quern.job;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import oshi.SystemInfo;
import oshi.software.os.OSProcess;

/**
 * Reads the resident memory of this process: what the operating system, YARN and Kubernetes count,
 * native memory included.
 *
 * <p>Where there is a {@code /proc} it is read (23 us a time); elsewhere, on macOS and Windows,
 * OSHI asks the system (0.8 ms). Not for use by several threads at once.
 */
abstract class ResidentMemory {

  /**
   * Resident memory in bytes.
   *
   * @param resident now
   * @param peak the highest ever of the process where the system keeps it ({@code VmHWM}), else the
   *     highest that was read
   */
  record Usage(long resident, long peak) {}

  private long highest;

  /** The reader for this process on this system. */
  static ResidentMemory ofThisProcess() {
    Path self = Path.of("/proc/self");
    return Files.isReadable(self.resolve("status")) ? new Proc(self) : new Oshi();
  }

  /** Reads once; throws UncheckedIOException or IllegalStateException where there is no answer. */
  final Usage read() {
    Usage usage = current();
    highest = Math.max(highest, Math.max(usage.resident(), usage.peak()));
    return new Usage(usage.resident(), highest);
  }

  abstract Usage current();

  /** Linux: a folder like {@code /proc/self}. */
  static final class Proc extends ResidentMemory {
    private final Path status;

    Proc(Path process) {
      status = process.resolve("status");
    }

    @Override
    Usage current() {
      String text;
      try {
        text = new String(Files.readAllBytes(status), StandardCharsets.ISO_8859_1);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      long resident = kibibytes(text, "VmRSS:");
      if (resident < 0) {
        throw new IllegalStateException(status + " has no line VmRSS");
      }
      // Some sandboxes (gVisor) leave VmHWM out: the running maximum stands in for it.
      return new Usage(resident * 1024, Math.max(resident, kibibytes(text, "VmHWM:")) * 1024);
    }

    /** The value of a line such as {@code VmRSS: 1234 kB}, -1 if there is none. */
    private static long kibibytes(String text, String name) {
      int at = text.startsWith(name) ? 0 : text.indexOf('\n' + name) + 1;
      if (at == 0 && !text.startsWith(name)) {
        return -1;
      }
      int end = text.indexOf('\n', at);
      String value = text.substring(at + name.length(), end < 0 ? text.length() : end);
      return Long.parseLong(value.replace("kB", "").strip());
    }
  }

  /** Other systems. */
  static final class Oshi extends ResidentMemory {
    private final OSProcess process = new SystemInfo().getOperatingSystem().getCurrentProcess();

    @Override
    Usage current() {
      process.updateAttributes();
      long resident = process.getResidentSetSize();
      return new Usage(resident, resident);
    }
  }
}
