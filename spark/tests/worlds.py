"""A lake that goes on: syncs, refreshes that replace rows, rewalks, compactions, and months that expire."""

from __future__ import annotations

import random
from contextlib import ExitStack
from typing import TYPE_CHECKING

from conftest import Sandbox, exported, wdt_lake

if TYPE_CHECKING:
    from pathlib import Path

BASE = ("--requisitions", 500, "--days", 60, "--end", "2026-07-05", "--hold-clock")


class World:
    """Two accounts of the ERP, each served by two sandboxes that disagree in some rows of one and the same second."""

    def __init__(self, lake: Path, seed: int = 1) -> None:
        self.lake, self.day = lake, 4
        self._dice = random.Random(seed)
        self._open = ExitStack()
        self._erps = {}
        for number, name in enumerate(("acme", "beta-2_X")):
            base = (*BASE, "--sid", name, "--seed", 7 + number)
            made = (Sandbox(*base, "--poison", "0.05"), Sandbox(*base, "--extremes"))
            self._erps[name] = [self._open.enter_context(one) for one in made]

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def sync(self, name: str, which: int, *arguments: object) -> None:
        """Sync one account against one of its sandboxes."""
        erp = self._erps[name][which]
        erp.sync(self.lake, "--compact", "off", *arguments, codes=(0, 3))

    def begin(self) -> None:
        """Land the first days of both accounts."""
        for name in self._erps:
            for day in ("2026-05-31", "2026-06-02", "2026-06-04"):
                self.sync(name, 0, "--from", "2026-05-07", "--to", day)

    def go_on(self) -> str:
        """Land a day or two of each account."""
        self.day = min(self.day + 1, 30)
        for name in self._erps:
            self.sync(name, self._dice.randrange(2), "--to", f"2026-06-{self.day:02}")
        return "sync"

    def refresh(self, which: int | None = None) -> str:
        """Walk the last days again, where the other sandbox has other rows."""
        for name in self._erps:
            chosen = self._dice.randrange(2) if which is None else which
            self.sync(name, chosen, "--to", f"2026-06-{self.day:02}", "--lookback", "15d")
        return "refresh"

    def rewalk(self) -> str:
        """Read a range anew."""
        name = self._dice.choice(sorted(self._erps))
        self.sync(name, self._dice.randrange(2), "--rewalk", f"2026-06-01..2026-06-{self.day:02}")
        return "rewalk"

    def compact(self) -> str:
        """Put commits together; what they stood in is deleted at once."""
        wdt_lake("compact", "--lake", self.lake)
        return "compact"

    def expire(self) -> str:
        """Let May expire."""
        wdt_lake("expire", "--lake", self.lake, "--before", "2026-06", "--yes")
        return "expire"

    def any(self) -> str:
        """Do something that comes any day."""
        acts = [self.go_on, self.go_on, self.refresh, self.compact, self.rewalk]
        return self._dice.choice(acts)()

    def rows(self, table: str) -> list[dict]:
        """Give the rows that stand in the lake now."""
        return exported(self.lake, table)
