"""What a sweep measures, and what one run of a cell came to."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from placer.experiment.design import Cell


class Kind(Enum):
    """How two figures of a measure are compared."""

    RATE = "rate"
    """Above 0, and compared by their ratio: tokens/s, seconds, joules per token."""
    SHARE = "share"
    """Between 0 and 1, and compared by their difference: pass@k."""
    COST = "cost"
    """Compared by their difference: bytes, KL, perplexity."""


class UnitOfAnalysis(Enum):
    """Of what there have to be many for a difference to be more than chance."""

    LAUNCH = "launch"
    """Cells of one launch share its memory, its clocks and whatever ran beside it."""
    PROBLEM = "problem"
    """Answers to one problem are alike, whatever the launch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One thing that is measured.

    Attributes:
        name: as in ``--measure``.
        unit: of its figures; of differences also, where those are not ratios.
        higher_is_better: which way is better.
        kind: how two figures are compared.
        unit_of_analysis: what is counted. A share is counted by problem.
        is_exact: whether the engine does it the same each time, as it reserves VRAM by
            the byte. Only for a cost that is counted by launch.
        alike: a difference that is surely within this either way is none that anybody
            would notice; a share of the base for rates. At 0 nothing but exact equality
            is alike.

    Raises:
        ValueError: a share that is counted by launch, or what cannot be exact.
    """

    name: str
    unit: str
    higher_is_better: bool
    kind: Kind
    unit_of_analysis: UnitOfAnalysis = UnitOfAnalysis.LAUNCH
    is_exact: bool = False
    alike: float = 0.0

    def __post_init__(self) -> None:
        if self.kind is Kind.SHARE and not self.is_by_problem:
            raise ValueError(f"{self.name} is a share, which is counted by problem")
        if self.is_exact and (self.is_by_problem or self.kind is not Kind.COST):
            raise ValueError(f"{self.name} is exact, but no cost counted by launch")

    @property
    def is_by_problem(self) -> bool:
        """Whether it is counted by problem."""
        return self.unit_of_analysis is UnitOfAnalysis.PROBLEM


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A cell, measured once.

    A figure that is not there does not count, nor does what it would be compared with;
    one that is not finite, or a rate that is not above 0, is not there. A cell that did
    not fit has no run.

    Attributes:
        cell: a value of every factor.
        launch: which start of the server it was. A launch that was broken off and made
            again is another.
        repeat: from 1.
        figures: of the measures that are counted by launch, by the measure's name.
        problems: of those that are counted by problem, by the measure's name: the
            figure of each problem. For pass@k it is ``pass_at_k`` of the run's answers.
    """

    cell: Cell
    launch: int
    repeat: int
    figures: Mapping[str, float] = field(default_factory=dict)
    problems: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def found(self, measure: Measure) -> dict[str, float]:
        """Its figures on the scale on which they are subtracted, by problem.

        A measure that is counted by launch has one, of the problem "".
        """
        if measure.is_by_problem:
            figures = self.problems.get(measure.name, {})
        else:
            figures = {"": self.figures.get(measure.name, math.nan)}
        if measure.kind is Kind.RATE:
            above = {problem: x for problem, x in figures.items() if x > 0}
            figures = {problem: math.log(x) for problem, x in above.items()}
        return {problem: x for problem, x in figures.items() if math.isfinite(x)}
