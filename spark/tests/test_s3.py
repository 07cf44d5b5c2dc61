"""Lakes in a bucket."""

from __future__ import annotations

import hashlib
import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pyspark
import pytest
from conftest import Sandbox, aws, exported, ordered, wdt_lake
from reading import rows_of

from wdt_lake_spark import DefectError, StoreError, UsageError
from wdt_lake_spark.manifest import FileEntry
from wdt_lake_spark.store import store_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyarrow import fs
    from pyspark.sql import SparkSession

    from wdt_lake_spark.store import Store

TABLE = "purchase_apply"


def test_a_lake_in_a_bucket_is_a_table_and_a_stream(spark: SparkSession, bucket: str, tmp_path: Path) -> None:
    lake = f"{bucket}/some/lake"
    with Sandbox("--requisitions", 300, "--days", 30, "--end", "2026-07-05", "--hold-clock") as sandbox:
        sandbox.env |= aws()
        for day in ("2026-06-10", "2026-06-12", "2026-06-14"):
            sandbox.sync(lake, "--from", "2026-06-06", "--to", day, "--compact", "off")
        reader = spark.read.format("wdt_lake").option("table", TABLE)
        frame = reader.load(lake).drop("modified_month")
        assert ordered(frame.toArrow().to_pylist()) == exported(lake, TABLE, env=aws())
        assert reader.load(lake.replace("s3:", "s3a:") + "/").count() == frame.count()
        batches: list[set[str]] = []

        def put(batch, _number: int) -> None:  # noqa: ANN001
            batches.append({row["purchase_apply_no"] for row in batch.select("purchase_apply_no").collect()})

        stream = spark.readStream.format("wdt_lake").option("table", TABLE).option("maxFilesPerTrigger", "2").load(lake)
        checkpoint = str(tmp_path / "checkpoint")
        for _ in range(2 if pyspark.__version__ >= "4.2" else 0):
            writer = stream.writeStream.foreachBatch(put).option("checkpointLocation", checkpoint)
            writer.trigger(availableNow=True).start().awaitTermination()
            sandbox.sync(lake, "--to", "2026-06-20")
            wdt_lake("compact", "--lake", lake, env=aws())
    if pyspark.__version__ < "4.2":
        return
    held = [row["purchase_apply_no"] for row in exported(lake, TABLE, env=aws())]
    assert len(batches) == 3
    assert sorted(number for batch in batches for number in batch) == sorted(held)


@pytest.mark.parametrize("read_at_once", [1 << 20, 100])
def test_a_file_of_a_bucket_is_checked(bucket: str, monkeypatch: pytest.MonkeyPatch, read_at_once: int) -> None:
    monkeypatch.setattr("wdt_lake_spark.store._CHUNK", read_at_once)
    monkeypatch.setattr("wdt_lake_spark.store._PIECE", read_at_once)
    lake = f"{bucket}/damaged-{read_at_once}"
    with Sandbox("--requisitions", 30, "--days", 10, "--end", "2026-07-05", "--hold-clock") as sandbox:
        sandbox.env |= aws()
        sandbox.sync(lake, "--from", "2026-07-01", "--to", "2026-07-05")
    assert rows_of(lake, TABLE)
    with pytest.raises(StoreError, match="no lake"):
        rows_of(f"{bucket}/none", TABLE)
    from pyarrow import fs

    system = store_at(lake)._fs()
    path = next(
        info.path
        for info in system.get_file_info(fs.FileSelector(f"lakes/damaged-{read_at_once}/{TABLE}", recursive=True))
        if info.path.endswith(".parquet")
    )
    with system.open_output_stream(path) as out:
        out.write(b"PAR1")
    with pytest.raises(DefectError, match="4 bytes instead of"):
        rows_of(lake, TABLE)
    system.delete_file(path)
    with pytest.raises(DefectError, match="missing"):
        rows_of(lake, TABLE)


class Watched:
    """The objects of a bucket; something is done whenever a piece of one was read."""

    def __init__(self, system: fs.S3FileSystem, then: Callable[[str], object]) -> None:
        self._system, self._then = system, then
        self.pieces: list[int] = []

    def get_file_info(self, path: object) -> object:
        """Ask the bucket."""
        return self._system.get_file_info(path)

    @contextmanager
    def open_input_stream(self, path: str) -> Iterator[Watched]:
        """Open an object."""
        self.path = path
        with self._system.open_input_stream(path) as self._source:
            yield self

    def read(self, size: int) -> bytes:
        """Read a piece."""
        piece = self._source.read(size)
        self.pieces.append(len(piece))
        self._then(self.path)
        return piece


def large_object(bucket: str) -> tuple[Store, FileEntry]:
    """Put an object of some pieces into a bucket."""
    store = store_at(f"{bucket}/large")
    data = bytes(20 << 20)
    with store._fs().open_output_stream("lakes/large/object") as out:
        out.write(data)
    digest = hashlib.sha256(data).hexdigest()
    return store, FileEntry(TABLE, "object", len(data), digest, 1, 0, 0, carried=False)


def test_an_object_that_is_deleted_while_it_is_copied_is_gone(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, entry = large_object(bucket)
    system = store._fs()
    monkeypatch.setattr("wdt_lake_spark.store._PIECE", 1 << 20)
    # Whoever reads it looks for its rows where they are now.
    store._system = Watched(system, system.delete_file)
    with pytest.raises(FileNotFoundError, match="s3://lakes/large/object"):
        store.open_verified(entry)
    store, entry = large_object(bucket)

    def break_off(_: object) -> None:
        raise OSError("the connection broke off")

    store._system = Watched(system, break_off)
    with pytest.raises(StoreError, match="large/object: the connection broke off"):
        store.open_verified(entry)


def test_an_object_is_read_in_few_pieces(bucket: str) -> None:
    store, entry = large_object(bucket)
    store._system = Watched(store._fs(), lambda _: None)
    store.open_verified(entry).close()
    assert store._system.pieces == [8 << 20, 8 << 20, 4 << 20, 0]


class Refusing(BaseHTTPRequestHandler):
    """Repeats the key that it refuses, as object stores do."""

    def do_GET(self) -> None:
        said = b"<Error><Code>InvalidAccessKeyId</Code><Message>AKIDOFNOBODY and hush-hush are wrong</Message></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("s3://AKIA:hush/hush@bucket/lake", "has a key in it"),
        ("s3a://AKIA:hush@bucket/lake", "has a key in it"),
        ("S3://AKIA:hush?#hush@bucket", "has a key in it"),
        ("s3:/AKIA:hush@bucket/lake", "has a key in it"),
        ("s3:AKIA:hush@bucket/lake", "has a key in it"),
        ("s3://AKIA:hush/lake", "names no bucket"),
        ("s3:///lake", "names no bucket"),
        ("s3://", "names no bucket"),
        ("s3://b cket/lake", "names no bucket"),
        ("s3://bucket?hush/lake", "names no bucket"),
        ("s3://bucket/lake#hush", "`[?]` or `#`"),
        ("s3://bucket/lake?secret=hush", "`[?]` or `#`"),
        ("s3n://AKIA:hush@bucket/lake", "cannot be at `s3n://`"),
        ("gs://AKIA:hush@bucket/lake", "cannot be at `gs://`"),
        ("AKIA:hush@s3://bucket/lake", "cannot be at"),
    ],
)
def test_an_address_that_is_wrong_is_refused_and_not_repeated(address: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as error:
        store_at(address)
    assert "hush" not in str(error.value)
    assert "AKIA" not in str(error.value)


def test_an_address_is_a_bucket_and_its_prefix(tmp_path: Path) -> None:
    for address, root in (
        ("s3://bucket/some/lake/", "bucket/some/lake"),
        (" s3a://my-bucket_1.2/a@b ", "my-bucket_1.2/a@b"),
        ("S3://bucket", "bucket"),
        ("s3://bucket//", "bucket"),
    ):
        assert store_at(address)._root == root
    for address in (str(tmp_path), f"file://{tmp_path}", f"file:{tmp_path}"):
        assert store_at(address)._root == tmp_path
    assert store_at("a:b/c#d")._root.parts[-2:] == ("a:b", "c#d")


def test_settings_of_s3_are_read_as_the_program_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr("pyarrow.fs.S3FileSystem", lambda **settings: settings)

    def settings(**variables: str) -> dict:
        with monkeypatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(f"AWS_{name}", value)
            return store_at("s3://bucket/lake")._fs()

    endpoints = {"ENDPOINT": " http://c ", "ENDPOINT_URL": " ", "ENDPOINT_URL_S3": ""}
    assert settings(**endpoints)["endpoint_override"] == "http://c"
    assert settings(**{**endpoints, "ENDPOINT_URL": "http://b\n"})["endpoint_override"] == "http://b"
    assert settings(ENDPOINT_URL="http://b", ENDPOINT_URL_S3="http://a")["endpoint_override"] == "http://a"
    for value in ("1", "true", "TRUE", "On", "yes", " Y "):
        assert settings(VIRTUAL_HOSTED_STYLE_REQUEST=value)["force_virtual_addressing"], value
    for value in ("0", "false", "off", "no", ""):
        assert "force_virtual_addressing" not in settings(VIRTUAL_HOSTED_STYLE_REQUEST=value), value
    keys = settings(ACCESS_KEY_ID=" AKID ", SECRET_ACCESS_KEY="hush\n", SESSION_TOKEN=" ", REGION=" cn-north-1 ")
    assert [keys[name] for name in ("access_key", "secret_key", "session_token", "region")] == [
        "AKID",
        "hush",
        None,
        "cn-north-1",
    ]


def test_no_error_repeats_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    server = HTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDOFNOBODY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", " hush-hush ")
    with pytest.raises(StoreError) as error:
        rows_of("s3://lakes/x", TABLE)
    server.shutdown()
    assert "(hidden)" in str(error.value)
    assert "AKIDOFNOBODY" not in repr(error.value)
    assert "hush" not in repr(error.value)
    assert error.value.__cause__ is None
