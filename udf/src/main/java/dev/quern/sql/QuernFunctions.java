package dev.quern.sql;

import dev.quern.sql.FunctionOptions.Option;
import dev.quern.sql.TokenizerFunction.Detokenize;
import dev.quern.sql.TokenizerFunction.TokenCount;
import dev.quern.sql.TokenizerFunction.Tokenize;
import dev.quern.tokenizer.TokenizerException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.apache.spark.sql.AnalysisException;
import org.apache.spark.sql.catalyst.FunctionIdentifier;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.ExpressionInfo;
import org.apache.spark.sql.catalyst.expressions.NamedArgumentExpression;
import org.apache.spark.sql.catalyst.trees.CurrentOrigin;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.catalyst.util.MapData;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.internal.SQLConf;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.MapType;
import org.apache.spark.sql.types.NullType;
import org.apache.spark.sql.types.StringType;
import scala.Function1;
import scala.Option$;
import scala.Tuple3;
import scala.collection.immutable.Map$;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * The SQL functions: what DESCRIBE FUNCTION says of each, and how a call becomes an expression.
 * Here the arguments {@code tokenizer} and {@code options} are evaluated and the tokenizer is
 * resolved; so whatever is wrong with them is an error of analysis.
 */
enum QuernFunctions {
  TOKENIZE(
      "tokenize",
      "text",
      Option.OF_ENCODING,
      "string_funcs",
      "_FUNC_(text[, tokenizer[, options]]) - Returns the token ids of `text` as an array of INT.",
      List.of(Doc.TEXT, Doc.TOKENIZER, Doc.ENCODE_OPTIONS),
      List.of(
          "_FUNC_('Hello, world')",
          "[13225,11,2375]",
          "_FUNC_('Hello, world', 'cl100k_base')",
          "[9906,11,1917]",
          "_FUNC_('')",
          "[]",
          "_FUNC_(NULL)",
          "NULL",
          "_FUNC_(X'48656C6C6F')",
          "[13225]",
          "_FUNC_('a<|endoftext|>', options => map('special_tokens_in_text', 'token'))",
          "[64,199999]"),
      "Special tokens are not added, and text that looks like one is text, unless the options say"
          + " otherwise. Bytes that are not UTF-8 are an error, in STRING as in BINARY. Every"
          + " collation gives the same ids. The element type admits no NULL.") {
    @Override
    Expression build(Expression first, Call call, String further) {
      return new Tokenize(first, call.call(sqlName, false), further);
    }
  },

  TRY_TOKENIZE(
      "try_tokenize",
      "text",
      Option.OF_ENCODING,
      "string_funcs",
      "_FUNC_(text[, tokenizer[, options]]) - Returns the token ids of `text` as an array of INT,"
          + " or NULL if `text` can't be tokenized.",
      List.of(Doc.TEXT, Doc.TOKENIZER, Doc.ENCODE_OPTIONS),
      List.of(
          "_FUNC_('Hello, world')",
          "[13225,11,2375]",
          "_FUNC_(X'C328')",
          "NULL",
          "_FUNC_(X'C328', options => map('invalid_utf8', 'replace'))",
          "[3251,7]"),
      "NULL stands for what is wrong with a document: bytes that are not UTF-8, a special token"
          + " under 'error', a word outside a vocabulary that has no unknown token. A wrong"
          + " tokenizer or option is an error here as well.") {
    @Override
    Expression build(Expression first, Call call, String further) {
      return new Tokenize(first, call.call(sqlName, true), further);
    }
  },

  TOKEN_COUNT(
      "token_count",
      "text",
      Option.OF_ENCODING,
      "string_funcs",
      "_FUNC_(text[, tokenizer[, options]]) - Returns the number of token ids of `text` as an INT.",
      List.of(Doc.TEXT, Doc.TOKENIZER, Doc.ENCODE_OPTIONS),
      List.of(
          "_FUNC_('Hello, world')",
          "3",
          "_FUNC_('Hello, world', tokenizer => 'gpt2')",
          "3",
          "_FUNC_('')",
          "0"),
      "The same as size(tokenize(text, ...)), without making the ids.") {
    @Override
    Expression build(Expression first, Call call, String further) {
      return new TokenCount(first, call.call(sqlName, false), further);
    }
  },

  DETOKENIZE(
      "detokenize",
      "ids",
      Option.OF_DECODING,
      "string_funcs",
      "_FUNC_(ids[, tokenizer[, options]]) - Returns the text of an array of token ids.",
      List.of(
          "ids - an array of INT or BIGINT without NULLs; NULL gives NULL, an empty array ''.",
          Doc.TOKENIZER,
          "options - a constant map of strings: skip_special_tokens (true or false, the default),"
              + " engine (auto, fast or reference), special_tokens_in_text, and for .tiktoken files"
              + " pattern and special_tokens."),
      List.of(
          "_FUNC_(array(13225, 11, 2375))",
          "Hello, world",
          "_FUNC_(tokenize('naïve 東京', 'cl100k_base'), 'cl100k_base')",
          "naïve 東京",
          "_FUNC_(array(64, 199999), options => map('skip_special_tokens', 'true'))",
          "a"),
      "Ids that begin or end within a character give U+FFFD for the part. An id that is not in the"
          + " vocabulary is an error.") {
    @Override
    Expression build(Expression first, Call call, String further) {
      return new Detokenize(first, call.call(sqlName, false), further);
    }
  },

  TOKENIZER_ID(
      "tokenizer_id",
      null,
      Option.OF_TOKENIZER,
      "misc_funcs",
      "_FUNC_([tokenizer[, options]]) - Returns the content hash of a tokenizer: two that give"
          + " different ids have different hashes.",
      List.of(
          Doc.TOKENIZER,
          "options - a constant map of strings: special_tokens_in_text (text, token or error),"
              + " engine, and for .tiktoken files pattern and special_tokens."),
      List.of("length(_FUNC_())", "64", "_FUNC_('gpt2') = _FUNC_('r50k_base')", "true"),
      "It is SHA-256, as 64 hexadecimal digits, of the tokenizer's file and of the options that"
          + " change ids.") {
    @Override
    Expression build(Expression first, Call call, String further) {
      return new TokenizerId(call.reference(), further.isEmpty() ? "" : further.substring(2));
    }
  };

  /** Parts of the documentation that several functions share. */
  private static final class Doc {
    static final String TEXT = "text - a STRING, or a BINARY that holds UTF-8; NULL gives NULL.";
    static final String TOKENIZER =
        "tokenizer - a constant STRING: a built-in name (o200k_base, cl100k_base, p50k_base,"
            + " r50k_base or gpt2), a name mapped by spark.quern.tokenizers.<name>, or the URI of a"
            + " tokenizer.json or .tiktoken file that spark.quern.allowedTokenizerPaths allows."
            + " Default: spark.quern.tokenizer.";
    static final String ENCODE_OPTIONS =
        "options - a constant map of strings: add_special_tokens (true or false, the default),"
            + " special_tokens_in_text (text, token or error), invalid_utf8 (strict or replace),"
            + " engine (auto, fast or reference), and for .tiktoken files pattern and"
            + " special_tokens.";
  }

  /** A call's tokenizer and options. */
  record Call(TokenizerReference reference, FunctionOptions options) {
    TokenizerCall call(String function, boolean nullOnError) {
      return new TokenizerCall(
          function, reference, options.encode(), options.skipSpecialTokens(), nullOnError);
    }
  }

  final String sqlName;
  private final boolean hasFirst;
  private final Set<Option> options;
  private final List<String> parameters;
  private final Tuple3<FunctionIdentifier, ExpressionInfo, Function1<Seq<Expression>, Expression>>
      description;

  /**
   * @param firstArgument name of the argument before {@code tokenizer}; null if there is none
   * @param arguments what DESCRIBE FUNCTION EXTENDED says of each argument
   * @param examples an expression and its value as spark-sql prints it, in turn; tests run them
   */
  QuernFunctions(
      String sqlName,
      String firstArgument,
      Set<Option> options,
      String group,
      String usage,
      List<String> arguments,
      List<String> examples,
      String note) {
    this.sqlName = sqlName;
    this.hasFirst = firstArgument != null;
    this.options = options;
    this.parameters =
        hasFirst ? List.of(firstArgument, "tokenizer", "options") : List.of("tokenizer", "options");

    // The indentation is Spark's; ExpressionInfo checks some of it.
    StringBuilder argumentText = new StringBuilder("\n    Arguments:\n");
    arguments.forEach(line -> argumentText.append("      * ").append(line).append('\n'));
    StringBuilder exampleText = new StringBuilder("\n    Examples:\n");
    for (int i = 0; i < examples.size(); i += 2) {
      exampleText.append("      > SELECT ").append(examples.get(i)).append(";\n");
      exampleText.append("       ").append(examples.get(i + 1)).append('\n');
    }
    ExpressionInfo info =
        new ExpressionInfo(
            TokenizerFunction.class.getName(),
            null,
            sqlName,
            usage,
            argumentText.toString(),
            exampleText.append("  ").toString(),
            "\n      " + note + "\n  ",
            group,
            "0.1.0",
            "",
            "built-in");
    this.description = new Tuple3<>(new FunctionIdentifier(sqlName), info, this::expression);
  }

  /**
   * @param first the argument before {@code tokenizer}; null for a function without one
   * @param further the other arguments as SQL, beginning with a comma; for names of columns
   */
  abstract Expression build(Expression first, Call call, String further);

  /**
   * As SparkSessionExtensions takes it. Always the same object: an extension that is found twice
   * (as a service and by spark.sql.extensions) then replaces nothing.
   */
  Tuple3<FunctionIdentifier, ExpressionInfo, Function1<Seq<Expression>, Expression>> description() {
    return description;
  }

  private Expression expression(Seq<Expression> given) {
    try {
      Expression[] arguments = inOrder(CollectionConverters.asJava(given));
      Expression tokenizer = arguments[hasFirst ? 1 : 0];
      Expression optionMap = arguments[hasFirst ? 2 : 1];
      // The configuration of this analysis, which inside a view is the view's.
      SQLConf conf = SQLConf.get();
      FunctionOptions parsed =
          FunctionOptions.parse(optionMap == null ? Map.of() : optionMap(optionMap), options, conf);
      String name = tokenizer == null ? QuernConf.TOKENIZER.value(conf) : tokenizerName(tokenizer);
      TokenizerReference reference =
          TokenizerResolver.resolve(SparkSession.active(), name, parsed, false);
      return build(
          hasFirst ? arguments[0] : null,
          new Call(reference, parsed),
          (tokenizer == null ? "" : ", " + tokenizer.sql())
              + (optionMap == null ? "" : ", options => " + optionMap.sql()));
    } catch (TokenizerException | IllegalArgumentException e) {
      throw QuernFunctions.<RuntimeException>unchecked(
          analysisError(sqlName + ": " + e.getMessage(), e));
    }
  }

  /**
   * The arguments by position, null where one is not given. Spark's own helper for named arguments
   * is closed to functions of extensions, and its parts change from version to version.
   */
  private Expression[] inOrder(List<Expression> given) {
    String signature = "; it takes " + String.join(", ", parameters);
    if (given.size() > parameters.size()) {
      throw new IllegalArgumentException("there are " + given.size() + " arguments" + signature);
    }
    Expression[] arguments = new Expression[parameters.size()];
    boolean named = false;
    for (int i = 0; i < given.size(); i++) {
      int index = i;
      Expression value = given.get(i);
      if (value instanceof NamedArgumentExpression argument) {
        named = true;
        value = argument.value();
        index = parameters.indexOf(argument.key().toLowerCase(Locale.ROOT));
        if (index < 0) {
          throw new IllegalArgumentException(
              "there is no argument named `" + argument.key() + "`" + signature);
        }
      } else if (named) {
        throw new IllegalArgumentException(
            "argument " + (i + 1) + " has no name but follows one that has; name it as well");
      }
      if (arguments[index] != null) {
        throw new IllegalArgumentException(
            "the argument `" + parameters.get(index) + "` is given twice");
      }
      arguments[index] = value;
    }
    if (hasFirst && arguments[0] == null) {
      throw new IllegalArgumentException(
          "the argument `" + parameters.get(0) + "` is missing" + signature);
    }
    return arguments;
  }

  private static String tokenizerName(Expression argument) {
    if (!(argument.dataType() instanceof StringType)) {
      throw wrongType("tokenizer", "STRING", argument);
    }
    if (!argument.foldable()) {
      throw new IllegalArgumentException(
          "the argument `tokenizer` has to be a constant in this version, and "
              + argument.sql()
              + " is not; write a literal, or set "
              + QuernConf.TOKENIZER.key());
    }
    return String.valueOf(constant("tokenizer", argument)).strip();
  }

  private static Map<String, String> optionMap(Expression argument) {
    if (!(argument.dataType() instanceof MapType map)
        || !isText(map.keyType())
        || !isText(map.valueType())) {
      throw wrongType("options", "MAP<STRING, STRING>", argument);
    }
    if (!argument.foldable()) {
      throw new IllegalArgumentException(
          "the argument `options` has to be a constant, and "
              + argument.sql()
              + " is not; write it as map('name', 'value', ...)");
    }
    MapData entries = (MapData) constant("options", argument);
    ArrayData keys = entries.keyArray();
    ArrayData values = entries.valueArray();
    Map<String, String> result = new LinkedHashMap<>();
    for (int i = 0; i < entries.numElements(); i++) {
      result.put(
          keys.getUTF8String(i).toString(),
          values.isNullAt(i) ? null : values.getUTF8String(i).toString());
    }
    return result;
  }

  private static boolean isText(DataType type) {
    // NullType is that of map() without entries.
    return type instanceof StringType || type instanceof NullType;
  }

  private static Object constant(String argument, Expression expression) {
    Object value;
    try {
      value = expression.eval(null);
    } catch (RuntimeException e) {
      throw new IllegalArgumentException(
          "the argument `"
              + argument
              + "` can't be evaluated before the query runs; write it as a literal",
          e);
    }
    if (value == null) {
      throw new IllegalArgumentException(
          "the argument `" + argument + "` is NULL; leave it out for the default");
    }
    return value;
  }

  private static IllegalArgumentException wrongType(
      String argument, String required, Expression expression) {
    return new IllegalArgumentException(
        "the argument `"
            + argument
            + "` has to be a "
            + required
            + ", and "
            + expression.sql()
            + " is of type "
            + expression.dataType().sql());
  }

  /**
   * An error of analysis with that message, where the query stands. Spark's registry of conditions
   * is closed to us, and PySpark can't print an error without one, so it has the one that passes
   * any message on.
   */
  static AnalysisException analysisError(String message, Throwable cause) {
    return new AnalysisException(
        "USER_RAISED_EXCEPTION",
        Map$.MODULE$.<String, String>empty().updated("errorMessage", message),
        CurrentOrigin.get(),
        Option$.MODULE$.apply(cause));
  }

  /** Scala code declares no exceptions: what is checked in Java may pass through it. */
  @SuppressWarnings("unchecked")
  static <E extends Throwable> E unchecked(Throwable exception) throws E {
    throw (E) exception;
  }
}
