"""Reads snapshots of published Iceberg tables by many readers in one process. Prints one JSON object.

    python iceberg.py JOB.json

JOB.json: {"readers": [READER], "tables": {NAME: {"metadata": URI, "snapshots": {ID: [FILES]}}}}. READER is pyiceberg, polars, duckdb or daft, which read
each snapshot by the metadata, in a bucket with the AWS_ variables of the environment; or files, which reads the listed files by pyarrow and knows nothing of
Iceberg; or pruned, which says of the newest snapshot how many files PyIceberg would read for the rows of its last modified day, and how many there are;
or newest, which finds the newest version from any.

Of each reader, table and snapshot: what `told` of delta.py says.
"""

import datetime
import glob
import json
import os
import sys

import pyarrow as pa
import pyarrow.parquet as pq

from delta import bucket_options, told


def properties(uri):
    if not uri.startswith("s3://"):
        return {}
    options = bucket_options()
    return {
        "s3.endpoint": options["AWS_ENDPOINT_URL"],
        "s3.access-key-id": options["AWS_ACCESS_KEY_ID"],
        "s3.secret-access-key": options["AWS_SECRET_ACCESS_KEY"],
        "s3.region": options["AWS_REGION"],
    }


def static(uri):
    from pyiceberg.table import StaticTable
    return StaticTable.from_metadata(uri, properties(uri))


class PyIceberg:
    def read(self, uri, snapshot, files):
        return static(uri).scan(snapshot_id=snapshot).to_arrow()


class Polars:
    def read(self, uri, snapshot, files):
        import polars
        return polars.scan_iceberg(static(uri), snapshot_id=snapshot).collect().to_arrow()


class DuckDb:
    def __init__(self):
        import duckdb
        self.db = duckdb.connect()
        self.db.execute("SET TimeZone = 'UTC'")
        for name in ("avro", "iceberg", "httpfs"):
            self.db.execute("LOAD '%s'" % next(glob.iglob(sys.prefix + "/lib/*/site-packages/duckdb_ext/**/%s.duckdb_extension" % name, recursive=True)))
        if "AWS_ENDPOINT_URL" in os.environ:
            options = bucket_options()
            self.db.execute("CREATE SECRET (TYPE s3, KEY_ID '%s', SECRET '%s', REGION '%s', ENDPOINT '%s', URL_STYLE 'path', USE_SSL false)" % (
                options["AWS_ACCESS_KEY_ID"], options["AWS_SECRET_ACCESS_KEY"], options["AWS_REGION"], options["AWS_ENDPOINT_URL"].split("://")[1]))

    def read(self, uri, snapshot, files):
        # By the folder, so that `version-hint.text` is tried as well.
        folder = uri.rsplit("/metadata/", 1)[0].replace("'", "''")
        return self.db.execute("SELECT * FROM iceberg_scan('%s', snapshot_from_id = %d)" % (folder, snapshot)).fetch_arrow_table()


class Daft:
    def read(self, uri, snapshot, files):
        import daft
        return daft.read_iceberg(static(uri), snapshot_id=snapshot).to_arrow()


class Files:
    def read(self, uri, snapshot, files):
        tables = [self.widened(pq.ParquetFile(name).read()) for name in files]
        return pa.concat_tables(tables, promote_options="default") if tables else pa.table({})

    @staticmethod
    def widened(table):
        """Iceberg has no integers of 16 bits."""
        fields = [field.with_type(pa.int32()) if field.type == pa.int16() else field for field in table.schema]
        return table.cast(pa.schema(fields))


READERS = {"pyiceberg": PyIceberg, "polars": Polars, "duckdb": DuckDb, "daft": Daft, "files": Files}


def pruned(uri):
    table = static(uri)
    name = next(name for name in table.schema().column_names if name in ("modified", "apply_modified"))
    last = max(table.scan(selected_fields=(name,)).to_arrow()[name].to_pylist())
    since = (last - datetime.timedelta(days=1)).isoformat()
    return [len(list(table.scan(row_filter="%s >= '%s'" % (name, since)).plan_files())), len(list(table.scan().plan_files()))]


def newest(uri):
    """The newest version, by `version-hint.text`: its snapshot and its rows."""
    from pyiceberg.io import load_file_io
    folder = uri.rsplit("/", 1)[0]
    hint = load_file_io(properties(uri), uri).new_input(folder + "/version-hint.text").open().read().decode()
    table = static("%s/v%s.metadata.json" % (folder, hint))
    return {"version": int(hint), "snapshot": table.metadata.current_snapshot_id, "rows": table.scan().to_arrow().num_rows}


def of_reader(name, tables):
    if name == "newest":
        return {table: newest(of["metadata"]) for table, of in tables.items()}
    if name == "pruned":
        return {table: pruned(of["metadata"]) for table, of in tables.items()}
    reader = READERS[name]()
    return {
        table: {snapshot: told(reader.read(of["metadata"], int(snapshot), files)) for snapshot, files in of["snapshots"].items()}
        for table, of in tables.items()
    }


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    print(json.dumps({name: of_reader(name, job["tables"]) for name in job["readers"]}))
    sys.stdout.flush()
    # Without waiting for the threads of readers that end with the process.
    os._exit(0)


if __name__ == "__main__":
    main()
