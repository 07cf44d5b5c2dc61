"""Compares every figure of a page of `wdt-lake report` with what DuckDB and the files of the lake say. Prints how many figures there are.

    python report.py PAGE.html LAKE VIEWS.json STATUS.json

VIEWS.json is what `wdt-lake views --json --engine duckdb` prints, STATUS.json what `wdt-lake status --json` does. A figure is an element
`<data data-n="NAME" value="VALUE">`; all figures of one name have one value. The page must be well-formed XML, without a script, an event handler, or an
address of anything that a browser fetches.
"""

import collections
import datetime as dt
import decimal
import glob
import json
import re
import sys
import xml.etree.ElementTree as ElementTree

import duckdb

BEIJING = dt.timezone(dt.timedelta(hours=8))
STATUSES = ("editing", "to_confirm", "to_reference", "partly_referenced", "referenced", "cancelled")
EXPECTED = {}
# Names of which the page may leave out those with 0.
OPTIONAL = re.compile(r"(status|month|reason)/|open.unknown$|warehouses.others|stop/")


def clipped(text):
    return text if len(text) <= 60 else text[:60] + "…"


def shown(text):
    """A text as the page may show it: without what steers others."""
    odd = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u061c\u2028-\u202e\u2066-\u2069\ufffe\uffff\ufeff]")
    return odd.sub("\ufffd", text)


def expect(name, value):
    EXPECTED[shown(name)] = format(value, ".4f") if isinstance(value, decimal.Decimal) else str(value)


def quantity(value):
    return decimal.Decimal(0) if value is None else value


def figures(page):
    root = ElementTree.fromstring(page)
    found = {}
    for element in root.iter():
        for name, value in element.attrib.items():
            assert not name.startswith("on") and name not in ("src", "srcset", "action"), (element.tag, name)
            assert name != "href" or value.startswith("#") or value == "data:,", value
        assert element.tag not in ("script", "iframe", "object", "embed", "base", "form"), element.tag
        if element.tag == "data":
            name, value = element.attrib["data-n"], element.attrib["value"]
            assert found.setdefault(name, value) == value, name
            plain = "".join(element.itertext()).replace(",", "")
            assert decimal.Decimal(plain) == decimal.Decimal(value), (name, plain, value)
    return found


def open_figures(db, as_of):
    sql = db.execute
    rows = sql("SELECT count(*), sum(open_num), count(*) FILTER (open_num IS NULL) FROM purchase_apply_open").fetchone()
    expect("open", rows[0]), expect("open.quantity", quantity(rows[1])), expect("open.unknown", rows[2])
    partly = sql("SELECT count(*), sum(open_num) FROM purchase_apply_open WHERE status_name = 'partly_referenced'").fetchone()
    expect("partly", partly[0]), expect("partly.quantity", quantity(partly[1]))
    told_by = "CASE WHEN coalesce(warehouse_no, '') = '' THEN 'name/' || coalesce(name, '') ELSE 'no/' || warehouse_no END"
    warehouses = sql(f"SELECT account, {told_by}, count(*), sum(coalesce(open_num, 0)) FROM purchase_apply_open GROUP BY 1, 2 ORDER BY 4 DESC, 1, 2").fetchall()
    for account, by, count, open_num in warehouses[:15]:
        column, text = by.split("/", 1)
        key = "warehouse/%s/%s/%s" % (account, column, clipped(text))
        expect(key + "/open", count), expect(key + "/quantity", open_num)
    others = warehouses[15:]
    expect("warehouses.others", len(others)), expect("warehouses.others/open", sum(row[2] for row in others))
    expect("warehouses.others/quantity", sum((row[3] for row in others), decimal.Decimal(0)))
    age = f"date_sub('second', modified, TIMESTAMPTZ '{as_of}') // 86400"
    classes = f"CASE WHEN {age} < 7 THEN 0 WHEN {age} < 30 THEN 1 WHEN {age} < 90 THEN 2 WHEN {age} < 180 THEN 3 ELSE 4 END"
    ages = {row[0]: row[1:] for row in sql(f"SELECT {classes}, count(*), sum(open_num) FROM purchase_apply_open GROUP BY 1").fetchall()}
    for place in range(5):
        count, open_num = ages.get(place, (0, None))
        expect(f"age/{place}/open", count), expect(f"age/{place}/quantity", quantity(open_num))
    # Those that can be stopped and the others are listed apart.
    for edition in ("_edition = 'flagship'", "_edition <> 'flagship'"):
        oldest = sql(f"""SELECT account, purchase_apply_no, open_num FROM purchase_apply_open WHERE status_name = 'partly_referenced' AND {edition}
                         ORDER BY modified, account, purchase_apply_no, apply_id NULLS FIRST LIMIT 20""").fetchall()
        for account, number, open_num in oldest:
            if open_num is not None:
                expect(f"oldest/{account}/{number}", open_num)


def header_figures(db, as_of):
    sql = db.execute
    expect("requisitions", sql("SELECT count(*) FROM purchase_apply_latest").fetchone()[0])
    for status, count in sql("SELECT coalesce(status_name, status::VARCHAR), count(*) FROM purchase_apply_latest GROUP BY 1").fetchall():
        expect("status/" + status, count)
    last = as_of.astimezone(BEIJING)
    months = sql("""SELECT strftime(created AT TIME ZONE 'Asia/Shanghai', '%Y-%m'), coalesce(status_name, 'code'), count(*)
                    FROM purchase_apply_latest GROUP BY 1, 2""").fetchall()
    sums = collections.Counter()
    for month, status, count in months:
        place = "undated"
        if month is not None:
            ago = (last.year - int(month[:4])) * 12 + last.month - int(month[5:])
            place = "later" if ago < 0 else "earlier" if ago > 23 else month
        sums[f"month/{place}/{status}"] += count
    for name, count in sums.items():
        expect(name, count)
    mismatched = sql("""
        WITH sums AS (SELECT account, purchase_apply_no, greatest(coalesce(apply_id, 0), 0) AS id, sum(real_num) AS real_num, sum(ref_num) AS ref_num
                      FROM purchase_apply_detail_latest GROUP BY 1, 2, 3)
        SELECT count(*) FROM purchase_apply_latest AS h LEFT JOIN sums AS d
          ON h.account = d.account AND h.purchase_apply_no = d.purchase_apply_no AND greatest(coalesce(h.apply_id, 0), 0) = d.id
        WHERE h.real_num <> coalesce(d.real_num, 0) OR h.ref_num <> coalesce(d.ref_num, 0)""").fetchone()[0]
    expect("mismatched", mismatched)


def manifest_figures(lake, accounts):
    walks = []
    for name in glob.glob(f"{lake}/_manifest/account=*/[0-9]*/*.json"):
        with open(name, encoding="utf-8") as file:
            manifest = json.load(file)
        at = dt.datetime.fromisoformat(manifest["created_at"]).astimezone(BEIJING)
        proof = manifest.get("walk", {}).get("proof")
        walks.append((at, manifest["account"]["name"], proof))
    last = max(at for at, _, _ in walks).date()
    in_days = lambda days: [(at, account, proof) for at, account, proof in walks if proof and 0 <= (last - at.date()).days < days]
    expect("calls/30", sum(proof["calls"] for _, _, proof in in_days(30)))
    for name, field in (("calls", "calls"), ("retries", "retries"), ("landed", "rows_landed")):
        expect(name + "/366", sum(proof[field] for _, _, proof in in_days(366)))
    for ago in range(30):
        day = last - dt.timedelta(days=ago)
        expect("calls/%s" % day, sum(proof["calls"] for at, _, proof in in_days(30) if at.date() == day))
    for account in accounts:
        expect(f"account/{account}/calls", sum(proof["calls"] for _, name, proof in in_days(30) if name == account))


def account_figures(db, lake, status):
    latest = {row[0]: row[1] for row in db.execute("SELECT account, count(*) FROM purchase_apply_latest GROUP BY 1").fetchall()}
    open_of = {row[0]: row[1:] for row in db.execute("SELECT account, count(*), sum(open_num) FROM purchase_apply_open GROUP BY 1").fetchall()}
    lines = collections.Counter()
    reasons = collections.Counter()
    for name in glob.glob(f"{lake}/_quarantine/account=*/*.jsonl"):
        account = re.search("account=([^/]+)/", name)[1]
        with open(name, encoding="utf-8") as file:
            for line in file:
                lines[account] += 1
                reasons[json.loads(line)["reason"]] += 1
    for reason, count in reasons.items():
        expect("reason/" + reason, count)
    expect("quarantined", sum(lines.values())), expect("gaps", sum(len(one["gaps"]) for one in status))
    pending = sum(len(one["pending_stops"]) for one in status)
    if pending:
        expect("stop/pending", pending)
    for one in status:
        account = one["account"]
        files = f"read_parquet('{lake}/purchase_apply/account={account}/modified_month=*/*.parquet')"
        has_files = glob.glob(f"{lake}/purchase_apply/account={account}/modified_month=*/*.parquet")
        expect(f"account/{account}/versions", db.execute(f"SELECT count(*) FROM {files}").fetchone()[0] if has_files else 0)
        expect(f"account/{account}/requisitions", latest.get(account, 0))
        count, open_num = open_of.get(account, (0, None))
        expect(f"account/{account}/open", count), expect(f"account/{account}/open.quantity", quantity(open_num))
        expect(f"account/{account}/quarantined", lines[account]), expect(f"account/{account}/gaps", len(one["gaps"]))


def main(page, lake, views, status):
    with open(page, encoding="utf-8") as file:
        found = figures(file.read().replace("<!DOCTYPE html>\n", "", 1))
    with open(status, encoding="utf-8") as file:
        status = json.load(file)["accounts"]
    as_of = max(dt.datetime.fromisoformat(one["checked_until"]) for one in status if one["checked_until"])
    db = duckdb.connect()
    with open(views, encoding="utf-8") as file:
        names = [(view["name"], view["sql"]) for view in json.load(file)["views"]]
    for _, sql in names:
        db.execute(sql)
    header_figures(db, as_of)
    open_figures(db, as_of)
    account_figures(db, lake, status)
    manifest_figures(lake, [one["account"] for one in status])
    if "stop_reference_latest" in dict(names):
        for outcome in ("stopped", "refused", "not_stopped", "unknown"):
            count = db.execute("SELECT count(*) FROM stop_reference_latest WHERE outcome = ?", [outcome]).fetchone()[0]
            expect("stop/" + outcome, count)
    wrong = [(name, found.get(name), EXPECTED.get(name)) for name in sorted(found.keys() | EXPECTED.keys())]
    wrong = [(name, ours, theirs) for name, ours, theirs in wrong if ours != theirs]
    wrong = [one for one in wrong if not (OPTIONAL.match(one[0]) and {one[1], one[2]} <= {None, "0", "0.0000"})]
    assert not wrong, wrong[:20]
    print(len(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
