package dev.quern.sql;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Collectors;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.codegen.CodeBlock;
import org.apache.spark.sql.catalyst.expressions.codegen.CodeGenerator;
import org.apache.spark.sql.catalyst.expressions.codegen.CodegenContext;
import org.apache.spark.sql.catalyst.expressions.codegen.ExprCode;
import org.apache.spark.sql.catalyst.expressions.codegen.FalseLiteral$;
import org.apache.spark.sql.catalyst.expressions.codegen.JavaCode;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.NullType;
import org.apache.spark.unsafe.types.UTF8String;
import scala.collection.immutable.IndexedSeq;
import scala.collection.immutable.Map$;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * The Catalyst expression of a call of a SQL function. NULL in any argument gives NULL.
 *
 * <p>A constant tokenizer is no child: it was resolved on the driver when the call was analysed,
 * and the plan carries its hash. A column that names the tokenizer is the last child. Extends
 * Expression itself, since Java can't extend the Scala traits between (UnaryExpression and others).
 * Methods without {@code @Override} where one could stand are not in every Spark version that we
 * compile with.
 */
final class TokenizerFunction extends Expression implements Serializable {
  private static final long serialVersionUID = 1L;
  private static final List<String> ORDINALS = List.of("first", "second", "third");

  private final Operation operation;
  private final Seq<Expression> children;
  private final TokenizerChoice choice;

  /** The arguments that are no children, as SQL, beginning with a comma; for names of columns. */
  private final String furtherArguments;

  TokenizerFunction(
      Operation operation,
      Seq<Expression> children,
      TokenizerChoice choice,
      String furtherArguments) {
    this.operation = operation;
    this.children = children;
    this.choice = choice;
    this.furtherArguments = furtherArguments;
  }

  @Override
  public Seq<Expression> children() {
    return children;
  }

  private List<Expression> childList() {
    return CollectionConverters.asJava(children);
  }

  @Override
  public Expression withNewChildrenInternal(IndexedSeq<Expression> newChildren) {
    return new TokenizerFunction(operation, newChildren, choice, furtherArguments);
  }

  @Override
  public DataType dataType() {
    return operation.result(first());
  }

  private DataType first() {
    return operation.arguments().isEmpty() ? null : children.head().dataType();
  }

  @Override
  public TypeCheckResult checkInputDataTypes() {
    for (int i = 0; i < operation.arguments().size(); i++) {
      Expression child = children.apply(i);
      DataType type = child.dataType();
      String required = type instanceof NullType ? null : operation.required(i, type);
      if (required != null) {
        return new TypeCheckResult.DataTypeMismatch(
            "UNEXPECTED_INPUT_TYPE",
            Map$.MODULE$.from(
                CollectionConverters.asScala(
                    Map.of(
                        "paramIndex",
                        ORDINALS.get(i) + " (`" + operation.arguments().get(i) + "`)",
                        "requiredType",
                        required,
                        "inputSql",
                        '"' + child.sql() + '"',
                        "inputType",
                        '"' + type.sql() + '"'))));
      }
    }
    return TypeCheckResult.TypeCheckSuccess$.MODULE$;
  }

  @Override
  public boolean nullable() {
    return choice.nullOnError() || childList().stream().anyMatch(Expression::nullable);
  }

  public boolean nullIntolerant() {
    return true;
  }

  @Override
  public boolean foldable() {
    return childList().stream().allMatch(Expression::foldable);
  }

  public boolean throwable() {
    return true;
  }

  /** Filters on other columns go first. */
  public boolean expensive() {
    return true;
  }

  @Override
  public Object eval(InternalRow input) {
    Object[] values = new Object[children.size()];
    for (int i = 0; i < values.length; i++) {
      values[i] = children.apply(i).eval(input);
      if (values[i] == null) {
        return null;
      }
    }
    TokenizerCall call =
        choice instanceof TokenizerCallByName byName
            ? byName.of((UTF8String) values[values.length - 1])
            : (TokenizerCall) choice;
    return operation.apply(call, first(), values);
  }

  @Override
  public ExprCode doGenCode(CodegenContext context, ExprCode result) {
    if (childList().stream().anyMatch(child -> child.dataType() instanceof NullType)) {
      return ExprCode.forNullValue(dataType());
    }
    Code code = new Code();
    List<ExprCode> inputs = childList().stream().map(child -> child.genCode(context)).toList();
    inputs.forEach(input -> code.add(input.code()));
    String type = CodeGenerator.javaType(dataType());
    String tokenizer = context.addReferenceObj("tokenizer", choice, choice.getClass().getName());
    if (nullable()) {
      code.add("\nboolean " + result.isNull() + " = false");
      for (int i = 0; i < inputs.size(); i++) {
        if (children.apply(i).nullable()) {
          code.add(" || ").add(inputs.get(i).isNull());
        }
      }
      String none = CodeGenerator.defaultValue(dataType(), false);
      code.add(";\n" + type + " " + result.value() + " = " + none + ";\n");
      code.add("if (!" + result.isNull() + ") {\n" + result.value() + " = " + tokenizer);
    } else {
      code.add("\n" + type + " " + result.value() + " = " + tokenizer);
    }
    if (choice instanceof TokenizerCallByName) {
      code.add(".of(").add(inputs.get(inputs.size() - 1).value()).add(")");
    }
    code.add("." + operation.method(first()) + "(");
    for (int i = 0; i < operation.arguments().size(); i++) {
      code.add(i == 0 ? "" : ", ").add(inputs.get(i).value());
    }
    code.add(");");
    if (!nullable()) {
      return result.copy(code.block(), FalseLiteral$.MODULE$, result.value());
    }
    if (choice.nullOnError()) {
      code.add("\n" + result.isNull() + " = " + result.value() + " == null;");
    }
    return result.copy(code.add("\n}").block(), result.isNull(), result.value());
  }

  /** Code with its inputs apart, as Spark wants it: it follows the values that code reads. */
  private static final class Code {
    private final List<String> parts = new ArrayList<>(List.of(""));
    private final List<JavaCode> inputs = new ArrayList<>();

    Code add(String text) {
      parts.set(parts.size() - 1, parts.get(parts.size() - 1) + text);
      return this;
    }

    Code add(JavaCode input) {
      inputs.add(input);
      parts.add("");
      return this;
    }

    CodeBlock block() {
      return new CodeBlock(
          CollectionConverters.asScala(parts).toSeq(),
          CollectionConverters.asScala(inputs).toSeq());
    }
  }

  @Override
  public String prettyName() {
    return choice.function();
  }

  @Override
  public String toString() {
    return childList().stream()
        .map(child -> child + ", ")
        .collect(Collectors.joining("", prettyName() + "(", choice + ")"));
  }

  @Override
  public String sql() {
    String arguments =
        childList().stream().map(Expression::sql).collect(Collectors.joining(", "))
            + furtherArguments;
    // A function without children has no argument before the comma.
    return prettyName()
        + "("
        + (children.isEmpty() && !arguments.isEmpty() ? arguments.substring(2) : arguments)
        + ")";
  }

  @Override
  public int productArity() {
    return 4;
  }

  @Override
  public Object productElement(int index) {
    return switch (index) {
      case 0 -> operation;
      case 1 -> children;
      case 2 -> choice;
      case 3 -> furtherArguments;
      default -> throw new IndexOutOfBoundsException(index);
    };
  }

  @Override
  public boolean canEqual(Object other) {
    return other instanceof TokenizerFunction;
  }

  /** Without the arguments' text: the choice has what they mean. */
  @Override
  public boolean equals(Object other) {
    return other instanceof TokenizerFunction that
        && operation == that.operation
        && children.equals(that.children)
        && choice.equals(that.choice);
  }

  @Override
  public int hashCode() {
    return Objects.hash(operation.name(), children, choice);
  }
}
