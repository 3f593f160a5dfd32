"""Reads token files as pyarrow, DuckDB and Polars do, and compares with what Spark was given.

    read_tokens.py FOLDER

FOLDER has expected.json, lines of {"id": ..., "ids": [...] or missing}, and folders of files with these columns. Their
names begin with parquet or arrow. Prints a line for each reader and folder; ends with 1 if any of them differs.
"""

import json
import pathlib
import sys

import duckdb
import polars
import pyarrow
import pyarrow.dataset
import pyarrow.feather


def with_pyarrow(folder, files, kind):
    return pyarrow.dataset.dataset(files, format=kind).to_table(columns=["id", "ids"]).to_pylist()


def with_pyarrow_mapped(folder, files, kind):
    tables = [pyarrow.feather.read_table(file, columns=["id", "ids"], memory_map=True) for file in files]
    return pyarrow.concat_tables(tables).to_pylist()


def with_duckdb(folder, files, kind):
    rows = duckdb.sql(f"SELECT id, ids FROM read_parquet('{folder}/part-*.parquet')").fetchall()
    return [{"id": row[0], "ids": row[1]} for row in rows]


def with_polars(folder, files, kind):
    frames = [polars.read_parquet(f) if kind == "parquet" else polars.read_ipc(f, memory_map=False) for f in files]
    return polars.concat(frames).select("id", "ids").to_dicts()


def with_polars_lazily(folder, files, kind):
    scan = polars.scan_parquet(files) if kind == "parquet" else polars.scan_ipc(files)
    # Pages are skipped by their indexes.
    return scan.filter(polars.col("id") >= 0).select("id", "ids").collect().to_dicts()


READERS = {
    # DuckDB reads no Arrow files by itself.
    "parquet": [with_pyarrow, with_duckdb, with_polars, with_polars_lazily],
    "arrow": [with_pyarrow, with_pyarrow_mapped, with_polars, with_polars_lazily],
}


def main(root):
    expected = {row["id"]: row.get("ids") for row in map(json.loads, open(root / "expected.json", encoding="utf-8"))}
    wrong = 0
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        kind = folder.name.split("-")[0]
        files = sorted(str(path) for path in folder.glob("part-*"))
        assert files, folder
        for reader in READERS[kind]:
            try:
                rows = reader(folder, files, kind)
                same = len(rows) == len(expected) and {row["id"]: row["ids"] for row in rows} == expected
                said = "equal" if same else "DIFFERS"
            except Exception as error:  # what a reader can't read is a difference too
                said = f"FAILED: {error!r}"
            wrong += said != "equal"
            print(folder.name, reader.__name__, said)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
