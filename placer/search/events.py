"""What a search says while it runs; whoever shows it makes the sentences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
class FamilySkipped:
    """A strategy cannot work: weights and context alone are too much."""

    strategy: Strategy
    device: str | None
    short_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyStarted:
    """A strategy is being searched."""

    strategy: Strategy
    device: str | None


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
    """A probe was answered."""

    trial: Trial


Event = StudyStarted | FamilySkipped | FamilyStarted | Launching | Progress | TrialDone
