package dev.quern.sql;

import dev.quern.tokenizer.TokenizerException;
import dev.quern.tokenizer.TokenizerException.Reason;
import java.io.Serializable;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.spark.unsafe.types.UTF8String;

/**
 * A call whose tokenizer a column names. What a name may mean is decided on the driver, once for
 * the query: executors have neither a configuration to trust nor credentials, and a path in a row
 * would let data choose which file is read. Public only because compiled plans call it; not an API.
 */
public final class TokenizerCallByName implements TokenizerChoice {
  private static final long serialVersionUID = 1L;

  /** A longer value, or one of other characters, is no name; it may be anybody's document. */
  private static final String LIKE_A_NAME = "[\\w.:/-]{1,64}";

  /**
   * What a name stands for.
   *
   * @param reference null if it can't be loaded
   * @param failure why not; null if it can
   */
  record Named(TokenizerReference reference, String failure) implements Serializable {
    private static final long serialVersionUID = 1L;
  }

  private final TokenizerCall.How how;
  private final TreeMap<String, Named> names;

  /** As many as the JVM keeps open: a task must not hold on to more. Under its own lock. */
  private transient Map<UTF8String, TokenizerCall> calls;

  TokenizerCallByName(TokenizerCall.How how, Map<String, Named> names) {
    this.how = how;
    this.names = new TreeMap<>(names);
  }

  /**
   * The call with that tokenizer.
   *
   * @param name as the row has it; spaces around it don't count
   * @throws TokenizerException if it is no name, or its tokenizer can't be loaded
   */
  public synchronized TokenizerCall of(UTF8String name) {
    if (calls == null) {
      calls = TokenizerReference.leastRecentlyUsed(TokenizerReference::keptOpen);
    }
    TokenizerCall call = calls.get(name);
    if (call == null) {
      call = new TokenizerCall(how, reference(name.toString().strip()));
      calls.put(name.copy(), call);
    }
    return call;
  }

  private TokenizerReference reference(String name) {
    Named named = names.get(name);
    if (named == null) {
      throw new TokenizerException(
          Reason.INVALID_ARGUMENT,
          how.function()
              + ": "
              + (name.matches(LIKE_A_NAME) ? "'" + name + "'" : "what this row has")
              + " is not the name of a tokenizer. A column may name "
              + String.join(", ", names.keySet())
              + ": built-in tokenizers and those that the application has named with "
              + QuernConf.TOKENIZERS.key()
              + " when it started; never a path or URI, which only a constant argument may be");
    }
    if (named.failure() != null) {
      throw new TokenizerException(Reason.UNSUPPORTED, how.function() + ": " + named.failure());
    }
    return named.reference();
  }

  @Override
  public String function() {
    return how.function();
  }

  @Override
  public boolean nullOnError() {
    return how.nullOnError();
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof TokenizerCallByName that
        && how.equals(that.how)
        && names.equals(that.names);
  }

  @Override
  public int hashCode() {
    return Objects.hash(how, names.keySet());
  }

  /** As EXPLAIN shows it: all that a row may name, and the options. */
  @Override
  public String toString() {
    return names.entrySet().stream()
            .map(
                entry ->
                    entry.getValue().reference() == null
                        ? entry.getKey() + " (can't be loaded)"
                        : entry.getValue().reference().as(entry.getKey()))
            .collect(Collectors.joining(" | ", "by name: ", ""))
        + how;
  }
}
