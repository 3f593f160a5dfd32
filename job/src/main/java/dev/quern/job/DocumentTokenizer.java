package dev.quern.job;

import dev.quern.tokenizer.EncodeOptions;
import dev.quern.tokenizer.IdBuffer;
import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.NoSuchElementException;
import org.apache.spark.TaskContext;
import org.apache.spark.sql.catalyst.InternalRow;
import org.apache.spark.sql.catalyst.ProjectingInternalRow;
import org.apache.spark.sql.catalyst.expressions.GenericInternalRow;
import org.apache.spark.sql.catalyst.expressions.JoinedRow;
import org.apache.spark.sql.catalyst.expressions.UnsafeArrayData;
import org.apache.spark.sql.execution.metric.SQLMetric;
import org.apache.spark.sql.types.NumericType;
import org.apache.spark.sql.types.StringType;
import org.apache.spark.sql.types.StructField;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.sql.vectorized.ColumnarBatch;
import org.apache.spark.unsafe.Platform;
import org.apache.spark.unsafe.array.ByteArrayMethods;
import org.apache.spark.unsafe.types.UTF8String;
import scala.collection.AbstractIterator;
import scala.collection.Iterator;
import scala.jdk.javaapi.CollectionConverters;
import scala.runtime.AbstractFunction1;

/**
 * Tokenizes the documents of one partition, in one pass: each becomes a row of ids or a row set
 * aside. As usual in Spark the row returned, ids included, is valid until the next call.
 */
final class DocumentTokenizer extends AbstractIterator<InternalRow> {
  /** An array of ids that outgrows this is given up again once documents are small. */
  private static final int KEPT_BYTES = 4 << 20;

  /** Characters of a kept column in a message. */
  private static final int KEY_LENGTH = 100;

  private static final byte[] NOTHING = new byte[0];

  private final Iterator<InternalRow> documents;

  /** The same, if several can be encoded in a call and most of them will be; else null. */
  private final BatchedDocuments batched;

  private final TokenizeSettings settings;
  private final EncodeOptions options;
  private final NativeTokenizer tokenizer;
  private final Metrics metrics;
  private final TaskCounts counts = TaskCounts.current();

  /** Null if nothing is verified. */
  private final Verifier verifier;

  private final StructType rows;
  private final int[] ordinals;

  private final int text;
  private final int file;
  private final int blockStart;
  private final int row;
  private final int malformed;
  private final boolean located;

  private final GenericInternalRow made;
  private final JoinedRow joined = new JoinedRow();
  private final ProjectingInternalRow result;
  private final UnsafeArrayData ids = new UnsafeArrayData();
  private byte[] idBytes = new byte[1 << 16];

  /** Where in them the ids begin, as an offset for Platform. */
  private long idsAt;

  private InternalRow next;
  private UTF8String lastFile;
  private long lastBlock = -1;
  private long rowInBlock = -1;

  /** The metrics of the operator. */
  record Metrics(
      SQLMetric documents,
      SQLMetric quarantined,
      SQLMetric bytes,
      SQLMetric tokens,
      SQLMetric nativeTime,
      SQLMetric verified,
      SQLMetric verifyTime)
      implements Serializable {}

  /** Makes the iterator where the partition is. */
  static final class OfPartition
      extends AbstractFunction1<Iterator<InternalRow>, Iterator<InternalRow>>
      implements Serializable {
    private static final long serialVersionUID = 1L;
    private final TokenizeSettings settings;
    private final int[] ordinals;
    private final int width;
    private final StructType rows;
    private final Metrics metrics;

    /**
     * @param ordinals where each column of the {@link TokenizeSettings.Layout} stands in the input
     * @param width how many columns the input has
     * @param rows the columns of the result: {@link TokenColumns#rows}
     */
    OfPartition(
        TokenizeSettings settings, int[] ordinals, int width, StructType rows, Metrics metrics) {
      this.settings = settings;
      this.ordinals = ordinals;
      this.width = width;
      this.rows = rows;
      this.metrics = metrics;
    }

    @Override
    public Iterator<InternalRow> apply(Iterator<InternalRow> documents) {
      return new DocumentTokenizer(documents, settings, ordinals, width, rows, metrics);
    }

    /** The same from column batches. */
    Iterator<InternalRow> ofBatches(Iterator<ColumnarBatch> batches) {
      return new DocumentTokenizer(
          new BatchedDocuments(
              batches,
              settings.tokenizer().open(),
              settings.encodeOptions(),
              ordinals[0],
              settings.input().binary(),
              (int) Math.min(BatchedDocuments.LONGEST, settings.maxDocumentBytes())),
          settings,
          ordinals,
          width,
          rows,
          metrics);
    }
  }

  private DocumentTokenizer(
      Iterator<InternalRow> documents,
      TokenizeSettings settings,
      int[] ordinals,
      int width,
      StructType rows,
      Metrics metrics) {
    this.documents = documents;
    this.batched =
        documents instanceof BatchedDocuments several && settings.sample() >= 1 ? several : null;
    this.settings = settings;
    this.options = settings.encodeOptions();
    this.tokenizer = settings.tokenizer().open();
    this.metrics = metrics;
    this.verifier =
        settings.verify() == null ? null : new Verifier(settings.verify(), options, counts);
    this.rows = rows;
    this.ordinals = ordinals;
    TokenizeSettings.Layout input = settings.input();
    this.text = ordinals[0];
    this.file = input.file() < 0 ? -1 : ordinals[input.file()];
    this.blockStart = input.blockStart() < 0 ? -1 : ordinals[input.blockStart()];
    this.row = input.row() < 0 ? -1 : ordinals[input.row()];
    this.malformed = input.malformed() < 0 ? -1 : ordinals[input.malformed()];

    // The result is a view of the input's row and of one with what was made of it.
    this.made = new GenericInternalRow(rows.size() - input.kept());
    List<Object> view = new ArrayList<>();
    for (int i = 0; i < input.kept(); i++) {
      view.add(ordinals[1 + i]);
    }
    for (int i = 0; i < made.numFields(); i++) {
      view.add(width + i);
    }
    this.located = made.numFields() > TokenColumns.OWN.size() + TokenColumns.REFUSAL.size();
    this.result =
        ProjectingInternalRow.apply(rows, CollectionConverters.asScala(view).toIndexedSeq());
  }

  @Override
  public boolean hasNext() {
    try {
      while (next == null && documents.hasNext()) {
        InternalRow candidate = documents.next();
        countRow(candidate);
        if (settings.sample() >= 1 || isSampled(candidate)) {
          next = candidate;
        }
      }
    } catch (OutOfMemoryError e) {
      throw HeapSpace.explain(e, "reading the next documents");
    }
    return next != null;
  }

  @Override
  public InternalRow next() {
    if (!hasNext()) {
      throw new NoSuchElementException("no documents are left");
    }
    InternalRow document = next;
    next = null;
    counts.documents++;
    metrics.documents.add(1);
    try {
      tokenize(document);
    } catch (OutOfMemoryError e) {
      throw HeapSpace.explain(e, "tokenizing " + describe(document));
    }
    result.project(joined.apply(document, made));
    return result;
  }

  private void tokenize(InternalRow document) {
    if (malformed >= 0 && document.getBoolean(malformed)) {
      setAside(
          document, QuarantineReason.MALFORMED_RECORD, null, null, "the record can't be parsed");
      return;
    }
    if (document.isNullAt(text)) {
      setAside(document, QuarantineReason.NULL_TEXT, null, null, null);
      return;
    }
    Object base;
    long offset;
    int length;
    if (settings.input().binary()) {
      byte[] bytes = document.getBinary(text);
      base = bytes;
      offset = Platform.BYTE_ARRAY_OFFSET;
      length = bytes.length;
    } else {
      UTF8String string = document.getUTF8String(text);
      base = string.getBaseObject();
      offset = string.getBaseOffset();
      length = string.numBytes();
    }
    if (length > settings.maxDocumentBytes()) {
      setAside(
          document,
          QuarantineReason.TOO_LARGE,
          null,
          (long) length,
          "over --max-document-bytes " + settings.maxDocumentBytes());
      return;
    }
    boolean verified = verifier != null && verifier.takes(base, offset, length);
    TokenizerException refused = null;
    int count = 0;
    long begun = System.nanoTime();
    try {
      int place = batched == null ? -1 : batched.encode(length);
      IdBuffer buffer = place < 0 ? tokenizer.encode(base, offset, length, options) : null;
      count = place < 0 ? buffer.count() : batched.encoded().count(place);
      int end = settings.endOfText() < 0 ? 0 : 1;
      long size = bytesOf((long) count + end);
      if ((long) count + end > RowFile.LONGEST_ARRAY) {
        setAside(
            document,
            QuarantineReason.TOO_LARGE,
            null,
            (long) length,
            count + " ids, more than a row of a file holds (" + RowFile.LONGEST_ARRAY + ")");
        return;
      }
      if (place < 0 && size > KEPT_BYTES && !verified) {
        // Where they are: the second encoding of one that is verified would overwrite them.
        point(null, buffer.handOver(header((long) count + end), size), count, end, size);
      } else {
        makeRoom(count + end, (int) size);
        if (place < 0) {
          buffer.copyTo(idBytes, idsAt);
        } else {
          batched.encoded().copyTo(place, idBytes, idsAt);
        }
        point(idBytes, Platform.BYTE_ARRAY_OFFSET, count, end, size);
      }
      Arrays.fill(made.values(), null);
      made.update(0, ids);
      made.update(1, count + end);
      counts.bytes += length;
      counts.largestDocument = Math.max(counts.largestDocument, length);
      counts.tokens += count + end;
      metrics.bytes.add(length);
      metrics.tokens.add((long) count + end);
    } catch (TokenizerException refusal) {
      refused = refusal;
      setAside(
          document,
          QuarantineReason.of(refusal),
          refusal.position() < 0 ? null : refusal.position(),
          (long) length,
          refusal.getMessage());
    } finally {
      long nanoseconds = System.nanoTime() - begun;
      counts.tokenizerNanos += nanoseconds;
      metrics.nativeTime.add(nanoseconds);
    }
    if (verified) {
      verify(document, base, offset, length, count, refused);
    }
  }

  /** After the row is made: the second encoding overwrites what the first gave. */
  private void verify(
      InternalRow document,
      Object base,
      long offset,
      int length,
      int count,
      TokenizerException refused) {
    long before = counts.verifyNanos;
    String difference =
        refused != null
            ? verifier.difference(base, offset, length, refused)
            : verifier.difference(base, offset, length, idBytes, idsAt, count);
    metrics.verified.add(1);
    metrics.verifyTime.add(counts.verifyNanos - before);
    if (difference != null) {
      throw verifier.failure(describe(document), length, difference);
    }
  }

  /** Which document it is: by the columns kept, as in the quarantine, else by its place. */
  private String describe(InternalRow document) {
    List<String> keys = new ArrayList<>();
    for (int i = 0; i < settings.input().kept(); i++) {
      StructField field = rows.fields()[i];
      if (!document.isNullAt(ordinals[1 + i])
          && (field.dataType() instanceof NumericType || field.dataType() instanceof StringType)) {
        String value = String.valueOf(document.get(ordinals[1 + i], field.dataType()));
        String line =
            value
                .codePoints()
                .limit(KEY_LENGTH)
                .collect(
                    StringBuilder::new,
                    (text, c) -> text.appendCodePoint(Character.isISOControl(c) ? ' ' : c),
                    StringBuilder::append)
                .toString();
        keys.add(field.name() + " " + line + (line.length() < value.length() ? "..." : ""));
      }
    }
    if (!keys.isEmpty()) {
      return "the document with " + String.join(", ", keys);
    }
    if (file >= 0) {
      Long number = rowInFile(document);
      return (number == null ? "a document" : "the document in row " + number)
          + (row >= 0 ? "" : " of the part from byte " + document.getLong(blockStart))
          + " of "
          + document.getUTF8String(file);
    }
    TaskContext task = TaskContext.get();
    return "document "
        + counts.documents
        + " of partition "
        + (task == null ? 0 : task.partitionId());
  }

  private static long header(long count) {
    return UnsafeArrayData.calculateHeaderPortionInBytes(count);
  }

  private static long bytesOf(long count) {
    return header(count) + ByteArrayMethods.roundNumberOfBytesToNearestWord(count * Integer.BYTES);
  }

  /** Makes {@link #idBytes} as large as an array of ids needs, and {@link #idsAt} theirs. */
  private void makeRoom(int count, int size) {
    boolean outgrown = idBytes.length > KEPT_BYTES && size < idBytes.length / 4;
    if (size > idBytes.length || outgrown) {
      // An outlier's is as large as it must be.
      idBytes = new byte[size > KEPT_BYTES ? size : Math.max(1 << 16, size + size / 2)];
    }
    idsAt = Platform.BYTE_ARRAY_OFFSET + header(count);
  }

  /**
   * Makes ids an UnsafeArrayData: their count and a bit for each null before them, the end of text
   * behind them.
   *
   * @param base with offset, where it begins; the ids are there already
   */
  private void point(Object base, long offset, int count, int end, long size) {
    long header = header((long) count + end);
    Platform.setMemory(base, offset, header, (byte) 0);
    Platform.putLong(base, offset, (long) count + end);
    if (end > 0) {
      Platform.putInt(base, offset + header + (long) count * Integer.BYTES, settings.endOfText());
    }
    ids.pointTo(base, offset, (int) size);
  }

  private void setAside(
      InternalRow document, QuarantineReason reason, Long position, Long bytes, String detail) {
    metrics.quarantined.add(1);
    Object[] values = made.values();
    Arrays.fill(values, null);
    int at = 2;
    if (located) {
      values[at++] = file < 0 ? null : document.getUTF8String(file);
      values[at++] = file < 0 ? null : row >= 0 ? (Long) 0L : (Long) document.getLong(blockStart);
      values[at++] = rowInFile(document);
    }
    values[at++] = UTF8String.fromString(reason.toString());
    values[at++] = position;
    values[at++] = bytes;
    values[at] = detail == null ? null : UTF8String.fromString(detail);
  }

  private Long rowInFile(InternalRow document) {
    if (row >= 0) {
      return document.getLong(row);
    }
    return settings.input().countRows() ? (Long) rowInBlock : null;
  }

  /** Counts rows from the start of the block, where the format does not know a row's number. */
  private void countRow(InternalRow document) {
    if (file < 0 || row >= 0 || !settings.input().countRows()) {
      return;
    }
    UTF8String path = document.getUTF8String(file);
    long block = document.getLong(blockStart);
    if (block != lastBlock || !path.equals(lastFile)) {
      lastFile = path.copy();
      lastBlock = block;
      rowInBlock = -1;
    }
    rowInBlock++;
  }

  /**
   * By a hash of the text, and not by a random number drawn for the row: the choice is the same
   * however the input is split, and a smaller sample is part of a larger one.
   */
  private boolean isSampled(InternalRow document) {
    Object base = NOTHING;
    long offset = Platform.BYTE_ARRAY_OFFSET;
    int length = 0;
    if (!document.isNullAt(text)) {
      if (settings.input().binary()) {
        byte[] bytes = document.getBinary(text);
        base = bytes;
        length = bytes.length;
      } else {
        UTF8String string = document.getUTF8String(text);
        base = string.getBaseObject();
        offset = string.getBaseOffset();
        length = string.numBytes();
      }
    }
    return Verifier.isTaken(base, offset, length, settings.seed(), settings.sample());
  }
}
