package dev.quern.bench;

import dev.quern.sql.TokenizerReference;
import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerSpec;
import java.util.Map;
import java.util.Set;
import java.util.function.LongSupplier;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.execution.SparkPlan;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.storage.RDDInfo;
import org.apache.spark.storage.StorageLevel;
import org.apache.spark.unsafe.types.UTF8String;

/**
 * {@code SELECT sum(token_count(text))} over the input: of a table in Spark's cache, of the files,
 * and of the files as an operator over column batches would do it, whose gain over the row
 * expression is the difference of the last two.
 */
final class PipelineCount {
  static final String CACHED = "count_cached";
  static final String FILES = "count_files";
  static final String BATCHES = "count_batches";
  static final Set<String> ALL = Set.of(CACHED, FILES, BATCHES);

  /**
   * Partitions of the cache for each thread, all of one size: files of compressed text become so
   * few that one thread would work alone at the end.
   */
  private static final int PARTITIONS = 4;

  /** The name of a tokenizer's file in SQL. */
  private static final String NAME = "measured";

  private PipelineCount() {}

  /** The configuration that SQL needs to know the task's tokenizer. */
  static Map<String, String> conf(String tokenizer) {
    return isBuiltIn(tokenizer) ? Map.of() : Map.of("spark.quern.tokenizers." + NAME, tokenizer);
  }

  private static boolean isBuiltIn(String tokenizer) {
    return TokenizerSpec.builtInNames().contains(tokenizer);
  }

  /** What makes a pass: it counts all tokens. To cache the text is no part of a pass. */
  static LongSupplier pass(SparkSession session, PipelineTask task) {
    String tokenizer = isBuiltIn(task.tokenizer()) ? task.tokenizer() : NAME;
    String count = "sum(token_count(text, '" + tokenizer + "'))";
    return switch (task.pipeline()) {
      case CACHED -> {
        Dataset<Row> text =
            session
                .read()
                .parquet(task.input())
                .select("text")
                .repartition(PARTITIONS * task.threads());
        text.persist(StorageLevel.MEMORY_ONLY()).count();
        yield () -> {
          long tokens = text.selectExpr(count).first().getLong(0);
          checkCached(session);
          return tokens;
        };
      }
      // Files are looked for in each pass, as by the other pipelines.
      case FILES -> () -> session.read().parquet(task.input()).selectExpr(count).first().getLong(0);
      case BATCHES -> () -> ofBatches(session, task);
      default -> throw new IllegalArgumentException("unknown pipeline " + task.pipeline());
    };
  }

  /** What the heap does not hold, Spark reads from the files again, and says nothing. */
  private static void checkCached(SparkSession session) {
    RDDInfo[] cached = session.sparkContext().getRDDStorageInfo();
    if (cached.length != 1 || cached[0].numCachedPartitions() < cached[0].numPartitions()) {
      throw new BenchException(
          BenchException.INPUT,
          CACHED + ": the heap does not hold the whole text; give fewer --mb");
    }
  }

  private static long ofBatches(SparkSession session, PipelineTask task) {
    TokenizerReference reference =
        TokenizerReference.resolve(session, task.tokenizer(), Map.of(), true);
    Dataset<Row> text = session.read().parquet(task.input()).select("text");
    SparkPlan plan =
        ((org.apache.spark.sql.classic.Dataset<Row>) text).queryExecution().executedPlan();
    SparkPlan scan = plan.collectLeaves().head();
    return scan.executeColumnar()
        .toJavaRDD()
        .map(batch -> tokens(reference.open(), batch))
        .fold(0L, Long::sum);
  }

  private static long tokens(NativeTokenizer tokenizer, ColumnarBatch batch) {
    ColumnVector text = batch.column(0);
    long tokens = 0;
    for (int row = 0; row < batch.numRows(); row++) {
      if (!text.isNullAt(row)) {
        UTF8String string = text.getUTF8String(row);
        tokens +=
            tokenizer.tokenCount(
                string.getBaseObject(),
                string.getBaseOffset(),
                string.numBytes(),
                EncodeOptions.DEFAULT);
      }
    }
    return tokens;
  }
}
