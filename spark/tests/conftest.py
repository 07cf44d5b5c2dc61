"""What the tests share: the program, lakes that it made, a simulated ERP, and one Spark session."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest
from moto.server import ThreadedMotoServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

REPOSITORY = Path(__file__).resolve().parents[2]
GOLDEN = REPOSITORY / "tests/golden/1.0"
TABLES = ("purchase_apply", "purchase_apply_detail", "stop_reference")
BINARY = os.environ.get("WDT_LAKE_BINARY", str(REPOSITORY / "target/debug/wdt-lake"))
# Nothing of the machine that runs the tests counts.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("WDT_", "AWS_"))}


class Ended(Exception):
    """The program ended otherwise than it should have."""


def wdt_lake(*arguments: object, env: dict[str, str] | None = None, codes: tuple[int, ...] = (0,)) -> bytes:
    """Run the program."""
    command = [BINARY, *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, env={**CLEAN, **(env or {})}, check=False)
    if ended.returncode not in codes:
        raise Ended(f"{command}: {ended.returncode}\n{ended.stdout.decode()}\n{ended.stderr.decode()}")
    return ended.stdout


def exported(lake: object, table: str, *arguments: object, env: dict[str, str] | None = None) -> list[dict]:
    """Give the rows of a table as `wdt-lake export` does."""
    data = wdt_lake("export", table, "--lake", lake, "--out", "-", *arguments, env=env)
    return ordered(pa.ipc.open_stream(data).read_all().to_pylist())


def ordered(rows: list[dict]) -> list[dict]:
    """Put rows into one order, whatever order they came in."""
    return sorted(rows, key=lambda row: json.dumps(row, default=str, sort_keys=True))


class Sandbox:
    """A simulated ERP in a process of its own."""

    def __init__(self, *arguments: object) -> None:
        command = [BINARY, "sandbox", *map(str, arguments)]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=CLEAN, text=True
        )
        self.env: dict[str, str] = {}
        while "WDT_BASE_URL" not in self.env:
            line = self._process.stdout.readline()
            if not line:
                raise Ended(f"{command} said no address")
            if found := re.fullmatch(r"export (\w+)=(.*)\n", line):
                self.env[found[1]] = found[2].strip("'")

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()

    def sync(self, lake: object, *arguments: object, codes: tuple[int, ...] = (0,)) -> dict:
        """Sync the lake with it; the summary."""
        said = wdt_lake(
            "sync", "--lake", lake, "--calls-per-minute", "0", "--json", *arguments, env=self.env, codes=codes
        )
        return json.loads(said)


@pytest.fixture(scope="session")
def bucket() -> Iterator[str]:
    """Give a place for lakes in a bucket, which the variables of this process lead to."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    urllib.request.urlopen(urllib.request.Request(f"{address}/lakes", method="PUT")).close()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    keys = {"AWS_ACCESS_KEY_ID": "AKIDOFANYBODY", "AWS_SECRET_ACCESS_KEY": "anything", "AWS_REGION": "us-east-1"}
    os.environ.update(keys, AWS_ENDPOINT_URL=address)
    yield "s3://lakes"
    server.stop()


def aws() -> dict[str, str]:
    """Give the variables that lead to the bucket."""
    return {name: value for name, value in os.environ.items() if name.startswith("AWS_")}


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory, bucket: str) -> Iterator[SparkSession]:
    """Give a session whose time zone is neither UTC nor Beijing; its workers have the variables of this process."""
    del bucket
    from pyspark.sql import SparkSession

    from wdt_lake_spark import WdtLakeDataSource

    folder = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.session.timeZone": "America/New_York",
        "spark.sql.warehouse.dir": str(folder),
        "spark.sql.python.filterPushdown.enabled": "true",
        "spark.sql.execution.pyspark.udf.faulthandler.enabled": "false",
        "spark.driver.memory": "1g",
    }
    # Four workers, and a task is tried twice.
    builder = SparkSession.builder.master("local[4,2]").appName("wdt-lake")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("OFF")
    session.dataSource.register(WdtLakeDataSource)
    yield session
    session.stop()


@pytest.fixture
def lake_of(tmp_path: Path):  # noqa: ANN201
    """Copy a golden lake, so that a test may break it."""

    def copied(name: str) -> Path:
        lake = tmp_path / f"lake of {name} 湖"
        shutil.copytree(GOLDEN / name, lake)
        return lake

    return copied
