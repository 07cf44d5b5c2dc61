"""Reads a lake in which files of two minor versions of the contract lie. Prints one JSON object.

    python evolve.py READER LAKE

The newest file of headers is first written anew with one more column, `urgency`, which is its row's number, as a later contract may add one.
READER is duckdb, clickhouse, polars or spark. `rows` are those of the table, and `urgent` those where the column is not null, read as docs/read.md
says; `added` are the rows of the file that has it.
"""

import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq

import matrix
import readers


def evolve(lake):
    """Adds the column to one file, before the last column, unless one has it already. Returns the rows of that file."""
    files = matrix.files_of(lake, "purchase_apply")
    held = [name for name in files if "urgency" in pq.ParquetFile(name).schema_arrow.names]
    if held:
        return pq.ParquetFile(held[0]).metadata.num_rows
    table = pq.ParquetFile(files[-1]).read()
    table = table.add_column(table.num_columns - 1, pa.field("urgency", pa.int32()), pa.array(range(table.num_rows), pa.int32()))
    pq.write_table(table, files[-1], compression="zstd")
    return table.num_rows


def read(name, lake):
    files = matrix.glob_of(lake, "purchase_apply")
    reader = readers.READERS[name]()
    count = "SELECT count(*) AS a, count(urgency) AS b FROM "
    if name == "duckdb":
        return reader.sql(count + "read_parquet('%s', hive_partitioning = true, union_by_name = true)" % files).fetchone()
    if name == "clickhouse":
        return list(reader.rows(count + "file('%s', 'Parquet', 'urgency Nullable(Int32)')" % files)[0].values())
    if name == "polars":
        import polars as pl
        frame = pl.scan_parquet(files, schema={"purchase_apply_no": pl.String, "urgency": pl.Int32}, hive_partitioning=True,
                                missing_columns="insert", extra_columns="ignore")
        return frame.select(pl.len(), pl.col("urgency").count().alias("urgent")).collect().row(0)
    reader.session.read.option("mergeSchema", "true").parquet(lake + "/purchase_apply").createOrReplaceTempView("held")
    return list(reader.sql(count + "held").collect()[0])


def main():
    name, lake = sys.argv[1:]
    added = evolve(lake)
    rows, urgent = read(name, lake)
    print(json.dumps({"rows": rows, "urgent": urgent, "added": added}))


if __name__ == "__main__":
    main()
