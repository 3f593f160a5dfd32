package dev.quern.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Pages of the Quern tab, fetched from a server that runs, and their tables. */
final class UiPages {

  private static final HttpClient CLIENT =
      HttpClient.newBuilder().followRedirects(HttpClient.Redirect.NORMAL).build();

  private UiPages() {}

  /** The status and the page at that address. */
  static HttpResponse<String> fetch(String uri) throws IOException, InterruptedException {
    return CLIENT.send(
        HttpRequest.newBuilder(URI.create(uri)).build(), HttpResponse.BodyHandlers.ofString());
  }

  /** The page once it is as it is wanted: events need a moment, a server longer. */
  static String await(String uri, Predicate<String> wanted)
      throws IOException, InterruptedException {
    String page = "";
    for (long end = System.nanoTime() + TimeUnit.MINUTES.toNanos(2); System.nanoTime() < end; ) {
      try {
        page = fetch(uri).body();
        if (wanted.test(page)) {
          return page;
        }
      } catch (IOException e) {
        page = e.toString(); // nobody listens there yet
      }
      Thread.sleep(100);
    }
    throw new AssertionError(uri + " is not as wanted after two minutes:\n" + page);
  }

  /** The rows of a table, as text by name of column. */
  static List<Map<String, String>> table(String page, String id) {
    Matcher table =
        Pattern.compile("<table[^>]* id=\"" + id + "\">(.*?)</table>", Pattern.DOTALL)
            .matcher(page);
    assertThat(table.find()).as(page).isTrue();
    List<String> names = cells(table.group(1), "th");
    List<Map<String, String>> rows = new ArrayList<>();
    Matcher row =
        Pattern.compile("<tr>(.*?)</tr>")
            .matcher(table.group(1).substring(table.group(1).indexOf("<tbody>")));
    while (row.find()) {
      List<String> values = cells(row.group(1), "td");
      assertThat(values).hasSameSizeAs(names);
      Map<String, String> byName = new LinkedHashMap<>();
      for (int i = 0; i < names.size(); i++) {
        byName.put(names.get(i), values.get(i));
      }
      rows.add(byName);
    }
    return rows;
  }

  private static List<String> cells(String row, String element) {
    List<String> cells = new ArrayList<>();
    Matcher cell = Pattern.compile("<" + element + "\\b[^>]*>(.*?)</" + element + ">").matcher(row);
    while (cell.find()) {
      cells.add(cell.group(1).replaceAll("</?a\\b[^>]*>", ""));
    }
    return cells;
  }
}
