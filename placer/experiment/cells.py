"""Runs of a sweep -> what each cell comes to by itself.

What two cells differ by is for ``placer.experiment.verdict`` to say: runs of one launch
have much in common, which falls out of a difference and not out of a mean.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from placer.experiment.chance import ALPHA, student_interval
from placer.experiment.measures import Kind
from placer.experiment.passes import interval_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from placer.experiment.design import Cell
    from placer.experiment.measures import Measure, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A mean, and where it would be nineteen times of twenty.

    Attributes:
        mean: of runs, or of problems; of rates the geometric one, as they are compared
            by their ratio.
        low: of the 95 % interval; None where one figure says nothing of that.
        high: likewise.
    """

    mean: float
    low: float | None = None
    high: float | None = None

    def record(self) -> dict[str, float | None]:
        """As the journal and ``--json`` have it; the half width is a share."""
        half = None
        if self.low is not None and self.high is not None and self.mean:
            half = (self.high - self.low) / 2 / abs(self.mean)
        return {
            "mean": self.mean,
            "low": self.low,
            "high": self.high,
            "half_width": half,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFigures:
    """A cell and all that was measured of it.

    Attributes:
        cell: a value of every factor.
        n: runs.
        figures: by the measure's name, those that have one.
        others: means of what was seen beside the measures.
    """

    cell: Cell
    n: int
    figures: Mapping[str, Figure]
    others: Mapping[str, float]

    def record(self) -> dict[str, Any]:
        """As the journal and ``--json`` have it."""
        beside = {name: Figure(mean=mean) for name, mean in self.others.items()}
        figures = {**self.figures, **beside}
        return {
            "cell": dict(self.cell),
            "n": self.n,
            "figures": {name: one.record() for name, one in figures.items()},
        }


def cell_figures(
    runs: Sequence[Run], cells: Sequence[Cell], measures: Sequence[Measure]
) -> tuple[CellFigures, ...]:
    """Of every cell that has a run, in the order of the cells."""
    theirs: dict[tuple[tuple[str, str], ...], list[Run]] = defaultdict(list)
    for run in runs:
        theirs[tuple(sorted(run.cell.items()))].append(run)
    found = ((cell, theirs.get(tuple(sorted(cell.items())), [])) for cell in cells)
    return tuple(_of_cell(cell, those, measures) for cell, those in found if those)


def figure_of(runs: Sequence[Run], measure: Measure) -> Figure | None:
    """What runs of one cell come to; None where none has a figure."""
    by_problem: dict[str, list[float]] = defaultdict(list)
    for run in runs:
        for problem, figure in run.found(measure).items():
            by_problem[problem].append(figure)
    if not by_problem:
        return None
    means = [fmean(figures) for figures in by_problem.values()]
    if measure.kind is Kind.SHARE:
        n = sum(map(len, by_problem.values()))
        low, high = interval_of(means, most=n)
        return Figure(mean=fmean(means), low=low, high=high)
    counted = means if measure.is_by_problem else by_problem[""]
    return _student(counted, is_log=measure.kind is Kind.RATE)


def _of_cell(
    cell: Cell, runs: Sequence[Run], measures: Sequence[Measure]
) -> CellFigures:
    found = {one.name: figure_of(runs, one) for one in measures}
    return CellFigures(
        cell=cell,
        n=len(runs),
        figures={name: one for name, one in found.items() if one is not None},
        others=dict(_others(runs, found)),
    )


def _others(
    runs: Sequence[Run], measured: Mapping[str, object]
) -> Iterator[tuple[str, float]]:
    names = dict.fromkeys(name for run in runs for name in run.figures)
    for name in names:
        if name not in measured:
            yield name, fmean(run.figures[name] for run in runs if name in run.figures)


def _student(figures: Sequence[float], *, is_log: bool = False) -> Figure:
    scale = math.exp if is_log else float
    mean = scale(fmean(figures))
    if len(figures) < 2:
        return Figure(mean=mean)
    low, high = student_interval(figures, ALPHA)
    return Figure(mean=mean, low=scale(low), high=scale(high))
