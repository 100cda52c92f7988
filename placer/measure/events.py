"""What a contest says while it runs; whoever shows it makes the sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from placer.measure.compare import Standing
    from placer.measure.contender import Contender
    from placer.measure.measurement import Measurement, Timing, Turn


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundStarted:
    """A round begins: who is launched, in which order."""

    number: int
    order: tuple[Contender, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthMeasured:
    """A contender was measured at a depth."""

    turn: Turn
    depth: int
    timings: tuple[Timing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchEnded:
    """A contender's launch is over."""

    measurement: Measurement


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundEnded:
    """A round is over, and this is where the contest stands."""

    standing: Standing


Event = RoundStarted | DepthMeasured | LaunchEnded | RoundEnded
