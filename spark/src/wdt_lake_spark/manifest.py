"""Manifests and checkpoints: bytes to values, checked by the rules of docs/lake-format.md. No I/O."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from .errors import DefectError, FormatError

TABLES = ("purchase_apply", "purchase_apply_detail", "stop_reference")
ACCOUNT = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SPAN = r"\d{8}T\d{6}"
_WINDOWED = re.compile(
    rf"(\w+)/account=([^/]+)/modified_month=(\d{{4}}-\d\d)/{_SPAN}-{_SPAN}-({_ID})(?:-[1-9]\d*)?\.parquet"
)
_UNWINDOWED = re.compile(rf"(stop_reference)/account=([^/]+)/()({_ID})\.parquet")
_MANIFEST = re.compile(rf"(\d{{20}})(?:-({_ID}))?\.json")
_OLDER = re.compile(r"\d{20}(?:-[0-9a-f-]+)?\.json")
_FORMAT = re.compile(r"(\d+)\.(\d+)")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAJOR = 1

# The first and the last second of modified time, both included, in seconds of Unix time.
Range = tuple[int, int]


@dataclass(frozen=True)
class FileEntry:
    """A Parquet file of a commit."""

    table: str
    path: str
    bytes: int
    sha256: str
    rows: int
    min_modified: int
    max_modified: int
    carried: bool

    @property
    def month(self) -> str | None:
        """The month of its path."""
        found = _WINDOWED.fullmatch(self.path)
        return found[3] if found else None


@dataclass(frozen=True)
class Commit:
    """A commit of a manifest, or a live one of the log state."""

    number: int
    kind: str
    window: Range | None
    expired: tuple[Range, ...]
    files: tuple[FileEntry, ...]

    @property
    def claims(self) -> tuple[Range, ...]:
        """The seconds that it covers; those of two live commits never overlap."""
        return ((self.window,) if self.window else ()) + self.expired


@dataclass(frozen=True)
class Position:
    """A place in a log: behind a manifest."""

    number: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """A manifest, as far as readers need it."""

    number: int
    id: str
    sha256: str
    contract: str
    created_at: datetime
    binding: tuple[Any, ...] | None
    previous: Position | None
    commits: dict[str, Commit]
    removes: tuple[str, ...]
    fences: tuple[str, ...]


@dataclass
class Checkpoint:
    """What a log adds up to with a manifest."""

    newest: Position
    binding: tuple[Any, ...]
    live: dict[str, Commit]
    dead: set[str] = field(default_factory=set)


def folder_of(number: int) -> str:
    """Name the folder of a manifest's number."""
    return f"{number // 10_000:016d}"


def manifest_path(account: str, number: int) -> str:
    """Name the manifest of a number."""
    return f"_manifest/account={account}/{folder_of(number)}/{number:020d}.json"


def parse_manifest_name(name: str) -> tuple[int, str | None] | None:
    """Read the number and, of a single writer, the id out of a name."""
    found = _MANIFEST.fullmatch(name)
    return (int(found[1]), found[2]) if found else None


def is_older_name(name: str) -> bool:
    """Whether a name directly below the account's folder is a manifest of a format before 1.0."""
    return _OLDER.fullmatch(name) is not None


def check_format(version: Any, what: str) -> None:
    """Refuse what another major version has written."""
    found = _FORMAT.fullmatch(version) if isinstance(version, str) else None
    if found is None:
        raise DefectError.of(f"{what} does not say its format", "run `wdt-lake verify`")
    if int(found[1]) != _MAJOR:
        raise FormatError.of(
            f"{what} is of the lake format {version}, and this package reads 1.x",
            "install a wdt-lake-spark of that version; a lake before 1.0 must be filled anew",
        )


def parse_manifest(data: bytes, account: str, number: int, what: str) -> Manifest:
    """Read a manifest; `what` names it for people."""
    try:
        said = json.loads(data)
        check_format(said["format"], what)
        check_format(said["contract"], what)
        if said["number"] != number:
            raise ValueError(f"it says the number {said['number']}")
        commits = {_id(commit["id"]): _commit(commit, number) for commit in said["commits"]}
        if len(commits) != len(said["commits"]):
            raise ValueError("an id stands twice")
        for one, commit in commits.items():
            _check_names(one, commit, account)
        previous = _position(said["previous"]) if said["previous"] is not None else None
        manifest = Manifest(
            number=number,
            id=_id(said["id"]),
            sha256=hashlib.sha256(data).hexdigest(),
            contract=said["contract"],
            created_at=_moment(said["created_at"]),
            binding=None if _is_start(said) else _binding(said, account),
            previous=previous,
            commits=commits,
            removes=tuple(map(_id, said["removes"])),
            fences=tuple(map(_id, said["fences"])),
        )
        if commits and manifest.id not in commits:
            raise ValueError("its id is not that of its first commit")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DefectError.of(f"a manifest is damaged: {what} ({_why(error)})", "run `wdt-lake verify`") from None
    else:
        return manifest


def parse_checkpoint(data: bytes, account: str, number: int, manifest_id: str) -> Checkpoint | None:
    """Read a checkpoint; None for one that cannot be used."""
    try:
        head, state = data.split(b"\n")[:2]
        about = json.loads(head)
        check_format(about["format"], "a checkpoint")
        if hashlib.sha256(state).hexdigest() != about["sha256"]:
            return None
        said = json.loads(state)
        check_format(said["log_format"], "a checkpoint")
        live = {_id(one): _commit(commit, commit["number"]) for one, commit in said["live"].items()}
        for one, commit in live.items():
            _check_names(one, commit, account)
        newest = _position(said["newest"])
        dead = set(said["dead"])
        right = newest.number == number and said["last"]["id"] == manifest_id and not dead & live.keys()
        claims = sorted(claim for commit in live.values() for claim in commit.claims)
        right = right and all(one[1] < other[0] for one, other in pairwise(claims))
        return Checkpoint(newest, _binding(said, account), live, dead) if right else None
    except (KeyError, TypeError, ValueError, AttributeError, DefectError, FormatError):
        return None


def _why(error: Exception) -> str:
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def _id(said: Any) -> str:
    if not isinstance(said, str) or not re.fullmatch(_ID, said):
        raise ValueError("what stands for an id is none")
    return said


def _number(said: Any) -> int:
    if not isinstance(said, int) or isinstance(said, bool) or said < 0:
        raise ValueError("what stands for a number is none")
    return said


def _sha256(said: Any) -> str:
    if not isinstance(said, str) or not _SHA256.fullmatch(said):
        raise ValueError("what stands for a SHA-256 is none")
    return said


def _position(said: Any) -> Position:
    return Position(_number(said["number"]), _sha256(said["sha256"]))


def _moment(said: Any) -> datetime:
    moment = datetime.fromisoformat(said)
    if moment.tzinfo is None:
        raise ValueError("a time has no offset")
    return moment


def _second(said: Any) -> int:
    return int(_moment(said).timestamp())


def _range(said: Any) -> Range:
    start, end = _second(said["start"]), _second(said["end"])
    if start > end:
        raise ValueError("a window ends before it begins")
    return start, end


def _file(said: Any) -> FileEntry:
    table = said["table"]
    if table not in TABLES:
        raise ValueError(f"the table {table!r} is unknown")
    return FileEntry(
        table=table,
        path=said["path"],
        bytes=_number(said["bytes"]),
        sha256=_sha256(said["sha256"]),
        rows=_number(said["rows"]),
        min_modified=_second(said["min_modified"]),
        max_modified=_second(said["max_modified"]),
        carried=said.get("carried", False) is True,
    )


def _commit(said: Any, number: int) -> Commit:
    return Commit(
        number=_number(number),
        kind=str(said["kind"]),
        window=_range(said["window"]) if said["window"] is not None else None,
        expired=tuple(map(_range, said.get("expired", ()))),
        files=tuple(map(_file, said["files"])),
    )


def _is_start(said: Any) -> bool:
    """Whether it says from where to begin and nothing else. Such a manifest binds no account."""
    return not said["commits"] and not said["fences"] and "intent" not in said


def _check_names(commit_id: str, commit: Commit, account: str) -> None:
    seen = set()
    for entry in commit.files:
        found = (_UNWINDOWED if entry.table == "stop_reference" else _WINDOWED).fullmatch(entry.path)
        if found is None or (found[1], found[2], found[4]) != (entry.table, account, commit_id) or entry.path in seen:
            raise ValueError(f"{entry.path!r} is no name of a file of this commit")
        seen.add(entry.path)


def _binding(said: Any, account: str) -> tuple[Any, ...]:
    about = said["account"]
    if about["name"] != account:
        raise ValueError(f"it is of the account {about['name']!r}")
    return tuple(about[name] for name in ("name", "edition", "sid", "host"))
