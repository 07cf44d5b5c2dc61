"""Reads versions of published Delta tables. Prints one JSON object.

    python delta.py READER JOB.json

JOB.json: {"lake": FOLDER, "tables": {TABLE: {VERSION: [FILES]}}}. READER is deltalake, polars, duckdb, daft or sail, which read each version by
the Delta log; files, which reads the listed files by pyarrow and knows nothing of Delta; or refused, which tries what must not be done to
the newest version. Of each version: rows, the exact sum of real_num, and rows by account and month.
"""

import decimal
import glob
import json
import sys


def told(rows):
    """Rows of (account, month, rows, sum) in one vocabulary."""
    rows = [(account, str(month), int(count), total) for account, month, count, total in rows]
    sums = [decimal.Decimal(str(total)) for *_, total in rows if total is not None]
    total = format(sum(sums, decimal.Decimal(0)), ".4f") if sums else None
    return {"rows": sum(row[2] for row in rows), "sum": total, "parts": {"%s %s" % row[:2]: row[2] for row in sorted(rows)}}


QUERY = "SELECT account, modified_month, count(*), sum(real_num) FROM %s GROUP BY ALL"
PLAIN = "SELECT account, modified_month, count(*) AS rows, sum(real_num) AS total FROM %s GROUP BY account, modified_month"


class Deltalake:
    def read(self, folder, version, files):
        from deltalake import DeltaTable, QueryBuilder
        table = DeltaTable(folder, version=version)
        found = QueryBuilder().register("held", table).execute(PLAIN % "held")
        import pyarrow
        return [tuple(row.values()) for row in pyarrow.table(found.read_all()).to_pylist()]


class Polars:
    def read(self, folder, version, files):
        import polars
        held = polars.scan_delta(folder, version=version)
        return held.group_by("account", "modified_month").agg(polars.len(), polars.col("real_num").sum()).collect().rows()


class DuckDb:
    def __init__(self):
        import duckdb
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        self.db.execute("LOAD '%s'" % next(glob.iglob(sys.prefix + "/lib/*/site-packages/duckdb_ext/**/delta.duckdb_extension", recursive=True)))

    def read(self, folder, version, files):
        self.db.execute("ATTACH '%s' AS held (TYPE delta, VERSION %d)" % (folder.replace("'", "''"), version))
        found = self.db.execute(QUERY % "held").fetchall()
        self.db.execute("DETACH held")
        return found


class Daft:
    def read(self, folder, version, files):
        import daft
        held = daft.read_deltalake(folder, version=version)
        found = held.groupby("account", "modified_month").agg(daft.col("_commit_id").count().alias("rows"), daft.col("real_num").sum().alias("total"))
        return [tuple(row[name] for name in ("account", "modified_month", "rows", "total")) for row in found.to_pylist()]


class Sail:
    def __init__(self):
        from pysail.spark import SparkConnectServer
        from pyspark.sql import SparkSession
        server = SparkConnectServer()
        server.start()
        _, port = server.listening_address
        self.server, self.spark = server, SparkSession.builder.remote("sc://localhost:%d" % port).getOrCreate()

    def read(self, folder, version, files):
        held = self.spark.read.format("delta").option("versionAsOf", str(version)).load(folder)
        held.createOrReplaceTempView("held")
        return [tuple(row) for row in self.spark.sql(PLAIN % "held").collect()]


class Files:
    def read(self, folder, version, files):
        import pyarrow.parquet
        rows = []
        for name in files:
            account, month = (part.split("=")[1] for part in name.split("/")[-3:-1])
            held = pyarrow.parquet.ParquetFile(name).read(columns=["real_num"])["real_num"]
            rows.append((account, month, len(held), sum((value for value in held.to_pylist() if value is not None), decimal.Decimal(0))))
        parts = {}
        for account, month, count, total in rows:
            before = parts.get((account, month), (0, decimal.Decimal(0)))
            parts[account, month] = (before[0] + count, before[1] + total)
        return [(*key, *value) for key, value in parts.items()]


def refused(folder):
    """What another program must not do, and what it says."""
    import pyarrow
    from deltalake import DeltaTable, write_deltalake
    table = DeltaTable(folder)
    rows = pyarrow.table({"account": ["x"], "modified_month": ["2026-01"]})
    attempts = {
        "vacuum": lambda: table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True),
        "compact": lambda: table.optimize.compact(),
        "z_order": lambda: table.optimize.z_order(["modified"]),
        "delete": lambda: table.delete(),
        "append": lambda: write_deltalake(folder, rows, mode="append", schema_mode="merge"),
    }
    said = {}
    for name, attempt in attempts.items():
        try:
            attempt()
            said[name] = None
        except Exception as error:
            said[name] = "%s: %s" % (type(error).__name__, error)
    return said


def main():
    reader, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        job = json.load(file)
    folders = {table: "%s/%s" % (job["lake"], table) for table in job["tables"]}
    if reader == "refused":
        print(json.dumps({table: refused(folder) for table, folder in folders.items()}))
        return
    reader = {"deltalake": Deltalake, "polars": Polars, "duckdb": DuckDb, "daft": Daft, "sail": Sail, "files": Files}[reader]()
    read = lambda table, version, files: told(reader.read(folders[table], int(version), files))
    print(json.dumps({table: {version: read(table, version, files) for version, files in versions.items()} for table, versions in job["tables"].items()}))
    sys.stdout.flush()


main()
