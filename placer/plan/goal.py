"""What a plan is to be best at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What a second of each kind is worth.

    Attributes:
        decode: for a token that is written.
        prefill: for a token of a prompt that is read.
    """

    decode: float
    prefill: float


class Goal(Enum):
    """``--for``."""

    DECODE = "decode"
    PREFILL = "prefill"
    BALANCED = "balanced"
    CONTEXT = "context"

    @property
    def reads(self) -> bool:
        """Whether reading prompts is what counts, or half of it."""
        return self in (Goal.PREFILL, Goal.BALANCED)

    @property
    def worth(self) -> Worth:
        """What counts, counts ten times as much as the other, and more.

        A token that is written takes twenty to a hundred times as long as one that is
        read. Balanced are eight tokens read for each one written. The largest context
        is looked for among placements that are best at writing.
        """
        return {
            Goal.DECODE: Worth(decode=1.0, prefill=0.1),
            Goal.PREFILL: Worth(decode=0.001, prefill=1.0),
            Goal.BALANCED: Worth(decode=1.0, prefill=8.0),
            Goal.CONTEXT: Worth(decode=1.0, prefill=0.1),
        }[self]
