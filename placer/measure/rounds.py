"""Rounds: every contender once in each, in random order, until it is clear."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from placer.measure.compare import MOST_ROUNDS, Standing, standing
from placer.measure.events import DepthMeasured, LaunchEnded, RoundEnded, RoundStarted
from placer.measure.measurement import Turn, ended_record, measured_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from placer.measure.contender import Contender
    from placer.measure.events import Event
    from placer.measure.measurement import Measurement, Timing
    from placer.plan.goal import Worth

    OnDepth = Callable[[int, tuple[Timing, ...]], None]

# The budget is shared out as if there were so many.
PLANNED_ROUNDS = 6


class Measure(Protocol):
    """Launches a contender and measures it."""

    def __call__(self, turn: Turn, on_depth: OnDepth) -> Measurement:
        """What the launch came to; ``on_depth`` is told of each depth when it is."""


@dataclass(slots=True, kw_only=True)
class Rounds:
    """A contest under way.

    Attributes:
        contenders: the answer first, its rivals after it.
        depths: at which all of them are measured. One that a launch had no time for is
            left out from then on.
        worth: what a second of each kind is worth.
        budget_s: no round begins that would not end within it, going by the longest so
            far; the first begins in any case.
        measure: launches one.
        random: draws the order of each round.
        append: keeps a record: each depth as soon as it is measured.
        on_event: told of all that happens.
        clock: seconds.
    """

    contenders: tuple[Contender, ...]
    depths: tuple[int, ...]
    worth: Worth
    budget_s: float
    measure: Measure
    random: Random
    append: Callable[[str, Mapping[str, Any]], None]
    on_event: Callable[[Event], None]
    clock: Callable[[], float] = time.monotonic
    measurements: list[Measurement] = field(default_factory=list)

    def run(self) -> Standing:
        """Round after round, until it is clear, or no more can be held."""
        deadline_s = self.clock() + self.budget_s
        number, longest_s = 0, 0.0
        while True:
            number += 1
            began_s = self.clock()
            self._round(number)
            longest_s = max(longest_s, self.clock() - began_s)
            found = self.standing
            self.on_event(RoundEnded(standing=found))
            if found.is_clear or not self._has_rivals(found):
                return found
            if number == MOST_ROUNDS or self.clock() + longest_s > deadline_s:
                return found

    @property
    def standing(self) -> Standing:
        """Where it stands, an unfinished round left out."""
        names = [contender.name for contender in self.contenders]
        return standing(self.measurements, names, self.worth)

    def _has_rivals(self, found: Standing) -> bool:
        """Whether the answer runs, and somebody beside it."""
        n_running = len(self.contenders) - len(found.failed)
        return found.answer not in found.failed and n_running > 1

    def _round(self, number: int) -> None:
        failed = self.standing.failed
        order = [one for one in self.contenders if one.name not in failed]
        self.random.shuffle(order)
        names = [contender.name for contender in order]
        self.append("round", {"round": number, "order": names})
        self.on_event(RoundStarted(number=number, order=tuple(order)))
        for place, contender in enumerate(order, start=1):
            turn = Turn(
                contender=contender,
                round=number,
                place=place,
                depths=self.depths,
            )
            self._launch(turn)

    def _launch(self, turn: Turn) -> None:
        def on_depth(depth: int, timings: tuple[Timing, ...]) -> None:
            self.append("measured", measured_record(turn, depth, timings))
            self.on_event(DepthMeasured(turn=turn, depth=depth, timings=timings))

        found = self.measure(turn, on_depth)
        self.measurements.append(found)
        if found.verdict is None:
            self.depths = tuple(d for d in self.depths if d in found.timings)
        self.append("launched", ended_record(found))
        self.on_event(LaunchEnded(measurement=found))


def launch_budget_s(budget_s: float, n_contenders: int) -> float:
    """What one launch may take of the budget of a contest."""
    return budget_s / (PLANNED_ROUNDS * n_contenders)
