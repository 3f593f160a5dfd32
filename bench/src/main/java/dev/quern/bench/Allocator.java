package dev.quern.bench;

import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToDoubleFunction;

/**
 * The allocator experiment: the same documents encoded under each allocator, in turn and in fresh
 * processes; speed, resident memory after many passes, and shares of CPU time. Every process must
 * have the ids that Hugging Face's crate gives.
 */
final class Allocator {
  /**
   * Where the engine runs.
   *
   * @param seat native (a program), or jvm (through JNA, with the library that ships)
   * @param engine reference, fast; crate: Hugging Face's crate by its own batch call, native only
   * @param allocator mimalloc, system
   * @param variables more for the process's environment, as the allocator's options
   */
  record Contender(String seat, String engine, String allocator, Map<String, String> variables) {
    /** The same with the other allocator and without options: what this one is compared with. */
    boolean isBaseOf(Contender other) {
      return allocator.equals("system")
          && variables.isEmpty()
          && seat.equals(other.seat)
          && engine.equals(other.engine)
          && !equals(other);
    }

    @Override
    public String toString() {
      return seat + " " + engine + " " + allocator + (variables.isEmpty() ? "" : " " + variables);
    }
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
   * @param memoryPasses of the process for memory; 0: there is none
   * @param shares whether CPU time is sampled
   */
  record Plan(
      String tokenizer,
      Path json,
      Corpus corpus,
      int chunks,
      List<Contender> contenders,
      List<Integer> threads,
      int passes,
      int rounds,
      int memoryPasses,
      boolean shares) {}

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

  private static final Contender JUDGE = new Contender("native", "crate", "system", Map.of());

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

  /** One process's place: a contender with so many threads. */
  private record Place(Contender contender, int threads) {}

  /** What is known of a place. */
  private static final class Measured {
    final List<Map<String, Object>> speed = new ArrayList<>();
    Map<String, Object> memory = Map.of();
    Map<String, Object> shares = Map.of();
  }

  /** Measures; one line of the record (without the machine's part) a contender and threads. */
  List<Map<String, Object>> measure() throws IOException, InterruptedException {
    say("checking: %s", JUDGE);
    hash = (String) run(new Place(JUDGE, 1), 1, false, null).get("ids_hash");
    Map<Place, Measured> places = new LinkedHashMap<>();
    for (int threads : plan.threads()) {
      for (Contender contender : plan.contenders()) {
        places.put(new Place(contender, threads), new Measured());
      }
    }
    for (Contender contender : plan.contenders()) {
      say("checking: %s", contender);
      run(new Place(contender, 1), 1, false, null);
    }
    List<Place> order = new ArrayList<>(places.keySet());
    for (int round = 0; round < plan.rounds(); round++) {
      for (Place place : order) {
        say("round %d of %d: %s", round + 1, plan.rounds(), name(place));
        places.get(place).speed.add(run(place, plan.passes(), true, null));
      }
      // Whoever follows whom, it is the other way round in the next round.
      Collections.reverse(order);
    }
    if (plan.memoryPasses() > 0) {
      for (Place place : places.keySet()) {
        say("memory after %d passes: %s", plan.memoryPasses(), name(place));
        places.get(place).memory = run(place, plan.memoryPasses(), true, null);
      }
    }
    if (plan.shares()) {
      Path control = CpuShares.control(folder);
      for (Place place : places.keySet()) {
        say("shares of CPU time: %s", name(place));
        run(place, plan.passes(), true, control);
        places.get(place).shares = CpuShares.read(folder.resolve("perf.data"));
      }
    }
    List<Map<String, Object>> lines = new ArrayList<>();
    places.forEach((place, measured) -> lines.add(line(place, measured, places)));
    return lines;
  }

  private static String name(Place place) {
    return place.contender + ", " + place.threads + " threads";
  }

  private void say(String format, Object... values) {
    progress.println(String.format(format, values));
    progress.flush();
  }

  /** Runs one process and checks its ids and its allocator; sampled by perf if it has a control. */
  private Map<String, Object> run(Place place, int passes, boolean timed, Path control)
      throws IOException, InterruptedException {
    Contender contender = place.contender;
    boolean inJvm = contender.seat.equals("jvm");
    Path library = null;
    if (!inJvm) {
      library = build.program(contender.allocator);
    } else if (control != null) {
      library = build.library(contender.allocator);
    }
    KernelTask task =
        new KernelTask(
            inJvm ? "quern" : "quern-native",
            contender.engine,
            contender.allocator,
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
            passes,
            "wall",
            timed,
            true,
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
    if (!contender.allocator.equals(result.get("allocator"))) {
      throw new BenchException(
          BenchException.INPUT,
          name(place)
              + ": the process uses the allocator "
              + result.get("allocator")
              + ", since mimalloc is not linked on this platform: set --allocator system");
    }
    return result;
  }

  private Map<String, Object> line(Place place, Measured own, Map<Place, Measured> places) {
    Contender contender = place.contender;
    Map<String, Object> first = own.speed.get(0);
    Map<String, Object> line = new LinkedHashMap<>();
    line.put("kind", "allocator");
    line.put("tool", "quern");
    line.put("tool_version", BuildInfo.version());
    line.put("seat", contender.seat);
    line.put("engine", contender.engine);
    line.put("allocator", contender.allocator);
    if (!contender.variables.isEmpty()) {
      line.put("variables", contender.variables);
    }
    line.put("tokenizer", plan.tokenizer());
    line.put("corpus", plan.corpus().name());
    line.put("corpus_hash", plan.corpus().hash());
    line.put("bytes", plan.corpus().bytes());
    line.put("documents", plan.corpus().documents());
    if (plan.chunks() > 0) {
      line.put("chunks", plan.chunks());
    }
    line.put("tokens", first.get("tokens"));
    line.put("ids_hash", first.get("ids_hash"));
    line.put("verified_by", "crate");
    line.put("threads", place.threads);
    line.put("rounds", plan.rounds());
    line.put("passes", plan.passes());
    for (String speed : List.of("cold", "best", "median")) {
      Spread spread = Spread.of(own.speed.stream().map(s -> speed(s, speed, place)).toList());
      Record.putSpread(line, speed + "_mb_s", spread, 3);
    }
    if (first.get("library_bytes") != null) {
      line.put("library_bytes", first.get("library_bytes"));
    }
    for (String figure : List.of("rss_start_mib", "rss_load_mib", "vm_peak_mib")) {
      if (own.memory.get(figure) != null) {
        line.put(figure, own.memory.get(figure));
      }
    }
    if (own.memory.get("rss_after_mib") instanceof Map<?, ?> after) {
      line.put("memory_passes", plan.memoryPasses());
      after.forEach((passes, mebibytes) -> line.put("rss_after_" + passes + "_mib", mebibytes));
    }
    line.putAll(own.shares);
    places.forEach(
        (other, measured) -> {
          if (other.threads == place.threads && other.contender.isBaseOf(contender)) {
            line.put("over_system", over(place, own, measured));
          }
        });
    return line;
  }

  /**
   * Ratios to the system's allocator: of the rounds' speeds, and of what passes leave in memory.
   */
  private Map<String, Object> over(Place place, Measured own, Measured base) {
    Map<String, Object> over = new LinkedHashMap<>();
    for (String speed : List.of("best", "median")) {
      List<Double> ratios = new ArrayList<>();
      for (int round = 0; round < plan.rounds(); round++) {
        ratios.add(
            speed(own.speed.get(round), speed, place) / speed(base.speed.get(round), speed, place));
      }
      Record.putSpread(over, speed, Spread.of(ratios), 3);
    }
    ToDoubleFunction<Measured> rss =
        measured ->
            measured.memory.get("rss_after_mib") instanceof Map<?, ?> after
                    && after.get(Integer.toString(plan.memoryPasses())) instanceof Number last
                ? last.doubleValue()
                : Double.NaN;
    double ratio = rss.applyAsDouble(own) / rss.applyAsDouble(base);
    if (!Double.isNaN(ratio)) {
      over.put("rss", Record.rounded(ratio, 3));
    }
    return over;
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
