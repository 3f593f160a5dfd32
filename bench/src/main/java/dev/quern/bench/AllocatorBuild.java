package dev.quern.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * Both builds of the native program of the allocator experiment, and of the library with its
 * symbols (the packed ones have none, so that a profiler could not name their functions), made by
 * Cargo with the release profile into bench/target/allocator/ALLOCATOR.
 */
final class AllocatorBuild {
  private final Path root;

  /** In a checkout. */
  AllocatorBuild(Path root) {
    this.root = root;
  }

  /** The native program with that allocator. */
  Path program(String allocator) {
    return folder(allocator).resolve("quern-allocator-bench");
  }

  /** The library with that allocator and with symbols. */
  Path library(String allocator) {
    return folder(allocator).resolve(System.mapLibraryName("quern"));
  }

  private Path folder(String allocator) {
    return root.resolve("bench").resolve("target").resolve("allocator").resolve(allocator);
  }

  /**
   * Builds what is missing or older than a source.
   *
   * @param libraries whether the libraries are needed beside the programs
   */
  void build(List<String> allocators, boolean libraries, PrintWriter progress)
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
    for (String allocator : allocators) {
      if (isNewer(program(allocator), newest)
          && (!libraries || isNewer(library(allocator), newest))) {
        continue;
      }
      progress.println("building the native program with " + allocator + " ...");
      progress.flush();
      Files.createDirectories(folder(allocator));
      cargo(rust, allocator, "quern-bench", "--bin", "quern-allocator-bench");
      take(rust, program(allocator));
      if (libraries) {
        cargo(rust, allocator, "quern-ffi", "--lib");
        take(rust, library(allocator));
      }
    }
  }

  private static boolean isNewer(Path file, long than) throws IOException {
    return Files.exists(file) && Files.getLastModifiedTime(file).toMillis() > than;
  }

  private static long newest(Path rust) throws IOException {
    long newest = 0;
    List<Path> files;
    try (Stream<Path> all = Files.walk(rust)) {
      files =
          all.filter(file -> !file.startsWith(rust.resolve("target")) && Files.isRegularFile(file))
              .toList();
    }
    for (Path file : files) {
      newest = Math.max(newest, Files.getLastModifiedTime(file).toMillis());
    }
    return newest;
  }

  private void take(Path rust, Path file) throws IOException {
    String target = System.getenv().getOrDefault("CARGO_TARGET_DIR", "target");
    Path built = rust.resolve(target).resolve("release").resolve(file.getFileName());
    Files.copy(built, file, StandardCopyOption.REPLACE_EXISTING);
  }

  private void cargo(Path rust, String allocator, String crate, String... what)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of("cargo", "rustc", "--release", "--locked"));
    command.addAll(List.of("-p", crate));
    command.addAll(List.of(what));
    if (allocator.equals("system")) {
      command.add("--no-default-features");
    }
    command.addAll(List.of("--", "-C", "strip=none"));
    Path log = folder(allocator).resolve("cargo.log");
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
          "the native program can't be built ("
              + String.join(" ", command)
              + " in "
              + rust
              + "): repair what it says:\n"
              + said.substring(Math.max(0, said.length() - 2000)));
    }
  }
}
