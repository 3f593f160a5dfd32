"""Reads token files as pyarrow, DuckDB and Polars do, and compares with what Spark was given.

    read_tokens.py FOLDER
    read_tokens.py FOLDER --long N [READER]

FOLDER has expected.json, lines of {"id": ..., "ids": [...] or missing}, and folders of files with these columns. Their
names begin with parquet or arrow. With --long there is no expected.json: rows 0, 1 and 2 have 3, N and 5 ids, as
LongRowsIT makes them. Prints a line for each reader and folder; ends with 1 if any of them differs.
"""

import json
import pathlib
import sys

import duckdb
import numpy
import polars
import pyarrow
import pyarrow.compute
import pyarrow.dataset
import pyarrow.feather


def with_pyarrow(folder, files, kind):
    return pyarrow.dataset.dataset(files, format=kind).to_table(columns=["id", "ids"])


def with_pyarrow_mapped(folder, files, kind):
    tables = [pyarrow.feather.read_table(file, columns=["id", "ids"], memory_map=True) for file in files]
    return pyarrow.concat_tables(tables)


def with_duckdb(folder, files, kind):
    return duckdb.sql(f"SELECT id, ids FROM read_parquet('{folder}/part-*.parquet')").fetch_arrow_table()


def with_polars(folder, files, kind):
    frames = [polars.read_parquet(f) if kind == "parquet" else polars.read_ipc(f, memory_map=False) for f in files]
    return polars.concat(frames).select("id", "ids").to_arrow()


def with_polars_lazily(folder, files, kind):
    scan = polars.scan_parquet(files) if kind == "parquet" else polars.scan_ipc(files)
    # Pages are skipped by their indexes.
    return scan.filter(polars.col("id") >= 0).select("id", "ids").collect().to_arrow()


READERS = {
    # DuckDB reads no Arrow files by itself.
    "parquet": [with_pyarrow, with_duckdb, with_polars, with_polars_lazily],
    "arrow": [with_pyarrow, with_pyarrow_mapped, with_polars, with_polars_lazily],
}


def same_rows(table, expected):
    # As arrays: as Python's lists, millions of ids take minutes.
    return table.take(pyarrow.compute.sort_indices(table["id"])).cast(expected.schema).equals(expected)


def same_long_rows(table, length):
    if sorted(table["id"].to_pylist()) != [0, 1, 2]:
        return False
    rows = {}
    for batch in table.to_batches():
        for i, row in enumerate(batch["id"].to_pylist()):
            rows[row] = batch["ids"][i].values
    for row, size in enumerate([3, length, 5]):
        if len(rows[row]) != size:
            return False
        for begin in range(0, size, 1 << 22):
            found = rows[row].slice(begin, 1 << 22).to_numpy(zero_copy_only=False)
            index = numpy.arange(begin, begin + len(found), dtype=numpy.uint32)
            if not numpy.array_equal(found, index * numpy.uint32(0x9E3779B1) >> numpy.uint32(15)):
                return False
    return True


def main(root, length=None, only=None):
    if length is None:
        with open(root / "expected.json", encoding="utf-8") as lines:
            rows = sorted(map(json.loads, lines), key=lambda row: row["id"])
        columns = {name: [row.get(name) for row in rows] for name in ("id", "ids")}
        types = {"id": pyarrow.int64(), "ids": pyarrow.list_(pyarrow.int32())}
        expected = pyarrow.table(columns, pyarrow.schema(types))
    wrong = 0
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        kind = folder.name.split("-")[0]
        files = sorted(str(path) for path in folder.glob("part-*"))
        assert files, folder
        for reader in READERS[kind]:
            if only not in (None, reader.__name__):
                continue
            try:
                table = reader(folder, files, kind)
                same = same_rows(table, expected) if length is None else same_long_rows(table, length)
                said = "equal" if same else "DIFFERS"
            except Exception as error:  # what a reader can't read is a difference too
                said = f"FAILED: {error!r}"
            wrong += said != "equal"
            print(folder.name, reader.__name__, said, flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    arguments = sys.argv[3:5]
    sys.exit(main(pathlib.Path(sys.argv[1]), *[int(a) if a.isdigit() else a for a in arguments]))
