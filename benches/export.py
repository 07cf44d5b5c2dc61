"""Measures `wdt-lake export` beside DuckDB and the SQL of `wdt-lake views`, on a lake of 2,000,000 headers and 10,000,000 details.

    python benches/export.py FOLDER BUILD [--rounds N] [--headers N] [--months N]

It needs duckdb (tests/readers/requirements.txt) and 2 GB of disk. BUILD is a program. The lake is the one of views.py that has followed its ERP (a third of
the requisitions, one to five versions each), with a log: a commit a month. It is made in FOLDER, or was made there by an earlier call of the same sizes.

Then `wdt-lake report` makes a page of it: what it takes, without anything beside it.

Each export writes a Parquet file in a process of its own, and DuckDB copies the same view to one, with two threads, in turn. Both must give the same rows.
Printed are medians: processor time, wall time, and the peak of resident memory.
"""

import argparse
import calendar
import datetime as dt
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys

import duckdb

import views

COMMIT = "01a223d2-5aab-72db-b66e-67cb8ddf%04x"
RUN = "01a223d2-56cd-7461-8943-5d8e8c0f%04x"
ACCOUNT = {"name": "main", "edition": "enterprise", "sid": "main", "host": "127.0.0.1"}
MODIFIED = {"purchase_apply": "modified", "purchase_apply_detail": "apply_modified"}
CASES = {
    "latest": ("purchase_apply", "--latest", "purchase_apply_latest"),
    "open": ("purchase_apply", "--open", "purchase_apply_open"),
    "details": ("purchase_apply_detail", "--latest", "purchase_apply_detail_latest"),
}


def beijing(time):
    return time.strftime("%Y-%m-%dT%H:%M:%S+08:00")


def committed(lake, table, month, window, commit):
    """The file of a table and month under its name, as a manifest says it."""
    folder = f"{table}/account=main/modified_month={month}"
    path = f"{folder}/{window[0]:%Y%m%dT%H%M%S}-{window[1]:%Y%m%dT%H%M%S}-{commit}.parquet"
    os.rename(f"{lake}/{folder}/all.parquet", f"{lake}/{path}")
    with open(f"{lake}/{path}", "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    db = duckdb.connect()
    db.execute("SET TimeZone = 'Asia/Shanghai'")
    column = MODIFIED[table]
    rows, least, most = db.execute(f"SELECT count(*), min({column}), max({column}) FROM read_parquet('{lake}/{path}')").fetchone()
    return {"table": table, "path": path, "bytes": os.path.getsize(f"{lake}/{path}"), "sha256": sha256, "rows": rows,
            "min_modified": beijing(least), "max_modified": beijing(most)}


def log(lake):
    """Writes a manifest a month for the files that were made."""
    folder, previous = f"{lake}/_manifest/account=main/0000000000000000", None
    os.makedirs(folder)
    months = sorted(name.split("=")[1] for name in os.listdir(f"{lake}/purchase_apply/account=main"))
    for number, month in enumerate(months, 1):
        year, of_year = map(int, month.split("-"))
        window = dt.datetime(year, of_year, 1), dt.datetime(year, of_year, calendar.monthrange(year, of_year)[1], 23, 59, 59)
        said = {"start": beijing(window[0]), "end": beijing(window[1])}
        commit = COMMIT % number
        files = [committed(lake, table, month, window, commit) for table in MODIFIED]
        rows = files[0]["rows"]
        proof = {"rule": "count", "grounds": {"total": rows, "rows_after_total": rows, "list_bound": rows, "rows_after_bound": rows, "unreadable": 0},
                 "totals": [rows], "distinct_rows": rows, "rows_landed": rows, "rows_quarantined": 0, "rows_unchanged": 0, "rows_carried": 0,
                 "quarantined_carried": 0, "passes": 1, "calls": 1, "retries": 0, "rows_left": 0, "duplicates": 0}
        manifest = {"format": version(), "contract": version(), "number": number, "id": commit, "run": RUN % number, "account": ACCOUNT,
                    "writer": "benches/export.py", "created_at": said["end"], "previous": previous, "wanted_from": None,
                    "walk": {"window": said, "proof": proof}, "commits": [{"id": commit, "kind": "sync", "window": said, "files": files}],
                    "removes": [], "fences": []}
        line = (json.dumps(manifest, separators=(",", ":")) + "\n").encode()
        with open(f"{folder}/{number:020}.json", "wb") as file:
            file.write(line)
        previous = {"number": number, "sha256": hashlib.sha256(line).hexdigest()}


def version():
    """The version of the data contract, which before 1.0 is that of the lake format too."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "schemas", "purchase_apply.json"), encoding="utf-8") as file:
        return json.load(file)["contract"]


# A process begins with the peak of the one that starts it, which is therefore a small one.
MEASURE = """
import json, os, sys, time
begun = time.perf_counter()
_, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
sys.stderr.write(json.dumps([used.ru_utime + used.ru_stime, time.perf_counter() - begun, used.ru_maxrss / 1024, status]))
"""


def measured(command):
    """Processor and wall time of a command in seconds, and its peak in MiB."""
    said = subprocess.run([sys.executable, "-S", "-E", "-c", MEASURE, *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=True)
    *figures, status = json.loads(said.stderr.rsplit("\n", 1)[-1])
    if status:
        sys.exit(f"{command} failed: {status}")
    return figures


def copy(script, view, out):
    """Copies a view of DuckDB to a file."""
    db = duckdb.connect()
    db.execute("SET threads = 2")
    with open(script, encoding="utf-8") as file:
        db.execute(file.read())
    db.execute(f"COPY (SELECT * FROM {view}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")


def main():
    parser = argparse.ArgumentParser(description="Measures `wdt-lake export` beside DuckDB.")
    parser.add_argument("folder")
    parser.add_argument("build")
    for name, default in (("--rounds", 3), ("--headers", 2_000_000), ("--months", 36)):
        parser.add_argument(name, type=int, default=default)
    args = parser.parse_args()
    lake, build = f"{os.path.realpath(args.folder)}/export-{args.headers}-{args.months}", os.path.realpath(args.build)
    if not os.path.isdir(lake):
        half = lake + ".half"
        shutil.rmtree(half, ignore_errors=True)
        for columns in (views.HEADER, views.DETAIL):
            columns["_commit_id"] = f"'{COMMIT % 0}'"
        views.make(half, args.headers, args.months, views.LAKES["lived"])
        log(half)
        os.rename(half, lake)
    script = views.views("export", build, lake, lake)
    out = {name: f"{os.path.realpath(args.folder)}/{name}.parquet" for name in ("export", "duckdb")}
    print(f"{'case':9}{'by':8}{'cpu s':>8}{'wall s':>8}{'MiB':>8}{'rows':>12}")
    for case, (table, option, view) in CASES.items():
        commands = {"export": [build, "export", table, option, "--lake", lake, "--out", out["export"], "--log-level", "error"],
                    "duckdb": [sys.executable, os.path.abspath(__file__), "copy", script, view, out["duckdb"]]}
        said = {name: [] for name in commands}
        for nth in range(args.rounds):
            for name in sorted(said, reverse=nth % 2 == 1):
                said[name].append(measured(commands[name]))
        names = ", ".join(row[0] for row in duckdb.execute(f"DESCRIBE SELECT * FROM read_parquet('{out['export']}')").fetchall())
        both = [duckdb.execute(f"SELECT count(*), bit_xor(hash(({names}))) FROM read_parquet('{file}')").fetchone() for file in out.values()]
        if both[0] != both[1]:
            sys.exit(f"{case}: they do not agree: {both}")
        for name, rows in said.items():
            print(f"{case:9}{name:8}" + "".join(f"{statistics.median(row[part] for row in rows):8.2f}" for part in range(3)) + f"{both[0][0]:12,}", flush=True)
    page = [build, "report", "--lake", lake, "--out", f"{os.path.realpath(args.folder)}/report.html", "--log-level", "error"]
    said = [measured(page) for _ in range(args.rounds)]
    print(f"{'report':17}" + "".join(f"{statistics.median(row[part] for row in said):8.2f}" for part in range(3)), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["copy"]:
        copy(*sys.argv[2:5])
    else:
        main()
