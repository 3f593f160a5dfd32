package dev.quern.sql;

import org.apache.spark.unsafe.Platform;

/**
 * Positions in a text: from bytes to bytes or to characters (Unicode code points). Cheap in any
 * order that is nearly ascending: it goes on from the position before.
 */
final class Positions {
  private final Object base;
  private final long offset;
  private final boolean inCharacters;
  private int bytes;
  private int characters;

  /**
   * @param base the text's, as of a UTF8String
   * @param inCharacters if so, the text has to be UTF-8
   */
  Positions(Object base, long offset, boolean inCharacters) {
    this.base = base;
    this.offset = offset;
    this.inCharacters = inCharacters;
  }

  /** What is {@code position} in bytes, at the begin of a character or at the end of the text. */
  int of(long position) {
    if (!inCharacters || position == 0) {
      return (int) position;
    }
    while (bytes < position) {
      characters += begins(bytes++);
    }
    while (bytes > position) {
      characters -= begins(--bytes);
    }
    return characters;
  }

  /** 1 if a character begins there, 0 if it goes on. */
  private int begins(int at) {
    return (Platform.getByte(base, offset + at) & 0xC0) == 0x80 ? 0 : 1;
  }
}
