"""A lake as a stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pyspark
import pytest
from conftest import exported, ordered, wdt_lake
from worlds import World

from wdt_lake_spark import DataLossError, StoreError, WdtLakeDataSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyspark.sql import DataFrame, SparkSession

    from wdt_lake_spark.stream import LakeStreamReader

pytestmark = pytest.mark.skipif(pyspark.__version__ < "4.2", reason="streams need Spark 4.2")
TABLE = "purchase_apply"


class Stopped(Exception):
    """A batch that the test lets fail."""


class Sink:
    """Keeps what came, batch by batch; a batch that comes again replaces what it brought before."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def put(self, batch: DataFrame, number: int) -> None:
        """Keep a batch as a whole or not at all."""
        staged = self.folder / f".{number}"
        pq.write_table(batch.toArrow(), staged)
        staged.rename(self.folder / f"{number:05d}.parquet")

    def batches(self) -> list[list[dict]]:
        """Give the rows, batch by batch."""
        return [pq.read_table(path).to_pylist() for path in sorted(self.folder.glob("*.parquet"))]

    def rows(self) -> list[dict]:
        """Give all rows."""
        return [row for batch in self.batches() for row in batch]


def key(row: dict) -> tuple:
    return row["account"], row["purchase_apply_no"], str(row["apply_id"]), row["_commit_id"]


def run(  # noqa: PLR0913
    spark: SparkSession,
    lake: object,
    folder: Path,
    put: Callable[[DataFrame, int], None],
    table: str = TABLE,
    **options: object,
) -> list[dict]:
    """Run a query until it has read all that there is; its progress."""
    reader = spark.readStream.format("wdt_lake").option("table", table)
    for name, value in options.items():
        reader = reader.option(name, str(value))
    writer = reader.load(str(lake)).writeStream.foreachBatch(put).option("checkpointLocation", str(folder))
    query = writer.trigger(availableNow=True).start()
    query.awaitTermination()
    return [json.loads(progress.json) for progress in query.recentProgress]


def check_complete(sink: Sink, held: list[dict]) -> None:
    """See that no row came twice, and that every row of the lake came."""
    keys = [key(row) for row in sink.rows()]
    assert len(set(keys)) == len(keys), "no row twice"
    assert {key(row) for row in held} <= set(keys), "no row is lost"
    given = {key(row): row for row in sink.rows()}
    assert all(given[key(row)] == {**row, "modified_month": given[key(row)]["modified_month"]} for row in held)


def with_restarts(query: Callable[[], object]) -> None:
    """Start a query again until it ends by itself."""
    for _ in range(20):
        try:
            query()
        except Exception as error:
            if "Stopped" not in str(error):
                raise
        else:
            return
    raise Stopped("it never ended")


def test_a_stream_that_fails_and_is_restarted_loses_and_doubles_nothing(spark: SparkSession, tmp_path: Path) -> None:
    with World(tmp_path / "lake", seed=3) as world:
        world.begin()
        sink = Sink(tmp_path / "sink")
        acts = iter([world.go_on, lambda: world.refresh(1), world.compact, world.rewalk, world.go_on, world.compact])
        tried: list[int] = []

        def put(batch: DataFrame, number: int) -> None:
            # The files of the batch are planned. Now they go, and only then it is read.
            tried.append(number)
            act = next(acts, None)
            if act:
                act()
            sink.put(batch, number)
            if act and len(tried) % 2:
                raise Stopped(number)

        with_restarts(lambda: run(spark, world.lake, tmp_path / "checkpoint", put, maxFilesPerTrigger=2))
        assert next(acts, None) is None, "everything was done beside the stream"
        world.refresh(0)
        world.refresh(1)
        run(spark, world.lake, tmp_path / "checkpoint", put)
        assert len(tried) > len(set(tried)), "batches came again"
        check_complete(sink, world.rows(TABLE))
        assert len(sink.batches()) > 4
        replaced = {key(row) for row in sink.rows()} - {key(row) for row in world.rows(TABLE)}
        assert replaced, "rows were replaced after they had been given"


def test_the_same_batch_again_has_the_same_rows_wherever_they_are(spark: SparkSession, tmp_path: Path) -> None:
    with World(tmp_path / "lake") as world:
        world.begin()
        for _ in range(4):
            world.go_on()
        first: dict[int, list[dict]] = {}

        def put(batch: DataFrame, number: int) -> None:
            if number not in first:
                first[number] = ordered(batch.toArrow().to_pylist())
                raise Stopped(number)
            assert ordered(batch.toArrow().to_pylist()) == first[number]

        for _ in range(3):
            with pytest.raises(Exception, match="Stopped"):
                run(spark, world.lake, tmp_path / "checkpoint", put, maxFilesPerTrigger=4)
            world.compact()
        assert len(first) == 3
        assert all(first.values())


def test_limits_bound_a_batch(tmp_path: Path) -> None:
    from pyspark.sql.streaming.datasource import ReadAllAvailable

    with World(tmp_path / "lake") as world:
        world.begin()
        for _ in range(2):
            world.go_on()
        landed = [rows for account in ("acme", "beta-2_X") for rows in log_rows(world.lake, account)]
        held = sorted(map(key, world.rows(TABLE)))
        for option, most in (
            ("maxRowsPerTrigger", 60),
            ("maxFilesPerTrigger", 1),
            ("maxBytesPerTrigger", 1),
            ("table", TABLE),
        ):
            source = WdtLakeDataSource({"path": str(world.lake), "table": TABLE, option: str(most)})
            reader = source.streamReader(source.schema())
            offset, sizes, given = reader.initialOffset(), [], []
            while (end := reader.latestOffset(offset, reader.getDefaultReadLimit())) != offset:
                tasks = reader.partitions(offset, end)
                rows = [row for task in tasks for batch in reader.read(task) for row in batch.to_pylist()]
                sizes.append(len(rows))
                given += map(key, rows)
                reader.commit(end)
                offset = end
            assert sorted(given) == held
            if option == "maxRowsPerTrigger":
                # A manifest is never split.
                assert all(size <= most or size in landed for size in sizes)
                assert 2 < len(sizes) < len(landed)
            elif option == "table":
                assert len(sizes) == 1
            else:
                assert sorted(sizes) == sorted(landed)
            assert reader.latestOffset(offset, ReadAllAvailable()) == offset


def log_rows(lake: Path, account: str) -> list[int]:
    """Tell how many rows each manifest landed."""
    manifests = [
        json.loads(path.read_bytes()) for path in sorted((lake / f"_manifest/account={account}").glob("0*/*.json"))
    ]
    files = [[file for one in said["commits"] for file in one["files"] if file["table"] == TABLE] for said in manifests]
    return [sum(file["rows"] for file in one) for one in files if one]


def test_offsets_are_tokens_of_changes(spark: SparkSession, tmp_path: Path) -> None:
    with World(tmp_path / "lake") as world:
        world.begin()
        said = wdt_lake("changes", TABLE, "--lake", world.lake, "--out", tmp_path / "new.parquet").decode().strip()
        sink = Sink(tmp_path / "sink")
        progress = run(spark, world.lake, tmp_path / "checkpoint", sink.put)
        assert progress[-1]["sources"][0]["endOffset"] == {"token": said}
        world.go_on()
        world.refresh(1)
        wdt_lake("changes", TABLE, "--lake", world.lake, "--out", tmp_path / "new.parquet", "--since", said)
        since = Sink(tmp_path / "since")
        run(spark, world.lake, tmp_path / "since.checkpoint", since.put, since=said)
        run(spark, world.lake, tmp_path / "checkpoint", sink.put)
        new = pq.read_table(tmp_path / "new.parquet").to_pylist()
        assert (
            {key(row) for row in since.rows()} == {key(row) for row in new} == {key(row) for row in sink.batches()[1]}
        )
        # A compaction alone is no batch.
        world.compact()
        run(spark, world.lake, tmp_path / "checkpoint", sink.put)
        assert len(sink.batches()) == 2
        only = Sink(tmp_path / "only")
        run(spark, world.lake, tmp_path / "only.checkpoint", only.put, account="beta-2_X")
        assert {row["account"] for row in only.rows()} == {"beta-2_X"}


def test_a_stream_of_another_lake_or_table_is_refused(spark: SparkSession, tmp_path: Path, lake_of) -> None:  # noqa: ANN001
    sink = Sink(tmp_path / "sink")
    lake = lake_of("checkpointed")
    run(spark, lake, tmp_path / "checkpoint", sink.put)
    for other, table, why in ((lake_of("plain"), TABLE, "of another lake"), (lake, "stop_reference", "of the table")):
        with pytest.raises(Exception, match=why):
            run(spark, other, tmp_path / "checkpoint", sink.put, table=table)
    # A log that was put back to an earlier state is another log.
    names = sorted((lake / "_manifest/account=sandbox/0000000000000000").iterdir())
    names[-1].unlink()
    for path in (lake / "_manifest/account=sandbox/_checkpoint").iterdir():
        path.unlink()
    with pytest.raises(Exception, match="not what it was"):
        run(spark, lake, tmp_path / "checkpoint", sink.put)


def stream_of(lake: Path, **options: object) -> LakeStreamReader:
    """Give the reader of a stream, without Spark around it."""
    source = WdtLakeDataSource({"path": str(lake), "table": TABLE, **{name: str(one) for name, one in options.items()}})
    return source.streamReader(source.schema())


def test_a_stream_whose_lake_vanishes_says_so_and_does_not_stand_still(lake_of) -> None:  # noqa: ANN001
    lake = lake_of("refreshed")
    reader = stream_of(lake)
    start = reader.initialOffset()
    end = reader.latestOffset(start, reader.getDefaultReadLimit())
    assert end != start
    assert reader.latestOffset(end, reader.getDefaultReadLimit()) == end
    moved = lake.rename(lake.parent / "moved")
    for ask in (
        lambda: reader.latestOffset(end, reader.getDefaultReadLimit()),
        lambda: reader.partitions(start, end),
        reader.prepareForTriggerAvailableNow,
    ):
        with pytest.raises(StoreError, match="the log of sandbox is no longer in the lake"):
            ask()
    moved.rename(lake)
    assert reader.latestOffset(end, reader.getDefaultReadLimit()) == end


def test_a_stream_behind_what_expired_says_so(spark: SparkSession, tmp_path: Path) -> None:
    with World(tmp_path / "lake") as world:
        world.begin()
        sink = Sink(tmp_path / "sink")

        def put(batch: DataFrame, number: int) -> None:
            if number > 0:
                raise Stopped(number)
            sink.put(batch, number)

        with pytest.raises(Exception, match="Stopped"):
            run(spark, world.lake, tmp_path / "checkpoint", put, maxFilesPerTrigger=1)
        world.expire()
        with pytest.raises(Exception, match="expired before the stream was given them"):
            run(spark, world.lake, tmp_path / "checkpoint", sink.put, maxFilesPerTrigger=1)
        run(spark, world.lake, tmp_path / "checkpoint", sink.put, maxFilesPerTrigger=1, failOnDataLoss="false")
        check_complete(sink, world.rows(TABLE))
        # Who begins after it has nothing to miss, however small the batches are.
        late = Sink(tmp_path / "late")
        run(spark, world.lake, tmp_path / "late.checkpoint", late.put, maxFilesPerTrigger=1)
        check_complete(late, world.rows(TABLE))


def rest_of(reader: LakeStreamReader, offset: dict) -> tuple[dict, list[dict]]:
    """Read batches until nothing is new: the last offset, and the rows."""
    rows = []
    while (end := reader.latestOffset(offset, reader.getDefaultReadLimit())) != offset:
        tasks = reader.partitions(offset, end)
        rows += [row for task in tasks for batch in reader.read(task) for row in batch.to_pylist()]
        offset = end
    return offset, rows


def test_rows_that_expire_before_a_task_reads_them_are_a_loss_unless_it_is_told_otherwise(lake_of) -> None:  # noqa: ANN001
    lake = lake_of("expired")
    expiry = max((lake / "_manifest/account=sandbox/0000000000000000").iterdir())
    data = expiry.read_bytes()
    for options in ({}, {"failOnDataLoss": "false"}):
        expiry.unlink()
        reader = stream_of(lake, **options)
        start = reader.initialOffset()
        tasks = reader.partitions(start, reader.latestOffset(start, reader.getDefaultReadLimit()))
        expiry.write_bytes(data)
        if options:
            assert [row for task in tasks for batch in reader.read(task) for row in batch.to_pylist()]
        else:
            with pytest.raises(DataLossError, match="rows of sandbox from 2026-05"):
                [batch for task in tasks for batch in reader.read(task)]


@pytest.mark.parametrize("options", [{}, {"maxFilesPerTrigger": 1}])
def test_what_had_expired_before_a_stream_knew_the_account_is_no_loss(lake_of, options: dict) -> None:  # noqa: ANN001
    lake = lake_of("expired")
    held = {key(row) for row in exported(lake, TABLE)}
    for since in ({}, {"since": TABLE}):
        reader = stream_of(lake, **options, **since)
        _, rows = rest_of(reader, reader.initialOffset())
        assert {key(row) for row in rows} == held
        assert len(rows) == len(held)
    # The account comes when the stream is at work already. Another reader, as after a restart, knows the same.
    log = lake / "_manifest/account=sandbox"
    away = log.rename(lake / "away")
    start = stream_of(lake, **options).initialOffset()
    assert start == {"token": TABLE}
    away.rename(log)
    first = stream_of(lake, **options).latestOffset(start, stream_of(lake, **options).getDefaultReadLimit())
    assert set(first["expired"]) == {"sandbox"}
    assert stream_of(lake, **options).partitions(start, first)
    _, rows = rest_of(stream_of(lake, **options), start)
    assert {key(row) for row in rows} == held


def test_what_expires_after_a_stream_knew_the_account_is_a_loss_whatever_came_first(tmp_path: Path, lake_of) -> None:  # noqa: ANN001
    lake = lake_of("expired")
    expiry = max((lake / "_manifest/account=sandbox/0000000000000000").iterdir())
    data = expiry.read_bytes()
    expiry.unlink()
    # Nothing had expired, and nothing of it has come.
    start = stream_of(lake).initialOffset()
    assert start == {"token": TABLE, "expired": {"sandbox": ""}}
    expiry.write_bytes(data)
    with pytest.raises(DataLossError, match="rows of sandbox from 2026-05"):
        rest_of(stream_of(lake), start)
    assert rest_of(stream_of(lake, failOnDataLoss="false"), start)[1]
    # An account that came later, and waits while others are given theirs.
    with World(tmp_path / "lake") as world:
        for day in ("2026-05-20", "2026-05-31", "2026-06-05"):
            world.sync("acme", 0, "--from", "2026-05-07", "--to", day)
        reader = stream_of(world.lake, maxFilesPerTrigger=1)
        start = reader.initialOffset()
        world.sync("beta-2_X", 0, "--from", "2026-05-07", "--to", "2026-05-31")
        end = reader.latestOffset(start, reader.getDefaultReadLimit())
        assert end["expired"] == {"beta-2_X": ""}
        wdt_lake("expire", "--lake", world.lake, "--account", "beta-2_X", "--before", "2026-06", "--yes")
        with pytest.raises(DataLossError, match="rows of beta-2_X from 2026-05"):
            rest_of(stream_of(world.lake, maxFilesPerTrigger=1), end)


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[4])
from pathlib import Path
from test_stream import Sink, run, session_for_tests
lake, checkpoint, folder = sys.argv[1:4]
sink = Sink(Path(folder))
def put(batch, number):
    batch.count()
    print("in", number, flush=True)
    sys.stdin.readline()
    sink.put(batch, number)
    print("kept", number, flush=True)
    sys.stdin.readline()
run(session_for_tests(), lake, Path(checkpoint), put, maxRowsPerTrigger=150)
"""


def session_for_tests() -> SparkSession:
    """Make a session in a process of its own."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[4]").config("spark.driver.host", "127.0.0.1")
    builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.ui.enabled", "false")
    session = builder.config("spark.driver.memory", "1g").getOrCreate()
    session.dataSource.register(WdtLakeDataSource)
    return session


def test_a_stream_that_is_killed_goes_on_where_it_was(spark: SparkSession, tmp_path: Path) -> None:
    with World(tmp_path / "lake") as world:
        world.begin()
        sink = Sink(tmp_path / "sink")
        arguments = [world.lake, tmp_path / "checkpoint", sink.folder, Path(__file__).parent]
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        try:
            said = ""
            # Killed within a batch: the sink has kept it, and Spark does not know.
            while said != "kept 1":
                said = process.stdout.readline().strip()
                assert said, "the process died by itself"
                if said == "in 1":
                    # It is planned, and read once. Its files go before it is read again.
                    world.compact()
                    world.refresh(1)
                if said != "kept 1":
                    process.stdin.write("\n")
                    process.stdin.flush()
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        world.rewalk()
        assert len(sink.batches()) == 2
        run(spark, world.lake, tmp_path / "checkpoint", sink.put)
        check_complete(sink, world.rows(TABLE))
