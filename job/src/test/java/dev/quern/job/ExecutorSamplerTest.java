package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import dev.quern.tokenizer.QuernLibrary;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

/** The sampling thread of an executor. */
class ExecutorSamplerTest {

  @Test
  @Timeout(60)
  void samplesAtOnceThenRegularlyThenALastTime() throws InterruptedException {
    List<ExecutorSample> samples = new CopyOnWriteArrayList<>();
    CountDownLatch five = new CountDownLatch(5);
    ExecutorSampler sampler =
        new ExecutorSampler(
            "7",
            "somewhere",
            10,
            sample -> {
              samples.add(sample);
              five.countDown();
            });
    assertThat(samples).isNotEmpty();
    assertThat(five.await(50, TimeUnit.SECONDS)).isTrue();
    sampler.close();
    int taken = samples.size();
    assertThat(samples.subList(0, taken - 1)).noneMatch(ExecutorSample::last);
    ExecutorSample last = samples.get(taken - 1);
    assertThat(last.last()).isTrue();
    assertThat(last.executor())
        .isEqualTo(new ExecutorSample.Executor("7", "somewhere", ProcessHandle.current().pid()));
    ExecutorSample.Memory memory = last.memory();
    assertThat(memory.resident()).isPositive();
    assertThat(memory.residentPeak()).isGreaterThanOrEqualTo(memory.resident());
    assertThat(memory.heapUsed()).isBetween(1L, memory.heapCommitted());
    assertThat(memory.nonHeapCommitted()).isPositive();
    Thread.sleep(50); // nothing may come after the last one
    assertThat(samples).hasSize(taken);
    assertThat(sampler.failures()).isZero();
  }

  @Test
  @Timeout(60)
  void aChannelThatFailsIsCountedAndTriedAgain() throws InterruptedException {
    AtomicInteger attempts = new AtomicInteger();
    CountDownLatch delivered = new CountDownLatch(1);
    try (ExecutorSampler sampler =
        new ExecutorSampler(
            "7",
            "somewhere",
            10,
            sample -> {
              switch (attempts.getAndIncrement()) {
                case 0 -> throw new IOException("no driver");
                case 1 -> throw new IllegalStateException("RpcEnv already stopped");
                case 2 -> throw new NoClassDefFoundError("dev/quern/Gone");
                default -> delivered.countDown();
              }
            })) {
      assertThat(delivered.await(50, TimeUnit.SECONDS)).isTrue();
      assertThat(sampler.failures()).isEqualTo(3);
    }
  }

  @Test
  @Timeout(120)
  void samplingAloneNeverLoadsNativeCode() throws Exception {
    // In a process of its own: here other tests have loaded the library.
    Process child =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Idle.class.getName())
            .redirectErrorStream(true)
            .start();
    String output = new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    assertThat(child.waitFor()).as(output).isZero();
    assertThat(output).contains("library loaded: false, allocator: null, native bytes: 0");
    if (Path.of("/proc/self/maps").toFile().canRead()) {
      assertThat(output).contains("mapped: []");
    }
  }

  /** An executor that never tokenizes. */
  static final class Idle {
    public static void main(String[] arguments) throws Exception {
      List<ExecutorSample> samples = new CopyOnWriteArrayList<>();
      new ExecutorSampler("1", "here", 10, samples::add).close();
      ExecutorSample last = samples.get(samples.size() - 1);
      System.out.println(
          "library loaded: "
              + QuernLibrary.isLoaded()
              + ", allocator: "
              + last.work().allocator()
              + ", native bytes: "
              + (last.memory().nativeAllocator() + last.memory().nativeBuffers()));
      Path maps = Path.of("/proc/self/maps");
      if (maps.toFile().canRead()) {
        System.out.println(
            "mapped: "
                + java.nio.file.Files.readAllLines(maps).stream()
                    .filter(line -> line.contains("jnidispatch") || line.contains("quern.so"))
                    .toList());
      }
    }
  }
}
