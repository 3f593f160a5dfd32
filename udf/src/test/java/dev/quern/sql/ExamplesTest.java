package dev.quern.sql;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.classic.Dataset;
import org.apache.spark.sql.execution.HiveResult;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import scala.jdk.javaapi.CollectionConverters;

/** Runs what DESCRIBE FUNCTION EXTENDED shows, and compares what spark-sql would print. */
class ExamplesTest {
  private static final Pattern EXAMPLE =
      Pattern.compile("^      > (SELECT .*);\n       (.*)$", Pattern.MULTILINE);

  private record Example(String query, String output) {}

  @TestFactory
  Stream<DynamicTest> everyExamplePrintsWhatItSays() {
    return Stream.of(QuernFunctions.values())
        .flatMap(
            function -> {
              List<Example> examples = examples(function.sqlName);
              assertThat(examples).as(function.sqlName).isNotEmpty();
              return examples.stream()
                  .map(
                      example ->
                          DynamicTest.dynamicTest(
                              example.query(),
                              () ->
                                  assertThat(printed(example.query()))
                                      .isEqualTo(example.output())));
            });
  }

  @Test
  void descriptionsAreComplete() {
    for (QuernFunctions function : QuernFunctions.values()) {
      String text = description(function.sqlName);
      assertThat(text)
          .as(function.sqlName)
          .contains("Function: " + function.sqlName, "Usage: ", "Arguments:", "Note:")
          .contains("Since: 0.1.0")
          .doesNotContain("_FUNC_");
    }
  }

  @Test
  void pageOfTheFunctionsIsCurrent() throws Exception {
    assertThat(Files.readString(TestSpark.CHECKOUT.resolve("udf/functions.md")))
        .as("udf/functions.md; FunctionDocs.main prints the right one")
        .isEqualTo(FunctionDocs.toMarkdown());
  }

  @Test
  void showFunctionsListsThem() {
    List<String> names =
        TestSpark.rows("SHOW FUNCTIONS").stream().map(row -> row.getString(0)).toList();
    for (QuernFunctions function : QuernFunctions.values()) {
      assertThat(names).contains(function.sqlName);
    }
  }

  private static List<Example> examples(String function) {
    List<Example> examples = new ArrayList<>();
    Matcher matcher = EXAMPLE.matcher(description(function));
    while (matcher.find()) {
      examples.add(new Example(matcher.group(1), matcher.group(2)));
    }
    return examples;
  }

  private static String description(String function) {
    return TestSpark.rows("DESCRIBE FUNCTION EXTENDED " + function).stream()
        .map(row -> row.getString(0))
        .reduce("", (a, b) -> a + "\n" + b);
  }

  private static String printed(String query) {
    Dataset<Row> result = (Dataset<Row>) TestSpark.session().sql(query);
    return String.join(
        "\n",
        CollectionConverters.asJava(
            HiveResult.hiveResultString(result.queryExecution().executedPlan())));
  }
}
