package dev.quern.job;

import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.example.data.Group;
import org.apache.parquet.example.data.simple.SimpleGroupFactory;
import org.apache.parquet.hadoop.ParquetFileWriter;
import org.apache.parquet.hadoop.ParquetWriter;
import org.apache.parquet.hadoop.example.ExampleParquetWriter;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;
import org.apache.parquet.hadoop.util.HadoopOutputFile;
import org.apache.parquet.schema.MessageType;
import org.apache.parquet.schema.MessageTypeParser;

/**
 * The samples of a run as one Parquet file, a row a sample. Counters are since the run began, so
 * that a session's earlier runs are not in them. The driver writes it itself: a Spark job for some
 * thousand rows would need executors that may be gone.
 */
final class SampleFile {

  static final MessageType SCHEMA =
      MessageTypeParser.parseMessageType(
          """
          message quern_samples {
            required binary executor_id (STRING);
            required binary host (STRING);
            required int64 process_id;
            required int32 cores;
            required int64 time (TIMESTAMP(MILLIS,true));
            required double seconds;
            required boolean last;
            required int64 rss_bytes;
            required int64 rss_peak_bytes;
            required int64 heap_used_bytes;
            required int64 heap_committed_bytes;
            required int64 non_heap_committed_bytes;
            required int64 direct_buffer_bytes;
            required int64 mapped_buffer_bytes;
            required int64 spark_off_heap_bytes;
            required int64 native_allocator_bytes;
            required int64 native_buffer_bytes;
            optional int64 cgroup_limit_bytes;
            optional int64 cgroup_use_bytes;
            required int64 documents;
            required int64 bytes;
            required int64 tokens;
            required int64 native_nanoseconds;
            required int64 tokenizers_loaded;
            required int64 gc_milliseconds;
            optional binary allocator (STRING);
          }
          """);

  private SampleFile() {}

  static void write(RunSummary run, Path file, Configuration conf) throws IOException {
    SimpleGroupFactory rows = new SimpleGroupFactory(SCHEMA);
    try (ParquetWriter<Group> writer =
        ExampleParquetWriter.builder(HadoopOutputFile.fromPath(file, conf))
            .withConf(conf)
            .withType(SCHEMA)
            .withCompressionCodec(CompressionCodecName.SNAPPY)
            .withWriteMode(ParquetFileWriter.Mode.OVERWRITE)
            .build()) {
      for (RunSummary.ExecutorPart part : run.executors()) {
        for (ExecutorSample sample : part.samples()) {
          writer.write(row(rows.newGroup(), part, sample, run.startMillis()));
        }
      }
    }
  }

  private static Group row(
      Group row, RunSummary.ExecutorPart part, ExecutorSample sample, long startMillis) {
    ExecutorSample.Memory memory = sample.memory();
    ExecutorSample.Work work = sample.work().since(part.before());
    row.append("executor_id", part.executor().id())
        .append("host", part.executor().host())
        .append("process_id", part.executor().processId())
        .append("cores", part.cores())
        .append("time", sample.timeMillis())
        .append("seconds", (sample.timeMillis() - startMillis) / 1e3)
        .append("last", sample.last())
        .append("rss_bytes", memory.resident())
        .append("rss_peak_bytes", memory.residentPeak())
        .append("heap_used_bytes", memory.heapUsed())
        .append("heap_committed_bytes", memory.heapCommitted())
        .append("non_heap_committed_bytes", memory.nonHeapCommitted())
        .append("direct_buffer_bytes", memory.directBuffers())
        .append("mapped_buffer_bytes", memory.mappedBuffers())
        .append("spark_off_heap_bytes", memory.sparkOffHeap())
        .append("native_allocator_bytes", memory.nativeAllocator())
        .append("native_buffer_bytes", memory.nativeBuffers())
        .append("documents", work.documents())
        .append("bytes", work.bytes())
        .append("tokens", work.tokens())
        .append("native_nanoseconds", work.nativeNanos())
        .append("tokenizers_loaded", work.tokenizersLoaded())
        .append("gc_milliseconds", work.gcMillis());
    if (memory.cgroupLimit() != null) {
      row.append("cgroup_limit_bytes", memory.cgroupLimit().longValue());
    }
    if (memory.cgroupUse() != null) {
      row.append("cgroup_use_bytes", memory.cgroupUse().longValue());
    }
    if (work.allocator() != null) {
      row.append("allocator", work.allocator());
    }
    return row;
  }
}
