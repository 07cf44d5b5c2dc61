"""Joins the stops of a lake with its requisitions by DuckDB, as a user would. Prints one JSON object.

    python stops.py LAKE VIEWS.json

`joined` has a row for each stop of a requisition that the lake knows: number, outcome, evidence, the vendor's code, and its status before and
after. `columns` are the names and types of `stop_reference`. `latest` is what the view of `wdt-lake views` gives: number, outcome.
"""

import json
import sys

import duckdb

lake = sys.argv[1].replace("'", "''")
read = lambda table: "read_parquet('%s/%s/account=*/**/*.parquet', hive_partitioning = true, union_by_name = true)" % (lake, table)
joined = duckdb.sql("""
    SELECT s.purchase_apply_no, s.outcome, s.evidence, s.error_code, first(h.status ORDER BY h.modified), last(h.status ORDER BY h.modified)
    FROM %s s
    JOIN %s h ON h.account = s.account AND h.purchase_apply_no = s.purchase_apply_no
    GROUP BY ALL
    ORDER BY ALL
""" % (read("stop_reference"), read("purchase_apply"))).fetchall()
columns = [row[:2] for row in duckdb.sql("DESCRIBE SELECT * FROM " + read("stop_reference")).fetchall()]
with open(sys.argv[2], encoding="utf-8") as file:
    script = json.load(file)
for statement in script["setup"] + [view["sql"] for view in script["views"]]:
    duckdb.execute(statement)
latest = duckdb.sql("SELECT purchase_apply_no, outcome FROM stop_reference_latest ORDER BY ALL").fetchall()
json.dump({"joined": joined, "columns": columns, "latest": latest}, sys.stdout)
