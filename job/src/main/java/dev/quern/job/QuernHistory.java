package dev.quern.job;

import java.util.List;
import org.apache.spark.SparkConf;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.status.AppHistoryServerPlugin;
import org.apache.spark.status.ElementTrackingStore;
import org.apache.spark.ui.SparkUI;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * The Quern tab in Spark's history server, which finds this class by the service file of the jar on
 * its own class path. Nothing of it may fail there: the server shows other applications too.
 */
public final class QuernHistory implements AppHistoryServerPlugin {

  private static final Logger LOG = LoggerFactory.getLogger(QuernHistory.class);

  @Override
  public Seq<SparkListener> createListeners(SparkConf conf, ElementTrackingStore store) {
    List<SparkListener> listeners;
    try {
      listeners = List.of(UiListener.replayed(store, conf));
    } catch (RuntimeException | LinkageError e) {
      LOG.warn("Quern's events can't be read here", e);
      listeners = List.of();
    }
    return CollectionConverters.asScala(listeners).toList();
  }

  @Override
  public void setupUI(SparkUI ui) {
    try {
      // Of applications without the plugin there is nothing to show.
      if (ui.store().store().count(UiListener.ExecutorView.class) > 0) {
        ui.attachTab(new QuernTab(ui));
      }
    } catch (Exception | LinkageError e) {
      LOG.warn("The Quern tab can't be shown here", e);
    }
  }
}
