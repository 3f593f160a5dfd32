package dev.quern.job;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.apache.parquet.bytes.BytesInput;

/**
 * Levels of a Parquet page (version 1) as runs: a length in 4 bytes, then each run as the varint of
 * its length times 2, and the level in a byte. Parquet-java's own encoder takes level by level, and
 * is the judge in the tests.
 */
final class RunLengths {
  private static final int LONGEST_RUN = 5 + 1;

  private ByteBuffer bytes = ByteBuffer.allocate(1 << 10).order(ByteOrder.LITTLE_ENDIAN);
  private int level;
  private int length;

  RunLengths() {
    reset();
  }

  /** Forgets all. */
  void reset() {
    bytes.clear().position(Integer.BYTES);
    length = 0;
  }

  /** Adds {@code times} of a level below 256; a run goes on where its level does. */
  void add(int next, int times) {
    if (next == level) {
      length += times;
    } else {
      end();
      level = next;
      length = times;
    }
  }

  private void end() {
    if (length == 0) {
      return;
    }
    if (bytes.remaining() < LONGEST_RUN) {
      bytes =
          ByteBuffer.allocate(bytes.capacity() * 2)
              .order(ByteOrder.LITTLE_ENDIAN)
              .put(bytes.flip());
    }
    putVarint(bytes, length << 1);
    bytes.put((byte) level);
    length = 0;
  }

  /** All that was added; valid until {@link #reset}. */
  BytesInput bytes() {
    end();
    bytes.putInt(0, bytes.position() - Integer.BYTES);
    return BytesInput.from(bytes.array(), 0, bytes.position());
  }

  /** An unsigned number, 7 bits a byte, the lowest ones first. */
  static void putVarint(ByteBuffer out, int value) {
    while ((value & ~0x7f) != 0) {
      out.put((byte) (value & 0x7f | 0x80));
      value >>>= 7;
    }
    out.put((byte) value);
  }
}
