package dev.quern.tokenizer;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The little JSON that passes between Java and the native library; a JSON library would be one more
 * version to fit into every Spark. Objects become Maps, arrays Lists, integers Longs.
 */
final class Json {
  private final String text;
  private int at;

  private Json(String text) {
    this.text = text;
  }

  static String quote(String value) {
    StringBuilder out = new StringBuilder(value.length() + 16).append('"');
    for (int i = 0; i < value.length(); i++) {
      char c = value.charAt(i);
      if (c == '"' || c == '\\') {
        out.append('\\').append(c);
      } else if (c < ' ' || Character.isSurrogate(c)) {
        out.append(String.format("\\u%04x", (int) c));
      } else {
        out.append(c);
      }
    }
    return out.append('"').toString();
  }

  /** Reads one object. */
  @SuppressWarnings("unchecked")
  static Map<String, Object> object(String text) {
    Json json = new Json(text);
    Object value = json.value();
    json.space();
    if (!(value instanceof Map) || json.at != text.length()) {
      throw json.broken();
    }
    return (Map<String, Object>) value;
  }

  private Object value() {
    space();
    char c = peek();
    if (c == '"') {
      return string();
    }
    if (c == '{') {
      at++;
      Map<String, Object> map = new LinkedHashMap<>();
      while (!closes('}', map.isEmpty())) {
        String key = string();
        expect(':');
        map.put(key, value());
      }
      return map;
    }
    if (c == '[') {
      at++;
      List<Object> list = new ArrayList<>();
      while (!closes(']', list.isEmpty())) {
        list.add(value());
      }
      return list;
    }
    int begin = at;
    while (at < text.length() && ",]} \t\r\n".indexOf(text.charAt(at)) < 0) {
      at++;
    }
    String word = text.substring(begin, at);
    return switch (word) {
      case "true" -> true;
      case "false" -> false;
      case "null" -> null;
      default -> number(word);
    };
  }

  private Object number(String word) {
    try {
      return Long.valueOf(word);
    } catch (NumberFormatException e) {
      throw broken();
    }
  }

  /** Whether the list ends here; else the comma before its next item is taken. */
  private boolean closes(char bracket, boolean first) {
    space();
    if (peek() == bracket) {
      at++;
      return true;
    }
    if (!first) {
      expect(',');
    }
    space();
    return false;
  }

  private String string() {
    expect('"');
    StringBuilder out = new StringBuilder();
    while (peek() != '"') {
      char c = text.charAt(at++);
      if (c != '\\') {
        out.append(c);
        continue;
      }
      char escaped = peek();
      at++;
      switch (escaped) {
        case 'b' -> out.append('\b');
        case 'f' -> out.append('\f');
        case 'n' -> out.append('\n');
        case 'r' -> out.append('\r');
        case 't' -> out.append('\t');
        case 'u' -> {
          if (at + 4 > text.length()) {
            throw broken();
          }
          out.append((char) Integer.parseInt(text.substring(at, at + 4), 16));
          at += 4;
        }
        default -> out.append(escaped);
      }
    }
    at++;
    return out.toString();
  }

  private void expect(char c) {
    space();
    if (peek() != c) {
      throw broken();
    }
    at++;
  }

  private void space() {
    while (at < text.length() && Character.isWhitespace(text.charAt(at))) {
      at++;
    }
  }

  private char peek() {
    if (at >= text.length()) {
      throw broken();
    }
    return text.charAt(at);
  }

  private TokenizerException broken() {
    return new TokenizerException(
        TokenizerException.Reason.INTERNAL,
        "the native library's description is not the JSON expected, at character "
            + at
            + "; please report this with the versions of Quern in use");
  }
}
