package dev.quern.job;

import java.io.IOException;
import java.io.Serializable;
import java.io.UncheckedIOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.Job;
import org.apache.spark.TaskContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.execution.datasources.FileFormat;
import org.apache.spark.sql.execution.datasources.OutputWriterFactory;
import org.apache.spark.sql.execution.datasources.PartitionedFile;
import org.apache.spark.sql.sources.DataSourceRegister;
import org.apache.spark.sql.sources.Filter;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.util.SerializableConfiguration;
import org.apache.spark.util.TaskCompletionListener;
import scala.Function1;
import scala.Option;
import scala.collection.Iterator;
import scala.collection.immutable.Map;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;
import scala.reflect.ClassTag$;
import scala.runtime.AbstractFunction1;

/**
 * {@code df.write().format("quern_arrow")} and {@code CREATE TABLE ... USING quern_arrow}: Arrow
 * IPC files (Feather version 2), written and read. All columns have the types that Spark gives them
 * in Arrow; {@link WriteOptions} has the options. A file is read in parts, by its record batches.
 */
public final class QuernArrowFormat implements FileFormat, DataSourceRegister, Serializable {
  private static final long serialVersionUID = 1L;

  @Override
  public String shortName() {
    return "quern_arrow";
  }

  @Override
  public String toString() {
    return "quern_arrow";
  }

  @Override
  public boolean supportDataType(DataType type) {
    return ArrowRowFile.supports(type);
  }

  @Override
  public boolean isSplitable(SparkSession session, Map<String, String> options, Path path) {
    return true;
  }

  /** Of one of the files: they are taken to be alike. */
  @Override
  public Option<StructType> inferSchema(
      SparkSession session, Map<String, String> parameters, Seq<FileStatus> files) {
    if (files.isEmpty()) {
      return Option.empty();
    }
    Path path = files.head().getPath();
    try {
      Configuration configuration =
          ((org.apache.spark.sql.classic.SparkSession) session)
              .sessionState()
              .newHadoopConfWithOptions(parameters);
      return Option.apply(ArrowBatches.schema(path, configuration));
    } catch (IOException e) {
      throw new UncheckedIOException("can't read the schema of " + path, e);
    }
  }

  @Override
  public OutputWriterFactory prepareWrite(
      SparkSession session, Job job, Map<String, String> options, StructType dataSchema) {
    return new RowFileWriters(ArrowRowFile.prepare(session, options, dataSchema));
  }

  @Override
  public Function1<PartitionedFile, Iterator<InternalRow>> buildReader(
      SparkSession session,
      StructType dataSchema,
      StructType partitionSchema,
      StructType requiredSchema,
      Seq<Filter> filters,
      Map<String, String> options,
      Configuration configuration) {
    return new Reader(
        requiredSchema,
        session
            .sparkContext()
            .broadcast(
                new SerializableConfiguration(configuration),
                ClassTag$.MODULE$.apply(SerializableConfiguration.class)));
  }

  private static final class Reader
      extends AbstractFunction1<PartitionedFile, Iterator<InternalRow>> implements Serializable {
    private static final long serialVersionUID = 1L;
    private final StructType schema;
    private final Broadcast<SerializableConfiguration> configuration;

    Reader(StructType schema, Broadcast<SerializableConfiguration> configuration) {
      this.schema = schema;
      this.configuration = configuration;
    }

    @Override
    public Iterator<InternalRow> apply(PartitionedFile part) {
      Path path = part.toPath();
      try {
        ArrowBatches batches =
            new ArrowBatches(
                path, configuration.value().value(), schema, part.start(), part.length());
        TaskContext task = TaskContext.get();
        if (task != null) {
          task.addTaskCompletionListener((TaskCompletionListener) ended -> batches.close());
        }
        return CollectionConverters.asScala(batches);
      } catch (IOException e) {
        throw new UncheckedIOException("can't read " + path, e);
      }
    }
  }
}
