"""Compares files of `wdt-lake export` with queries of DuckDB, row by row. Prints one JSON list: how many rows each file has.

    python export.py CHECKS.json

CHECKS.json is {"views": [SQL, ...], "checks": [{"file": NAME, "sql": QUERY, "beijing": BOOLEAN}, ...]}. The views are made first. A file is read by the
end of its name: .parquet by DuckDB, .csv by DuckDB with the types of the query, .arrow and .arrows by pyarrow. It must hold the rows of its query in the
columns that it has, each as often, and be in order: by account, Beijing month, number, modified time, id (none first) and place of the detail. With
"beijing" its times have no time zone and are those of the clock in Beijing. A file that differs ends the program with what differs.
"""

import collections
import datetime as dt
import decimal
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.ipc

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
BEIJING = dt.timezone(dt.timedelta(hours=8))
TIMES = ("modified", "apply_modified", "requested_at")


def plain(value):
    if isinstance(value, decimal.Decimal):
        return format(value, ".4f")  # decimal's own formatting, never through a float
    if isinstance(value, dt.datetime):
        return ((value if value.tzinfo else value.replace(tzinfo=BEIJING)) - EPOCH) // dt.timedelta(microseconds=1)
    return value


def read(db, name, types):
    if name.endswith(".arrow"):
        return pa.ipc.open_file(name).read_all()
    if name.endswith(".arrows"):
        return pa.ipc.open_stream(name).read_all()
    if name.endswith(".parquet"):
        return db.sql("SELECT * FROM read_parquet('%s')" % name).to_arrow_table()
    with open(name, encoding="utf-8-sig") as file:
        header = file.readline().strip().split(",")
    columns = ", ".join("'%s': '%s'" % (column, types[column]) for column in header)
    options = "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"', nullstr = '', allow_quoted_nulls = false"
    return db.sql("SELECT * FROM read_csv('%s', %s, columns = {%s})" % (name, options, columns)).to_arrow_table()


def place(row, has_months):
    """What rows are sorted by."""
    modified = next(row[name] for name in TIMES if name in row)
    month = (EPOCH + dt.timedelta(microseconds=modified)).astimezone(BEIJING).strftime("%Y-%m") if has_months else ""
    apply_id = row.get("apply_id")
    return row["account"], month, row["purchase_apply_no"].encode(), modified, apply_id is not None, apply_id or 0, row.get("detail_index", 0)


def check(db, name, sql, beijing):
    types = {row[0]: row[1] for row in db.execute("DESCRIBE " + sql).fetchall()}
    if beijing:
        types = {column: kind.replace(" WITH TIME ZONE", "") for column, kind in types.items()}
    table = read(db, name, types)
    zones = {field.type.tz for field in table.schema if pa.types.is_timestamp(field.type)}
    assert zones == ({None} if beijing else {"UTC"}), "%s: %s" % (name, zones)
    rows = [{column: plain(value) for column, value in row.items()} for row in table.to_pylist()]
    assert set(types) - set(table.schema.names) <= {"modified_month"} and set(table.schema.names) <= set(types), name
    columns = ", ".join('"%s"' % column for column in table.schema.names)
    wanted = db.sql("SELECT %s FROM (%s)" % (columns, sql)).to_arrow_table().to_pylist()
    given, wanted = (collections.Counter(tuple(map(plain, row.values())) for row in part) for part in (rows, wanted))
    if given != wanted:
        sys.exit("%s: surplus %s, missing %s" % (name, list((given - wanted).items())[:3], list((wanted - given).items())[:3]))
    places = [place(row, "requested_at" not in row) for row in rows]
    assert places == sorted(places), "%s is not in order" % name
    return len(rows)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        asked = json.load(file)
    db = duckdb.connect()
    db.execute("SET TimeZone = 'UTC'")
    for view in asked["views"]:
        db.execute(view)
    print(json.dumps([check(db, one["file"], one["sql"], one["beijing"]) for one in asked["checks"]]))


if __name__ == "__main__":
    main()
