package dev.quern.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Builds of the native program of the allocator experiment, and of the library with its symbols
 * (the packed ones have none, so that a profiler could not name their functions), made by Cargo
 * with the release profile into bench/target/allocator/BUILD. A build is system, mimalloc (as the
 * library is packed), or another feature of the crate quern-allocator.
 */
final class AllocatorBuild {
  private static final String PROGRAM = "quern-allocator-bench";

  private final Path root;

  /** In a checkout. */
  AllocatorBuild(Path root) {
    this.root = root;
  }

  /** That build of the native program. */
  Path program(String build) {
    return folder(build).resolve(PROGRAM);
  }

  /** That build of the library, with symbols. */
  Path library(String build) {
    return folder(build).resolve(System.mapLibraryName("quern"));
  }

  private Path folder(String build) {
    return root.resolve("bench").resolve("target").resolve("allocator").resolve(build);
  }

  /**
   * Builds what is missing or older than a source.
   *
   * @param programs builds of the program
   * @param libraries builds of the library
   */
  void build(Set<String> programs, Set<String> libraries, PrintWriter progress)
      throws IOException, InterruptedException {
    Path rust = root.resolve("native").resolve("rust");
    if (!Files.isDirectory(rust)) {
      throw new BenchException(
          BenchException.USAGE,
          "the native program is built in the checkout: there is no folder native/rust in "
              + root
              + "; start bench/bin/quern-bench, or set -Dquern.root");
    }
    long newest = newest(rust);
    for (String build : programs) {
      make(rust, program(build), newest, build, progress, "quern-bench", "--bin");
    }
    for (String build : libraries) {
      make(rust, library(build), newest, build, progress, "quern-ffi", "--lib");
    }
  }

  private void make(
      Path rust,
      Path file,
      long newest,
      String build,
      PrintWriter progress,
      String crate,
      String kind)
      throws IOException, InterruptedException {
    if (Files.exists(file) && Files.getLastModifiedTime(file).toMillis() > newest) {
      return;
    }
    progress.println("building " + crate + " with " + build + " ...");
    progress.flush();
    Files.createDirectories(folder(build));
    cargo(rust, build, crate, kind);
    String target = System.getenv().getOrDefault("CARGO_TARGET_DIR", "target");
    Path built = rust.resolve(target).resolve("release").resolve(file.getFileName());
    Files.copy(built, file, StandardCopyOption.REPLACE_EXISTING);
  }

  private static long newest(Path rust) throws IOException {
    long newest = 0;
    List<Path> sources = new ArrayList<>();
    try (Stream<Path> parts = Files.list(rust)) {
      // Not what Cargo makes, which is ten thousands of files and may change under our feet.
      for (Path part : parts.filter(part -> !part.endsWith("target")).toList()) {
        try (Stream<Path> files = Files.walk(part)) {
          files.filter(Files::isRegularFile).forEach(sources::add);
        }
      }
    }
    for (Path source : sources) {
      newest = Math.max(newest, Files.getLastModifiedTime(source).toMillis());
    }
    return newest;
  }

  private void cargo(Path rust, String build, String crate, String kind)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of("cargo", "rustc", "--release", "--locked"));
    command.addAll(List.of("-p", crate, kind));
    if (kind.equals("--bin")) {
      command.add(PROGRAM);
    }
    if (!build.equals("mimalloc")) {
      command.add("--no-default-features");
      if (!build.equals("system")) {
        command.addAll(List.of("--features", "quern-allocator/" + build));
      }
    }
    command.addAll(List.of("--", "-C", "strip=none"));
    Path log = folder(build).resolve("cargo.log");
    int status;
    try {
      status =
          new ProcessBuilder(command)
              .directory(rust.toFile())
              .redirectErrorStream(true)
              .redirectOutput(log.toFile())
              .start()
              .waitFor();
    } catch (IOException e) {
      throw new BenchException(
          BenchException.INPUT,
          "cargo can't be started: install Rust (https://rustup.rs) or put cargo on the PATH",
          e);
    }
    if (status != 0) {
      String said = Files.readString(log, StandardCharsets.UTF_8);
      throw new BenchException(
          BenchException.INPUT,
          crate
              + " can't be built ("
              + String.join(" ", command)
              + " in "
              + rust
              + "): repair what it says:\n"
              + said.substring(Math.max(0, said.length() - 2000)));
    }
  }
}
