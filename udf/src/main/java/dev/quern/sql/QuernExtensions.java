package dev.quern.sql;

import org.apache.spark.SparkConf;
import org.apache.spark.SparkEnv;
import org.apache.spark.sql.SparkSessionExtensions;
import org.apache.spark.sql.SparkSessionExtensionsProvider;
import org.apache.spark.sql.catalyst.analysis.FunctionRegistry;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.execution.command.SetCommand;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.runtime.BoxedUnit;

/**
 * Brings the functions and the configuration keys to every session of an application that has our
 * jar when it starts. Spark finds it by META-INF/services; {@code spark.sql.extensions} may name it
 * too.
 */
public final class QuernExtensions implements SparkSessionExtensionsProvider {
  private static final Logger LOG = LoggerFactory.getLogger(QuernExtensions.class);

  @Override
  public BoxedUnit apply(SparkSessionExtensions extensions) {
    SparkEnv environment = SparkEnv.get();
    SparkConf conf = environment == null ? new SparkConf() : environment.conf();
    QuernConf.register(conf);
    QuernConf.unknownKeys(conf).forEach(LOG::warn);
    for (QuernFunctions function : QuernFunctions.values()) {
      extensions.injectFunction(function.description());
      // Before 4.2 Spark takes a function that is not in this registry for a temporary one, which
      // no
      // permanent view may use. Sessions copy it.
      FunctionRegistry.builtin()
          .registerFunction(
              function.description()._1(),
              function.description()._2(),
              function.description()._3());
    }
    extensions.injectCheckRule(
        session ->
            plan -> {
              refuseSet(plan);
              return BoxedUnit.UNIT;
            });
    return BoxedUnit.UNIT;
  }

  /** Spark refuses a SET of the keys it knows; this refuses one of a family of keys. */
  private static void refuseSet(LogicalPlan plan) {
    if (plan instanceof SetCommand set
        && set.kv().isDefined()
        && set.kv().get()._2().isDefined()
        && QuernConf.isOfApplication(set.kv().get()._1())) {
      throw QuernFunctions.<RuntimeException>unchecked(
          QuernFunctions.analysisError(
              "a session can't set "
                  + set.kv().get()._1()
                  + ": it belongs to the application; give it as --conf when that starts, or in"
                  + " spark-defaults.conf",
              null));
    }
  }
}
