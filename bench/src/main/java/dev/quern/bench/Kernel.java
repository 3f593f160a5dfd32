package dev.quern.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The kernel measurement of one tokenizer over one corpus. Every contender first makes the ids,
 * untimed, and they are compared with those of the reference engine; only then, in turn, fresh
 * processes are timed. Each of these gives the hash of its own ids as well. Wrong ids of Quern end
 * the measurement; other ids of a peer are reported, and it is compared with nothing.
 */
final class Kernel {
  /**
   * Who is measured.
   *
   * @param tool quern, or a peer: jtokkit, gigatoken, snaptokens, tiktoken, tokenizers
   * @param engine asked of Quern, else null
   * @param allocator asked of Quern, else null
   */
  record Contender(String tool, String engine, String allocator) {
    boolean isQuern() {
      return tool.equals("quern");
    }

    @Override
    public String toString() {
      return isQuern() ? "quern " + engine + " " + allocator : tool;
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
   * @param cacheBytes of each thread of Quern's; null: its default
   * @param tokenizer a built-in name or a file
   * @param ranks file of the vocabulary for tiktoken, or null
   * @param json file of the vocabulary for the other Python peers, or null
   * @param corpora one, or the same documents cut to several lengths
   * @param threads numbers of threads; speeds are compared with those of the first
   * @param each every thread has all of the text; else it is divided
   * @param pieceBytes of the first pass; 0: 10 MB, or a third of a smaller corpus
   */
  record Plan(
      Long cacheBytes,
      String tokenizer,
      String pattern,
      String ranks,
      String json,
      List<Corpus> corpora,
      List<Contender> contenders,
      List<Integer> threads,
      boolean each,
      long pieceBytes,
      int passes,
      String clock,
      int rounds) {}

  private static final long PIECE_BYTES = 10_000_000;
  private static final int LEAST_PIECES = 3;

  private static final Contender REFERENCE = new Contender("quern", "reference", "auto");

  /** Who can confirm the reference engine, the best first. */
  private static final List<String> JUDGES_OF_THE_REFERENCE =
      List.of("tokenizers", "tiktoken", "jtokkit");

  /** Figures whose ratio says something, and whether more is better. */
  private static final Map<String, Boolean> COMPARED = new LinkedHashMap<>();

  static {
    COMPARED.put("cold_mb_s", true);
    COMPARED.put("steady_mb_s", true);
    COMPARED.put("warm_mb_s", true);
    COMPARED.put("warm_median_mb_s", true);
    COMPARED.put("load_s", false);
  }

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

  /**
   * Where a contender's ids are not those of the reference engine.
   *
   * @param documents how many documents differ
   * @param document the first of them, from 0
   * @param token the first id that differs in it, from 0
   * @param id it, as unsigned number; "none" after the last
   * @param expected what the reference engine has there
   */
  record Difference(long documents, int document, int token, String id, String expected) {
    @Override
    public String toString() {
      return String.format(
          "%d documents differ; the first is document %d, from id %d on (%s, not %s)",
          documents, document, token, id, expected);
    }
  }

  /** A contender over one corpus: its untimed ids, what became of them, and its timed results. */
  private static final class Entry {
    final Contender contender;
    final Corpus corpus;
    final Path file;
    final Map<String, Object> result;
    String by;
    long documents;
    Difference difference;

    /** One list for each number of threads, one result for each round. */
    final Map<Integer, List<Map<String, Object>>> samples = new LinkedHashMap<>();

    Entry(Contender contender, Corpus corpus, Path file, Map<String, Object> result) {
      this.contender = contender;
      this.corpus = corpus;
      this.file = file;
      this.result = result;
    }

    String engine() {
      return (String) result.get("engine");
    }

    String nameAndVersion() {
      return engine() + " " + result.get("tool_version");
    }
  }

  /** Measures; one line of the record (without the machine's part) for every contender. */
  List<Map<String, Object>> measure() throws IOException, InterruptedException {
    List<Entry> entries = new ArrayList<>();
    for (Corpus corpus : plan.corpora()) {
      entries.addAll(check(corpus, entries.size()));
    }
    List<Entry> order = new ArrayList<>(entries);
    for (int round = 0; round < plan.rounds(); round++) {
      for (int threads : plan.threads()) {
        for (Entry entry : order) {
          if (!entries.contains(entry)) {
            continue;
          }
          say("round %d of %d: %s, %d threads", round + 1, plan.rounds(), entry.contender, threads);
          Map<String, Object> sample;
          try {
            sample = runner.run(task(entry.contender, entry.corpus, threads, true, null));
            checkHash(entry, sample);
          } catch (BenchException e) {
            if (entry.contender.isQuern()) {
              throw e;
            }
            say("%s takes no part any more: %s", entry.contender, e.getMessage());
            entries.remove(entry);
            continue;
          }
          entry.samples.computeIfAbsent(threads, key -> new ArrayList<>()).add(sample);
        }
      }
      // Whoever follows whom, it is the other way round in the next round.
      Collections.reverse(order);
    }
    List<Map<String, Object>> lines = new ArrayList<>();
    for (int threads : plan.threads()) {
      for (Entry entry : entries) {
        lines.add(line(entry, threads, entries));
      }
    }
    return lines;
  }

  private static void checkHash(Entry entry, Map<String, Object> sample) {
    if (!entry.result.get("ids_hash").equals(sample.get("ids_hash"))) {
      throw new BenchException(
          BenchException.WRONG_RESULT,
          entry.contender
              + " gave other ids in a timed process than in the checked one: no time of it is"
              + " reported; it is not deterministic, or its input changed meanwhile");
    }
  }

  private KernelTask task(Contender contender, Corpus corpus, int threads, boolean timed, Path ids)
      throws IOException {
    return new KernelTask(
        contender.tool(),
        contender.engine(),
        contender.allocator(),
        plan.cacheBytes(),
        plan.tokenizer(),
        plan.pattern(),
        plan.ranks(),
        plan.json(),
        corpus.file().toString(),
        Math.toIntExact(corpus.documents()),
        corpus.bytes(),
        pieces(corpus, plan.pieceBytes()),
        threads,
        plan.each(),
        plan.passes(),
        plan.clock(),
        timed,
        false,
        false,
        0,
        null,
        null,
        ids == null ? null : ids.toString(),
        folder.resolve("result.json").toString());
  }

  /**
   * The first document of each piece of the first pass. Pieces are equal as far as documents allow:
   * a short last one would make a steady speed of nearly nothing.
   *
   * @param pieceBytes about as many in each; 0: 10 MB, or a third of a smaller corpus
   */
  static List<Integer> pieces(Corpus corpus, long pieceBytes) throws IOException {
    long bytes = corpus.bytes();
    long wanted =
        pieceBytes > 0 ? pieceBytes : Math.max(1, Math.min(PIECE_BYTES, bytes / LEAST_PIECES));
    double pieces = Math.max(1, Math.round((double) bytes / wanted));
    List<Integer> begins = new ArrayList<>();
    try (Documents.Reader reader = new Documents.Reader(corpus.file())) {
      long at = 0;
      int document = 0;
      for (byte[] text = reader.text(); text != null; text = reader.text(), document++) {
        if (begins.size() < pieces && at >= begins.size() * (bytes / pieces)) {
          begins.add(document);
        }
        at += text.length;
      }
    }
    return begins;
  }

  private List<Entry> check(Corpus corpus, int number) throws IOException, InterruptedException {
    Entry reference = untimed(REFERENCE, corpus, number++);
    List<Entry> entries = new ArrayList<>();
    for (Contender contender : plan.contenders()) {
      if (contender.equals(REFERENCE)) {
        entries.add(reference);
        continue;
      }
      try {
        entries.add(untimed(contender, corpus, number++));
      } catch (BenchException e) {
        if (contender.isQuern() || e.exitCode() == BenchException.WRONG_RESULT) {
          throw e;
        }
        // A peer that does not know the tokenizer is no reason not to measure the others.
        say("%s takes no part: %s", contender, e.getMessage());
      }
    }
    for (Entry entry : entries) {
      if (entry.engine().equals("reference")) {
        continue;
      }
      compare(entry, reference);
      if (entry.difference != null && entry.contender.isQuern()) {
        throw new BenchException(
            BenchException.WRONG_RESULT,
            String.format(
                "%s and %s give different ids for %s: %s. There is no time for a wrong answer:"
                    + " report it with the document",
                entry.contender, reference.nameAndVersion(), corpus.name(), entry.difference));
      }
    }
    for (Entry entry : entries) {
      if (entry.engine().equals("reference")) {
        JUDGES_OF_THE_REFERENCE.stream()
            .flatMap(tool -> entries.stream().filter(e -> e.contender.tool().equals(tool)))
            .filter(judge -> judge.difference == null)
            .findFirst()
            .ifPresent(
                judge -> {
                  entry.by = judge.nameAndVersion();
                  entry.documents = judge.documents;
                });
      }
      if (entry.difference != null) {
        say("%s: other ids than %s: %s", entry.contender, entry.by, entry.difference);
      } else if (entry.by == null) {
        say("%s: not verified, nobody else takes part (--peers)", entry.contender);
      } else {
        say("%s: ids equal to those of %s", entry.contender, entry.by);
      }
    }
    return entries;
  }

  private void say(String format, Object... values) {
    progress.println(String.format(format, values));
    progress.flush();
  }

  private Entry untimed(Contender contender, Corpus corpus, int number)
      throws IOException, InterruptedException {
    say("checking the ids of %s", contender);
    Path ids = folder.resolve("ids-" + number);
    return new Entry(contender, corpus, ids, runner.run(task(contender, corpus, 1, false, ids)));
  }

  private static void compare(Entry entry, Entry judge) throws IOException {
    entry.by = judge.nameAndVersion();
    BitSet unknown =
        entry.engine().equals("jtokkit") ? documentsBeyondTheJdk(entry.corpus) : new BitSet();
    int document = 0;
    long different = 0;
    Difference first = null;
    try (Documents.Reader expected = new Documents.Reader(judge.file);
        Documents.Reader found = new Documents.Reader(entry.file)) {
      for (int[] want = expected.ids(); ; want = expected.ids(), document++) {
        int[] have = found.ids();
        if (want == null && have == null) {
          break;
        }
        if (want == null || have == null) {
          throw new BenchException(
              BenchException.WRONG_RESULT,
              entry.contender + " and " + entry.by + " encoded different numbers of documents");
        }
        int at = Arrays.mismatch(want, have);
        if (at >= 0 && !unknown.get(document)) {
          different++;
          if (first == null) {
            first = new Difference(0, document, at, idAt(have, at), idAt(want, at));
          }
        }
      }
    }
    entry.documents = document - unknown.cardinality();
    if (first != null) {
      entry.difference =
          new Difference(different, first.document, first.token, first.id, first.expected);
    }
  }

  private static String idAt(int[] ids, int at) {
    return at < ids.length ? Integer.toUnsignedString(ids[at]) : "none";
  }

  /** jtokkit's character classes are the JDK's: it can't judge characters that this JDK lacks. */
  private static BitSet documentsBeyondTheJdk(Corpus corpus) throws IOException {
    BitSet beyond = new BitSet();
    try (Documents.Reader reader = new Documents.Reader(corpus.file())) {
      int document = 0;
      for (byte[] utf8 = reader.text(); utf8 != null; utf8 = reader.text()) {
        String text = new String(utf8, StandardCharsets.UTF_8);
        beyond.set(
            document++,
            text.codePoints().anyMatch(c -> Character.getType(c) == Character.UNASSIGNED));
      }
    }
    return beyond;
  }

  private Map<String, Object> line(Entry entry, int threads, List<Entry> entries)
      throws IOException {
    List<Map<String, Object>> samples = entry.samples.get(threads);
    Map<String, Object> last = samples.get(samples.size() - 1);
    Corpus corpus = entry.corpus;
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("kind", "kernel");
    line.put("tool", entry.contender.tool());
    for (String field : List.of("tool_version", "engine", "engine_reason", "simd", "allocator")) {
      line.put(field, last.get(field));
    }
    if (entry.contender.isQuern() && plan.cacheBytes() != null) {
      line.put("cache_bytes", plan.cacheBytes());
    }
    line.put("tokenizer", name(plan.tokenizer()));
    line.put("tokenizer_hash", last.get("tokenizer_hash"));
    line.put("corpus", corpus.name());
    line.put("corpus_hash", corpus.hash());
    line.put("bytes", corpus.bytes());
    line.put("documents", corpus.documents());
    if (corpus.cut() > 0) {
      line.put("cut_bytes", corpus.cut());
    }
    line.put("tokens", last.get("tokens"));
    line.put("ids_hash", last.get("ids_hash"));
    line.put("verified_by", entry.difference == null ? entry.by : null);
    line.put("verified_documents", entry.difference == null ? entry.documents : 0);
    if (entry.difference != null) {
      Map<String, Object> difference = new LinkedHashMap<>();
      difference.put("from", entry.by);
      difference.put("documents", entry.difference.documents());
      difference.put("first_document", entry.difference.document());
      difference.put("first_id", entry.difference.token());
      line.put("differs", difference);
    }
    line.put("threads", threads);
    if (plan.each()) {
      line.put("each", true);
    }
    line.put("clock", plan.clock());
    line.put("rounds", samples.size());
    line.put("pieces", pieces(corpus, plan.pieceBytes()).size());
    line.put("warm_passes", last.get("warm_passes"));
    for (String quantity :
        List.of(
            "load_s", "cold_mb_s", "steady_mb_s", "warm_mb_s", "warm_median_mb_s", "count_mb_s")) {
      spread(line, quantity, quantity, 4, samples);
    }
    Record.putTokensPerSecond(line, "steady_mb_s");
    for (String quantity :
        List.of("rss_start_mib", "rss_load_mib", "rss_pass_mib", "vm_hwm_mib", "vm_peak_mib")) {
      spread(line, quantity, quantity, 1, samples);
    }
    if (last.get("rss_after_mib") instanceof Map<?, ?> passes) {
      for (Object pass : passes.keySet()) {
        List<Map<String, Object>> after = new ArrayList<>();
        for (Map<String, Object> sample : samples) {
          after.add(Map.of("mib", ((Map<?, ?>) sample.get("rss_after_mib")).get(pass)));
        }
        spread(line, "rss_after_" + pass + "_mib", "mib", 1, after);
      }
    }
    Map<String, Object> over = over(entry, threads, entries);
    if (!over.isEmpty()) {
      line.put("over", over);
    }
    line.put(
        "samples",
        samples.stream()
            .map(
                sample -> {
                  Map<String, Object> own = new LinkedHashMap<>(sample);
                  own.keySet().removeIf(key -> line.containsKey(key) && !isMeasured(key));
                  return own;
                })
            .toList());
    return line;
  }

  /** As it stands in tables and lines: a folder's name too, where the file's says nothing. */
  static String name(String tokenizer) {
    Path path = Path.of(tokenizer);
    boolean plain = path.getFileName().toString().equals("tokenizer.json");
    return plain && path.toAbsolutePath().getNameCount() > 1
        ? path.toAbsolutePath().getParent().getFileName() + "/tokenizer.json"
        : path.getFileName().toString();
  }

  private static boolean isMeasured(String key) {
    return key.endsWith("_s") || key.endsWith("_mib");
  }

  /**
   * Ratios of this line to others of the same rounds: Quern's to each peer with the same ids, those
   * of more threads to the first number of threads (of all threads together), and those of shorter
   * documents to the longest.
   */
  private Map<String, Object> over(Entry entry, int threads, List<Entry> entries) {
    Map<String, Object> over = new LinkedHashMap<>();
    List<Map<String, Object>> own = entry.samples.get(threads);
    for (Entry other : entries) {
      boolean sameCorpus = other.corpus == entry.corpus;
      if (sameCorpus
          && entry.contender.isQuern()
          && !other.contender.isQuern()
          && other.difference == null) {
        over.put(other.contender.tool(), ratios(own, other.samples.get(threads), 1));
      }
      boolean longest = other.corpus == plan.corpora().get(plan.corpora().size() - 1);
      if (!sameCorpus && longest && other.contender.equals(entry.contender)) {
        over.put("cut_" + other.corpus.cut(), ratios(own, other.samples.get(threads), 1));
      }
    }
    int first = plan.threads().get(0);
    if (threads != first) {
      over.put("threads_" + first, ratios(own, entry.samples.get(first), (double) threads / first));
    }
    return over;
  }

  /** Median, minimum and maximum of what the rounds' own ratios are. */
  static Map<String, Object> ratios(
      List<Map<String, Object>> own, List<Map<String, Object>> others, double factor) {
    Map<String, Object> ratios = new LinkedHashMap<>();
    COMPARED.forEach(
        (quantity, isSpeed) -> {
          List<Double> rounds = new ArrayList<>();
          for (int round = 0; round < own.size(); round++) {
            double mine = ((Number) own.get(round).get(quantity)).doubleValue();
            double other = ((Number) others.get(round).get(quantity)).doubleValue();
            rounds.add(mine / other * (isSpeed ? factor : 1));
          }
          String name = quantity.substring(0, quantity.indexOf(isSpeed ? "_mb_s" : "_s"));
          Record.putSpread(ratios, name, Spread.of(rounds), 3);
        });
    return ratios;
  }

  /** The median under the quantity's own name, then _min, _max and _spread; nothing if unknown. */
  private static void spread(
      Map<String, Object> line,
      String name,
      String quantity,
      int digits,
      List<Map<String, Object>> samples) {
    List<Double> values =
        samples.stream()
            .map(sample -> (Number) sample.get(quantity))
            .filter(value -> value != null)
            .map(Number::doubleValue)
            .toList();
    if (!values.isEmpty()) {
      Record.putSpread(line, name, Spread.of(values), digits);
    }
  }
}
