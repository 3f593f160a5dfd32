package dev.quern.bench;

import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;

/** What a spark-submit of Quern is compared with: a job that reads the text and discards it. */
public final class PipelineScan {
  private PipelineScan() {}

  /** Reads the folder of Parquet files that is named. */
  public static void main(String[] arguments) throws java.io.IOException {
    try (SparkSession session = SparkSession.builder().getOrCreate()) {
      scan(session, arguments[0]);
    }
  }

  static void scan(SparkSession session, String input) {
    session
        .read()
        .parquet(input)
        .select("text")
        .write()
        .format("noop")
        .mode(SaveMode.Overwrite)
        .save();
  }
}
