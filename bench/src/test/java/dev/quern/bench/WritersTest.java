package dev.quern.bench;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.util.List;
import org.junit.jupiter.api.Test;

class WritersTest {
  @Test
  void eachWritesFilesThatSparkReadsBackAndIsTimed() throws Exception {
    StringWriter out = new StringWriter();
    StringWriter error = new StringWriter();
    int status =
        QuernBench.commandLine()
            .setOut(new PrintWriter(out))
            .setErr(new PrintWriter(error))
            .execute(
                "writers",
                "--mb",
                "1",
                "--rounds",
                "2",
                "--writers",
                "parquet/plain/zstd:1,arrow/none,spark/snappy",
                "--json");
    assertThat(status).as("%s", error).isZero();
    List<String> lines = out.toString().lines().toList();
    assertThat(lines).hasSize(3);
    for (String text : lines) {
      JsonNode line = KernelTask.JSON.readTree(text);
      assertThat(line.get("kind").asText()).isEqualTo("writers");
      assertThat(line.get("rounds").asInt()).isEqualTo(2);
      assertThat(line.get("mb_s_min").asDouble())
          .isPositive()
          .isLessThanOrEqualTo(line.get("mb_s_max").asDouble());
      assertThat(line.get("tokens_s").asLong()).isPositive();
      assertThat(line.get("bytes_per_token").asDouble()).isBetween(0.5, 6.0);
    }
  }
}
