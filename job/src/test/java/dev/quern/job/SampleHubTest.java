package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.entry;

import com.codahale.metrics.Gauge;
import com.codahale.metrics.MetricRegistry;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.spark.scheduler.SparkListenerExecutorRemoved;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The driver's side: gauges, and what runs get to see. */
class SampleHubTest {

  private final MetricRegistry registry = new MetricRegistry();
  private final SampleHub hub = new SampleHub(1000, registry);

  /** One for all samples: a millisecond between two of them would show in the speeds. */
  private final long now = System.currentTimeMillis();

  @Test
  void showsEachExecutorAndTheirSum() {
    receive("1", 0, 100, 0);
    receive("1", 2, 150, 4_000_000);
    receive("2", 1, 30, 1_000_000);
    assertThat(gauges())
        .contains(
            entry("executors", 2L),
            entry("residentBytes", 180L),
            entry("bytes", 5_000_000L),
            entry("tokens", 1_250_000L),
            entry("executor.1.residentBytes", 150L),
            entry("executor.1.documents", 2000L),
            entry("executor.1.nativeAllocatorBytes", 20_000_000L),
            entry("executor.2.residentPeakBytes", 30L));
    double speed = (Double) gauges().get("executor.1.megabytesPerSecond");
    assertThat(speed).isEqualTo(2.0);
    assertThat((Double) gauges().get("megabytesPerSecond")).isEqualTo(2.0);
    assertThat((Double) gauges().get("executor.1.tokensPerSecond")).isEqualTo(500_000.0);
  }

  @Test
  void aLostExecutorsGaugesGoAndItsWorkStays() {
    receive("1", 0, 100, 3_000_000);
    receive("2", 0, 100, 1_000_000);
    RunSamples run = new RunSamples();
    hub.attach(run);
    hub.onExecutorRemoved(new SparkListenerExecutorRemoved(1L, "1", "killed"));
    receive("1", 1, 100, 9_000_000); // was on its way
    assertThat(gauges())
        .contains(entry("executors", 1L), entry("residentBytes", 100L), entry("bytes", 4_000_000L))
        .doesNotContainKey("executor.1.residentBytes")
        .containsKey("executor.2.residentBytes");
    assertThat(hub.alive("1")).isFalse();
    assertThat(run.parts().get(0).samples()).hasSize(2);
    assertThat(run.parts().get(0).latest().work().bytes()).isEqualTo(9_000_000);
  }

  @Test
  void aRunCountsFromItsOwnBeginning() {
    receive("1", 0, 100, 5_000_000);
    RunSamples run = new RunSamples();
    hub.attach(run);
    receive("1", 1, 120, 6_000_000);
    receive("10", 1, 40, 200_000); // came in mid-run: all of it is this run's
    receive("9", 1, 40, 0);
    assertThat(run.live().work().bytes()).isEqualTo(1_200_000);
    assertThat(run.live().resident()).isEqualTo(200);
    hub.detach(run);
    receive("1", 2, 500, 9_000_000);
    assertThat(run.live().work().bytes()).isEqualTo(1_200_000);
    assertThat(run.parts().stream().map(part -> part.executor().id()))
        .containsExactly("1", "9", "10");
    assertThat(run.parts().stream().map(RunSamples.Part::known))
        .containsExactly(true, false, false);
  }

  @Test
  void samplesOfTasksCompleteARunUnlessMoreIsKnown() {
    receive("1", 0, 100, 0);
    receive("2", 5, 100, 5_000_000);
    RunSamples run = new RunSamples();
    hub.attach(run);
    ExecutorSample newer = Samples.sample("1", 1, 130, 130, 3_000_000);
    ExecutorSample older = Samples.sample("2", 4, 90, 90, 4_000_000);
    ExecutorSample unknown = Samples.sample("3", 9, 90, 90, 9_000_000);
    hub.receiveOfTasks(
        Stream.of(newer, older, unknown)
            .map(sample -> sample.received(sample.executor(), now - Samples.START))
            .toList(),
        now);
    assertThat(run.live().work().bytes()).isEqualTo(3_000_000);
    assertThat(gauges())
        .contains(
            entry("executors", 2L),
            entry("executor.1.residentBytes", 130L),
            entry("executor.2.bytes", 5_000_000L));
  }

  @Test
  void aClockThatIsFarOffIsCorrected() {
    RunSamples run = new RunSamples();
    hub.attach(run);
    ExecutorSample wrong = Samples.sample("1", 0, 1, 1, 0);
    long hour = wrong.timeMillis() + 3_600_000;
    hub.receive(wrong, hour);
    hub.receive(Samples.sample("1", 1, 1, 1, 0), hour + 1300);
    hub.receive(Samples.sample("2", 3600, 1, 1, 0), hour + 70);
    assertThat(run.parts().get(0).samples().stream().map(ExecutorSample::timeMillis))
        .containsExactly(hour, hour + 1000);
    assertThat(run.parts().get(1).first().timeMillis()).isEqualTo(hour);
  }

  @Test
  void manyExecutorsShareTheMemoryThereIs() {
    RunSamples run = new RunSamples();
    hub.attach(run);
    for (int second = 0; second < 250; second++) {
      for (int id = 0; id < 1000; id++) {
        hub.receive(Samples.sample("" + id, second, 1, 1, 0), Samples.START + second * 1000);
      }
    }
    assertThat(run.parts().stream().mapToInt(part -> part.samples().size()).sum())
        .isLessThanOrEqualTo(RunSamples.IN_ALL);
    assertThat(run.parts()).hasSize(1000).allMatch(part -> part.arrived() == 250);
  }

  /** An hour of samples each second: of one executor, and of a thousand. */
  @ParameterizedTest
  @ValueSource(ints = {1, 1000})
  void theEventLogGetsSomeOfTheSamplesAndTheLast(int executors) {
    List<SamplesEvent> events = new ArrayList<>();
    hub.postTo(event -> events.add((SamplesEvent) event));
    int seconds = executors == 1 ? 3600 : 300;
    for (int second = 0; second < seconds; second++) {
      for (int id = 0; id < executors; id++) {
        hub.receive(Samples.sample("" + id, second, 1, 1, 0), Samples.START + second * 1000);
      }
    }
    int samples = events.stream().mapToInt(event -> event.executors().size()).sum();
    assertThat(events).hasSizeLessThan(256 + 256 * 3);
    assertThat(samples).isBetween(executors == 1 ? 500 : 5000, 20 * seconds + executors);
    hub.postSamples();
    assertThat(events.get(events.size() - 1).executors())
        .hasSize(executors)
        .allMatch(sample -> sample.timeMillis() == Samples.START + (seconds - 1) * 1000L);
    int all = events.size();
    hub.postSamples();
    assertThat(events).hasSize(all);
  }

  /** Received just now, whatever the sample's second: gauges forget speeds of silent executors. */
  private void receive(String id, int second, long resident, long bytes) {
    ExecutorSample sample = Samples.sample(id, second, resident, resident, bytes);
    hub.receive(sample.received(sample.executor(), now - Samples.START), now);
  }

  private Map<String, Object> gauges() {
    Map<String, Object> values = new TreeMap<>();
    registry
        .getMetrics()
        .forEach((name, metric) -> values.put(name, ((Gauge<?>) metric).getValue()));
    return values;
  }
}
