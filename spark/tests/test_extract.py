"""The extraction as a Spark job."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import textwrap
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from conftest import BINARY, CLEAN, Sandbox, exported, wdt_lake

from wdt_lake_spark import ExtractError, UsageError, extract
from wdt_lake_spark.extract import run_shard

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ACCOUNTS = ("acme", "beta-2_X", "gamma", "delta", "epsilon")
SHARDS = 4
# Rows are told apart by when and by whom they were read; nothing else may differ.
OF_THE_RUN = ("_extracted_at", "_run_id", "_commit_id")


@pytest.fixture(scope="module")
def erps(tmp_path_factory: pytest.TempPathFactory):  # noqa: ANN201
    """Give the file of some accounts, each with a simulated ERP; and the secret that they share."""
    folder = tmp_path_factory.mktemp("erps")
    with ExitStack() as stack:
        config = []
        for seed, name in enumerate(ACCOUNTS):
            base = ("--requisitions", 150, "--days", 30, "--end", "2026-07-05", "--hold-clock")
            env = stack.enter_context(Sandbox(*base, "--sid", name, "--seed", seed)).env
            config.append(
                f'[[account]]\nname = "{name}"\nedition = "enterprise"\nsid = "{name}"\nappkey = "{env["WDT_APPKEY"]}"\n'
                f'secret_env = "ERP_SECRET"\nbase_url = "{env["WDT_BASE_URL"]}"\nfrom = "2026-06-06"\n'
            )
        # One whose gateway is not there.
        config.append(config[0].replace('"acme"', '"zeta"').replace(config[0].split('base_url = "')[1].split('"')[0],
                                                                    "http://127.0.0.1:9/openapi2"))  # fmt: skip
        path = folder / "accounts.toml"
        path.write_text("\n".join(config))
        # The workers of Spark have the environment of the session.
        program = folder / "wdt-lake"
        secret = env["WDT_APPSECRET"]
        yield path, shim(program, folder, secret), secret


def shard_of(name: str) -> int:
    """Tell the shard of an account, as the program does."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") % SHARDS


def shim(program: Path, folder: Path, secret: str) -> Path:
    """Write a program that has the secret, dies in its first try of shard 1, and then is `wdt-lake`."""
    script = f"""\
        #!/bin/sh
        export ERP_SECRET='{secret}'
        case "$*" in
        *"--shard {{dying}}/"*)
            if mkdir '{folder}/died' 2>/dev/null; then
                # It is killed when it has committed something.
                '{BINARY}' "$@" --account {{account}} > /dev/null 2>&1
                kill -9 $$
            fi ;;
        esac
        exec '{BINARY}' "$@"
        """
    dying = shard_of(ACCOUNTS[0])
    program.write_text(textwrap.dedent(script).format(dying=dying, account=ACCOUNTS[0]))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def plain(lake: object, table: str) -> list[dict]:
    rows = exported(lake, table)
    return sorted(
        ({name: value for name, value in row.items() if name not in OF_THE_RUN} for row in rows),
        key=lambda row: str(row),
    )


def test_shards_give_the_same_lake_as_one_sync_with_a_task_that_is_killed(  # noqa: ANN001
    spark: SparkSession, tmp_path: Path, erps
) -> None:
    config, program, secret = erps
    options = ["--calls-per-minute", "0", "--max-retry-time", "1s"]
    said = extract(spark, str(tmp_path / "lake"), str(config), shards=SHARDS, binary=str(program), arguments=options)
    rows = {row["account"]: row for row in said.collect()}
    assert set(rows) == {*ACCOUNTS, "zeta"}
    assert {name: row["exit_code"] for name, row in rows.items() if name != "zeta"} == dict.fromkeys(ACCOUNTS, 0)
    assert (rows["zeta"]["exit_code"], rows["zeta"]["error_code"][:4]) == (5, "WDT-")
    assert rows["acme"]["attempt"] == 1, "its first try was killed"
    assert {name: row["shard"] for name, row in rows.items()} == {name: shard_of(name) for name in rows}
    assert (config.parent / "died").exists()

    wdt_lake("sync", "--config", config, "--lake", tmp_path / "one", *options, env={"ERP_SECRET": secret}, codes=(5,))
    for table in ("purchase_apply", "purchase_apply_detail"):
        assert plain(tmp_path / "lake", table) == plain(tmp_path / "one", table) != []
    wdt_lake("verify", "--deep", "--lake", tmp_path / "lake")
    # Nothing is run again by what is done with the data frame.
    calls = {name: row["calls"] for name, row in rows.items()}
    assert {row["account"]: row["calls"] for row in said.collect()} == calls
    again = extract(spark, str(tmp_path / "lake"), str(config), shards=2, binary=str(program), arguments=options)
    assert {row["account"]: row["windows"] for row in again.collect() if row["account"] != "zeta"} == dict.fromkeys(
        ACCOUNTS, 0
    )


def test_what_comes_to_no_end_is_an_error(spark: SparkSession, tmp_path: Path, erps) -> None:  # noqa: ANN001
    config, _, secret = erps
    for binary, arguments, why in (
        (str(tmp_path / "no wdt-lake"), [], "cannot be run"),
        (BINARY, ["--no-such-option"], "exit code 2 and no summary"),
        ("/bin/false", [], "exit code 1 and no summary"),
    ):
        with pytest.raises(Exception, match=why) as error:
            extract(spark, str(tmp_path / "lake"), str(config), shards=1, binary=binary, arguments=arguments)
        assert secret not in str(error.value)
    for arguments, shards in ((["--json"], 1), (["--lake=x"], 1), (["--wait", "1s"], 1), (["--quiet"], 1), ([], 0)):
        with pytest.raises(UsageError):
            extract(spark, None, str(config), shards=shards, arguments=arguments)


def program(path: Path, said: dict, code: int) -> Path:
    """Write a program that keeps its arguments, and ends with a summary."""
    path.write_text(f"#!/bin/sh\necho \"$@\" > '{path}.arguments'\necho '{json.dumps(said)}'\nexit {code}\n")
    path.chmod(0o755)
    return path


def test_a_run_that_is_interrupted_is_tried_again_and_one_that_fails_is_a_row(tmp_path: Path) -> None:
    done = {"account": "acme", "exit_code": 0, "interrupted": False}
    failed = {"account": "beta", "exit_code": 5, "interrupted": False}
    cut = {"account": "gamma", "exit_code": 7, "interrupted": True}
    gaps = {"account": "delta", "exit_code": 7, "interrupted": False}
    for said in (cut, {"accounts": [done, cut, failed], "exit_code": 7}):
        with pytest.raises(ExtractError, match="shard 1/4 was interrupted .* for gamma .exit code 7."):
            run_shard([str(program(tmp_path / "wdt-lake", said, 7))], "none", 1, 4)
    whole = program(tmp_path / "wdt-lake", {"accounts": [done, failed, gaps], "exit_code": 7}, 7)
    rows = run_shard([str(whole)], "none", 1, 4)
    assert [(row["account"], row["exit_code"]) for row in rows] == [("acme", 0), ("beta", 5), ("delta", 7)]


def test_a_task_waits_longer_for_another_run_than_any_run_lasts(spark: SparkSession, tmp_path: Path) -> None:
    # A double that gave up would end first, and Spark would kill the task that is at work.
    path = program(tmp_path / "wdt-lake", {"account": "acme", "exit_code": 0, "interrupted": False}, 0)
    for options, waits in (({}, "--wait 30d"), ({"wait": "5s"}, "--wait 5s"), ({"wait": None}, "")):
        assert extract(spark, None, "none", shards=1, binary=str(path), **options).count() == 1
        said = Path(f"{path}.arguments").read_text()
        assert (waits in said) if waits else ("--wait" not in said)


def test_a_run_does_not_outlive_its_task(tmp_path: Path) -> None:
    import signal
    import subprocess
    import sys
    import time

    script = tmp_path / "program"
    script.write_text(f"#!/bin/sh\necho $$ > '{tmp_path}/pid'\nexec sleep 600\n")
    script.chmod(0o755)
    code = f"from wdt_lake_spark.extract import run_shard; run_shard(['{script}'], 'none', 0, 1)"
    task = subprocess.Popen([sys.executable, "-c", code], env={**CLEAN, "PYTHONPATH": os.pathsep.join(sys.path)})
    pid = tmp_path / "pid"
    while not (pid.exists() and pid.read_text().strip()):
        assert task.poll() is None
        time.sleep(0.01)
    task.send_signal(signal.SIGKILL)
    task.wait()
    for _ in range(1000):
        try:
            os.kill(int(pid.read_text()), 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)
    raise AssertionError("it is still there")
