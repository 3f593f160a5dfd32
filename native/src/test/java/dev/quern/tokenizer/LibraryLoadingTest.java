package dev.quern.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assumptions.assumeThat;

import dev.quern.tokenizer.LibraryFiles.Packed;
import dev.quern.tokenizer.LibraryOptions.Allocator;
import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import javax.tools.ToolProvider;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which library is loaded, from where, and what goes wrong; each case in a process of its own. */
class LibraryLoadingTest {
  private static final String JAVA =
      Path.of(System.getProperty("java.home"), "bin", "java").toString();

  @TempDir private Path folder;

  /** Surefire's own class path is a jar that names the others. */
  private static String classPath() {
    return System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
  }

  private Process start(List<String> jvm, String first, Object... arguments) throws IOException {
    List<String> command = new ArrayList<>(List.of(JAVA, "-Xmx256m"));
    command.addAll(jvm);
    command.add("-cp");
    command.add(first.isEmpty() ? classPath() : first + File.pathSeparator + classPath());
    command.add(LoadingChild.class.getName());
    for (Object argument : arguments) {
      command.add(argument.toString());
    }
    Process process =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    // A child that hangs must fail its test, not stop the build.
    CompletableFuture.delayedExecutor(5, TimeUnit.MINUTES).execute(process::destroyForcibly);
    return process;
  }

  /** What the child reported; "jna" may occur several times and is joined. */
  private static Map<String, String> report(Process process) throws Exception {
    Map<String, String> report = new HashMap<>();
    try (BufferedReader lines = process.inputReader(StandardCharsets.UTF_8)) {
      String line;
      while ((line = lines.readLine()) != null && !line.equals("waiting=true")) {
        String[] pair = line.split("=", 2);
        report.merge(pair[0], pair.length == 2 ? pair[1] : "", (a, b) -> a + " " + b);
      }
      if (line == null) {
        assertThat(process.waitFor(2, TimeUnit.MINUTES)).isTrue();
        assertThat(process.exitValue()).as("%s", report).isZero();
      }
    }
    return report;
  }

  private Map<String, String> run(Object... arguments) throws Exception {
    return report(start(List.of(), "", arguments));
  }

  private static boolean packed(String allocator) {
    return LibraryFiles.packed().stream()
        .anyMatch(
            one ->
                one.platform().equals(LibraryFiles.platform())
                    && one.allocator().equals(allocator));
  }

  private Path root() {
    return folder.resolve("quern-" + System.getProperty("user.name"));
  }

  private List<Path> inRoot() throws IOException {
    if (!Files.exists(root())) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(root())) {
      return files.toList();
    }
  }

  @Test
  void eachAllocatorIsReallyInUse() throws Exception {
    Map<String, String> system = run("SYSTEM", folder, "-");
    assertThat(system).containsEntry("allocator", "system").containsEntry("bytes", "true");
    Map<String, String> auto = run("AUTO", folder, "-");
    assertThat(auto).containsEntry("allocator", packed("mimalloc") ? "mimalloc" : "system");
    Map<String, String> mimalloc = run("MIMALLOC", folder, "-");
    if (packed("mimalloc")) {
      assertThat(mimalloc).containsEntry("allocator", "mimalloc").containsEntry("bytes", "true");
    } else {
      assertThat(mimalloc.get("message")).contains("mimalloc", "spark.quern.allocator");
    }
  }

  /** mimalloc's heap of the thread that opens the library must outlive it. */
  @Test
  void theThreadThatLoadsMayEnd() throws Exception {
    for (String allocator : List.of("SYSTEM", "AUTO")) {
      assertThat(run(allocator, folder, "-", "threads")).containsEntry("ended", "true");
    }
  }

  @Test
  void everythingIsUnpackedIntoAPrivateFolderAndRemovedAtTheEnd() throws Exception {
    Process process = start(List.of(), "", "AUTO", folder, "-", "wait");
    Map<String, String> report = report(process);
    assertThat(Path.of(report.get("file"))).exists().startsWith(root());
    if (report.containsKey("jna")) {
      assertThat(report.get("jna")).startsWith(root().toString());
    }
    assertThat(report).containsEntry("tmpdir", "null");
    if (Files.getFileStore(folder).supportsFileAttributeView("posix")) {
      for (Path path : List.of(root(), Path.of(report.get("file")).getParent())) {
        assertThat(PosixFilePermissions.toString(Files.getPosixFilePermissions(path)))
            .isEqualTo("rwx------");
      }
    }
    process.getOutputStream().close();
    assertThat(process.waitFor(2, TimeUnit.MINUTES)).isTrue();
    assertThat(inRoot()).isEmpty();
  }

  @Test
  void processesThatStartAtOnceDoNotDisturbEachOther() throws Exception {
    List<Process> processes = new ArrayList<>();
    for (int i = 0; i < 4; i++) {
      processes.add(start(List.of(), "", "AUTO", folder, "-"));
    }
    for (Process process : processes) {
      assertThat(report(process)).containsEntry("ids", "2");
    }
    assertThat(inRoot()).isEmpty();
  }

  @Test
  void leftoversOfKilledProcessesAreRemovedAndOnlyThose() throws Exception {
    Process killed = start(List.of(), "", "AUTO", folder, "-", "wait");
    Path left = Path.of(report(killed).get("file"));
    Process living = start(List.of(), "", "AUTO", folder, "-", "wait");
    Path used = Path.of(report(living).get("file"));
    killed.destroyForcibly().waitFor();
    assertThat(left).exists();
    Map<String, String> next = run("AUTO", folder, "-");
    assertThat(next).containsEntry("ids", "2");
    assertThat(left.getParent()).doesNotExist();
    assertThat(used).exists();
    assertThat(inRoot()).hasSize(2);
    living.getOutputStream().close();
    assertThat(living.waitFor(2, TimeUnit.MINUTES)).isTrue();
    assertThat(inRoot()).isEmpty();
  }

  @Test
  void aSecondBuildInOneProcessIsAnErrorThatNamesBoth() throws Exception {
    Map<String, String> report = run("AUTO", folder, "-", "again");
    assertThat(report).containsEntry("ids", "2").containsEntry("reason", "LIBRARY");
    assertThat(report.get("message"))
        .contains("allocator auto", folder.toString(), "allocator system", "one build a process");
  }

  @Test
  void classLoadersShareTheLibraryAndItsTokenizers() throws Exception {
    Map<String, String> report = run("AUTO", folder, "-", "loaders");
    assertThat(report.get("otherFile")).isNotNull().isEqualTo(report.get("file"));
    assertThat(report).containsEntry("loadedMore", "0");
  }

  @Test
  void anExplicitLibraryIsFinal() throws Exception {
    Path missing = folder.resolve("no-such-library.so");
    assertThat(run("AUTO", folder, missing).get("message"))
        .contains(missing.toString(), "spark.quern.library.path", "nothing else is tried");
    Path garbage = folder.resolve("garbage.so");
    Files.writeString(garbage, "this is no library");
    assertThat(run("AUTO", folder, garbage).get("message"))
        .contains(garbage.toString(), "can't load");
  }

  @Test
  void anExplicitLibraryMustHaveTheAllocatorAsked() throws Exception {
    Path library = explicit();
    assertThat(run("AUTO", folder, library))
        .containsEntry("allocator", "system")
        .containsEntry("file", library.toString());
    assertThat(run("MIMALLOC", folder, library).get("message"))
        .contains(library.toString(), "uses the allocator system, not mimalloc");
  }

  /** A copy of the packed one, alone in a folder. */
  private Path explicit() throws IOException {
    Path library =
        Files.createDirectories(folder.resolve("given")).resolve(System.mapLibraryName("other"));
    try (var in =
        LibraryFiles.class.getResourceAsStream(
            "/dev/quern/native/"
                + LibraryFiles.platform()
                + "/system/"
                + System.mapLibraryName("quern"))) {
      Files.copy(in, library);
    }
    return library;
  }

  private Path compiled(String name, String source) throws Exception {
    Path code = folder.resolve(name + ".c");
    Files.writeString(code, source);
    Path library = folder.resolve(System.mapLibraryName(name));
    Process compiler;
    try {
      compiler =
          new ProcessBuilder("cc", "-shared", "-fPIC", "-o", library.toString(), code.toString())
              .inheritIO()
              .start();
    } catch (IOException e) {
      assumeThat(false).as("there is a C compiler: " + e.getMessage()).isTrue();
      throw e;
    }
    assertThat(compiler.waitFor()).isZero();
    return library;
  }

  @Test
  void aLibraryOfAnotherAbiIsRefused() throws Exception {
    Path other = compiled("abi99", "long long quern_abi_version(void) { return 99; }\n");
    assertThat(run("AUTO", folder, other).get("message"))
        .contains(other.toString(), "ABI version 99", "needs 1", "spark.quern.library.path");
    Path foreign = compiled("foreign", "int something_else(void) { return 1; }\n");
    assertThat(run("AUTO", folder, foreign).get("message"))
        .contains(foreign.toString(), "not Quern's");
    Path part = compiled("part", "long long quern_abi_version(void) { return 1; }\n");
    assertThat(run("AUTO", folder, part))
        .containsEntry("reason", "LIBRARY")
        .hasEntrySatisfying(
            "message",
            text ->
                assertThat(text)
                    .contains(part.toString(), "lacks a function", "spark.quern.library.path"));
  }

  @Test
  void attemptsThatFailLeaveNothingMoreBehind() throws Exception {
    for (Path wrong :
        List.of(
            folder.resolve("missing"),
            compiled("none", "int something_else(void) { return 1; }"))) {
      Map<String, String> report = run("AUTO", folder, wrong, "retry");
      assertThat(report)
          .containsEntry("failed", "LIBRARY LIBRARY LIBRARY LIBRARY LIBRARY")
          .containsEntry("keepers", Files.exists(wrong) ? "1" : "0")
          .containsEntry("files", "2")
          .containsEntry("ids", "2");
    }
    assertThat(inRoot()).isEmpty();
  }

  @Test
  void classLoadersShareAnExplicitLibrary() throws Exception {
    Path library = explicit();
    Map<String, String> report = run("AUTO", folder, library, "loaders");
    assertThat(report).containsEntry("otherFile", library.toString());
    try (Stream<Path> beside = Files.list(library.getParent())) {
      assertThat(beside).as("JNA's own library is not put there").containsExactly(library);
    }
  }

  /** In containers all processes are number 1. */
  @Test
  void leftoversWithTheNumberOfALivingProcessAreRemoved() throws Exception {
    LibraryFiles first = LibraryFiles.open(folder);
    assertThat(LibraryFiles.open(folder)).isSameAs(first);
    Path outside = Files.writeString(folder.resolve("outside"), "stays");
    String left = ProcessHandle.current().pid() + "-0123-abcd";
    Files.createDirectory(root().resolve(left));
    Files.createSymbolicLink(root().resolve(left).resolve("link"), outside);
    Files.createFile(root().resolve(left + ".lock"));
    Files.createDirectory(root().resolve("12-34"));
    Files.createSymbolicLink(root().resolve("12-34.lock"), outside);
    Files.createFile(root().resolve(".lock"));
    Files.createSymbolicLink(root().resolve("56-78"), folder);
    Files.createFile(root().resolve("56-78.lock"));
    // Another spelling of the same folder, as another class loader would open it.
    LibraryFiles second = LibraryFiles.open(folder.resolve("."));
    assertThat(root().resolve(left)).doesNotExist();
    assertThat(root().resolve(left + ".lock")).doesNotExist();
    assertThat(Files.exists(root().resolve("56-78"), LinkOption.NOFOLLOW_LINKS)).isFalse();
    assertThat(first.folder()).exists();
    assertThat(second.folder()).exists();
    assertThat(outside).hasContent("stays");
    assertThat(root().resolve("12-34")).as("its lock is a link").exists();
  }

  @Test
  void aDamagedJarIsRefused() throws Exception {
    Packed one =
        LibraryFiles.choose(LibraryFiles.packed(), LibraryFiles.platform(), Allocator.AUTO);
    Path damaged =
        folder
            .resolve("classes/dev/quern/native")
            .resolve(one.platform())
            .resolve(one.allocator())
            .resolve(System.mapLibraryName("quern"));
    Files.createDirectories(damaged.getParent());
    Files.writeString(damaged, "half a library");
    Process process = start(List.of(), folder.resolve("classes").toString(), "AUTO", folder, "-");
    assertThat(report(process).get("message"))
        .contains(one.platform(), "14 bytes", "SHA-256", "damaged");
  }

  @Test
  void aDamagedFileIsRefused() throws Exception {
    Path file = folder.resolve("library");
    Files.writeString(file, "whole");
    String expected = LibraryFiles.sha256("whole".getBytes(StandardCharsets.UTF_8));
    LibraryFiles.check(file, expected);
    Files.writeString(file, "half");
    assertThatThrownBy(() -> LibraryFiles.check(file, expected))
        .isInstanceOf(TokenizerException.class)
        .hasMessageContaining(file.toString())
        .hasMessageContaining(expected)
        .hasMessageContaining("spark.quern.library.directory");
  }

  @Test
  void aFolderOfOthersIsRefused() throws Exception {
    assumeThat(Files.getFileStore(folder).supportsFileAttributeView("posix")).isTrue();
    Files.createDirectory(root());
    Files.setPosixFilePermissions(root(), PosixFilePermissions.fromString("rwxrwxrwx"));
    assertThat(run("AUTO", folder, "-").get("message"))
        .contains(root().toString(), "open to other users", "spark.quern.library.directory");
    Files.delete(root());
    Files.createSymbolicLink(root(), Files.createDirectory(folder.resolve("elsewhere")));
    assertThat(run("AUTO", folder, "-").get("message")).contains(root().toString(), "not a folder");
  }

  @Test
  void mountsWithoutExecutionAreFound() {
    List<String> mounts =
        List.of(
            "22 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw",
            "23 22 0:20 / /tmp rw,nosuid,nodev,noexec - tmpfs tmpfs rw",
            "24 23 0:21 / /tmp/with\\040space rw,noexec - tmpfs tmpfs rw",
            "25 23 0:22 / /tmp/good rw - tmpfs tmpfs rw",
            "26 22 0:23 / /twice rw,noexec - tmpfs tmpfs rw",
            "27 26 0:24 / /twice rw - tmpfs tmpfs rw");
    assertThat(LibraryFiles.noExecMount(mounts, "/tmp/quern-x")).isEqualTo("/tmp");
    assertThat(LibraryFiles.noExecMount(mounts, "/tmp")).isEqualTo("/tmp");
    assertThat(LibraryFiles.noExecMount(mounts, "/tmpfiles/x")).isNull();
    assertThat(LibraryFiles.noExecMount(mounts, "/tmp/good/x")).isNull();
    assertThat(LibraryFiles.noExecMount(mounts, "/twice/x")).isNull();
    assertThat(LibraryFiles.noExecMount(mounts, "/tmp/with space/x")).isEqualTo("/tmp/with space");
  }

  @Test
  void aFolderWithoutExecutionIsNamedWithTheKey() throws Exception {
    Path mount = folder.resolve("noexec");
    Files.createDirectory(mount);
    boolean mounted;
    try {
      mounted =
          new ProcessBuilder("mount", "-t", "tmpfs", "-o", "noexec", "tmpfs", mount.toString())
                  .redirectErrorStream(true)
                  .start()
                  .waitFor()
              == 0;
    } catch (IOException e) {
      mounted = false;
    }
    assumeThat(mounted).as("this user may mount a file system noexec").isTrue();
    try {
      assertThat(run("AUTO", mount, "-").get("message"))
          .contains(mount.toString(), "noexec", "spark.quern.library.directory");
    } finally {
      new ProcessBuilder("umount", mount.toString()).inheritIO().start().waitFor();
    }
  }

  @Test
  void anUnsupportedPlatformIsToldWhatThereIs() throws Exception {
    Process process = start(List.of("-Dos.arch=sparcv9"), "", "AUTO", folder, "-");
    assertThat(report(process).get("message"))
        .contains("sparcv9", "only for", LibraryFiles.platform(), "-Dquern.targets=");
    List<Packed> packed = List.of(new Packed("linux-s390x", "system", "0"));
    assertThat(LibraryFiles.choose(packed, "linux-s390x", Allocator.AUTO).allocator())
        .isEqualTo("system");
    assertThatThrownBy(() -> LibraryFiles.choose(packed, "linux-s390x", Allocator.MIMALLOC))
        .isInstanceOf(TokenizerException.class)
        .hasMessageContaining("only system")
        .hasMessageContaining("spark.quern.allocator");
  }

  @Test
  void anOlderJnaFoundFirstIsNamed() throws Exception {
    Path source = Files.createDirectories(folder.resolve("old")).resolve("Version.java");
    Files.writeString(
        source, "package com.sun.jna; interface Version { String VERSION = \"4.2.2\"; }");
    int status =
        ToolProvider.getSystemJavaCompiler()
            .run(null, null, null, "-d", source.getParent().toString(), source.toString());
    assertThat(status).isZero();
    Process process = start(List.of(), source.getParent().toString(), "AUTO", folder, "-");
    assertThat(report(process).get("message")).contains("4.2.2", "jna", "5.");
    assertThat(QuernLibrary.olderThan("5.6.0", "5.7.0")).isTrue();
    assertThat(QuernLibrary.olderThan("5.18.1", "5.7.0")).isFalse();
    assertThat(QuernLibrary.olderThan("older than 4", "5.7.0")).isTrue();
    assertThat(QuernLibrary.olderThan("5.7", "5.7.0")).isFalse();
  }
}
