package dev.quern.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assumptions.assumeThat;

import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What the build says when something is missing: one line, with the way to get it. */
class BuildNativeTest {
  @TempDir private Path folder;

  @BeforeEach
  void shell() {
    assumeThat(Path.of("/bin/sh")).as("a shell for stand-ins of cargo and rustc").exists();
  }

  private void script(String name, String body) throws Exception {
    Path file = folder.resolve(name);
    Files.writeString(file, "#!/bin/sh\n" + body + "\n");
    assertThat(file.toFile().setExecutable(true)).isTrue();
  }

  private void rust(String version) throws Exception {
    script("cargo", "echo 'cargo " + version + " (0123456789 2025-01-01)'");
    script(
        "rustc",
        "case \"$*\" in *sysroot*) echo "
            + folder
            + ";; *) echo 'host: x86_64-unknown-linux-gnu';;"
            + " esac");
  }

  private String failure(String targets, Map<String, String> environment) throws Exception {
    ProcessBuilder builder =
        new ProcessBuilder(
            Path.of(System.getProperty("java.home"), "bin", "java").toString(),
            "-Drust=" + Path.of("rust").toAbsolutePath(),
            "-Dclasses=" + folder.resolve("classes"),
            "-Drust.minimum=1.85",
            "-Dtargets=" + targets,
            Path.of("src/build/java/BuildNative.java").toString(),
            "build");
    builder.environment().keySet().removeIf(name -> name.matches("(CC|CARGO).*"));
    builder.environment().put("PATH", folder.toString());
    builder.environment().put("CARGO_HOME", folder.resolve("nowhere").toString());
    builder.environment().putAll(environment);
    File errors = folder.resolve("errors").toFile();
    Process process = builder.redirectError(errors).start();
    process.getInputStream().readAllBytes();
    assertThat(process.waitFor()).isEqualTo(1);
    List<String> lines = Files.readAllLines(errors.toPath(), StandardCharsets.UTF_8);
    lines.removeIf(line -> line.startsWith("Picked up "));
    assertThat(lines).hasSize(1);
    return lines.get(0);
  }

  @Test
  void cargoIsMissing() throws Exception {
    assertThat(failure("", Map.of())).contains("cargo is missing", "1.85", "https://rustup.rs");
  }

  @Test
  void cargoIsTooOld() throws Exception {
    rust("1.84.1");
    assertThat(failure("", Map.of())).contains("1.84.1 is too old", "1.85", "rustup update");
  }

  @Test
  void theCompilerIsMissing() throws Exception {
    rust("1.90.0");
    assertThat(failure("", Map.of()))
        .contains("C compiler is missing (cc)", "apt-get install gcc", "xcode-select --install");
    assertThat(failure("", Map.of("CC", "my-cc"))).contains("my-cc");
  }

  @Test
  void aTargetIsMissing() throws Exception {
    rust("1.90.0");
    script("cc", "exit 0");
    String target = "aarch64-unknown-linux-gnu";
    assertThat(failure(target, Map.of())).contains("rustup target add " + target);
    Files.createDirectories(folder.resolve("lib/rustlib").resolve(target).resolve("lib"));
    assertThat(failure(target, Map.of()))
        .contains(
            "C compiler for " + target,
            "apt-get install gcc-aarch64-linux-gnu",
            "CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER");
  }
}
