package dev.quern.job;

import java.util.Map;
import org.apache.spark.SparkContext;
import org.apache.spark.SparkEnv;
import org.apache.spark.api.plugin.DriverPlugin;
import org.apache.spark.api.plugin.ExecutorPlugin;
import org.apache.spark.api.plugin.PluginContext;
import org.apache.spark.api.plugin.SparkPlugin;
import org.apache.spark.storage.BlockManagerId;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Samples memory and throughput of every executor and brings the samples to the driver: {@code
 * spark.plugins=dev.quern.job.QuernPlugin}. The job sets it itself; set it for SQL to see the
 * gauges and the tab of Spark's UI.
 *
 * <p>The driver resolves the configuration and hands it to the executors, so that all sample alike.
 */
public final class QuernPlugin implements SparkPlugin {

  private static final Logger LOG = LoggerFactory.getLogger(QuernPlugin.class);

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
      if (MetricsConf.UI.value(plugin.conf())) {
        hub.postTo(context.listenerBus()::post);
        QuernTab.attach(context);
      }
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
      hub.postSamples(); // the bus of events still runs
      SampleHub.close(context);
    }
  }

  private static final class OnExecutor implements ExecutorPlugin {
    private ExecutorSampler sampler;

    @Override
    public void init(PluginContext plugin, Map<String, String> fromDriver) {
      try {
        sampler =
            new ExecutorSampler(
                plugin.executorID(),
                host(plugin),
                Long.parseLong(fromDriver.get(INTERVAL)),
                plugin::send);
      } catch (Exception | LinkageError e) {
        // Thrown on, it would end the executor and its successors: no run is worth less than that.
        LOG.warn(
            "Executor {} can't be sampled; the run goes on without its memory in the record.",
            plugin.executorID(),
            e);
      }
    }

    /**
     * The context's own hostname() asks the RPC environment for its address: an executor process
     * has none, as it only connects, and the NullPointerException would end it. The block manager
     * knows, but in local mode only later.
     */
    private static String host(PluginContext plugin) {
      BlockManagerId id = SparkEnv.get().blockManager().blockManagerId();
      return id == null ? plugin.hostname() : id.host();
    }

    @Override
    public void shutdown() {
      if (sampler != null) {
        sampler.close();
      }
    }
  }
}
