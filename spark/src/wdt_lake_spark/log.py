"""The commit log of an account: opened by its newest checkpoint, proved to its end, and followed from there.

The rules are those of docs/lake-format.md, "The log state" and "Opening". A log that breaks them is a defect, and never
half understood.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from time import monotonic
from typing import TYPE_CHECKING

from .errors import DefectError, FormatError, StoreError, UsageError
from .manifest import (
    ACCOUNT,
    Checkpoint,
    Commit,
    FileEntry,
    Manifest,
    Position,
    Range,
    folder_of,
    is_older_name,
    manifest_path,
    parse_checkpoint,
    parse_manifest,
    parse_manifest_name,
)
from .store import in_parallel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from .store import Store

_READ_AHEAD = 64
_ROOT = "_manifest"
# What the program makes in a lake before there is a row.
_MADE = {_ROOT, "_lease"}
_CHANGED = "the commit log was changed by hand or by another program: run `wdt-lake verify`"


@dataclass(frozen=True)
class Landed:
    """What a manifest has landed in one table that was not there before."""

    files: int
    bytes: int
    rows: int


@dataclass(frozen=True)
class Step:
    """What readers who follow a log keep of each manifest."""

    position: Position
    previous: Position | None
    created_at: datetime
    commits: frozenset[str]
    landed: dict[str, Landed]
    windows: tuple[Range, ...]


def step_of(manifest: Manifest) -> Step:
    """Keep of a manifest what followers need."""
    landed: dict[str, Landed] = {}
    for entry in (entry for commit in manifest.commits.values() for entry in commit.files if not entry.carried):
        was = landed.get(entry.table, Landed(0, 0, 0))
        landed[entry.table] = Landed(was.files + 1, was.bytes + entry.bytes, was.rows + entry.rows)
    return Step(
        position=Position(manifest.number, manifest.sha256),
        previous=manifest.previous,
        created_at=manifest.created_at,
        commits=frozenset(manifest.commits),
        landed=landed,
        windows=tuple(commit.window for commit in manifest.commits.values() if commit.window),
    )


class LogState:
    """What the manifests of a log add up to."""

    def __init__(self, checkpoint: Checkpoint | None = None) -> None:
        """Begin with a checkpoint, or with nothing."""
        self.newest: Position | None = checkpoint.newest if checkpoint else None
        self.live: dict[str, Commit] = dict(checkpoint.live) if checkpoint else {}
        self._binding = checkpoint.binding if checkpoint else None
        self._dead = set(checkpoint.dead) if checkpoint else set()
        self._claims = sorted(claim for commit in self.live.values() for claim in commit.claims)

    @property
    def number(self) -> int:
        """The number of the newest manifest; 0 for none."""
        return self.newest.number if self.newest else 0

    def apply(self, manifest: Manifest, name: str) -> None:
        """Add a manifest, if it may follow."""
        conflict = self._conflict(manifest)
        if conflict:
            raise DefectError.of(
                f"a manifest cannot follow the one before it: {name} ({conflict})",
                _CHANGED,
            )
        for one in manifest.removes:
            for claim in self.live.pop(one).claims:
                del self._claims[bisect_left(self._claims, claim)]
            self._dead.add(one)
        self._dead.update(manifest.fences)
        for one, commit in manifest.commits.items():
            self.live[one] = commit
            for claim in commit.claims:
                self._claims.insert(bisect_left(self._claims, claim), claim)
        self._binding = self._binding or manifest.binding
        self.newest = Position(manifest.number, manifest.sha256)

    def _conflict(self, manifest: Manifest) -> str | None:
        if manifest.number != self.number + 1 or manifest.previous != self.newest:
            return "it names another one as the one before it"
        if manifest.binding and self._binding and manifest.binding != self._binding:
            return "it is of another account of the ERP"
        known = [one for one in manifest.commits if one in self.live or one in self._dead]
        gone = [one for one in manifest.removes if one not in self.live]
        if known or gone or len(set(manifest.removes)) < len(manifest.removes):
            return f"the commit {(known or gone or manifest.removes)[0]} does not stand as it should"
        fenced = [one for one in manifest.fences if one in self.live or one in manifest.commits]
        if fenced:
            return f"it fences {fenced[0]}, which counts"
        taken = {claim for one in manifest.removes for claim in self.live[one].claims}
        claims = sorted(claim for commit in manifest.commits.values() for claim in commit.claims)
        if any(one[1] >= other[0] for one, other in pairwise(claims)):
            return "its windows overlap"
        if any(other not in taken for claim in claims for other in self.overlapping(claim)):
            return "its window is committed already"
        return None

    def overlapping(self, claim: Range) -> Iterator[Range]:
        """Give the live claims that share a second with a range."""
        at = max(bisect_left(self._claims, claim) - 1, 0)
        for other in self._claims[at:]:
            if other[0] > claim[1]:
                return
            if other[1] >= claim[0]:
                yield other

    def expired(self) -> tuple[Range, ...]:
        """Give the seconds whose rows have expired."""
        return tuple(sorted(claim for commit in self.live.values() for claim in commit.expired))

    def files(self, table: str) -> Iterator[tuple[Commit, tuple[FileEntry, ...]]]:
        """Give each live commit that has files of a table, with these."""
        for commit in self.live.values():
            files = tuple(entry for entry in commit.files if entry.table == table)
            if files:
                yield commit, files


class Log:
    """The log of one account, read to its end."""

    def __init__(self, store: Store, account: str) -> None:
        """Open it."""
        self.account = account
        self.steps: dict[int, Step] = {}
        self.contract: str | None = None
        self._store = store
        self._folder = f"{_ROOT}/account={account}"
        self._has_ids = False
        self._is_empty = True
        self._names: dict[int, str] = {}
        self._listed_at = monotonic()
        self.state = self._open()

    def follow(self) -> None:
        """Read what was added since."""
        while True:
            while (manifest := self._read(self.state.number + 1)) is not None:
                self._add(self.state, manifest)
            if not self._goes_on_by_another_name():
                return

    def _goes_on_by_another_name(self) -> bool:
        """Whether the next manifest is there by a name that nobody can ask for.

        A single writer may go on with a log of plain names, and names its manifests with ids: only a listing tells.
        """
        # Where names have ids, or none is known, reading has listed them.
        is_too_early = monotonic() - self._listed_at < self._store.seconds_between_listings
        if self._has_ids or self._is_empty or is_too_early:
            return False
        self._listed_at = monotonic()
        number = self.state.number + 1
        return self._find(f"{self._folder}/{folder_of(number)}", number) is not None

    def steps_between(self, after: int, last: int) -> Iterable[Step]:
        """Give what the manifests `after` + 1 to `last` did, in order."""
        missing = [number for number in range(after + 1, last + 1) if number not in self.steps]
        if self._has_ids:
            self._find_all(missing)
        for at in range(0, len(missing), _READ_AHEAD):
            for number, manifest in zip(
                missing[at:], in_parallel(self._read, missing[at : at + _READ_AHEAD]), strict=False
            ):
                self.steps[number] = step_of(self._there(manifest, number))
        steps = [self.steps[number] for number in range(after + 1, last + 1)]
        follower = self.steps.get(last + 1)
        ends = [follower.previous] if follower else [self.state.newest] if last == self.state.number else []
        told = [step.previous for step in steps[1:]] + ends
        for step, before in zip(steps, told, strict=False):
            if before != step.position:
                raise DefectError.of(
                    f"a manifest is not the one that the next names: {self._name(step.position.number)}",
                    _CHANGED,
                )
        return steps

    def forget(self, number: int) -> None:
        """Forget what the manifests up to a number did."""
        self.steps = {one: step for one, step in self.steps.items() if one > number}
        self._names = {one: name for one, name in self._names.items() if one > number}

    def position(self, number: int) -> Position | None:
        """Give the place behind a manifest, as the log has it; None where the log does not go so far."""
        if number in self.steps:
            return self.steps[number].position
        if number == self.state.number:
            return self.state.newest
        return step_of(self._there(self._read(number), number)).position if 0 < number < self.state.number else None

    def _add(self, state: LogState, manifest: Manifest) -> None:
        state.apply(manifest, self._name(manifest.number))
        self.contract = manifest.contract
        self.steps[manifest.number] = step_of(manifest)

    def _open(self) -> LogState:
        checkpoints = []
        for name in self._store.names(f"{self._folder}/_checkpoint"):
            found = parse_manifest_name(name)
            if found and found[1]:
                checkpoints.append((found[0], found[1], name))
        for number, one, name in sorted(checkpoints, reverse=True):
            data = self._store.get(f"{self._folder}/_checkpoint/{name}")
            checkpoint = parse_checkpoint(data, self.account, number, one) if data else None
            if checkpoint and (state := self._read_from(checkpoint)):
                return state
        state = self._read_from(None)
        if state is None or state.newest is None:
            self._refuse_older()
        return state or LogState()

    def _read_from(self, checkpoint: Checkpoint | None) -> LogState | None:
        """Read all behind a checkpoint; None where that is not one of this log."""
        state = LogState(checkpoint)
        listed = self._list(state.number)
        highest = max(listed, default=0)
        first = self._read(state.number + 1)
        if checkpoint:
            named = first.previous if first else self._ends_with(state.number)
            if named != checkpoint.newest:
                return None
        if first:
            self._add(state, first)
        for at in range(state.number + 1, highest + 1, _READ_AHEAD):
            numbers = range(at, min(at + _READ_AHEAD, highest + 1))
            for number, manifest in zip(numbers, in_parallel(self._read, numbers), strict=True):
                self._add(state, self._there(manifest, number))
        # A listing never says that it is all: the end is where the next number is absent.
        while (manifest := self._read(state.number + 1)) is not None:
            self._add(state, manifest)
        if highest > state.number:
            self._there(None, state.number + 1)
        return state

    def _ends_with(self, number: int) -> Position | None:
        manifest = self._read(number)
        if manifest is None:
            return None
        self.contract = manifest.contract
        return Position(number, manifest.sha256)

    def _list(self, after: int) -> list[int]:
        """List the numbers after one. No number may have two names."""
        names: dict[int, str] = {}
        for folder in self._store.names(self._folder):
            if not folder.isdigit() or folder < folder_of(after):
                continue
            for name in self._store.names(f"{self._folder}/{folder}"):
                found = parse_manifest_name(name)
                if found is None or folder_of(found[0]) != folder:
                    continue
                if names.setdefault(found[0], name) != name:
                    raise self._fork(names[found[0]], name)
                self._has_ids |= found[1] is not None
        self._is_empty &= not names
        self._names = {number: name for number, name in names.items() if number > after}
        return list(self._names)

    def _read(self, number: int) -> Manifest | None:
        """Read a manifest by its number; None where there is none."""
        path = manifest_path(self.account, number)
        folder = path.rsplit("/", 1)[0]
        if self._has_ids:
            name = self._names.get(number) or self._find(folder, number)
            path = f"{folder}/{name}"
            data = self._store.get(path) if name else None
        else:
            data = self._store.get(path)
            # Where nothing was listed, nobody knows how manifests are named.
            if data is None and self._is_empty and (name := self._find(folder, number)):
                path = f"{folder}/{name}"
                data = self._store.get(path)
        if data is None:
            return None
        self._is_empty = False
        manifest = parse_manifest(data, self.account, number, self._store.name(path))
        if path not in (manifest_path(self.account, number), f"{folder}/{number:020d}-{manifest.id}.json"):
            raise DefectError.of(f"a manifest has another id than its name: {self._store.name(path)}", _CHANGED)
        return manifest

    def _find(self, folder: str, number: int) -> str | None:
        """Find the name of a number where names may carry ids."""
        found = [(name, parse_manifest_name(name)) for name in self._store.names(folder)]
        names = [(name, parsed) for name, parsed in found if parsed and parsed[0] == number]
        if len(names) > 1:
            raise self._fork(names[0][0], names[1][0])
        self._has_ids |= any(parsed[1] for _, parsed in names)
        return names[0][0] if names else None

    def _find_all(self, numbers: Iterable[int]) -> None:
        """Find the names of many numbers, by one listing of each folder instead of one for each number."""
        unknown = {number for number in numbers if number not in self._names}
        for folder in sorted({folder_of(number) for number in unknown}):
            for name in self._store.names(f"{self._folder}/{folder}"):
                found = parse_manifest_name(name)
                if found is None or found[0] not in unknown:
                    continue
                if self._names.setdefault(found[0], name) != name:
                    raise self._fork(self._names[found[0]], name)

    def _there(self, manifest: Manifest | None, number: int) -> Manifest:
        if manifest is None:
            raise DefectError.of(
                f"a manifest is missing from the commit log: {self._name(number)}",
                "restore it from a backup of the lake, or sync into a new lake",
            )
        return manifest

    def _fork(self, one: str, other: str) -> DefectError:
        return DefectError.of(
            f"two writers were at work at once: {self._store.name(self._folder)} has {one} and {other}",
            "see docs/lake-format.md, `One writer`: a person must keep one of the two",
        )

    def _name(self, number: int) -> str:
        return self._store.name(manifest_path(self.account, number))

    def _refuse_older(self) -> None:
        older = next(filter(is_older_name, self._store.names(self._folder)), None)
        if older:
            raise FormatError.of(
                f"the lake is of a format before 1.0: {self._store.name(self._folder)}/{older}",
                "read it with the program that wrote it, or fill a new lake",
            )


def accounts_of(store: Store, wanted: Iterable[str] | None) -> list[str]:
    """List the accounts of a lake that have a log, or those of them that are wanted."""
    prefix = "account="
    there = [name[len(prefix) :] for name in store.names(_ROOT) if name.startswith(prefix)]
    there = [name for name in there if ACCOUNT.fullmatch(name)]
    if wanted is None:
        return there
    names = list(wanted)
    for name in names:
        if not ACCOUNT.fullmatch(name):
            raise UsageError.of(f"{name!r} is no name of an account", "names are [A-Za-z][A-Za-z0-9_-]{0,63}")
        if name not in there:
            held = f"the lake has {', '.join(there[:10])}" if there else "the lake has none"
            raise UsageError.of(f"there is no account {name} in {store.uri}", held)
    return names


def open_logs(store: Store, wanted: Iterable[str] | None) -> dict[str, Log]:
    """Open the logs of a lake. Without any account it must at least look like one that nothing has come to yet."""
    accounts = accounts_of(store, None)
    if not accounts and _MADE.isdisjoint(store.names("")):
        raise StoreError.of(
            f"there is no lake at {store.uri}",
            f"name the folder in which `{_ROOT}` stands, not one above or below it, or run `wdt-lake sync`",
        )
    if wanted is not None:
        accounts = accounts_of(store, wanted)
    return dict(zip(accounts, in_parallel(lambda account: Log(store, account), accounts), strict=True))
