"""Tries the SQL of `wdt-lake views` on a random lake in every state that a glob may find, against plain loops. Prints one JSON object.

    python random_views.py READER SEED LAKE VIEWS.json FOLDER

READER is duckdb, spark, clickhouse or polars, LAKE the lake of which the columns are taken and for which VIEWS.json was made. The random lake is written to FOLDER.
Each of its requisitions is a case of its own: versions that were read once or several times, details that are missing all or in part, headers
without details and details without headers, rows in up to three files, two ids under one number, ids and quantities that are null, more details
than a word has bits. `requisitions` says how many there are, `torn`, `copied` and `long` how many rows or versions were so, and `rows` how many
rows each view gave. A view that differs ends the program with what differs.
"""

import collections
import datetime as dt
import decimal
import json
import os
import random
import sys

import duckdb

import readers

REQUISITIONS = 1500
OPEN = ("to_confirm", "to_reference", "partly_referenced")
STATUSES = OPEN + ("finished", "cancelled", None)
BEGIN = dt.datetime(2026, 5, 30, 4, tzinfo=dt.timezone.utc)
TABLES = {"purchase_apply": "modified", "purchase_apply_detail": "apply_modified"}

Version = collections.namedtuple("Version", "account number apply_id modified run extracted")


def quantity(chance):
    return None if chance.random() < 0.3 else decimal.Decimal(chance.randrange(-20000, 90000)) / 10000


def versions_of(chance, nth):
    """The versions of one requisition with what they hold: lineage, status, quantity not referenced, details."""
    account, number = chance.choice(("a", "b")), "CG%d" % (nth // 2)
    ids = chance.choice(([None], [0], [-1], [7], [7], [7, 8], [None, 7], [0, 7, 8]))
    # One account may hold two cases under one number: they are one requisition then.
    for reading in range(chance.choice((1, 1, 2, 3, 5))):
        lineage = Version(account, number, chance.choice(ids), BEGIN + dt.timedelta(hours=12 * chance.randrange(4)),
                          "run-%d" % chance.randrange(3), BEGIN + dt.timedelta(days=3, seconds=10 * nth + reading))
        count = chance.choice((0, 1, 2, 3, 4, 5)) if chance.random() < 0.97 else chance.choice((61, 62, 63, 64, 130))
        details = [(position, 1000 * nth + position, quantity(chance), quantity(chance)) for position in range(count)]
        yield lineage, chance.choice(STATUSES), quantity(chance), details


def copies(chance):
    """The files that a row stands in."""
    return chance.sample(range(3), 1 if chance.random() < 0.8 else chance.choice((2, 3)))


def random_rows(seed):
    """What lies in the lake: a list of (file, row) of headers and of details, and what was counted on the way."""
    chance, headers, details, counted = random.Random(seed), [], [], collections.Counter(requisitions=REQUISITIONS)
    for nth in range(REQUISITIONS):
        for lineage, status, unref, lines in versions_of(chance, nth):
            counted["long"] += len(lines) > 62
            torn = chance.choice(("whole", "whole", "whole", "one missing", "none", "half", "no header"))
            counted["torn"] += torn != "whole"
            if torn != "no header":
                files, row = copies(chance), (lineage, status, unref, len(lines) or chance.choice((0, None)))
                counted["copied"] += len(files) > 1
                headers += [(file, row) for file in files]
            missing = chance.randrange(len(lines)) if lines else None
            for line in lines:
                gone = {"one missing": line[0] == missing, "none": True, "half": chance.random() < 0.5}.get(torn, False)
                if not gone:
                    details += [(file, (lineage, *line)) for file in copies(chance)]
    return headers, details, counted


def expected(headers, details):
    """The rows of the views, by loops over all rows."""
    lines, held = collections.defaultdict(dict), {row[0]: row for _, row in headers}
    for _, (lineage, position, *rest) in details:
        lines[lineage][position] = rest
    complete = [row for row in held.values() if len(lines[row[0]]) >= (row[3] or 0)]
    by_number = collections.defaultdict(list)
    for row in complete:
        by_number[row[0].account, row[0].number].append(row)
    latest = {}
    for number, rows in by_number.items():
        newest = max(row[0].modified for row in rows)
        for row in rows:
            key = (*number, max(row[0].apply_id or 0, 0))
            if row[0].modified == newest and (key not in latest or latest[key][0].extracted < row[0].extracted):
                latest[key] = row
    shown = {"purchase_apply_latest": [], "purchase_apply_detail_latest": [], "purchase_apply_open": []}
    for lineage, status, unref, count in latest.values():
        shown["purchase_apply_latest"].append((*lineage, status, unref, count))
        own = [(*lineage, position, *rest) for position, rest in lines[lineage].items()]
        shown["purchase_apply_detail_latest"] += own
        if status in OPEN:
            terms = [line[-2] - (line[-1] or 0) for line in own if line[-2] is not None]
            total = unref if unref is not None else sum(terms) if terms else None
            shown["purchase_apply_open"].append((*lineage, status, unref, count, total))
    return shown


COLUMNS = {
    "purchase_apply_latest": ("account purchase_apply_no apply_id modified _run_id _extracted_at status_name unref_num detail_count").split(),
    "purchase_apply_detail_latest": ("account purchase_apply_no apply_id apply_modified _run_id _extracted_at detail_index rec_id real_num ref_num").split(),
}
COLUMNS["purchase_apply_open"] = COLUMNS["purchase_apply_latest"] + ["open_num"]


def write(lake, folder, table, rows, columns):
    """One Parquet file for each account, month and number of a file, with the columns of the lake's own table."""
    import pyarrow as pa
    db = duckdb.connect()
    db.execute("SET TimeZone = 'Asia/Shanghai'")
    source = lake.replace("'", "''")
    db.execute("CREATE TABLE held AS SELECT * FROM read_parquet('%s/%s/account=*/modified_month=*/*.parquet', hive_partitioning = true) LIMIT 0" % (source, table))
    types = {"apply_id": pa.int64(), "rec_id": pa.int64(), "detail_index": pa.int32(), "detail_count": pa.int32(), "real_num": pa.decimal128(19, 4),
             "ref_num": pa.decimal128(19, 4), "unref_num": pa.decimal128(19, 4)}
    times = {name: pa.timestamp("us", "UTC") for name in ("modified", "apply_modified", "_extracted_at")}
    kinds = {**types, **times}
    named = {name: pa.array([row[0][place] if place < 6 else row[place - 5] for _, row in rows], kinds.get(name, pa.string()))
             for place, name in enumerate(columns)}
    given = pa.table({**named, "file": pa.array([file for file, _ in rows], pa.int32())})
    db.register("given", given)
    db.execute("ALTER TABLE held ADD COLUMN file INTEGER")
    db.execute("INSERT INTO held BY NAME SELECT *, strftime(%s, '%%Y-%%m') AS modified_month FROM given" % TABLES[table])
    for account, month, file in db.execute("SELECT DISTINCT account, modified_month, file FROM held").fetchall():
        path = "%s/%s/account=%s/modified_month=%s" % (folder, table, account, month)
        os.makedirs(path, exist_ok=True)
        db.execute("COPY (SELECT * EXCLUDE (account, modified_month, file) FROM held WHERE account = '%s' AND modified_month = '%s' AND file = %d) "
                   "TO '%s/%d.parquet' (FORMAT parquet)" % (account, month, file, path.replace("'", "''"), file))


def main():
    name, seed, lake, views, folder = sys.argv[1:]
    headers, details, counted = random_rows(int(seed))
    write(lake, folder, "purchase_apply", headers, COLUMNS["purchase_apply_latest"])
    write(lake, folder, "purchase_apply_detail", details, COLUMNS["purchase_apply_detail_latest"])
    reader = readers.READERS[name]()
    with open(views, encoding="utf-8") as file:
        script = json.load(file)
    for statement in script["setup"] + [view["sql"] if "sql" in view else view["python"] for view in script["views"]]:
        reader.sql(statement.replace(lake, folder))
    wanted, rows = expected(headers, details), {}
    for view, columns in COLUMNS.items():
        shown = reader.rows("SELECT * FROM " + view)
        shown = collections.Counter(tuple(readers.plain(row[column]) for column in columns) for row in shown)
        listed = collections.Counter(tuple(map(readers.plain, row)) for row in wanted[view])
        if shown != listed:
            sys.exit("%s, seed %s: surplus %s, missing %s" % (view, seed, list((shown - listed).items())[:3], list((listed - shown).items())[:3]))
        rows[view] = sum(shown.values())
    print(json.dumps({**counted, "rows": rows}))


if __name__ == "__main__":
    main()
