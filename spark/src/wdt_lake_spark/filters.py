"""Filters of Spark that tell which files need not be read. Spark applies each of them to the rows all the same."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from .contract import ACCOUNT_COLUMN, MONTH_COLUMN, TIME_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pyspark.sql.datasource import Filter

    from .manifest import FileEntry, Range


@dataclass
class Pruning:
    """What filters say of the account, the month and the modified time of rows."""

    table: str
    range: Range | None = None
    _tests: list[tuple[str, Callable[[Any, Any], bool]]] = field(default_factory=list)

    def add(self, filters: Iterable[Filter]) -> None:
        """Take filters, all of which must be met. Those that say nothing here are left out."""
        for one in filters:
            attribute: Any = getattr(one, "attribute", ())
            names = (ACCOUNT_COLUMN, MONTH_COLUMN, TIME_COLUMNS[self.table])
            if len(attribute) != 1 or attribute[0] not in names:
                continue
            kind = datetime if attribute[0] == TIME_COLUMNS[self.table] else str
            test = _test(type(one).__name__, getattr(one, "value", None), kind)
            if test:
                self._tests.append((attribute[0], test))

    def keeps(self, account: str, entry: FileEntry) -> bool:
        """Whether rows of a file can meet the filters."""
        if self.range and (entry.max_modified < self.range[0] or entry.min_modified > self.range[1]):
            return False
        # A manifest states whole seconds.
        least = datetime.fromtimestamp(entry.min_modified, timezone.utc)
        greatest = datetime.fromtimestamp(entry.max_modified, timezone.utc).replace(microsecond=999_999)
        month = entry.month
        ranges = {ACCOUNT_COLUMN: (account, account), TIME_COLUMNS[self.table]: (least, greatest)}
        if month is not None:
            ranges[MONTH_COLUMN] = (month, month)
        return all(test(*ranges[name]) for name, test in self._tests if name in ranges)


def _test(kind: str, value: Any, of: type) -> Callable[[Any, Any], bool] | None:
    """Make the test that values from a least to a greatest one can pass; None where the filter is not understood."""
    values = tuple(value) if kind == "In" and isinstance(value, (tuple, list)) else (value,)
    if not all(isinstance(one, of) and getattr(one, "tzinfo", timezone.utc) is not None for one in values):
        return None
    if kind in ("EqualTo", "EqualNullSafe", "In"):
        return lambda least, greatest: any(least <= one <= greatest for one in values)
    if kind == "GreaterThan":
        return lambda _, greatest: bool(greatest > value)
    if kind == "GreaterThanOrEqual":
        return lambda _, greatest: bool(greatest >= value)
    if kind == "LessThan":
        return lambda least, _: bool(least < value)
    if kind == "LessThanOrEqual":
        return lambda least, _: bool(least <= value)
    if kind == "StringStartsWith":
        return lambda least, _: bool(least.startswith(value))
    return None
