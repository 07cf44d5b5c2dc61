"""The token of `wdt-lake changes`: how far a reader of a table has come in the log of each account."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .errors import UsageError
from .manifest import ACCOUNT, TABLES

if TYPE_CHECKING:
    from .manifest import Position

_DIGITS = 16
_PLACE = re.compile(rf"({ACCOUNT.pattern}):([1-9]\d*):([0-9a-f]{{{_DIGITS}}})")


@dataclass(frozen=True)
class Token:
    """A table, and of each account the number of the last manifest that was taken into account, and its digest."""

    table: str
    places: dict[str, tuple[int, str]] = field(default_factory=dict)

    def number(self, account: str) -> int:
        """Tell how far the reader has come in a log; 0 where it has seen nothing of it."""
        return self.places[account][0] if account in self.places else 0

    def moved(self, ends: dict[str, Position]) -> Token:
        """Move on to places in some logs."""
        places = {account: (end.number, end.sha256[:_DIGITS]) for account, end in ends.items()}
        return Token(self.table, {**self.places, **places})

    def __str__(self) -> str:
        """Write it as `wdt-lake changes` does."""
        return ",".join([self.table, *(f"{name}:{at[0]}:{at[1]}" for name, at in sorted(self.places.items()))])


def parse_token(text: str, table: str) -> Token:
    """Read a token of a table."""
    name, *parts = text.strip().split(",")
    found = [_PLACE.fullmatch(part) for part in parts]
    token = Token(name, {place[1]: (int(place[2]), place[3]) for place in found if place})
    if name not in TABLES or str(token) != text.strip():
        raise UsageError.of(
            f"this is no token of `wdt-lake changes`: {text[:200]!r}",
            "give it as it was printed, or leave `since` out to begin with all rows",
        )
    if name != table:
        raise UsageError.of(
            f"the token is of the table {name}, and {table} is read", "keep a token, and a checkpoint, for each table"
        )
    return token
