package dev.quern.sql;

import java.io.Serializable;

/** The tokenizer of a call: one for all rows, or the one that a column names in each row. */
sealed interface TokenizerChoice extends Serializable permits TokenizerCall, TokenizerCallByName {
  /** Name of the SQL function. */
  String function();

  /** Whether a document that can't be tokenized gives NULL. */
  boolean nullOnError();
}
