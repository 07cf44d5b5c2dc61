"""Rows while commits give their place to others, without Spark."""

from __future__ import annotations

import random
import shutil
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from conftest import ordered, wdt_lake
from worlds import World

from wdt_lake_spark import DataLossError, StoreError
from wdt_lake_spark.contract import arrow_schema, columns_of, path_columns, spark_schema
from wdt_lake_spark.log import Log, open_logs
from wdt_lake_spark.read import read_unit
from wdt_lake_spark.ranges import Cover, meet
from wdt_lake_spark.scan import Span, units_of
from wdt_lake_spark.store import LocalStore, store_at

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from wdt_lake_spark.manifest import FileEntry

TABLES = ("purchase_apply", "purchase_apply_detail")
BEIJING = timezone(timedelta(hours=8))
# The first second of it in Beijing.
JUNE = 1780243200
MONTHS = {"2026-05", "2026-06", "2026-07"}


def key(row: dict) -> tuple:
    """Tell a row from every other."""
    return (row["account"], row["purchase_apply_no"], str(row["apply_id"]), row["_commit_id"], row.get("rec_id"))


def plain(rows: list[dict]) -> list[dict]:
    """Leave out the column that the program does not give."""
    return ordered([{name: value for name, value in row.items() if name != "modified_month"} for row in rows])


class Follower:
    """Reads what is new as a stream does, in spans that end anywhere."""

    def __init__(self, lake: Path, table: str) -> None:
        self.table, self.lake = table, lake
        self.at: dict[str, int] = {}
        self.token: str | None = None
        self.seen: set[tuple] = set()
        self.schema = arrow_schema(spark_schema(columns_of(table) + path_columns(table)))

    def plan(self, ends: dict[str, int] | None = None) -> list:
        """Plan what is new up to some manifests, or to the newest."""
        units = []
        for account in ("acme", "beta-2_X"):
            log = Log(store_at(str(self.lake)), account)
            end = (ends or {}).get(account, log.state.number)
            units += units_of(log, self.table, Span(self.at.get(account, 0), end), lambda *_: True)
            self.at[account] = end
        return units

    def read(self, units: list) -> list[dict]:
        """Read what was planned, perhaps long ago."""
        store = store_at(str(self.lake))
        batches = (batch for unit in units for batch in read_unit(store, self.table, unit, self.schema, None))
        rows = [row for batch in batches for row in batch.to_pylist()]
        keys = [key(row) for row in rows]
        assert len(set(keys)) == len(keys), "no row twice in a batch"
        assert not self.seen & set(keys), "no row in two batches"
        self.seen |= set(keys)
        return rows

    def given_by_the_program(self, folder: Path) -> list[dict]:
        """Give what `wdt-lake changes` has for the same reader."""
        out = folder / "new.parquet"
        since = ("--since", self.token) if self.token else ()
        said = wdt_lake("changes", self.table, "--lake", self.lake, "--out", out, *since)
        self.token = said.decode().strip()
        return ordered(pq.read_table(out).to_pylist())


def test_followers_get_what_changes_gives_and_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    seed = 1
    dice = random.Random(seed)
    with World(tmp_path / "lake", seed) as world:
        world.begin()
        exact = [Follower(world.lake, table) for table in TABLES]
        bounded = [Follower(world.lake, table) for table in TABLES]
        late = [Follower(world.lake, table) for table in TABLES]
        for _ in range(12):
            for follower in exact:
                rows = follower.read(follower.plan())
                assert plain(rows) == follower.given_by_the_program(tmp_path)
            for follower in bounded:
                # As far as an odd manifest of each account.
                ends = {name: follower.at.get(name, 0) + dice.randrange(1, 4) for name in ("acme", "beta-2_X")}
                newest = {name: Log(store_at(str(world.lake)), name).state.number for name in ends}
                follower.read(follower.plan({name: min(end, newest[name]) for name, end in ends.items()}))
            planned = [(follower, follower.plan()) for follower in late]
            world.any()
            world.any()
            for follower, units in planned:
                follower.read(units)
        for followers in (exact, bounded, late):
            for follower in followers:
                follower.read(follower.plan())
                held = {key(row) for row in world.rows(follower.table)}
                assert held <= follower.seen, "no row is lost"
        assert len(exact[0].seen) > len(world.rows("purchase_apply")), "rows were replaced meanwhile"


def test_a_whole_read_that_was_planned_before_is_complete_after_what_came_since(tmp_path: Path) -> None:
    with World(tmp_path / "lake") as world:
        world.begin()
        for act in (world.compact, world.refresh, world.rewalk, world.go_on, world.compact, world.expire):
            planned = []
            for table in TABLES:
                follower = Follower(world.lake, table)
                logs = [Log(store_at(str(world.lake)), name) for name in ("acme", "beta-2_X")]
                units = [unit for log in logs for unit in units_of(log, table, Span(), lambda *_: True)]
                planned.append((follower, units, {unit.claims for unit in units}))
            act()
            for follower, units, claims in planned:
                rows = follower.read(units)
                # Of the seconds that were planned it has what stands there now.
                held = [row for row in world.rows(follower.table) if within(row, claims)]
                assert {key(row) for row in held} == {key(row) for row in rows}, act.__name__


def within(row: dict, claims: set) -> bool:
    """Whether a row is of some seconds."""
    second = int((row.get("modified") or row["apply_modified"]).timestamp())
    return any(start <= second <= end for ranges in claims for start, end in ranges)


def planned_of(lake: Path, *spans: Span) -> tuple[str, list]:
    """Plan reads of a lake; the first of its logs."""
    log = next(iter(open_logs(store_at(str(lake)), None).values()))
    return log.account, [(span, units_of(log, TABLES[0], span, lambda *_: True)) for span in spans]


def read_of(lake: Path, units: list, *, fails_on_data_loss: bool = True) -> list[dict]:
    """Read what was planned."""
    schema = arrow_schema(spark_schema(columns_of(TABLES[0]) + path_columns(TABLES[0])))
    store = store_at(str(lake))
    reads = [read_unit(store, TABLES[0], unit, schema, None, fails_on_data_loss=fails_on_data_loss) for unit in units]
    return [row for batches in reads for batch in batches for row in batch.to_pylist()]


SPANS = (Span(), Span(0, 4), Span(1, 4))


@pytest.mark.parametrize("span", SPANS)
def test_a_lake_that_vanished_after_it_was_planned_is_an_error(lake_of, span: Span) -> None:  # noqa: ANN001
    lake = lake_of("refreshed")
    _, [(_, units)] = planned_of(lake, span)
    rows = read_of(lake, units)
    assert rows
    moved = lake.rename(lake.parent / "moved")
    with pytest.raises(StoreError, match="is not the one that was planned from"):
        read_of(lake, units)
    # An empty folder is what stands where a lake is not mounted.
    lake.mkdir()
    with pytest.raises(StoreError, match="is not the one that was planned from"):
        read_of(lake, units)
    lake.rmdir()
    moved.rename(lake)
    assert read_of(lake, units) == rows


@pytest.mark.parametrize("span", SPANS)
def test_an_earlier_copy_of_a_log_in_the_place_of_the_planned_one_is_an_error(lake_of, span: Span) -> None:  # noqa: ANN001
    lake = lake_of("refreshed")
    account, [(_, units)] = planned_of(lake, span)
    folder = lake / f"_manifest/account={account}"
    shutil.rmtree(folder / "_checkpoint")
    for path in sorted((folder / "0000000000000000").iterdir())[-1:]:
        path.unlink()
    # The copy has not what was planned.
    for path in (lake / TABLES[0]).rglob("*.parquet"):
        path.unlink()
    with pytest.raises(StoreError, match="planned from.* ends with manifest 5 and has not the manifest 6"):
        read_of(lake, units)


def test_another_log_of_the_same_length_is_an_error(lake_of) -> None:  # noqa: ANN001
    lake = lake_of("refreshed")
    account, [(_, units)] = planned_of(lake, Span())
    shutil.rmtree(lake / f"_manifest/account={account}/_checkpoint")
    newest = max((lake / f"_manifest/account={account}/0000000000000000").iterdir())
    newest.write_bytes(newest.read_bytes() + b"\n")
    for path in (lake / TABLES[0]).rglob("*.parquet"):
        path.unlink()
    with pytest.raises(StoreError, match="is not the one that was planned from"):
        read_of(lake, units)


def test_rows_that_expire_after_a_batch_was_planned_are_an_error(tmp_path: Path) -> None:
    with World(tmp_path / "lake") as world:
        world.begin()
        world.go_on()
        store = store_at(str(world.lake))
        log = Log(store, "acme")
        end = log.state.number
        landed = [one for one in log.steps_between(0, end) if one.landed.get(TABLES[0])]
        of_june = [one.position.number for one in landed if all(start >= JUNE for start, _ in one.windows)]
        assert 1 < len(of_june) < len(landed)
        spans = {
            "whole": (Span(), False),
            "all": (Span(0, end), True),
            "first": (Span(0, landed[0].position.number), True),
            "behind": (Span(landed[0].position.number - 1, end), True),
            # What the stream has had already may expire.
            "june": (Span(of_june[0] - 1, end), False),
        }
        planned = {name: units_of(log, TABLES[0], span, lambda *_: True) for name, (span, _) in spans.items()}
        world.expire()

        held = {key(row) for row in world.rows(TABLES[0])}
        for name, (_, is_lost) in spans.items():
            assert {key(row) for row in read_of(world.lake, planned[name], fails_on_data_loss=False)} <= held, name
            if is_lost:
                with pytest.raises(DataLossError, match="rows of acme from 2026-05.* expired before the stream was"):
                    read_of(world.lake, planned[name])
            else:
                assert read_of(world.lake, planned[name]), name
        # What had expired when it was planned is missed by nobody.
        log = Log(store, "acme")
        for span in (Span(0, end), Span(0, log.state.number)):
            units = units_of(log, TABLES[0], span, lambda *_: True)
            world.refresh(1)
            assert read_of(world.lake, units)


@pytest.mark.parametrize(
    ("span", "is_lost"), [(Span(0, 4), True), (Span(0, 1), True), (Span(1, 4), False), (Span(), False)]
)
def test_a_batch_whose_rows_expired_since_it_was_planned_is_an_error(lake_of, span: Span, *, is_lost: bool) -> None:  # noqa: ANN001
    lake = lake_of("expired")
    expiry = max((lake / "_manifest/account=sandbox/0000000000000000").iterdir())
    data = expiry.read_bytes()
    expiry.unlink()
    account, [(_, units)] = planned_of(lake, span)
    expiry.write_bytes(data)
    # What is open of the month has stayed.
    rows = read_of(lake, units, fails_on_data_loss=False)
    assert rows
    if is_lost:
        with pytest.raises(DataLossError, match=f"rows of {account} from 2026-05.* expired before the stream was"):
            read_of(lake, units)
    else:
        assert read_of(lake, units) == rows


class Watched(LocalStore):
    """Remembers the months of the files that were opened."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root), root)
        self.opened: set[str | None] = set()

    def open_verified(self, entry: FileEntry) -> IO[bytes]:
        self.opened.add(entry.month)
        return super().open_verified(entry)


def test_a_bounded_stream_over_a_compacted_lake_opens_no_files_of_other_months(tmp_path: Path) -> None:
    schema = arrow_schema(spark_schema(columns_of(TABLES[0]) + path_columns(TABLES[0])))
    with World(tmp_path / "lake") as world:
        # A month that is over is put together when it has more than four commits.
        for day in (
            *(f"05-{day}" for day in (12, 16, 20, 24, 28, 31)),
            *(f"06-{day:02}" for day in range(5, 31, 5)),
            "07-04",
        ):
            world.sync("acme", 0, "--from", "2026-05-07", "--to", f"2026-{day}")
        store = Watched(world.lake)
        before = Log(store, "acme")
        steps = [step for step in before.steps_between(1, before.state.number) if step.landed.get(TABLES[0])]
        spans = [Span(step.position.number - 1, step.position.number) for step in steps]
        early = [units_of(before, TABLES[0], span, lambda *_: True) for span in spans]
        world.compact()
        log = Log(store, "acme")
        assert len(list(log.state.files(TABLES[0]))) == len(MONTHS)
        assert {entry.month for _, files in log.state.files(TABLES[0]) for entry in files} == MONTHS
        months_of_steps = set()
        for step, span, planned_before in zip(steps, spans, early, strict=True):
            months = {f"{datetime.fromtimestamp(at, BEIJING):%Y-%m}" for window in step.windows for at in window}
            months_of_steps |= {*months}
            given = []
            # Whether it was planned before the files moved, or after that.
            for units in (planned_before, units_of(log, TABLES[0], span, lambda *_: True)):
                store.opened.clear()
                batches = [batch for unit in units for batch in read_unit(store, TABLES[0], unit, schema, None)]
                given.append({key(row) for batch in batches for row in batch.to_pylist()})
                assert store.opened <= months
            assert given[0] == given[1] != set()
            assert len(given[0]) == step.landed[TABLES[0]].rows
        assert months_of_steps == MONTHS
        # The commits of a span are told once, and not for each file.
        units = units_of(log, TABLES[0], Span(1, log.state.number), lambda *_: True)
        ids = [file.ids for unit in units for file in unit.files if file.ids is not None]
        assert len(ids) > 1
        assert all(one is ids[0] for one in ids)


def test_ranges_that_were_put_together_meet_what_each_of_them_meets() -> None:
    dice = random.Random(1)
    for _ in range(2000):
        ranges, others = (
            [(start, start + dice.randrange(6)) for start in dice.choices(range(40), k=dice.randrange(5))]
            for _ in range(2)
        )
        assert Cover(ranges).meets(others) == meet(ranges, others), (ranges, others)
