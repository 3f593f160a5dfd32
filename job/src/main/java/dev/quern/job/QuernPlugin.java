package dev.quern.job;

import java.util.Map;
import org.apache.spark.SparkContext;
import org.apache.spark.SparkEnv;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;

/**
 * Samples memory and throughput of every executor and brings the samples to the driver: {@code
 * spark.plugins=dev.quern.job.QuernPlugin}. The job sets it itself; set it for SQL to see the
 * gauges.
 *
 * <p>The driver resolves the configuration and hands it to the executors, so that all sample alike.
 */
public final class QuernPlugin implements SparkPlugin {

  /** What the driver tells the executors: milliseconds. */
  private static final String INTERVAL = "interval";

  @Override
  public DriverPlugin driverPlugin() {
    return new OnDriver();
  }

  @Override
  public ExecutorPlugin executorPlugin() {
    return new OnExecutor();
  }

  private static final class OnDriver implements DriverPlugin {
    private SparkContext context;
    private SampleHub hub;

    @Override
    public Map<String, String> init(SparkContext sparkContext, PluginContext plugin) {
      long interval = MetricsConf.INTERVAL_MILLIS.value(plugin.conf());
      context = sparkContext;
      hub = new SampleHub(interval, plugin.metricRegistry());
      hub.open(context);
      return Map.of(INTERVAL, Long.toString(interval));
    }

    @Override
    public Object receive(Object message) {
      if (message instanceof ExecutorSample sample) {
        hub.receive(sample, System.currentTimeMillis());
      }
      return null;
    }

    @Override
    public void shutdown() {
      SampleHub.close(context);
    }
  }

  private static final class OnExecutor implements ExecutorPlugin {
    private ExecutorSampler sampler;

    @Override
    public void init(PluginContext plugin, Map<String, String> fromDriver) {
      sampler =
          new ExecutorSampler(
              plugin.executorID(),
              // Not plugin.hostname(): it asks the RPC environment for its address, and that of an
              // executor process has none (it only connects), which ends the executor.
              SparkEnv.get().blockManager().blockManagerId().host(),
              Long.parseLong(fromDriver.get(INTERVAL)),
              plugin::send);
    }

    @Override
    public void shutdown() {
      if (sampler != null) {
        sampler.close();
      }
    }
  }
}
