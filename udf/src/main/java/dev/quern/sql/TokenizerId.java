package dev.quern.sql;

import java.io.Serializable;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.Literal;
import org.apache.spark.sql.catalyst.expressions.codegen.CodegenContext;
import org.apache.spark.sql.catalyst.expressions.codegen.ExprCode;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.unsafe.types.UTF8String;
import scala.collection.immutable.IndexedSeq;
import scala.collection.immutable.List$;
import scala.collection.immutable.Seq;

/** {@code tokenizer_id}: the content hash of a tokenizer, a constant. */
final class TokenizerId extends Expression implements Serializable {
  private static final long serialVersionUID = 1L;

  private final TokenizerReference reference;
  private final String arguments;

  TokenizerId(TokenizerReference reference, String arguments) {
    this.reference = reference;
    this.arguments = arguments;
  }

  @Override
  public Seq<Expression> children() {
    return List$.MODULE$.empty();
  }

  @Override
  public Expression withNewChildrenInternal(IndexedSeq<Expression> newChildren) {
    return this;
  }

  @Override
  public DataType dataType() {
    return DataTypes.StringType;
  }

  @Override
  public boolean nullable() {
    return false;
  }

  @Override
  public boolean foldable() {
    return true;
  }

  @Override
  public Object eval(InternalRow input) {
    return UTF8String.fromString(reference.contentHash());
  }

  @Override
  public ExprCode doGenCode(CodegenContext context, ExprCode result) {
    return Literal.create(reference.contentHash(), dataType()).genCode(context);
  }

  @Override
  public String prettyName() {
    return "tokenizer_id";
  }

  @Override
  public String toString() {
    return prettyName() + "(" + reference + ")";
  }

  @Override
  public String sql() {
    return prettyName() + "(" + arguments + ")";
  }

  @Override
  public int productArity() {
    return 2;
  }

  @Override
  public Object productElement(int index) {
    return switch (index) {
      case 0 -> reference;
      case 1 -> arguments;
      default -> throw new IndexOutOfBoundsException(index);
    };
  }

  @Override
  public boolean canEqual(Object other) {
    return other instanceof TokenizerId;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenizerId that && reference.equals(that.reference);
  }

  @Override
  public int hashCode() {
    return reference.hashCode();
  }
}
