package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

/** Files are made as Hadoop's own local file system makes them. */
class LocalFilesTest {
  @TempDir Path folder;

  @Test
  @DisabledOnOs(OS.WINDOWS)
  void permissionsAreThoseOfHadoop() throws IOException {
    for (String umask : List.of("022", "077", "002", "000")) {
      Map<String, Integer> ours = modes(new LocalFiles(), umask, folder.resolve("ours" + umask));
      Map<String, Integer> theirs =
          modes(new LocalFileSystem(), umask, folder.resolve("theirs" + umask));
      assertThat(ours).as("umask %s", umask).hasSize(8).isEqualTo(theirs);
    }
  }

  /** The mode of each file and folder that is made, by its path. */
  private static Map<String, Integer> modes(FileSystem files, String umask, Path root)
      throws IOException {
    Files.createDirectory(root);
    Configuration conf = new Configuration(false);
    conf.set("fs.permissions.umask-mode", umask);
    files.initialize(root.toUri(), conf);
    org.apache.hadoop.fs.Path at = new org.apache.hadoop.fs.Path(root.toUri());
    files.mkdirs(new org.apache.hadoop.fs.Path(at, "made/deep"));
    files.mkdirs(new org.apache.hadoop.fs.Path(at, "own"), new FsPermission("0710"));
    files.mkdirs(new org.apache.hadoop.fs.Path(at, "sticky"));
    files.setPermission(new org.apache.hadoop.fs.Path(at, "sticky"), new FsPermission("1777"));
    org.apache.hadoop.fs.Path file = new org.apache.hadoop.fs.Path(at, "created/a file");
    files.create(file).close();
    files.setPermission(file, new FsPermission("0640"));
    files.close();
    Map<String, Integer> modes = new TreeMap<>();
    List<Path> made = new ArrayList<>();
    try (Stream<Path> all = Files.walk(root)) {
      all.forEach(made::add);
    }
    for (Path path : made) {
      modes.put(root.relativize(path).toString(), (Integer) Files.getAttribute(path, "unix:mode"));
    }
    return modes;
  }
}
