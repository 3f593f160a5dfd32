package dev.quern.bench;

import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.RawCalls;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.expressions.GenericInternalRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeProjection;
import org.apache.spark.sql.catalyst.expressions.codegen.GenerateUnsafeProjection;
import org.apache.spark.sql.catalyst.plans.logical.Project;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.types.UTF8String;
import org.openjdk.jmh.annotations.AuxCounters;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;

/**
 * What a document pays on its way from Java, and from a row of SQL, to the native tokenizer.
 *
 * <p>The seam is the difference between a call and the same work inside the library. Both are timed
 * here, in one benchmark, in turns of 256 documents (fewer if long), and what counts is the median
 * over the turns of the difference within a turn: a difference of two JMH scores, taken minutes
 * apart, would have an error larger than the seam, since clocks and neighbours move the kernel's
 * part by more than that. (A median leaves out garbage collections; they are in JMH's own score,
 * which is the time of a whole turn.) The paths, all over the same documents:
 *
 * <ul>
 *   <li>kernel: all documents in one native call, over text that is off the heap. Of the crossing
 *       next to nothing is left: this is the same call inside Rust.
 *   <li>version: the floor, a native function that returns a constant.
 *   <li>nativeCall: one native call a document, over text that is off the heap: JNA and the ffi
 *       crate, without Java's part.
 *   <li>encode, tokenCount: NativeTokenizer over a byte[], with the copy of the text, checks and
 *       statistics; the ids stay off the heap.
 *   <li>utf8String: from Spark's UTF8String to an int[] of the ids, by NativeTokenizer.
 *   <li>tokenizeRow, tokenCountRow: a projection that Spark compiles of the SQL function, from a
 *       row with a UTF8String to an UnsafeRow, one document a row.
 * </ul>
 *
 * <p>All documents are the same, the beginning of the sample corpus, so that the engine has merged
 * its words before and the difference is not one of two large numbers. TokenizerStatistics can't
 * tell the seam from the kernel: its clock runs from the entry of encode on, crossing included.
 */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(3)
@Warmup(iterations = 6, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 500, timeUnit = TimeUnit.MILLISECONDS)
public class SeamBenchmark {
  /**
   * Text of a turn: enough documents to forget the switch from path to path, and short enough that
   * most turns of a loaded machine are not interrupted.
   */
  private static final int TURN_BYTES = 1 << 16;

  /** What Quern takes if nobody names another. */
  static final String TOKENIZER = "o200k_base";

  @Param({"0", "16", "256", "2048", "32768", "1048576"})
  public int documentBytes;

  /** A built-in name, or a tokenizer.json. */
  @Param(TOKENIZER)
  public String tokenizer;

  private List<byte[]> documents;
  private UTF8String[] strings;
  private InternalRow[] rows;
  private RawCalls raw;
  private NativeTokenizer tokenizerInUse;
  private SparkSession session;
  private UnsafeProjection tokenize;
  private UnsafeProjection tokenCount;
  private Path folder;

  /** The paths, in the order of a turn. */
  private enum Way {
    KERNEL,
    VERSION,
    NATIVE_CALL,
    ENCODE,
    TOKEN_COUNT,
    UTF8_STRING,
    TOKENIZE_ROW,
    TOKEN_COUNT_ROW
  }

  /** Nanoseconds a document in this iteration: for each path the median over all turns. */
  @State(Scope.Thread)
  @AuxCounters(AuxCounters.Type.EVENTS)
  public static class Paths {
    /** More turns than an iteration of some seconds has; older ones would be overwritten. */
    private static final int KEPT = 1 << 15;

    private final double[][] turns = new double[Way.values().length][KEPT];
    private int count;

    @Setup(Level.Iteration)
    public void clear() {
      count = 0;
    }

    /**
     * @param clock before the first way, and after each, in their order
     */
    void add(int documents, long... clock) {
      for (int way = 0; way < turns.length; way++) {
        turns[way][count % KEPT] = (double) (clock[way + 1] - clock[way]) / documents;
      }
      count++;
    }

    private double[] turns(Way way) {
      return Arrays.copyOf(turns[way.ordinal()], Math.min(count, KEPT));
    }

    private double median(Way way) {
      return Spread.percentile(turns(way), 0.5);
    }

    /** Of the difference in each turn, not the difference of two medians. */
    private double medianOverKernel(Way way) {
      double[] differences = turns(way);
      for (int turn = 0; turn < differences.length; turn++) {
        differences[turn] -= turns[Way.KERNEL.ordinal()][turn];
      }
      return Spread.percentile(differences, 0.5);
    }

    public double kernel() {
      return median(Way.KERNEL);
    }

    public double version() {
      return median(Way.VERSION);
    }

    public double nativeCall() {
      return median(Way.NATIVE_CALL);
    }

    public double encode() {
      return median(Way.ENCODE);
    }

    public double tokenCount() {
      return median(Way.TOKEN_COUNT);
    }

    public double utf8String() {
      return median(Way.UTF8_STRING);
    }

    public double tokenizeRow() {
      return median(Way.TOKENIZE_ROW);
    }

    public double tokenCountRow() {
      return median(Way.TOKEN_COUNT_ROW);
    }

    public double nativeCallOverKernel() {
      return medianOverKernel(Way.NATIVE_CALL);
    }

    public double callOverKernel() {
      return medianOverKernel(Way.ENCODE);
    }

    public double utf8StringOverKernel() {
      return medianOverKernel(Way.UTF8_STRING);
    }

    public double rowOverKernel() {
      return medianOverKernel(Way.TOKENIZE_ROW);
    }
  }

  /** Makes documents, loads, compiles, and checks every path against the native result. */
  @Setup(Level.Trial)
  public void setUp() throws IOException {
    folder = Files.createTempDirectory("quern-bench");
    byte[] text = text(documentBytes, folder);
    documents = new ArrayList<>();
    rows = new InternalRow[TURN_BYTES / Math.min(TURN_BYTES, Math.max(256, documentBytes))];
    strings = new UTF8String[rows.length];
    for (int i = 0; i < rows.length; i++) {
      documents.add(text.clone());
      strings[i] = UTF8String.fromBytes(text.clone());
      rows[i] = new GenericInternalRow(new Object[] {strings[i]});
    }
    TokenizerSpec spec;
    String name;
    if (TokenizerSpec.builtInNames().contains(tokenizer)) {
      spec = TokenizerSpec.builtIn(tokenizer);
      name = tokenizer;
    } else {
      spec = TokenizerSpec.huggingFace(Files.readAllBytes(Path.of(tokenizer)));
      name = Path.of(tokenizer).toAbsolutePath().toUri().toString();
    }
    tokenizerInUse = NativeTokenizer.load(spec);
    raw = new RawCalls(spec, documents);
    session =
        SparkSession.builder()
            .master("local[1]")
            .appName("quern-bench seam")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.bindAddress", "127.0.0.1")
            .config("spark.driver.host", "127.0.0.1")
            .config("spark.sql.warehouse.dir", folder.toUri().toString())
            .config("spark.quern.allowedTokenizerPaths", "file:/")
            .getOrCreate();
    tokenize = projection("tokenize", name);
    tokenCount = projection("token_count", name);
    verify();
  }

  /** The expression comes from SQL's own analysis; the session has no part in what is timed. */
  private UnsafeProjection projection(String function, String name) {
    var query =
        (org.apache.spark.sql.classic.Dataset<?>)
            session.sql(
                "SELECT " + function + "(text, '" + name + "') FROM VALUES ('') AS t(text)");
    Project project = (Project) query.queryExecution().analyzed();
    return (UnsafeProjection)
        GenerateUnsafeProjection.generate(project.expressions(), project.child().output());
  }

  private void verify() {
    int[] expected = raw.ids(raw.encode(0));
    int[] batch = new int[expected.length * rows.length];
    for (int i = 0; i < rows.length; i++) {
      System.arraycopy(expected, 0, batch, i * expected.length, expected.length);
    }
    equal("kernel", batch, raw.ids(raw.encodeAll()));
    for (int i = 0; i < rows.length; i++) {
      byte[] document = documents.get(i);
      equal("nativeCall", expected, raw.ids(raw.encode(i)));
      equal("encode", expected, tokenizerInUse.encode(document).toArray());
      equal("tokenCount", new int[] {expected.length}, new int[] {(int) count(document)});
      equal("utf8String", expected, ids(strings[i]));
      equal("tokenizeRow", expected, tokenize.apply(rows[i]).getArray(0).toIntArray());
      equal(
          "tokenCountRow",
          new int[] {expected.length},
          new int[] {tokenCount.apply(rows[i]).getInt(0)});
    }
  }

  private static void equal(String path, int[] expected, int[] found) {
    if (!Arrays.equals(expected, found)) {
      throw new BenchException(
          BenchException.WRONG_RESULT,
          path + " gives another result than the native call: there is no time for a wrong answer");
    }
  }

  private long count(byte[] document) {
    return tokenizerInUse.tokenCount(
        document, Platform.BYTE_ARRAY_OFFSET, document.length, EncodeOptions.DEFAULT);
  }

  private int[] ids(UTF8String text) {
    return tokenizerInUse
        .encode(text.getBaseObject(), text.getBaseOffset(), text.numBytes(), EncodeOptions.DEFAULT)
        .toArray();
  }

  /** One turn; the sum of all results is returned so that nothing is optimised away. */
  @Benchmark
  public long paths(Paths nanoseconds) {
    int count = rows.length;
    long sum = 0;
    long begin = System.nanoTime();
    sum += raw.encodeAll();
    long kernel = System.nanoTime();
    for (int i = 0; i < count; i++) {
      sum += RawCalls.version();
    }
    long version = System.nanoTime();
    for (int i = 0; i < count; i++) {
      sum += raw.encode(i);
    }
    long nativeCall = System.nanoTime();
    for (int i = 0; i < count; i++) {
      sum += tokenizerInUse.encode(documents.get(i)).count();
    }
    long encode = System.nanoTime();
    for (int i = 0; i < count; i++) {
      sum += count(documents.get(i));
    }
    long tokenCount = System.nanoTime();
    for (int i = 0; i < count; i++) {
      sum += ids(strings[i]).length;
    }
    long utf8String = System.nanoTime();
    for (int i = 0; i < count; i++) {
      sum += tokenize.apply(rows[i]).getSizeInBytes();
    }
    long tokenizeRow = System.nanoTime();
    for (int i = 0; i < count; i++) {
      sum += this.tokenCount.apply(rows[i]).getInt(0);
    }
    long tokenCountRow = System.nanoTime();
    nanoseconds.add(
        count,
        begin,
        kernel,
        version,
        nativeCall,
        encode,
        tokenCount,
        utf8String,
        tokenizeRow,
        tokenCountRow);
    return sum;
  }

  @TearDown(Level.Trial)
  public void tearDown() throws IOException {
    session.stop();
    raw.close();
    tokenizerInUse.close();
    Files.delete(folder);
  }

  /** The beginning of the sample corpus, over and over if that is too short. */
  private static byte[] text(int bytes, Path folder) throws IOException {
    Path file = folder.resolve("corpus");
    Corpus.read(List.of(), new Corpus.Options("text", false, 0, 0), file);
    byte[] text = new byte[bytes];
    int at = 0;
    while (at < bytes) {
      try (Documents.Reader reader = new Documents.Reader(file)) {
        for (byte[] next = reader.text(); next != null && at < bytes; next = reader.text()) {
          int length = Math.min(next.length, bytes - at);
          System.arraycopy(next, 0, text, at, length);
          at += length;
        }
      }
    }
    Files.delete(file);
    // Not a part of a character at the end.
    int lead = bytes - 1;
    while (lead >= 0 && (text[lead] & 0xC0) == 0x80) {
      lead--;
    }
    if (lead >= 0 && text[lead] < 0) {
      int length = (text[lead] & 0xE0) == 0xC0 ? 2 : (text[lead] & 0xF0) == 0xE0 ? 3 : 4;
      if (lead + length > bytes) {
        Arrays.fill(text, lead, bytes, (byte) ' ');
      }
    }
    return text;
  }
}
