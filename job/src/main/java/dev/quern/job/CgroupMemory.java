package dev.quern.job;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * The memory limit that a container imposes, and how much of it is used: Linux control groups,
 * version 2 ({@code memory.max}, {@code memory.current}) and version 1.
 *
 * <p>A limit binds a group with all below it, so the smallest on the way from this process's group
 * up to the root counts, with the use of the group that has it. The use includes page cache that
 * the kernel would give back; a process killed for memory had reached the limit without it.
 */
final class CgroupMemory {

  /**
   * Bytes; a field is null where there is none.
   *
   * @param limit the smallest limit
   * @param use bytes charged to the group of that limit, or to the innermost group if none has one
   */
  record Usage(Long limit, Long use) {
    static final Usage NONE = new Usage(null, null);
  }

  /**
   * Version 1 writes "no limit" as the largest multiple of the page size; nobody has an exbibyte.
   */
  private static final long NO_LIMIT = 1L << 60;

  private final Path mount;
  private final Path group;
  private final String limitFile;
  private final String useFile;

  private CgroupMemory(Path mount, Path group, boolean unified) {
    this.mount = mount;
    this.group = group;
    this.limitFile = unified ? "memory.max" : "memory.limit_in_bytes";
    this.useFile = unified ? "memory.current" : "memory.usage_in_bytes";
  }

  /** The group of this process; empty where there are no control groups for memory. */
  static Optional<CgroupMemory> ofThisProcess() {
    return find(Path.of("/"));
  }

  /** The group of the process that {@code <root>/proc/self} describes, mounted below root. */
  static Optional<CgroupMemory> find(Path root) {
    try {
      List<String> groups = Files.readAllLines(root.resolve("proc/self/cgroup"));
      List<String> mounts = Files.readAllLines(root.resolve("proc/self/mountinfo"));
      // A hybrid system has both; memory is then under version 1, and version 2 has no memory
      // files.
      Optional<CgroupMemory> version1 = find(root, groups, mounts, false);
      return version1.isPresent() ? version1 : find(root, groups, mounts, true);
    } catch (IOException | RuntimeException e) {
      return Optional.empty();
    }
  }

  private static Optional<CgroupMemory> find(
      Path root, List<String> groups, List<String> mounts, boolean unified) {
    String path = null;
    for (String line : groups) { // 4:memory:/user.slice or, version 2, 0::/user.slice
      String[] fields = line.split(":", 3);
      if (unified ? fields[1].isEmpty() : List.of(fields[1].split(",")).contains("memory")) {
        path = fields[2];
      }
    }
    if (path == null) {
      return Optional.empty();
    }
    for (String line : mounts) { // 36 35 0:31 <root> <mount point> rw - <type> <source> <options>
      String[] halves = line.split(" - ", 2);
      String[] left = halves[0].split(" ");
      String[] right = halves[1].split(" ");
      boolean serves =
          unified
              ? right[0].equals("cgroup2")
              : right[0].equals("cgroup") && List.of(right[2].split(",")).contains("memory");
      if (serves) {
        Path mount = root.resolve(unescape(left[4]).substring(1));
        String mounted = left[3].equals("/") ? "" : left[3];
        // In a container without its own cgroup namespace the path is the host's, and the mount
        // shows only what is below the container's group: then the mount itself is the group.
        Path group =
            path.startsWith(mounted + "/")
                ? mount.resolve(path.substring(mounted.length() + 1)).normalize()
                : mount;
        if (!group.startsWith(mount) || !Files.isDirectory(group)) {
          group = mount;
        }
        return Optional.of(new CgroupMemory(mount, group, unified));
      }
    }
    return Optional.empty();
  }

  /** mountinfo writes blanks in a path as octal escapes. */
  private static String unescape(String path) {
    return path.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\");
  }

  /** Reads limit and use now; both null if nothing can be read. */
  Usage read() {
    Long limit = null;
    Path limited = group;
    for (Path at = group; at != null && at.startsWith(mount); at = at.getParent()) {
      Long here = number(at.resolve(limitFile));
      if (here != null && here < NO_LIMIT && (limit == null || here < limit)) {
        limit = here;
        limited = at;
      }
    }
    return new Usage(limit, number(limited.resolve(useFile)));
  }

  /** The number in a file; null for "max", and for a missing file (the root group has none). */
  private static Long number(Path file) {
    try {
      String text = Files.readString(file).strip();
      return text.equals("max") ? null : Long.valueOf(text);
    } catch (IOException | NumberFormatException e) {
      return null;
    }
  }
}
