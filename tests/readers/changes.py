"""Reads what `wdt-lake changes` has written, as users read it. Prints one JSON list of rows a file, all alike.

    python changes.py FILE.parquet [FILE ...]

A file is read by the end of its name: .parquet by DuckDB (and by pyarrow, which must see the same), .csv by DuckDB with the types of the first
file, .arrow and .arrows by pyarrow. Decimals are text with four places, instants microseconds.
"""

import datetime as dt
import decimal
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


def plain(value):
    if isinstance(value, decimal.Decimal):
        return format(value, ".4f")  # decimal's own formatting, never through a float
    if isinstance(value, dt.datetime):
        return (value - EPOCH) // dt.timedelta(microseconds=1)
    return value


def rows(table):
    return [{name: plain(value) for name, value in row.items()} for row in table.to_pylist()]


def read(db, name, types):
    if name.endswith(".csv"):
        columns = ", ".join("'%s': '%s'" % pair for pair in types.items())
        options = "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false"
        return db.sql("SELECT * FROM read_csv('%s', %s, columns = {%s})" % (name, options, columns)).to_arrow_table()
    if name.endswith(".arrow"):
        return pa.ipc.open_file(name).read_all()
    if name.endswith(".arrows"):
        return pa.ipc.open_stream(name).read_all()
    table = db.sql("SELECT * FROM read_parquet('%s')" % name).to_arrow_table()
    assert rows(table) == rows(pa.parquet.read_table(name)), "DuckDB and pyarrow differ"
    return table


def main():
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    described = db.execute("DESCRIBE SELECT * FROM read_parquet('%s')" % sys.argv[1]).fetchall()
    types = {row[0]: row[1] for row in described}
    print(json.dumps([rows(read(db, name, types)) for name in sys.argv[1:]]))


if __name__ == "__main__":
    main()
