package dev.quern.job;

import java.util.Objects;
import org.apache.spark.sql.catalyst.expressions.Attribute;
import org.apache.spark.sql.catalyst.expressions.AttributeSet;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.execution.SparkPlan;
import org.apache.spark.sql.execution.SparkStrategy;
import scala.collection.immutable.IndexedSeq;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * The logical node of the job: documents in, rows of {@link TokenColumns#rows} out. A node of our
 * own, and not an expression in a projection, because only an operator of our own has SQL metrics,
 * and because a document's ids and the reason it is set aside come from one pass.
 */
public final class TokenizePlan extends LogicalPlan {
  private static final long serialVersionUID = 1L;
  private final TokenizeSettings settings;
  private final Seq<Attribute> input;
  private final Seq<Attribute> output;
  private final LogicalPlan child;

  /**
   * @param input the child's columns in the order of {@link TokenizeSettings.Layout}; named apart,
   *     so that the optimizer sees that they are all used and may reorder the child's
   * @param output new columns
   */
  public TokenizePlan(
      TokenizeSettings settings, Seq<Attribute> input, Seq<Attribute> output, LogicalPlan child) {
    this.settings = settings;
    this.input = input;
    this.output = output;
    this.child = child;
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
  public Seq<LogicalPlan> children() {
    return CollectionConverters.asScala(java.util.List.of(child)).toList();
  }

  @Override
  public LogicalPlan withNewChildrenInternal(IndexedSeq<LogicalPlan> children) {
    return new TokenizePlan(settings, input, output, children.apply(0));
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
    return other instanceof TokenizePlan;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenizePlan that
        && settings.equals(that.settings)
        && input.equals(that.input)
        && output.equals(that.output)
        && child.equals(that.child);
  }

  @Override
  public int hashCode() {
    return Objects.hash(settings, input, output, child);
  }

  /** Plans the node as {@link TokenizeExec}. */
  static final class Strategy extends SparkStrategy {
    @Override
    public Seq<SparkPlan> apply(LogicalPlan plan) {
      java.util.List<SparkPlan> planned =
          plan instanceof TokenizePlan node
              ? java.util.List.of(
                  new TokenizeExec(node.settings, node.input, node.output, planLater(node.child)))
              : java.util.List.of();
      return CollectionConverters.asScala(planned).toList();
    }
  }
}
