"""Compares a lake, as DuckDB and pyarrow read it by glob, with what the ERP holds.

    python check_lake.py --expected VERSIONS.jsonl --lake DIR --edition enterprise|y|flagship

VERSIONS.jsonl has one requisition a line, as the edition's gateway sends it. Values are converted here by Python's own decimal and
datetime, so that nothing is shared with the code under test. Prints `ok` and the counts, or what differs, and exits 1.
"""

import argparse
import datetime as dt
import decimal
import glob
import json
import os
import sys

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

BEIJING = dt.timezone(dt.timedelta(hours=8))
D = decimal.Decimal
ENTERPRISE = {5: "cancelled", 10: "editing", 20: "to_confirm", 23: "to_reference", 25: "partly_referenced", 30: "referenced"}
STATUS = {
    "enterprise": ENTERPRISE,
    "y": {99: "cancelled", 10: "to_confirm", 20: "to_reference", 30: "partly_referenced", 40: "referenced"},
    "flagship": ENTERPRISE,
}

HEADER_TYPES = {
    "apply_id": "BIGINT", "purchase_apply_no": "VARCHAR", "status": "SMALLINT", "status_name": "VARCHAR",
    "createor_name": "VARCHAR", "name": "VARCHAR", "warehouse_no": "VARCHAR", "provider_no": "VARCHAR",
    "provider_name": "VARCHAR", "real_num": "DECIMAL(19,4)", "ref_num": "DECIMAL(19,4)", "unref_num": "DECIMAL(19,4)",
    "expected_time": "TIMESTAMP WITH TIME ZONE", "remark": "VARCHAR", "modified": "TIMESTAMP WITH TIME ZONE",
    "created": "TIMESTAMP WITH TIME ZONE", "detail_count": "INTEGER", "extra": "VARCHAR", "_edition": "VARCHAR",
    "_extracted_at": "TIMESTAMP WITH TIME ZONE", "_run_id": "VARCHAR", "_commit_id": "VARCHAR",
}
DETAIL_TYPES = {
    "rec_id": "BIGINT", "apply_id": "BIGINT", "purchase_apply_no": "VARCHAR", "apply_modified": "TIMESTAMP WITH TIME ZONE",
    "detail_index": "INTEGER", "spec_no": "VARCHAR", "spec_name": "VARCHAR", "goods_no": "VARCHAR", "goods_name": "VARCHAR",
    "short_name": "VARCHAR", "brand_no": "VARCHAR", "brand_name": "VARCHAR", "class_name": "VARCHAR",
    "real_num": "DECIMAL(19,4)", "ref_num": "DECIMAL(19,4)", "stockin_num": "DECIMAL(19,4)", "provider_no": "VARCHAR",
    "provider_name": "VARCHAR", "remark": "VARCHAR", "extra": "VARCHAR", "_edition": "VARCHAR",
    "_extracted_at": "TIMESTAMP WITH TIME ZONE", "_run_id": "VARCHAR", "_commit_id": "VARCHAR",
}
PARTITION_TYPES = {"account": "VARCHAR", "modified_month": "VARCHAR"}


def instant(text):
    if text in (None, "", "0000-00-00 00:00:00", "0000-00-00"):
        return None
    return dt.datetime.strptime(text if " " in text else text + " 00:00:00", "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING)


def quantity(text):
    return None if text in (None, "") else D(text)


def expected_header(r, edition):
    status = {
        "purchase_apply_no": r["purchase_apply_no"], "status": int(r["status"]), "status_name": STATUS[edition].get(int(r["status"])),
        "expected_time": instant(r.get("expected_time")), "remark": r.get("remark"), "modified": instant(r["modified"]),
        "created": instant(r.get("created")), "extra": None, "_edition": edition,
    }
    if edition == "flagship":
        return {
            **status, "apply_id": None, "createor_name": r["apply_name"], "name": r["warehouse_name"],
            "warehouse_no": r["warehouse_no"], "provider_no": r.get("provider_no"), "provider_name": r.get("provider_name"),
            "real_num": None, "ref_num": None, "unref_num": None, "detail_count": len(r["detail_list"]),
        }
    return {
        **status, "apply_id": int(r["apply_id"]), "createor_name": r.get("createtor_name", r.get("createor_name")),
        "name": r.get("name"), "warehouse_no": r.get("warehouse_no"), "provider_no": None, "provider_name": None,
        "real_num": quantity(r.get("real_num")), "ref_num": quantity(r.get("ref_num")), "unref_num": quantity(r.get("unref_num")),
        "detail_count": len(r["details_list"]),
    }


def expected_details(r, edition):
    is_flagship = edition == "flagship"
    for index, d in enumerate(r["detail_list" if is_flagship else "details_list"]):
        yield {
            "rec_id": int(d["rec_id"]), "apply_id": None if is_flagship else int(d["apply_id"]),
            "purchase_apply_no": r["purchase_apply_no"], "apply_modified": instant(r["modified"]), "detail_index": index,
            "real_num": quantity(d.get("num" if is_flagship else "real_num")), "ref_num": quantity(d.get("ref_num")),
            "stockin_num": quantity(d.get("stockin_num")), "extra": None, "_edition": edition,
            **{k: d.get(k) for k in ("spec_no", "spec_name", "goods_no", "goods_name", "short_name", "brand_no", "brand_name",
                                     "class_name", "provider_no", "provider_name", "remark")},
        }


class Checker:
    def __init__(self, lake):
        self.lake, self.wrong = lake, []
        self.db = duckdb.connect()

    def fail(self, text):
        self.wrong.append(text)

    def check(self, table, types, expected, key, month_of):
        pattern = os.path.join(self.lake, table, "account=*", "modified_month=*", "*.parquet")
        files = glob.glob(pattern, recursive=True)
        if not files:
            return self.fail(table + ": no files")
        bare = {r[0]: r[1] for r in self.db.execute("DESCRIBE SELECT * FROM read_parquet(?, hive_partitioning=false)", [files[:1]]).fetchall()}
        if bare != types:
            self.fail("%s: columns in the files are %s" % (table, bare))
        self.db.execute("CREATE VIEW %s AS SELECT * FROM read_parquet('%s', hive_partitioning=true)" % (table, pattern))
        hive = {r[0]: r[1] for r in self.db.execute("DESCRIBE " + table).fetchall()}
        if hive != {**types, **PARTITION_TYPES}:
            self.fail("%s: columns with partitions are %s" % (table, hive))

        names = list(hive)
        rows = [dict(zip(names, r)) for r in self.db.execute("SELECT * FROM " + table).fetchall()]
        self.compare(table + " by DuckDB", rows, expected, key, month_of)
        for column in [c for c, t in types.items() if t.startswith("DECIMAL")]:
            got = self.db.execute("SELECT sum(%s) FROM %s" % (column, table)).fetchone()[0]
            want = [r[column] for r in expected if r[column] is not None]
            if got != (sum(want, D(0)) if want else None):
                self.fail("%s: sum(%s) is %s, not %s" % (table, column, got, sum(want)))

        partitioning = ds.partitioning(pa.schema([("account", pa.string()), ("modified_month", pa.string())]), flavor="hive")
        dataset = ds.dataset(os.path.join(self.lake, table), format="parquet", partitioning=partitioning)
        for name, kind in types.items():
            want = {"BIGINT": pa.int64(), "SMALLINT": pa.int16(), "INTEGER": pa.int32(), "VARCHAR": pa.string(),
                    "DECIMAL(19,4)": pa.decimal128(19, 4), "TIMESTAMP WITH TIME ZONE": pa.timestamp("us", "UTC")}[kind]
            if dataset.schema.field(name).type != want:
                self.fail("%s.%s is %s in pyarrow" % (table, name, dataset.schema.field(name).type))
        self.compare(table + " by pyarrow", dataset.to_table().to_pylist(), expected, key, month_of)

    def compare(self, what, rows, expected, key, month_of):
        if len(rows) != len(expected):
            self.fail("%s: %d rows, not %d" % (what, len(rows), len(expected)))
        got = {tuple(r[k] for k in key): r for r in rows}
        if len(got) != len(rows):
            self.fail("%s: %d rows have the key of another" % (what, len(rows) - len(got)))
        for want in expected:
            row = got.get(tuple(want[k] for k in key))
            if row is None:
                self.fail("%s: %s is missing" % (what, [want[k] for k in key]))
                continue
            for column, value in want.items():
                if row[column] != value:
                    self.fail("%s: %s.%s is %r, not %r" % (what, want["purchase_apply_no"], column, row[column], value))
            if row["modified_month"] != want[month_of].strftime("%Y-%m"):
                self.fail("%s: %s lies in month %s" % (what, want["purchase_apply_no"], row["modified_month"]))
            if row["_extracted_at"] is None or not row["_run_id"] or not row["_commit_id"]:
                self.fail("%s: %s has no lineage" % (what, want["purchase_apply_no"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--expected", required=True)
    parser.add_argument("--lake", required=True)
    parser.add_argument("--edition", required=True, choices=sorted(STATUS))
    args = parser.parse_args()
    with open(args.expected, encoding="utf-8") as f:
        versions = [json.loads(line) for line in f.read().split("\n") if line]
    headers = [expected_header(r, args.edition) for r in versions]
    details = [d for r in versions for d in expected_details(r, args.edition)]
    checker = Checker(args.lake)
    checker.check("purchase_apply", HEADER_TYPES, headers, ("purchase_apply_no", "modified"), "modified")
    checker.check("purchase_apply_detail", DETAIL_TYPES, details, ("purchase_apply_no", "apply_modified", "detail_index"), "apply_modified")
    for text in checker.wrong[:20]:
        print(text)
    if checker.wrong:
        sys.exit("%d differences" % len(checker.wrong))
    print("ok: %d headers, %d details" % (len(headers), len(details)))


if __name__ == "__main__":
    main()
