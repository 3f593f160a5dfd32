package dev.quern.job;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Objects;
import org.apache.spark.SparkContext;
import org.apache.spark.rdd.RDD;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.Alias;
import org.apache.spark.sql.catalyst.expressions.Attribute;
import org.apache.spark.sql.catalyst.expressions.AttributeSet;
import org.apache.spark.sql.catalyst.expressions.CreateNamedStruct;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.GetStructField;
import org.apache.spark.sql.catalyst.expressions.KnownNotNull;
import org.apache.spark.sql.execution.ColumnarToRowExec;
import org.apache.spark.sql.execution.InputAdapter;
import org.apache.spark.sql.execution.ProjectExec;
import org.apache.spark.sql.execution.SparkPlan;
import org.apache.spark.sql.execution.WholeStageCodegenExec;
import org.apache.spark.sql.execution.metric.SQLMetric;
import org.apache.spark.sql.execution.metric.SQLMetrics;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import scala.Tuple2;
import scala.collection.Iterator;
import scala.collection.immutable.IndexedSeq;
import scala.collection.immutable.Map;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;
import scala.reflect.ClassTag;
import scala.reflect.ClassTag$;
import scala.runtime.AbstractFunction1;

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
    Columns columns = Columns.below(child, input);
    SparkPlan source = columns == null ? child : columns.source;
    DocumentTokenizer.OfPartition documents =
        new DocumentTokenizer.OfPartition(
            settings,
            columns == null ? find(child.output(), input) : columns.ordinals,
            source.output().size(),
            schema(),
            counters);
    ClassTag<InternalRow> rows = ClassTag$.MODULE$.apply(InternalRow.class);
    return columns == null
        ? source.execute().mapPartitions(documents, true, rows)
        : source.executeColumnar().mapPartitions(new OfBatches(documents), true, rows);
  }

  private static int[] find(Seq<Attribute> columns, Seq<Attribute> wanted) {
    int[] ordinals = new int[wanted.size()];
    for (int i = 0; i < ordinals.length; i++) {
      ordinals[i] = -1;
      for (int j = 0; j < columns.size(); j++) {
        if (columns.apply(j).exprId().equals(wanted.apply(i).exprId())) {
          ordinals[i] = j;
        }
      }
      if (ordinals[i] < 0) {
        throw new IllegalStateException(
            "the input of the tokenizer has lost its column " + wanted.apply(i));
      }
    }
    return ordinals;
  }

  /**
   * A source of column batches, if nothing stands between it and the tokenizer but the making of
   * rows, new names and the struct {@code _metadata}. Its rows are read in place: made into Spark's
   * rows, each document would be copied, a huge one into an array of twice its size.
   *
   * @param ordinals where the tokenizer's input stands in it
   */
  private record Columns(SparkPlan source, int[] ordinals) {
    /** An expression over the columns below the first {@code level} projections. */
    private record Placed(Expression expression, int level) {}

    /** Null if there is none. */
    static Columns below(SparkPlan child, Seq<Attribute> input) {
      List<ProjectExec> projections = new ArrayList<>();
      SparkPlan plan = child instanceof WholeStageCodegenExec stage ? stage.child() : child;
      for (; plan instanceof ProjectExec project; plan = project.child()) {
        projections.add(project);
      }
      if (!(plan instanceof ColumnarToRowExec rows)) {
        return null;
      }
      List<Attribute> columns = new ArrayList<>();
      for (Attribute attribute : CollectionConverters.asJava(input)) {
        if (!(find(new Placed(attribute, 0), projections).expression instanceof Attribute column)) {
          return null;
        }
        columns.add(column);
      }
      SparkPlan source =
          rows.child() instanceof InputAdapter adapter ? adapter.child() : rows.child();
      return new Columns(
          source,
          TokenizeExec.find(source.output(), CollectionConverters.asScala(columns).toList()));
    }

    /** The same, as far down as it is a column or a struct that is made. */
    private static Placed find(Placed at, List<ProjectExec> projections) {
      Expression expression = at.expression;
      if (expression instanceof Alias alias) {
        return find(new Placed(alias.child(), at.level), projections);
      } else if (expression instanceof KnownNotNull known) {
        return find(new Placed(known.child(), at.level), projections);
      } else if (expression instanceof GetStructField field) {
        Placed struct = find(new Placed(field.child(), at.level), projections);
        return struct.expression instanceof CreateNamedStruct made
            ? find(new Placed(made.valExprs().apply(field.ordinal()), struct.level), projections)
            : at;
      } else if (expression instanceof Attribute column && at.level < projections.size()) {
        ProjectExec project = projections.get(at.level);
        int ordinal = TokenizeExec.find(project.output(), single(column))[0];
        return find(
            new Placed((Expression) project.projectList().apply(ordinal), at.level + 1),
            projections);
      }
      return at;
    }

    private static Seq<Attribute> single(Attribute attribute) {
      return CollectionConverters.asScala(List.of(attribute)).toList();
    }
  }

  /** The same partition, in column batches. */
  private static final class OfBatches
      extends AbstractFunction1<Iterator<ColumnarBatch>, Iterator<InternalRow>>
      implements Serializable {
    private static final long serialVersionUID = 1L;
    private final DocumentTokenizer.OfPartition documents;

    OfBatches(DocumentTokenizer.OfPartition documents) {
      this.documents = documents;
    }

    @Override
    public Iterator<InternalRow> apply(Iterator<ColumnarBatch> batches) {
      return documents.ofBatches(batches);
    }
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
