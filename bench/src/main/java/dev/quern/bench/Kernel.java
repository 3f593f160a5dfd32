package dev.quern.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The kernel measurement: every contender first makes the ids untimed and they are compared with
 * those of an independent one; only then, in turn, fresh processes are timed. Each of these gives
 * the hash of its own ids as well, and another hash than the compared one ends the measurement.
 */
final class Kernel {
  /**
   * Who is measured.
   *
   * @param tool quern, jtokkit, tokenizers or tiktoken
   * @param engine asked of Quern, else null
   * @param allocator asked of Quern, else null
   */
  record Contender(String tool, String engine, String allocator) {
    @Override
    public String toString() {
      return tool.equals("quern") ? "quern " + engine + " " + allocator : tool;
    }
  }

  /** Does one task in a process of its own, or in this one in tests. */
  interface Runner {
    /** The result that {@link KernelRun#run} describes; BenchException when there is none. */
    Map<String, Object> run(KernelTask task) throws IOException, InterruptedException;
  }

  /**
   * What to measure; the rest of a {@link KernelTask} follows from it.
   *
   * @param ranks file of the vocabulary for tiktoken, or null
   */
  record Plan(
      Corpus corpus,
      String tokenizer,
      String pattern,
      String ranks,
      List<Contender> contenders,
      int threads,
      int warmPasses,
      int rounds) {}

  /** Steady is the last 10 MB of the first pass, or its last third where that is less. */
  private static final long TAIL_BYTES = 10_000_000;

  /** Who judges whom: the first of these that is another engine than the one judged. */
  private static final List<String> JUDGES =
      List.of("jtokkit", "reference", "tokenizers", "tiktoken");

  private final Plan plan;
  private final Runner runner;
  private final Path folder;
  private final PrintWriter progress;

  Kernel(Plan plan, Runner runner, Path folder, PrintWriter progress) {
    this.plan = plan;
    this.runner = runner;
    this.folder = folder;
    this.progress = progress;
  }

  /** Ids made untimed, and by whom they were found right; by is null when there was nobody. */
  private static final class Checked {
    final Contender contender;
    final Path file;
    final Map<String, Object> result;
    String by;
    long documents;

    Checked(Contender contender, Path file, Map<String, Object> result) {
      this.contender = contender;
      this.file = file;
      this.result = result;
    }

    String engine() {
      return (String) result.get("engine");
    }

    @Override
    public String toString() {
      return engine() + " " + result.get("tool_version");
    }
  }

  /** Measures; one line of the record (without the machine's part) for every contender. */
  List<Map<String, Object>> measure() throws IOException, InterruptedException {
    List<Checked> checked = check();
    List<List<Map<String, Object>>> samples = new ArrayList<>();
    checked.forEach(c -> samples.add(new ArrayList<>()));
    for (int round = 0; round < plan.rounds(); round++) {
      for (int i = 0; i < checked.size(); i++) {
        Checked contender = checked.get(i);
        progress.printf("round %d of %d: %s%n", round + 1, plan.rounds(), contender.contender);
        progress.flush();
        Map<String, Object> sample = runner.run(task(contender.contender, true, null));
        if (!contender.result.get("ids_hash").equals(sample.get("ids_hash"))) {
          throw new BenchException(
              BenchException.WRONG_RESULT,
              contender.contender
                  + " gave other ids in a timed process than in the checked one: no time of it is"
                  + " reported; it is not deterministic, or its input changed meanwhile");
        }
        samples.get(i).add(sample);
      }
    }
    List<Map<String, Object>> lines = new ArrayList<>();
    for (int i = 0; i < checked.size(); i++) {
      lines.add(line(checked.get(i), samples.get(i)));
    }
    return lines;
  }

  private KernelTask task(Contender contender, boolean timed, Path ids) {
    return new KernelTask(
        contender.tool(),
        contender.engine(),
        contender.allocator(),
        plan.tokenizer(),
        plan.pattern(),
        plan.ranks(),
        plan.corpus().file().toString(),
        plan.threads(),
        plan.warmPasses(),
        timed,
        Math.min(TAIL_BYTES, (plan.corpus().bytes() + 2) / 3),
        ids == null ? null : ids.toString(),
        folder.resolve("result.json").toString());
  }

  private List<Checked> check() throws IOException, InterruptedException {
    List<Checked> contenders = new ArrayList<>();
    for (Contender contender : plan.contenders()) {
      contenders.add(untimed(contender, contenders.size()));
    }
    List<Checked> judges = new ArrayList<>(contenders);
    boolean builtIn = judges.stream().anyMatch(c -> c.engine().equals("jtokkit"));
    if (!builtIn && judges.stream().noneMatch(c -> c.engine().equals("reference"))) {
      judges.add(untimed(new Contender("quern", "reference", "auto"), judges.size()));
    }
    for (Checked contender : contenders) {
      Checked judge = judgeOf(contender, judges);
      if (judge != null) {
        compare(contender, judge);
      }
      progress.printf(
          "%s: %s%n",
          contender.contender,
          judge == null
              ? "not verified, there is no independent engine for this tokenizer here (--peers)"
              : "ids equal to those of " + contender.by);
      progress.flush();
    }
    return contenders;
  }

  private Checked untimed(Contender contender, int number)
      throws IOException, InterruptedException {
    progress.printf("checking the ids of %s%n", contender);
    progress.flush();
    Path ids = folder.resolve("ids-" + number);
    return new Checked(contender, ids, runner.run(task(contender, false, ids)));
  }

  private static Checked judgeOf(Checked contender, List<Checked> judges) {
    return JUDGES.stream()
        .filter(engine -> !engine.equals(contender.engine()))
        .flatMap(engine -> judges.stream().filter(judge -> judge.engine().equals(engine)))
        .findFirst()
        .orElse(null);
  }

  private void compare(Checked contender, Checked judge) throws IOException {
    boolean jdkJudges = judge.engine().equals("jtokkit") || contender.engine().equals("jtokkit");
    BitSet unknown = jdkJudges ? documentsBeyondTheJdk() : new BitSet();
    try (Documents.IdReader expected = new Documents.IdReader(judge.file);
        Documents.IdReader found = new Documents.IdReader(contender.file)) {
      int document = 0;
      for (int[] want = expected.next(); ; want = expected.next(), document++) {
        int[] have = found.next();
        if (want == null && have == null) {
          break;
        }
        if (want == null || have == null) {
          throw new BenchException(
              BenchException.WRONG_RESULT,
              contender.contender + " and " + judge + " encoded different numbers of documents");
        }
        int at = Arrays.mismatch(want, have);
        if (at >= 0 && !unknown.get(document)) {
          throw new BenchException(
              BenchException.WRONG_RESULT,
              String.format(
                  "%s and %s give different ids for document %d, from token %d on (%s against %s)."
                      + " There is no time for a wrong answer: report it with the document",
                  contender.contender, judge, document, at, idAt(have, at), idAt(want, at)));
        }
      }
      contender.documents = document - unknown.cardinality();
    }
    contender.by = judge.toString();
  }

  private static String idAt(int[] ids, int at) {
    return at < ids.length ? Integer.toUnsignedString(ids[at]) : "none";
  }

  /**
   * jtokkit's character classes are the JDK's: it can't judge characters this JDK is too old for.
   */
  private BitSet documentsBeyondTheJdk() throws IOException {
    BitSet beyond = new BitSet();
    int document = 0;
    for (byte[] utf8 : Documents.texts(plan.corpus().file())) {
      String text = new String(utf8, StandardCharsets.UTF_8);
      beyond.set(
          document++,
          text.codePoints().anyMatch(c -> Character.getType(c) == Character.UNASSIGNED));
    }
    return beyond;
  }

  private Map<String, Object> line(Checked checked, List<Map<String, Object>> samples) {
    Map<String, Object> last = samples.get(samples.size() - 1);
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("kind", "kernel");
    line.put("tool", checked.contender.tool());
    line.put("tool_version", last.get("tool_version"));
    line.put("engine", last.get("engine"));
    line.put("allocator", last.get("allocator"));
    line.put("tokenizer", Path.of(plan.tokenizer()).getFileName().toString());
    line.put("tokenizer_hash", last.get("tokenizer_hash"));
    line.put("corpus", plan.corpus().name());
    line.put("corpus_hash", plan.corpus().hash());
    line.put("bytes", plan.corpus().bytes());
    line.put("documents", plan.corpus().documents());
    line.put("tokens", last.get("tokens"));
    line.put("ids_hash", last.get("ids_hash"));
    line.put("verified_by", checked.by);
    line.put("verified_documents", checked.documents);
    line.put("threads", plan.threads());
    line.put("rounds", samples.size());
    line.put("steady_bytes", last.get("steady_bytes"));
    for (String quantity : List.of("load_s", "cold_mb_s", "steady_mb_s", "warm_mb_s")) {
      spread(line, quantity, 4, samples);
    }
    for (String quantity :
        List.of("rss_start_mib", "rss_load_mib", "rss_end_mib", "vm_hwm_mib", "vm_peak_mib")) {
      spread(line, quantity, 1, samples);
    }
    line.put(
        "samples",
        samples.stream()
            .map(
                sample -> {
                  Map<String, Object> own = new LinkedHashMap<>(sample);
                  own.keySet().retainAll(SAMPLED);
                  return own;
                })
            .toList());
    return line;
  }

  private static final List<String> SAMPLED =
      List.of(
          "load_s",
          "cold_mb_s",
          "steady_mb_s",
          "warm_mb_s",
          "rss_start_mib",
          "rss_load_mib",
          "rss_end_mib",
          "vm_hwm_mib",
          "vm_peak_mib");

  /** The median under the quantity's own name, then _min, _max and _spread; nothing if unknown. */
  private static void spread(
      Map<String, Object> line, String quantity, int digits, List<Map<String, Object>> samples) {
    List<Double> values = new ArrayList<>();
    for (Map<String, Object> sample : samples) {
      Object value = sample.get(quantity);
      if (value instanceof List<?> several) {
        several.forEach(one -> values.add(((Number) one).doubleValue()));
      } else if (value != null) {
        values.add(((Number) value).doubleValue());
      }
    }
    if (!values.isEmpty()) {
      Record.putSpread(line, quantity, Spread.of(values), digits);
    }
  }
}
