package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerException;
import dev.quern.tokenizer.TokenizerSpec;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.apache.spark.sql.execution.vectorized.OnHeapColumnVector;
import org.apache.spark.sql.execution.vectorized.WritableColumnVector;
import org.apache.spark.sql.types.DataType;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.unsafe.Platform;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import scala.jdk.javaapi.CollectionConverters;

/** The ids of documents encoded several in a call, against each one's alone. */
class BatchedDocumentsTest {
  private static final byte[] LETTER = {'y'};

  private static Random random() {
    long seed = Long.getLong("quern.test.seed", System.nanoTime());
    System.out.println("BatchedDocumentsTest: -Dquern.test.seed=" + seed);
    return new Random(seed);
  }

  /** Null, empty, short and as long as a call takes or longer; some are not UTF-8. */
  private static byte[] document(Random random, boolean wrong) {
    int length =
        switch (random.nextInt(20)) {
          case 0 -> -1;
          case 1 -> 0;
          case 2 -> BatchedDocuments.LONGEST - 3 + random.nextInt(6);
          case 3 -> random.nextInt(2 * BatchedDocuments.LONGEST);
          default -> random.nextInt(4000);
        };
    if (length < 0) {
      return null;
    }
    StringBuilder text = new StringBuilder();
    while (text.length() < length) {
      text.append(random.nextInt(10) == 0 ? "é" : random.nextInt(8) == 0 ? " 漢字" : " word");
      text.append((char) ('a' + random.nextInt(26)));
    }
    byte[] bytes = text.toString().getBytes(StandardCharsets.UTF_8);
    while (length < bytes.length && (bytes[length] & 0xc0) == 0x80) {
      length--; // not within a character
    }
    bytes = Arrays.copyOf(bytes, length);
    if (wrong && length > 0) {
      bytes[random.nextInt(length)] = (byte) 0xff;
    }
    return bytes;
  }

  private static ColumnarBatch columnBatch(DataType type, List<byte[]> documents) {
    WritableColumnVector column = new OnHeapColumnVector(documents.size(), type);
    for (int i = 0; i < documents.size(); i++) {
      if (documents.get(i) == null) {
        column.putNull(i);
      } else {
        column.putByteArray(i, documents.get(i));
      }
    }
    return new ColumnarBatch(
        new ColumnVector[] {new OnHeapColumnVector(0, DataTypes.LongType), column},
        documents.size());
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void eachDocumentHasItsOwnIds(boolean binary) {
    Random random = random();
    List<byte[]> all = new ArrayList<>();
    List<ColumnarBatch> batches = new ArrayList<>();
    for (int rows : new int[] {1, 0, 700, 3000, 40}) {
      // Mistakes in a part of them only: elsewhere no call is done again.
      boolean wrong = rows == 700;
      List<byte[]> documents = new ArrayList<>();
      for (int i = 0; i < rows; i++) {
        // Thousands of nearly nothing fill a call before its text does.
        documents.add(
            rows == 3000 && i < 2500 ? LETTER : document(random, wrong && random.nextInt(60) == 0));
      }
      if (wrong) {
        documents.set(random.nextInt(rows), new byte[] {'n', (byte) 0xff});
      }
      all.addAll(documents);
      batches.add(columnBatch(binary ? DataTypes.BinaryType : DataTypes.StringType, documents));
    }
    try (NativeTokenizer tokenizer = NativeTokenizer.load(TokenizerSpec.builtIn("cl100k_base"))) {
      EncodeOptions options = EncodeOptions.DEFAULT;
      BatchedDocuments rows =
          new BatchedDocuments(
              CollectionConverters.asScala(batches.iterator()),
              tokenizer,
              options,
              1,
              binary,
              BatchedDocuments.LONGEST);
      int together = 0;
      int refused = 0;
      for (byte[] document : all) {
        assertThat(rows.hasNext()).isTrue();
        assertThat(rows.next().isNullAt(1)).isEqualTo(document == null);
        // Not every row's ids are asked for.
        if (document == null || random.nextInt(10) == 0) {
          continue;
        }
        int place = rows.encode(document.length);
        if (document.length > BatchedDocuments.LONGEST) {
          assertThat(place).isNegative();
        }
        try {
          int[] ids =
              tokenizer
                  .encode(document, Platform.BYTE_ARRAY_OFFSET, document.length, options)
                  .toArray();
          if (place >= 0) {
            together += document == LETTER ? 0 : 1;
            assertThat(rows.encoded().ids(place)).isEqualTo(ids);
          }
        } catch (TokenizerException e) {
          refused++;
          assertThat(place).isNegative();
        }
      }
      assertThat(rows.hasNext()).isFalse();
      // Of the last 540 documents, at least: a mistake takes those beside it along.
      assertThat(together).isGreaterThan(300);
      assertThat(refused).isPositive();
    }
  }
}
