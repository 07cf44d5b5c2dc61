"""Reads the committed files of a lake with several readers, and prints of each table its rows and a digest of all its values.

    python golden.py FILES.json READER...
    python golden.py --schemas FILES.json

FILES.json names the files by table, or for --schemas those of `old` and `new`. The digest does not depend on the order of rows: each row is its
columns as canonical text, the rows are sorted. --schemas prints of each table the columns of its files: names, types, field ids, and the metadata.
"""

import datetime
import decimal
import hashlib
import json
import sys

import pyarrow as pa
import pyarrow.parquet as pq

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)


def text(value):
    if value is None:
        return "-"
    if isinstance(value, decimal.Decimal):
        return "d%.4f" % value
    if isinstance(value, datetime.datetime):
        return "t%d" % ((value - EPOCH) // datetime.timedelta(microseconds=1))
    if isinstance(value, int):
        return "i%d" % value
    return json.dumps(value, ensure_ascii=False)


def told(table):
    """`table` is a pyarrow table, whatever read it."""
    names = sorted(table.column_names)
    columns = [table.column(name).to_pylist() for name in names]
    rows = sorted("\t".join(text(value) for value in row) for row in zip(*columns))
    body = "\n".join(["\t".join(names)] + rows)
    return {"rows": len(rows), "sha256": hashlib.sha256(body.encode()).hexdigest()}


def duckdb(files):
    import duckdb as engine
    db = engine.connect()
    db.execute("SET TimeZone = 'UTC'")
    return db.execute("SELECT * FROM read_parquet(?, hive_partitioning = false)", [files]).to_arrow_table()


def pyarrow(files):
    return pa.concat_tables([pq.ParquetFile(name).read() for name in files])


def polars(files):
    import polars as pl
    return pl.read_parquet(files, hive_partitioning=False).to_arrow()


def pandas(files):
    import pandas as pd
    frame = pd.concat([pd.read_parquet(name, dtype_backend="pyarrow", partitioning=None) for name in files])
    return pa.Table.from_pandas(frame, preserve_index=False)


def clickhouse(files):
    import chdb
    parts = [chdb.query("SELECT * FROM file('%s', 'Parquet') SETTINGS use_hive_partitioning = 0, output_format_arrow_string_as_string = 1" % name,
                        "ArrowStream").bytes() for name in files]
    return pa.concat_tables([pa.ipc.open_stream(part).read_all() for part in parts])


def schemas(files):
    said = {}
    for name in files:
        file = pq.ParquetFile(name)
        table = file.schema_arrow.metadata.get(b"wdt_lake.table", b"").decode() or name.split("/account=")[0].rsplit("/", 1)[1]
        columns = [[field.name, str(field.type), field.nullable, (field.metadata or {}).get(b"PARQUET:field_id", b"").decode()]
                   for field in file.schema_arrow]
        physical = [[column.name, column.physical_type, str(column.logical_type)] for column in (file.schema.column(at) for at in range(len(columns)))]
        keys = sorted(key.decode() for key in file.metadata.metadata or {})
        found = {"columns": columns, "physical": physical, "keys": keys}
        if said.setdefault(table, found) != found:
            raise SystemExit("%s differs from other files of its table: %s\n%s" % (name, found, said[table]))
    return said


def main():
    if sys.argv[1] == "--schemas":
        with open(sys.argv[2]) as file:
            json.dump({when: schemas(files) for when, files in json.load(file).items()}, sys.stdout)
        return
    with open(sys.argv[1]) as file:
        tables = json.load(file)
    readers = {reader.__name__: reader for reader in (duckdb, pyarrow, polars, pandas, clickhouse)}
    said = {name: {table: told(readers[name](files)) for table, files in tables.items() if files} for name in sys.argv[2:]}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
