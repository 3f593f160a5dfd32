package dev.quern.job;

import org.apache.hadoop.mapreduce.Job;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.execution.datasources.OutputWriterFactory;
import org.apache.spark.sql.execution.datasources.parquet.ParquetFileFormat;
import org.apache.spark.sql.types.StructType;

/**
 * {@code df.write().format("quern_parquet")} and {@code CREATE TABLE ... USING quern_parquet}:
 * Parquet files whose {@code array<int>} columns are written in bulk. What it takes beside Spark's
 * options of Parquet is in {@link WriteOptions}. The files are read as any Parquet files, by this
 * name too.
 */
public final class QuernParquetFormat extends ParquetFileFormat {
  private static final long serialVersionUID = 1L;

  @Override
  public String shortName() {
    return "quern_parquet";
  }

  @Override
  public String toString() {
    return "quern_parquet";
  }

  @Override
  public OutputWriterFactory prepareWrite(
      SparkSession session,
      Job job,
      scala.collection.immutable.Map<String, String> options,
      StructType dataSchema) {
    return new RowFileWriters(ParquetRowFile.prepare(session, job, options, dataSchema));
  }
}
