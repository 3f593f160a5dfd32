package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Reading resident memory: made-up files, and this very process. */
class ResidentMemoryTest {

  @TempDir Path folder;

  @Test
  void readsRssAndPeakFromProc() throws IOException {
    status("Name:\tjava\nVmPeak:\t  900 kB\nVmHWM:\t   512 kB\nVmRSS:\t   300 kB\nThreads:\t3\n");
    assertThat(new ResidentMemory.Proc(folder).read())
        .isEqualTo(new ResidentMemory.Usage(300 * 1024, 512 * 1024));
  }

  @Test
  void keepsTheHighestItselfWhereTheSystemDoesNot() throws IOException {
    ResidentMemory memory = new ResidentMemory.Proc(folder);
    status("Name:\tjava\nVmRSS:\t300 kB\n");
    assertThat(memory.read()).isEqualTo(new ResidentMemory.Usage(300 * 1024, 300 * 1024));
    status("VmRSS:\t700 kB");
    assertThat(memory.read()).isEqualTo(new ResidentMemory.Usage(700 * 1024, 700 * 1024));
    status("Name:\tjava\nVmRSS:\t200 kB\n");
    assertThat(memory.read()).isEqualTo(new ResidentMemory.Usage(200 * 1024, 700 * 1024));
  }

  @Test
  void saysWhatIsMissing() throws IOException {
    ResidentMemory memory = new ResidentMemory.Proc(folder);
    assertThatThrownBy(memory::read).isInstanceOf(UncheckedIOException.class);
    status("Name:\tkthreadd\n"); // a kernel thread has no memory of its own
    assertThatThrownBy(memory::read)
        .isInstanceOf(IllegalStateException.class)
        .hasMessageContaining("VmRSS");
  }

  @Test
  void growsByWhatIsTouched() {
    ResidentMemory memory = ResidentMemory.ofThisProcess();
    long before = memory.read().resident();
    int size = 256 << 20;
    ByteBuffer buffer = ByteBuffer.allocateDirect(size); // the JDK zeroes it: every page is touched
    ResidentMemory.Usage after = memory.read();
    // The rest of the JVM may give some back at the same time.
    assertThat(after.resident() - before).isBetween(size * 3L / 4, size * 2L);
    assertThat(after.peak()).isGreaterThanOrEqualTo(after.resident());
    assertThat(buffer.get(size - 1)).isZero();
  }

  @Test
  void oshiAgreesWithProc() {
    assumeTrue(Files.isReadable(Path.of("/proc/self/status")), "this system has no /proc");
    ResidentMemory proc = new ResidentMemory.Proc(Path.of("/proc/self"));
    long before = proc.read().resident();
    ResidentMemory.Usage oshi = new ResidentMemory.Oshi().read();
    long after = proc.read().resident(); // a garbage collection may have come between
    assertThat(oshi.resident())
        .isBetween(Math.min(before, after) * 7 / 10, Math.max(before, after) * 13 / 10);
    assertThat(oshi.peak()).isEqualTo(oshi.resident());
  }

  private void status(String text) throws IOException {
    Files.writeString(folder.resolve("status"), text);
  }
}
