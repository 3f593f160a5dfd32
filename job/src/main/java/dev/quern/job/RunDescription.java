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
 * @param options every option of the run with its value, defaults included; no secrets
 */
public record RunDescription(
    String tokenizer,
    String contentHash,
    String engine,
    String engineReason,
    Map<String, String> options) {

  public RunDescription {
    options = new TreeMap<>(options);
  }
}
