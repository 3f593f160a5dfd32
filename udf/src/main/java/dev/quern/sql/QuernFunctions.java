package dev.quern.sql;

import dev.quern.sql.FunctionOptions.Option;
import dev.quern.sql.TokenizerCall.How;
import dev.quern.tokenizer.TokenizerException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;
import org.apache.spark.sql.AnalysisException;
import org.apache.spark.sql.catalyst.FunctionIdentifier;
import org.apache.spark.sql.catalyst.expressions.Expression;
import org.apache.spark.sql.catalyst.expressions.ExpressionInfo;
import org.apache.spark.sql.catalyst.expressions.Literal;
import org.apache.spark.sql.catalyst.expressions.NamedArgumentExpression;
import org.apache.spark.sql.catalyst.trees.CurrentOrigin;
import org.apache.spark.sql.catalyst.util.ArrayData;
import org.apache.spark.sql.catalyst.util.MapData;
import org.apache.spark.sql.classic.SparkSession;
import org.apache.spark.sql.internal.SQLConf;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
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
      Operation.TOKENIZE,
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
          + " collation gives the same ids. The element type admits no NULL."),

  TRY_TOKENIZE(
      "try_tokenize",
      Operation.TOKENIZE,
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
          + " tokenizer or option is an error here as well."),

  TOKEN_COUNT(
      "token_count",
      Operation.TOKEN_COUNT,
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
      "The same as size(tokenize(text, ...)), without making the ids."),

  TOKENIZE_WITH_OFFSETS(
      "tokenize_with_offsets",
      Operation.OFFSETS,
      Option.OF_OFFSETS,
      "string_funcs",
      "_FUNC_(text[, tokenizer[, options]]) - Returns the token ids of `text`, each with the part of"
          + " the text that it stands for, as an array of STRUCT<id: INT, begin: INT, end: INT>.",
      List.of(Doc.TEXT, Doc.TOKENIZER, Doc.ENCODE_OPTIONS + Doc.OFFSETS),
      List.of(
          "_FUNC_('naïve 東京')",
          "[{\"id\":1503,\"begin\":0,\"end\":2},{\"id\":9954,\"begin\":2,\"end\":3},{\"id\":737,\"begin\":3,\"end\":5},{\"id\":185244,\"begin\":5,\"end\":8}]",
          "transform(_FUNC_('naïve 東京'), t -> substring('naïve 東京', t.begin + 1, t.end - t.begin))",
          "[\"na\",\"ï\",\"ve\",\" 東京\"]",
          "_FUNC_('naïve 東京', options => map('offsets', 'bytes'))",
          "[{\"id\":1503,\"begin\":0,\"end\":2},{\"id\":9954,\"begin\":2,\"end\":4},{\"id\":737,\"begin\":4,\"end\":6},{\"id\":185244,\"begin\":6,\"end\":13}]"),
      "The ids are those of tokenize. Positions count from 0, and `end` is behind the last one: the"
          + " text of a token t is substring(text, t.begin + 1, t.end - t.begin). A token that is a"
          + " part of a character has the positions of the whole character; a special token that"
          + " was added has 0 and 0. Some tokenizers leave blanks out of the offsets, as their file"
          + " says. Under 'invalid_utf8' 'replace' bytes are those of the text as given, characters"
          + " those of the text with the replacements."),

  TRUNCATE_TOKENS(
      "truncate_tokens",
      Operation.TRUNCATE,
      Option.OF_ENCODING,
      "string_funcs",
      "_FUNC_(text, max_tokens[, tokenizer[, options]]) - Returns the beginning of `text` that has at"
          + " most `max_tokens` tokens.",
      List.of(Doc.TEXT, Doc.MAX_TOKENS, Doc.TOKENIZER, Doc.ENCODE_OPTIONS),
      List.of(
          "_FUNC_('Hello, world', 2)",
          "Hello,",
          "_FUNC_('Hello, world', max_tokens => 100)",
          "Hello, world",
          "_FUNC_('naïve 🦙🦙', 4, 'gpt2')",
          "naïve"),
      "What is guaranteed: the result is `text` itself if that has no more than `max_tokens` tokens,"
          + " else a beginning of it; token_count of the result, with the same tokenizer and"
          + " options, is at most `max_tokens`; no character (code point) is cut; and it ends where"
          + " a token of `text` does. Its ids are as a rule the first ids of `text`, but need not"
          + " be: alone, a beginning can have other tokens, and where it would have more than"
          + " `max_tokens`, further tokens are cut off. `max_tokens` counts special tokens that the"
          + " options add. The whole text is tokenized, whatever `max_tokens` is. The result has"
          + " the type of `text`, with U+FFFD for bad bytes under 'invalid_utf8' 'replace'."),

  CHUNK_TOKENS(
      "chunk_tokens",
      Operation.CHUNK,
      Option.OF_OFFSETS,
      "string_funcs",
      "_FUNC_(text, max_tokens[, overlap[, tokenizer[, options]]]) - Returns `text` in chunks of at"
          + " most `max_tokens` tokens that overlap by `overlap` tokens, as an array of"
          + " STRUCT<text: STRING, begin: INT, end: INT, token_count: INT>.",
      List.of(
          Doc.TEXT,
          Doc.MAX_TOKENS,
          "overlap - a whole number from 0, the default, to less than max_tokens: how many tokens of"
              + " the text a chunk shares with the one before.",
          Doc.TOKENIZER,
          Doc.ENCODE_OPTIONS + Doc.OFFSETS),
      List.of(
          "_FUNC_('one two three four', 2)",
          "[{\"text\":\"one two\",\"begin\":0,\"end\":7,\"token_count\":2},{\"text\":\" three four\",\"begin\":7,\"end\":18,\"token_count\":2}]",
          "_FUNC_('one two three four', 3, overlap => 1).text",
          "[\"one two three\",\" three four\"]",
          "_FUNC_('', 3)",
          "[]"),
      "What is guaranteed: the first chunk begins where `text` does and the last one ends where it"
          + " does; each begins in or right behind the one before, so that nothing is lost; `begin`"
          + " and `end` say where it stands, as in tokenize_with_offsets; `token_count` is what"
          + " token_count gives for the chunk's text with the same tokenizer and options, and is at"
          + " most `max_tokens`; no character (code point) is cut. Chunks begin and end where"
          + " tokens of `text` do, and the overlap is counted in those: more by the rest of a"
          + " character that would be cut, less where a chunk would begin or end no later than the"
          + " one before. It is an error if `max_tokens` is too small for a single character. '' has no"
          + " chunks. inline(chunk_tokens(...)) makes a row of each."),

  DETOKENIZE(
      "detokenize",
      Operation.DETOKENIZE,
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
          + " vocabulary is an error."),

  TOKENIZER_ID(
      "tokenizer_id",
      Operation.TOKENIZER_ID,
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
          + " change ids.");

  /** Parts of the documentation that several functions share. */
  private static final class Doc {
    static final String TEXT = "text - a STRING, or a BINARY that holds UTF-8; NULL gives NULL.";
    static final String MAX_TOKENS = "max_tokens - a whole number; NULL gives NULL.";
    static final String TOKENIZER =
        "tokenizer - a STRING: a built-in name (o200k_base, cl100k_base, p50k_base, r50k_base or"
            + " gpt2) or a name mapped by spark.quern.tokenizers.<name>; if it is a constant, also"
            + " the URI of a tokenizer.json or .tiktoken file that"
            + " spark.quern.allowedTokenizerPaths allows. Default: spark.quern.tokenizer. In a"
            + " column NULL gives NULL.";
    static final String ENCODE_OPTIONS =
        "options - a constant map of strings: add_special_tokens (true or false, the default),"
            + " special_tokens_in_text (text, token or error), invalid_utf8 (strict or replace),"
            + " engine (auto, fast or reference), and for .tiktoken files pattern and"
            + " special_tokens.";
    static final String OFFSETS =
        " offsets: characters (of a STRING the default) or bytes (of a BINARY the default), as"
            + " substring counts.";
  }

  final String sqlName;
  private final Operation operation;
  private final Set<Option> options;
  private final List<String> parameters;
  private final Tuple3<FunctionIdentifier, ExpressionInfo, Function1<Seq<Expression>, Expression>>
      description;

  /**
   * @param operation which also names the arguments before {@code tokenizer}
   * @param arguments what DESCRIBE FUNCTION EXTENDED says of each argument
   * @param examples an expression and its value as spark-sql prints it, in turn; tests run them
   */
  QuernFunctions(
      String sqlName,
      Operation operation,
      Set<Option> options,
      String group,
      String usage,
      List<String> arguments,
      List<String> examples,
      String note) {
    this.sqlName = sqlName;
    this.operation = operation;
    this.options = options;
    this.parameters =
        Stream.concat(operation.arguments().stream(), Stream.of("tokenizer", "options")).toList();

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
   * As SparkSessionExtensions takes it. Always the same object: an extension that is found twice
   * (as a service and by spark.sql.extensions) then replaces nothing.
   */
  Tuple3<FunctionIdentifier, ExpressionInfo, Function1<Seq<Expression>, Expression>> description() {
    return description;
  }

  private Expression expression(Seq<Expression> given) {
    try {
      Expression[] arguments = inOrder(CollectionConverters.asJava(given));
      int count = operation.arguments().size();
      List<Expression> children = new ArrayList<>(Arrays.asList(arguments).subList(0, count));
      Expression tokenizer = arguments[count];
      Expression optionMap = arguments[count + 1];
      // The configuration of this analysis, which inside a view is the view's.
      SQLConf conf = SQLConf.get();
      FunctionOptions parsed =
          FunctionOptions.parse(optionMap == null ? Map.of() : optionMap(optionMap), options, conf);
      How how = new How(sqlName, parsed, this == TRY_TOKENIZE);
      SparkSession session = SparkSession.active();
      TokenizerChoice choice;
      String further = optionMap == null ? "" : ", options => " + optionMap.sql();
      if (tokenizer != null && !(tokenizer.dataType() instanceof StringType)) {
        throw wrongType("tokenizer", "STRING", tokenizer);
      }
      if (tokenizer != null && !tokenizer.foldable()) {
        choice = new TokenizerCallByName(how, TokenizerResolver.resolveAll(session, parsed));
        children.add(tokenizer);
      } else {
        String name =
            tokenizer == null
                ? QuernConf.TOKENIZER.value(conf)
                : String.valueOf(constant("tokenizer", tokenizer)).strip();
        choice = new TokenizerCall(how, TokenizerResolver.resolve(session, name, parsed, false));
        further = (tokenizer == null ? "" : ", " + tokenizer.sql()) + further;
      }
      return new TokenizerFunction(
          operation, CollectionConverters.asScala(children).toSeq(), choice, further);
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
    for (int i = 0; i < operation.arguments().size(); i++) {
      if (arguments[i] == null && parameters.get(i).equals("overlap")) {
        arguments[i] = Literal.create(0, DataTypes.IntegerType);
      }
      if (arguments[i] == null) {
        throw new IllegalArgumentException(
            "the argument `" + parameters.get(i) + "` is missing" + signature);
      }
    }
    return arguments;
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
