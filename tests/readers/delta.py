"""Reads versions of published Delta tables by many readers in one process. Prints one JSON object.

    python delta.py JOB.json

JOB.json: {"readers": [READER], "lakes": {NAME: {"root": FOLDER OR URI, "tables": {TABLE: {VERSION: [FILES]}}}}}. READER is deltalake, polars, duckdb, daft,
sail or clickhouse, which read each version by the Delta log, in a bucket with the AWS_ variables of the environment; or files, which reads the listed
files by pyarrow and knows nothing of Delta; or refused, which tries what must not be done to the newest version of a table.

Of each reader, lake, table and version: the rows, the columns with their types, and a digest of every value of every row that is the same in whatever
order rows come.
"""

import glob
import hashlib
import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def canonical(name, column):
    """A column's type in one vocabulary, and its values as what every reader's Arrow has in common."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return canonical(name, column.cast(kind.value_type))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text", column.to_pylist()
    if pa.types.is_timestamp(kind):
        assert kind.tz is not None, "%s has no time zone" % name
        return "timestamp", column.cast(pa.timestamp("us", kind.tz)).cast(pa.int64()).to_pylist()
    if pa.types.is_decimal(kind):
        return "decimal(%d,%d)" % (kind.precision, kind.scale), [None if value is None else format(value, "f") for value in column.to_pylist()]
    return str(kind), column.to_pylist()


def told(table):
    """What a table says, in whatever order its rows come."""
    if table.num_rows == 0:
        return {"rows": 0}
    names = sorted(table.column_names)
    kinds, values = zip(*(canonical(name, table.column(name)) for name in names))
    digest = hashlib.sha256("\n".join(sorted(map(repr, zip(*values)))).encode())
    return {"rows": table.num_rows, "columns": dict(zip(names, kinds)), "digest": digest.hexdigest()}


def bucket_options():
    return {
        "AWS_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
        "AWS_REGION": os.environ["AWS_REGION"],
        "AWS_ALLOW_HTTP": "true",
    }


def is_bucket(root):
    return root.startswith("s3://")


class Deltalake:
    def read(self, folder, version, files):
        from deltalake import DeltaTable
        options = bucket_options() if is_bucket(folder) else None
        return DeltaTable(folder, version=version, storage_options=options).to_pyarrow_table()


class Polars:
    def read(self, folder, version, files):
        import polars
        options = bucket_options() if is_bucket(folder) else None
        return polars.scan_delta(folder, version=version, storage_options=options).collect().to_arrow()


class DuckDb:
    def __init__(self):
        import duckdb
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        for name in ("delta", "httpfs"):
            self.db.execute("LOAD '%s'" % next(glob.iglob(sys.prefix + "/lib/*/site-packages/duckdb_ext/**/%s.duckdb_extension" % name, recursive=True)))
        if "AWS_ENDPOINT_URL" in os.environ:
            options = bucket_options()
            self.db.execute("CREATE SECRET (TYPE s3, KEY_ID '%s', SECRET '%s', REGION '%s', ENDPOINT '%s', URL_STYLE 'path', USE_SSL false)" % (
                options["AWS_ACCESS_KEY_ID"], options["AWS_SECRET_ACCESS_KEY"], options["AWS_REGION"], options["AWS_ENDPOINT_URL"].split("://")[1]))

    def read(self, folder, version, files):
        self.db.execute("ATTACH '%s' AS held (TYPE delta, VERSION %d)" % (folder.replace("'", "''"), version))
        found = self.db.execute("SELECT * FROM held").fetch_arrow_table()
        self.db.execute("DETACH held")
        return found


class Daft:
    def read(self, folder, version, files):
        import daft
        return daft.read_deltalake(folder, version=version).to_arrow()


class Sail:
    def __init__(self):
        from pysail.spark import SparkConnectServer
        from pyspark.sql import SparkSession
        server = SparkConnectServer()
        server.start()
        _, port = server.listening_address
        self.server, self.spark = server, SparkSession.builder.remote("sc://localhost:%d" % port).getOrCreate()

    def read(self, folder, version, files):
        return self.spark.read.format("delta").option("versionAsOf", str(version)).load(folder).toArrow()


class ClickHouse:
    """Of a bucket only: a server reads no folder by deltaLake()."""

    def read(self, folder, version, files):
        import chdb
        options = bucket_options()
        url = "%s/%s/" % (options["AWS_ENDPOINT_URL"], folder.removeprefix("s3://"))
        found = chdb.query("SELECT * FROM deltaLake('%s', '%s', '%s') SETTINGS delta_lake_snapshot_version = %d" % (
            url, options["AWS_ACCESS_KEY_ID"], options["AWS_SECRET_ACCESS_KEY"], version), "ArrowStream")
        return pa.ipc.open_stream(found.bytes()).read_all() if found.size() else pa.table({})


class Files:
    def read(self, folder, version, files):
        tables = []
        for name in files:
            table = pq.ParquetFile(name).read()
            for part in reversed([part for part in name.split("/")[-3:-1] if "=" in part]):
                key, value = part.split("=")
                table = table.append_column(key, pa.array([value] * table.num_rows, pa.string()))
            tables.append(table)
        return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})


def refused(folder):
    """What another program must not do, and what it says."""
    from deltalake import DeltaTable, write_deltalake
    table = DeltaTable(folder)
    rows = pa.table({"account": ["x"], "modified_month": ["2026-01"]})
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


READERS = {"deltalake": Deltalake, "polars": Polars, "duckdb": DuckDb, "daft": Daft, "sail": Sail, "clickhouse": ClickHouse, "files": Files}


def of_reader(name, lakes):
    if name == "refused":
        return {lake: {table: refused("%s/%s" % (of["root"], table)) for table in of["tables"]} for lake, of in lakes.items()}
    reader = READERS[name]()
    return {
        lake: {
            table: {version: told(reader.read("%s/%s" % (of["root"], table), int(version), files)) for version, files in versions.items()}
            for table, versions in of["tables"].items()
        }
        for lake, of in lakes.items()
    }


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    print(json.dumps({name: of_reader(name, job["lakes"]) for name in job["readers"]}))
    sys.stdout.flush()
    # Without waiting for the threads of servers that end with the process.
    os._exit(0)


if __name__ == "__main__":
    main()
