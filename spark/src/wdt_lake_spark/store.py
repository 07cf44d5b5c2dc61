"""Where a lake lies: a folder, or a prefix of a bucket.

Names are relative to the root of the lake. What lies there is only read.
"""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar, TypeVar
from urllib.parse import unquote, urlparse

from .errors import DefectError, StoreError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .manifest import FileEntry

# Smaller files are read as a whole, so that a commit of many takes few handles.
_CHUNK = 1 << 20
# Each piece of an object is a request of its own.
_PIECE = 8 << 20
_AT_ONCE = 16
_TRUE = ("1", "true", "on", "yes", "y")
# Only what has `//` behind it, or is meant for S3 or a file: a folder may have a colon in its name.
_SCHEME = re.compile(r"((?:s3a?|file)(?=:)|[a-z][a-z0-9+.-]+(?=://)):(.*)", re.DOTALL | re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9._-]+")
_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID")

T = TypeVar("T")
R = TypeVar("R")


def in_parallel(work: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Do the same with each item, several at once; results come in the order of the items."""
    todo = list(items)
    if len(todo) <= 1:
        return [work(item) for item in todo]
    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        return list(pool.map(work, todo))


class Store(ABC):
    """The objects of one lake."""

    # How long a reader that follows a log waits between listings whose only use is to find what is rare.
    seconds_between_listings: ClassVar[float] = 0

    def __init__(self, uri: str) -> None:
        """`uri` is as users wrote it, without secrets."""
        self.uri = uri.rstrip("/") or "/"

    def name(self, path: str) -> str:
        """Name an object for people."""
        return f"{self.uri}/{path}"

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """List the names of what lies directly in a folder, in order; of a folder that is not there, none."""

    @abstractmethod
    def get(self, path: str) -> bytes | None:
        """Read a small object; None where there is none."""

    @abstractmethod
    def open_verified(self, entry: FileEntry) -> IO[bytes]:
        """Open a file of the log whose bytes are those that its manifest says.

        What is returned can be read to its end, whatever happens to the file meanwhile. Raises FileNotFoundError where
        it is gone.
        """

    def _check(self, entry: FileEntry, size: int, sha256: str) -> None:
        if (size, sha256) == (entry.bytes, entry.sha256):
            return
        said = f"{size} bytes instead of {entry.bytes}" if size != entry.bytes else "another SHA-256"
        raise DefectError.of(
            f"a committed file is not what its manifest says: {self.name(entry.path)} ({said})",
            "run `wdt-lake verify`; read its range anew with `wdt-lake sync --rewalk`, or restore the file",
        )


class LocalStore(Store):
    """A folder."""

    def __init__(self, uri: str, root: Path) -> None:
        """`root` is the folder of the lake."""
        super().__init__(uri)
        self._root = root

    def names(self, folder: str) -> list[str]:
        """List the names of what lies directly in a folder."""
        try:
            with self._told(folder):
                return sorted(os.listdir(self._root / folder))
        except FileNotFoundError:
            return []

    def get(self, path: str) -> bytes | None:
        """Read a small object."""
        try:
            with self._told(path):
                return (self._root / path).read_bytes()
        except FileNotFoundError:
            return None

    def open_verified(self, entry: FileEntry) -> IO[bytes]:
        """Open a file, and check its bytes. Once it is open, its bytes stay even if it is deleted."""
        with self._told(entry.path):
            source: IO[bytes] = (self._root / entry.path).open("rb")
            if entry.bytes <= _CHUNK:
                with source:
                    data = source.read(_CHUNK + 1)
                self._check(entry, len(data), hashlib.sha256(data).hexdigest())
                return BytesIO(data)
            digest, size = hashlib.sha256(), 0
            while chunk := source.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
            source.seek(0)
        self._check(entry, size, digest.hexdigest())
        return source

    @contextmanager
    def _told(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreError.of(
                f"{self.name(path)} cannot be read: {error.strerror or type(error).__name__}",
                "the folder must be mounted, and its files readable, on the driver and on every executor",
            ) from None


class S3Store(Store):
    """A prefix of a bucket, reached as the variables `AWS_*` of the process say."""

    # A listing costs more than a request for an object.
    seconds_between_listings = 60

    def __init__(self, uri: str, bucket: str, prefix: str) -> None:
        """Settings come from the environment alone, so no option can carry a secret."""
        super().__init__(uri)
        self._root = f"{bucket}/{prefix}".rstrip("/")
        self._system: Any = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the connection behind: an executor has an environment of its own."""
        return {**self.__dict__, "_system": None}

    def names(self, folder: str) -> list[str]:
        """List the names of what lies directly in a folder."""
        from pyarrow import fs

        with self._told(folder):
            infos = self._fs().get_file_info(fs.FileSelector(f"{self._root}/{folder}", allow_not_found=True))
        return sorted(str(info.base_name) for info in infos)

    def get(self, path: str) -> bytes | None:
        """Read a small object."""
        try:
            with self._told(path, is_object=True), self._fs().open_input_stream(f"{self._root}/{path}") as source:
                return bytes(source.read())
        except FileNotFoundError:
            return None

    def open_verified(self, entry: FileEntry) -> IO[bytes]:
        """Copy an object into a temporary file, and check its bytes."""
        is_small = entry.bytes <= _CHUNK
        copy: IO[bytes] = BytesIO() if is_small else tempfile.TemporaryFile(prefix="wdt-lake-")  # noqa: SIM115
        digest, size = hashlib.sha256(), 0
        path = f"{self._root}/{entry.path}"
        with self._told(entry.path, is_object=True), self._fs().open_input_stream(path) as source:
            while piece := source.read(_PIECE):
                digest.update(piece)
                size += copy.write(piece)
        self._check(entry, size, digest.hexdigest())
        copy.seek(0)
        return copy

    @contextmanager
    def _told(self, path: str, *, is_object: bool = False) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as error:
            if is_object and self._is_gone(path):
                raise FileNotFoundError(self.name(path)) from None
            what = str(error)
            for secret in filter(None, map(_setting, _SECRETS)):
                what = what.replace(secret, "(hidden)")
            # `from None`: the original would repeat what was hidden.
            raise StoreError.of(
                f"the object store did not give {self.name(path)}: {what}",
                "see docs/s3.md for the variables AWS_*; the driver and every executor need them",
            ) from None

    def _is_gone(self, path: str) -> bool:
        """Whether there is no such object now. One that is deleted while it is read gives an error of any kind."""
        from pyarrow import fs

        try:
            return bool(self._fs().get_file_info(f"{self._root}/{path}").type == fs.FileType.NotFound)
        except OSError:
            return False

    def _fs(self) -> Any:
        if self._system is None:
            from pyarrow import fs

            settings: dict[str, Any] = {
                "region": _setting("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
                "connect_timeout": 10,
                "request_timeout": 60,
                "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=5),
            }
            if endpoint := _setting("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"):
                settings["endpoint_override"] = endpoint
            if (_setting("AWS_VIRTUAL_HOSTED_STYLE_REQUEST") or "").lower() in _TRUE:
                settings["force_virtual_addressing"] = True
            if key := _setting("AWS_ACCESS_KEY_ID"):
                settings |= {"access_key": key, "secret_key": _setting("AWS_SECRET_ACCESS_KEY")}
                settings["session_token"] = _setting("AWS_SESSION_TOKEN")
            self._system = fs.S3FileSystem(**settings)
        return self._system


def _setting(*names: str) -> str | None:
    """Read the first of some variables that is set, as the program does: blanks around a value are no part of it."""
    return next((value for name in names if (value := os.environ.get(name, "").strip())), None)


def store_at(uri: str) -> Store:
    """Tell where a lake is: a folder, a `file:///` URI, or `s3://bucket/prefix`."""
    uri = uri.strip()
    if not uri:
        raise UsageError.of("no lake was named", 'name its folder or `s3://bucket/prefix`: `.load("s3://bucket/lake")`')
    scheme, rest = _split(uri)
    if scheme in ("s3", "s3a"):
        bucket, prefix = _bucket_of(rest)
        return S3Store(uri, bucket, prefix)
    if scheme == "file":
        return LocalStore(uri, Path(unquote(urlparse(uri).path)))
    if scheme is None and "://" not in uri:
        return LocalStore(uri, Path(uri).expanduser().absolute())
    what = f"`{scheme}://`" if scheme else "an address like that"
    raise UsageError.of(f"a lake cannot be at {what}", "name a folder, or `s3://bucket/prefix`")


def _split(uri: str) -> tuple[str | None, str]:
    """Give the scheme of an address in small letters, and what follows it; None where it has none."""
    found = _SCHEME.fullmatch(uri)
    return (found[1].lower(), found[2]) if found else (None, uri)


def _bucket_of(rest: str) -> tuple[str, str]:
    """Take the bucket and the prefix out of what follows `s3:`.

    It is done by hand: a library for URLs ends the host at a `/` within a secret, and cuts off what follows `?` or `#`.
    No error repeats the address, because a key may stand anywhere in one that is wrong.
    """
    bucket, _, prefix = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or not _BUCKET.fullmatch(bucket):
        if "@" in rest:
            raise UsageError.of("the lake's address has a key in it", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        raise UsageError.of("the lake's address names no bucket", "write `s3://bucket/prefix`")
    if "?" in prefix or "#" in prefix:
        raise UsageError.of(
            "the lake's address has `?` or `#` in its prefix",
            "write `s3://bucket/prefix` and nothing more; settings are the variables AWS_ of docs/s3.md",
        )
    return bucket, prefix.strip("/")
