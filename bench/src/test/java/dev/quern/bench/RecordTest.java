package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RecordTest {
  @Test
  void linesComeBackAsTheyWereAppended(@TempDir Path folder) throws Exception {
    Map<String, Object> first = new LinkedHashMap<>();
    first.put("kind", "kernel");
    first.put("tokenizer", "a \"quoted\"\nname, \u00e9 \ud83d\ude00");
    first.put("bytes", 3_000_000_000L);
    first.put("verified_by", null);
    Record.putSpread(first, "cold_mb_s", new Spread(1.23456, 2, 2.5), 4);
    first.put("samples", List.of(Map.of("warm_mb_s", List.of(1.5, 2.5))));
    Map<String, Object> second = Map.of("kind", "seam");

    Path file = Record.append(folder, List.of(first));
    assertThat(Record.append(folder, List.of(second))).isEqualTo(file);

    assertThat(folder.relativize(file).toString())
        .matches(Record.triple() + "/\\d{4}-\\d\\d-\\d\\d\\.jsonl");
    List<Map<String, Object>> read = Record.read(file);
    assertThat(read).containsExactly(first, second);
    assertThat(new ArrayList<>(read.get(0).keySet()))
        .containsExactlyElementsOf(first.keySet())
        .contains("cold_mb_s", "cold_mb_s_min", "cold_mb_s_max", "cold_mb_s_spread");
    assertThat(read.get(0).get("cold_mb_s_min")).isEqualTo(1.2346);
  }

  @Test
  void triplesAreThoseOfRust() {
    assertThat(Record.triple("Linux", "amd64")).isEqualTo("x86_64-unknown-linux-gnu");
    assertThat(Record.triple("Linux", "aarch64")).isEqualTo("aarch64-unknown-linux-gnu");
    assertThat(Record.triple("Linux", "s390x")).isEqualTo("s390x-unknown-linux-gnu");
    assertThat(Record.triple("Mac OS X", "aarch64")).isEqualTo("aarch64-apple-darwin");
    assertThat(Record.triple("Windows 11", "amd64")).isEqualTo("x86_64-pc-windows-msvc");
  }

  @Test
  void theEnvironmentSaysWhereAndWhen(@TempDir Path noCheckout) {
    Map<String, Object> environment = Record.environment(noCheckout, "two other builds ran");
    assertThat(environment)
        .containsEntry("commit", "unknown")
        .containsEntry("triple", Record.triple())
        .containsEntry("note", "two other builds ran");
    assertThat((String) environment.get("date")).matches("\\d{4}-\\d\\d-\\d\\dT[\\d:]+Z");
    assertThat((String) environment.get("machine")).contains(" cores");
    assertThat((String) environment.get("cpu")).isNotBlank();
  }

  @Test
  void memoryOfAProcessIsReadFromItsStatus() {
    assertThat(
            ProcessMemory.parse(
                "Name:\tjava\nVmPeak:\t    2048 kB\nVmRSS:\t     512 kB\nThreads:\t3\n"))
        .isEqualTo(Map.of("VmPeak", 2.0, "VmRSS", 0.5));
  }
}
