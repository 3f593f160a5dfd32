package dev.quern.job;

import dev.quern.job.TokenizeOptions.Mode;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.CommonConfigurationKeysPublic;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.util.ShutdownHookManager;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Where the output goes. Everything (token files, quarantine, record, _SUCCESS) is written into a
 * folder aside, {@code .<name>.quern-<run>} beside the output, and gets the output's name by one
 * rename when it is complete. So a reader sees the old output, or nothing, or the whole new one,
 * whatever dies and whichever way the committer works. On object stores, where a rename copies, the
 * rename is not atomic and takes its time.
 */
final class OutputFolder implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(OutputFolder.class);

  /** After Spark has stopped (40), before Hadoop closes its file systems (10). */
  private static final int HOOK_PRIORITY = 20;

  private final FileSystem files;
  private final Path output;
  private final Path aside;
  private final Mode mode;
  private final Runnable hook = this::discard;
  private boolean published;
  private boolean discarded;

  /** What a failed run leaves at the output, if that is neither nothing nor what was there. */
  private String leftBehind;

  private OutputFolder(FileSystem files, Path output, Mode mode, String run, Configuration conf) {
    this.files = files;
    this.output = output;
    this.mode = mode;
    this.aside = new Path(output.getParent(), "." + output.getName() + ".quern-" + run);
    // With the time that it may take: to find that out, Hadoop would read its XML files again.
    long seconds =
        conf.getTimeDuration(
            CommonConfigurationKeysPublic.SERVICE_SHUTDOWN_TIMEOUT,
            CommonConfigurationKeysPublic.SERVICE_SHUTDOWN_TIMEOUT_DEFAULT,
            TimeUnit.SECONDS);
    ShutdownHookManager.get().addShutdownHook(hook, HOOK_PRIORITY, seconds, TimeUnit.SECONDS);
  }

  /**
   * Checks the output. Nothing is made or changed yet.
   *
   * @param inputs what is read: an output to be overwritten must not be part of it
   * @throws JobException if there is something in the way
   */
  static OutputFolder check(
      String uri, Mode mode, List<Path> inputs, String run, Configuration conf) {
    try {
      Path path = new Path(uri);
      FileSystem files = path.getFileSystem(conf);
      Path output = files.makeQualified(path);
      if (output.isRoot() || output.getName().isEmpty()) {
        throw JobException.refused(
            "--output " + uri + " is the root of a file system; name a folder");
      }
      for (Path input : inputs) {
        if (isInside(input, output)) {
          throw JobException.refused(
              "--output "
                  + output
                  + " is or contains the input "
                  + input
                  + "; choose another folder");
        }
      }
      if (mode == Mode.ERROR && !isEmpty(files, output)) {
        throw JobException.refused(
            "the output "
                + output
                + " exists; choose another folder, or --mode overwrite to replace it");
      }
      return new OutputFolder(files, output, mode, run, conf);
    } catch (IllegalArgumentException e) {
      throw JobException.refused("--output '" + uri + "' is not a path: " + e.getMessage());
    } catch (JobException e) {
      throw e;
    } catch (IOException | RuntimeException | LinkageError e) {
      // Hadoop throws all of them where the class of a file system, or what it needs, is missing.
      throw JobException.refused("can't look at the output " + uri + ": " + e.getMessage(), e);
    }
  }

  private static boolean isInside(Path path, Path folder) {
    for (Path at = path; at != null; at = at.getParent()) {
      if (at.equals(folder)) {
        return true;
      }
    }
    return false;
  }

  /** Whether there is nothing at that place, or an empty folder. */
  private static boolean isEmpty(FileSystem files, Path path) throws IOException {
    try {
      FileStatus status = files.getFileStatus(path);
      return status.isDirectory() && files.listStatus(path).length == 0;
    } catch (FileNotFoundException e) {
      return true;
    }
  }

  /** Folders beside the output that runs have left which were killed. */
  List<Path> leftovers() throws IOException {
    List<Path> left = new ArrayList<>();
    try {
      for (FileStatus status : files.listStatus(output.getParent())) {
        String name = status.getPath().getName();
        if (name.startsWith("." + output.getName() + ".quern-")
            && !status.getPath().equals(aside)) {
          left.add(status.getPath());
        }
      }
    } catch (FileNotFoundException e) {
      // Then there are none.
    }
    return left;
  }

  /** Where the output is going to be. */
  Path output() {
    return output;
  }

  /** Where it is written until then. */
  Path aside() {
    return aside;
  }

  /**
   * Checks that the files which the tasks have written are there: the counts of rows say nothing of
   * what a committer does with a file.
   *
   * @throws IOException if some are missing, or there are more
   */
  void checkFiles(TaskCounts totals) throws IOException {
    long tokens = parts(aside);
    long quarantine = parts(new Path(aside, TokenWriter.QUARANTINE));
    if (tokens != totals.tokenFiles || quarantine != totals.quarantineFiles) {
      throw new IOException(
          "the files do not match: the tasks have committed "
              + totals.tokenFiles
              + " token files and "
              + totals.quarantineFiles
              + " of the quarantine, but there are "
              + tokens
              + " and "
              + quarantine
              + "; the output committer has lost or doubled some");
    }
  }

  private long parts(Path folder) throws IOException {
    try {
      return Arrays.stream(files.listStatus(folder))
          .filter(status -> status.getPath().getName().startsWith("part-"))
          .count();
    } catch (FileNotFoundException e) {
      return 0;
    }
  }

  /**
   * Makes the output visible. A shutdown meanwhile waits: with half of it done, there might be
   * neither the old output nor the new one.
   *
   * @throws IOException if that fails: the old output, if there was one, is back in its place, or
   *     {@link #afterFailure} says where it is
   */
  synchronized void publish() throws IOException {
    if (discarded) {
      throw new IOException("the application is being stopped");
    }
    Path old = null;
    if (!isEmpty(files, output)) {
      if (mode == Mode.ERROR) {
        throw new IOException("the output " + output + " has come into being during the run");
      }
      old = new Path(output.getParent(), aside.getName() + "-old");
      rename(output, old);
    } else {
      // An empty folder; a rename would move into it. Not recursively: it may no longer be empty.
      files.delete(output, false);
    }
    try {
      rename(aside, output);
      published = true;
    } catch (IOException | RuntimeException e) {
      rollBack(old, e);
      throw e;
    }
    if (old != null) {
      try {
        if (!files.delete(old, true)) {
          throw new IOException("can't delete " + old);
        }
      } catch (IOException | RuntimeException e) {
        // The new output is there, whole: the run is a success.
        LOG.warn("The replaced output {} could not be removed; delete it yourself", old, e);
      }
    }
  }

  /** Where a rename copies, one that fails may have left a part of the new output. */
  private void rollBack(Path old, Exception failure) {
    try {
      if (old == null) {
        if (!isEmpty(files, output)) {
          leftBehind =
              output + " is incomplete or of somebody else; look at it before you delete it";
        }
      } else {
        if (!files.delete(output, true) && files.exists(output)) {
          // A rename would move the old output into it.
          throw new IOException("can't delete " + output);
        }
        rename(old, output);
      }
    } catch (IOException | RuntimeException e) {
      failure.addSuppressed(e);
      leftBehind =
          old == null
              ? output + " may be incomplete"
              : "the old output is "
                  + old
                  + " now; delete "
                  + output
                  + " if it exists, and rename it back";
    }
  }

  /** What stands where the output was to be, after a run that has failed. */
  synchronized String afterFailure() {
    if (leftBehind != null) {
      return leftBehind;
    }
    return mode == Mode.OVERWRITE
        ? "the output " + output + " is as it was"
        : "nothing was written to " + output;
  }

  private void rename(Path from, Path to) throws IOException {
    if (!files.rename(from, to)) {
      throw new IOException("can't rename " + from + " to " + to);
    }
  }

  /** Removes what was written aside, unless it has become the output. */
  @Override
  public void close() {
    if (!ShutdownHookManager.get().isShutdownInProgress()) {
      ShutdownHookManager.get().removeShutdownHook(hook);
      discard();
    }
  }

  private synchronized void discard() {
    if (!published) {
      discarded = true;
      try {
        files.delete(aside, true);
      } catch (IOException e) {
        System.err.println(
            "quern: "
                + aside
                + " could not be removed ("
                + e.getMessage()
                + "); delete it yourself");
      }
    }
  }
}
