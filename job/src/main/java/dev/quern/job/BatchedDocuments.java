package dev.quern.job;

import dev.quern.tokenizer.DocumentBatch;
import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerException;
import java.util.Arrays;
import java.util.Collections;
import java.util.NoSuchElementException;
import org.apache.spark.TaskContext;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.vectorized.ColumnVector;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.unsafe.types.UTF8String;
import org.apache.spark.util.TaskCompletionListener;
import scala.collection.AbstractIterator;
import scala.collection.Iterator;

/**
 * The rows of column batches one by one, whose documents are encoded several in a call: when the
 * ids of one are asked for, it and those behind it in the column batch. The engine is faster with
 * many pre-tokens at once than a document of a few kilobytes has.
 */
final class BatchedDocuments extends AbstractIterator<InternalRow> {
  /** Text encoded in a call: it and its ids stay in the processor's cache. */
  static final int BYTES = 256 << 10;

  /** A longer document is as fast alone: a size for {@code longest}. */
  static final int LONGEST = BYTES / 4;

  private static final int DOCUMENTS = 1024;

  private final Iterator<ColumnarBatch> batches;
  private final NativeTokenizer tokenizer;
  private final EncodeOptions options;
  private final int text;
  private final boolean binary;
  private final int longest;

  private java.util.Iterator<InternalRow> rows = Collections.emptyIterator();

  /** The documents of the column batch that {@link #rows} come from. */
  private ColumnVector texts;

  private int numRows;

  /** Of the row that was returned last, in its column batch. */
  private int row;

  private final DocumentBatch encoded = new DocumentBatch(BYTES, DOCUMENTS);

  /** The rows that were looked at for {@link #encoded}: from the first, to before the end. */
  private int first;

  private int end;

  /** The index in {@link #encoded} of each of these rows; -1 if it is not there. */
  private final int[] documents = new int[DOCUMENTS];

  /**
   * @param text where the documents stand in the column batches
   * @param binary whether they are BINARY, not STRING
   * @param longest of the documents that are encoded with others, in bytes
   */
  BatchedDocuments(
      Iterator<ColumnarBatch> batches,
      NativeTokenizer tokenizer,
      EncodeOptions options,
      int text,
      boolean binary,
      int longest) {
    this.batches = batches;
    this.tokenizer = tokenizer;
    this.options = options;
    this.text = text;
    this.binary = binary;
    this.longest = longest;
    TaskContext task = TaskContext.get();
    if (task != null) {
      task.addTaskCompletionListener((TaskCompletionListener) ended -> encoded.close());
    }
  }

  @Override
  public boolean hasNext() {
    while (!rows.hasNext() && batches.hasNext()) {
      ColumnarBatch batch = batches.next();
      rows = batch.rowIterator();
      texts = batch.column(text);
      numRows = batch.numRows();
      row = -1;
      end = 0;
    }
    return rows.hasNext();
  }

  @Override
  public InternalRow next() {
    if (!hasNext()) {
      throw new NoSuchElementException("no rows are left");
    }
    row++;
    return rows.next();
  }

  /**
   * Encodes the document of the row returned last, if it has not been yet.
   *
   * @param length of the document, in bytes
   * @return its index in {@link #encoded}; -1 if it has to be encoded alone: it is long, or it or
   *     one of those beside it can't be encoded
   */
  int encode(int length) {
    if (length > longest) {
      return -1;
    }
    if (row >= end) {
      encodeFrom(row);
    }
    return documents[row - first];
  }

  DocumentBatch encoded() {
    return encoded;
  }

  private void encodeFrom(int begin) {
    first = begin;
    end = begin;
    encoded.clear();
    for (; end < numRows && end - first < DOCUMENTS; end++) {
      int document = -1;
      if (!texts.isNullAt(end)) {
        UTF8String string =
            binary ? UTF8String.fromBytes(texts.getBinary(end)) : texts.getUTF8String(end);
        if (string.numBytes() <= longest) {
          document = encoded.documents();
          if (!encoded.add(string.getBaseObject(), string.getBaseOffset(), string.numBytes())) {
            break; // it is the next call's first
          }
        }
      }
      documents[end - first] = document;
    }
    try {
      tokenizer.encode(encoded, options);
    } catch (TokenizerException refusal) {
      QuarantineReason.of(refusal); // throws what is no document's fault
      // Alone, each of them gets its own ids or its own refusal.
      Arrays.fill(documents, 0, end - first, -1);
    }
  }
}
