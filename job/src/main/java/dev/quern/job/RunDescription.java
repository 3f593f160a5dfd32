package dev.quern.job;

import java.util.Map;
import java.util.TreeMap;

/**
 * What a run is about to do: the part of its record that is known before it starts.
 *
 * @param tokenizer the tokenizer as the user named it
 * @param contentHash 64 hex digits: the identity of the ids
 * @param engine the engine that was chosen on the driver
 * @param engineReason why that engine, in a sentence; empty if there is nothing to say
 * @param simd the vector instructions in use on the driver: avx512, avx2, neon, portable, none
 * @param options every option of the run with its value, defaults included; no secrets
 */
public record RunDescription(
    String tokenizer,
    String contentHash,
    String engine,
    String engineReason,
    String simd,
    Map<String, String> options) {

  public RunDescription {
    options = new TreeMap<>(options);
  }

  /** The engine as a line of text names it: "fast (avx2)", "reference". */
  String engineWithSimd() {
    return engineWithSimd(engine, simd);
  }

  static String engineWithSimd(String engine, String simd) {
    return simd.equals("none") ? engine : engine + " (" + simd + ")";
  }
}
