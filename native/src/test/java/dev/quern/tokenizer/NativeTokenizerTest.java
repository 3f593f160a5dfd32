package dev.quern.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import dev.quern.tokenizer.EncodeOptions.InvalidUtf8;
import dev.quern.tokenizer.TokenizerException.Reason;
import dev.quern.tokenizer.TokenizerSpec.Engine;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import org.assertj.core.api.ThrowableAssert.ThrowingCallable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** The limits of each call, its memory, and closing. */
class NativeTokenizerTest {
  private static final EncodeOptions REPLACE = new EncodeOptions(false, InvalidUtf8.REPLACE);
  private static final String WORD_LEVEL =
      """
      {"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,
       "pre_tokenizer":{"type":"Whitespace"},"post_processor":null,"decoder":null,
       "model":{"type":"WordLevel","vocab":{%s},"unk_token":"%s"}}
      """;

  private static NativeTokenizer tokenizer;

  @BeforeAll
  static void load() {
    tokenizer = Goldens.load("byte-level-bpe");
  }

  @AfterAll
  static void close() {
    tokenizer.close();
  }

  private static byte[] utf8(String text) {
    return text.getBytes(StandardCharsets.UTF_8);
  }

  private static void assertFails(Reason reason, String message, ThrowingCallable call) {
    assertThatThrownBy(call)
        .isInstanceOfSatisfying(
            TokenizerException.class, e -> assertThat(e.reason()).isEqualTo(reason))
        .hasMessageContaining(message);
  }

  /** Waits for what the garbage collector brings about; the limit only ends a failing test. */
  private static void awaitCollected(String what, BooleanSupplier done) throws Exception {
    for (int i = 0; i < 600; i++) {
      System.gc();
      if (done.getAsBoolean()) {
        return;
      }
      Thread.sleep(50);
    }
    throw new AssertionError("never happened: " + what);
  }

  @Test
  void rangesOutsideAnArrayAreErrors() {
    byte[] text = utf8("text");
    EncodeOptions options = EncodeOptions.DEFAULT;
    for (long[] range :
        new long[][] {{-1, 1}, {0, 5}, {1, 4}, {5, 0}, {0, -1}, {0, Integer.MIN_VALUE}}) {
      long offset = OffHeap.BYTE_ARRAY + range[0];
      int length = (int) range[1];
      String where = "outside the array of 4 bytes";
      assertFails(
          Reason.INVALID_ARGUMENT, where, () -> tokenizer.encode(text, offset, length, options));
      assertFails(
          Reason.INVALID_ARGUMENT,
          where,
          () -> tokenizer.encodeWithOffsets(text, offset, length, options));
      assertFails(
          Reason.INVALID_ARGUMENT,
          where,
          () -> tokenizer.tokenCount(text, offset, length, options));
    }
    assertFails(
        Reason.INVALID_ARGUMENT,
        "outside the array",
        () -> tokenizer.decode(new int[2], OffHeap.INT_ARRAY, 3, false));
    assertFails(Reason.INVALID_ARGUMENT, "negative", () -> tokenizer.decode(null, 0, -1, false));
  }

  @Test
  void addressesAreReadInPlace() {
    byte[] text = utf8("off the heap, naïvely");
    long address = OffHeap.allocate(text.length);
    try {
      OffHeap.copy(text, OffHeap.BYTE_ARRAY, null, address, text.length);
      assertThat(tokenizer.encode(null, address, text.length, EncodeOptions.DEFAULT).toArray())
          .isEqualTo(tokenizer.encode(text).toArray());
    } finally {
      OffHeap.free(address, text.length);
    }
    assertThat(tokenizer.encode(null, 0, 0, EncodeOptions.DEFAULT).count()).isZero();
    assertFails(
        Reason.INVALID_ARGUMENT, "text", () -> tokenizer.encode(null, 0, 1, EncodeOptions.DEFAULT));
    assertFails(
        Reason.INVALID_ARGUMENT,
        "negative",
        () -> tokenizer.encode(null, 16, -1, EncodeOptions.DEFAULT));
  }

  @Test
  void anyObjectHoldsTextAsInSpark() {
    byte[] text = utf8("in a page of longs");
    long[] page = new long[8];
    OffHeap.copy(text, OffHeap.BYTE_ARRAY, page, OffHeap.BYTE_ARRAY + 3, text.length);
    assertThat(
            tokenizer
                .encode(page, OffHeap.BYTE_ARRAY + 3, text.length, EncodeOptions.DEFAULT)
                .toArray())
        .isEqualTo(tokenizer.encode(text).toArray());
  }

  /** In the heap a long document is encoded in pieces; outside, in place and as a whole. */
  @Test
  void longDocumentsHaveTheIdsOfTheWhole() {
    String prose =
        "It's 12345 words, isn't it?\n\n\tfor (int i = 0; i < n; i++) { sum += a[i]; }\n";
    String chinese = "人工智能是计算机科学的一个分支。\n它的目标是什么？\n";
    try (NativeTokenizer fast =
        NativeTokenizer.load(TokenizerSpec.builtIn("o200k_base").withEngine(Engine.FAST))) {
      for (String text :
          List.of(
              prose.repeat((9 << 20) / prose.length()),
              chinese.repeat((9 << 20) / 75),
              // No place to cut in the second and third piece; three ids a character.
              prose.repeat(1000) + "ᚠ".repeat(3 << 20) + prose,
              "x".repeat(5 << 20))) {
        byte[] utf8 = utf8(text);
        assertInPlace(fast, utf8, EncodeOptions.DEFAULT);
        utf8[utf8.length - 9] = (byte) 0xFF;
        assertInPlace(fast, utf8, EncodeOptions.DEFAULT);
        assertInPlace(fast, utf8, REPLACE);
      }
      assertThat(fast.encode("short")).hasSize(1);
      assertThat(IdBuffer.current().input().capacity())
          .isLessThanOrEqualTo(OffHeap.Block.KEPT_BYTES);
    }
  }

  private static void assertInPlace(NativeTokenizer fast, byte[] utf8, EncodeOptions options) {
    long address = OffHeap.allocate(utf8.length);
    try {
      OffHeap.copy(utf8, OffHeap.BYTE_ARRAY, null, address, utf8.length);
      int[] whole;
      try {
        whole = fast.encode(null, address, utf8.length, options).toArray();
      } catch (TokenizerException e) {
        assertThatThrownBy(() -> fast.encode(utf8, OffHeap.BYTE_ARRAY, utf8.length, options))
            .hasMessage(e.getMessage())
            .extracting(failure -> ((TokenizerException) failure).position())
            .isEqualTo(e.position());
        return;
      }
      assertThat(fast.encode(utf8, OffHeap.BYTE_ARRAY, utf8.length, options).toArray())
          .isEqualTo(whole);
      assertThat(fast.tokenCount(utf8, OffHeap.BYTE_ARRAY, utf8.length, options))
          .isEqualTo(whole.length);
    } finally {
      OffHeap.free(address, utf8.length);
    }
  }

  @Test
  void emptyTextHasNoIds() {
    assertThat(tokenizer.encode("")).isEmpty();
    assertThat(tokenizer.tokenCount("")).isZero();
    assertThat(tokenizer.decode(new int[0], false)).isEmpty();
  }

  @Test
  void aBatchHasTheIdsOfEachDocument() {
    List<byte[]> texts =
        new ArrayList<>(List.of(new byte[0], utf8("x"), new byte[0], utf8("ᚠ".repeat(5_000))));
    new HardText(HardText.seed(getClass())).documents(200).forEach(text -> texts.add(utf8(text)));
    DocumentBatch batch = Goldens.batch(texts);
    assertThat(batch.documents()).isEqualTo(texts.size());
    assertThat(batch.add(new byte[0], OffHeap.BYTE_ARRAY, 0)).as("the batch is full").isFalse();
    assertThatThrownBy(() -> batch.count(0)).isInstanceOf(IllegalStateException.class);
    tokenizer.count(batch, EncodeOptions.DEFAULT);
    for (int i = 0; i < texts.size(); i++) {
      assertThat(batch.count(i)).isEqualTo(tokenizer.encode(texts.get(i)).count());
    }
    assertThatThrownBy(() -> batch.ids(0)).isInstanceOf(IllegalStateException.class);
    tokenizer.encode(batch, EncodeOptions.DEFAULT);
    for (int i = 0; i < texts.size(); i++) {
      assertThat(batch.ids(i)).isEqualTo(tokenizer.encode(texts.get(i)).toArray());
      assertThat(batch.count(i)).isEqualTo(batch.ids(i).length);
    }
    assertThatThrownBy(() -> batch.ids(texts.size())).isInstanceOf(IndexOutOfBoundsException.class);

    batch.clear();
    tokenizer.encode(batch, EncodeOptions.DEFAULT);
    assertThat(batch.documents()).isZero();
    assertThatThrownBy(() -> batch.ids(0)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThat(batch.add(utf8("x"), OffHeap.BYTE_ARRAY, 1)).isTrue();
    assertThatThrownBy(() -> batch.count(0)).isInstanceOf(IllegalStateException.class);
    assertThat(batch.add(new byte[500_000], OffHeap.BYTE_ARRAY, 500_000))
        .as("no room for that many bytes")
        .isFalse();
    assertThatThrownBy(() -> batch.add(utf8("x"), OffHeap.BYTE_ARRAY, 2))
        .isInstanceOf(TokenizerException.class)
        .hasMessageContaining("outside the array");
    tokenizer.encode(batch, EncodeOptions.DEFAULT);
    assertThat(batch.ids(0)).isEqualTo(tokenizer.encode("x"));
    batch.close();
    batch.close();
    assertThatThrownBy(() -> tokenizer.encode(batch, EncodeOptions.DEFAULT))
        .isInstanceOf(IllegalStateException.class);
    assertThatThrownBy(() -> batch.ids(0)).isInstanceOf(IllegalStateException.class);
  }

  @Test
  void moreIdsThanGuessedAreFetchedAgain() {
    // Three ids for each character of three bytes, where half an id a byte is the guess.
    String text = "ᚠ".repeat(5_000);
    byte[] utf8 = utf8(text);
    int[] ids = tokenizer.encode(text);
    assertThat(ids.length).isGreaterThan(utf8.length / 2 + 16);
    assertThat(tokenizer.decode(ids, false)).isEqualTo(utf8);
    IdBuffer spans =
        tokenizer.encodeWithOffsets(utf8, OffHeap.BYTE_ARRAY, utf8.length, EncodeOptions.DEFAULT);
    assertThat(spans.toArray()).isEqualTo(ids);
    assertThat(spans.end(ids.length - 1)).isEqualTo(utf8.length);
    try (DocumentBatch batch = Goldens.batch(List.of(utf8, utf8))) {
      tokenizer.encode(batch, EncodeOptions.DEFAULT);
      assertThat(batch.ids(0)).isEqualTo(ids);
      assertThat(batch.ids(1)).isEqualTo(ids);
    }
  }

  /** Bytes that are not UTF-8, and what WHATWG's decoder makes of them (Java's differs). */
  private static Map<byte[], String> wrongAndReplaced() {
    return Map.of(
        new byte[] {(byte) 0x80}, "\ufffd",
        new byte[] {(byte) 0xc3}, "\ufffd",
        new byte[] {(byte) 0xe2, (byte) 0x82}, "\ufffd",
        new byte[] {(byte) 0xed, (byte) 0xa0, (byte) 0x80}, "\ufffd\ufffd\ufffd",
        new byte[] {(byte) 0xf5, 'a'}, "\ufffda",
        new byte[] {(byte) 0xf0, (byte) 0x9f, (byte) 0x98, 'b'}, "\ufffdb",
        new byte[] {(byte) 0xc0, (byte) 0xaf}, "\ufffd\ufffd");
  }

  @Test
  void invalidUtf8IsAnErrorWithItsPosition() {
    for (String start : List.of("", "abc", "ü", "x".repeat(70))) {
      for (Map.Entry<byte[], String> pair : wrongAndReplaced().entrySet()) {
        byte[] wrong = pair.getKey();
        byte[] text = Arrays.copyOf(utf8(start), utf8(start).length + wrong.length);
        System.arraycopy(wrong, 0, text, utf8(start).length, wrong.length);
        assertThatThrownBy(() -> tokenizer.encode(text))
            .isInstanceOfSatisfying(
                TokenizerException.class,
                e -> {
                  assertThat(e.reason()).isEqualTo(Reason.INVALID_UTF8);
                  assertThat(e.position()).isEqualTo(utf8(start).length);
                });
        assertThatThrownBy(
                () ->
                    tokenizer.encode(
                        Goldens.batch(List.of(utf8("ok"), text)), EncodeOptions.DEFAULT))
            .isInstanceOfSatisfying(
                TokenizerException.class,
                e -> {
                  assertThat(e.reason()).isEqualTo(Reason.INVALID_UTF8);
                  assertThat(e.document()).isEqualTo(1);
                  assertThat(e.position()).isEqualTo(utf8(start).length);
                });
        int[] replaced = tokenizer.encode(start + pair.getValue());
        assertThat(tokenizer.encode(text, OffHeap.BYTE_ARRAY, text.length, REPLACE).toArray())
            .isEqualTo(replaced);
        assertThat(tokenizer.tokenCount(text, OffHeap.BYTE_ARRAY, text.length, REPLACE))
            .isEqualTo(replaced.length);
      }
    }
  }

  @Test
  void aLoneSurrogateIsAnErrorNotAQuestionMark() {
    assertThatThrownBy(() -> tokenizer.encode("ü😀\ud800x"))
        .isInstanceOfSatisfying(
            TokenizerException.class,
            e -> {
              assertThat(e.reason()).isEqualTo(Reason.INVALID_UTF8);
              assertThat(e.position()).isEqualTo(6);
            })
        .hasMessageContaining("at character 3");
    assertFails(Reason.INVALID_UTF8, "surrogate", () -> tokenizer.tokenCount("\udc00"));
  }

  @Test
  void unknownIdsCantBeDecoded() {
    int beyond = tokenizer.vocabularySize();
    for (int id : new int[] {-1, beyond, Integer.MAX_VALUE}) {
      assertFails(Reason.UNKNOWN_ID, "index 1", () -> tokenizer.decode(new int[] {0, id}, false));
    }
  }

  @Test
  void theBufferKnowsItsLimits() {
    IdBuffer ids = tokenizer.encode(utf8("several token ids"));
    int count = ids.count();
    int[] copy = new int[count + 2];
    Arrays.fill(copy, -7);
    ids.copyTo(copy, OffHeap.INT_ARRAY + Integer.BYTES);
    assertThat(copy[0]).isEqualTo(-7);
    assertThat(copy[count + 1]).isEqualTo(-7);
    assertThat(Arrays.copyOfRange(copy, 1, count + 1)).isEqualTo(ids.toArray());
    assertThat(ids.id(count - 1)).isEqualTo(copy[count]);
    assertThatThrownBy(() -> ids.id(count)).isInstanceOf(IndexOutOfBoundsException.class);
    assertThatThrownBy(() -> ids.id(-1)).isInstanceOf(IndexOutOfBoundsException.class);
    assertFails(Reason.INVALID_ARGUMENT, "encodeWithOffsets", () -> ids.begin(0));
    assertThatThrownBy(() -> tokenizer.encode(new byte[] {-1}))
        .isInstanceOf(TokenizerException.class);
    assertThat(ids.count()).as("after a failed call").isZero();
  }

  @Test
  void idsAreHandedOverWhereTheyAre() {
    IdBuffer ids = tokenizer.encode(utf8("word ".repeat(100_000)));
    int[] expected = ids.toArray();
    for (long before : new long[] {0, 8, 40_000, 5L << 20}) {
      ids = tokenizer.encode(utf8("word ".repeat(100_000)));
      long address = ids.handOver(before, before + 4L * expected.length + 8);
      assertThat(ids.count()).isZero();
      int[] found = new int[expected.length];
      OffHeap.copy(null, address + before, found, OffHeap.INT_ARRAY, 4L * found.length);
      assertThat(found).isEqualTo(expected);
    }
    assertThat(tokenizer.encode(utf8("word ".repeat(100_000))).toArray()).isEqualTo(expected);
  }

  @Test
  void textThatTheTokenizerRefusesIsAnError() {
    byte[] file = utf8(String.format(WORD_LEVEL, "\"a\":0", "[UNK]"));
    try (NativeTokenizer words = NativeTokenizer.load(TokenizerSpec.huggingFace(file))) {
      assertThat(words.encode("a a")).containsExactly(0, 0);
      assertFails(Reason.ENCODE, "", () -> words.encode("a b"));
    }
  }

  @Test
  void filesThatCantBeServedAreErrorsWithoutTheirContent() {
    for (byte[] file :
        List.of(
            new byte[0],
            utf8("secret password"),
            utf8("{\"secret\": \"password\"}"),
            utf8(String.format(WORD_LEVEL, "\"secret\":\"password\"", "x")))) {
      assertThatThrownBy(() -> NativeTokenizer.load(TokenizerSpec.huggingFace(file)))
          .isInstanceOfSatisfying(
              TokenizerException.class,
              e -> {
                assertThat(e.reason()).isEqualTo(Reason.UNSUPPORTED);
                assertThat(e.getMessage()).doesNotContain("secret").doesNotContain("password");
              });
    }
    assertFails(
        Reason.UNSUPPORTED,
        "line 2",
        () ->
            NativeTokenizer.load(
                TokenizerSpec.tiktoken(utf8("YQ== 0\nsecret\n"), "\\w+", Map.of())));
    assertFails(
        Reason.UNSUPPORTED,
        "pattern",
        () -> NativeTokenizer.load(TokenizerSpec.tiktoken(ranksOfBytes(), "(", Map.of())));
    assertFails(
        Reason.UNSUPPORTED,
        "model WordLevel; set the option \"engine\" to \"auto\" or \"reference\"",
        () -> NativeTokenizer.load(Goldens.spec("wordlevel").withEngine(Engine.FAST)));
    assertFails(
        Reason.INVALID_ARGUMENT,
        "\"cache_bytes_per_thread\" is 524287; give from 524288",
        () ->
            NativeTokenizer.load(
                Goldens.spec("wordlevel").withCacheBytesPerThread((512 << 10) - 1)));
  }

  /** The smallest ranks that can encode everything. */
  private static byte[] ranksOfBytes() {
    StringBuilder lines = new StringBuilder();
    for (int b = 0; b < 256; b++) {
      lines.append(Base64.getEncoder().encodeToString(new byte[] {(byte) b}));
      lines.append(' ').append(b).append('\n');
    }
    return utf8(lines.toString());
  }

  @Test
  void describesItself() throws Exception {
    TokenizerSpec spec = Goldens.spec("unigram");
    try (NativeTokenizer unigram = NativeTokenizer.load(spec)) {
      assertThat(unigram.model()).isEqualTo("Unigram");
      assertThat(unigram.engine()).isEqualTo("reference");
      assertThat(unigram.engineReason()).contains("model Unigram");
      assertThat(unigram.simd()).isEqualTo("none");
      assertThat(unigram.contentHash()).isEqualTo(LibraryFiles.sha256(spec.file()));
      assertThat(unigram.vocabularySize()).isGreaterThan(100);
      assertThat(unigram.notices()).doesNotContain("", (String) null);
    }
    spec = TokenizerSpec.tiktoken(ranksOfBytes(), TokenizerSpec.builtInPattern("gpt2"), Map.of());
    try (NativeTokenizer bytes = NativeTokenizer.load(spec);
        NativeTokenizer small = NativeTokenizer.load(spec.withCacheBytesPerThread(1 << 20));
        NativeTokenizer reference = NativeTokenizer.load(spec.withEngine(Engine.REFERENCE))) {
      assertThat(bytes.engine()).isEqualTo("fast");
      assertThat(bytes.simd()).isIn("avx512", "avx2", "neon", "portable");
      assertThat(reference.engine()).isEqualTo("reference");
      assertThat(List.of(small.contentHash(), reference.contentHash()))
          .containsOnly(bytes.contentHash());
      assertThat(small.encode("ab")).containsExactly(97, 98);
    }
  }

  @Test
  void equalFilesAreLoadedOnce() {
    // A vocabulary of this test's own, so that no other test has loaded it.
    byte[] file = utf8(String.format(WORD_LEVEL, "\"loaded\":0,\"once\":1", "once"));
    long before = QuernLibrary.tokenizersLoaded();
    try (NativeTokenizer first = NativeTokenizer.load(TokenizerSpec.huggingFace(file));
        NativeTokenizer second = NativeTokenizer.load(TokenizerSpec.huggingFace(file))) {
      assertThat(QuernLibrary.tokenizersLoaded()).isEqualTo(before + 1);
      first.close();
      assertThat(second.encode("loaded")).containsExactly(0);
    }
  }

  @Test
  void afterCloseCallsFailAndDescriptionsStay() {
    NativeTokenizer closed = Goldens.load("wordlevel");
    closed.close();
    closed.close();
    byte[] text = utf8("text");
    EncodeOptions options = EncodeOptions.DEFAULT;
    List<ThrowingCallable> calls =
        List.of(
            () -> closed.encode(text),
            () -> closed.encode(""),
            () -> closed.encodeWithOffsets(text, OffHeap.BYTE_ARRAY, text.length, options),
            () -> closed.encode(Goldens.batch(List.of(text)), options),
            () -> closed.tokenCount("text"),
            () -> closed.decode(new int[] {1}, false),
            () -> closed.tokenId("text"));
    for (ThrowingCallable call : calls) {
      assertFails(Reason.CLOSED, "load the tokenizer again", call);
    }
    assertThat(closed.model()).isEqualTo("WordLevel");
    assertThat(closed.toString()).contains("WordLevel");
  }

  @Test
  void closeWhileManyThreadsEncode() throws Exception {
    int threads = 8;
    String text = "The quick brown fox jumps over the lazy dog. ".repeat(20);
    int[] expected = tokenizer.encode(text);
    ExecutorService pool = Executors.newFixedThreadPool(threads);
    try {
      for (int round = 0; round < 50; round++) {
        // Every second one is alone: its memory goes while calls run.
        TokenizerSpec spec = Goldens.spec("byte-level-bpe");
        NativeTokenizer racing =
            NativeTokenizer.load(round % 2 == 0 ? spec : spec.withEngine(Engine.REFERENCE));
        CountDownLatch encoding = new CountDownLatch(threads);
        Callable<Integer> encode =
            () -> {
              int calls = 0;
              try {
                while (true) {
                  assertThat(racing.encode(text)).isEqualTo(expected);
                  if (calls++ == 0) {
                    encoding.countDown();
                  }
                }
              } catch (TokenizerException e) {
                assertThat(e.reason()).isEqualTo(Reason.CLOSED);
                return calls;
              }
            };
        List<Future<Integer>> results = new ArrayList<>();
        for (int i = 0; i < threads; i++) {
          results.add(pool.submit(encode));
        }
        assertThat(encoding.await(2, TimeUnit.MINUTES)).isTrue();
        racing.close();
        for (Future<Integer> result : results) {
          assertThat(result.get(2, TimeUnit.MINUTES)).isPositive();
        }
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void anUnreachableTokenizerIsFreed() throws Exception {
    byte[] file = utf8(String.format(WORD_LEVEL, "\"never\":0,\"closed\":1", "never"));
    TokenizerSpec spec = TokenizerSpec.huggingFace(file);
    NativeTokenizer.load(spec);
    awaitCollected(
        "a second load that had to load",
        () -> {
          long before = QuernLibrary.tokenizersLoaded();
          NativeTokenizer.load(spec).close();
          return QuernLibrary.tokenizersLoaded() > before;
        });
  }

  @Test
  void largeBuffersAreGivenBack() {
    // All space, so that the document is large and quick.
    byte[] file = utf8(String.format(WORD_LEVEL, "\"a\":0", "a"));
    try (NativeTokenizer words = NativeTokenizer.load(TokenizerSpec.huggingFace(file))) {
      words.encode("a");
      long small = TokenizerStatistics.bufferBytes();
      byte[] large = new byte[8 << 20];
      Arrays.fill(large, (byte) ' ');
      words.encode(large);
      long ids = TokenizerStatistics.bufferBytes() - small;
      assertThat(ids)
          .as("ids are kept until the next call, text is not")
          .isBetween((long) large.length, 2L * large.length);
      words.encode("a");
      assertThat(TokenizerStatistics.bufferBytes()).isLessThanOrEqualTo(small + 65536);
    }
  }

  @Test
  void aThreadsBuffersGoWithIt() throws Exception {
    long before = TokenizerStatistics.bufferBytes();
    TokenizerStatistics.Snapshot done = TokenizerStatistics.snapshot();
    Thread thread = new Thread(() -> tokenizer.encode("x ".repeat(500_000)));
    thread.start();
    thread.join();
    assertThat(TokenizerStatistics.snapshot().minus(done).documents()).isEqualTo(1);
    awaitCollected("buffers freed", () -> TokenizerStatistics.bufferBytes() <= before);
    assertThat(TokenizerStatistics.snapshot().minus(done).bytes())
        .as("what the thread did is not forgotten")
        .isEqualTo(1_000_000);
  }

  @Test
  void statisticsCountWhatSucceeded() throws Exception {
    TokenizerStatistics.Snapshot before = TokenizerStatistics.snapshot();
    byte[] text = utf8("statistics of several threads");
    long tokens = tokenizer.encode(text).count();
    int threads = 4;
    int calls = 250;
    List<Thread> running = new ArrayList<>();
    for (int i = 0; i < threads; i++) {
      Thread thread =
          new Thread(
              () -> {
                for (int call = 0; call < calls; call++) {
                  tokenizer.encode(text);
                }
              });
      thread.start();
      running.add(thread);
    }
    for (Thread thread : running) {
      thread.join();
    }
    tokenizer.encode(Goldens.batch(List.of(text, text)), EncodeOptions.DEFAULT);
    tokenizer.tokenCount(text, OffHeap.BYTE_ARRAY, text.length, EncodeOptions.DEFAULT);
    assertThatThrownBy(() -> tokenizer.encode(new byte[] {-1}))
        .isInstanceOf(TokenizerException.class);
    tokenizer.decode(new int[] {1}, false);
    assertThat(TokenizerStatistics.uncounted(() -> tokenizer.encode(text).count()))
        .isEqualTo((int) tokens);
    long documents = 1L + threads * calls + 2 + 1;
    TokenizerStatistics.Snapshot delta = TokenizerStatistics.snapshot().minus(before);
    assertThat(delta.documents()).isEqualTo(documents);
    assertThat(delta.bytes()).isEqualTo(documents * text.length);
    assertThat(delta.tokens()).isEqualTo(documents * tokens);
    assertThat(delta.nanoseconds()).isPositive();
  }

  @Test
  void manyThreadsGetTheSameIds() throws Exception {
    List<String> texts = new HardText(HardText.seed(getClass())).documents(200);
    List<int[]> expected = texts.stream().map(tokenizer::encode).toList();
    ExecutorService pool = Executors.newFixedThreadPool(6);
    try {
      List<Future<?>> results = new ArrayList<>();
      for (int i = 0; i < 6; i++) {
        int shift = i * 31;
        results.add(
            pool.submit(
                () -> {
                  for (int n = 0; n < texts.size(); n++) {
                    int at = (n + shift) % texts.size();
                    assertThat(tokenizer.encode(texts.get(at))).isEqualTo(expected.get(at));
                  }
                }));
      }
      for (Future<?> result : results) {
        result.get();
      }
    } finally {
      pool.shutdownNow();
    }
  }
}
