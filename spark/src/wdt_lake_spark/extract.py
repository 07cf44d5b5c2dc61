"""The extraction as a Spark job: each task runs `wdt-lake sync` for one shard of the accounts.

The commit log decides what counts. So tasks may die, be tried again, or be doubled by speculation: the lake is the
same.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

from .errors import ExtractError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession
    from pyspark.sql.types import StructType

SUMMARY_SCHEMA = (
    "shard int, account string, exit_code int, error_code string, error string, hint string, calls bigint, "
    "windows bigint, gaps bigint, purchase_apply bigint, purchase_apply_detail bigint, quarantined bigint, "
    "files bigint, run string, "
    "wall_s double, attempt int, host string, summary string"
)
_OURS = ("--shard", "--json", "--quiet", "-q", "--config", "--lake", "--wait", "--help", "-h")
_PR_SET_PDEATHSIG = 1


def extract(  # noqa: PLR0913
    spark: SparkSession,
    lake: str | None,
    config: str,
    *,
    shards: int,
    binary: str = "wdt-lake",
    arguments: Sequence[str] = (),
    wait: str | None = "30d",
) -> DataFrame:
    """Bring a lake up to date in so many tasks, and give what became of each account: a row for each.

    `config` is the file of accounts and `binary` the program, where every executor has them; a file that was given by
    `--files` is found by its name. Secrets are in the environment of the executors. `lake` goes before what the file
    says. `arguments` are further options of `sync`.

    With `wait` a task that is tried again, or that Spark does twice at once, waits for so long until the other run has
    left the account. A double that gave up would end first with nothing but "in use", and Spark would take that for the
    result and kill the task that is at work. So it is longer than any run: a process ends with its task, and what a
    dead run has left of its lease expires by itself.

    It is done when this returns: what is done with the data frame runs nothing again. An account that fails is a row
    with its exit code, and no error. An `ExtractError` means that a task came to no end, or was interrupted, however
    often Spark tried.
    """
    if shards < 1:
        raise UsageError.of(f"{shards} shards", "give 1 or more")
    ours = [one for one in arguments if one.split("=")[0] in _OURS]
    if ours:
        raise UsageError.of(
            f"{ours[0]} stands among `arguments`", "`extract` sets it itself, or by a parameter of its own"
        )
    command = [binary, "sync", "--json", "--quiet", *(["--lake", lake] if lake else []), *arguments]
    if wait:
        command += ["--wait", wait]
    spark.dataSource.register(ShardRuns)
    reader = spark.read.format(ShardRuns.name())
    for name, value in (("command", json.dumps(command)), ("config", config), ("shards", str(shards))):
        reader = reader.option(name, value)
    found = reader.load().collect()
    return spark.createDataFrame(found, SUMMARY_SCHEMA)


class ShardRuns(DataSource):
    """The runs of all shards as a data source: a task for each, which needs nothing but PyArrow."""

    @classmethod
    def name(cls) -> str:
        """Name it."""
        return "wdt_lake_extract"

    def schema(self) -> str:
        """Give the columns of the summary."""
        return SUMMARY_SCHEMA

    def reader(self, schema: StructType) -> DataSourceReader:
        """Run them."""
        del schema
        return _Runs(json.loads(self.options["command"]), self.options["config"], int(self.options["shards"]))


class _Runs(DataSourceReader):
    def __init__(self, command: list[str], config: str, shards: int) -> None:
        self._command, self._config, self._shards = command, config, shards

    def partitions(self) -> list[InputPartition]:
        return [InputPartition(shard) for shard in range(self._shards)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        rows = run_shard(self._command, self._config, partition.value, self._shards)
        if rows:
            yield _batch(rows)


def run_shard(command: list[str], config: str, shard: int, shards: int) -> list[dict[str, Any]]:
    """Run one shard in a process of its own; on an executor."""
    full = [*command, "--config", _found(config)]
    if shards > 1:
        full += ["--shard", f"{shard}/{shards}"]
    with tempfile.TemporaryFile() as errors:
        try:
            # The process must not outlive its task: a task that is tried again would wait for it.
            ended = subprocess.run(  # noqa: S603
                full,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                check=False,
                preexec_fn=_dies_with_us,
            )
        except OSError as error:
            raise ExtractError.of(
                f"{full[0]} cannot be run on {socket.gethostname()}: {error.strerror}",
                "install wdt-lake on every executor, for example by pip, or name it by `binary`",
            ) from None
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    sys.stderr.write(said)
    try:
        summary = json.loads(ended.stdout)
    except ValueError:
        raise ExtractError.of(
            f"shard {shard}/{shards} ended with {_how(ended.returncode)} and no summary: {said[-2000:].strip()}",
            "see the standard error of the executor; what was committed stays, and Spark's next try goes on from there",
        ) from None
    accounts = summary.get("accounts", [summary])
    interrupted = [str(account.get("account")) for account in accounts if account.get("interrupted")]
    if interrupted:
        # Only a task that fails is tried again.
        raise ExtractError.of(
            f"shard {shard}/{shards} was interrupted on {socket.gethostname()}, and did not end for"
            f" {', '.join(interrupted[:10])} ({_how(ended.returncode)})",
            "see why the executor was ended; what was committed stays, and Spark's next try goes on from there",
        )
    return [_row(shard, account) for account in accounts]


def _dies_with_us() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _found(config: str) -> str:
    from pyspark import SparkFiles, TaskContext

    if TaskContext.get() is not None and not os.path.exists(config):
        shipped = SparkFiles.get(os.path.basename(config))
        if os.path.exists(shipped):
            return shipped
    return config


def _row(shard: int, account: dict[str, Any]) -> dict[str, Any]:
    from pyspark import TaskContext

    context = TaskContext.get()
    error, rows = account.get("error") or {}, account.get("rows") or {}
    return {
        "shard": shard,
        "account": account.get("account"),
        "exit_code": account.get("exit_code"),
        "error_code": error.get("code"),
        "error": error.get("message"),
        "hint": error.get("hint"),
        "calls": account.get("calls"),
        "windows": account.get("windows"),
        "gaps": len(account.get("gaps") or ()),
        "purchase_apply": rows.get("purchase_apply"),
        "purchase_apply_detail": rows.get("purchase_apply_detail"),
        "quarantined": rows.get("quarantined"),
        "files": account.get("files"),
        "run": account.get("run"),
        "wall_s": account.get("wall_s"),
        "attempt": context.attemptNumber() if context else 0,
        "host": socket.gethostname(),
        "summary": json.dumps(account, ensure_ascii=False),
    }


def _batch(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    import pyarrow as pa

    types = {"int": pa.int32(), "bigint": pa.int64(), "string": pa.string(), "double": pa.float64()}
    columns = [column.strip().split(" ") for column in SUMMARY_SCHEMA.split(",")]
    return pa.RecordBatch.from_pylist(rows, schema=pa.schema([(name, types[kind]) for name, kind in columns]))
