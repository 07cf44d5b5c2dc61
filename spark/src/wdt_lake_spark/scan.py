"""Which files of a log are to be read, and in how many tasks.

What a task reads without being interrupted is a **unit**: the files of one live commit, which are all rows of the
seconds that it covers. No two live commits cover the same second. So where its files have given their place to others
before the task came, the rows of these seconds are read where they are now, and none is read twice or left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from .ranges import Cover

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .log import Log
    from .manifest import Commit, FileEntry, Position, Range

# What opening a file costs, as so many bytes read.
_OPEN_COST = 1 << 18
PARTITION_BYTES = 32 << 20


@dataclass(frozen=True)
class Ids:
    """Rows of which commits are wanted: of these, or of all but these."""

    commits: frozenset[str]
    is_excluding: bool


@dataclass(frozen=True)
class Span:
    """A part of a log: the rows that the manifests `after` + 1 to `last` landed; without `last` all rows there are."""

    after: int = 0
    last: int | None = None


@dataclass(frozen=True)
class ScanFile:
    """A file to be read, and which of its rows are wanted; None: all of them."""

    entry: FileEntry
    ids: Ids | None


@dataclass(frozen=True)
class Unit:
    """What is read as a whole: the seconds it covers, or none for rows that have none, and the files that hold them."""

    account: str
    # The end of the log that it was planned from: whoever reads it later must have a log that goes through it.
    newest: Position | None
    span: Span
    claims: tuple[Range, ...]
    files: tuple[ScanFile, ...]
    # The seconds of the log whose rows had expired then: what expires later was promised to a stream.
    expired: tuple[Range, ...]

    @property
    def cost(self) -> int:
        """Tell what reading it costs, in bytes."""
        return sum(file.entry.bytes + _OPEN_COST for file in self.files)


class Selection:
    """Which files of a log can hold rows of a span. What it must read of the log for that, it reads once."""

    def __init__(self, log: Log, span: Span) -> None:
        """Nothing is read before it is needed."""
        self._log, self._span = log, span

    def files(self, commit: Commit, entries: Iterable[FileEntry]) -> Iterator[ScanFile]:
        """Give the files of a live commit that can hold rows of the span."""
        span = self._span
        if commit.number <= span.after:
            return
        # All rows of a file that is not carried are those of its own commit.
        is_whole = span.last is None or (span.after == 0 and commit.number <= span.last)
        for entry in entries:
            if is_whole or (not entry.carried and span.last is not None and commit.number <= span.last):
                yield ScanFile(entry, None)
            elif entry.carried and self._may_have_moved_to(commit):
                yield ScanFile(entry, self._ids)

    def _may_have_moved_to(self, commit: Commit) -> bool:
        """Whether rows of the span can stand in a commit that came later: only if it covers seconds of theirs."""
        return self._span.after == 0 or not commit.claims or self._seconds.meets(commit.claims)

    @cached_property
    def _ids(self) -> Ids:
        """Which rows are of the span, by the commits that landed them."""
        span, log = self._span, self._log
        is_excluding = span.after == 0
        ends = (span.last or 0, log.state.number) if is_excluding else (span.after, span.last or 0)
        steps = log.steps_between(*ends)
        return Ids(frozenset(one for step in steps for one in step.commits), is_excluding)

    @cached_property
    def _seconds(self) -> Cover:
        """In which seconds the span has landed rows."""
        steps = self._log.steps_between(self._span.after, self._span.last or 0)
        return Cover(window for step in steps for window in step.windows)


def units_of(log: Log, table: str, span: Span, keeps: Callable[[str, FileEntry], bool]) -> list[Unit]:
    """Plan what is to be read of a log. `keeps` tells whether a file of an account can hold rows that are wanted."""
    units: list[Unit] = []
    without_claims: list[ScanFile] = []
    newest, expired = log.state.newest, log.state.expired()
    selection = Selection(log, span)
    for commit, entries in log.state.files(table):
        files = [file for file in selection.files(commit, entries) if keeps(log.account, file.entry)]
        if commit.claims and files:
            units.append(Unit(log.account, newest, span, commit.claims, tuple(files), expired))
        elif files:
            without_claims += files
    if without_claims:
        units.append(Unit(log.account, newest, span, (), tuple(without_claims), expired))
    return sorted(units, key=lambda unit: unit.files[0].entry.path)


def packed(units: Iterable[Unit], target: int) -> list[tuple[Unit, ...]]:
    """Share units out among tasks of about so many bytes."""
    tasks: list[tuple[Unit, ...]] = []
    task: list[Unit] = []
    for unit in units:
        if task and sum(one.cost for one in task) + unit.cost > target:
            tasks.append(tuple(task))
            task = []
        task.append(unit)
    return [*tasks, tuple(task)] if task else tasks
