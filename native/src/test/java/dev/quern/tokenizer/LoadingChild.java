package dev.quern.tokenizer;

import dev.quern.tokenizer.LibraryOptions.Allocator;
import java.io.IOException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * A JVM of its own for {@link LibraryLoadingTest}: a process loads one library. Prints what it saw
 * as lines of {@code name=value}.
 *
 * <p>Arguments: allocator, directory, library ("-" for none), and what to do then: nothing, wait
 * (until its input ends), again (load with other options), loaders (load in a second class loader),
 * threads (load on a thread that ends, then use it from others), retry (load it several times,
 * which must fail each time, then the packed one).
 */
final class LoadingChild {
  private LoadingChild() {}

  public static void main(String[] arguments) throws Exception {
    if (arguments.length > 3 && arguments[3].equals("threads")) {
      onThreadsThatEnd(
          new LibraryOptions(Allocator.valueOf(arguments[0]), null, path(arguments[1])));
      return;
    }
    if (arguments.length > 3 && arguments[3].equals("retry")) {
      retry(
          new LibraryOptions(
              Allocator.valueOf(arguments[0]), path(arguments[2]), path(arguments[1])));
      return;
    }
    try {
      QuernLibrary.load(
          new LibraryOptions(
              Allocator.valueOf(arguments[0]), path(arguments[2]), path(arguments[1])));
      report();
      switch (arguments.length > 3 ? arguments[3] : "") {
        case "wait" -> {
          System.out.println("waiting=true");
          System.in.read();
        }
        case "again" -> QuernLibrary.load(new LibraryOptions(Allocator.SYSTEM, null, null));
        case "loaders" -> inOtherClassLoader();
        default -> {}
      }
    } catch (TokenizerException e) {
      System.out.println("reason=" + e.reason());
      System.out.println("message=" + e.getMessage().replace('\n', ' '));
    }
  }

  /**
   * As the task threads of an executor: each ends before the next starts, the loading one first.
   */
  private static void onThreadsThatEnd(LibraryOptions options) throws InterruptedException {
    run(() -> QuernLibrary.load(options));
    for (int thread = 0; thread < 20; thread++) {
      run(
          () -> {
            try (NativeTokenizer tokenizer = Goldens.load("wordlevel")) {
              tokenizer.encode("hello world");
            }
          });
    }
    System.out.println("ended=true");
  }

  private static void retry(LibraryOptions wrong) throws IOException {
    for (int attempt = 0; attempt < 5; attempt++) {
      try {
        QuernLibrary.load(wrong);
        throw new AssertionError("it must fail");
      } catch (TokenizerException e) {
        System.out.println("failed=" + e.reason());
      }
    }
    long keepers =
        Thread.getAllStackTraces().keySet().stream()
            .filter(thread -> thread.getName().equals("quern-library"))
            .count();
    System.out.println("keepers=" + keepers);
    QuernLibrary.load(new LibraryOptions(Allocator.AUTO, null, wrong.directory()));
    Path folder = Path.of(QuernLibrary.file()).getParent();
    try (Stream<Path> files = Files.list(folder.getParent())) {
      System.out.println("files=" + files.count());
    }
    report();
  }

  private static void run(Runnable work) throws InterruptedException {
    Thread thread = new Thread(work);
    thread.start();
    thread.join();
    Thread.sleep(20); // so that the system has the thread's memory back, for the next one
  }

  private static Path path(String argument) {
    return argument.equals("-") ? null : Path.of(argument);
  }

  private static void report() throws IOException {
    System.out.println("file=" + QuernLibrary.file());
    System.out.println("allocator=" + QuernLibrary.allocator());
    try (NativeTokenizer tokenizer = Goldens.load("wordlevel")) {
      System.out.println("ids=" + tokenizer.encode("hello world").length);
      System.out.println("bytes=" + (QuernLibrary.allocatedBytes() > 0));
      QuernLibrary.collect();
    }
    Path maps = Path.of("/proc/self/maps");
    if (Files.exists(maps)) {
      try (Stream<String> lines = Files.lines(maps)) {
        lines
            .filter(line -> line.matches(".*/(libjnidispatch|jna[0-9]+)[^/]*"))
            .map(line -> line.substring(line.indexOf('/')))
            .distinct()
            .forEach(file -> System.out.println("jna=" + file));
      }
    }
    System.out.println("tmpdir=" + System.getProperty("jna.tmpdir"));
  }

  /** As Spark's isolated sessions do; its tokenizer is the one loaded here. */
  private static void inOtherClassLoader() throws Exception {
    NativeTokenizer mine = Goldens.load("unigram");
    long before = QuernLibrary.tokenizersLoaded();
    List<URL> classPath = new ArrayList<>();
    for (String entry : System.getProperty("java.class.path").split(java.io.File.pathSeparator)) {
      classPath.add(Path.of(entry).toUri().toURL());
    }
    ClassLoader platform = ClassLoader.getPlatformClassLoader();
    try (URLClassLoader other = new URLClassLoader(classPath.toArray(URL[]::new), platform)) {
      Class<?> library = other.loadClass(QuernLibrary.class.getName());
      if (library == QuernLibrary.class) {
        throw new AssertionError("the second class loader has classes of its own");
      }
      Class<?> goldens = other.loadClass(Goldens.class.getName());
      java.lang.reflect.Method load = goldens.getDeclaredMethod("load", String.class);
      load.setAccessible(true);
      load.invoke(null, "unigram");
      System.out.println("otherFile=" + library.getMethod("file").invoke(null));
    }
    System.out.println("loadedMore=" + (QuernLibrary.tokenizersLoaded() - before));
    mine.close();
  }
}
