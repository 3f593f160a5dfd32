package dev.quern.sql;

import dev.quern.tokenizer.NativeTokenizer;
import dev.quern.tokenizer.TokenizerException;
import dev.quern.tokenizer.TokenizerException.Reason;
import dev.quern.tokenizer.TokenizerSpec;
import dev.quern.tokenizer.TokenizerSpec.Engine;
import java.io.File;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.lang.ref.WeakReference;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Supplier;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.apache.spark.SparkFiles;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.classic.SparkSession;
import scala.reflect.ClassTag$;

/**
 * From a tokenizer's name to its bytes, on the driver: who may load which file, how it is read,
 * what kind it is, and one broadcast for each content.
 */
final class TokenizerResolver {
  private TokenizerResolver() {}

  /**
   * The largest known tokenizer.json has 35 MiB; a path to something else must not fill the heap.
   */
  private static final long LARGEST_FILE = 256L << 20;

  /**
   * A file system may tell times in whole seconds: of a file that is younger than this when it is
   * read, a later change might leave time and length as they were. It is read again each time.
   */
  private static final long SETTLED_MILLISECONDS = 3_000;

  private static final Pattern TIKTOKEN_LINE = Pattern.compile("[A-Za-z0-9+/]+={0,2} \\d+");

  /**
   * What has been resolved for one SparkContext. Analysis resolves the same call again and again
   * (each step of a DataFrame program), which must neither read the file nor broadcast it anew.
   */
  private static final class Resolved {
    final WeakReference<SparkContext> context;
    final Map<Source, TokenizerReference> references;
    final Map<TokenizerReference, TokenizerReference> byContent;

    Resolved(SparkContext context) {
      this.context = new WeakReference<>(context);
      // A call whose tokenizer a column names resolves all the names; they have to fit in, twice.
      int capacity = 16 + 2 * names(context.getConf()).size();
      this.references = TokenizerReference.leastRecentlyUsed(() -> capacity);
      this.byContent = TokenizerReference.leastRecentlyUsed(() -> capacity);
    }
  }

  /** What decides a tokenizer's content; for a file, as far as its status tells. */
  private record Source(String name, Fingerprint file, FunctionOptions options) {}

  private record Fingerprint(Path path, long length, long modificationTime) {}

  private static Resolved resolved;

  static TokenizerReference resolve(
      SparkSession session, String name, FunctionOptions options, boolean trusted) {
    SparkContext context = session.sparkContext();
    // A session could point a file system elsewhere; the one who started the application may.
    Configuration hadoop =
        trusted ? session.sessionState().newHadoopConf() : context.hadoopConfiguration();
    Optional<Path> file = locate(context.getConf(), hadoop, name, trusted);
    if (file.isEmpty()) {
      Source source = new Source(name, null, options.ofTokenizer());
      return known(context, source)
          .orElseGet(
              () -> remember(context, source, broadcast(context, name, builtIn(name, options))));
    }
    try {
      FileSystem fileSystem = file.get().getFileSystem(hadoop);
      Path path = fileSystem.makeQualified(file.get());
      long now = System.currentTimeMillis();
      FileStatus status = fileSystem.getFileStatus(path);
      Fingerprint fingerprint =
          new Fingerprint(path, status.getLen(), status.getModificationTime());
      Source source = new Source(name, fingerprint, options.ofTokenizer());
      Optional<TokenizerReference> known = known(context, source);
      if (known.isPresent()) {
        return known.get();
      }
      TokenizerSpec spec = spec(name, read(name, fileSystem, path, status), options);
      TokenizerReference reference = broadcast(context, name, spec);
      boolean settled =
          status.getModificationTime() > 0
              && status.getModificationTime() < now - SETTLED_MILLISECONDS;
      return settled ? remember(context, source, reference) : reference;
    } catch (FileNotFoundException e) {
      throw failure(name, "there is no file " + file.get(), e);
    } catch (IOException | IllegalArgumentException e) {
      throw failure(name, file.get() + " can't be read: " + e.getMessage(), e);
    }
  }

  /**
   * What a column may name: the built-in tokenizers and those that the application has named. One
   * that can't be loaded fails the rows that name it, not the query.
   */
  static Map<String, TokenizerCallByName.Named> resolveAll(
      SparkSession session, FunctionOptions options) {
    Map<String, TokenizerCallByName.Named> all = new TreeMap<>();
    for (String name : names(session.sparkContext().getConf())) {
      TokenizerCallByName.Named named;
      try {
        named = new TokenizerCallByName.Named(resolve(session, name, options, false), null);
      } catch (TokenizerException e) {
        named = new TokenizerCallByName.Named(null, e.getMessage());
      }
      all.put(name, named);
    }
    return all;
  }

  // ---- Names -----------------------------------------------------------------------------------

  private static List<String> names(SparkConf conf) {
    return Stream.concat(
            TokenizerSpec.builtInNames().stream(),
            QuernConf.mappedTokenizers(conf).keySet().stream())
        .toList();
  }

  /**
   * The file that a name means; empty for a built-in one.
   *
   * @param conf the application's: a session's values decide nothing here
   * @throws TokenizerException if nothing has that name, or SQL may not load it
   */
  static Optional<Path> locate(SparkConf conf, Configuration hadoop, String name, boolean trusted) {
    String mapped = QuernConf.mappedTokenizers(conf).get(name);
    if (TokenizerSpec.builtInNames().contains(name)) {
      if (mapped != null) {
        throw failure(
            name,
            QuernConf.tokenizerKey(name)
                + " gives a file the name of a built-in tokenizer; choose another name",
            null);
      }
      return Optional.empty();
    }
    if (mapped != null) {
      Optional<Path> shipped = shipped(conf, mapped);
      return shipped.isPresent() ? shipped : Optional.of(path(name, mapped));
    }
    Optional<Path> shipped = shipped(conf, name);
    if (shipped.isPresent()) {
      return shipped;
    }
    if (!name.matches("(?s).*[/:].*|(?i).*\\.(json|tiktoken|model)")) {
      throw unknown(conf, name);
    }
    Path path = path(name, name);
    boolean defaultOfApplication = name.equals(conf.get(QuernConf.TOKENIZER.key(), null));
    // What has been checked is what will be opened.
    Optional<Path> file =
        trusted || defaultOfApplication ? Optional.of(path) : allowed(path, conf, hadoop);
    if (file.isEmpty()) {
      List<String> allowed = QuernConf.ALLOWED_TOKENIZER_PATHS.value(conf);
      throw new TokenizerException(
          Reason.INVALID_ARGUMENT,
          "SQL may not load the tokenizer file '"
              + name
              + "'. Start the application with "
              + QuernConf.ALLOWED_TOKENIZER_PATHS.key()
              + " set to its folder, or give it a name with "
              + QuernConf.TOKENIZERS.key()
              + "; allowed now: "
              + (allowed.isEmpty() ? "none" : String.join(", ", allowed)));
    }
    return file;
  }

  private static TokenizerException unknown(SparkConf conf, String name) {
    List<String> names = names(conf);
    return new TokenizerException(
        Reason.INVALID_ARGUMENT,
        "there is no tokenizer '"
            + name
            + "'"
            + QuernConf.nearest(name, names)
                .map(nearest -> ", did you mean '" + nearest + "'?")
                .orElse(".")
            + " Known names: "
            + String.join(", ", names)
            + ". To add this one, start the application with "
            + QuernConf.tokenizerKey(name)
            + "=<URI of a tokenizer.json or .tiktoken file>; what a session sets does not count");
  }

  /** A file of that name, if whoever started the application shipped one with --files. */
  private static Optional<Path> shipped(SparkConf conf, String name) {
    // Not what ADD FILE or a Connect client's artifacts brought: a session decides these.
    boolean listed =
        Stream.of("spark.files", "spark.yarn.dist.files")
            .flatMap(key -> Arrays.stream(conf.get(key, "").split(",")))
            .map(String::strip)
            .filter(uri -> !uri.isEmpty())
            .map(uri -> uri.substring(Math.max(uri.lastIndexOf('/'), uri.lastIndexOf('#')) + 1))
            .anyMatch(name::equals);
    if (!listed) {
      return Optional.empty();
    }
    // SparkFiles.get would look among the files of a Connect session first. In YARN's cluster mode,
    // and there alone, they are in the driver's working directory.
    boolean yarnCluster =
        conf.get("spark.master", "").equals("yarn")
            && conf.get("spark.submit.deployMode", "").equals("cluster");
    String folder = yarnCluster ? "." : SparkFiles.getRootDirectory();
    return Optional.of(new Path(new File(folder, name).getAbsoluteFile().toURI()));
  }

  private static Path path(String name, String uri) {
    try {
      return new Path(uri);
    } catch (IllegalArgumentException e) {
      throw failure(name, "'" + uri + "' is no URI of a file", e);
    }
  }

  /**
   * The file, without dots and, if it is local, without links, if it is under one of the allowed
   * prefixes; whole path components are compared.
   */
  private static Optional<Path> allowed(Path path, SparkConf conf, Configuration hadoop) {
    for (String prefix : QuernConf.ALLOWED_TOKENIZER_PATHS.value(conf)) {
      try {
        Path allowed = new Path(prefix);
        // First of all: a file system that is not allowed is not even talked to.
        if (!sameFileSystem(path, allowed, hadoop)) {
          continue;
        }
        Path file = real(path, hadoop);
        String below = file.toUri().getPath();
        String folder = real(allowed, hadoop).toUri().getPath();
        String under = folder.endsWith("/") ? folder : folder + "/";
        if (!Arrays.asList(below.split("/")).contains("..")
            && (below.equals(folder) || below.startsWith(under))) {
          return Optional.of(file);
        }
      } catch (IOException | IllegalArgumentException e) {
        // A prefix whose file system can't be reached allows nothing; the next one may.
        continue;
      }
    }
    return Optional.empty();
  }

  private static boolean sameFileSystem(Path path, Path allowed, Configuration hadoop) {
    URI standard = FileSystem.getDefaultUri(hadoop);
    URI one = withFileSystem(path.toUri(), standard);
    URI other = withFileSystem(allowed.toUri(), standard);
    return one.getScheme().equalsIgnoreCase(other.getScheme())
        && authority(one).equalsIgnoreCase(authority(other));
  }

  /** The URI, or that of the default file system if it is only a path (or has its scheme alone). */
  private static URI withFileSystem(URI uri, URI standard) {
    boolean mayBeDefault =
        uri.getScheme() == null || uri.getScheme().equalsIgnoreCase(standard.getScheme());
    return mayBeDefault && uri.getAuthority() == null ? standard : uri;
  }

  private static String authority(URI uri) {
    return uri.getAuthority() == null ? "" : uri.getAuthority();
  }

  private static Path real(Path path, Configuration hadoop) throws IOException {
    URI uri = path.getFileSystem(hadoop).makeQualified(path).toUri();
    if (!"file".equalsIgnoreCase(uri.getScheme())) {
      return new Path(uri);
    }
    // A local path that is not there can't be resolved, and can't be loaded either.
    File local = new File(uri.getPath());
    return new Path(
        "file", null, local.exists() ? local.toPath().toRealPath().toString() : uri.getPath());
  }

  // ---- Files -----------------------------------------------------------------------------------

  private static byte[] read(String name, FileSystem fileSystem, Path path, FileStatus status)
      throws IOException {
    if (status.isDirectory()) {
      throw failure(
          name,
          status.getPath() + " is a folder; give the tokenizer.json or .tiktoken in it",
          null);
    }
    if (status.getLen() > LARGEST_FILE) {
      throw failure(
          name,
          status.getPath()
              + " has "
              + status.getLen()
              + " bytes, more than a tokenizer may have ("
              + LARGEST_FILE
              + ")",
          null);
    }
    byte[] bytes = new byte[(int) status.getLen()];
    try (FSDataInputStream in = fileSystem.open(path)) {
      in.readFully(0, bytes);
    }
    return bytes;
  }

  private static TokenizerSpec builtIn(String name, FunctionOptions options) {
    refuseTiktokenOptions(name, options, "a built-in tokenizer");
    return with(TokenizerSpec.builtIn(name), options);
  }

  private static TokenizerSpec spec(String name, byte[] file, FunctionOptions options) {
    int start = 0;
    while (start < file.length && Character.isWhitespace(file[start])) {
      start++;
    }
    if (start < file.length && file[start] == '{') {
      refuseTiktokenOptions(name, options, "a tokenizer.json");
      return with(TokenizerSpec.huggingFace(file), options);
    }
    int end = start;
    while (end < file.length && file[end] != '\n' && end - start < 1 << 16) {
      end++;
    }
    String line = new String(file, start, end - start, StandardCharsets.ISO_8859_1).strip();
    if (!TIKTOKEN_LINE.matcher(line).matches()) {
      throw failure(
          name,
          "the file is neither a tokenizer.json (a JSON object, as the Python package tokenizers"
              + " saves it) nor a .tiktoken file (lines of a base64 token and its rank)",
          null);
    }
    String pattern =
        options
            .pattern()
            .or(options::patternOfSession)
            .orElseThrow(
                () ->
                    failure(
                        name,
                        "a .tiktoken file does not say how text is split; give the option pattern,"
                            + " or "
                            + QuernConf.TIKTOKEN_PATTERN.key()
                            + ", with a regular expression or the name of a built-in tokenizer that"
                            + " splits text the same way",
                        null));
    if (TokenizerSpec.builtInNames().contains(pattern)) {
      pattern = TokenizerSpec.builtInPattern(pattern);
    }
    return with(
        TokenizerSpec.tiktoken(
            file, pattern, options.specialTokens().orElse(options.specialTokensOfSession())),
        options);
  }

  private static TokenizerSpec with(TokenizerSpec spec, FunctionOptions options) {
    return spec.withEngine(options.engine()).withSpecialTokensInText(options.specialTokensInText());
  }

  private static void refuseTiktokenOptions(String name, FunctionOptions options, String kind) {
    if (options.pattern().isPresent() || options.specialTokens().isPresent()) {
      throw failure(
          name,
          "it is "
              + kind
              + ", which has its own pattern and special tokens; leave out the options pattern and"
              + " special_tokens (they are for .tiktoken files)",
          null);
    }
  }

  // ---- Broadcasts ------------------------------------------------------------------------------

  private static TokenizerReference broadcast(
      SparkContext context, String name, TokenizerSpec spec) {
    NativeTokenizer tokenizer;
    try {
      tokenizer = TokenizerReference.load(spec, name, null);
    } catch (TokenizerException e) {
      throw new TokenizerException(
          e.reason(),
          "the tokenizer '" + name + "' can't be loaded: " + e.getMessage(),
          e.position(),
          -1,
          e);
    }
    Supplier<Broadcast<TokenizerSpec>> make =
        () -> context.broadcast(spec, ClassTag$.MODULE$.apply(TokenizerSpec.class));
    synchronized (TokenizerResolver.class) {
      TokenizerReference reference = reference(name, spec.engine(), tokenizer, null);
      TokenizerReference same = of(context).byContent.get(reference);
      Broadcast<TokenizerSpec> broadcast = same != null ? same.broadcast() : make.get();
      reference = reference(name, spec.engine(), tokenizer, broadcast);
      of(context).byContent.putIfAbsent(reference, reference);
      return reference;
    }
  }

  private static TokenizerReference reference(
      String name, Engine engine, NativeTokenizer tokenizer, Broadcast<TokenizerSpec> broadcast) {
    return new TokenizerReference(
        name, tokenizer.contentHash(), engine, tokenizer.engine(), broadcast);
  }

  private static synchronized Optional<TokenizerReference> known(
      SparkContext context, Source source) {
    return Optional.ofNullable(of(context).references.get(source));
  }

  private static synchronized TokenizerReference remember(
      SparkContext context, Source source, TokenizerReference reference) {
    of(context).references.put(source, reference);
    return reference;
  }

  /** A JVM has one SparkContext at a time; broadcasts of a stopped one are of no use. */
  private static Resolved of(SparkContext context) {
    if (resolved == null || resolved.context.get() != context) {
      resolved = new Resolved(context);
    }
    return resolved;
  }

  private static TokenizerException failure(String name, String what, Throwable cause) {
    return new TokenizerException(
        Reason.UNSUPPORTED, "the tokenizer '" + name + "' can't be loaded: " + what, cause);
  }
}
