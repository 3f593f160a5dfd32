package dev.quern.bench;

import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.RawCalls;
import dev.quern.tokenizer.TokenizerSpec;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
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
 *       statistics.
 *   <li>tokenizeRow, tokenCountRow: a projection that Spark compiles of the SQL function, from a
 *       row with a UTF8String to an UnsafeRow, one document a row.
 * </ul>
 *
 * <p>The tokenizer is a toy whose vocabulary has each document as one token (WordLevel without a
 * pre-tokenizer): about the least that the reference engine can do with a text, so that the
 * difference is not one of two large numbers. TokenizerStatistics can't tell the seam from the
 * kernel: its clock runs from the entry of encode on, crossing included.
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

  /** The tokenizer that knows whole documents only. */
  static final String TOY = "toy";

  @Param({"0", "16", "2048"})
  public int documentBytes;

  /** "toy", a built-in name, or a tokenizer.json. */
  @Param(TOY)
  public String tokenizer;

  private List<byte[]> documents;
  private InternalRow[] rows;
  private RawCalls raw;
  private NativeTokenizer tokenizerInUse;
  private SparkSession session;
  private UnsafeProjection tokenize;
  private UnsafeProjection tokenCount;
  private Path folder;

  /** Nanoseconds a document in this iteration: for each path the median over all turns. */
  @State(Scope.Thread)
  @AuxCounters(AuxCounters.Type.EVENTS)
  public static class Paths {
    /** More turns than an iteration of some seconds has; older ones would be overwritten. */
    private static final int KEPT = 1 << 15;

    private final double[][] turns = new double[7][KEPT];
    private int count;

    @Setup(Level.Iteration)
    public void clear() {
      count = 0;
    }

    void add(int documents, long... nanoseconds) {
      for (int path = 0; path < nanoseconds.length; path++) {
        turns[path][count % KEPT] = (double) nanoseconds[path] / documents;
      }
      count++;
    }

    private double median(int path) {
      return Spread.percentile(Arrays.copyOf(turns[path], Math.min(count, KEPT)), 0.5);
    }

    /** Of the difference in each turn, not the difference of two medians. */
    private double medianOverKernel(int path) {
      double[] differences = Arrays.copyOf(turns[path], Math.min(count, KEPT));
      for (int turn = 0; turn < differences.length; turn++) {
        differences[turn] -= turns[0][turn];
      }
      return Spread.percentile(differences, 0.5);
    }

    public double kernel() {
      return median(0);
    }

    public double version() {
      return median(1);
    }

    public double nativeCall() {
      return median(2);
    }

    public double encode() {
      return median(3);
    }

    public double tokenCount() {
      return median(4);
    }

    public double tokenizeRow() {
      return median(5);
    }

    public double tokenCountRow() {
      return median(6);
    }

    public double nativeCallOverKernel() {
      return medianOverKernel(2);
    }

    public double callOverKernel() {
      return medianOverKernel(3);
    }

    public double rowOverKernel() {
      return medianOverKernel(5);
    }
  }

  /** Makes documents, loads, compiles, and checks every path against the native result. */
  @Setup(Level.Trial)
  public void setUp() throws IOException {
    folder = Files.createTempDirectory("quern-bench");
    byte[] text = text(documentBytes);
    documents = new ArrayList<>();
    rows = new InternalRow[TURN_BYTES / Math.min(TURN_BYTES, Math.max(256, documentBytes))];
    for (int i = 0; i < rows.length; i++) {
      documents.add(text.clone());
      rows[i] = new GenericInternalRow(new Object[] {UTF8String.fromBytes(text.clone())});
    }
    TokenizerSpec spec;
    String name;
    if (tokenizer.equals(TOY)) {
      Path file = Files.write(folder.resolve("tokenizer.json"), toy(text));
      spec = TokenizerSpec.huggingFace(Files.readAllBytes(file));
      name = file.toUri().toString();
    } else if (TokenizerSpec.builtInNames().contains(tokenizer)) {
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
      equal("tokenizeRow", expected, tokenize.apply(rows[i]).getArray(0).toIntArray());
      equal(
          "tokenCountRow",
          new int[] {expected.length},
          new int[] {tokenCount.apply(rows[i]).getInt(0)});
    }
    if (tokenizer.equals(TOY) && documentBytes > 0 && !Arrays.equals(expected, new int[] {1})) {
      throw new BenchException(
          BenchException.WRONG_RESULT, "the toy tokenizer did not take the document as one token");
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
      sum += tokenize.apply(rows[i]).getSizeInBytes();
    }
    long tokenizeRow = System.nanoTime();
    for (int i = 0; i < count; i++) {
      sum += this.tokenCount.apply(rows[i]).getInt(0);
    }
    long tokenCountRow = System.nanoTime();
    nanoseconds.add(
        count,
        kernel - begin,
        version - kernel,
        nativeCall - version,
        encode - nativeCall,
        tokenCount - encode,
        tokenizeRow - tokenCount,
        tokenCountRow - tokenizeRow);
    return sum;
  }

  @TearDown(Level.Trial)
  public void tearDown() throws IOException {
    session.stop();
    raw.close();
    tokenizerInUse.close();
    Files.deleteIfExists(folder.resolve("tokenizer.json"));
    Files.delete(folder);
  }

  /** Words of 1 to 9 letters, always the same ones. */
  private static byte[] text(int bytes) {
    Random random = new Random(7);
    StringBuilder text = new StringBuilder();
    while (text.length() < bytes) {
      for (int letters = 1 + random.nextInt(9); letters > 0; letters--) {
        text.append((char) ('a' + random.nextInt(26)));
      }
      text.append(' ');
    }
    text.setLength(bytes);
    return text.toString().getBytes(StandardCharsets.US_ASCII);
  }

  private static byte[] toy(byte[] text) throws IOException {
    String document = text.length == 0 ? "nothing" : new String(text, StandardCharsets.US_ASCII);
    Map<String, Object> model =
        Map.of("type", "WordLevel", "unk_token", "[UNK]", "vocab", Map.of("[UNK]", 0, document, 1));
    return KernelTask.JSON.writeValueAsBytes(
        Map.of("version", "1.0", "added_tokens", List.of(), "model", model));
  }
}
