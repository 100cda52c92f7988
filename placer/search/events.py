"""What a search says while it runs; whoever shows it makes the sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from placer.engine.loadtest import LoadProgress
    from placer.machine import Machine
    from placer.placement import Strategy
    from placer.search.trial import Probe, Trial


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStarted:
    """The record is open and the devices are known.

    Attributes:
        folder: where the record lies.
        machine: the devices, with what they have free.
        compiles_shaders: whether the first prompt will take most of a minute more.
    """

    folder: Path
    machine: Machine
    compiles_shaders: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyExcluded:
    """A strategy cannot work: by formula it takes more than is free.

    Attributes:
        strategy: which.
        device: the only device that it would use, None for all of them.
        short_bytes: what is missing, there or in all.
    """

    strategy: Strategy
    device: str | None
    short_bytes: int

    def record(self) -> dict[str, Any]:
        """The event as the journal keeps it."""
        return {
            "strategy": self.strategy.value,
            "device": self.device,
            "short_bytes": self.short_bytes,
            "source": "formula",
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """A probe is on its way."""

    probe: Probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The probe under way."""

    probe: Probe
    progress: LoadProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialDone:
    """A probe was answered, now or before the search was broken off."""

    trial: Trial
    is_recalled: bool = False


Event = StudyStarted | StrategyExcluded | Launching | Progress | TrialDone
