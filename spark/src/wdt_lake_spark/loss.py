"""Rows that expired before a stream was given them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from .errors import DataLossError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .log import Log
    from .manifest import Range

_BEIJING = timezone(timedelta(hours=8))


def meet(ranges: Iterable[Range], others: Iterable[Range]) -> bool:
    """Whether a range of some shares a second with one of others."""
    there = tuple(others)
    return any(one[0] <= other[1] and other[0] <= one[1] for one in ranges for other in there)


def without(ranges: Iterable[Range], others: Iterable[Range]) -> tuple[Range, ...]:
    """Give what is left of ranges without others."""
    left = list(ranges)
    for start, end in others:
        cut = [((first, min(last, start - 1)), (max(first, end + 1), last)) for first, last in left]
        left = [part for parts in cut for part in parts if part[0] <= part[1]]
    return tuple(left)


def check_loss(log: Log, table: str, after: int, last: int, expired: tuple[Range, ...]) -> None:
    """See that no manifest from `after` + 1 to `last` landed rows of a table in seconds that have expired since."""
    if not expired:
        return
    for step in log.steps_between(after, last):
        lost = [window for window in step.windows if meet([window], expired)]
        if lost and step.landed.get(table):
            raise DataLossError.of(
                f"rows of {log.account} from {_text(lost[0][0])} to {_text(lost[0][1])} expired before the stream was"
                f" given them (manifest {step.position.number})",
                "`failOnDataLoss` false goes on without them; a new checkpointLocation begins anew",
            )


def _text(second: int) -> str:
    return datetime.fromtimestamp(second, _BEIJING).isoformat()
