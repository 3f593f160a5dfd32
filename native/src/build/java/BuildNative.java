import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.module.ModuleDescriptor.Version;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Maven's way to Cargo, in Java so that it needs no shell. Run by native/pom.xml from source:
 *
 * <pre>
 * java BuildNative.java build   builds the library and lays it into the class folder
 * java BuildNative.java test    cargo test
 * java BuildNative.java lint    cargo fmt --check, cargo clippy
 * java BuildNative.java toolchain TARGET   prints what Cargo's environment needs to build and run for it
 * </pre>
 *
 * <p>System properties: rust (workspace), classes (where the libraries go), rust.minimum, targets
 * (triples to build for besides this machine's, separated by commas), zigbuild (true:
 * cargo-zigbuild links them).
 */
public final class BuildNative {
  private static final Path RUST = Path.of(System.getProperty("rust")).toAbsolutePath();
  private static final boolean ZIGBUILD = Boolean.getBoolean("zigbuild");

  /** Lines of Cargo's to show while it runs; the others only matter if it fails. */
  private static final Pattern PROGRESS =
      Pattern.compile("^ +(Compiling|Checking|Downloading|Downloaded|Running) |^test result");

  /** What to tell the user, in one line; no stack trace. */
  private static final class Failure extends RuntimeException {
    private static final long serialVersionUID = 1L;

    Failure(String message) {
      super(message);
    }
  }

  private final Map<String, String> environment = new LinkedHashMap<>(System.getenv());
  private final String host;

  public static void main(String[] arguments) throws Exception {
    try {
      BuildNative build = new BuildNative();
      switch (arguments[0]) {
        case "build" -> build.build();
        case "test" -> build.test();
        case "lint" -> build.lint();
        case "toolchain" -> build.printToolchain(arguments[1]);
        default -> throw new Failure("unknown goal " + arguments[0]);
      }
    } catch (Failure e) {
      // Standard error becomes Maven's error line; everything else goes to standard output.
      System.err.println(e.getMessage());
      System.exit(1);
    }
  }

  private BuildNative() throws IOException, InterruptedException {
    findCargo();
    String minimum = System.getProperty("rust.minimum");
    String[] version = output("cargo", "--version").split("[ -]");
    if (Version.parse(version[1]).compareTo(Version.parse(minimum)) < 0) {
      throw new Failure(
          "cargo "
              + version[1]
              + " is too old, Quern needs "
              + minimum
              + " or newer: rustup update"
              + " stable");
    }
    host =
        output("rustc", "-vV")
            .lines()
            .filter(line -> line.startsWith("host: "))
            .findFirst()
            .orElseThrow(() -> new Failure("rustc -vV names no host; reinstall Rust (rustup)"))
            .substring("host: ".length());
  }

  /** On the PATH, or where rustup puts it: a shell older than the installation has no new PATH. */
  private void findCargo() {
    if (onPath("cargo")) {
      return;
    }
    String home = environment.get("CARGO_HOME");
    Path bin =
        (home == null ? Path.of(System.getProperty("user.home"), ".cargo") : Path.of(home))
            .resolve("bin");
    if (!Files.isExecutable(bin.resolve(executable("cargo")))) {
      throw new Failure(
          "cargo is missing, Quern needs Rust "
              + System.getProperty("rust.minimum")
              + " or newer: install it with rustup, https://rustup.rs (Linux, macOS: curl"
              + " https://sh.rustup.rs -sSf | sh)");
    }
    environment.put("PATH", bin + File.pathSeparator + environment.get("PATH"));
  }

  /** The tests that look into both builds get those just packed: they need not link them again. */
  private void test() throws IOException, InterruptedException {
    Path packed = root().resolve(platform(host));
    String standard = usesMimalloc(host) ? "mimalloc" : "system";
    cargo(
        List.of("test", "--locked"),
        Map.of(
            "QUERN_LIBRARY_DEFAULT", library(packed.resolve(standard)),
            "QUERN_LIBRARY_SYSTEM", library(packed.resolve("system"))));
  }

  private static String library(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(file -> !file.toString().endsWith(".sha256"))
          .findFirst()
          .orElseThrow(() -> new Failure("no library in " + folder + ": mvn clean, then again"))
          .toAbsolutePath()
          .toString();
    }
  }

  private static Path root() {
    return Path.of(System.getProperty("classes"), "dev", "quern", "native");
  }

  private void build() throws Exception {
    Path root = root();
    Set<String> targets = new LinkedHashSet<>(List.of(host));
    Arrays.stream(System.getProperty("targets", "").split(","))
        .map(String::trim)
        .filter(target -> !target.isEmpty())
        .forEach(targets::add);
    List<String> packed = new ArrayList<>();
    Set<Path> made = new TreeSet<>();
    // All checks first: a missing cross compiler must not cost the minutes of another target.
    Map<String, Map<String, String>> settings = new LinkedHashMap<>();
    for (String target : targets) {
      settings.put(target, toolchain(target));
    }
    String inputs = inputs(targets);
    Path stamp = Path.of(System.getProperty("classes")).resolveSibling("native-build.stamp");
    if (Files.exists(stamp) && Files.readString(stamp).equals(inputs + outputs(root))) {
      return;
    }
    for (String target : targets) {
      List<String> allocators =
          usesMimalloc(target) ? List.of("system", "mimalloc") : List.of("system");
      for (String allocator : allocators) {
        Path library = cargoBuild(target, allocator, settings.get(target));
        Path folder = root.resolve(platform(target)).resolve(allocator);
        String sha256 = sha256(Files.readAllBytes(library));
        copy(library, folder.resolve(library.getFileName()), sha256);
        made.add(folder);
        packed.add(platform(target) + " " + allocator + " " + sha256);
      }
    }
    removeOthers(root, made);
    write(root.resolve("platforms.txt"), String.join("\n", packed) + "\n");
    write(stamp, inputs + outputs(root));
  }

  /**
   * Everything that decides what Cargo would make. It is asked only if that has changed: the two
   * builds differ in a feature and have one file name, so Cargo would link both anew each time.
   */
  private String inputs(Set<String> targets) throws Exception {
    StringBuilder inputs = new StringBuilder(targets + " zigbuild " + ZIGBUILD + "\n");
    inputs.append(output("rustc", "-vV")).append('\n');
    environment.forEach(
        (name, value) -> {
          if (name.matches("(CARGO|RUST|CC|CXX|AR|CFLAGS|CXXFLAGS|LDFLAGS)(_.*)?|RUSTFLAGS")) {
            inputs.append(name).append('=').append(value).append('\n');
          }
        });
    Path built = targetFolder();
    try (Stream<Path> parts = Files.list(RUST)) {
      for (Path part : parts.filter(part -> !part.equals(built)).sorted().toList()) {
        inputs.append(hashes(part));
      }
    }
    return inputs.toString();
  }

  private static String outputs(Path root) throws Exception {
    return Files.exists(root) ? hashes(root) : "";
  }

  private static String hashes(Path root) throws Exception {
    StringBuilder hashes = new StringBuilder();
    try (Stream<Path> all = Files.walk(root.toAbsolutePath())) {
      for (Path file : all.filter(Files::isRegularFile).sorted().toList()) {
        hashes.append(sha256(Files.readAllBytes(file))).append("  ").append(file).append('\n');
      }
    }
    return hashes.toString();
  }

  private void lint() throws IOException, InterruptedException {
    for (String tool : List.of("fmt", "clippy")) {
      if (run(List.of("cargo", tool, "--version"), Map.of(), line -> {}) != 0) {
        throw new Failure("cargo " + tool + " is missing: rustup component add rustfmt clippy");
      }
    }
    cargo(List.of("fmt", "--check"), Map.of());
    cargo(
        List.of("clippy", "--release", "--locked", "--all-targets", "--", "-D", "warnings"),
        Map.of());
  }

  /**
   * Checks what building for that target needs.
   *
   * @return environment variables to build with
   */
  private Map<String, String> toolchain(String target) throws IOException, InterruptedException {
    if (target.equals(host)) {
      if (!target.contains("msvc") && !onPath(environment.getOrDefault("CC", "cc"))) {
        throw new Failure(
            "a C compiler is missing ("
                + environment.getOrDefault("CC", "cc")
                + "): Debian and Ubuntu: apt-get install gcc libc6-dev; Fedora: dnf install gcc;"
                + " macOS: xcode-select --install; or set CC");
      }
      return Map.of();
    }
    Path standard =
        Path.of(output("rustc", "--print", "sysroot").strip(), "lib", "rustlib", target, "lib");
    if (!Files.isDirectory(standard)) {
      throw new Failure(
          "Rust's standard library for " + target + " is missing: rustup target add " + target);
    }
    if (ZIGBUILD) {
      if (!onPath("cargo-zigbuild")) {
        throw new Failure(
            "cargo-zigbuild is missing: pip install cargo-zigbuild ziglang, or build without"
                + " -Dquern.zigbuild=true");
      }
      return Map.of();
    }
    Map<String, String> settings = new LinkedHashMap<>();
    String key = target.toUpperCase(Locale.ROOT).replace('-', '_');
    if (target.endsWith("-musl")) {
      // A cdylib must link musl dynamically.
      settings.put("CARGO_TARGET_" + key + "_RUSTFLAGS", "-C target-feature=-crt-static");
    }
    boolean chosen =
        environment.containsKey("CARGO_TARGET_" + key + "_LINKER") || configured(target);
    String gcc = crossCompiler(target);
    if (!chosen && gcc != null) {
      // The name of Debian's packages, or (as on macOS) the whole triple.
      String found = Stream.of(gcc, target + "-gcc").filter(this::onPath).findFirst().orElse(null);
      if (found == null) {
        String debian =
            target.endsWith("windows-gnu")
                ? "mingw-w64-x86-64"
                : gcc.replaceAll("-gcc$", "").replace('_', '-');
        throw new Failure(
            "a C compiler for "
                + target
                + " is missing ("
                + gcc
                + "): Debian and Ubuntu: apt-get install gcc-"
                + debian
                + "; elsewhere: pip install cargo-zigbuild ziglang and -Dquern.zigbuild=true; or"
                + " name yours by CARGO_TARGET_"
                + key
                + "_LINKER and CC_"
                + target.replace('-', '_'));
      }
      settings.put("CARGO_TARGET_" + key + "_LINKER", found);
      if (!environment.containsKey("CC_" + target.replace('-', '_'))) {
        settings.put("CC_" + target.replace('-', '_'), found);
      }
    }
    return settings;
  }

  /**
   * For {@code quern-bench triples}: a line {@code NAME=value} for each variable; one of them is
   * CARGO_TARGET_..._RUNNER where a program of that target needs another one to run. In place of
   * that, {@code no-runner=why} if there is none here.
   */
  private void printToolchain(String target) throws IOException, InterruptedException {
    if (target.contains("-apple-") && !host.contains("-apple-")) {
      throw new Failure(target + " is built and run on a Mac: start the same command there");
    }
    Map<String, String> settings = new LinkedHashMap<>(toolchain(target));
    String runner = "CARGO_TARGET_" + target.toUpperCase(Locale.ROOT).replace('-', '_') + "_RUNNER";
    if (environment.containsKey(runner)) {
      settings.put(runner, environment.get(runner));
    } else if (!sameMachine(target)) {
      String gcc = crossCompiler(target);
      String emulator = "qemu-" + qemuName(target);
      if (!host.contains("-linux-") || gcc == null || gcc.contains("mingw")) {
        settings.put("no-runner", "how to run it here is not known: name a program by " + runner);
      } else if (!onPath(emulator)) {
        settings.put(
            "no-runner", emulator + " is missing: Debian and Ubuntu: apt-get install qemu-user");
      } else {
        // Where Debian's cross compilers have the target's C library.
        settings.put(runner, emulator + " -L /usr/" + gcc.replaceAll("-gcc$", ""));
      }
    }
    settings.forEach((name, value) -> System.out.println(name + "=" + value));
  }

  /** Whether this machine's processor and kernel run that target's programs. */
  private boolean sameMachine(String target) {
    String cpu = host.substring(0, host.indexOf('-') + 1);
    return target.equals(host)
        || target.startsWith(cpu) && target.contains("-linux-") && host.contains("-linux-");
  }

  private static String qemuName(String target) {
    String cpu = target.substring(0, target.indexOf('-'));
    return switch (cpu) {
      case "i586", "i686" -> "i386";
      case "powerpc" -> "ppc";
      case "powerpc64" -> "ppc64";
      case "powerpc64le" -> "ppc64le";
      case "riscv64gc" -> "riscv64";
      default -> cpu.startsWith("arm") || cpu.startsWith("thumb") ? "arm" : cpu;
    };
  }

  /** The usual name of the GNU compiler for that target; null where there is none. */
  private static String crossCompiler(String target) {
    if (target.endsWith("-pc-windows-gnu")) {
      return target.replace("-pc-windows-gnu", "-w64-mingw32-gcc");
    }
    int system = target.indexOf("-unknown-linux-gnu");
    if (system < 0) {
      return null;
    }
    String cpu =
        target
            .substring(0, system)
            .replaceFirst("^riscv64.*", "riscv64")
            .replaceFirst("^(armv7|thumbv7neon)$", "arm");
    return cpu + target.substring(system + "-unknown".length()) + "-gcc";
  }

  /** Whether a Cargo configuration has a section for that target, which then decides. */
  private boolean configured(String target) throws IOException {
    List<Path> files = new ArrayList<>();
    String home = environment.get("CARGO_HOME");
    files.add(
        home == null
            ? Path.of(System.getProperty("user.home"), ".cargo", "config.toml")
            : Path.of(home, "config.toml"));
    for (Path folder = RUST.toAbsolutePath(); folder != null; folder = folder.getParent()) {
      files.add(folder.resolve(".cargo").resolve("config.toml"));
    }
    for (Path file : files) {
      if (Files.isReadable(file)
          && Files.readString(file).matches("(?s).*\\[target\\.[\"']?" + target + "[\"']?].*")) {
        return true;
      }
    }
    return false;
  }

  /** Cargo knows which targets the allocator's table has: there is no second copy of it here. */
  private boolean usesMimalloc(String target) throws IOException, InterruptedException {
    return output(
            "cargo",
            "tree",
            "--locked",
            "--target",
            target,
            "-e",
            "normal",
            "-p",
            "quern-ffi",
            "--prefix",
            "none")
        .contains("libmimalloc-sys ");
  }

  private Path cargoBuild(String target, String allocator, Map<String, String> settings)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    boolean cross = !target.equals(host);
    command.add(cross && ZIGBUILD ? "zigbuild" : "build");
    command.addAll(List.of("--release", "--locked", "-p", "quern-ffi"));
    if (allocator.equals("system")) {
      command.add("--no-default-features");
    }
    if (cross) {
      command.addAll(List.of("--target", target));
    }
    cargo(command, settings);
    Path folder = targetFolder();
    return (cross ? folder.resolve(target) : folder).resolve("release").resolve(fileName(target));
  }

  private Path targetFolder() throws IOException, InterruptedException {
    String metadata = output("cargo", "metadata", "--locked", "--no-deps", "--format-version", "1");
    String key = "\"target_directory\":\"";
    int begin = metadata.indexOf(key) + key.length();
    return Path.of(metadata.substring(begin, metadata.indexOf('"', begin)).replace("\\\\", "\\"));
  }

  private static String fileName(String target) {
    return target.contains("windows")
        ? "quern.dll"
        : target.contains("apple") ? "libquern.dylib" : "libquern.so";
  }

  /** The folder's name, as LibraryFiles.platform in the Java sources makes it from os.name. */
  private static String platform(String target) {
    String cpu = target.substring(0, target.indexOf('-'));
    String arch =
        switch (cpu) {
          case "i586", "i686" -> "x86";
          case "powerpc64le" -> "ppc64le";
          case "powerpc64" -> "ppc64";
          case "riscv64gc" -> "riscv64";
          default -> cpu.startsWith("arm") ? "arm" : cpu;
        };
    String os =
        target.contains("apple") ? "macos" : target.contains("windows") ? "windows" : "linux";
    return os + "-" + arch + (target.contains("-musl") ? "-musl" : "");
  }

  private static void copy(Path from, Path to, String sha256) throws Exception {
    if (Files.exists(to) && sha256(Files.readAllBytes(to)).equals(sha256)) {
      write(Path.of(to + ".sha256"), sha256 + "  " + to.getFileName() + "\n");
      return;
    }
    Files.createDirectories(to.getParent());
    Files.copy(from, to, java.nio.file.StandardCopyOption.REPLACE_EXISTING);
    write(Path.of(to + ".sha256"), sha256 + "  " + to.getFileName() + "\n");
  }

  private static void write(Path file, String text) throws IOException {
    if (!Files.exists(file) || !Files.readString(file).equals(text)) {
      Files.createDirectories(file.getParent());
      Files.writeString(file, text);
    }
  }

  /** Libraries of an earlier build with other targets would be of an older source. */
  private static void removeOthers(Path root, Set<Path> made) throws IOException {
    try (Stream<Path> all = Files.walk(root)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        if (!made.contains(file.getParent()) && !file.getParent().equals(root)) {
          Files.delete(file);
        }
      }
    }
  }

  private static String sha256(byte[] bytes) throws Exception {
    return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes));
  }

  private boolean onPath(String program) {
    // CC may have arguments ("ccache gcc") or be a path.
    String name = program.strip().split(" ")[0];
    return Arrays.stream((environment.getOrDefault("PATH", "")).split(File.pathSeparator))
        .map(folder -> Path.of(folder).resolve(executable(name)))
        .anyMatch(Files::isExecutable);
  }

  private static String executable(String name) {
    boolean windows = File.separatorChar == '\\';
    return windows && !name.endsWith(".exe") ? name + ".exe" : name;
  }

  private void cargo(List<String> arguments, Map<String, String> settings)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>(List.of("cargo"));
    command.addAll(arguments);
    List<String> lines = new ArrayList<>();
    int status =
        run(
            command,
            settings,
            line -> {
              lines.add(line);
              if (PROGRESS.matcher(line).find()) {
                System.out.println(line);
              }
            });
    if (status != 0) {
      lines.removeIf(line -> PROGRESS.matcher(line).find());
      throw new Failure(
          "`"
              + String.join(" ", command)
              + "` failed in "
              + RUST
              + ":\n"
              + String.join("\n", lines));
    }
  }

  private String output(String... command) throws IOException, InterruptedException {
    List<String> lines = new ArrayList<>();
    if (run(List.of(command), Map.of(), lines::add) != 0) {
      throw new Failure(
          "`"
              + String.join(" ", command)
              + "` failed in "
              + RUST
              + ": "
              + lines.stream().filter(line -> !line.isBlank()).collect(Collectors.joining(" | ")));
    }
    return String.join("\n", lines);
  }

  /** Runs a command in the workspace. */
  private int run(List<String> command, Map<String, String> settings, Consumer<String> lines)
      throws IOException, InterruptedException {
    ProcessBuilder builder = new ProcessBuilder(command).directory(RUST.toFile());
    builder.environment().putAll(environment);
    builder.environment().putAll(settings);
    builder.redirectErrorStream(true);
    Process process;
    try {
      process = builder.start();
    } catch (IOException e) {
      throw new Failure(command.get(0) + " can't be started: " + e.getMessage());
    }
    process.getOutputStream().close();
    try (BufferedReader reader = process.inputReader(StandardCharsets.UTF_8)) {
      reader.lines().forEach(lines);
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    return process.waitFor();
  }
}
