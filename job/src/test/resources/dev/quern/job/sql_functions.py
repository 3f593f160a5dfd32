"""Quern's SQL functions from PySpark, as a user calls them; run by SqlClientsIT.

usage: sql_functions.py JAR           a session of its own, Quern's jar in spark.jars
       sql_functions.py sc://HOST     a Spark Connect server that was started with the jar
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

where = sys.argv[1]
if where.startswith("sc://"):
    spark = SparkSession.builder.remote(where).getOrCreate()
else:
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", where)
        .config("spark.ui.enabled", "false")
        .config("spark.driver.host", "127.0.0.1")
        .getOrCreate()
    )


def refused(statement, *parts):
    """The statement fails with a message that has all the parts."""
    try:
        spark.sql(statement).collect()
    except Exception as problem:
        message = str(problem)
        missing = [part for part in parts if part not in message]
        assert not missing, f"{missing} not in: {message}"
    else:
        raise AssertionError(f"not refused: {statement}")


def one(statement):
    return spark.sql(statement).collect()[0][0]


# Ids of tiktoken's o200k_base and cl100k_base.
assert one("SELECT tokenize('Hello, world!')") == [13225, 11, 2375, 0]
assert one("SELECT tokenize('Hello, world!', 'cl100k_base')") == [9906, 11, 1917, 0]
assert one("SELECT tokenize(text => 'Hello, world!', tokenizer => 'cl100k_base')") == [9906, 11, 1917, 0]
assert one("SELECT token_count('Hello, world!')") == 4
assert one("SELECT detokenize(array(13225, 11, 2375, 0))") == "Hello, world!"
assert one("SELECT tokenize(CAST('Hello, world!' AS BINARY))") == [13225, 11, 2375, 0]
assert one("SELECT tokenize('')") == []
assert one("SELECT tokenize(NULL)") is None
assert one("SELECT try_tokenize(X'FF')") is None
assert len(one("SELECT tokenizer_id('cl100k_base')")) == 64

assert one("SELECT truncate_tokens('Hello, world!', 2)") == "Hello,"
assert [tuple(token) for token in one("SELECT tokenize_with_offsets('naïve')")] == [(1503, 0, 2), (9954, 2, 3), (737, 3, 5)]
rows = spark.sql("SELECT inline(chunk_tokens('one two three', max_tokens => 2, overlap => 1))").collect()
assert [tuple(row) for row in rows] == [("one two", 0, 7, 2), (" two three", 3, 13, 2)], rows

frame = spark.createDataFrame([(1, "Hello, world!"), (2, None), (3, "")], "id int, text string")
rows = frame.select("id", F.call_function("tokenize", F.col("text")).alias("ids")).orderBy("id").collect()
assert [row.ids for row in rows] == [[13225, 11, 2375, 0], None, []], rows
rows = frame.select(F.expr("token_count(text, 'gpt2')").alias("n")).where("n IS NOT NULL").collect()
assert sorted(row.n for row in rows) == [0, 4], rows
frame.createOrReplaceTempView("documents")
names = spark.createDataFrame([("gpt2",), ("cl100k_base",), (None,)], "name string")
rows = names.select(F.call_function("tokenize", F.lit("Hello, world!"), F.col("name")).alias("ids")).collect()
assert [row.ids for row in rows] == [[15496, 11, 995, 0], [9906, 11, 1917, 0], None], rows
assert one("SELECT sum(token_count(text)) FROM documents") == 4

refused("SELECT tokenize('a', 'o300k_base')", "o300k_base", "o200k_base")
refused("SELECT tokenize(1.5)", "text")
refused("SELECT tokenize('a', '/etc/passwd')", "spark.quern.allowedTokenizerPaths")
refused("SELECT tokenize(X'FF')", "UTF-8")
refused("SELECT tokenize('a', name) FROM VALUES ('/etc/passwd') AS t(name)", "never a path", "cl100k_base")
refused("SET spark.quern.allocator=system", "spark.quern.allocator")
refused("SET spark.quern.allowedTokenizerPaths=/", "spark.quern.allowedTokenizerPaths")

usage = "\n".join(row[0] for row in spark.sql("DESCRIBE FUNCTION EXTENDED tokenize").collect())
assert "Usage" in usage and "Examples" in usage, usage
spark.stop()
print("all is well")
