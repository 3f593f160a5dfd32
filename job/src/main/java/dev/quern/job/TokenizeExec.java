package dev.quern.job;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Objects;
import org.apache.spark.SparkContext;
import org.apache.spark.rdd.RDD;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.Attribute;
import org.apache.spark.sql.catalyst.expressions.AttributeSet;
import org.apache.spark.sql.execution.SparkPlan;
import org.apache.spark.sql.execution.metric.SQLMetric;
import org.apache.spark.sql.execution.metric.SQLMetrics;
import scala.Tuple2;
import scala.collection.immutable.IndexedSeq;
import scala.collection.immutable.Map;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;
import scala.reflect.ClassTag$;

/**
 * The operator of {@link TokenizePlan}; what it does with a partition stands in {@link
 * DocumentTokenizer}.
 */
public final class TokenizeExec extends SparkPlan {
  private static final long serialVersionUID = 1L;
  private final TokenizeSettings settings;
  private final Seq<Attribute> input;
  private final Seq<Attribute> output;
  private final SparkPlan child;

  /** Only the driver's copy of a node is asked for its metrics. */
  private transient Map<String, SQLMetric> metrics;

  public TokenizeExec(
      TokenizeSettings settings, Seq<Attribute> input, Seq<Attribute> output, SparkPlan child) {
    this.settings = settings;
    this.input = input;
    this.output = output;
    this.child = child;
  }

  /** The operator's metrics in Spark's UI. They count retries; the job's totals do not. */
  @Override
  public synchronized Map<String, SQLMetric> metrics() {
    if (metrics == null) {
      SparkContext context = sparkContext();
      java.util.Map<String, SQLMetric> byName = new LinkedHashMap<>();
      byName.put("documents", SQLMetrics.createMetric(context, "documents"));
      byName.put("quarantined", SQLMetrics.createMetric(context, "documents set aside"));
      byName.put("bytes", SQLMetrics.createSizeMetric(context, "text tokenized", -1L));
      byName.put("tokens", SQLMetrics.createMetric(context, "tokens"));
      byName.put(
          "nativeTime", SQLMetrics.createNanoTimingMetric(context, "time in the tokenizer", -1L));
      byName.put("verified", SQLMetrics.createMetric(context, "documents verified"));
      byName.put(
          "verifyTime",
          SQLMetrics.createNanoTimingMetric(context, "time in the reference engine", -1L));
      List<Tuple2<String, SQLMetric>> entries =
          byName.entrySet().stream().map(e -> Tuple2.apply(e.getKey(), e.getValue())).toList();
      metrics = scala.collection.immutable.Map$.MODULE$.from(CollectionConverters.asScala(entries));
    }
    return metrics;
  }

  @Override
  public RDD<InternalRow> doExecute() {
    int[] ordinals = new int[input.size()];
    for (int i = 0; i < ordinals.length; i++) {
      ordinals[i] = ordinal(input.apply(i));
    }
    Map<String, SQLMetric> named = metrics();
    DocumentTokenizer.Metrics counters =
        new DocumentTokenizer.Metrics(
            named.apply("documents"),
            named.apply("quarantined"),
            named.apply("bytes"),
            named.apply("tokens"),
            named.apply("nativeTime"),
            named.apply("verified"),
            named.apply("verifyTime"));
    return child
        .execute()
        .mapPartitions(
            new DocumentTokenizer.OfPartition(
                settings, ordinals, child.output().size(), schema(), counters),
            true,
            ClassTag$.MODULE$.apply(InternalRow.class));
  }

  private int ordinal(Attribute attribute) {
    Seq<Attribute> columns = child.output();
    for (int i = 0; i < columns.size(); i++) {
      if (columns.apply(i).exprId().equals(attribute.exprId())) {
        return i;
      }
    }
    throw new IllegalStateException("the input of the tokenizer has lost its column " + attribute);
  }

  @Override
  public Seq<Attribute> output() {
    return output;
  }

  @Override
  public AttributeSet producedAttributes() {
    return outputSet();
  }

  @Override
  public Seq<SparkPlan> children() {
    return CollectionConverters.asScala(List.of(child)).toList();
  }

  @Override
  public SparkPlan withNewChildrenInternal(IndexedSeq<SparkPlan> children) {
    return new TokenizeExec(settings, input, output, children.apply(0));
  }

  @Override
  public int productArity() {
    return 4;
  }

  @Override
  public Object productElement(int index) {
    return switch (index) {
      case 0 -> settings;
      case 1 -> input;
      case 2 -> output;
      case 3 -> child;
      default -> throw new IndexOutOfBoundsException(index);
    };
  }

  @Override
  public boolean canEqual(Object other) {
    return other instanceof TokenizeExec;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenizeExec that
        && settings.equals(that.settings)
        && input.equals(that.input)
        && output.equals(that.output)
        && child.equals(that.child);
  }

  @Override
  public int hashCode() {
    return Objects.hash(settings, input, output, child);
  }
}
