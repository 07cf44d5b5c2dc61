"""Ranges of seconds, both ends included."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .manifest import Range


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


class Cover:
    """The seconds of many ranges, to be asked often."""

    def __init__(self, ranges: Iterable[Range]) -> None:
        """Put ranges that meet together."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(ranges):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def meets(self, ranges: Iterable[Range]) -> bool:
        """Whether it has a second of these."""
        # Of the parts that begin before the end of a range the last one ends last.
        found = ((start, bisect_right(self._starts, end)) for start, end in ranges)
        return any(at and self._ends[at - 1] >= start for start, at in found)
