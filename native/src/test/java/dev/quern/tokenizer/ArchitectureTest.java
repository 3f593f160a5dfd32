package dev.quern.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The borders between the modules, and around JNA: native <- udf <- job <- bench. */
class ArchitectureTest {
  private static final Path ROOT = Path.of("..").toAbsolutePath().normalize();
  private static final List<String> MODULES = List.of("native", "udf", "job", "bench");
  private static final Map<String, String> PACKAGES =
      Map.of(
          "native", "dev.quern.tokenizer",
          "udf", "dev.quern.sql",
          "job", "dev.quern.job",
          "bench", "dev.quern.bench");

  private static List<Path> sources(String module) throws IOException {
    Path folder = ROOT.resolve(module).resolve("src");
    if (!Files.exists(folder)) {
      return List.of();
    }
    try (Stream<Path> files = Files.walk(folder)) {
      return files.filter(file -> file.toString().endsWith(".java")).toList();
    }
  }

  private static boolean imports(Path file, String prefix) throws IOException {
    Pattern pattern = Pattern.compile("^import (static )?" + Pattern.quote(prefix) + "\\..*");
    return Files.readAllLines(file).stream().anyMatch(line -> pattern.matcher(line).matches());
  }

  @Test
  void onlyOneFileKnowsJna() throws IOException {
    List<String> found = new ArrayList<>();
    for (String module : MODULES) {
      for (Path file : sources(module)) {
        if (imports(file, "com.sun.jna")) {
          found.add(file.getFileName().toString());
        }
      }
    }
    assertThat(found).containsExactly("QuernLibrary.java");
  }

  @Test
  void dependenciesGoOneWay() throws IOException {
    for (int lower = 0; lower < MODULES.size(); lower++) {
      String module = MODULES.get(lower);
      String pom = Files.readString(ROOT.resolve(module).resolve("pom.xml"));
      for (String higher : MODULES.subList(lower + 1, MODULES.size())) {
        assertThat(pom)
            .as("%s/pom.xml", module)
            .doesNotContain("<artifactId>quern-" + higher + "</artifactId>");
        for (Path file : sources(module)) {
          assertThat(imports(file, PACKAGES.get(higher)))
              .as("%s imports %s", ROOT.relativize(file), PACKAGES.get(higher))
              .isFalse();
        }
      }
    }
  }

  @Test
  void theTokenizerNeedsNoSpark() throws IOException {
    for (Path file : sources("native")) {
      assertThat(imports(file, "org.apache.spark")).as(file.toString()).isFalse();
    }
  }
}
