"""Rows that expired before a stream was given them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from .errors import DataLossError
from .ranges import meet

if TYPE_CHECKING:
    from .log import Log
    from .manifest import Range

_BEIJING = timezone(timedelta(hours=8))


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
