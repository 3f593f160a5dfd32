/**
 * Tokenizers in Spark SQL: the functions, their registration, the configuration keys, and the way
 * of a tokenizer from its name on the driver to the executors. Stands on {@code
 * dev.quern.tokenizer}; {@code dev.quern.job} and the benchmarks may depend on it, nothing native
 * on anything here.
 */
package dev.quern.sql;
