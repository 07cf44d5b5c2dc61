"""A lake as a data frame."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pyspark
import pytest
from conftest import TABLES, Sandbox, exported, ordered
from worlds import World

from wdt_lake_spark import StoreError, UsageError, WdtLakeDataSource
from wdt_lake_spark.source import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a lake of two accounts and three months, with quantities of nineteen digits."""
    lake = tmp_path_factory.mktemp("lakes") / "of 2 accounts"
    base = ("--requisitions", 2000, "--days", 60, "--end", "2026-07-05", "--hold-clock", "--extremes")
    for seed, name in enumerate(("acme", "b_2-Z")):
        with Sandbox(*base, "--sid", name, "--seed", seed) as sandbox:
            sandbox.sync(lake, "--from", "2026-05-07", "--to", "2026-07-05")
    return lake


def load(spark: SparkSession, lake: object, table: str = "purchase_apply", **options: object) -> DataFrame:
    """Read a table."""
    reader = spark.read.format("wdt_lake").option("table", table)
    for name, value in options.items():
        reader = reader.option(name.rstrip("_"), str(value))
    return reader.load(str(lake))


def rows_of(frame: DataFrame) -> list[dict]:
    """Give rows by Arrow, and so with exact decimals and instants; without the column that `export` lacks."""
    return ordered(frame.drop("modified_month").toArrow().to_pylist())


@pytest.mark.parametrize("table", TABLES[:2])
def test_values_are_those_of_duckdb_and_pyarrow(spark: SparkSession, lake: Path, table: str) -> None:
    frame = load(spark, lake, table)
    assert rows_of(frame) == exported(lake, table)
    time = "modified" if table == "purchase_apply" else "apply_modified"
    query = (
        "SELECT account, modified_month, count(*) AS rows, CAST(sum(real_num) AS VARCHAR) AS total,"
        " CAST(max(real_num) AS VARCHAR) AS most, min({micros}({time})) AS first, max({micros}(_extracted_at)) AS last"
        " FROM {rows} GROUP BY account, modified_month ORDER BY account, modified_month"
    )
    glob = f"read_parquet('{lake}/{table}/account=*/modified_month=*/*.parquet', hive_partitioning = true)"
    wanted = duckdb.sql(query.format(micros="epoch_us", time=time, rows=glob)).fetchall()
    frame.createOrReplaceTempView("rows_of_lake")
    given = spark.sql(query.format(micros="unix_micros", time=time, rows="rows_of_lake").replace("VARCHAR", "STRING"))
    assert [tuple(row) for row in given.collect()] == wanted
    assert len(wanted) == 6
    assert max(len(row[4]) for row in wanted) == 20, "a quantity has nineteen digits"


def test_the_schema_is_that_of_the_contract(spark: SparkSession, lake: Path) -> None:
    schema = load(spark, lake).schema
    types = {field.name: field.dataType.simpleString() for field in schema}
    assert (types["real_num"], types["modified"], types["account"]) == ("decimal(19,4)", "timestamp", "string")
    assert schema["modified"].metadata["comment"].startswith("Last modification")
    assert list(types)[-3:] == ["_commit_id", "account", "modified_month"]
    assert "modified_month" not in load(spark, lake, "stop_reference").columns


def test_columns_can_be_chosen(spark: SparkSession, lake: Path) -> None:
    reader = spark.read.format("wdt_lake").option("table", "purchase_apply")
    frame = reader.schema("account string, real_num decimal(38,4), status bigint").load(str(lake))
    held = exported(lake, "purchase_apply")
    assert ordered(frame.toArrow().to_pylist()) == ordered(
        [{name: row[name] for name in ("account", "real_num", "status")} for row in held]
    )
    assert reader.schema("account string").load(str(lake)).count() == len(held)
    for columns, why in (
        ("real_num double", "cannot be read as double"),
        ("real_num decimal(18,4)", "cannot be read as decimal128(18, 4)"),
        ("nothing string", "there is no column nothing"),
    ):
        with pytest.raises(Exception, match=re.escape(why)):
            reader.schema(columns).load(str(lake)).collect()


def seconds(first: str | None, last: str | None = None) -> tuple[str, str]:
    """Give what the options `from` and `to` mean, in UTC."""
    said = {"path": "/lake", "table": "purchase_apply", "from": first, "to": last}
    start, end = Settings({name: value for name, value in said.items() if value}).range
    times = [datetime.fromtimestamp(second, timezone.utc) if abs(second) < 1 << 39 else None for second in (start, end)]
    return tuple(f"{time:%Y-%m-%d %H:%M:%S}" if time else "ever" for time in times)


def test_times_are_those_that_the_program_takes() -> None:
    assert seconds("2026-07-01", "2026-07-01") == ("2026-06-30 16:00:00", "2026-07-01 15:59:59")
    assert seconds(" 2026-07-01 ") == ("2026-06-30 16:00:00", "ever")
    for text, wanted in (
        ("2026-07-01 08:30", "2026-07-01 00:30:00"),
        ("2026-07-01T08:30", "2026-07-01 00:30:00"),
        ("2026-07-01 08:30:15", "2026-07-01 00:30:15"),
        ("2026-07-01T08:30:15", "2026-07-01 00:30:15"),
        ("2026-07-01T08:30:15Z", "2026-07-01 08:30:15"),
        ("2026-07-01T08:30Z", "2026-07-01 08:30:00"),
        ("2026-07-01 08:30:15+08:00", "2026-07-01 00:30:15"),
        ("2026-07-01T08:30+05:45", "2026-07-01 02:45:00"),
        ("2026-07-01T08:30:15-04:00", "2026-07-01 12:30:15"),
        ("0001-01-01", "-"),
        ("9999-12-31", "-"),
    ):
        if wanted != "-":
            assert seconds(None, text) == ("ever", wanted), text
        else:
            assert Settings({"path": "/lake", "table": "purchase_apply", "from": text}).range
    for text in (
        "20260701",
        "2026-W27",
        "2026-W27-1",
        "2026-W27-3",
        "2026-182",
        "2026-07",
        "2026-7-1",
        "2026-02-30",
        "0000-01-01",
        "2026-07-01Z",
        "2026-07-01T08",
        "2026-07-01T0830",
        "2026-07-01 24:00",
        "2026-07-01 08:60",
        "2026-07-01 08:30:60",
        "2026-07-01 08:30:15.5",
        "2026-07-01x08:30",
        "2026-07-01  08:30",
        "2026-07-01T08:30:15+0800",
        "2026-07-01T08:30:15+08",
        "2026-07-01T08:30:15+08:60",
        "2026-07-01T08:30:15+24:00",
        "２０２６-07-01",
        "yesterday",
    ):
        for first, last in ((text, None), (None, text)):
            with pytest.raises(UsageError, match="is no time\nhint: write 2026-10-01, 2026-10-01 08:30"):
                seconds(first, last)


def reads_only(lake: Path, folder: str, frame_of: Callable[[], DataFrame], tmp_path: Path) -> bool:
    """Whether a query needs the file of a folder of partitions and no other."""
    paths = sorted((lake / "purchase_apply").rglob("*.parquet"))
    for is_hidden in (lambda path: folder not in str(path), lambda path: folder in str(path)):
        hidden = [path for path in paths if is_hidden(path)]
        assert hidden
        for path in hidden:
            path.rename(tmp_path / path.name)
        try:
            frame_of().collect()
            was_enough = True
        except Exception as error:
            assert any(path.name in str(error) for path in hidden), str(error)
            was_enough = False
        finally:
            for path in hidden:
                (tmp_path / path.name).rename(path)
        if was_enough == (folder in str(hidden[0])):
            return False
    return True


def test_options_leave_out_files_and_rows(spark: SparkSession, lake: Path, tmp_path: Path) -> None:
    held = exported(lake, "purchase_apply")

    def chosen(**options: object) -> list[dict]:
        return rows_of(load(spark, lake, **options))

    assert chosen(account="acme") == ordered([row for row in held if row["account"] == "acme"])
    for first, last in (
        ("2026-06-10", "2026-06-20"),
        ("2026-06-30T23:00:00", "2026-07-01 01:30:00"),
        ("2026-06-30", None),
    ):
        options = {"from_": first, **({"to": last} if last else {})}
        wanted = exported(lake, "purchase_apply", "--from", first, *(("--to", last) if last else ()))
        assert chosen(**options) == wanted != []
    july = "account=acme/modified_month=2026-07"
    assert reads_only(lake, july, lambda: load(spark, lake, account="acme", from_="2026-07-02"), tmp_path)


def test_filters_leave_out_files_where_they_are_told_to(spark: SparkSession, lake: Path, tmp_path: Path) -> None:
    condition = "account in ('acme', 'none') and modified >= timestamp'2026-07-01T12:00:00+08:00'"

    def filtered() -> DataFrame:
        return load(spark, lake, pushFilters="true").where(condition)

    held = [row for row in exported(lake, "purchase_apply") if row["account"] == "acme"]
    noon = datetime(2026, 7, 1, 4, tzinfo=timezone.utc)
    assert rows_of(filtered()) == ordered([row for row in held if row["modified"] >= noon])
    assert reads_only(lake, "account=acme/modified_month=2026-07", filtered, tmp_path)


def test_every_filter_gives_the_rows_that_it_gives_without_leaving_out_files(spark: SparkSession, lake: Path) -> None:
    conditions = [
        "account <=> 'b_2-Z' and account like 'b%'",
        "modified_month >= '2026-06' and not modified_month = '2026-06' or real_num > 100",
        "modified < timestamp'2026-05-08T00:00:00+08:00' and account <> 'acme'",
        "modified > timestamp'2026-06-30T23:59:59.5+08:00' and cast(modified as date) <> date'2026-07-02'",
    ]
    plain = load(spark, lake)
    for condition in conditions:
        pushed = load(spark, lake, pushFilters="true").where(condition)
        assert rows_of(pushed) == rows_of(plain.where(condition)), condition


def test_queries_of_one_load_do_not_disturb_each_other(spark: SparkSession, lake: Path) -> None:
    # Spark keeps what it planned for one of them for the others: see `FilteredLakeReader`.
    frame = load(spark, lake)
    whole = frame.count()
    june, july = (frame.where(f"modified_month = '{month}'") for month in ("2026-06", "2026-07"))
    counts = june.count(), july.count()
    assert min(counts) > 0
    assert june.union(july).count() == sum(counts)
    assert frame.count() == whole == len(exported(lake, "purchase_apply"))
    assert july.join(frame, "purchase_apply_no").count() >= counts[1]


def test_a_load_whose_files_were_replaced_is_read_where_the_rows_are(spark: SparkSession, tmp_path: Path) -> None:
    with World(tmp_path / "lake") as world:
        world.begin()
        frame = load(spark, world.lake)
        before = rows_of(frame)
        assert before == world.rows("purchase_apply")
        files = {path for path in (world.lake / "purchase_apply").rglob("*.parquet")}
        world.refresh(1)
        assert files - {path for path in (world.lake / "purchase_apply").rglob("*.parquet")}, "files went"
        # Spark planned it when it was first run: these seconds, wherever they lie now.
        after = rows_of(frame)
        numbers = {row["purchase_apply_no"] for row in before}
        assert numbers <= {row["purchase_apply_no"] for row in after}
        assert len(after) == len({(row["account"], row["purchase_apply_no"], row["apply_id"]) for row in after})
        assert rows_of(load(spark, world.lake)) == world.rows("purchase_apply")


@pytest.mark.parametrize("name", ["stops", "expired"])
def test_golden_lakes(spark: SparkSession, lake_of, name: str) -> None:  # noqa: ANN001
    lake = lake_of(name)
    for table in TABLES:
        assert rows_of(load(spark, lake, table)) == exported(lake, table)


def test_an_empty_lake_is_an_empty_table(spark: SparkSession, tmp_path: Path) -> None:
    with Sandbox("--requisitions", 0, "--end", "2026-07-05", "--hold-clock") as sandbox:
        sandbox.sync(tmp_path / "lake", "--from", "2026-06-01")
    for table in TABLES:
        assert rows_of(load(spark, tmp_path / "lake", table)) == []


def test_columns_of_a_later_contract_are_there_and_null_in_older_files(spark: SparkSession, lake_of) -> None:  # noqa: ANN001
    lake = lake_of("plain")
    path = sorted((lake / "_manifest/account=sandbox/0000000000000000").iterdir())[-1]
    said = json.loads(path.read_bytes())
    entry = next(file for file in said["commits"][0]["files"] if file["table"] == "purchase_apply")
    table = pq.read_table(lake / entry["path"], partitioning=None)
    urgent = pa.array(["yes"] * len(table), pa.string())
    table = table.add_column(table.num_columns - 1, "urgent", urgent)
    pq.write_table(table, lake / entry["path"])
    data = (lake / entry["path"]).read_bytes()
    entry.update(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    said.update(contract="1.1", format="1.0")
    path.write_text(json.dumps(said))
    frame = load(spark, lake)
    assert frame.columns[-4:] == ["urgent", "_commit_id", "account", "modified_month"]
    counts = {row["urgent"]: row["count"] for row in frame.groupBy("urgent").count().collect()}
    assert counts["yes"] == len(table)
    assert counts[None] == frame.count() - len(table) > 0


def test_what_is_wrong_is_said(spark: SparkSession, lake_of, tmp_path: Path) -> None:  # noqa: ANN001
    lake = lake_of("plain")
    wrong = [
        ({"table": "orders"}, "there is no table 'orders'"),
        ({"table": ""}, "no table was named"),
        ({"account": "nobody"}, "there is no account nobody"),
        ({"from": "yesterday"}, "'yesterday' is no time"),
        ({"from": "2026-07-01", "to": "2026-06-01"}, "no range"),
        ({"tables": "x"}, "there is no option 'tables'"),
        ({"partitionBytes": "0"}, "whole number"),
        ({"pushFilters": "yes"}, "give true or false"),
        ({"since": "purchase_apply"}, "of streams"),
        ({"maxRowsPerTrigger": "1", "maxFilesPerTrigger": "1"}, "one limit"),
        ({"path": str(tmp_path / "none")}, "no lake"),
        ({"path": "ftp://x/y"}, "cannot be at"),
        ({"path": "s3://AKID:hush@bucket/lake"}, "has a key"),
        ({"path": "s3:///lake"}, "no bucket"),
    ]
    for options, why in wrong:
        source = WdtLakeDataSource({"path": str(lake), "table": "purchase_apply", **options})
        with pytest.raises(UsageError if "no lake" not in why else StoreError, match=why) as error:
            source.reader(source.schema())
        assert "hint: " in str(error.value)
        assert "hush" not in str(error.value)
    with pytest.raises(Exception, match="there is no option 'tables'"):
        load(spark, lake, tables="x")
    path = next((lake / "purchase_apply").rglob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Exception, match=f"(?s){path.name}.*wdt-lake verify"):
        load(spark, lake).collect()


@pytest.mark.skipif(pyspark.__version__ >= "4.2", reason="it has streams")
def test_streams_need_a_newer_spark(spark: SparkSession, lake: Path) -> None:
    with pytest.raises(Exception, match=r"streams need Spark 4\.2"):
        stream = spark.readStream.format("wdt_lake").option("table", "purchase_apply").load(str(lake))
        stream.writeStream.format("noop").start().awaitTermination()


def test_tasks_are_as_large_as_is_wanted(lake: Path) -> None:
    def tasks(partition_bytes: int) -> list:
        options = {"path": str(lake), "table": "purchase_apply", "partitionBytes": str(partition_bytes)}
        source = WdtLakeDataSource(options)
        return source.reader(source.schema()).partitions()

    assert len(tasks(1 << 40)) == 1
    assert len(tasks(1)) == 6
    assert sorted(path for task in tasks(1) for path in task.paths) == sorted(
        str(path.relative_to(lake)) for path in (lake / "purchase_apply").rglob("*.parquet")
    )


def test_nothing_is_written_to_a_lake(spark: SparkSession, lake_of) -> None:  # noqa: ANN001
    lake = lake_of("compacted")

    def listed() -> list[tuple[str, int]]:
        return sorted((str(path), path.stat().st_mtime_ns) for path in lake.rglob("*"))

    before = listed()
    load(spark, lake).count()
    with pytest.raises(Exception, match="(?i)not.*(implement|support)"):
        spark.range(1).write.format("wdt_lake").mode("append").save(str(lake))
    assert listed() == before
