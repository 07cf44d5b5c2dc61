"""Counts what a glob and the views see of a lake, by DuckDB. Prints one JSON object.

    python kept.py LAKE VIEWS.json

`glob` are the header rows of all files, `latest` and `open` the rows of these views, `details` those of the view of details.
"""

import json
import sys

import duckdb

lake = sys.argv[1].replace("'", "''")
glob = "read_parquet('%s/purchase_apply/account=*/modified_month=*/*.parquet', hive_partitioning = true)" % lake
with open(sys.argv[2], encoding="utf-8") as file:
    script = json.load(file)
for statement in script["setup"] + [view["sql"] for view in script["views"]]:
    duckdb.execute(statement)
count = lambda relation: duckdb.sql("SELECT count(*) FROM %s" % relation).fetchall()[0][0]
views = {"latest": "purchase_apply_latest", "open": "purchase_apply_open", "details": "purchase_apply_detail_latest"}
json.dump({"glob": count(glob), **{name: count(view) for name, view in views.items()}}, sys.stdout)
