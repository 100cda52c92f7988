"""How much may be spent: so long, or so many launches."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field

from placer.errors import InputError

SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
_TIME = re.compile(r"(?:\d+(?:\.\d+)?[hms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([hms])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One of the two is None.

    Attributes:
        launches: of the engine, dry runs not counted.
        seconds: from the first step on.
    """

    launches: int | None = None
    seconds: float | None = None


def parse_budget(text: str) -> Budget:
    """``20m``, ``1h30m``, ``90s``, or a number of launches.

    Raises:
        InputError: it is neither, or nothing.
    """
    asked = text.strip().lower()
    if asked.isdecimal() and int(asked) > 0:
        return Budget(launches=int(asked))
    if _TIME.fullmatch(asked):
        parts = _PART.findall(asked)
        seconds = sum(float(count) * SECONDS[unit] for count, unit in parts)
        if seconds > 0:
            return Budget(seconds=seconds)
    raise InputError(
        f"{text!r} is no budget",
        hint="give a time such as 20m, or a number of launches",
    )


@dataclass(slots=True, kw_only=True)
class Purse:
    """What is left of a budget.

    Attributes:
        budget: what there was.
        launched: launches so far.
        longest_s: the longest of them.
    """

    budget: Budget
    launched: int = 0
    longest_s: float = 0.0
    started_s: float = field(default_factory=time.monotonic)

    def spend(self, seconds: float) -> None:
        """One launch was made, and took so long."""
        self.launched += 1
        self.longest_s = max(self.longest_s, seconds)

    def allows(self, launches: int) -> bool:
        """Whether so many more are within the budget, each as long as the longest."""
        if self.budget.launches is not None:
            return self.launched + launches <= self.budget.launches
        left_s = (self.budget.seconds or 0.0) - (time.monotonic() - self.started_s)
        return left_s > 0 and launches * self.longest_s <= left_s
