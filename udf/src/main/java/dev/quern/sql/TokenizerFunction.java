package dev.quern.sql;

import java.io.Serializable;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.analysis.TypeCheckResult;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.codegen.CodeBlock;
import org.apache.spark.sql.catalyst.expressions.codegen.CodeGenerator;
import org.apache.spark.sql.catalyst.expressions.codegen.CodegenContext;
import org.apache.spark.sql.catalyst.expressions.codegen.ExprCode;
import org.apache.spark.sql.catalyst.expressions.codegen.FalseLiteral$;
import org.apache.spark.sql.catalyst.expressions.codegen.JavaCode;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.types.ArrayType;
import org.apache.spark.sql.types.BinaryType;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.IntegerType;
import org.apache.spark.sql.types.LongType;
import org.apache.spark.sql.types.NullType;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.unsafe.types.UTF8String;
import scala.collection.immutable.IndexedSeq;
import scala.collection.immutable.Map$;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * A Catalyst expression of one value and a tokenizer. NULL gives NULL.
 *
 * <p>The tokenizer is no child: it was resolved on the driver when the call was analysed, and the
 * plan carries its hash. Extends Expression itself, since Java can't extend the Scala traits
 * between (UnaryExpression and others). Methods without {@code @Override} where one could stand are
 * not in every Spark version that we compile with.
 */
abstract class TokenizerFunction extends Expression implements Serializable {
  private static final long serialVersionUID = 1L;

  final Expression child;
  final TokenizerCall call;

  /** The arguments after the first one, as SQL; only for names of columns. */
  final String furtherArguments;

  TokenizerFunction(Expression child, TokenizerCall call, String furtherArguments) {
    this.child = child;
    this.call = call;
    this.furtherArguments = furtherArguments;
  }

  /** What the child's type is not, for the error of analysis; null if it is right. */
  abstract String requiredType(DataType type);

  /** Name of the first argument. */
  abstract String argument();

  /** The method of {@link TokenizerCall} that compiled code calls. */
  abstract String method();

  /** The same, interpreted; the value is not null. */
  abstract Object apply(Object value);

  abstract TokenizerFunction with(Expression newChild);

  /** {@code tokenize} and {@code try_tokenize}: STRING or BINARY to ARRAY of INT. */
  static final class Tokenize extends TokenizerFunction {
    private static final long serialVersionUID = 1L;
    private static final DataType IDS = DataTypes.createArrayType(DataTypes.IntegerType, false);

    Tokenize(Expression child, TokenizerCall call, String furtherArguments) {
      super(child, call, furtherArguments);
    }

    @Override
    public DataType dataType() {
      return IDS;
    }

    @Override
    String requiredType(DataType type) {
      return requiredText(type);
    }

    @Override
    String argument() {
      return "text";
    }

    @Override
    String method() {
      return "tokenize";
    }

    @Override
    Object apply(Object value) {
      return value instanceof UTF8String text ? call.tokenize(text) : call.tokenize((byte[]) value);
    }

    @Override
    TokenizerFunction with(Expression newChild) {
      return new Tokenize(newChild, call, furtherArguments);
    }
  }

  /** {@code token_count}: STRING or BINARY to INT. */
  static final class TokenCount extends TokenizerFunction {
    private static final long serialVersionUID = 1L;

    TokenCount(Expression child, TokenizerCall call, String furtherArguments) {
      super(child, call, furtherArguments);
    }

    /** INT as Spark's length and size have: it is what an array can hold. */
    @Override
    public DataType dataType() {
      return DataTypes.IntegerType;
    }

    @Override
    String requiredType(DataType type) {
      return requiredText(type);
    }

    @Override
    String argument() {
      return "text";
    }

    @Override
    String method() {
      return "tokenCount";
    }

    @Override
    Object apply(Object value) {
      return value instanceof UTF8String text
          ? call.tokenCount(text)
          : call.tokenCount((byte[]) value);
    }

    @Override
    TokenizerFunction with(Expression newChild) {
      return new TokenCount(newChild, call, furtherArguments);
    }
  }

  /** {@code detokenize}: ARRAY of INT or BIGINT to STRING. */
  static final class Detokenize extends TokenizerFunction {
    private static final long serialVersionUID = 1L;

    Detokenize(Expression child, TokenizerCall call, String furtherArguments) {
      super(child, call, furtherArguments);
    }

    @Override
    public DataType dataType() {
      return DataTypes.StringType;
    }

    @Override
    String requiredType(DataType type) {
      boolean right =
          type instanceof ArrayType array
              && (array.elementType() instanceof IntegerType
                  || array.elementType() instanceof LongType
                  // The type of array() without elements.
                  || array.elementType() instanceof NullType);
      return right ? null : "\"ARRAY<INT>\" or \"ARRAY<BIGINT>\"";
    }

    @Override
    String argument() {
      return "ids";
    }

    @Override
    String method() {
      return isLong() ? "detokenizeLongs" : "detokenize";
    }

    private boolean isLong() {
      return ((ArrayType) child.dataType()).elementType() instanceof LongType;
    }

    @Override
    Object apply(Object value) {
      return isLong()
          ? call.detokenizeLongs((ArrayData) value)
          : call.detokenize((ArrayData) value);
    }

    @Override
    TokenizerFunction with(Expression newChild) {
      return new Detokenize(newChild, call, furtherArguments);
    }
  }

  private static String requiredText(DataType type) {
    // StringType covers every collation; a collation has no part in tokenizing.
    return type instanceof StringType || type instanceof BinaryType
        ? null
        : "\"STRING\" or \"BINARY\"";
  }

  // ---- What Catalyst asks ----------------------------------------------------------------------

  @Override
  public Seq<Expression> children() {
    return CollectionConverters.asScala(List.of(child)).toSeq();
  }

  @Override
  public Expression withNewChildrenInternal(IndexedSeq<Expression> newChildren) {
    return with(newChildren.head());
  }

  @Override
  public TypeCheckResult checkInputDataTypes() {
    DataType type = child.dataType();
    String required = type instanceof NullType ? null : requiredType(type);
    if (required == null) {
      return TypeCheckResult.TypeCheckSuccess$.MODULE$;
    }
    return new TypeCheckResult.DataTypeMismatch(
        "UNEXPECTED_INPUT_TYPE",
        Map$.MODULE$.from(
            CollectionConverters.asScala(
                Map.of(
                    "paramIndex",
                    "first (`" + argument() + "`)",
                    "requiredType",
                    required,
                    "inputSql",
                    '"' + child.sql() + '"',
                    "inputType",
                    '"' + type.sql() + '"'))));
  }

  @Override
  public boolean nullable() {
    return child.nullable() || call.nullOnError();
  }

  public boolean nullIntolerant() {
    return true;
  }

  @Override
  public boolean foldable() {
    return child.foldable();
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
    Object value = child.eval(input);
    return value == null ? null : apply(value);
  }

  @Override
  public ExprCode doGenCode(CodegenContext context, ExprCode result) {
    if (child.dataType() instanceof NullType) {
      return ExprCode.forNullValue(dataType());
    }
    ExprCode input = child.genCode(context);
    String receiver = context.addReferenceObj("tokenizer", call, TokenizerCall.class.getName());
    String type = CodeGenerator.javaType(dataType());
    String start = "\n" + type + " " + result.value() + " = ";
    String end = receiver + "." + method() + "(";
    if (!nullable()) {
      return result.copy(
          block(List.of("", start + end, ");"), input.code(), input.value()),
          FalseLiteral$.MODULE$,
          result.value());
    }
    String afterCall =
        call.nullOnError() ? result.isNull() + " = " + result.value() + " == null;\n" : "";
    return result.copy(
        block(
            List.of(
                "",
                "\nboolean " + result.isNull() + " = ",
                ";"
                    + start
                    + CodeGenerator.defaultValue(dataType(), false)
                    + ";\nif (!"
                    + result.isNull()
                    + ") {\n"
                    + result.value()
                    + " = "
                    + end,
                ");\n" + afterCall + "}"),
            input.code(),
            input.isNull(),
            input.value()),
        result.isNull(),
        result.value());
  }

  /** Code with its inputs apart, as Spark wants it: it follows the values that code reads. */
  private static CodeBlock block(List<String> parts, JavaCode... inputs) {
    return new CodeBlock(
        CollectionConverters.asScala(parts).toSeq(),
        CollectionConverters.asScala(List.of(inputs)).toSeq());
  }

  @Override
  public String prettyName() {
    return call.function();
  }

  @Override
  public String toString() {
    return prettyName() + "(" + child + ", " + call + ")";
  }

  @Override
  public String sql() {
    return prettyName() + "(" + child.sql() + furtherArguments + ")";
  }

  @Override
  public int productArity() {
    return 3;
  }

  @Override
  public Object productElement(int index) {
    return switch (index) {
      case 0 -> child;
      case 1 -> call;
      case 2 -> furtherArguments;
      default -> throw new IndexOutOfBoundsException(index);
    };
  }

  @Override
  public boolean canEqual(Object other) {
    return other != null && getClass() == other.getClass();
  }

  /** Without the arguments' text: the call has what they mean. */
  @Override
  public boolean equals(Object other) {
    return canEqual(other)
        && child.equals(((TokenizerFunction) other).child)
        && call.equals(((TokenizerFunction) other).call);
  }

  @Override
  public int hashCode() {
    return Objects.hash(getClass().getName(), child, call);
  }
}
