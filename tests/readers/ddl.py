"""Runs the statements of `wdt-lake schema --format FORMAT --lake LAKE` and reads the tables that they make. Prints one JSON object.

    python ddl.py FORMAT STATEMENTS.sql FOLDER

FORMAT is duckdb, clickhouse, spark or hive; Spark runs the statements of both of the latter, with a metastore of its own in FOLDER. For each
table: rows, exact sums, first and last instant, and the types of some columns, as matrix.py says them.
"""

import json
import sys

import matrix


def statements(text):
    """A script in statements, cut at semicolons that end a line as simple clients do, without lines of comment."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    return [statement for statement in "\n".join(lines).split(";\n") if statement.strip(" \n;")]


def duckdb(made):
    import duckdb as engine
    db = engine.connect()
    for statement in made:
        db.execute(statement)
    about = db.execute("SELECT comment FROM duckdb_columns() WHERE table_name = 'purchase_apply' AND column_name = 'real_num'").fetchone()[0]
    types = lambda source, wanted: {row[0]: row[1] for row in db.execute("DESCRIBE " + source).fetchall() if row[0] in wanted}
    return about, matrix.by_sql(lambda text: db.execute(text).fetchone(), types, "epoch_us(%s)", "%s")


def clickhouse(made):
    from chdb import session
    db = session.Session()
    ask = lambda text: [line.split("\t") for line in str(db.query(text, "TabSeparatedRaw")).splitlines()]
    for statement in made:
        db.query(statement)
    about = ask("SELECT comment FROM system.columns WHERE table = 'purchase_apply' AND name = 'real_num'")[0][0]
    types = lambda source, wanted: {row[0]: row[1] for row in ask("DESCRIBE TABLE " + source) if row[0] in wanted}
    return about, matrix.by_sql(lambda text: ask(text)[0], types, "toUnixTimestamp64Micro(%s)", "%s")


def spark(made, folder):
    session = matrix.spark_session({
        "spark.sql.catalogImplementation": "hive", "spark.sql.warehouse.dir": folder + "/warehouse",
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:;databaseName=%s/metastore;create=true" % folder,
        "spark.driver.extraJavaOptions": "-Dderby.stream.error.file=%s/derby.log" % folder,
    })
    session.sparkContext.setLogLevel("ERROR")
    for statement in made:
        session.sql(statement)
    about = [row.comment for row in session.sql("DESCRIBE purchase_apply").collect() if row.col_name == "real_num"][0]
    types = lambda source, wanted: {name: kind for name, kind in session.table(source).dtypes if name in wanted}
    said = dict(matrix.by_sql(lambda text: session.sql(text).collect()[0], types, "unix_micros(%s)", "%s"))
    partitions = session.sql("SHOW PARTITIONS purchase_apply").collect()
    return about, {**said, "partitions": sorted(row[0] for row in partitions)}.items()


def main():
    name, script, folder = sys.argv[1:]
    with open(script, encoding="utf-8") as file:
        made = statements(file.read())
    if name in ("spark", "hive"):
        about, said = spark(made, folder)
    else:
        about, said = {"clickhouse": clickhouse, "duckdb": duckdb}[name](made)
    print(json.dumps({"comment": about, **dict(said)}))


if __name__ == "__main__":
    main()
