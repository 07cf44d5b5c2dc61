"""Rows of committed files as batches that Spark takes. This part runs on the executors."""

from __future__ import annotations

from contextlib import ExitStack
from typing import IO, TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .contract import ACCOUNT_COLUMN, COMMIT_ID, MONTH_COLUMN, TIME_COLUMNS
from .errors import DefectError, ReplacedError, StoreError, UsageError
from .log import Log
from .loss import check_loss
from .ranges import meet, without
from .scan import Selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .manifest import FileEntry, Position, Range
    from .scan import Ids, ScanFile, Unit
    from .store import Store

_TRIES = 5
_BATCH_ROWS = 16_384
_MICROS = 1_000_000
_DAMAGED = "run `wdt-lake verify`; read its range anew with `wdt-lake sync --rewalk`, or restore the file"


def read_unit(  # noqa: PLR0913
    store: Store,
    table: str,
    unit: Unit,
    schema: pa.Schema,
    within: Range | None,
    *,
    fails_on_data_loss: bool = True,
) -> Iterator[pa.RecordBatch]:
    """Give the rows of a unit within a range, from its files or from those that stand in their place by now.

    No row is given before all files are open and checked, so that a file that goes meanwhile does no harm. Of a stream
    it is an error when rows have expired since it was planned, unless `fails_on_data_loss` is false.
    """
    with ExitStack() as stack:
        parts: list[tuple[Range, ...]] = [(within,)] if within else []
        try:
            opened = _open(store, stack, list(unit.files))
        except FileNotFoundError as gone:
            parts += [unit.claims] if unit.claims else []
            opened = _open_now(store, stack, table, unit, str(gone), fails_on_data_loss=fails_on_data_loss)
        for file, source in opened:
            try:
                for batch in _rows(table, file, source, parts, unit.account, schema):
                    if batch.num_rows:
                        yield batch
            except (pa.ArrowException, OSError) as error:
                name = store.name(file.entry.path)
                raise DefectError.of(f"a committed file cannot be read: {name} ({error})", _DAMAGED) from None


def _open(store: Store, stack: ExitStack, files: list[ScanFile]) -> list[tuple[ScanFile, IO[bytes]]]:
    opened = []
    for file in files:
        try:
            opened.append((file, stack.enter_context(store.open_verified(file.entry))))
        except FileNotFoundError:
            raise FileNotFoundError(store.name(file.entry.path)) from None
    return opened


def _open_now(  # noqa: PLR0913
    store: Store, stack: ExitStack, table: str, unit: Unit, missing: str, *, fails_on_data_loss: bool
) -> list[tuple[ScanFile, IO[bytes]]]:
    """Open the files that hold the seconds of a unit by now."""
    newest = unit.newest
    for _ in range(_TRIES):
        log = Log(store, unit.account)
        _check_is_planned(store, log, newest)
        if log.state.newest == newest:
            raise DefectError.of(f"a committed file is missing: {missing}", _DAMAGED)
        newest = log.state.newest
        if fails_on_data_loss:
            _check_expired(log, table, unit)
        selection = Selection(log, unit.span)
        files = [
            file
            for commit, entries in log.state.files(table)
            if _shares(commit.claims, unit.claims)
            for file in selection.files(commit, entries)
        ]
        with ExitStack() as tried:
            try:
                opened = _open(store, tried, files)
            except FileNotFoundError as gone:
                missing = str(gone)
                continue
            stack.push(tried.pop_all())
            return opened
    raise ReplacedError.of(
        f"files were replaced again and again while they were read, last {missing}",
        "run it again, or let `wdt-lake sync --keep-removed 15m` keep them for as long as reading takes",
    )


def _check_is_planned(store: Store, log: Log, planned: Position | None) -> None:
    """See that a log goes on from the one that was planned from.

    A lake that vanished has an empty log, and an earlier copy of it a shorter one. What either lacks is no row that was
    replaced, and must not be left out.
    """
    if planned is None or log.position(planned.number) != planned:
        raise StoreError.of(
            f"the lake at {store.uri} is not the one that was planned from: the log of {log.account} ends with manifest"
            f" {log.state.number} and has not the manifest {planned.number if planned else 0} that the driver saw",
            "the lake must be mounted on every executor under the name that the driver has for it, or every executor"
            " needs the same variables AWS_; then run it again",
        )


def _check_expired(log: Log, table: str, unit: Unit) -> None:
    """See that no row has expired that a stream was promised when the unit was planned."""
    span = unit.span
    if span.last is None:
        return
    expired = [one for one in without(log.state.expired(), unit.expired) if meet([one], unit.claims)]
    check_loss(log, table, span.after, span.last, tuple(expired))


def _shares(claims: tuple[Range, ...], others: tuple[Range, ...]) -> bool:
    if not claims or not others:
        return not claims and not others
    return meet(claims, others)


def _rows(  # noqa: PLR0913, PLR0917
    table: str,
    file: ScanFile,
    source: IO[bytes],
    parts: list[tuple[Range, ...]],
    account: str,
    schema: pa.Schema,
) -> Iterator[pa.RecordBatch]:
    time_column = TIME_COLUMNS[table]
    parquet = pq.ParquetFile(source)
    if parquet.metadata.num_rows != file.entry.rows:
        raise pa.ArrowInvalid(f"it has {parquet.metadata.num_rows} rows instead of {file.entry.rows}")
    there = set(parquet.schema_arrow.names)
    wanted = [name for name in schema.names if name in there]
    needed = set(wanted)
    if file.ids is not None:
        needed.add(COMMIT_ID)
    if parts:
        needed.add(time_column)
    for group in range(parquet.metadata.num_row_groups):
        if file.ids is not None:
            ids = parquet.read_row_group(group, columns=[COMMIT_ID]).column(0)
            if not pc.any(_is_wanted(ids, file.ids)).as_py():
                continue
        # Without columns of the file the rows are counted by one that it always has.
        columns = sorted(needed) or [COMMIT_ID]
        for found in parquet.iter_batches(batch_size=_BATCH_ROWS, row_groups=[group], columns=columns):
            batch = found
            if file.ids is not None:
                batch = batch.filter(_is_wanted(batch.column(COMMIT_ID), file.ids))
            for ranges in parts:
                batch = batch.filter(_is_within(batch.column(time_column), ranges))
            yield _fitted(batch, file.entry, account, schema)


def _is_wanted(ids: Any, wanted: Ids) -> Any:
    mask = pc.is_in(ids, value_set=pa.array(sorted(wanted.commits), pa.string()))
    return pc.invert(mask) if wanted.is_excluding else mask


def _is_within(times: Any, ranges: tuple[Range, ...]) -> Any:
    micros = times.cast(pa.int64())
    mask = None
    for start, end in ranges:
        one = pc.and_(pc.greater_equal(micros, start * _MICROS), pc.less(micros, (end + 1) * _MICROS))
        mask = one if mask is None else pc.or_(mask, one)
    return mask


def _fitted(batch: pa.RecordBatch, entry: FileEntry, account: str, schema: pa.Schema) -> pa.RecordBatch:
    """Give the columns of a schema; those that the file lacks are null, and those of the path are filled in."""
    path = {ACCOUNT_COLUMN: account, MONTH_COLUMN: entry.month}
    arrays = []
    for field in schema:
        if field.name in batch.schema.names:
            arrays.append(_cast(batch.column(field.name), field))
        elif field.name in path and path[field.name] is not None:
            arrays.append(pa.repeat(pa.scalar(path[field.name], field.type), batch.num_rows))
        elif field.nullable:
            arrays.append(pa.nulls(batch.num_rows, field.type))
        else:
            raise pa.ArrowInvalid(f"it lacks the column {field.name}")
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _holds(wide: Any, narrow: Any) -> bool:
    """Whether every decimal of one type is one of another, as it is."""
    return bool(wide.scale >= narrow.scale and wide.precision - wide.scale >= narrow.precision - narrow.scale)


def _cast(array: Any, field: pa.Field) -> Any:
    """Widen an integer or a decimal; nothing else changes its type, and no decimal becomes a float."""
    if array.type == field.type:
        return array
    both = (array.type, field.type)
    if all(map(pa.types.is_integer, both)) and array.type.bit_width < field.type.bit_width:
        return array.cast(field.type)
    if all(map(pa.types.is_decimal, both)) and _holds(field.type, array.type):
        return array.cast(field.type)
    raise UsageError.of(
        f"the column {field.name} is {array.type} and cannot be read as {field.type}",
        "leave `.schema(...)` out, or give columns the types that the table has",
    )
