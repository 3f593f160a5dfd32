package dev.quern.job;

import java.io.IOException;
import java.util.Map;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.mapreduce.TaskAttemptContext;

/** {@code --format arrow}: Arrow IPC files, also known as Feather version 2. */
public class ArrowTokenFormat extends TokenFileFormat {
  private static final long serialVersionUID = 1L;

  @Override
  String extension(FileSettings settings) {
    return ".arrow";
  }

  @Override
  String parquetCompression(String compression) {
    return "zstd";
  }

  @Override
  RowFile open(
      Path path, TaskAttemptContext context, FileSettings settings, Map<String, String> metadata)
      throws IOException {
    return new ArrowRowFile(
        path.getFileSystem(context.getConfiguration()),
        path,
        settings.columns(),
        settings.compression(),
        settings.timeZone(),
        metadata);
  }
}
