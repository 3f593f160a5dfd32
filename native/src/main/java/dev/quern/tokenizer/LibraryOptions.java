package dev.quern.tokenizer;

import java.nio.file.Path;
import java.util.Objects;

/**
 * Which native library a JVM loads, and from where.
 *
 * @param allocator which build of the library: the memory allocator is compiled in
 * @param library the library file to load, or null for the one packed in the jar. Set, it is final:
 *     nothing else is tried. Configuration key {@code spark.quern.library.path}.
 * @param directory where the packed library is unpacked (a private folder is made in it), or null
 *     for {@code java.io.tmpdir}. It must allow execution (no {@code noexec} mount). Configuration
 *     key {@code spark.quern.library.directory}.
 */
public record LibraryOptions(Allocator allocator, Path library, Path directory) {

  /** The memory allocator inside the native library. Configuration key spark.quern.allocator. */
  public enum Allocator {
    /** mimalloc where a build with it is packed, else the system's. */
    AUTO,
    MIMALLOC,
    SYSTEM
  }

  public static final LibraryOptions DEFAULT = new LibraryOptions(Allocator.AUTO, null, null);

  public LibraryOptions {
    Objects.requireNonNull(allocator, "allocator");
  }

  @Override
  public String toString() {
    return "allocator "
        + allocator.name().toLowerCase(java.util.Locale.ROOT)
        + (library == null ? "" : ", library " + library)
        + (directory == null ? "" : ", directory " + directory);
  }
}
