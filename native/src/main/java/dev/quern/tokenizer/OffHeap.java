package dev.quern.tokenizer;

import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;
import java.lang.reflect.Field;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Memory outside the Java heap, and copies to and from it. Objects are addressed as in Spark's
 * UTF8String: a base object and an offset in it, or a null base and an absolute address.
 *
 * <p>sun.misc.Unsafe is what Spark addresses its strings with; there is no supported twin in Java
 * 17. It is called through constant method handles, which the JIT compiles to the same
 * instructions: javac has no way to accept the class itself without warnings.
 */
final class OffHeap {
  private static final Object UNSAFE = unsafe();
  private static final MethodHandle ALLOCATE = handle("allocateMemory", long.class, long.class);
  private static final MethodHandle FREE = handle("freeMemory", void.class, long.class);
  private static final MethodHandle GET_INT = handle("getInt", int.class, long.class);
  private static final MethodHandle GET_LONG = handle("getLong", long.class, long.class);
  private static final MethodHandle PUT_LONG =
      handle("putLong", void.class, long.class, long.class);
  private static final MethodHandle COPY =
      handle(
          "copyMemory", void.class, Object.class, long.class, Object.class, long.class, long.class);

  private static final AtomicLong RESERVED = new AtomicLong();

  static final long BYTE_ARRAY = arrayBase(byte[].class);
  static final long INT_ARRAY = arrayBase(int[].class);

  private OffHeap() {}

  private static Object unsafe() {
    try {
      Field field = Class.forName("sun.misc.Unsafe").getDeclaredField("theUnsafe");
      field.setAccessible(true);
      return field.get(null);
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private static MethodHandle handle(String name, Class<?> result, Class<?>... parameters) {
    try {
      return MethodHandles.lookup().bind(UNSAFE, name, MethodType.methodType(result, parameters));
    } catch (ReflectiveOperationException e) {
      throw new ExceptionInInitializerError(e);
    }
  }

  private static long arrayBase(Class<?> array) {
    try {
      return (int)
          UNSAFE.getClass().getMethod("arrayBaseOffset", Class.class).invoke(UNSAFE, array);
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
      long address = (long) ALLOCATE.invokeExact(bytes);
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
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  static void free(long address, long bytes) {
    try {
      FREE.invokeExact(address);
    } catch (Throwable e) {
      throw unexpected(e);
    }
    RESERVED.addAndGet(-bytes);
  }

  static void copy(Object from, long fromOffset, Object to, long toOffset, long bytes) {
    try {
      COPY.invokeExact(from, fromOffset, to, toOffset, bytes);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  static int intAt(long address) {
    try {
      return (int) GET_INT.invokeExact(address);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  static long longAt(long address) {
    try {
      return (long) GET_LONG.invokeExact(address);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  static void putLong(long address, long value) {
    try {
      PUT_LONG.invokeExact(address, value);
    } catch (Throwable e) {
      throw unexpected(e);
    }
  }

  /** Unsafe's methods declare no checked exception. */
  private static RuntimeException unexpected(Throwable e) {
    if (e instanceof Error error) {
      throw error;
    }
    return (RuntimeException) e;
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

    /** Makes room for that many bytes behind what is there, which stays. */
    void grow(long bytes) {
      if (bytes > capacity) {
        long size = (bytes + 4095) & -4096;
        long moved = allocate(size);
        copy(null, address, null, moved, capacity);
        release();
        address = moved;
        capacity = size;
      }
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
