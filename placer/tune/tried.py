"""What was tried, what it gave, and whether one is faster than another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from statistics import fmean
from typing import TYPE_CHECKING, Any

from placer.measure.student import CONFIDENCE, quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.plan.goal import Worth
    from placer.tune.knobs import Settings

# Less than this is nothing that anybody would notice.
LEAST_GAIN = 0.01


class Came(Enum):
    """What became of settings."""

    MEASURED = "measured"
    DOES_NOT_FIT = "does not fit"
    RAN_OUT = "ran out of memory"
    REFUSED = "refused"
    FAILED = "failed"

    @property
    def was_launched(self) -> bool:
        """Whether the engine was started for it, dry runs not counted."""
        return self not in (Came.DOES_NOT_FIT, Came.REFUSED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """Tokens per second, as measured.

    Attributes:
        decode: written by one slot alone.
        prefill: read while the context is filled, all slots together.
    """

    decode: float
    prefill: float

    def cost(self, worth: Worth) -> float:
        """Seconds, weighed by the goal."""
        return worth.decode / self.decode + worth.prefill / self.prefill


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """Settings, and what became of them.

    Attributes:
        number: from 1, in the order of the study.
        settings: a value for every knob.
        came: what became of them.
        args: the flags of the launch; none where nothing could be placed.
        pace: what was measured, None where nothing was.
        why: in words, where they were not measured.
        short_bytes: missing on a device, where that is known.
        record: of the launch, as ``trial_record`` has it.
    """

    number: int
    settings: Settings
    came: Came
    args: tuple[str, ...] = ()
    pace: Pace | None = None
    why: str = ""
    short_bytes: int | None = None
    record: Mapping[str, Any] | None = None

    @property
    def placement_args(self) -> tuple[str, ...]:
        """The flags that place, -ngl first."""
        at = self.args.index("-ngl") if "-ngl" in self.args else len(self.args)
        return self.args[at:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Two settings measured again, in turns.

    Attributes:
        start: what the start did.
        best: what the best did.
        gain: share of the time that the best saves; negative where it is slower.
        noise: the share by which two such measurements differ by chance.
    """

    start: Pace
    best: Pace
    gain: float
    noise: float

    @property
    def is_better(self) -> bool:
        """Whether the best is faster by more than chance explains."""
        return self.gain > max(self.noise, LEAST_GAIN)


def compare(
    start: Sequence[Pace], best: Sequence[Pace], before: tuple[Pace, Pace], worth: Worth
) -> Compared:
    """What measuring again in turns says.

    Args:
        start: of the start, measured again.
        best: of the best, measured again.
        before: what they did while tuning, the start's first. It shows how far
            measurements spread, but not which is faster: the best was chosen for it.
        worth: what counts.
    """
    ours = [math.log(pace.cost(worth)) for pace in best]
    theirs = [math.log(pace.cost(worth)) for pace in start]
    gain = 1 - math.exp(fmean(ours) - fmean(theirs))
    first, other = (math.log(pace.cost(worth)) for pace in before)
    groups = ([*theirs, first], [*ours, other])
    free = sum(len(group) - 1 for group in groups)
    squares = sum((x - fmean(group)) ** 2 for group in groups for x in group)
    error = math.sqrt(squares / free * (1 / len(ours) + 1 / len(theirs)))
    noise = 1 - math.exp(-quantile(1 - CONFIDENCE, free) * error)
    return Compared(start=_mean(start), best=_mean(best), gain=gain, noise=noise)


def _mean(paces: Sequence[Pace]) -> Pace:
    """Of the times, not of the speeds."""
    return Pace(
        decode=1 / fmean(1 / pace.decode for pace in paces),
        prefill=1 / fmean(1 / pace.prefill for pace in paces),
    )
