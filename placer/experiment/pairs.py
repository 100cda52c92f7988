"""Runs of a level beside runs of the base -> one difference for each unit.

Nothing is counted twice. Two runs are a pair where they differ in the one factor alone:
the same repeat and the same value of every other factor. What the pairs of one unit say
is averaged:

- Counted by launch, a factor that restarts the server: the unit is a launch beside the
  base's of the same repeat and the same other settings of the server. Its cells are
  averaged.
- Counted by launch, a factor that does not: both runs are of one launch, so that what
  the launch does to all its cells falls out. The unit is a launch in a repeat: the
  launch, where any factor restarts the server; the repeat, where none does, as there is
  one launch then.
- Counted by problem: the unit is the problem. Everything else is averaged.
"""

from __future__ import annotations

from collections import defaultdict
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.experiment.design import Factor
    from placer.experiment.measures import Measure, Run

Settings = tuple[tuple[str, str], ...]


class Unit(NamedTuple):
    """What counts once.

    Attributes:
        settings: of the server, the factor itself left out; empty for a problem.
        repeat: 0 for a problem.
        launch: 0 for a problem, and where the factor restarts the server.
        problem: "" where launches are counted.
    """

    settings: Settings = ()
    repeat: int = 0
    launch: int = 0
    problem: str = ""


class _Place(NamedTuple):
    """What the two runs of a pair have in common."""

    others: Settings
    repeat: int
    launch: int
    problem: str


class Pairing:
    """Pairs up the runs of one factor.

    Args:
        factor: which one.
        factors: all of them.
    """

    def __init__(self, factor: Factor, factors: Sequence[Factor]) -> None:
        self._factor = factor
        self._of_server = {one.name for one in factors if one.restarts}

    def differences(
        self, runs: Sequence[Run], level: str, measure: Measure
    ) -> dict[Unit, float]:
        """The level less the base, of every unit that has both.

        Rates differ by the logarithm of their ratio.
        """
        theirs = self._figures(runs, level, measure)
        found: dict[Unit, list[float]] = defaultdict(list)
        for place, base in self._figures(runs, self._factor.base, measure).items():
            if place in theirs:
                difference = fmean(theirs[place]) - fmean(base)
                found[self._unit(place)].append(difference)
        return {unit: fmean(those) for unit, those in found.items()}

    def _figures(
        self, runs: Sequence[Run], value: str, measure: Measure
    ) -> Mapping[_Place, list[float]]:
        """All with that value of the factor."""
        name = self._factor.name
        is_within_launch = not (self._factor.restarts or measure.is_by_problem)
        figures: dict[_Place, list[float]] = defaultdict(list)
        for run in runs:
            if run.cell[name] == value:
                others = tuple(sorted(p for p in run.cell.items() if p[0] != name))
                launch = run.launch if is_within_launch else 0
                for problem, figure in run.found(measure).items():
                    place = _Place(others, run.repeat, launch, problem)
                    figures[place].append(figure)
        return figures

    def _unit(self, place: _Place) -> Unit:
        if place.problem:
            return Unit(problem=place.problem)
        settings = tuple(pair for pair in place.others if pair[0] in self._of_server)
        return Unit(settings, place.repeat, place.launch)
