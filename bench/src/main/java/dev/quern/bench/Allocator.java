package dev.quern.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * The allocator experiment: the same documents encoded under each allocator, in turn and in fresh
 * processes; speed, resident memory after many passes and after threads that have ended, and shares
 * of CPU time. Every process must have the ids that Hugging Face's crate gives.
 */
final class Allocator {
  /**
   * Where the engine runs.
   *
   * @param seat native (a program), or jvm (through JNA, with the library that ships)
   * @param engine reference, fast; crate: Hugging Face's crate by its own batch call, native only
   * @param build mimalloc, system: as packed; mimalloc-thp, mimalloc-v2: others of mimalloc, by the
   *     features of the crate quern-allocator
   * @param collect whether freed memory is given back behind every batch
   * @param variables more for the process's environment, as the allocator's options
   */
  record Contender(
      String seat, String engine, String build, boolean collect, Map<String, String> variables) {

    /** As the library is packed, and as it comes. */
    Contender(String seat, String engine, String build) {
      this(seat, engine, build, false, Map.of());
    }

    String allocator() {
      return isPacked() ? build : "mimalloc";
    }

    boolean isPacked() {
      return build.equals("system") || build.equals("mimalloc");
    }

    /** The same with the system's allocator and without options: what this one is compared with. */
    boolean isBaseOf(Contender other) {
      return equals(new Contender(other.seat, other.engine, "system")) && !equals(other);
    }

    @Override
    public String toString() {
      StringBuilder name = new StringBuilder(seat + " " + engine + " " + build);
      variables.forEach((key, value) -> name.append(' ').append(key).append('=').append(value));
      return name.append(collect ? " collect" : "").toString();
    }
  }

  /** What is measured, in this order. */
  enum Part {
    SPEED,
    MEMORY,
    THREADS,
    SHARES
  }

  /**
   * What to measure.
   *
   * @param tokenizer its name for people
   * @param json its tokenizer.json
   * @param chunks the corpus was joined and cut into so many; 0: documents as they are
   * @param threads numbers of threads
   * @param passes after the first, of the processes for speed
   * @param rounds processes for speed
   * @param memoryPasses of the process for memory
   * @param shortThreads of the process for threads
   */
  record Plan(
      String tokenizer,
      Path json,
      Corpus corpus,
      int chunks,
      List<Contender> contenders,
      List<Integer> threads,
      Set<Part> parts,
      int passes,
      int rounds,
      int memoryPasses,
      int shortThreads) {}

  /** Does one task in a process of its own. */
  interface Runner {
    /**
     * The result that {@link KernelRun#run} describes; BenchException when there is none.
     *
     * @param starter program and arguments to start the process with; empty: none
     * @param environment more variables for it
     */
    Map<String, Object> run(KernelTask task, List<String> starter, Map<String, String> environment)
        throws IOException, InterruptedException;
  }

  private static final Contender JUDGE = new Contender("native", "crate", "system");

  private final Plan plan;
  private final Runner runner;
  private final AllocatorBuild build;
  private final Path folder;
  private final PrintWriter progress;
  private String hash;

  Allocator(Plan plan, Runner runner, AllocatorBuild build, Path folder, PrintWriter progress) {
    this.plan = plan;
    this.runner = runner;
    this.build = build;
    this.folder = folder;
    this.progress = progress;
  }

  /** What one process does after its first pass. */
  private record Work(int passes, int shortThreads) {
    static final Work CHECK = new Work(0, 0);

    static Work passes(int number) {
      return new Work(number, 0);
    }

    static Work threads(int number) {
      return new Work(0, number);
    }
  }

  /** One process's place: a contender with so many threads. */
  private record Place(Contender contender, int threads) {}

  /** What is known of a place. */
  private static final class Measured {
    final List<Map<String, Object>> speed = new ArrayList<>();
    Map<String, Object> memory = Map.of();
    Map<String, Object> threads = Map.of();
    Map<String, Object> shares = Map.of();
  }

  /** Measures; one line of the record (without the machine's part) a contender and threads. */
  List<Map<String, Object>> measure() throws IOException, InterruptedException {
    say("checking: %s", JUDGE);
    Map<String, Object> judged = run(new Place(JUDGE, 1), Work.CHECK, null);
    hash = (String) judged.get("ids_hash");
    Map<Place, Measured> places = new LinkedHashMap<>();
    for (int threads : plan.threads()) {
      for (Contender contender : plan.contenders()) {
        places.put(new Place(contender, threads), new Measured());
      }
    }
    for (Contender contender : plan.contenders()) {
      say("checking: %s", contender);
      run(new Place(contender, 1), Work.CHECK, null);
    }
    List<Place> order = new ArrayList<>(places.keySet());
    int rounds = measures(Part.SPEED) ? plan.rounds() : 0;
    for (int round = 0; round < rounds; round++) {
      for (Place place : order) {
        say("round %d of %d: %s", round + 1, rounds, name(place));
        places.get(place).speed.add(run(place, Work.passes(plan.passes()), null));
      }
      // Whoever follows whom, it is the other way round in the next round.
      Collections.reverse(order);
    }
    for (Place place : places.keySet()) {
      if (measures(Part.MEMORY)) {
        say("memory after %d passes: %s", plan.memoryPasses(), name(place));
        places.get(place).memory = run(place, Work.passes(plan.memoryPasses()), null);
      }
      if (measures(Part.THREADS) && hasOwnThreads(place.contender)) {
        say("memory after %d threads: %s", plan.shortThreads(), name(place));
        places.get(place).threads = run(place, Work.threads(plan.shortThreads()), null);
      }
    }
    if (measures(Part.SHARES)) {
      Path control = CpuShares.control(folder);
      for (Place place : places.keySet()) {
        say("shares of CPU time: %s", name(place));
        run(place, Work.passes(plan.passes()), control);
        places.get(place).shares = CpuShares.read(folder.resolve("perf.data"));
        if (places.get(place).shares.isEmpty()) {
          say("%s was done before perf's first sample: ask for more --passes", name(place));
        }
      }
    }
    List<Map<String, Object>> lines = new ArrayList<>();
    places.forEach(
        (place, measured) -> lines.add(line(place, judged.get("tokens"), measured, places)));
    return lines;
  }

  private boolean measures(Part part) {
    return plan.parts().contains(part);
  }

  /** The crate's pool keeps its threads. */
  private static boolean hasOwnThreads(Contender contender) {
    return !contender.engine.equals("crate");
  }

  private static String name(Place place) {
    return place.contender + ", " + place.threads + " threads";
  }

  private void say(String format, Object... values) {
    progress.println(String.format(format, values));
    progress.flush();
  }

  /** Runs one process and checks its ids and its allocator; sampled by perf if it has a control. */
  private Map<String, Object> run(Place place, Work work, Path control)
      throws IOException, InterruptedException {
    Contender contender = place.contender;
    boolean inJvm = contender.seat.equals("jvm");
    Path library = null;
    if (!inJvm) {
      library = build.program(contender.build);
    } else if (control != null || !contender.isPacked()) {
      library = build.library(contender.build);
    }
    KernelTask task =
        new KernelTask(
            inJvm ? "quern" : "quern-native",
            contender.engine,
            contender.allocator(),
            null,
            plan.json().toString(),
            null,
            null,
            null,
            plan.corpus().file().toString(),
            Math.toIntExact(plan.corpus().documents()),
            plan.corpus().bytes(),
            List.of(0),
            place.threads,
            false,
            Math.max(1, work.passes),
            "wall",
            work.passes > 0,
            true,
            contender.collect,
            work.shortThreads,
            library == null ? null : library.toString(),
            control == null ? null : control.toString(),
            null,
            folder.resolve("result.json").toString());
    Map<String, String> environment = new LinkedHashMap<>(contender.variables);
    // For the crate's own thread pool.
    environment.put("RAYON_NUM_THREADS", Integer.toString(place.threads));
    Map<String, Object> result =
        runner.run(
            task,
            control == null ? List.of() : CpuShares.starter(control, folder.resolve("perf.data")),
            environment);
    if (hash != null && !hash.equals(result.get("ids_hash"))) {
      throw new BenchException(
          BenchException.WRONG_RESULT,
          name(place)
              + " gives other ids than Hugging Face's crate: there is no time for a wrong answer;"
              + " quern-bench kernel names the first document that differs");
    }
    if (!contender.allocator().equals(result.get("allocator"))) {
      throw new BenchException(
          BenchException.INPUT,
          name(place)
              + ": the process uses the allocator "
              + result.get("allocator")
              + ", since mimalloc is not linked on this platform: set --allocator system");
    }
    return result;
  }

  private Map<String, Object> line(
      Place place, Object tokens, Measured own, Map<Place, Measured> places) {
    Contender contender = place.contender;
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("kind", "allocator");
    line.put("tool", "quern");
    line.put("tool_version", BuildInfo.version());
    line.put("seat", contender.seat);
    line.put("engine", contender.engine);
    line.put("allocator", contender.allocator());
    if (!contender.isPacked()) {
      line.put("build", contender.build);
    }
    if (!contender.variables.isEmpty()) {
      line.put("variables", contender.variables);
    }
    if (contender.collect) {
      line.put("collect", "batch");
    }
    line.put("tokenizer", plan.tokenizer());
    line.put("corpus", plan.corpus().name());
    line.put("corpus_hash", plan.corpus().hash());
    line.put("bytes", plan.corpus().bytes());
    line.put("documents", plan.corpus().documents());
    if (plan.chunks() > 0) {
      line.put("chunks", plan.chunks());
    }
    line.put("tokens", tokens);
    line.put("ids_hash", hash);
    line.put("verified_by", "crate");
    line.put("threads", place.threads);
    if (!own.speed.isEmpty()) {
      line.put("rounds", plan.rounds());
      line.put("passes", plan.passes());
      for (String speed : List.of("cold", "best", "median")) {
        Spread spread = Spread.of(own.speed.stream().map(s -> speed(s, speed, place)).toList());
        Record.putSpread(line, speed + "_mb_s", spread, 3);
      }
      Record.putTokensPerSecond(line, "median_mb_s");
    }
    if (own.memory.get("library_bytes") != null && contender.isPacked()) {
      line.put("library_bytes", own.memory.get("library_bytes"));
    }
    put(line, "rss_start_mib", own.memory.get("rss_start_mib"));
    put(line, "rss_load_mib", own.memory.get("rss_load_mib"));
    if (own.memory.get("rss_after_mib") instanceof Map<?, ?> after) {
      line.put("memory_passes", plan.memoryPasses());
      after.forEach((passes, mebibytes) -> line.put("rss_after_" + passes + "_mib", mebibytes));
    }
    put(line, "vm_hwm_mib", own.memory.get("vm_hwm_end_mib"));
    put(line, "vm_peak_mib", own.memory.get("vm_peak_mib"));
    if (own.threads.get("rss_after_threads_mib") instanceof Map<?, ?> after) {
      line.put("short_threads", plan.shortThreads());
      after.forEach(
          (ended, mebibytes) -> line.put("rss_after_" + ended + "_threads_mib", mebibytes));
    }
    line.putAll(own.shares);
    places.forEach(
        (other, measured) -> {
          if (other.threads == place.threads && other.contender.isBaseOf(contender)) {
            Map<String, Object> over = over(place, own, measured);
            put(line, "over_system", over.isEmpty() ? null : over);
          }
        });
    return line;
  }

  private static void put(Map<String, Object> line, String figure, Object value) {
    if (value != null) {
      line.put(figure, value);
    }
  }

  /**
   * Ratios to the system's allocator: of the rounds' speeds, and of what passes and threads leave
   * in memory.
   */
  private Map<String, Object> over(Place place, Measured own, Measured base) {
    Map<String, Object> over = new LinkedHashMap<>();
    for (String speed : own.speed.isEmpty() ? List.<String>of() : List.of("best", "median")) {
      List<Double> ratios = new ArrayList<>();
      for (int round = 0; round < own.speed.size(); round++) {
        ratios.add(
            speed(own.speed.get(round), speed, place) / speed(base.speed.get(round), speed, place));
      }
      Record.putSpread(over, speed, Spread.of(ratios), 3);
    }
    String passes = Integer.toString(plan.memoryPasses());
    double start = number(own.memory.get("rss_start_mib"));
    double left = number(own.memory, "rss_after_mib", passes);
    double baseLeft = number(base.memory, "rss_after_mib", passes);
    putRatio(over, "rss", left, baseLeft);
    putRatio(
        over, "rss_above_start", left - start, baseLeft - number(base.memory.get("rss_start_mib")));
    String ended = Integer.toString(plan.shortThreads());
    putRatio(
        over,
        "rss_threads",
        number(own.threads, "rss_after_threads_mib", ended),
        number(base.threads, "rss_after_threads_mib", ended));
    return over;
  }

  private static double number(Object value) {
    return value instanceof Number number ? number.doubleValue() : Double.NaN;
  }

  private static double number(Map<String, Object> result, String figures, String key) {
    return result.get(figures) instanceof Map<?, ?> all ? number(all.get(key)) : Double.NaN;
  }

  private static void putRatio(Map<String, Object> over, String name, double own, double base) {
    if (Double.isFinite(own / base)) {
      over.put(name, Record.rounded(own / base, 3));
    }
  }

  /** All threads together: processes say what a thread does. */
  private static double speed(Map<String, Object> sample, String speed, Place place) {
    String key =
        switch (speed) {
          case "cold" -> "cold_mb_s";
          case "best" -> "warm_mb_s";
          default -> "warm_median_mb_s";
        };
    return ((Number) sample.get(key)).doubleValue() * place.threads;
  }
}
