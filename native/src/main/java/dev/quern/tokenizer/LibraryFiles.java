package dev.quern.tokenizer;

import dev.quern.tokenizer.LibraryOptions.Allocator;
import dev.quern.tokenizer.TokenizerException.Reason;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.FileAttribute;
import java.nio.file.attribute.PosixFilePermission;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.SecureRandom;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * The libraries packed in the jar, and the private folder in which this process unpacks one.
 *
 * <p>Each process has a folder of its own, {@code <directory>/quern-<user>/<pid>-<random>}, so that
 * processes that start at once can't disturb each other. Class loaders of one process differ in the
 * end of the name, after a random part that they share. Beside it stands {@code
 * <pid>-<random>.lock}, locked as long as the process lives (the system drops the lock however it
 * dies) and made before the folder: whoever gets the lock of another knows that the folder is left
 * over, and removes both.
 */
final class LibraryFiles {
  private static final String RESOURCES = "/dev/quern/native/";
  private static final Set<PosixFilePermission> PRIVATE =
      PosixFilePermissions.fromString("rwx------");

  /** Where class loaders of one JVM tell each other what their folders' names begin with. */
  private static final String NAMES_PROPERTY = "quern.library.names";

  private static final Pattern LOCK_FILE = Pattern.compile("\\d+-[0-9a-f-]+\\.lock");

  /**
   * By directory, null for the default: an attempt to load that failed leaves its folder behind.
   */
  private static final Map<Path, LibraryFiles> OPENED = new HashMap<>();

  /** One library in the jar, a line of platforms.txt. */
  record Packed(String platform, String allocator, String sha256) {}

  private final Path folder;

  private LibraryFiles(Path folder) {
    this.folder = folder;
  }

  Path folder() {
    return folder;
  }

  /**
   * Makes this process's folder, and removes those of processes that are gone. Called again, it
   * gives the folder that is there.
   *
   * @param directory where to make it; null for java.io.tmpdir
   */
  static synchronized LibraryFiles open(Path directory) {
    LibraryFiles opened = OPENED.get(directory);
    if (opened == null) {
      opened = make(directory);
      OPENED.put(directory, opened);
    }
    return opened;
  }

  private static LibraryFiles make(Path directory) {
    Path parent = directory == null ? Path.of(System.getProperty("java.io.tmpdir")) : directory;
    String user = System.getProperty("user.name", "").replaceAll("[^A-Za-z0-9._-]", "_");
    Path root = parent.toAbsolutePath().resolve("quern-" + user);
    try {
      makePrivate(root);
      checkExecution(root);
      String own = ownNames();
      String name = own + Long.toHexString(new SecureRandom().nextLong());
      Path lockFile = root.resolve(name + ".lock");
      FileChannel lock = lock(lockFile);
      try {
        checkOwner(root, lockFile);
      } catch (IOException | TokenizerException e) {
        delete(lockFile);
        close(lock);
        throw e;
      }
      // Only now: in a folder of another user, names could mean whatever that user likes.
      removeLeftovers(root, own);
      Path folder = Files.createDirectory(root.resolve(name), privately(root));
      Runtime.getRuntime()
          .addShutdownHook(
              new Thread(
                  () -> {
                    // Windows keeps a loaded library's file; the next process removes it then.
                    if (delete(folder)) {
                      delete(lockFile);
                    }
                    close(lock);
                  },
                  "quern-library-cleanup"));
      return new LibraryFiles(folder);
    } catch (IOException e) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "no private folder for the native library can be made in "
              + root
              + ": "
              + e
              + "; set spark.quern.library.directory to a folder that this user may write to",
          e);
    }
  }

  /** What the names of this JVM's folders begin with; in containers all have the same pid. */
  private static String ownNames() {
    String names = System.getProperty(NAMES_PROPERTY);
    if (names == null) {
      names = ProcessHandle.current().pid() + "-" + UUID.randomUUID() + "-";
      System.setProperty(NAMES_PROPERTY, names);
    }
    return names;
  }

  private static FileAttribute<?>[] privately(Path path) {
    return posix(path)
        ? new FileAttribute<?>[] {PosixFilePermissions.asFileAttribute(PRIVATE)}
        : new FileAttribute<?>[0];
  }

  private static boolean posix(Path path) {
    return path.getFileSystem().supportedFileAttributeViews().contains("posix");
  }

  private static void makePrivate(Path root) throws IOException {
    Files.createDirectories(root.getParent());
    try {
      Files.createDirectory(root, privately(root));
    } catch (FileAlreadyExistsException e) {
      if (!Files.isDirectory(root, LinkOption.NOFOLLOW_LINKS)) {
        throw unsafe(root, "is not a folder");
      }
      if (posix(root)
          && !PRIVATE.containsAll(Files.getPosixFilePermissions(root, LinkOption.NOFOLLOW_LINKS))) {
        throw unsafe(root, "is open to other users");
      }
    }
  }

  /** Whoever owns the folder could exchange what we load. */
  private static void checkOwner(Path root, Path ownFile) throws IOException {
    if (posix(root)
        && !Files.getOwner(root, LinkOption.NOFOLLOW_LINKS)
            .equals(Files.getOwner(ownFile, LinkOption.NOFOLLOW_LINKS))) {
      throw unsafe(root, "belongs to another user");
    }
  }

  private static TokenizerException unsafe(Path root, String what) {
    return new TokenizerException(
        Reason.LIBRARY,
        root
            + " "
            + what
            + ", so the native library is not unpacked there: remove it, or set"
            + " spark.quern.library.directory to another folder");
  }

  private static void checkExecution(Path root) {
    String hint = executionHint(root);
    if (!hint.isEmpty()) {
      throw new TokenizerException(
          Reason.LIBRARY, "the native library can't be loaded from " + root + hint);
    }
  }

  /** Why nothing can be executed in that folder, and what to do; empty if it can be. */
  static String executionHint(Path folder) {
    try {
      Path mounts = Path.of("/proc/self/mountinfo");
      if (Files.isReadable(mounts)) {
        String mount = noExecMount(Files.readAllLines(mounts), folder.toRealPath().toString());
        if (mount != null) {
          return " (its file system, mounted at "
              + mount
              + ", forbids execution: noexec); set spark.quern.library.directory to a folder"
              + " elsewhere";
        }
      }
    } catch (IOException e) {
      // Only a hint is lost: the system's own error will do.
    }
    return "";
  }

  /**
   * The mount point of that folder if it is mounted noexec, else null.
   *
   * @param mountInfo lines of /proc/self/mountinfo: id, parent, device, root, mount point, options
   */
  static String noExecMount(List<String> mountInfo, String folder) {
    String found = null;
    boolean noExec = false;
    for (String line : mountInfo) {
      String[] fields = line.split(" ");
      if (fields.length < 6) {
        continue;
      }
      String point =
          fields[4]
              .replace("\\040", " ")
              .replace("\\011", "\t")
              .replace("\\012", "\n")
              .replace("\\134", "\\");
      boolean holds =
          folder.equals(point) || folder.startsWith(point.endsWith("/") ? point : point + "/");
      // Of two mounts on one point the later one is seen.
      if (holds && (found == null || point.length() >= found.length())) {
        found = point;
        noExec = List.of(fields[5].split(",")).contains("noexec");
      }
    }
    return noExec ? found : null;
  }

  private static FileChannel lock(Path lockFile) throws IOException {
    while (true) {
      FileChannel channel =
          FileChannel.open(lockFile, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE);
      try {
        channel.lock();
      } catch (IOException e) {
        // A file system without locks: nobody gets this one's lock either, so nobody removes it.
        return channel;
      }
      if (Files.exists(lockFile, LinkOption.NOFOLLOW_LINKS)) {
        return channel;
      }
      // Another process took it for left over, between our open and our lock.
      channel.close();
    }
  }

  private static void removeLeftovers(Path root, String own) throws IOException {
    try (DirectoryStream<Path> locks = Files.newDirectoryStream(root, "*.lock")) {
      for (Path lockFile : locks) {
        String name = lockFile.getFileName().toString();
        // Closing any channel of a file drops all this process's locks on it: leave our own alone.
        if (name.startsWith(own) || !LOCK_FILE.matcher(name).matches()) {
          continue;
        }
        try (FileChannel channel =
                FileChannel.open(lockFile, StandardOpenOption.WRITE, LinkOption.NOFOLLOW_LINKS);
            FileLock lock = channel.tryLock()) {
          if (lock != null
              && delete(root.resolve(name.substring(0, name.length() - ".lock".length())))) {
            delete(lockFile);
          }
        } catch (IOException | OverlappingFileLockException e) {
          // In use, or just removed by another process.
        }
      }
    }
  }

  /** Whether that file or folder (one level deep) is gone. */
  private static boolean delete(Path path) {
    try {
      if (Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS)) {
        try (Stream<Path> files = Files.list(path)) {
          for (Path file : files.toList()) {
            Files.deleteIfExists(file);
          }
        }
      }
      Files.deleteIfExists(path);
      return true;
    } catch (IOException e) {
      return false;
    }
  }

  private static void close(FileChannel channel) {
    try {
      channel.close();
    } catch (IOException e) {
      // The process ends: the system closes it.
    }
  }

  /** Unpacks the library for this platform and returns its file. */
  Path unpack(Allocator allocator) {
    Packed packed = choose(packed(), platform(), allocator);
    String file = System.mapLibraryName("quern");
    String resource = RESOURCES + packed.platform + "/" + packed.allocator + "/" + file;
    byte[] library = read(resource);
    String expected =
        new String(read(resource + ".sha256"), StandardCharsets.UTF_8).trim().split("\\s+")[0];
    if (!sha256(library).equals(expected) || !expected.equals(packed.sha256)) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "the native library in the jar ("
              + resource
              + ", "
              + library.length
              + " bytes) does not have the SHA-256 packed beside it: the jar is damaged; copy or"
              + " build it again");
    }
    Path target = folder.resolve(file);
    try {
      Path temporary = folder.resolve(file + ".tmp");
      Files.write(temporary, library);
      Files.move(temporary, target, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "the native library can't be written to "
              + target
              + ": "
              + e
              + "; make room there, or set spark.quern.library.directory to another folder",
          e);
    }
    check(target, expected);
    return target;
  }

  /** Checks the file itself, not what was meant to be written to it. */
  static void check(Path file, String expected) {
    String actual;
    try {
      actual = sha256(Files.readAllBytes(file));
    } catch (IOException e) {
      actual = "unreadable (" + e + ")";
    }
    if (!actual.equals(expected)) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "the unpacked native library "
              + file
              + " is damaged: its SHA-256 is "
              + actual
              + ", not "
              + expected
              + "; look after that disk, or set spark.quern.library.directory to another folder");
    }
  }

  /** The libraries in the jar. */
  static List<Packed> packed() {
    return new String(read(RESOURCES + "platforms.txt"), StandardCharsets.UTF_8)
        .lines()
        .filter(line -> !line.isBlank())
        .map(line -> line.trim().split("\\s+"))
        .map(fields -> new Packed(fields[0], fields[1], fields[2]))
        .toList();
  }

  static Packed choose(List<Packed> packed, String platform, Allocator allocator) {
    List<Packed> here = packed.stream().filter(p -> p.platform.equals(platform)).toList();
    String platforms =
        packed.stream().map(Packed::platform).distinct().collect(Collectors.joining(", "));
    if (here.isEmpty()) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "the jar has no native library for "
              + platform
              + ", only for "
              + (platforms.isEmpty() ? "no platform" : platforms)
              + "; build it with mvn -Dquern.targets=<Rust target triple> package (several:"
              + " separated by commas), or give a library by spark.quern.library.path");
    }
    List<String> wanted =
        switch (allocator) {
          case AUTO -> List.of("mimalloc", "system");
          default -> List.of(allocator.name().toLowerCase(Locale.ROOT));
        };
    for (String name : wanted) {
      for (Packed one : here) {
        if (one.allocator.equals(name)) {
          return one;
        }
      }
    }
    throw new TokenizerException(
        Reason.LIBRARY,
        "the jar has no native library with the allocator "
            + wanted.get(0)
            + " for "
            + platform
            + ", only "
            + here.stream().map(Packed::allocator).collect(Collectors.joining(", "))
            + "; set spark.quern.allocator to that or to auto");
  }

  /** As in the jar's folders: linux-x86_64, macos-aarch64, windows-x86_64, linux-x86_64-musl ... */
  static String platform() {
    String os = System.getProperty("os.name").toLowerCase(Locale.ROOT);
    String arch = System.getProperty("os.arch").toLowerCase(Locale.ROOT);
    if (os.startsWith("mac")) {
      os = "macos";
    } else if (os.startsWith("windows")) {
      os = "windows";
    }
    arch =
        switch (arch) {
          case "amd64" -> "x86_64";
          case "arm64" -> "aarch64";
          case "i386", "i486", "i586", "i686" -> "x86";
          default -> arch;
        };
    return os + "-" + arch + (os.equals("linux") && musl() ? "-musl" : "");
  }

  /** Whether this process runs on musl: its loader is mapped then. */
  private static boolean musl() {
    try (Stream<String> maps = Files.lines(Path.of("/proc/self/maps"))) {
      return maps.anyMatch(line -> line.contains("/ld-musl-"));
    } catch (IOException | java.io.UncheckedIOException e) {
      return false;
    }
  }

  private static byte[] read(String resource) {
    try (InputStream in = LibraryFiles.class.getResourceAsStream(resource)) {
      if (in == null) {
        throw new TokenizerException(
            Reason.LIBRARY,
            "the resource "
                + resource
                + " is missing: the quern-native jar is incomplete, or its classes were copied"
                + " without their resources");
      }
      return in.readAllBytes();
    } catch (IOException e) {
      throw new TokenizerException(
          Reason.LIBRARY, "the resource " + resource + " can't be read; check the jar: " + e, e);
    }
  }

  static String sha256(byte[] bytes) {
    try {
      return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every JDK has SHA-256", e);
    }
  }
}
