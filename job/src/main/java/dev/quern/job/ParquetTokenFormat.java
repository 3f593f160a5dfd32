package dev.quern.job;

import java.io.IOException;
import java.util.Map;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptContext;

/** {@code --format parquet}. */
public class ParquetTokenFormat extends TokenFileFormat {
  private static final long serialVersionUID = 1L;

  @Override
  String extension(FileSettings settings) {
    return settings.compression().equals("none")
        ? ".parquet"
        : "." + settings.compression() + ".parquet";
  }

  @Override
  String parquetCompression(String compression) {
    return compression;
  }

  @Override
  RowFile open(
      Path path, TaskAttemptContext context, FileSettings settings, Map<String, String> metadata)
      throws IOException {
    return ParquetRowFile.tokens(path, context, metadata);
  }
}
