package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.GZIPOutputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Two attempts of the same task at the same time, on a real cluster: one is committed. One executor
 * is stopped (SIGSTOP) in its first task, and goes on when Spark has begun that task elsewhere.
 */
class SpeculationIT {
  private static final int LINES = 20_000;
  @TempDir Path folder;

  @Test
  void eachDocumentIsThereOnceWhenASlowTaskIsDoneTwice() throws Exception {
    // One task each: compressed files can't be split.
    Path in = Files.createDirectory(folder.resolve("in"));
    String line = "the same long line again " + "and again ".repeat(20) + "\n";
    for (String name : List.of("a.txt.gz", "b.txt.gz")) {
      try (OutputStream zip = new GZIPOutputStream(Files.newOutputStream(in.resolve(name)))) {
        zip.write(line.repeat(LINES).getBytes(StandardCharsets.UTF_8));
      }
    }
    Path out = folder.resolve("out");
    try (StandaloneCluster cluster = new StandaloneCluster(folder.resolve("cluster"), 2)) {
      Files.writeString(
          folder.resolve("cluster/conf/spark-defaults.conf"),
          """
          spark.cores.max 2
          spark.scheduler.minRegisteredResourcesRatio 1.0
          spark.scheduler.maxRegisteredResourcesWaitingTime 120s
          spark.speculation true
          spark.speculation.interval 50ms
          spark.speculation.quantile 0.3
          spark.speculation.multiplier 1.01
          spark.speculation.minTaskRuntime 50ms
          """);
      Process submitted =
          cluster.submit(
              "--input", in.toString(), "--output", out.toString(), "--tokenizer", "gpt2");
      // The first task of an executor takes seconds: it loads its classes and the library.
      Matcher started =
          cluster.awaitLog("submit", Pattern.compile("Starting task .*executor (\\d+),"), 1);
      ProcessHandle slow = cluster.executor(started.group(1));
      StandaloneCluster.signal(slow, "STOP");
      try {
        // The second attempt, as Spark numbers them.
        cluster.awaitLog("submit", Pattern.compile("Starting task \\d+\\.1 in stage"), 1);
      } finally {
        StandaloneCluster.signal(slow, "CONT");
      }
      StandaloneCluster.Ran ran = cluster.await(submitted);
      assertThat(ran.code()).as(ran.output()).isZero();
      assertThat(ran.output())
          .contains(String.format(Locale.ROOT, "%,d read", 2 * LINES))
          .contains("speculatable");
    }
    long rows = 0;
    try (var files = Files.list(out)) {
      for (Path file : files.filter(f -> f.toString().endsWith(".parquet")).toList()) {
        var path = new org.apache.hadoop.fs.Path(file.toUri());
        try (ParquetFileReader reader =
            ParquetFileReader.open(HadoopInputFile.fromPath(path, new Configuration()))) {
          rows += reader.getRecordCount();
        }
      }
    }
    assertThat(rows).isEqualTo(2 * LINES);
    assertThat(JobSession.list(folder)).contains("out").noneMatch(name -> name.startsWith(".out"));
  }
}
