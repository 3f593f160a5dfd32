package dev.quern.tokenizer;

import java.lang.reflect.Field;
import java.util.concurrent.atomic.AtomicLong;
import sun.misc.Unsafe;

/**
 * Memory outside the Java heap, and copies to and from it. Objects are addressed as in Spark's
 * UTF8String: a base object and an offset in it, or a null base and an absolute address.
 */
@SuppressWarnings("sunapi") // Spark's strings are addressed this way; there is no supported twin
final class OffHeap {
  private static final Unsafe UNSAFE = unsafe();
  private static final AtomicLong RESERVED = new AtomicLong();

  static final long BYTE_ARRAY = Unsafe.ARRAY_BYTE_BASE_OFFSET;
  static final long INT_ARRAY = Unsafe.ARRAY_INT_BASE_OFFSET;
  static final long LONG_ARRAY = Unsafe.ARRAY_LONG_BASE_OFFSET;

  private OffHeap() {}

  private static Unsafe unsafe() {
    try {
      Field field = Unsafe.class.getDeclaredField("theUnsafe");
      field.setAccessible(true);
      return (Unsafe) field.get(null);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  /** Bytes reserved now, by all threads. Pages never written to are not resident. */
  static long reserved() {
    return RESERVED.get();
  }

  static long allocate(long bytes) {
    try {
      long address = UNSAFE.allocateMemory(bytes);
      RESERVED.addAndGet(bytes);
      return address;
    } catch (OutOfMemoryError e) {
      // Not the Java heap: Spark would end the executor for an OutOfMemoryError.
      throw new TokenizerException(
          TokenizerException.Reason.INTERNAL,
          "the system gives no "
              + bytes
              + " bytes of native memory for one document; allow the process more memory outside"
              + " the Java heap (spark.executor.memoryOverhead) or split the document",
          e);
    }
  }

  static void free(long address, long bytes) {
    UNSAFE.freeMemory(address);
    RESERVED.addAndGet(-bytes);
  }

  static void copy(Object from, long fromOffset, Object to, long toOffset, long bytes) {
    UNSAFE.copyMemory(from, fromOffset, to, toOffset, bytes);
  }

  static int intAt(long address) {
    return UNSAFE.getInt(address);
  }

  static long longAt(long address) {
    return UNSAFE.getLong(address);
  }

  static void putLong(long address, long value) {
    UNSAFE.putLong(address, value);
  }

  static void putByte(long address, byte value) {
    UNSAFE.putByte(address, value);
  }

  /**
   * One growing and shrinking piece of memory, for one thread. What was in it is lost whenever
   * {@link #reserve} moves it.
   */
  static final class Block {
    /** Above this a block is an outlier's, and is given back. */
    static final long KEPT_BYTES = 4L << 20;

    private long address;
    private long capacity;

    long address() {
      return address;
    }

    /** Size in bytes. */
    long capacity() {
      return capacity;
    }

    /**
     * Makes room for that many bytes. Small blocks double, so that a thread settles after a few
     * documents; large ones are as large as needed, and shrink once a quarter would do.
     */
    long reserve(long bytes) {
      if (bytes > capacity || (capacity > KEPT_BYTES && bytes < capacity / 4)) {
        release();
        long size = Math.max(bytes, Math.min(KEPT_BYTES, Long.highestOneBit(bytes) << 1));
        size = Math.max(4096, (size + 4095) & -4096);
        address = allocate(size);
        capacity = size;
      }
      return address;
    }

    void releaseIfLarge() {
      if (capacity > KEPT_BYTES) {
        release();
      }
    }

    void release() {
      if (address != 0) {
        long gone = address;
        long size = capacity;
        address = 0;
        capacity = 0;
        free(gone, size);
      }
    }
  }
}
