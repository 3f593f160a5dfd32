package dev.quern.bench;

import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import java.util.Properties;

/** What Maven knew when it built this module (build.properties, filtered). */
final class BuildInfo {
  private static final Properties PROPERTIES = load();

  private BuildInfo() {}

  /** Quern's version. */
  static String version() {
    return PROPERTIES.getProperty("version");
  }

  static String jtokkitVersion() {
    return PROPERTIES.getProperty("jtokkit.version");
  }

  /** The JVM options that Spark needs; the ones its own launcher passes. */
  static List<String> sparkJvmOptions() {
    return List.of(PROPERTIES.getProperty("spark.jvm.options").trim().split("\\s+"));
  }

  private static Properties load() {
    Properties properties = new Properties();
    try (InputStream in = BuildInfo.class.getResourceAsStream("build.properties")) {
      properties.load(in);
    } catch (IOException e) {
      throw new IllegalStateException("build.properties of quern-bench can't be read", e);
    }
    return properties;
  }
}
