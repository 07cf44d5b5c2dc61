"""The reader of logs and files, without Spark."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from conftest import GOLDEN, REPOSITORY, TABLES, Sandbox, exported, ordered, wdt_lake
from reading import rows_of

from wdt_lake_spark import DefectError, FormatError, StoreError, UsageError
from wdt_lake_spark.log import Log, open_logs
from wdt_lake_spark.store import LocalStore, store_at

LAKES = sorted(path.name for path in GOLDEN.iterdir() if path.is_dir())
ACCOUNT = "_manifest/account=sandbox"


def without_month(rows: list[dict]) -> list[dict]:
    """Leave out the column that `export` does not have."""
    return ordered([{name: value for name, value in row.items() if name != "modified_month"} for row in rows])


def months_are_those_of(rows: list[dict]) -> bool:
    """Whether `modified_month` is the Beijing month of the modified time."""
    from datetime import timedelta

    times = [(row, row.get("modified") or row.get("apply_modified")) for row in rows if "modified_month" in row]
    return all(f"{time + timedelta(hours=8):%Y-%m}" == row["modified_month"] for row, time in times)


@pytest.mark.parametrize("name", LAKES)
def test_golden_lakes_have_the_rows_that_export_gives(name: str) -> None:
    for table in TABLES:
        rows = rows_of(GOLDEN / name, table)
        assert without_month(rows) == exported(GOLDEN / name, table), (name, table)
        assert months_are_those_of(rows)


def test_the_contract_is_that_of_the_repository() -> None:
    said = json.loads((REPOSITORY / "spark/src/wdt_lake_spark/contract.json").read_text("utf-8"))
    for table in TABLES:
        contract = json.loads((REPOSITORY / f"schemas/{table}.json").read_text("utf-8"))
        assert said["contract"] == contract["contract"]
        names = ("name", "type", "required", "en")
        assert said["tables"][table] == [{name: one[name] for name in names} for one in contract["columns"]]


def test_a_lake_that_was_moved_is_read_where_it_is(lake_of) -> None:
    lake = lake_of("compacted")
    moved = lake.parent / "somewhere else"
    lake.rename(moved)
    assert len(rows_of(moved, "purchase_apply")) == len(rows_of(GOLDEN / "compacted", "purchase_apply")) > 0
    with pytest.raises(StoreError, match="no lake"):
        rows_of(lake, "purchase_apply")


def test_an_empty_lake_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "_manifest").mkdir()
    assert rows_of(tmp_path, "purchase_apply") == []
    (tmp_path / "_manifest/account=acme/0000000000000000").mkdir(parents=True)
    assert rows_of(tmp_path, "purchase_apply") == []


def test_a_folder_that_is_above_or_below_a_lake_is_none(lake_of, tmp_path: Path) -> None:  # noqa: ANN001
    lake = lake_of("plain")
    (tmp_path / "empty").mkdir()
    for folder in (lake.parent, lake / "_manifest", lake / "purchase_apply", tmp_path / "empty"):
        for accounts in (None, ["sandbox"]):
            with pytest.raises(StoreError, match="(?s)there is no lake at .*in which `_manifest` stands"):
                rows_of(folder, "purchase_apply", accounts)
    # A run has begun there, and nothing has come yet.
    (tmp_path / "empty/_lease").mkdir()
    assert rows_of(tmp_path / "empty", "purchase_apply") == []


def test_accounts_are_chosen_and_odd_names_are_left_alone(lake_of) -> None:
    lake = lake_of("plain")
    for name in ("account=", "account=1st", "account=a b", "account=a%2Fb", "other"):
        (lake / "_manifest" / name).mkdir()
    assert len(rows_of(lake, "purchase_apply", ["sandbox"])) == len(rows_of(lake, "purchase_apply")) > 0
    for name in ("nobody", "a b", "../x", "sandbox/.."):
        with pytest.raises(UsageError):
            rows_of(lake, "purchase_apply", [name])


def test_without_checkpoints_and_with_broken_ones_the_rows_are_the_same(lake_of) -> None:
    lake = lake_of("checkpointed")
    wanted = rows_of(lake, "purchase_apply")
    newest, older = sorted((lake / ACCOUNT / "_checkpoint").iterdir(), reverse=True)
    good = newest.read_bytes()
    head, state = good.split(b"\n")[:2]
    foreign = state.replace(b'"rows":', b'"rows" :')
    other_log = state.replace(json.loads(state)["newest"]["sha256"].encode(), b"0" * 64)
    for data in (b"", b"{}\n{}\n", good[:-30], head + b"\n" + foreign + b"\n", signed(other_log), signed(foreign) * 2):
        newest.write_bytes(data)
        assert rows_of(lake, "purchase_apply") == wanted, data[:80]
    newest.unlink()
    assert rows_of(lake, "purchase_apply") == wanted
    older.unlink()
    assert rows_of(lake, "purchase_apply") == wanted


def signed(state: bytes) -> bytes:
    """Write a checkpoint of a state."""
    head = {"format": "1.0", "sha256": hashlib.sha256(state).hexdigest()}
    return json.dumps(head).encode() + b"\n" + state + b"\n"


def test_logs_that_are_none_are_defects_and_say_where(lake_of) -> None:
    lake = lake_of("refreshed")
    manifests = sorted((lake / ACCOUNT / "0000000000000000").iterdir())
    shutil.rmtree(lake / ACCOUNT / "_checkpoint", ignore_errors=True)
    for path in manifests[:-1]:
        good = path.read_bytes()
        path.unlink()
        with pytest.raises(DefectError, match=f"missing.*{path.name}"):
            rows_of(lake, "purchase_apply")
        for bad in (b"{}", good[:-5], good.replace(b"rows", b"Rows", 1), good.replace(b'"number":', b'"number":1', 1)):
            path.write_bytes(bad)
            with pytest.raises(DefectError, match="manifest"):
                rows_of(lake, "purchase_apply")
        path.write_bytes(good)
    assert rows_of(lake, "purchase_apply")


def changed(path: Path, change) -> None:  # noqa: ANN001
    """Change the newest manifest."""
    said = json.loads(path.read_bytes())
    change(said)
    path.write_text(json.dumps(said))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda said: said.update(format="2.0"), FormatError),
        (lambda said: said.update(format="0.9"), FormatError),
        (lambda said: said.update(contract="3.1"), FormatError),
        (lambda said: said.update(format=None), DefectError),
        (lambda said: said["account"].update(sid="another"), DefectError),
        (lambda said: said["account"].update(name="another"), DefectError),
        (lambda said: said["previous"].update(sha256="0" * 64), DefectError),
        (lambda said: said.update(removes=[said["id"]]), DefectError),
        (lambda said: said["removes"].clear(), DefectError),
        (lambda said: said.update(removes=said["removes"] * 2), DefectError),
        (lambda said: said["commits"][0]["files"][0].update(path="../../etc/passwd"), DefectError),
        (lambda said: said["commits"][0]["files"][0].update(bytes=-1), DefectError),
        (lambda said: said["commits"][0]["files"][0].update(table="other"), DefectError),
        (lambda said: said["commits"][0]["files"].append(said["commits"][0]["files"][0]), DefectError),
        (lambda said: said["commits"][0]["window"].update(end="2026-07-05T23:59:59"), DefectError),
    ],
)
def test_a_manifest_that_may_not_follow_is_refused(lake_of, change, kind) -> None:  # noqa: ANN001
    lake = lake_of("refreshed")
    shutil.rmtree(lake / ACCOUNT / "_checkpoint", ignore_errors=True)
    paths = sorted((lake / ACCOUNT / "0000000000000000").iterdir())
    refresh = next(path for path in paths if '"kind":"refresh"' in path.read_text())
    for path in paths[paths.index(refresh) + 1 :]:
        path.unlink()
    rows_of(lake, "purchase_apply")
    changed(refresh, change)
    with pytest.raises(kind):
        rows_of(lake, "purchase_apply")


def test_fields_of_a_later_minor_version_are_ignored(lake_of) -> None:
    lake = lake_of("plain")
    path = sorted((lake / ACCOUNT / "0000000000000000").iterdir())[-1]
    wanted = rows_of(lake, "purchase_apply")
    shutil.rmtree(lake / ACCOUNT / "_checkpoint", ignore_errors=True)
    changed(path, lambda said: said.update(format="1.7", contract="1.3", new={"a": 1}))
    assert rows_of(lake, "purchase_apply") == wanted


def test_older_formats_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "_manifest/account=acme"
    folder.mkdir(parents=True)
    (folder / "00000000000000000001.json").write_text('{"format":"1.0"}')
    with pytest.raises(FormatError, match="before 1.0"):
        rows_of(tmp_path, "purchase_apply")


def test_a_fork_of_a_single_writers_log_stops_every_reader(lake_of) -> None:
    lake = lake_of("single_writer")
    path = sorted((lake / ACCOUNT / "0000000000000000").iterdir())[-1]
    other = path.with_name(path.name[:21] + "01a22683-dad4-7276-a725-7e3248965082.json")
    other.write_bytes(path.read_bytes())
    with pytest.raises(DefectError, match="two writers"):
        rows_of(lake, "purchase_apply")


@pytest.mark.parametrize("read_at_once", [1 << 20, 100])
def test_a_damaged_or_missing_file_is_named(lake_of, monkeypatch, read_at_once: int) -> None:
    monkeypatch.setattr("wdt_lake_spark.store._CHUNK", read_at_once)
    lake = lake_of("plain")
    assert rows_of(lake, "purchase_apply") == rows_of(GOLDEN / "plain", "purchase_apply")
    path = next((lake / "purchase_apply").rglob("*.parquet"))
    good = path.read_bytes()
    for bad in (good[:-1], b"", good[:100] + b"\0" + good[101:]):
        path.write_bytes(bad)
        with pytest.raises(DefectError, match=path.name):
            rows_of(lake, "purchase_apply")
    path.unlink()
    with pytest.raises(DefectError, match=f"missing.*{path.name}"):
        rows_of(lake, "purchase_apply")
    path.write_bytes(good)
    assert rows_of(lake, "purchase_apply")


def test_what_no_manifest_names_is_not_read(lake_of) -> None:
    lake = lake_of("plain")
    wanted = rows_of(lake, "purchase_apply")
    path = next((lake / "purchase_apply").rglob("*.parquet"))
    shutil.copy(path, path.with_name(path.name.replace("-01", "-02")))
    assert rows_of(lake, "purchase_apply") == wanted


def test_logs_of_more_than_ten_thousand_manifests_go_on_in_the_next_folder(lake_of) -> None:
    lake = lake_of("plain")
    shutil.rmtree(lake / ACCOUNT / "_checkpoint", ignore_errors=True)
    wanted = rows_of(lake, "purchase_apply")
    store = store_at(str(lake))
    last = Log(store, "sandbox").state.newest
    template = json.loads(sorted((lake / ACCOUNT / "0000000000000000").iterdir())[-1].read_bytes())
    del template["walk"]
    number, sha256 = last.number, last.sha256
    while number < 10_003:
        number += 1
        one = f"01a22683-0000-7000-8000-{number:012x}"
        fence = f"01a22683-0000-7000-9000-{number:012x}"
        about = {"number": number, "id": one, "previous": {"number": number - 1, "sha256": sha256}}
        data = json.dumps({**template, **about, "commits": [], "removes": [], "fences": [fence]}).encode()
        path = lake / ACCOUNT / f"{number // 10_000:016d}" / f"{number:020d}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        sha256 = hashlib.sha256(data).hexdigest()
    assert Log(store, "sandbox").state.newest.number == 10_003
    assert rows_of(lake, "purchase_apply") == wanted
    # The program reads it as well, leaves a checkpoint, and from there on nothing before it is read.
    with Sandbox("--requisitions", 0, "--end", "2026-07-06", "--hold-clock") as sandbox:
        sandbox.sync(lake, "--to", "2026-07-05")
    assert [path.name[:20] for path in (lake / ACCOUNT / "_checkpoint").iterdir()] == [f"{10_003:020d}"]
    (lake / ACCOUNT / "0000000000000000" / f"{5:020d}.json").unlink()
    assert rows_of(lake, "purchase_apply") == wanted


def named_by_a_single_writer(path: Path) -> Path:
    """Name a manifest as a single writer does."""
    return path.with_name(f"{path.stem}-{json.loads(path.read_bytes())['id']}.json")


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_log_of_plain_names_that_a_single_writer_continues_is_followed(lake_of, monkeypatch, seconds: int) -> None:  # noqa: ANN001
    now = 1000.0
    monkeypatch.setattr("wdt_lake_spark.log.monotonic", lambda: now)
    lake = lake_of("refreshed")
    wanted = Log(store_at(str(lake)), "sandbox").state
    shutil.rmtree(lake / ACCOUNT / "_checkpoint")
    manifests = sorted((lake / ACCOUNT / "0000000000000000").iterdir())
    kept = {named_by_a_single_writer(path): path.read_bytes() for path in manifests[-3:]}
    for path in manifests[-3:]:
        path.unlink()
    store = Counting(str(lake), lake)
    monkeypatch.setattr(Counting, "seconds_between_listings", seconds)
    log = Log(store, "sandbox")
    store.listed.clear()
    for _ in range(3):
        log.follow()
    assert len(store.listed) == (0 if seconds else 3)
    for path, data in kept.items():
        path.write_bytes(data)
        if seconds and not log._has_ids:
            log.follow()
            assert log.state.number == len(manifests) - 3, "it is not listed within a minute"
            now += seconds
        log.follow()
    assert log.state.newest == wanted.newest
    assert log.state.live == wanted.live
    assert [step.position.number for step in log.steps_between(0, log.state.number)] == list(
        range(1, log.state.number + 1)
    )


class Counting(LocalStore):
    """Remembers what was listed."""

    def __init__(self, uri: str, root: Path) -> None:
        super().__init__(uri, root)
        self.listed: list[str] = []

    def names(self, folder: str) -> list[str]:
        self.listed.append(folder)
        return super().names(folder)


def test_a_bucket_is_listed_once_a_minute_at_most() -> None:
    assert store_at("s3://bucket/lake").seconds_between_listings == 60
    assert store_at("/lake").seconds_between_listings == 0


def test_steps_of_a_single_writers_log_are_found_by_one_listing(lake_of) -> None:  # noqa: ANN001
    lake = lake_of("single_writer")
    store = Counting(str(lake), lake)
    log = Log(store, "sandbox")
    number = log.state.number
    assert number > 2
    wanted = log.steps_between(0, number)
    log.forget(number)
    store.listed.clear()
    assert log.steps_between(0, number) == wanted
    assert store.listed == [f"{ACCOUNT}/0000000000000000"]
    # A fork of what was forgotten is still found.
    path = min((lake / ACCOUNT / "0000000000000000").iterdir())
    path.with_name(path.name[:21] + "01a22683-dad4-7276-a725-7e3248965082.json").write_bytes(path.read_bytes())
    log.forget(number)
    with pytest.raises(DefectError, match="two writers"):
        log.steps_between(0, number)


class Forgetful(LocalStore):
    """Lists all manifests but the last two, as object stores exist that do."""

    def names(self, folder: str) -> list[str]:
        names = super().names(folder)
        return names[:-2] if folder.rsplit("/", 1)[-1].isdigit() else names


def test_what_a_listing_leaves_out_is_found_by_its_number(lake_of) -> None:  # noqa: ANN001
    lake = lake_of("compacted")
    shutil.rmtree(lake / ACCOUNT / "_checkpoint", ignore_errors=True)
    assert Log(Forgetful(str(lake), lake), "sandbox").state.newest == Log(store_at(str(lake)), "sandbox").state.newest


def test_a_log_is_followed(tmp_path: Path) -> None:
    with Sandbox("--requisitions", 60, "--days", 30, "--end", "2026-07-05", "--hold-clock") as sandbox:
        sandbox.sync(tmp_path, "--from", "2026-06-06", "--to", "2026-06-10", "--compact", "off")
        log = open_logs(store_at(str(tmp_path)), None)["sandbox"]
        for day in range(11, 17):
            sandbox.sync(tmp_path, "--to", f"2026-06-{day}", "--compact", "off")
        log.follow()
        fresh = Log(store_at(str(tmp_path)), "sandbox")
    assert log.state.newest == fresh.state.newest
    assert log.state.live == fresh.state.live
    assert [step.position.number for step in log.steps_between(0, log.state.number)] == list(
        range(1, log.state.number + 1)
    )


def test_tokens_are_those_of_the_program(tmp_path: Path) -> None:
    from wdt_lake_spark.token import Token, parse_token

    for name in LAKES:
        for table in TABLES:
            said = (
                wdt_lake("changes", table, "--lake", GOLDEN / name, "--out", tmp_path / "new.parquet").decode().strip()
            )
            log = open_logs(store_at(str(GOLDEN / name)), None)["sandbox"]
            assert str(Token(table).moved({"sandbox": log.state.newest})) == said == str(parse_token(said, table))
    for wrong in (
        "",
        "purchase_apply,",
        "nothing,a:1:0123456789abcdef",
        "purchase_apply,b:0:0123456789abcdef",
        said + ",",
    ):
        with pytest.raises(UsageError):
            parse_token(wrong, "stop_reference")
