"""Reads a lake as one reader sees it, and prints one JSON object: rows, exact sums, first and last instant, and types of both tables.

    python matrix.py READER LAKE

READER is a name in READERS below, and must be installed, whatever its version; LAKE is a folder. `rows`, `sums` and `instants` must be the
same for each reader; `types` are in the words of the reader, and `version` is what it says of itself. docs/readers.md records what was printed.
"""

import decimal
import glob
import json
import os
import sys

# Of each table the column of modified times.
TABLES = {"purchase_apply": "modified", "purchase_apply_detail": "apply_modified"}
DECIMALS = ("real_num", "ref_num")
# One column of each type of the data contract, and both partition columns.
TYPED = {
    "purchase_apply": ("apply_id", "status", "detail_count", "purchase_apply_no", "real_num", "modified", "account", "modified_month"),
    "purchase_apply_detail": ("rec_id", "detail_index", "spec_no", "ref_num", "apply_modified", "account", "modified_month"),
}


def places(value):
    """A sum as text with four places; a float is said to be one."""
    return "float %r" % value if isinstance(value, float) else format(decimal.Decimal(str(value)), ".4f")


def glob_of(lake, table):
    return "%s/%s/account=*/modified_month=*/*.parquet" % (lake, table)


def files_of(lake, table):
    return sorted(glob.glob(glob_of(lake, table)))


def said(rows, sums, instants, types):
    return {"rows": int(rows), "sums": {name: places(value) for name, value in zip(DECIMALS, sums)},
            "instants": [int(value) for value in instants], "types": types}


def by_sql(row, types, micros, source, wide="sum(%s)"):
    """What a SQL engine says: `row` runs a query of one row, `micros` makes an instant a number of microseconds."""
    for table, modified in TABLES.items():
        sums = ", ".join(wide % name for name in DECIMALS)
        ends = ", ".join(micros % ("%s(%s)" % (end, modified)) for end in ("min", "max"))
        rows, real, ref, low, high = row("SELECT count(*), %s, %s FROM %s" % (sums, ends, source % table))
        yield table, said(rows, (real, ref), (low, high), types(source % table, TYPED[table]))


def by_arrow(table, modified, wanted):
    """What pyarrow says of its own table."""
    import pyarrow as pa
    import pyarrow.compute as pc
    whole = lambda value: value.cast(pa.int64()).as_py()
    sums = [pc.sum(table[name].cast(pa.decimal128(38, 4))).as_py() for name in DECIMALS]
    ends = pc.min_max(table[modified])
    return said(table.num_rows, sums, (whole(ends["min"]), whole(ends["max"])), {name: str(table.schema.field(name).type) for name in wanted})


def duckdb(lake):
    import duckdb as engine
    db = engine.connect()
    source = "read_parquet('%s', hive_partitioning = true)" % glob_of(lake, "%s")
    types = lambda source, wanted: {row[0]: row[1] for row in db.execute("DESCRIBE SELECT * FROM " + source).fetchall() if row[0] in wanted}
    return engine.__version__, by_sql(lambda text: db.execute(text).fetchone(), types, "CAST(epoch(%s) * 1000000 AS BIGINT)", source)


def chdb(lake):
    import chdb as engine
    ask = lambda text: [line.split("\t") for line in str(engine.query(text, "TabSeparated")).splitlines()]
    source = "file('%s', 'Parquet')" % glob_of(lake, "%s")
    types = lambda source, wanted: {row[0]: row[1] for row in ask("DESCRIBE TABLE %s SETTINGS use_hive_partitioning = 1" % source) if row[0] in wanted}
    said = by_sql(lambda text: ask(text + " SETTINGS use_hive_partitioning = 1")[0], types, "toUnixTimestamp64Micro(%s)", source)
    return "%s (ClickHouse %s)" % (engine.__version__, ask("SELECT version()")[0][0]), said


def datafusion(lake):
    import datafusion as engine
    import pyarrow as pa
    context = engine.SessionContext()
    for table in TABLES:
        columns = [("account", pa.string()), ("modified_month", pa.string())]
        context.register_parquet(table, "%s/%s/" % (lake, table), table_partition_cols=columns)
    row = lambda text: [value[0] for value in context.sql(text).to_arrow_table().to_pydict().values()]
    # Two columns of one name are refused, so each expression has its own.
    aliased = lambda text: row(text.replace("SELECT count(*), ", "SELECT count(*) AS a, "))
    types = lambda source, wanted: {field.name: str(field.type) for field in context.sql("SELECT * FROM %s LIMIT 1" % source).schema() if field.name in wanted}
    return engine.__version__, by_sql(aliased, types, "CAST(%s AS BIGINT)", "%s")


def polars(lake):
    import polars as pl

    def each():
        for table, modified in TABLES.items():
            lazy = pl.scan_parquet(glob_of(lake, table), hive_partitioning=True)
            sums = [pl.col(name).cast(pl.Decimal(38, 4)).sum().alias(name) for name in DECIMALS]
            ends = [pl.col(modified).min().dt.epoch("us").alias("low"), pl.col(modified).max().dt.epoch("us").alias("high")]
            rows, real, ref, low, high = lazy.select(pl.count(modified).alias("rows"), *sums, *ends).collect().row(0)
            schema = lazy.collect_schema() if hasattr(lazy, "collect_schema") else lazy.schema
            yield table, said(rows, (real, ref), (low, high), {name: str(schema[name]) for name in TYPED[table]})

    return pl.__version__, each()


def pyarrow(lake):
    import pyarrow as pa
    import pyarrow.dataset as ds
    partitioning = ds.partitioning(pa.schema([("account", pa.string()), ("modified_month", pa.string())]), flavor="hive")
    tables = {table: ds.dataset("%s/%s" % (lake, table), format="parquet", partitioning=partitioning).to_table() for table in TABLES}
    return pa.__version__, ((table, by_arrow(tables[table], modified, TYPED[table])) for table, modified in TABLES.items())


def of_frame(frame, modified, wanted):
    """What a pandas frame holds; where decimals came as floats, their sum is one."""
    sums = [frame[name].dropna().sum() for name in DECIMALS]
    sums = [value if isinstance(value, decimal.Decimal) else float(value) for value in sums]
    ends = [int(end.timestamp()) * 1_000_000 + end.microsecond for end in (frame[modified].min(), frame[modified].max())]
    return said(len(frame), sums, ends, {name: str(frame[name].dtype) for name in wanted})


def pandas(lake):
    import pandas as pd
    import pyarrow
    read = lambda table: pd.read_parquet("%s/%s" % (lake, table), engine="pyarrow")
    return "%s (pyarrow %s)" % (pd.__version__, pyarrow.__version__), ((table, of_frame(read(table), modified, TYPED[table])) for table, modified in TABLES.items())


def fastparquet(lake):
    import fastparquet as engine
    read = lambda table: engine.ParquetFile(files_of(lake, table), root="%s/%s" % (lake, table)).to_pandas()
    return engine.__version__, ((table, of_frame(read(table), modified, TYPED[table])) for table, modified in TABLES.items())


def daft(lake):
    import daft as engine

    def each():
        for table, modified in TABLES.items():
            frame = engine.read_parquet(glob_of(lake, table), hive_partitioning=True)
            types = {field.name: str(field.dtype) for field in frame.schema() if field.name in TYPED[table]}
            yield table, {**by_arrow(frame.to_arrow(), modified, ()), "types": types}

    return engine.__version__, each()


def spark_session(settings):
    from pyspark.sql import SparkSession
    builder = SparkSession.builder.master("local[2]").appName("wdt-lake")
    settings = {"spark.driver.bindAddress": "127.0.0.1", "spark.driver.host": "127.0.0.1", "spark.ui.enabled": "false",
                "spark.sql.shuffle.partitions": "1", "spark.sql.session.timeZone": "Asia/Shanghai", **settings}
    for name, value in settings.items():
        builder = builder.config(name, value)
    return builder.getOrCreate()


def by_spark(session, lake):
    for table in TABLES:
        session.read.parquet("%s/%s" % (lake, table)).createOrReplaceTempView(table)
    types = lambda source, wanted: {name: kind for name, kind in session.table(source).dtypes if name in wanted}
    return session.version, by_sql(lambda text: session.sql(text).collect()[0], types, "unix_micros(%s)", "%s")


def spark(lake):
    return by_spark(spark_session({}), lake)


def spark_rows(lake):
    """Spark without its vectorised reader, which then reads row by row with parquet-java."""
    return by_spark(spark_session({"spark.sql.parquet.enableVectorizedReader": "false"}), lake)


def pysail(lake):
    import pysail
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession
    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    session = SparkSession.builder.remote("sc://127.0.0.1:%d" % server.listening_address[1]).getOrCreate()
    session.conf.set("spark.sql.session.timeZone", "Asia/Shanghai")
    # Read at once: the server ends with this function.
    return pysail.__version__, list(by_spark(session, lake)[1])


READERS = {
    "chdb": chdb, "daft": daft, "datafusion": datafusion, "duckdb": duckdb, "fastparquet": fastparquet, "pandas": pandas, "polars": polars,
    "pyarrow": pyarrow, "pysail": pysail, "spark": spark, "spark-rows": spark_rows,
}


def main():
    name, lake = sys.argv[1], os.path.abspath(sys.argv[2])
    version, tables = READERS[name](lake)
    tables = dict(tables)
    print(json.dumps({"reader": name, "version": version, "python": "%d.%d" % sys.version_info[:2], **tables}))


if __name__ == "__main__":
    main()
