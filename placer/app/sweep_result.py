"""What a sweep came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.app.sweep_measures import OF_SERVER
from placer.experiment.cells import CellFigures, cell_figures
from placer.experiment.design import Factor, grid
from placer.experiment.measures import Run
from placer.experiment.verdict import Contrast, best, contrast_record, contrasts
from placer.experiment.words import cell_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from placer.app.target import Target
    from placer.experiment.design import Cell
    from placer.experiment.measures import Measure
    from placer.machine import Machine

# What two whole cells differ by, where only a pair of them is compared.
PAIR = "settings"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the runs say.

    Attributes:
        cells: each by itself.
        contrasts: levels beside their base, or one cell beside the base.
        best: the cell to recommend by each measure that the base has, by its name.
    """

    cells: tuple[CellFigures, ...]
    contrasts: tuple[Contrast, ...]
    best: Mapping[str, Cell]

    def record(self) -> dict[str, Any]:
        """As the journal and ``--json`` have it."""
        return {
            "contrasts": [contrast_record(one) for one in self.contrasts],
            "best": {name: dict(cell) for name, cell in self.best.items()},
            "cells": [one.record() for one in self.cells],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """A sweep that has come to its end.

    Attributes:
        target: the model and what was asked of it.
        machine: the devices.
        emulated: whether they are not real.
        folder: of its record.
        factors: what was varied.
        measures: what was measured, the first being what counts most.
        repeats: how often.
        found: what the runs say.
        unfit: settings and cells that do not run, with why.
        proposed: the cell that was compared with the base, where not all were.
        notes: what else to know.
    """

    target: Target
    machine: Machine
    emulated: bool
    folder: Path
    factors: tuple[Factor, ...]
    measures: tuple[Measure, ...]
    repeats: int
    found: Found
    unfit: tuple[tuple[Cell, str], ...] = ()
    proposed: Cell | None = None
    notes: tuple[str, ...] = ()

    @property
    def base(self) -> Cell:
        """What the others are compared with."""
        return base_of(self.factors)


def base_of(factors: Sequence[Factor]) -> Cell:
    """The base of every factor."""
    return {factor.name: factor.base for factor in factors}


def found_in(
    runs: Sequence[Run], factors: Sequence[Factor], measures: Sequence[Measure]
) -> Found:
    """What the runs of a whole grid say."""
    judged = contrasts(runs, factors, measures, is_asked=_is_asked)
    ran = [run.cell for run in runs]
    return Found(
        cells=cell_figures(runs, grid(factors), measures),
        contrasts=judged,
        best={
            one.name: best(factors, judged, one, ran)
            for one in measures
            if _has_base(runs, factors, one)
        },
    )


def _is_asked(factor: Factor, measure: Measure) -> bool:
    """Whether the factor could make a difference at all."""
    return factor.restarts or measure.name not in OF_SERVER


def found_of_pair(
    runs: Sequence[Run],
    factors: Sequence[Factor],
    measures: Sequence[Measure],
    proposed: Cell | None,
) -> Found:
    """What is known where cells were proposed, and one compared with the base.

    Args:
        runs: all of them; those of the comparison have a repeat from 1 on.
        factors: what was varied.
        measures: what was measured.
        proposed: the cell that was compared; None where none was.
    """
    base = base_of(factors)
    judged: tuple[Contrast, ...] = ()
    better = {one.name: base for one in measures if _has_base(runs, factors, one)}
    if proposed is not None:
        pair = _pair(factors, base, proposed)
        compared = [_paired(run) for run in runs if run.repeat]
        judged = contrasts(compared, [pair], measures)
        cells = {cell_text(cell): cell for cell in (base, proposed)}
        ran = [run.cell for run in compared]
        for one in measures:
            if one.name in better:
                found = best([pair], judged, one, ran)
                better[one.name] = cells[found[PAIR]]
    return Found(
        cells=cell_figures(runs, grid(factors), measures),
        contrasts=judged,
        best=better,
    )


def _has_base(runs: Sequence[Run], factors: Sequence[Factor], measure: Measure) -> bool:
    """Whether there is anything to hold the others to."""
    base = base_of(factors)
    return any(run.cell == base and run.found(measure) for run in runs)


def _pair(factors: Sequence[Factor], base: Cell, proposed: Cell) -> Factor:
    """The two cells as two values of one factor."""
    restarts = any(f.restarts and base[f.name] != proposed[f.name] for f in factors)
    values = (cell_text(base), cell_text(proposed))
    return Factor(name=PAIR, values=values, base=values[0], restarts=restarts)


def _paired(run: Run) -> Run:
    return Run(
        cell={PAIR: cell_text(run.cell)},
        launch=run.launch,
        repeat=run.repeat,
        figures=run.figures,
        problems=run.problems,
    )
