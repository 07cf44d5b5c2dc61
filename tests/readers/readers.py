"""Reads lakes by glob, as one reader sees them, and runs the SQL or the script of `wdt-lake views`. Prints one JSON object.

    python readers.py READER MONTH --lake LAKE [--lake LAKE] [--listed FILES.json] [--views VIEWS.json]

READER is duckdb, pyarrow, polars, spark or clickhouse (its views only), and LAKE a folder or s3://bucket/prefix, reached as AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and
AWS_SECRET_ACCESS_KEY say (not by spark). For each lake and table: rows, columns with their types in one vocabulary, exact sums of decimals,
first and last instant of timestamps, and rows and files of one Beijing month as the reader prunes to it. For each view, and for the example
with its month set to MONTH: every row and the types of its columns, and for the example how many files were read. For the list of files in FILES.json: its rows, and the sum of real_num. Decimals are text with four places, instants microseconds.
"""

import argparse
import datetime as dt
import decimal
import glob
import json
import os
import re
import sys

TABLES = ("purchase_apply", "purchase_apply_detail")
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)


def plain(value):
    if isinstance(value, decimal.Decimal):
        return format(value, ".4f")  # decimal's own formatting, never through a float
    if isinstance(value, dt.datetime):
        return (value - EPOCH) // dt.timedelta(microseconds=1)
    return value


def is_s3(path):
    return path.startswith("s3://")


def endpoint():
    return os.environ["AWS_ENDPOINT_URL"].split("://")[1]


def key():
    return os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]


def parquet_files(folder):
    """What a glob finds below a folder."""
    if not is_s3(folder):
        return glob.glob(folder + "/account=*/modified_month=*/*.parquet")
    import boto3
    bucket, prefix = folder[len("s3://"):].split("/", 1)
    pages = boto3.client("s3", region_name="us-east-1").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix + "/")
    names = [held["Key"] for page in pages for held in page.get("Contents", [])]
    return ["s3://%s/%s" % (bucket, name) for name in names if name.endswith(".parquet")]


class DuckDb:
    TYPES = {"BIGINT": "int64", "INTEGER": "int32", "SMALLINT": "int16", "VARCHAR": "text", "DECIMAL(19,4)": "decimal",
             "TIMESTAMP WITH TIME ZONE": "instant"}

    def __init__(self):
        import duckdb
        self.db = duckdb.connect()
        if "AWS_ENDPOINT_URL" not in os.environ:
            return
        # httpfs comes in a wheel of its own, so that nothing is downloaded here.
        self.sql("LOAD '%s'" % next(glob.iglob(sys.prefix + "/lib/*/site-packages/duckdb_ext/**/httpfs.duckdb_extension", recursive=True)))
        self.sql("CREATE SECRET (TYPE s3, KEY_ID '%s', SECRET '%s', ENDPOINT '%s', URL_STYLE 'path', USE_SSL false)" % (*key(), endpoint()))

    def sql(self, text):
        return self.db.execute(text)

    def types(self, text):
        return {row[0]: row[1].lower() for row in self.sql("DESCRIBE " + text).fetchall()}

    def zone(self):
        return self.sql("SELECT current_setting('TimeZone')").fetchone()[0]

    def rows(self, text):
        # A query that makes something has no rows to give.
        return self.db.sql(text).to_arrow_table().to_pylist()

    def files_of(self, query):
        plan = self.sql("EXPLAIN ANALYZE " + query).fetchall()[0][1]
        return sum(int(number) for number in re.findall(r"Scanning Files: (\d+)/", plan))

    def listed(self, files):
        return self.sql("SELECT count(*), sum(real_num) FROM read_parquet([%s])" % ", ".join("'%s'" % name for name in files)).fetchone()

    def read(self, folder, month):
        source = "read_parquet('%s/account=*/modified_month=*/*.parquet', hive_partitioning = true)" % folder.replace("'", "''")
        columns = {row[0]: self.TYPES[row[1]] for row in self.sql("DESCRIBE SELECT * FROM " + source).fetchall()}
        one = lambda what, where="": self.sql("SELECT %s FROM %s %s" % (what, source, where)).fetchone()
        of_month = "WHERE modified_month = '%s'" % month
        return columns, {
            "rows": one("count(*)")[0],
            "sums": {c: one("sum(%s)" % c)[0] for c in columns if columns[c] == "decimal"},
            "instants": {c: one("epoch_us(min(%s)), epoch_us(max(%s))" % (c, c)) for c in columns if columns[c] == "instant"},
            "month_rows": one("count(*)", of_month)[0],
            "month_files": self.files_of("SELECT sum(real_num) FROM %s %s" % (source, of_month)),
        }


class PyArrow:
    def open(self, files, **options):
        import pyarrow.dataset as ds
        if not is_s3(files[0]):
            return ds.dataset(files, format="parquet", **options)
        import pyarrow.fs
        access, secret = key()
        s3 = pyarrow.fs.S3FileSystem(access_key=access, secret_key=secret, endpoint_override=endpoint(), scheme="http", region="us-east-1")
        return ds.dataset([name[len("s3://"):] for name in files], format="parquet", filesystem=s3, **options)

    def listed(self, files):
        import pyarrow as pa
        import pyarrow.compute as pc
        table = self.open(files).to_table(columns=["real_num"])
        return table.num_rows, pc.sum(table["real_num"].cast(pa.decimal128(38, 4))).as_py()

    def read(self, folder, month):
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.dataset as ds
        types = {pa.int64(): "int64", pa.int32(): "int32", pa.int16(): "int16", pa.string(): "text",
                 pa.decimal128(19, 4): "decimal", pa.timestamp("us", "UTC"): "instant"}
        partitioning = ds.partitioning(pa.schema([("account", pa.string()), ("modified_month", pa.string())]), flavor="hive")
        data = self.open(parquet_files(folder), partitioning=partitioning)
        table, columns = data.to_table(), {field.name: types[field.type] for field in data.schema}
        micros = lambda value: value.cast(pa.int64()).as_py()
        in_month = ds.field("modified_month") == month
        return columns, {
            "rows": table.num_rows,
            "sums": {c: pc.sum(table[c].cast(pa.decimal128(38, 4))).as_py() for c in columns if columns[c] == "decimal"},
            "instants": {c: (micros(pc.min(table[c])), micros(pc.max(table[c]))) for c in columns if columns[c] == "instant"},
            "month_rows": data.count_rows(filter=in_month),
            "month_files": len(list(data.get_fragments(filter=in_month))),
        }


class Polars:
    def __init__(self):
        self.script = {}

    def sql(self, text):
        """Runs lines of the script, or a query over the views that it has registered."""
        exec(text, self.script)

    def collected(self, text):
        is_query = text.startswith("SELECT ")
        return self.script["sql"].execute(text, eager=True) if is_query else eval(text, self.script)

    def types(self, text):
        return {name: str(kind).lower() for name, kind in self.collected(text).schema.items()}

    def zone(self):
        return self.collected("SELECT modified FROM purchase_apply_latest").schema["modified"].time_zone

    def rows(self, text):
        return self.collected(text).to_dicts()

    def files_of(self, query):
        plan = eval(query.replace(".collect()", ".explain()"), self.script)
        return self.scanned(plan)

    @staticmethod
    def scanned(plan):
        # "[first file, ... 3 other sources]" is what is left of the files when the plan is optimised.
        others = re.search(r"(\d+) other (?:sources|files)", plan)
        return plan.count(".parquet") + (int(others.group(1)) if others else 0)

    def scan(self, source, **options):
        import polars as pl
        if is_s3(source if isinstance(source, str) else source[0]):
            access, secret = key()
            options["storage_options"] = {"aws_endpoint_url": os.environ["AWS_ENDPOINT_URL"], "aws_access_key_id": access,
                                          "aws_secret_access_key": secret, "aws_region": "us-east-1", "aws_allow_http": "true"}
        return pl.scan_parquet(source, **options)

    def listed(self, files):
        import polars as pl
        return self.scan(files).select(pl.len(), pl.col("real_num").cast(pl.Decimal(38, 4)).sum()).collect().row(0)

    def read(self, folder, month):
        import polars as pl
        types = {pl.Int64(): "int64", pl.Int32(): "int32", pl.Int16(): "int16", pl.String(): "text",
                 pl.Decimal(19, 4): "decimal", pl.Datetime("us", "UTC"): "instant"}
        lazy = self.scan(folder + "/account=*/modified_month=*/*.parquet", hive_partitioning=True)
        columns = {name: types[kind] for name, kind in lazy.collect_schema().items()}
        one = lambda *what: lazy.select(*what).collect().row(0)
        epoch = lambda column: column.dt.epoch("us")

        def total(name):
            values, wide = one(pl.col(name).count().alias("values"), pl.col(name).cast(pl.Decimal(38, 4)).sum().alias("wide"))
            return wide if values else None  # Polars says 0 where SQL says null

        in_month = lazy.filter(pl.col("modified_month") == month)
        plan = in_month.select("real_num").explain()
        return columns, {
            "rows": one(pl.len())[0],
            "sums": {c: total(c) for c in columns if columns[c] == "decimal"},
            "instants": {c: one(epoch(pl.col(c).min()).alias("low"), epoch(pl.col(c).max()).alias("high"))
                         for c in columns if columns[c] == "instant"},
            "month_rows": in_month.select(pl.len()).collect().item(),
            "month_files": self.scanned(plan),
        }


class ClickHouse:
    """ClickHouse as a library. It says how many rows a query read, and not how many files."""

    def __init__(self):
        from chdb import session
        self.session = session.Session()

    def sql(self, text):
        return self.session.query(text, "ArrowTable")

    def types(self, text):
        described = self.sql("DESCRIBE (%s)" % text).to_pydict()
        return {name: kind.lower() for name, kind in zip(described["name"], described["type"])}

    def zone(self):
        return re.search("'(.*)'", self.types("SELECT modified FROM purchase_apply_latest")["modified"]).group(1).title()

    def rows(self, text):
        return self.sql(text).to_pylist()

    def files_of(self, query):
        return len(self.sql(query.replace("SELECT v.status_name, count(*) AS versions, sum(v.real_num) AS real_num", "SELECT DISTINCT v._path")
                            .replace("SELECT h.status_name,", "SELECT h._path AS _path, h.status_name,").replace("GROUP BY v.status_name", "")))


class Spark:
    TYPES = {"bigint": "int64", "int": "int32", "smallint": "int16", "string": "text", "decimal(19,4)": "decimal", "timestamp": "instant"}

    def __init__(self):
        from pyspark.sql import SparkSession
        settings = {
            "spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1", "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            # Few rows: starting tasks would take all the time. Plans stay as they were made, so that their files can be counted.
            "spark.sql.shuffle.partitions": "1", "spark.sql.adaptive.enabled": "false",
            "spark.sql.session.timeZone": "UTC",
        }
        builder = SparkSession.builder.master("local[2]").appName("wdt-lake")
        for name, value in settings.items():
            builder = builder.config(name, value)
        self.session = builder.getOrCreate()
        self.session.sparkContext.setLogLevel("ERROR")

    def sql(self, text):
        return self.session.sql(text)

    def types(self, text):
        return dict(self.sql(text).dtypes)

    def zone(self):
        return self.session.conf.get("spark.sql.session.timeZone")

    def rows(self, text):
        return self.sql(text).toArrow().to_pylist()

    def files_of(self, query):
        frame = self.sql(query)
        frame.collect()
        return sum(scanned(frame._jdf.queryExecution().executedPlan()))

    def read(self, folder, month):
        from pyspark.sql import functions as f
        frame = self.session.read.parquet(folder)
        columns = {name: self.TYPES[kind] for name, kind in frame.dtypes}
        decimals = [c for c in columns if columns[c] == "decimal"]
        instants = [c for c in columns if columns[c] == "instant"]
        asked = [f.count("*").alias("rows")] + [f.sum(c).alias("sum_" + c) for c in decimals]
        asked += [f.unix_micros(end(c)).alias(name + c) for c in instants for name, end in (("min_", f.min), ("max_", f.max))]
        got = frame.agg(*asked).collect()[0]
        in_month = frame.filter(f.col("modified_month") == month).agg(f.count("*"), f.sum("real_num"))
        month_rows = in_month.collect()[0][0]
        return columns, {
            "rows": got["rows"],
            "sums": {c: got["sum_" + c] for c in decimals},
            "instants": {c: (got["min_" + c], got["max_" + c]) for c in instants},
            "month_rows": month_rows,
            "month_files": sum(scanned(in_month._jdf.queryExecution().executedPlan())),
        }


def scanned(plan):
    """The files that each scan of an executed Spark plan read."""
    if plan.getClass().getSimpleName() == "FileSourceScanExec":
        yield plan.metrics().apply("numFiles").value()
    children = plan.children()
    for place in range(children.size()):
        yield from scanned(children.apply(place))


def read(reader, folder, month):
    columns, seen = reader.read(folder, month)
    seen["sums"] = {column: plain(value) for column, value in seen["sums"].items()}
    return {"columns": columns, "files": len(parquet_files(folder)), **seen}


def views(reader, said, month):
    for statement in said["setup"]:
        reader.sql(statement)
    for view in said["views"]:
        reader.sql(view["sql"] if "sql" in view else view["python"])
    queries = {view["name"]: "SELECT * FROM " + view["name"] for view in said["views"]}
    queries["example"] = said["example"].replace("2026-10", month)
    shown = {}
    for name, query in queries.items():
        rows = [{column: plain(value) for column, value in row.items()} for row in reader.rows(query)]
        shown[name] = sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))
    types = {name: reader.types(query) for name, query in queries.items()}
    return {"views": shown, "view_types": types, "zone": reader.zone(), "example_files": reader.files_of(queries["example"])}


READERS = {"clickhouse": ClickHouse, "duckdb": DuckDb, "polars": Polars, "pyarrow": PyArrow, "spark": Spark}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("reader")
    parser.add_argument("month")
    parser.add_argument("--lake", action="append", default=[])
    parser.add_argument("--listed")
    parser.add_argument("--views")
    args = parser.parse_args()
    reader = READERS[args.reader]()
    said = {"lakes": [{table: read(reader, lake + "/" + table, args.month) for table in TABLES} for lake in args.lake]}
    if args.listed:
        with open(args.listed, encoding="utf-8") as f:
            rows, total = reader.listed(json.load(f))
            said["listed"] = {"rows": rows, "real_num": plain(total)}
    if args.views:
        with open(args.views, encoding="utf-8") as f:
            said.update(views(reader, json.load(f), args.month))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
