"""The data source `wdt_lake` of Spark."""

from __future__ import annotations

import logging
import re
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition

from .contract import (
    arrow_schema,
    check_table,
    columns_of,
    contract_version,
    path_columns,
    spark_schema,
    with_later,
)
from .errors import UsageError
from .filters import Pruning
from .log import Log, open_logs
from .scan import PARTITION_BYTES, Span, Unit, packed, units_of
from .store import Store, store_at

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pyarrow as pa
    from pyspark.sql.datasource import DataSourceStreamReader, Filter
    from pyspark.sql.types import StructType

    from .manifest import Range

_LOG = logging.getLogger("wdt_lake_spark")
_BEIJING = timezone(timedelta(hours=8))
_TIME = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"(?:[ T](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2}))?"
    r"(?:(?P<utc>Z)|(?P<sign>[+-])(?P<hours>[0-9]{2}):(?P<minutes>[0-5][0-9]))?)?"
)
# No second of a lake is before the first or after the last.
_EVER = (-(1 << 40), 1 << 40)
_OPTIONS = {
    "path",
    "table",
    "account",
    "from",
    "to",
    "pushfilters",
    "partitionbytes",
    "since",
    "failondataloss",
    "maxrowspertrigger",
    "maxfilespertrigger",
    "maxbytespertrigger",
}


class Settings:
    """The options of a read, checked."""

    def __init__(self, options: Mapping[str, str]) -> None:
        """Spark gives the names of options in small letters."""
        said = {name.lower(): value for name, value in options.items()}
        unknown = sorted(said.keys() - _OPTIONS)
        if unknown:
            raise UsageError.of(f"there is no option {unknown[0]!r}", f"the options are {', '.join(sorted(_OPTIONS))}")
        self.store: Store = store_at(said.get("path", ""))
        self.table = check_table(said.get("table"))
        named = said.get("account")
        self.accounts = [name.strip() for name in named.split(",")] if named else None
        self.partition_bytes = number(said, "partitionbytes") or PARTITION_BYTES
        self.since = said.get("since")
        self.fails_on_data_loss = _truth(said, "failondataloss", "true")
        self.pushes_filters = _truth(said, "pushfilters", "false")
        self.range = _range(said.get("from"), said.get("to"))
        limits = [name for name in ("maxrowspertrigger", "maxfilespertrigger", "maxbytespertrigger") if name in said]
        if len(limits) > 1:
            raise UsageError.of(f"{' and '.join(limits)} are given", "give one limit of a batch")
        self.limit = (limits[0], number(said, limits[0])) if limits else None

    def logs(self) -> dict[str, Log]:
        """Open the logs of the accounts that are read."""
        return open_logs(self.store, self.accounts)


def number(said: Mapping[str, str], name: str) -> int:
    """Read an option that is a number; 0 where it is not given."""
    text = said.get(name, "")
    if name in said and not (text.isdecimal() and int(text) > 0):
        raise UsageError.of(f"{name} is {text!r}", "give a whole number of 1 or more")
    return int(text or 0)


def _range(first: str | None, last: str | None) -> Range | None:
    """Read a range of modified time; a date alone means its first or its last second."""
    if first is None and last is None:
        return None
    start = int(_moment(first, (0, 0, 0)).timestamp()) if first else _EVER[0]
    end = int(_moment(last, (23, 59, 59)).timestamp()) if last else _EVER[1]
    if start > end:
        raise UsageError.of(f"from {first} to {last} is no range", "`from` must not be later than `to`")
    return start, end


def _moment(text: str, of_day: tuple[int, int, int]) -> datetime:
    """Read a time as the program does; a date alone means a time of that day.

    It is read by hand: what `datetime.fromisoformat` takes besides differs from one Python to the next, and a week or a
    date without hyphens would mean midnight, even where the last second of a day is meant.
    """
    found = _TIME.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        year, month, day = map(int, found.group("year", "month", "day"))
        hour, minute = map(int, found.group("hour", "minute")) if found["hour"] else of_day[:2]
        second = int(found["second"] or 0) if found["hour"] else of_day[2]
        zone = _BEIJING
        if found["sign"]:
            ahead = timedelta(hours=int(found["hours"]), minutes=int(found["minutes"]))
            zone = timezone(-ahead if found["sign"] == "-" else ahead)
        elif found["utc"]:
            zone = timezone.utc
        return datetime(year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError:
        raise UsageError.of(
            f"{text!r} is no time",
            "write 2026-10-01, 2026-10-01 08:30 or 2026-10-01 08:30:00, in Beijing time, or 2026-10-01T08:30:00+08:00",
        ) from None


def _truth(said: Mapping[str, str], name: str, default: str) -> bool:
    text = said.get(name, default).lower()
    if text not in ("true", "false"):
        raise UsageError.of(f"{name} is {text!r}", "give true or false")
    return text == "true"


class LakePartition(InputPartition):
    """What one task reads."""

    def __init__(self, units: tuple[Unit, ...]) -> None:
        """Keep the units of the task."""
        super().__init__(None)
        self.units = units

    def __repr__(self) -> str:
        """Tell the files of the task."""
        return f"LakePartition({', '.join(self.paths)})"

    @property
    def paths(self) -> list[str]:
        """The files of the task, relative to the lake."""
        return [file.entry.path for unit in self.units for file in unit.files]


class WdtLakeDataSource(DataSource):
    """Reads a table of a lake: `spark.read.format("wdt_lake").option("table", "purchase_apply").load(lake)`."""

    @classmethod
    def name(cls) -> str:
        """Name the format."""
        return "wdt_lake"

    def schema(self) -> StructType:
        """Give the columns of the data contract, those that a later contract has added, and those of the path."""
        settings = Settings(self.options)
        columns = columns_of(settings.table)
        later = [log for log in settings.logs().values() if _is_later(log.contract)]
        for log in later:
            newest = max(
                ((commit.number, files[0]) for commit, files in log.state.files(settings.table)),
                key=lambda found: found[0],
                default=None,
            )
            if newest:
                import pyarrow.parquet as pq

                with settings.store.open_verified(newest[1]) as source:
                    columns = with_later(columns, pq.read_schema(source))
        return spark_schema(columns + path_columns(settings.table))

    def reader(self, schema: StructType) -> DataSourceReader:
        """Read a table as it stands."""
        settings = Settings(self.options)
        if settings.since or settings.limit:
            raise UsageError.of("`since` and limits are of streams", "use `spark.readStream`")
        self._check_columns(settings.table, schema)
        return FilteredLakeReader(settings, schema) if settings.pushes_filters else LakeReader(settings, schema)

    def streamReader(self, schema: StructType) -> DataSourceStreamReader:  # noqa: N802
        """Read what comes to a table."""
        try:
            from .stream import LakeStreamReader
        except ImportError:
            raise UsageError.of("streams need Spark 4.2 or newer", "use `spark.read`, or a newer PySpark") from None
        settings = Settings(self.options)
        self._check_columns(settings.table, schema)
        if settings.range or settings.pushes_filters:
            raise UsageError.of("`from`, `to` and `pushFilters` are not of streams", "filter the rows of the stream")
        return LakeStreamReader(settings, schema)

    def _check_columns(self, table: str, schema: StructType) -> None:
        """See that every column that is wanted is one of the table; else it would be null in every row."""
        known = {column.name for column in columns_of(table) + path_columns(table)}
        if not known.issuperset(schema.names):
            known = set(self.schema().names)
        unknown = [name for name in schema.names if name not in known]
        if unknown:
            raise UsageError.of(f"there is no column {unknown[0]} in {table}", "docs/schema.md lists the columns")


def _is_later(contract: str | None) -> bool:
    return contract is not None and tuple(map(int, contract.split("."))) > contract_version()


class LakeReader(DataSourceReader):
    """Reads the committed set, as it is when the query is planned."""

    def __init__(self, settings: Settings, schema: StructType) -> None:
        """Nothing is read before the partitions are wanted."""
        self._settings = settings
        self._schema = arrow_schema(schema)
        self._pruning = Pruning(settings.table, settings.range)

    def __getstate__(self) -> dict[str, Any]:
        """Executors do not choose files."""
        return {**self.__dict__, "_pruning": None}

    def partitions(self) -> list[InputPartition]:
        """Plan the tasks."""
        settings, pruning = self._settings, self._pruning
        logs = settings.logs()
        units = [unit for log in logs.values() for unit in units_of(log, settings.table, Span(), pruning.keeps)]
        files = sum(len(unit.files) for unit in units)
        all_files = sum(len(files) for log in logs.values() for _, files in log.state.files(settings.table))
        _LOG.info("wdt_lake: %s: %d of %d files", settings.table, files, all_files)
        tasks: list[InputPartition] = [LakePartition(task) for task in packed(units, settings.partition_bytes)]
        return tasks or [LakePartition(())]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read the rows of a task, on an executor."""
        return read_partition(self._settings, self._schema, partition)


class FilteredLakeReader(LakeReader):
    """Also leaves out files by the filters of a query.

    Spark 4.1 to 4.3 keeps what was planned for one query of a `load` for all others of it, whatever their filters. So
    this is only for who asked for it, and uses a `load` once.
    """

    def pushFilters(self, filters: list[Filter]) -> Iterable[Filter]:  # noqa: N802
        """Leave out files by filters. Spark applies all of them to the rows as well."""
        self._pruning.add(filters)
        return filters


def read_partition(settings: Settings, schema: pa.Schema, partition: InputPartition) -> Iterator[pa.RecordBatch]:
    """Read the rows of a task, on an executor."""
    from .read import read_unit

    assert isinstance(partition, LakePartition)  # noqa: S101
    for unit in partition.units:
        yield from read_unit(
            settings.store,
            settings.table,
            unit,
            schema,
            settings.range,
            fails_on_data_loss=settings.fails_on_data_loss,
        )
