package dev.quern.job;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import java.util.List;
import org.apache.spark.scheduler.SparkListenerEvent;

/**
 * The latest sample of each executor that has sent one since the event before: how the samples come
 * into Spark's event log, and from there into the history server. The name of the class and those
 * of its components are in the log.
 *
 * @param executors by the driver's clock; counters are since the executor's JVM started
 */
@JsonIgnoreProperties(ignoreUnknown = true)
record SamplesEvent(List<ExecutorSample> executors) implements SparkListenerEvent {}
