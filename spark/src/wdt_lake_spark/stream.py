"""A table as a stream of rows that are new, by the rules of `wdt-lake changes`.

The place of a stream is the token of `wdt-lake changes`. A batch from one token to another is the rows that the
manifests between them landed and that stand in the lake when the batch is planned. A row carries the id of the commit
that first landed it, wherever it moves. So the same two tokens give the same rows, wherever these lie by then, less
those that others took the place of meanwhile.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSourceStreamReader, InputPartition
from pyspark.sql.streaming.datasource import (
    ReadAllAvailable,
    ReadLimit,
    ReadMaxBytes,
    ReadMaxFiles,
    ReadMaxRows,
    ReadMinRows,
    SupportsTriggerAvailableNow,
)

from .contract import arrow_schema
from .errors import StoreError, UsageError
from .log import Landed, Log, accounts_of
from .loss import check_loss
from .ranges import without
from .scan import Span, packed, units_of
from .source import LakePartition, Settings, read_partition
from .store import in_parallel
from .token import Token, parse_token

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import pyarrow as pa
    from pyspark.sql.types import StructType

    from .log import Step
    from .manifest import Position, Range

_CHUNK = 64


class Place:
    """How far a stream has come, and what had expired of each account when the stream first saw it."""

    def __init__(self, token: Token, expired: dict[str, tuple[Range, ...]]) -> None:
        """Rows of seconds that had expired then were never promised to the stream.

        An account that is not in `expired` had nothing expired. The stream has seen it if it stands there or in the
        token.
        """
        self.token = token
        self.expired = expired

    @classmethod
    def of(cls, offset: dict[str, Any], table: str) -> Place:
        """Read an offset of Spark."""
        try:
            expired = {
                account: tuple(_range(part) for part in text.split(",") if text)
                for account, text in offset.get("expired", {}).items()
            }
            return cls(parse_token(offset["token"], table), expired)
        except (KeyError, ValueError, AttributeError):
            raise UsageError.of(f"this is no offset of a wdt_lake stream: {offset}", _ANEW) from None

    def offset(self) -> dict[str, Any]:
        """Write it as an offset of Spark."""
        said: dict[str, Any] = {"token": str(self.token)}
        expired = {
            # Seconds of Unix time: what has expired begins with the year 1.
            account: ",".join(f"{start}/{end}" for start, end in ranges)
            for account, ranges in sorted(self.expired.items())
            # An account of the token is known as seen without it.
            if ranges or account not in self.token.places
        }
        if expired:
            said["expired"] = expired
        return said


_ANEW = "see that the checkpoint is of a stream of this table and lake; begin anew with another checkpointLocation"


def _range(text: str) -> Range:
    start, end = map(int, text.split("/"))
    return start, end


class LakeStreamReader(DataSourceStreamReader, SupportsTriggerAvailableNow):
    """Reads what comes to a table."""

    def __init__(self, settings: Settings, schema: StructType) -> None:
        """Nothing is read before Spark asks."""
        self._settings = settings
        self._schema = arrow_schema(schema)
        self._logs: dict[str, Log] = {}
        self._checked: set[str] = set()
        self._target: dict[str, int] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Executors need no logs."""
        return {**self.__dict__, "_logs": {}, "_checked": set(), "_target": None}

    def getDefaultReadLimit(self) -> ReadLimit:  # noqa: N802
        """Bound a batch as the options say."""
        if self._settings.limit is None:
            return ReadAllAvailable()
        name, most = self._settings.limit
        kinds = {
            "maxrowspertrigger": ReadMaxRows,
            "maxfilespertrigger": ReadMaxFiles,
            "maxbytespertrigger": ReadMaxBytes,
        }
        return kinds[name](most)

    def initialOffset(self) -> dict[str, Any]:  # noqa: N802
        """Begin with nothing seen, or behind the token of `since`."""
        settings = self._settings
        token = parse_token(settings.since, settings.table) if settings.since else Token(settings.table)
        # A lake or an account that is not there is an error now, and no stream without rows.
        self._logs = settings.logs()
        return Place(token, {account: log.state.expired() for account, log in self._logs.items()}).offset()

    def latestOffset(self, start: dict[str, Any], limit: ReadLimit) -> dict[str, Any]:  # noqa: N802
        """Go on from a place as far as the limit lets it. Where no row is new, the place stays."""
        place = Place.of(start, self._settings.table)
        self._follow()
        self._check(place.token)
        token = _advance(self._until(), place.token, limit)
        if token is None:
            return start
        # What an account had expired when it came is kept with the batch, so that a restart knows the same.
        seen = place.expired.keys() | place.token.places.keys()
        new = {account: log.state.expired() for account, log in self._logs.items() if account not in seen}
        following = Place(token, {**place.expired, **new})
        self._check_expired(place.token, following)
        return following.offset()

    def reportLatestOffset(self) -> dict[str, Any]:  # noqa: N802
        """Tell the end of the logs, for the progress of the query."""
        ends = {account: log.state.newest for account, log in self._logs.items() if log.state.newest}
        return Place(Token(self._settings.table).moved(ends), {}).offset()

    def prepareForTriggerAvailableNow(self) -> None:  # noqa: N802
        """Keep where the logs end now: the query goes no farther."""
        self._follow()
        self._target = {account: log.state.number for account, log in self._logs.items()}

    def partitions(self, start: dict[str, Any], end: dict[str, Any]) -> list[InputPartition]:
        """Plan a batch. After a restart it may be one that was planned before."""
        settings = self._settings
        before, after = Place.of(start, settings.table), Place.of(end, settings.table)
        self._follow()
        self._check(before.token)
        self._check(after.token)
        self._check_expired(before.token, after)
        units = []
        for account in sorted(after.token.places):
            span = Span(before.token.number(account), after.token.number(account))
            if account in self._logs and span.after < after.token.number(account):
                units += units_of(self._logs[account], settings.table, span, lambda *_: True)
        return [LakePartition(task) for task in packed(units, settings.partition_bytes)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read the rows of a task, on an executor."""
        return read_partition(self._settings, self._schema, partition)

    def commit(self, end: dict[str, Any]) -> None:
        """Forget what is needed no more."""
        token = Place.of(end, self._settings.table).token
        for account, log in self._logs.items():
            log.forget(token.number(account))

    def _follow(self) -> None:
        """Read on in every log, and open those that are new."""
        settings = self._settings
        accounts = accounts_of(settings.store, None)
        gone = sorted(self._logs.keys() - set(accounts))
        if gone:
            # Its log would be read as one to which nothing is added, and the stream would stand still.
            raise StoreError.of(
                f"the log of {gone[0]} is no longer in the lake at {settings.store.uri}",
                "see that the lake is mounted on the driver, or that its variables AWS_ lead to the same bucket; a"
                " query that is started again goes on where it was",
            )
        if settings.accounts is not None:
            accounts = [name for name in accounts if name in settings.accounts]
        in_parallel(lambda log: log.follow(), self._logs.values())
        new = [account for account in accounts if account not in self._logs]
        opened = in_parallel(lambda account: Log(settings.store, account), new)
        self._logs.update(zip(new, opened, strict=True))

    def _until(self) -> list[tuple[Log, int]]:
        """Give each log, and how far the query may go in it."""
        target = self._target
        ends = [(log, log.state.number if target is None else target.get(name, 0)) for name, log in self._logs.items()]
        return [(log, end) for log, end in ends if end]

    def _check(self, token: Token) -> None:
        """See that a token is of these logs."""
        for account, (number, digits) in token.places.items():
            key = f"{account}:{number}:{digits}"
            if key in self._checked or (self._settings.accounts is not None and account not in self._settings.accounts):
                continue
            log = self._logs.get(account)
            position = log.position(number) if log else None
            if position is None or not position.sha256.startswith(digits):
                raise UsageError.of(
                    f"the offset is of another lake, or of a log that is not what it was: manifest {number} of"
                    f" {account} in {self._settings.store.uri}",
                    _ANEW,
                )
            self._checked.add(key)

    def _check_expired(self, before: Token, after: Place) -> None:
        """See that no row has expired that the stream was still to be given."""
        if not self._settings.fails_on_data_loss:
            return
        for account, log in self._logs.items():
            if account in after.token.places:
                expired = without(log.state.expired(), after.expired.get(account, ()))
                ends = before.number(account), after.token.number(account)
                check_loss(log, self._settings.table, *ends, expired)


def _advance(logs: list[tuple[Log, int]], token: Token, limit: ReadLimit) -> Token | None:
    """Tell how far a batch goes; None where nothing is new.

    Manifests are taken in the order of time, whosever they are, so that no account keeps others waiting. One is never
    split: a batch has at least one that landed rows, however many.
    """
    table = token.table
    least = limit.min_rows if isinstance(limit, ReadMinRows) else 1
    if isinstance(limit, (ReadAllAvailable, ReadMinRows)):
        rows, ends = 0, {}
        for log, end in logs:
            begun = token.number(log.account)
            if begun == 0 and end == log.state.number:
                rows += sum(file.rows for _, files in log.state.files(table) for file in files)
            else:
                rows += sum(step.landed.get(table, _NOTHING).rows for step in log.steps_between(begun, end))
            position = log.position(end)
            if position and end > begun:
                ends[log.account] = position
        return token.moved(ends) if rows >= max(least, 1) else None
    budget = _Budget(limit)
    behind = [(log, token.number(log.account), end) for log, end in logs if token.number(log.account) < end]
    in_parallel(lambda one: one[0].steps_between(one[1], min(one[1] + _CHUNK, one[2])), behind)
    heads: list[tuple[datetime, str, int, Step]] = []
    walks = {log.account: _walk(log, token.number(log.account), end) for log, end in logs}
    for account, walk in walks.items():
        _push(heads, account, walk)
    reached: dict[str, Position] = {}
    while heads:
        _, account, _, step = heapq.heappop(heads)
        if not budget.takes(step.landed.get(table, _NOTHING)):
            break
        reached[account] = step.position
        _push(heads, account, walks[account])
    return token.moved(reached) if budget.taken else None


_NOTHING = Landed(0, 0, 0)


def _walk(log: Log, after: int, end: int) -> Iterator[Step]:
    for at in range(after, end, _CHUNK):
        yield from log.steps_between(at, min(at + _CHUNK, end))


def _push(heads: list[tuple[datetime, str, int, Step]], account: str, walk: Iterator[Step]) -> None:
    step = next(walk, None)
    if step:
        heapq.heappush(heads, (step.created_at, account, step.position.number, step))


class _Budget:
    """What a batch may take."""

    def __init__(self, limit: ReadLimit) -> None:
        limits = {ReadMaxRows: "max_rows", ReadMaxFiles: "max_files", ReadMaxBytes: "max_bytes"}
        if type(limit) not in limits:
            raise UsageError.of(f"{type(limit).__name__} is no limit that this package knows", "use maxRowsPerTrigger")
        self._most: int = getattr(limit, limits[type(limit)])
        self._counts = limits[type(limit)].removeprefix("max_")
        self.taken = 0

    def takes(self, landed: Landed) -> bool:
        """Whether a manifest still fits; the first that landed rows always does."""
        more: int = getattr(landed, self._counts)
        if self.taken and more and self.taken + more > self._most:
            return False
        self.taken += more
        return True
