package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.zip.GZIPOutputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Two attempts of the same task at the same time, on a real cluster: one is committed. */
class SpeculationIT {
  private static final int SHORT = 2000;
  private static final int LONG = 40_000;
  @TempDir Path folder;

  @Test
  void eachDocumentIsThereOnceWhenASlowTaskIsDoneTwice() throws Exception {
    Path in = Files.createDirectory(folder.resolve("in"));
    // The compressed file is one task, and far more work than the other: an idle worker is left.
    Files.writeString(in.resolve("a.txt"), "short line\n".repeat(SHORT));
    String line = "the same long line again " + "and again ".repeat(20) + "\n";
    try (OutputStream zip = new GZIPOutputStream(Files.newOutputStream(in.resolve("b.txt.gz")))) {
      zip.write(line.repeat(LONG).getBytes(StandardCharsets.UTF_8));
    }
    Path out = folder.resolve("out");
    try (StandaloneCluster cluster = new StandaloneCluster(folder.resolve("cluster"), 2)) {
      Files.writeString(
          folder.resolve("cluster/conf/spark-defaults.conf"),
          """
          spark.speculation true
          spark.speculation.interval 50ms
          spark.speculation.quantile 0.3
          spark.speculation.multiplier 1.01
          spark.speculation.minTaskRuntime 50ms
          """);
      StandaloneCluster.Ran ran =
          cluster.await(
              cluster.submit(
                  "--input", in.toString(),
                  "--output", out.toString(),
                  "--tokenizer", "gpt2"));
      assertThat(ran.code()).as(ran.output()).isZero();
      assertThat(ran.output())
          .contains(String.format(Locale.ROOT, "%,d read", LONG + SHORT))
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
    assertThat(rows).isEqualTo(LONG + SHORT);
    assertThat(JobSession.list(folder)).contains("out").noneMatch(name -> name.startsWith(".out"));
  }
}
