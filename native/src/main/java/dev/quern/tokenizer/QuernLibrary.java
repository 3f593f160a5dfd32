package dev.quern.tokenizer;

import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.NativeLibrary;
import dev.quern.tokenizer.LibraryOptions.Allocator;
import dev.quern.tokenizer.TokenizerException.Reason;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.CodeSource;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.locks.LockSupport;

/**
 * The native library: its functions, and how it is loaded. The only class that knows JNA.
 *
 * <p>A JVM loads one build of it, once: the memory of two allocators in one process can't be told
 * apart. Class loaders share it.
 */
public final class QuernLibrary {
  // As in native/rust/ffi/src/lib.rs, same order, same names; its comments are the reference.
  // Everything is a 64-bit integer: addresses, lengths in bytes, counts; < 0 is a status.

  static native long quern_abi_version();

  static native long quern_load(long file, long fileLength, long options, long optionsLength);

  static native long quern_release(long handle);

  static native long quern_describe(long handle, long out, long capacity);

  static native long quern_token_id(long handle, long token, long tokenLength);

  static native long quern_encode(
      long handle, long text, long textLength, long flags, long ids, long capacity);

  static native long quern_encode_packed(long arguments);

  static native long quern_encode_batch(
      long handle,
      long text,
      long textLength,
      long offsets,
      long documents,
      long flags,
      long ids,
      long capacity,
      long idOffsets);

  static native long quern_encode_offsets(
      long handle, long text, long textLength, long flags, long ids, long spans, long capacity);

  static native long quern_count(long handle, long text, long textLength, long flags);

  static native long quern_cut(long handle, long text, long textLength);

  static native long quern_decode(
      long handle, long ids, long count, long flags, long out, long capacity);

  static native long quern_allocator(long out, long capacity);

  static native long quern_allocated_bytes();

  static native long quern_collect();

  static native long quern_loaded();

  static native long quern_last_error(long out, long capacity);

  static native long quern_last_error_position();

  static native long quern_last_error_document();

  static final long ADD_SPECIAL_TOKENS = 1;
  static final long REPLACE_INVALID_UTF8 = 2;
  static final long SKIP_SPECIAL_TOKENS = 4;

  /** The status of a token or id that the vocabulary has not. */
  static final long UNKNOWN_ID = -8;

  private static final long ABI_VERSION = 1;

  /** A JVM's default would be a megabyte; all that runs on it is dlopen. */
  private static final long KEEPER_STACK_BYTES = 256 << 10;

  /** Statuses -1 to -8. */
  private static final List<Reason> REASONS =
      List.of(
          Reason.INVALID_ARGUMENT,
          Reason.INVALID_UTF8,
          Reason.SPECIAL_TOKEN,
          Reason.UNSUPPORTED,
          Reason.CLOSED,
          Reason.INTERNAL,
          Reason.ENCODE,
          Reason.UNKNOWN_ID);

  /** The oldest JNA whose loading this class was tested with. */
  private static final String JNA_MINIMUM = "5.7.0";

  /**
   * Where class loaders of one JVM tell each other what is loaded: options, file, private folder; a
   * line each.
   */
  private static final String LOADED_PROPERTY = "quern.library.loaded";

  /**
   * One lock for all class loaders of the JVM: equal string constants are one object. (The system
   * properties would be one too, but JNA writes to them on the thread that opens the library.)
   */
  private static final String JVM_LOCK = "dev.quern.tokenizer.QuernLibrary: loading";

  /** Opened for good, also when something was wrong with them: see {@link #open}. */
  private static final Map<Path, NativeLibrary> OPENED = new HashMap<>();

  private static volatile String file;

  private QuernLibrary() {}

  /**
   * Loads the library. A second call with equal options does nothing.
   *
   * @throws TokenizerException {@link Reason#LIBRARY} if it can't be loaded, or another build of it
   *     is loaded already
   */
  public static void load(LibraryOptions options) {
    synchronized (JVM_LOCK) {
      String[] loaded = System.getProperty(LOADED_PROPERTY, "").split("\n", 3);
      if (loaded.length == 3 && !loaded[0].equals(options.toString())) {
        throw new TokenizerException(
            Reason.LIBRARY,
            "this process has loaded the native library with ("
                + loaded[0]
                + ") and can't load it again with ("
                + options
                + "): one build a process; start a new one, or make the options equal"
                + " (spark.quern.allocator, spark.quern.library.path,"
                + " spark.quern.library.directory)");
      }
      if (file == null) {
        file = loaded.length == 3 ? share(loaded) : loadFirst(options);
      }
    }
  }

  /** Loads with default options unless any were loaded already. */
  static void ensureLoaded() {
    if (file == null) {
      synchronized (JVM_LOCK) {
        String[] loaded = System.getProperty(LOADED_PROPERTY, "").split("\n", 3);
        if (loaded.length == 3) {
          file = share(loaded);
        } else {
          load(LibraryOptions.DEFAULT);
        }
      }
    }
  }

  /** The file that another class loader of this JVM has loaded: the system maps it once. */
  private static String share(String[] loaded) {
    register(Path.of(loaded[1]), Path.of(loaded[2]));
    return loaded[1];
  }

  private static String loadFirst(LibraryOptions options) {
    Path library = options.library();
    if (library != null && !Files.isRegularFile(library)) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "there is no native library at "
              + library.toAbsolutePath()
              + ": nothing else is tried while spark.quern.library.path is set; correct it or unset"
              + " it");
    }
    LibraryFiles files = LibraryFiles.open(options.directory());
    library = library == null ? files.unpack(options.allocator()) : library;
    library = library.toAbsolutePath();
    register(library, files.folder());
    String allocator = text(QuernLibrary::quern_allocator);
    if (options.allocator() != Allocator.AUTO
        && !allocator.equalsIgnoreCase(options.allocator().name())) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "the native library "
              + library
              + " uses the allocator "
              + allocator
              + ", not "
              + options.allocator().name().toLowerCase(Locale.ROOT)
              + " as asked; give the other build of it, or set spark.quern.allocator to "
              + allocator
              + " or auto");
    }
    System.setProperty(LOADED_PROPERTY, options + "\n" + library + "\n" + files.folder());
    return library.toString();
  }

  private static void register(Path library, Path folder) {
    startJna(folder);
    NativeLibrary opened;
    try {
      opened = open(library);
    } catch (UnsatisfiedLinkError e) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "the system can't load the native library "
              + library
              + " on "
              + LibraryFiles.platform()
              + LibraryFiles.executionHint(library.getParent())
              + ": "
              + e.getMessage(),
          e);
    }
    long version;
    try {
      // Before register, which wants every function to be there.
      version = opened.getFunction("quern_abi_version").invokeLong(new Object[0]);
    } catch (UnsatisfiedLinkError e) {
      throw new TokenizerException(
          Reason.LIBRARY,
          library
              + " is a library, but not Quern's: it has no quern_abi_version; correct"
              + " spark.quern.library.path or unset it",
          e);
    }
    if (version != ABI_VERSION) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "the native library "
              + library
              + " has ABI version "
              + version
              + ", this jar needs "
              + ABI_VERSION
              + ": take library and jar of the same Quern version, or unset"
              + " spark.quern.library.path to use the packed one");
    }
    try {
      Native.register(QuernLibrary.class, opened);
    } catch (UnsatisfiedLinkError e) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "the native library "
              + library
              + " lacks a function that this jar needs ("
              + e.getMessage()
              + "): take library and jar of the same Quern version, or unset"
              + " spark.quern.library.path to use the packed one",
          e);
    }
  }

  /**
   * Opens the library on a thread that never ends. mimalloc takes the thread that opens it for the
   * main thread of the process, whose heap goes when it ends; a later thread can be given the same
   * thread pointer and with it that dead heap, and its first allocation ends the process. So a task
   * thread that loads the library and then idles out would take its executor along. A library that
   * turned out to be a wrong one stays open, with its thread, for the next attempt: what else it
   * runs on that thread can't be known.
   */
  private static NativeLibrary open(Path library) {
    NativeLibrary known = OPENED.get(library);
    if (known != null) {
      return known;
    }
    CompletableFuture<NativeLibrary> opened = new CompletableFuture<>();
    Thread keeper =
        new Thread(
            null,
            () -> {
              try {
                // The default would be RTLD_GLOBAL, which offers our symbols to later libraries.
                opened.complete(
                    NativeLibrary.getInstance(
                        library.toString(), Map.of(Library.OPTION_OPEN_FLAGS, openFlags())));
              } catch (Throwable e) {
                opened.completeExceptionally(e);
                return;
              }
              while (true) {
                LockSupport.park();
                Thread.interrupted(); // or park would return at once from now on
              }
            },
            "quern-library",
            KEEPER_STACK_BYTES);
    keeper.setDaemon(true);
    keeper.setContextClassLoader(null); // it outlives the application that loaded the library
    keeper.start();
    try {
      OPENED.put(library, opened.join());
      return OPENED.get(library);
    } catch (CompletionException e) {
      if (e.getCause() instanceof UnsatisfiedLinkError unsatisfied) {
        throw unsatisfied;
      }
      throw e;
    }
  }

  /** The system's dlopen flags for "resolve now, keep the symbols private". */
  private static int openFlags() {
    if (LibraryFiles.platform().startsWith("windows")) {
      return -1; // JNA's own choice: there is no global namespace
    }
    boolean mac = LibraryFiles.platform().startsWith("macos");
    return 2 | (mac ? 4 : 0); // RTLD_NOW, RTLD_LOCAL
  }

  /**
   * Initialises JNA with its own library in our folder: in a folder without execution the first use
   * of JNA would fail, for the whole class loader and for good.
   */
  private static void startJna(Path folder) {
    checkJna();
    String temporary = System.getProperty("jna.tmpdir");
    String noSystem = System.getProperty("jna.nosys");
    try {
      if (temporary == null) {
        System.setProperty("jna.tmpdir", folder.toString());
      }
      if (noSystem == null) {
        // A jnidispatch installed in the system may be of another version, which JNA refuses.
        System.setProperty("jna.nosys", "true");
      }
      Class.forName(Native.class.getName(), true, Native.class.getClassLoader());
    } catch (ClassNotFoundException | LinkageError e) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "JNA ("
              + origin()
              + ") can't load its own library in "
              + System.getProperty("jna.tmpdir")
              + LibraryFiles.executionHint(folder)
              + "; jna.boot.library.path, jna.nounpack and jna.noclasspath change where it looks: "
              + e.getMessage(),
          e);
    } finally {
      // Others who use JNA in this process keep their own settings.
      restore("jna.tmpdir", temporary);
      restore("jna.nosys", noSystem);
    }
  }

  private static void restore(String property, String value) {
    if (value == null) {
      System.clearProperty(property);
    }
  }

  /** A cluster may have an older JNA on its own class path, found before ours. */
  private static void checkJna() {
    String version;
    try {
      // By reflection: the compiler would copy the constant of the JNA we build with.
      Field field =
          Class.forName("com.sun.jna.Version", false, Native.class.getClassLoader())
              .getDeclaredField("VERSION");
      field.setAccessible(true);
      version = (String) field.get(null);
    } catch (ReflectiveOperationException | LinkageError e) {
      version = "older than 4";
    }
    if (olderThan(version, JNA_MINIMUM)) {
      throw new TokenizerException(
          Reason.LIBRARY,
          "the JNA found first on the class path is "
              + version
              + " ("
              + origin()
              + "), Quern needs "
              + JNA_MINIMUM
              + " or newer: remove that jar, or let Quern's come first"
              + " (spark.driver.userClassPathFirst, spark.executor.userClassPathFirst)");
    }
  }

  static boolean olderThan(String version, String minimum) {
    String[] parts = version.split("[^0-9]+");
    String[] least = minimum.split("\\.");
    for (int i = 0; i < least.length; i++) {
      int have = i < parts.length && !parts[i].isEmpty() ? Integer.parseInt(parts[i]) : 0;
      int need = Integer.parseInt(least[i]);
      if (have != need) {
        return have < need;
      }
    }
    return false;
  }

  private static String origin() {
    CodeSource source = Native.class.getProtectionDomain().getCodeSource();
    return source == null ? "origin unknown" : source.getLocation().toString();
  }

  /** Whether the library is loaded, by this class loader. */
  public static boolean isLoaded() {
    return file != null;
  }

  /** The file that was loaded. */
  public static String file() {
    checkLoaded();
    return file;
  }

  /** "mimalloc" or "system": who manages a block that the engine has just allocated. */
  public static String allocator() {
    checkLoaded();
    return text(QuernLibrary::quern_allocator);
  }

  /** Bytes that the native allocator holds; 0 before the library is loaded. */
  public static long allocatedBytes() {
    return file == null ? 0 : quern_allocated_bytes();
  }

  /** Gives free native memory back to the system; does nothing before the library is loaded. */
  public static void collect() {
    if (file != null) {
      quern_collect();
    }
  }

  /** How many tokenizers this process has loaded so far; those shared count once. */
  public static long tokenizersLoaded() {
    return file == null ? 0 : quern_loaded();
  }

  private static void checkLoaded() {
    if (file == null) {
      throw new TokenizerException(
          Reason.LIBRARY, "the native library is not loaded yet: call QuernLibrary.load first");
    }
  }

  /** The exception for a status, with this thread's last error. */
  static TokenizerException failure(long status) {
    int index = (int) (-1 - status);
    Reason reason = index >= 0 && index < REASONS.size() ? REASONS.get(index) : Reason.INTERNAL;
    return new TokenizerException(
        reason,
        text(QuernLibrary::quern_last_error),
        quern_last_error_position(),
        (int) quern_last_error_document(),
        null);
  }

  private interface TextCall {
    long write(long out, long capacity);
  }

  private static String text(TextCall call) {
    OffHeap.Block block = new OffHeap.Block();
    try {
      long needed = 1024;
      while (true) {
        long out = block.reserve(needed);
        needed = call.write(out, block.capacity());
        if (needed <= block.capacity()) {
          byte[] utf8 = new byte[(int) Math.max(0, needed)];
          OffHeap.copy(null, out, utf8, OffHeap.BYTE_ARRAY, utf8.length);
          return new String(utf8, StandardCharsets.UTF_8);
        }
      }
    } finally {
      block.release();
    }
  }
}
