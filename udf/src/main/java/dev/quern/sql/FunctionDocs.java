package dev.quern.sql;

import java.util.Arrays;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.sql.catalyst.expressions.ExpressionInfo;

/**
 * The page udf/functions.md, from what DESCRIBE FUNCTION says of each function. ExamplesTest
 * compares the two, and runs the examples.
 */
public final class FunctionDocs {
  private FunctionDocs() {}

  private static final String HEAD =
      """
      # Quern's SQL functions

      <!-- Printed by dev.quern.sql.FunctionDocs from the functions' own descriptions; a test compares the two. -->

      They are there in spark-sql, spark-shell, PySpark, the Thrift server and Spark Connect when the jar is on the class path as Spark
      starts, and work in batch and streaming queries and in temporary and permanent views. `DESCRIBE FUNCTION EXTENDED` shows the same text.

      For all of them:

      - Arguments can be given by name: `chunk_tokens(text, max_tokens => 512, tokenizer => 'gpt2')`.
      - NULL in an argument with a value in each row gives NULL. `options` must be a constant; so must `tokenizer`, if it is a path or URI.
      - A constant tokenizer is found and checked on the driver, before any task starts; what is wrong with it is an error of analysis. `EXPLAIN` shows
        its name, the first digits of its hash and the engine. A call whose arguments are all constants is evaluated once, before the query runs.
      - A column as `tokenizer` may name a built-in tokenizer or one that the application named with `spark.quern.tokenizers.<name>`. The driver loads
        all of these when the first such query is analysed; an executor loads those that its rows name, and keeps the last
        `spark.quern.cache.tokenizers`. Any other value is an error when its row comes, a path too: data never chooses which file is read.
        A thread has caches for four tokenizers at a time: rows that change among more of them are faster sorted.
      - Bytes that are not UTF-8 are an error, unless the option `invalid_utf8` is `replace`. The message says where and what to do, and never
        repeats the text.
      """;

  /** The whole page. */
  static String toMarkdown() {
    return Stream.concat(
            Stream.of(HEAD), Arrays.stream(QuernFunctions.values()).map(FunctionDocs::section))
        .collect(Collectors.joining("\n"));
  }

  private static String section(QuernFunctions function) {
    ExpressionInfo info = function.description()._2();
    String usage = info.getUsage();
    // A key with <name> in it would be taken for HTML.
    UnaryOperator<String> keys = text -> text.replaceAll("spark\\.quern[\\w.<>]*[\\w>]", "`$0`");
    int dash = usage.indexOf(" - ");
    return "## "
        + info.getName()
        + "\n\n`"
        + usage.substring(0, dash)
        + "`\n\n"
        + usage.substring(dash + 3)
        + "\n\n"
        + lines(info.getArguments())
            .filter(line -> line.startsWith("* "))
            .map(line -> keys.apply(line).replaceFirst("^\\* (\\w+) - ", "- `$1`: ") + "\n")
            .collect(Collectors.joining())
        + "\n```sql\n"
        + lines(info.getExamples())
            .filter(line -> !line.equals("Examples:"))
            .map(line -> line.startsWith("> ") ? line.substring(2) + "\n" : "-- " + line + "\n")
            .collect(Collectors.joining())
        + "```\n\n"
        + keys.apply(info.getNote()).strip()
        + " Since "
        + info.getSince()
        + ".\n";
  }

  private static Stream<String> lines(String text) {
    return text.lines().map(String::strip).filter(line -> !line.isEmpty());
  }

  /** Prints the page. */
  public static void main(String[] arguments) {
    System.out.print(toMarkdown());
  }
}
