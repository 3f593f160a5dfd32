package dev.quern.bench;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;

/**
 * A line of the record, as a report reads it: what is missing or null there is empty here, never an
 * error, since lines outlive the code that wrote them.
 */
record RecordLine(Map<String, Object> fields) {
  /** Empty if there is no such field. */
  String text(String field) {
    return Objects.toString(fields.get(field), "");
  }

  boolean has(String field) {
    return fields.get(field) != null;
  }

  /** NaN if there is no such number. */
  double number(String field) {
    return fields.get(field) instanceof Number number ? number.doubleValue() : Double.NaN;
  }

  /** With so many digits behind the point, thousands apart; empty if there is no such number. */
  String decimals(String field, int digits) {
    return fields.get(field) instanceof Number number
        ? format("%,." + digits + "f", number.doubleValue())
        : "";
  }

  /** Median (minimum to maximum) of a quantity; empty if there is none. */
  String spread(String field, int digits) {
    String median = decimals(field, digits);
    return !has(field + "_min") || decimals(field + "_min", digits).equals(median)
        ? median
        : format(
            "%s (%s to %s)",
            median, decimals(field + "_min", digits), decimals(field + "_max", digits));
  }

  /** A nested object; one without fields if there is none. */
  @SuppressWarnings("unchecked") // keys of JSON objects are strings
  RecordLine object(String field) {
    return new RecordLine(
        fields.get(field) instanceof Map<?, ?> map ? (Map<String, Object>) map : Map.of());
  }

  /** When the run began; a line's place among others. */
  String date() {
    return text("date");
  }

  boolean isQuern() {
    return text("tool").startsWith("quern");
  }

  /** Values of these fields, to tell lines apart by. */
  List<String> key(String... names) {
    return Arrays.stream(names).map(this::text).toList();
  }

  static String format(String pattern, Object... values) {
    return String.format(Locale.ROOT, pattern, values);
  }
}
