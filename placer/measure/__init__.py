"""Measured speed: placements in turn, round after round, and who is faster by it."""

from placer.measure.compare import (
    Comparison,
    Figure,
    Margin,
    Outcome,
    Rate,
    Standing,
    standing,
)
from placer.measure.contender import Contender
from placer.measure.measurement import Measurement, Timing, Turn
from placer.measure.method import Method
from placer.measure.rounds import Rounds

__all__ = [
    "Comparison",
    "Contender",
    "Figure",
    "Margin",
    "Measurement",
    "Method",
    "Outcome",
    "Rate",
    "Rounds",
    "Standing",
    "Timing",
    "Turn",
    "standing",
]
