package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.quern.bench.Kernel.Contender;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The real peers.py and, where they are installed (bench/target/peers, or the interpreter of the
 * system property quern.peers.python), the real peers.
 */
class PeersTest {
  private static final Path CHECKOUT = Path.of("").toAbsolutePath().getParent();

  private final StringWriter progress = new StringWriter();

  @BeforeEach
  void root() {
    System.setProperty("quern.root", CHECKOUT.toString());
  }

  @AfterEach
  void noRoot() {
    System.clearProperty("quern.root");
  }

  @Test
  void aBarePythonSaysWhatItLacks() throws Exception {
    Map<String, String> versions;
    try {
      versions = Processes.peers("python3");
    } catch (BenchException e) {
      assumeTrue(false, e.getMessage());
      return;
    }
    assertThat(versions).containsOnlyKeys("gigatoken", "snaptokens", "tiktoken", "tokenizers");
  }

  @Test
  void peersGiveTheReferencesIdsAndAreMeasuredAlike(@TempDir Path folder) throws Exception {
    String python = System.getProperty("quern.peers.python");
    Path installed = CHECKOUT.resolve("bench/target/peers/bin/python");
    if (python == null) {
      assumeTrue(Files.exists(installed), "the peers are not installed");
      python = installed.toString();
    }
    List<Contender> contenders = new ArrayList<>();
    contenders.add(new Contender("quern", "auto", "auto"));
    Processes.peers(python)
        .forEach(
            (tool, version) -> {
              if (version != null) {
                contenders.add(new Contender(tool, null, null));
              }
            });
    Corpus corpus =
        Corpus.read(
            List.of(), new Corpus.Options("text", false, 40_000, 100), folder.resolve("corpus"));
    Path json = folder.resolve("tokenizer.json");
    dev.quern.tokenizer.TokenizerSpec gpt2 = KernelTask.spec("gpt2", null);
    TokenizerJson.write(gpt2, json);
    Path ranks = Files.write(folder.resolve("ranks.tiktoken"), gpt2.file());
    Kernel.Plan plan =
        new Kernel.Plan(
            null,
            "gpt2",
            gpt2.pattern(),
            ranks.toString(),
            json.toString(),
            List.of(corpus),
            contenders,
            List.of(1),
            false,
            0,
            10,
            "cpu",
            1);
    List<Map<String, Object>> lines =
        new Kernel(
                plan, new Processes(folder, python, List.of()), folder, new PrintWriter(progress))
            .measure();
    assertThat(lines).as(progress.toString()).hasSize(contenders.size());
    assertThat(lines).extracting("ids_hash").containsOnly(lines.get(0).get("ids_hash"));
    assertThat(lines).extracting("verified_documents").containsOnly(corpus.documents());
    for (Map<String, Object> line : lines) {
      assertThat(line.keySet())
          .containsAll(
              List.of(
                  "load_s",
                  "cold_mb_s",
                  "steady_mb_s",
                  "warm_mb_s",
                  "warm_median_mb_s",
                  "rss_start_mib",
                  "rss_load_mib",
                  "rss_pass_mib",
                  "vm_hwm_mib",
                  "vm_peak_mib",
                  "rss_after_10_mib"));
    }
  }
}
