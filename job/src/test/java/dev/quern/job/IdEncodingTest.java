package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IntSummaryStatistics;
import java.util.List;
import java.util.Random;
import org.apache.parquet.bytes.ByteBufferInputStream;
import org.apache.parquet.bytes.BytesInput;
import org.apache.parquet.bytes.HeapByteBufferAllocator;
import org.apache.parquet.column.ColumnDescriptor;
import org.apache.parquet.column.Dictionary;
import org.apache.parquet.column.Encoding;
import org.apache.parquet.column.page.DictionaryPage;
import org.apache.parquet.column.values.ValuesReader;
import org.apache.parquet.column.values.ValuesWriter;
import org.apache.parquet.column.values.bytestreamsplit.ByteStreamSplitValuesWriter.IntegerByteStreamSplitValuesWriter;
import org.apache.parquet.column.values.delta.DeltaBinaryPackingValuesWriterForInteger;
import org.apache.parquet.column.values.dictionary.DictionaryValuesReader;
import org.apache.parquet.column.values.plain.PlainValuesWriter;
import org.apache.parquet.column.values.rle.RunLengthBitPackingHybridDecoder;
import org.apache.parquet.column.values.rle.RunLengthBitPackingHybridEncoder;
import org.apache.parquet.schema.PrimitiveType.PrimitiveTypeName;
import org.apache.parquet.schema.Types;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Our encoders against parquet-java's: what they write, and what its readers find in it. */
class IdEncodingTest {
  private static final ColumnDescriptor COLUMN =
      new ColumnDescriptor(
          new String[] {"ids", "list", "element"},
          Types.required(PrimitiveTypeName.INT32).named("element"),
          1,
          1);

  private static final HeapByteBufferAllocator HEAP = new HeapByteBufferAllocator();

  private static Random random() {
    long seed = Long.getLong("quern.test.seed", System.nanoTime());
    System.out.println("IdEncodingTest: -Dquern.test.seed=" + seed);
    return new Random(seed);
  }

  /** Ids as tokenizers have them, and such as they don't. */
  private static int[] ids(Random random, int count) {
    int kind = random.nextInt(6);
    int one = random.nextInt(1 << 17);
    int[] ids = new int[count];
    for (int i = 0; i < count; i++) {
      ids[i] =
          switch (kind) {
            case 0 -> random.nextInt(200_000);
            // As Zipf has it, about.
            case 1 -> (int) (200_000 * Math.pow(random.nextDouble(), 4));
            case 2 -> one;
            case 3 -> random.nextInt();
            case 4 -> random.nextInt(1 << (1 + random.nextInt(21)));
            default -> i;
          };
    }
    return ids;
  }

  /** What parquet-java finds in a page. */
  private static int[] decode(
      IdEncoding.Encoder encoder, BytesInput page, Dictionary dictionary, int count)
      throws IOException {
    ValuesReader reader =
        encoder.encoding() == Encoding.RLE_DICTIONARY
            ? new DictionaryValuesReader(dictionary)
            : encoder
                .encoding()
                .getValuesReader(COLUMN, org.apache.parquet.column.ValuesType.VALUES);
    reader.initFromPage(count, ByteBufferInputStream.wrap(page.toByteBuffer()));
    int[] found = new int[count];
    for (int i = 0; i < count; i++) {
      found[i] = reader.readInteger();
    }
    return found;
  }

  private record Page(int[] ids, byte[] bytes, Encoding encoding) {}

  @ParameterizedTest
  @EnumSource(IdEncoding.class)
  void readersFindTheIdsOfEveryPage(IdEncoding encoding) throws IOException {
    Random random = random();
    IdEncoding.Encoder encoder = encoding.encoder();
    for (int group = 0; group < 60; group++) {
      List<Page> pages = new ArrayList<>();
      int most = random.nextInt(4) == 0 ? 40 : 30_000;
      for (int page = 0; page < 1 + random.nextInt(4); page++) {
        int count = random.nextInt(most);
        // More than the page has: the rest is not its own.
        int[] ids = ids(random, count + random.nextInt(3));
        byte[] bytes = encode(encoder, ids, count).toByteArray();
        pages.add(new Page(Arrays.copyOf(ids, count), bytes, encoder.encoding()));
      }
      DictionaryPage dictionaryPage = encoder.dictionary();
      Dictionary dictionary =
          dictionaryPage == null ? null : Encoding.PLAIN.initDictionary(COLUMN, dictionaryPage);
      for (Page page : pages) {
        IdEncoding.Encoder as = fixed(page.encoding());
        assertThat(decode(as, BytesInput.from(page.bytes()), dictionary, page.ids().length))
            .isEqualTo(page.ids());
      }
    }
  }

  private static IdEncoding.Encoder fixed(Encoding encoding) {
    return new IdEncoding.Encoder() {
      @Override
      public BytesInput encode(int[] ids, int count) {
        throw new UnsupportedOperationException();
      }

      @Override
      public Encoding encoding() {
        return encoding;
      }
    };
  }

  @ParameterizedTest
  @EnumSource(names = {"PLAIN", "BYTE_STREAM_SPLIT", "DELTA_BINARY_PACKED"})
  void thePagesAreThoseOfParquetsOwnWriter(IdEncoding encoding) throws IOException {
    Random random = random();
    IdEncoding.Encoder encoder = encoding.encoder();
    for (int round = 0; round < 50; round++) {
      int[] ids = ids(random, random.nextInt(20_000));
      try (ValuesWriter twin =
          switch (encoding) {
            case PLAIN -> new PlainValuesWriter(64, 1 << 20, HEAP);
            case BYTE_STREAM_SPLIT -> new IntegerByteStreamSplitValuesWriter(64, 1 << 20, HEAP);
            default -> new DeltaBinaryPackingValuesWriterForInteger(64, 1 << 20, HEAP);
          }) {
        for (int id : ids) {
          twin.writeInteger(id);
        }
        assertThat(encode(encoder, ids).toByteArray()).isEqualTo(twin.getBytes().toByteArray());
      }
    }
  }

  private static BytesInput encode(IdEncoding.Encoder encoder, int... ids) {
    return encode(encoder, ids, ids.length);
  }

  /** A page of two arrays, of which the first is a third. */
  private static BytesInput encode(IdEncoding.Encoder encoder, int[] ids, int count) {
    add(encoder, ids, 0, count / 3);
    add(encoder, ids, count / 3, count);
    return encoder.encode(ids, count);
  }

  private static void add(IdEncoding.Encoder encoder, int[] ids, int from, int to) {
    if (from < to) {
      IntSummaryStatistics range = Arrays.stream(ids, from, to).summaryStatistics();
      encoder.add(ids, from, to, range.getMin(), range.getMax());
    }
  }

  @Test
  void indicesOfEveryWidthAreFound() throws IOException {
    Random random = random();
    IdEncoding.Encoder encoder = IdEncoding.DICTIONARY.encoder();
    for (int bits = 1; bits <= 18; bits++) {
      int distinct = Math.max(2, (1 << bits) - random.nextInt(1 << (bits - 1)));
      int[] ids = new int[4 * distinct + 40 + random.nextInt(8)];
      for (int i = 0; i < ids.length; i++) {
        // All of them, then any.
        ids[i] = 3 * (i < distinct ? i : random.nextInt(distinct));
      }
      BytesInput page = encode(encoder, ids);
      assertThat(encoder.encoding()).isEqualTo(Encoding.RLE_DICTIONARY);
      byte[] bytes = page.toByteArray();
      assertThat(bytes[0]).isEqualTo((byte) bits);
      Dictionary dictionary = Encoding.PLAIN.initDictionary(COLUMN, encoder.dictionary());
      assertThat(
              decode(
                  fixed(Encoding.RLE_DICTIONARY), BytesInput.from(bytes), dictionary, ids.length))
          .as("%d bits", bits)
          .isEqualTo(ids);
    }
  }

  @Test
  void aDictionaryGivesWayWhereItDoesNotPay() throws IOException {
    IdEncoding.Encoder encoder = IdEncoding.DICTIONARY.encoder();
    int[] few = new int[10_000];
    int[] distinct = new int[10_000];
    for (int i = 0; i < few.length; i++) {
      few[i] = i % 100;
      distinct[i] = i;
    }
    encode(encoder, distinct);
    assertThat(encoder.encoding()).isEqualTo(Encoding.PLAIN);
    encode(encoder, few);
    assertThat(encoder.encoding()).as("until the row group ends").isEqualTo(Encoding.PLAIN);
    assertThat(encoder.dictionary()).isNull();

    assertThat(encode(encoder, few).size()).isLessThan(few.length);
    assertThat(encoder.encoding()).isEqualTo(Encoding.RLE_DICTIONARY);
    encode(encoder, 1, -1);
    assertThat(encoder.encoding()).as("-1 is no id").isEqualTo(Encoding.PLAIN);
    assertThat(encoder.dictionary().getDictionarySize()).isBetween(100, 101);
    assertThat(encoder.dictionary()).isNull();

    // As many as a dictionary holds, and one more.
    int[] most = new int[1 << 20];
    for (int i = 0; i < most.length; i++) {
      most[i] = i % (1 << 18);
    }
    encode(encoder, most);
    assertThat(encoder.encoding()).isEqualTo(Encoding.RLE_DICTIONARY);
    encode(encoder, 1 << 18);
    assertThat(encoder.encoding()).isEqualTo(Encoding.PLAIN);
    assertThat(encoder.dictionary().getDictionarySize()).isEqualTo(1 << 18);
  }

  @Test
  void levelsAreReadAsTheyWereAdded() throws IOException {
    Random random = random();
    RunLengths runs = new RunLengths();
    for (int round = 0; round < 200; round++) {
      int bits = 1 + random.nextInt(2);
      List<Integer> levels = new ArrayList<>();
      try (RunLengthBitPackingHybridEncoder twin =
          new RunLengthBitPackingHybridEncoder(bits, 64, 1 << 20, HEAP)) {
        for (int run = random.nextInt(2000); run > 0; run--) {
          int level = random.nextInt(1 << bits);
          int times = random.nextInt(random.nextBoolean() ? 3 : 3000);
          runs.add(level, times);
          for (int i = 0; i < times; i++) {
            levels.add(level);
            twin.writeInt(level);
          }
        }
        byte[] ours = runs.bytes().toByteArray();
        int length =
            java.nio.ByteBuffer.wrap(ours).order(java.nio.ByteOrder.LITTLE_ENDIAN).getInt();
        assertThat(length).isEqualTo(ours.length - Integer.BYTES);
        RunLengthBitPackingHybridDecoder found =
            new RunLengthBitPackingHybridDecoder(
                bits, new java.io.ByteArrayInputStream(ours, Integer.BYTES, length));
        RunLengthBitPackingHybridDecoder judge =
            new RunLengthBitPackingHybridDecoder(
                bits, new java.io.ByteArrayInputStream(twin.toBytes().toByteArray()));
        for (int level : levels) {
          assertThat(found.readInt()).isEqualTo(level).isEqualTo(judge.readInt());
        }
      }
      runs.reset();
    }
  }
}
