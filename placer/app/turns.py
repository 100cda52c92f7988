"""What became of one profile among several that were searched in turn."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any


class Ended(Enum):
    """What became of a profile, in one word."""

    FOUND = "found"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What became of one profile.

    Attributes:
        profile: its id.
        status: in one word.
        reason: why it failed or was skipped.
        exit_code: that of its failure; 0 where it did not fail.
        strategy: of the answer, its letter.
        args: of the answer, the flags that place.
        launches: of the search, in all.
        seconds: that passed, those before it was broken off left out.
        was_tokens_per_s: decode speed as the profile's proof had it before.
        tokens_per_s: decode speed of the answer.
        emulated: whether the devices were not real: speeds mean nothing then.
        study: where the search is recorded.
    """

    profile: str
    status: Ended
    reason: str | None = None
    exit_code: int = 0
    strategy: str | None = None
    args: tuple[str, ...] = ()
    launches: int = 0
    seconds: float = 0.0
    was_tokens_per_s: float | None = None
    tokens_per_s: float | None = None
    emulated: bool = False
    study: str | None = None

    def as_json(self) -> dict[str, Any]:
        """The turn as the journal and ``--json`` have it."""
        return {**asdict(self), "status": self.status.value, "args": list(self.args)}

    @classmethod
    def of_json(cls, record: dict[str, Any]) -> Turn:
        """The turn of a record."""
        known = {name: record[name] for name in cls.__slots__}
        status, args = Ended(record["status"]), tuple(record["args"])
        return cls(**{**known, "status": status, "args": args})


def exit_code(turns: tuple[Turn, ...]) -> int:
    """For scripts: the worst of all."""
    return max((turn.exit_code for turn in turns), default=0)
