package dev.quern.job;

import org.apache.hadoop.mapreduce.Job;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructType;

/** {@code --format parquet}. */
public class ParquetTokenFormat extends TokenFileFormat {
  private static final long serialVersionUID = 1L;

  @Override
  RowFile.Opener prepare(
      SparkSession session,
      Job job,
      scala.collection.immutable.Map<String, String> options,
      StructType schema) {
    return ParquetRowFile.prepare(session, job, options, schema);
  }
}
