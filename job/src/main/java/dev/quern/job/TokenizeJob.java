package dev.quern.job;

import dev.quern.job.JobException.Exit;
import dev.quern.sql.QuernConf;
import dev.quern.sql.TokenizerReference;
import dev.quern.tokenizer.NativeTokenizer;
import java.io.IOException;
import java.io.PrintStream;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkThrowable;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SaveMode;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.plans.logical.LogicalPlan;
import org.apache.spark.sql.catalyst.types.DataTypeUtils;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.collection.immutable.Seq;
import scala.jdk.javaapi.CollectionConverters;

/**
 * The job: corpus in, token columns out. {@code spark-submit --class dev.quern.job.TokenizeJob
 * quern-job.jar --help} explains it; {@link #run(SparkSession, String...)} does the same in a
 * session that is there already, as in a notebook.
 */
public final class TokenizeJob {
  private static final Logger LOG = LoggerFactory.getLogger(TokenizeJob.class);

  private static final long SMALLEST_SPLIT = 1L << 20;

  /** Rows that a columnar reader hands over at once. */
  private static final long BATCH_ROWS = 512;

  private final org.apache.spark.sql.classic.SparkSession session;
  private final TokenizeOptions options;
  private final PrintStream out;
  private final Class<? extends TokenFileFormat> writer;

  /** What --verify takes for right; null for the reference engine. */
  private final TokenizerReference judge;

  TokenizeJob(
      SparkSession session,
      TokenizeOptions options,
      PrintStream out,
      Class<? extends TokenFileFormat> writer) {
    this(session, options, out, writer, null);
  }

  /**
   * @param judge what --verify takes for right, other than the reference engine: for tests, which
   *     have no defective engine
   */
  TokenizeJob(
      SparkSession session,
      TokenizeOptions options,
      PrintStream out,
      Class<? extends TokenFileFormat> writer,
      TokenizerReference judge) {
    // A session of its own, on the same context: what is set for this run stays in this run.
    this.session = ((org.apache.spark.sql.classic.SparkSession) session).cloneSession();
    LocalFiles.use(this.session);
    if (options.dryRun()) {
      // Adaptive execution would run the shuffles of the input to count the tasks.
      this.session.conf().set("spark.sql.adaptive.enabled", "false");
    }
    this.options = options;
    this.out = out;
    this.writer = writer;
    this.judge = judge;
  }

  /** As spark-submit starts it; see {@link JobException.Exit} for what it ends with. */
  public static void main(String[] arguments) {
    Exit exit = execute(List.of(arguments), System.out, System.err);
    // On success it returns: in YARN's cluster mode an exit of our own would look like a failure.
    if (exit != Exit.OK) {
      System.exit(exit.code());
    }
  }

  static Exit execute(List<String> arguments, PrintStream out, PrintStream err) {
    try {
      SparkConf conf = new SparkConf();
      TokenizeOptions options = TokenizeOptions.parse(arguments, conf);
      if (options.notice() != null) {
        out.print(options.notice());
        return Exit.OK;
      }
      TokenizeOptions.checkKeys(conf);
      configure(conf, options);
      SparkSession session = SparkSession.builder().config(conf).getOrCreate();
      try {
        new TokenizeJob(session, options, out, options.format().writer()).run();
      } finally {
        session.stop();
      }
      return Exit.OK;
    } catch (JobException e) {
      err.println("quern: " + e.getMessage());
      return e.exit();
    }
  }

  /** What the application needs from its start. */
  private static void configure(SparkConf conf, TokenizeOptions options) {
    conf.setIfMissing("spark.master", "local[*]");
    conf.setIfMissing("spark.app.name", "Quern: " + options.output());
    conf.set(QuernConf.ALLOCATOR.key(), options.allocator().name().toLowerCase(Locale.ROOT));
    String plugins = conf.get("spark.plugins", "");
    String ours = QuernPlugin.class.getName();
    if (!List.of(plugins.split(",")).contains(ours)) {
      conf.set("spark.plugins", plugins.isEmpty() ? ours : plugins + "," + ours);
    }
    // Progress of our own takes its place.
    conf.setIfMissing("spark.ui.showConsoleProgress", "false");
  }

  /**
   * Runs the job in a session that is there, and leaves its configuration as it is.
   *
   * @param arguments as on the command line
   * @return what was made; null with --dry-run, --help and --version
   * @throws JobException as on the command line; its exit says whether anything was started
   */
  public static TokenizeResult run(SparkSession session, String... arguments) {
    SparkConf conf = session.sparkContext().getConf();
    TokenizeOptions options = TokenizeOptions.parse(List.of(arguments), conf);
    if (options.notice() != null) {
      System.out.print(options.notice());
      return null;
    }
    return run(session, options);
  }

  /** As {@link #run(SparkSession, String...)}, with options that are parsed. */
  public static TokenizeResult run(SparkSession session, TokenizeOptions options) {
    SparkConf conf = session.sparkContext().getConf();
    TokenizeOptions.checkKeys(conf);
    if (options.allocator() != QuernConf.ALLOCATOR.value(conf)) {
      throw JobException.usage(
          "--allocator can't change in an application that runs; start it with "
              + QuernConf.ALLOCATOR.key()
              + "="
              + options.allocator().name().toLowerCase(Locale.ROOT));
    }
    return new TokenizeJob(session, options, System.out, options.format().writer()).run();
  }

  TokenizeResult run() {
    TokenizerReference reference = tokenizer();
    NativeTokenizer tokenizer = reference.open();
    int endOfText = EndOfText.id(tokenizer, options.appendEos());
    checkCompression();
    Corpus corpus = Corpus.open(session, options);
    TokenColumns columns = new TokenColumns(corpus.kept(), corpus.kept().isEmpty());
    Map<String, String> metadata = metadata(reference, endOfText);
    try (ActiveRun run = new ActiveRun(columns, reference, metadata);
        OutputFolder folder =
            OutputFolder.check(
                options.output(),
                options.mode(),
                corpus.paths(),
                run.id(),
                session.sessionState().newHadoopConf())) {
      configureWrite(corpus);
      Verifier.Settings verify = verification(reference, run.id());
      Dataset<Row> rows = plan(corpus, columns, reference, endOfText, verify);
      printPlan(corpus, columns, reference, tokenizer, verify, folder, rows);
      if (options.dryRun()) {
        out.println("Dry run: everything is as it must be; nothing was run.");
        return null;
      }
      noticeLeftovers(folder);
      RunDescription description =
          new RunDescription(
              reference.name(),
              reference.contentHash(),
              tokenizer.engine(),
              tokenizer.engineReason(),
              tokenizer.simd(),
              options.values());
      try (RunRecord record = RunRecord.start(session, description);
          TaskWatch watch = new TaskWatch(session.sparkContext(), run.id());
          Progress progress = Progress.start(session, record, corpus.bytes())) {
        return write(rows, run, folder, record, watch, progress);
      }
    }
  }

  private TokenizerReference tokenizer() {
    try {
      return TokenizerReference.resolve(
          session, options.tokenizer(), options.tokenizerOptions(), true);
    } catch (RuntimeException | LinkageError e) {
      // Any of them where the class of a file system, or what it needs, is missing.
      throw JobException.refused("the tokenizer can't be used: " + e.getMessage(), e);
    }
  }

  /** Null if nothing is to be verified: the option is 0, or the engine is its own judge. */
  private Verifier.Settings verification(TokenizerReference reference, String run) {
    TokenizerReference right = judge == null ? reference.ofReferenceEngine() : judge;
    boolean same = judge == null && reference.engine().equals(right.engine());
    return options.verify() == 0 || same
        ? null
        : new Verifier.Settings(options.verify(), right, reference.engine(), run);
  }

  private void checkCompression() {
    try {
      if (options.format() == TokenizeOptions.OutputFormat.ARROW) {
        ArrowCodecs.check(options.compression());
      }
    } catch (IllegalArgumentException e) {
      throw JobException.refused(e.getMessage(), e);
    }
  }

  private static Map<String, String> metadata(TokenizerReference reference, int endOfText) {
    Map<String, String> metadata = new TreeMap<>();
    metadata.put("quern.version", QuernVersion.current());
    metadata.put("quern.tokenizer", reference.name());
    metadata.put("quern.tokenizer.hash", reference.contentHash());
    metadata.put("quern.engine", reference.engine());
    if (endOfText >= 0) {
      metadata.put("quern.appended.id", String.valueOf(endOfText));
    }
    return metadata;
  }

  /** Settings of the session that this run needs; it is a session of our own. */
  private void configureWrite(Corpus corpus) {
    var conf = session.conf();
    conf.set("spark.sql.sources.commitProtocolClass", CountingCommitProtocol.class.getName());
    conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS");
    // Our files have one name a task; what else may set this would part them by rows.
    conf.set("spark.sql.files.maxRecordsPerFile", "0");
    // A column of a huge document gets a fifth more memory than it needs, instead of twice as much,
    // and gives it back after its batch.
    conf.set("spark.sql.inMemoryColumnarStorage.hugeVectorThreshold", "64m");
    // Spark's default of 4096 rows is for numbers: of documents these are arrays of megabytes,
    // humongous to G1.
    for (String format : List.of("parquet", "orc")) {
      String key = "spark.sql." + format + ".columnarReaderBatchSize";
      if (!conf.contains(key)) {
        conf.set(key, BATCH_ROWS);
      }
    }
    if (corpus.files() > 0) {
      conf.set("spark.sql.files.maxPartitionBytes", splitBytes(corpus) + "b");
      // Spark's default of 4 MiB is for scans; for tokenizing, a file of 1 MiB is worth a task.
      conf.set("spark.sql.files.openCostInBytes", "256k");
    }
    session
        .experimental()
        .extraStrategies_$eq(
            CollectionConverters.asScala(
                    List.<org.apache.spark.sql.execution.SparkStrategy>of(
                        new TokenizePlan.Strategy()))
                .toList());
  }

  private double outputPerInput(Corpus corpus) {
    return corpus.textPerByte()
        * WriteOptions.of(options.format(), options.writeOptions()).bytesPerText(options.format())
        * options.sample();
  }

  /** How much input makes one output file of the size that is wanted. */
  private long splitBytes(Corpus corpus) {
    return Math.max(SMALLEST_SPLIT, (long) (options.fileBytes() / outputPerInput(corpus)));
  }

  private Dataset<Row> plan(
      Corpus corpus,
      TokenColumns columns,
      TokenizerReference reference,
      int endOfText,
      Verifier.Settings verify) {
    LogicalPlan child =
        ((org.apache.spark.sql.classic.Dataset<Row>)
                corpus.balanced(session.sparkContext().defaultParallelism()))
            .queryExecution()
            .analyzed();
    TokenizeSettings settings =
        new TokenizeSettings(
            reference,
            options.addSpecialTokens(),
            options.invalidUtf8(),
            endOfText,
            options.maxDocumentBytes(),
            options.sample(),
            options.seed(),
            verify,
            corpus.layout());
    Seq<org.apache.spark.sql.catalyst.expressions.Attribute> made =
        CollectionConverters.asScala(
                CollectionConverters.asJava(DataTypeUtils.toAttributes(columns.rows())).stream()
                    .map(a -> (org.apache.spark.sql.catalyst.expressions.Attribute) a)
                    .toList())
            .toList();
    return org.apache.spark.sql.classic.Dataset.ofRows(
        session, new TokenizePlan(settings, child.output(), made, child));
  }

  private void printPlan(
      Corpus corpus,
      TokenColumns columns,
      TokenizerReference reference,
      NativeTokenizer tokenizer,
      Verifier.Settings verify,
      OutputFolder folder,
      Dataset<Row> rows) {
    out.printf(
        Locale.ROOT,
        "Tokenizer  %s: %s, %,d ids, engine %s, hash %s%n",
        reference.name(),
        tokenizer.model(),
        tokenizer.vocabularySize(),
        RunDescription.engineWithSimd(tokenizer.engine(), tokenizer.simd()),
        reference.contentHash());
    tokenizer.notices().forEach(notice -> out.println("           " + notice));
    if (verify != null) {
      out.printf(
          Locale.ROOT,
          "Verify     %s of the documents, by the reference engine%n",
          percent(verify.fraction()));
    } else if (options.verify() > 0) {
      out.println(
          "Notice     --verify: nothing to verify, the engine in use is the reference engine"
              + " itself");
    }
    out.printf(
        "Input      %s%s%n",
        String.join(", ", options.input()),
        corpus.files() == 0
            ? ""
            : String.format(
                Locale.ROOT,
                " (%s, %,d files, %s)",
                corpus.format(),
                corpus.files(),
                bytes(corpus.bytes())));
    corpus
        .advice(session.sparkContext().defaultParallelism())
        .ifPresent(advice -> out.println("Notice     " + advice));
    out.printf(
        "Output     %s (%s, %s: %s)%n",
        folder.output(),
        options.format(),
        options.compression(),
        Corpus.describe(columns.tokens()));
    if (options.dryRun()) {
      int partitions = rows.javaRDD().getNumPartitions();
      out.printf(Locale.ROOT, "Tasks      %,d", partitions);
      if (corpus.files() > 0 && options.limit() == null) {
        out.printf(
            Locale.ROOT,
            ", about %s of output in all",
            bytes((long) (corpus.bytes() * outputPerInput(corpus))));
      }
      out.println();
    }
  }

  private static String percent(double fraction) {
    return fraction == 1
        ? "all"
        : String.format(Locale.ROOT, "about %s %%", RunSummary.decimals(fraction * 100));
  }

  private void noticeLeftovers(OutputFolder folder) {
    try {
      for (Path leftover : folder.leftovers()) {
        out.println(
            "Notice     "
                + leftover
                + " is of a run that was killed, or of one that writes there now; if none does, delete"
                + (leftover.getName().endsWith("-old")
                    ? " it, or rename it to " + folder.output().getName() + " if that is missing"
                    : " it"));
      }
    } catch (IOException e) {
      LOG.debug("can't look for folders of earlier runs", e);
    }
  }

  private TokenizeResult write(
      Dataset<Row> rows,
      ActiveRun run,
      OutputFolder folder,
      RunRecord record,
      TaskWatch watch,
      Progress progress) {
    long begun = System.nanoTime();
    TaskCounts totals;
    boolean chart;
    try {
      rows.write()
          .format(writer.getName())
          .mode(SaveMode.ErrorIfExists)
          .option(ActiveRun.OPTION, run.id())
          .options(options.writeOptions())
          // Version 2 moves files when a task commits: one that dies in it leaves half of them, and
          // its successor writes the rest twice.
          .option("mapreduce.fileoutputcommitter.algorithm.version", "1")
          .option("mapreduce.fileoutputcommitter.marksuccessfuljobs", "true")
          .save(folder.aside().toString());
      totals = run.totals();
      if (totals.verified > 0) {
        watch.check();
      }
      folder.checkFiles(totals);
      progress.close();
      record.finish(
          new RunTotals(
              totals.documents,
              totals.quarantined,
              totals.bytes,
              totals.tokens,
              totals.verified,
              totals.verifyNanos / 1e9,
              run.times()),
          run.executors());
      chart = writeRecord(record, folder);
      folder.publish();
    } catch (Exception e) {
      progress.close();
      LOG.error("The run failed", e);
      watch.awaitEnds();
      // The run that was cancelled for a difference does not know about it.
      Exception reason = watch.difference() == null ? e : watch.difference();
      throw new JobException(Exit.FAILED, explain(reason, folder), e);
    }
    record.published();
    double seconds = (System.nanoTime() - begun) / 1e9;
    String output = folder.output().toString();
    TokenizeResult result =
        new TokenizeResult(
            output,
            totals.quarantined == 0 ? null : output + "/" + TokenWriter.QUARANTINE,
            output + "/" + RunRecord.FOLDER,
            chart ? output + "/" + RunRecord.FOLDER + "/" + RunRecord.CHART : null,
            totals.documents,
            totals.quarantined,
            totals.bytes,
            totals.tokens,
            totals.verified,
            seconds,
            run.tokenizer().contentHash());
    print(result, record);
    return result;
  }

  private static boolean writeRecord(RunRecord record, OutputFolder folder) {
    try {
      return record.write(folder.aside());
    } catch (Exception | LinkageError e) {
      // The tokens are complete: not worth losing for it.
      LOG.warn("The record of the run could not be written", e);
      return false;
    }
  }

  private void print(TokenizeResult result, RunRecord record) {
    out.println("Written to " + result.output());
    record.summaryLines().forEach(out::println);
    if (result.quarantine() != null) {
      out.printf(
          Locale.ROOT,
          "Set aside: %,d documents, in %s%n",
          result.quarantined(),
          result.quarantine());
    }
    if (result.chart() != null) {
      out.println("Chart: " + result.chart());
    }
  }

  /**
   * The innermost cause, which says what went wrong; Spark's own messages around it repeat stacks.
   */
  private String explain(Exception failure, OutputFolder folder) {
    Throwable cause = failure;
    String where = file(cause);
    while (cause.getCause() != null && cause.getCause() != cause) {
      cause = cause.getCause();
      where = where.isEmpty() ? file(cause) : where;
    }
    String what = Corpus.firstLine(cause);
    boolean onlyAName = cause instanceof LinkageError || cause instanceof ClassNotFoundException;
    return "the run failed: "
        + (onlyAName ? cause.getClass().getSimpleName() + ": " : "")
        + what
        + where
        + "; "
        + folder.afterFailure();
  }

  /** The file that could not be read, where Spark says it. */
  private static String file(Throwable failure) {
    return failure instanceof SparkThrowable known
            && known.getCondition() != null
            && known.getCondition().startsWith("FAILED_READ_FILE")
        ? " (in " + known.getMessageParameters().get("path") + ")"
        : "";
  }

  static String bytes(long bytes) {
    if (bytes < 1024) {
      return bytes + " B";
    }
    int exponent = (63 - Long.numberOfLeadingZeros(bytes)) / 10;
    return String.format(
        Locale.ROOT, "%.1f %ciB", bytes / Math.pow(1024, exponent), "KMGTPE".charAt(exponent - 1));
  }
}
