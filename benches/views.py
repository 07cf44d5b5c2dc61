"""Measures the SQL of `wdt-lake views` in DuckDB, of two builds in turn, on two lakes of 2,000,000 headers and 10,000,000 details.

    python benches/views.py FOLDER LAKE BEFORE NOW [--rounds N] [--headers N] [--months N]

It needs duckdb (tests/readers/requirements.txt) and 1 GB of disk. BEFORE and NOW are two programs. LAKE is any lake with rows of both tables: its views
are asked for, and then read the lakes that are made in FOLDER, or were made there by an earlier call of the same sizes.

`once` is a lake that was synced at once: one version a requisition, 3% open. `lived` is one that followed its ERP: a third of the requisitions, with one to
five versions each, 3% open at last and most of them at some time. A lake has a file a month and table. Each query runs in a process of its own with two
threads, the builds in turn, each round in the other order than the one before. Printed are medians: processor time, wall time, peak of resident memory, and
the median of the ratios within the rounds. All builds must give the same answer.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time

import duckdb

LAKES = {"once": 1, "lived": 3}
QUERIES = {
    "open": "SELECT count(*), sum(open_num) FROM purchase_apply_open",
    "latest": "SELECT count(*) FROM purchase_apply_latest",
    "details": "SELECT count(*) FROM purchase_apply_detail_latest",
}
TYPES = {"int64": "BIGINT", "int32": "INTEGER", "int16": "SMALLINT", "utf8": "VARCHAR", "decimal(19,4)": "DECIMAL(19,4)",
         "timestamp(us,UTC)": "TIMESTAMP WITH TIME ZONE"}
RUN = "substr(x, 1, 8) || '-' || substr(x, 9, 4) || '-7' || substr(x, 13, 3) || '-8' || substr(x, 16, 3) || '-' || substr(x, 19, 12)"
LINEAGE = {"apply_id": "r + 1000", "purchase_apply_no": "'CG' || lpad(r::VARCHAR, 14, '0')", "_edition": "'enterprise'", "_run_id": RUN,
           "_extracted_at": "(date_trunc('hour', m) + to_seconds(3700 + (hash(r) % 20)::BIGINT))::TIMESTAMPTZ"}
HEADER = {**LINEAGE, "status": "CASE status_name WHEN 'finished' THEN 90 WHEN 'cancelled' THEN 10 ELSE 40 END", "status_name": "status_name",
          "createor_name": "'user' || (hash(r) % 200)", "name": "'warehouse ' || (hash(r) % 20)", "warehouse_no": "'WH' || (hash(r) % 20)",
          "real_num": "details * 10", "ref_num": "k * 3", "unref_num": "details * 10 - k * 3", "modified": "m::TIMESTAMPTZ",
          "created": "(m - to_hours(k * 30))::TIMESTAMPTZ", "detail_count": "details",
          "remark": "CASE WHEN hash(r) % 3 = 0 THEN 'remark of ' || hash(r, k) END"}
DETAIL = {**LINEAGE, "rec_id": "r * 100 + i", "apply_modified": "m::TIMESTAMPTZ", "detail_index": "i", "spec_no": "'SKU' || (hash(r, i) % 50000)",
          "spec_name": "'spec ' || (hash(r, i) % 50000)", "goods_no": "'G' || (hash(r, i) % 20000)", "goods_name": "'goods ' || (hash(r, i) % 20000)",
          "brand_no": "'B' || (hash(r, i) % 100)", "brand_name": "'brand ' || (hash(r, i) % 100)", "real_num": "10", "ref_num": "k",
          "remark": "CASE WHEN hash(r, i) % 9 = 0 THEN 'line ' || hash(r, i) END"}


def make(folder, headers, months, versions):
    """A lake of about so many headers over so many months; a requisition has 1 to 2 * versions - 1 versions."""
    db = duckdb.connect()
    db.execute("SET TimeZone = 'Asia/Shanghai'")
    requisitions, days = max(1, headers // versions), max(1, months - 1) * 30.4
    db.execute(f"""CREATE TABLE h AS
        SELECT r, k, strftime(m, '%Y-%m') AS month, m, (1 + hash(r, 2) % 9)::INT AS details, md5(strftime(m, '%Y%m%d%H')) AS x,
               CASE WHEN k = n - 1 THEN CASE WHEN hash(r, 1) % 100 < 3 THEN 'to_reference' WHEN hash(r, 1) % 100 < 10 THEN 'cancelled'
                                             ELSE 'finished' END
                    WHEN k = 0 THEN 'to_confirm' ELSE 'partly_referenced' END AS status_name
        FROM (SELECT *, make_timestamp(2023, 1, 1, 0, 0, 0) + to_seconds(CAST(r::DOUBLE / {requisitions} * {days} * 86400 AS BIGINT)
                        + (hash(r * 31 + 7) % 40000)::BIGINT + k * 240000 + (hash(r, k) % 200000)::BIGINT) AS m
              FROM (SELECT r, 1 + (hash(r) % {2 * versions - 1})::INT AS n FROM range({requisitions}) t(r)), unnest(range(n)) u(k))""")
    tables = {"purchase_apply": (HEADER, "h", "r, m"), "purchase_apply_detail": (DETAIL, "h, unnest(range(details)) u(i)", "r, m, i")}
    for table, (given, source, order) in tables.items():
        columns = [f"CAST({given.get(column['name'], 'NULL')} AS {TYPES[column['type']]}) AS {column['name']}" for column in contract(table)]
        for (month,) in db.execute("SELECT DISTINCT month FROM h ORDER BY month").fetchall():
            path = f"{folder}/{table}/account=main/modified_month={month}"
            os.makedirs(path)
            db.execute(f"""COPY (SELECT {", ".join(columns)} FROM {source} WHERE month = '{month}' ORDER BY {order})
                TO '{path}/all.parquet' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 131072)""")


def contract(table):
    """The columns of a table."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "schemas", table + ".json"), encoding="utf-8") as file:
        return json.load(file)["columns"]


def views(name, build, lake, made):
    """The script of a build's views, over a lake that was made; gives its path."""
    script = subprocess.check_output([build, "views", "--engine", "duckdb", "--lake", lake], text=True)
    path = f"{made}-{name}.sql"
    with open(path, "w", encoding="utf-8") as file:
        file.write(script.replace(lake, made))
    return path


def ask(script, query):
    """Runs one query; prints processor and wall time in seconds, the peak in MiB, and what came."""
    db = duckdb.connect()
    db.execute("SET threads = 2")
    with open(script, encoding="utf-8") as file:
        db.execute(file.read())
    begun, before = time.perf_counter(), sum(resource.getrusage(resource.RUSAGE_SELF)[:2])
    answer = db.execute(QUERIES[query]).fetchall()
    wall, used = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps([sum(used[:2]) - before, wall, used.ru_maxrss / 1024, str(answer)]))


def measure(scripts, query, rounds):
    """What each script's query took in each round, the scripts in turn."""
    said = {name: [] for name in scripts}
    for nth in range(rounds):
        for name in sorted(said, reverse=nth % 2 == 1):
            asked = [sys.executable, os.path.abspath(__file__), "ask", scripts[name], query]
            said[name].append(json.loads(subprocess.check_output(asked)))
    answers = {one[3] for many in said.values() for one in many}
    if len(answers) != 1:
        sys.exit(f"the builds do not agree on {query}: {answers}")
    return said


def medians(rows):
    """The median of each of the three figures, as text."""
    return "".join(f"{statistics.median(row[part] for row in rows):8.2f}" for part in range(3))


def main():
    parser = argparse.ArgumentParser(description="Measures the SQL of `wdt-lake views` of two builds in turn.")
    for name in ("folder", "lake", "before", "now"):
        parser.add_argument(name)
    for name, default in (("--rounds", 5), ("--headers", 2_000_000), ("--months", 36)):
        parser.add_argument(name, type=int, default=default)
    args = parser.parse_args()
    lake = os.path.realpath(args.lake)
    print(f"{'lake':8}{'query':9}{'build':8}{'cpu s':>8}{'wall s':>8}{'MiB':>8}")
    for kind, versions in LAKES.items():
        made = f"{os.path.realpath(args.folder)}/{kind}-{args.headers}-{args.months}"
        if not os.path.isdir(made):
            # Under its name only when it is whole: a run that was stopped must not be measured on half a lake.
            half = made + ".half"
            shutil.rmtree(half, ignore_errors=True)
            make(half, args.headers, args.months, versions)
            os.rename(half, made)
        scripts = {name: views(name, os.path.realpath(build), lake, made) for name, build in (("before", args.before), ("now", args.now))}
        for query in QUERIES:
            said = measure(scripts, query, args.rounds)
            for name, rows in said.items():
                print(f"{kind:8}{query:9}{name:8}{medians(rows)}")
            ratios = [[now[part] / before[part] for part in range(3)] for before, now in zip(said["before"], said["now"])]
            print(f"{kind:8}{query:9}{'ratio':8}{medians(ratios)}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["ask"]:
        ask(*sys.argv[2:4])
    else:
        main()
