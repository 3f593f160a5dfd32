package dev.quern.job;

import org.apache.hadoop.mapreduce.Job;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructType;
import scala.collection.immutable.Map$;

/** {@code --format arrow}: Arrow IPC files, also known as Feather version 2. */
public class ArrowTokenFormat extends TokenFileFormat {
  private static final long serialVersionUID = 1L;

  @Override
  RowFile.Opener prepare(
      SparkSession session,
      Job job,
      scala.collection.immutable.Map<String, String> options,
      StructType schema) {
    // The quarantine is Parquet, whatever the tokens are.
    ParquetRowFile.prepare(session, job, Map$.MODULE$.empty(), schema);
    return ArrowRowFile.prepare(session, options, schema);
  }
}
