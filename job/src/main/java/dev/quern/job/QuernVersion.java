package dev.quern.job;

import java.io.IOException;
import java.io.InputStream;
import java.util.Properties;

/** The version of this build, as Maven packed it into the jar. */
final class QuernVersion {

  private static final String RESOURCE = "/META-INF/maven/dev.quern/quern-job/pom.properties";

  private QuernVersion() {}

  /** Such as 0.1.0; "development" when the classes come from a folder. */
  static String current() {
    try (InputStream in = QuernVersion.class.getResourceAsStream(RESOURCE)) {
      Properties properties = new Properties();
      if (in != null) {
        properties.load(in);
      }
      return properties.getProperty("version", "development");
    } catch (IOException e) {
      return "development";
    }
  }
}
