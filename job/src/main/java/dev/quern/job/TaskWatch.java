package dev.quern.job;

import java.util.HashSet;
import java.util.Set;
import org.apache.spark.ExceptionFailure;
import org.apache.spark.SparkContext;
import org.apache.spark.scheduler.SparkListener;
import org.apache.spark.scheduler.SparkListenerJobStart;
import org.apache.spark.scheduler.SparkListenerTaskEnd;
import org.apache.spark.scheduler.SparkListenerTaskStart;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Watches the tasks of a run, for two things that Spark does not do.
 *
 * <p>It ends the run at the first difference that --verify finds. Spark would try the task again,
 * several times, while the others go on; and an engine that is not even the same on each attempt
 * could pass at last.
 *
 * <p>It waits for tasks that are still there when the run has failed: Spark tells them to end and
 * goes on, and what such a task still writes would come back after it was cleared away.
 */
final class TaskWatch extends SparkListener implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(TaskWatch.class);

  /** The local property by which the jobs of a run are known; {@link Progress} has its own. */
  private static final String PROPERTY = "quern.run.tasks";

  /** Longer than a task takes for one large document, in between which it looks whether to end. */
  private static final long LONGEST_END_MILLIS = 60_000;

  private static final long LOOK_MILLIS = 20;

  private final SparkContext context;
  private final String run;
  private final String before;
  private final Set<Integer> stages = new HashSet<>();
  private final Set<Long> running = new HashSet<>();
  private volatile Verifier.Failure difference;

  /**
   * Watches the jobs that this thread starts.
   *
   * @param run {@link ActiveRun#id}
   */
  TaskWatch(SparkContext context, String run) {
    this.context = context;
    this.run = run;
    this.before = context.getLocalProperty(PROPERTY);
    context.setLocalProperty(PROPERTY, run);
    context.addSparkListener(this);
  }

  @Override
  public synchronized void onJobStart(SparkListenerJobStart start) {
    if (start.properties() != null && run.equals(start.properties().getProperty(PROPERTY))) {
      start.stageInfos().foreach(stage -> stages.add(stage.stageId()));
    }
  }

  @Override
  public synchronized void onTaskStart(SparkListenerTaskStart start) {
    if (stages.contains(start.stageId())) {
      running.add(start.taskInfo().taskId());
    }
  }

  @Override
  public synchronized void onTaskEnd(SparkListenerTaskEnd end) {
    running.remove(end.taskInfo().taskId());
    if (difference != null || !(end.reason() instanceof ExceptionFailure failed)) {
      return;
    }
    Throwable cause = failed.exception().isDefined() ? failed.exception().get() : null;
    for (; cause != null; cause = cause.getCause()) {
      if (cause instanceof Verifier.Failure found && found.run().equals(run)) {
        difference = found;
        context.cancelStage(end.stageId(), "--verify has found a difference");
        return;
      }
    }
  }

  /**
   * To be called when all tasks have succeeded at last.
   *
   * @throws Verifier.Failure if one has found a difference before
   */
  void check() {
    catchUp();
    if (difference != null) {
      throw difference;
    }
  }

  /** The difference that was found so far; null if there is none. */
  Verifier.Failure difference() {
    return difference;
  }

  /** Waits, after a failure, until no task of the run is there any more. */
  void awaitEnds() {
    long begun = System.nanoTime();
    while (!context.isStopped()) {
      catchUp();
      synchronized (this) {
        if (running.isEmpty()) {
          return;
        }
        if ((System.nanoTime() - begun) / 1_000_000 > LONGEST_END_MILLIS) {
          LOG.warn("{} tasks of the failed run do not end; they may leave files", running.size());
          return;
        }
      }
      try {
        Thread.sleep(LOOK_MILLIS);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  /** Waits until the listeners were told of all that has happened. */
  private void catchUp() {
    try {
      context.listenerBus().waitUntilEmpty();
    } catch (Exception e) {
      // It is stopped, or some listener is slow (a timeout of 10 s): then what is known counts.
      LOG.debug("Spark's listeners are behind", e);
    }
  }

  @Override
  public void close() {
    context.removeSparkListener(this);
    context.setLocalProperty(PROPERTY, before);
  }
}
