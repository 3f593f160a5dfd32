package dev.quern.job;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.attribute.PosixFilePermissions;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.fs.permission.FsPermission;
import org.apache.hadoop.io.nativeio.NativeIO;
import org.apache.spark.sql.SparkSession;

/**
 * Hadoop's local file system, but for permissions. Without its native library, which Spark does not
 * bring, Hadoop starts a process (chmod) for each file and folder that it makes, and for each
 * file's checksums, and waits for it.
 *
 * <p>Public only because Hadoop makes it; not an API.
 */
public final class LocalFiles extends LocalFileSystem {
  private static final String KEY = "fs.file.impl";

  public LocalFiles() {
    super(new Raw());
  }

  /**
   * Lets a session have it, unless it has another one. Only where the tasks are in this JVM: others
   * look for its class before they have this jar.
   */
  static void use(SparkSession session) {
    Configuration hadoop = session.sparkContext().hadoopConfiguration();
    if (session.sparkContext().isLocal() && hadoop.get(KEY) == null && !NativeIO.isAvailable()) {
      session.conf().set(KEY, LocalFiles.class.getName());
      // Hadoop gives whoever asks the one that was made first, whatever the key says.
      session.conf().set(KEY + ".disable.cache", true);
    }
  }

  private static final class Raw extends RawLocalFileSystem {
    @Override
    public void setPermission(Path path, FsPermission permission) throws IOException {
      String symbols =
          permission.getUserAction().SYMBOL
              + permission.getGroupAction().SYMBOL
              + permission.getOtherAction().SYMBOL;
      try {
        if (!permission.getStickyBit()) {
          Files.setPosixFilePermissions(
              pathToFile(path).toPath(), PosixFilePermissions.fromString(symbols));
          return;
        }
      } catch (UnsupportedOperationException e) {
        // A file system that has other permissions.
      }
      super.setPermission(path, permission);
    }
  }
}
