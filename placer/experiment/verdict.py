"""Runs of a sweep -> for every level beside the base, whether it is better.

All contrasts of a sweep are held to 5 % together. Their p are Holm's; their intervals
are Bonferroni's, so that in 95 of 100 sweeps every one of them holds what is true. A
difference is claimed only where the p is at most 5 % and the interval excludes 0; with
Student's t that is for the interval to say, being the stricter.

- Counted by launch: paired Student. Differences that are exactly the same whenever all
  else is have no spread to go by. Of VRAM by the byte, which the engine reserves alike
  each time, that is a fact and no test: it takes no part in the 5 %, its interval goes
  from the least difference (under any other settings of the server) to the largest, and
  it is no difference where those are to both sides of 0. Of what is not exact, the
  figures were rounded: it takes more units than chance gives the same sign.
- Counted by problem: the sign-flip test says how often chance does as much, and an
  interval by Student, for shares with Bonett and Price's two problems more, has to
  agree. Where all pairs agree p is 1; where all differ the same way it is the number of
  problems that counts, never that they have no spread.

``placer.experiment.pairs`` says what a unit is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING, Any

from placer.experiment.chance import (
    ALPHA,
    Interval,
    holm,
    is_fact,
    share_interval,
    sign_flip_p,
    student_interval,
    student_p,
)
from placer.experiment.measures import Kind, Measure
from placer.experiment.pairs import Pairing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from placer.experiment.design import Cell, Factor
    from placer.experiment.measures import Run
    from placer.experiment.pairs import Unit

LEAST_UNITS = 2


class Verdict(Enum):
    """What a level is, beside the base."""

    BETTER = "better"
    WORSE = "worse"
    ALIKE = "alike"
    """The whole interval is within what the measure calls alike."""
    NO_DIFFERENCE = "no difference seen"
    """There may be one: the interval says how large."""
    TOO_FEW = "too few"
    """Fewer than two units have both."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """A level of a factor beside its base, by one measure.

    Attributes:
        factor: its name.
        level: the value that is compared.
        base: with which.
        measure: by which.
        difference: the level less the base: for rates a share of the base, 0.05 is 5 %
            more; else in the measure's unit. NaN where no unit has both.
        low: of an interval that holds for all contrasts of the sweep together;
            infinite where there are too few units.
        high: likewise.
        p: how often chance does as much, Holm's for the whole sweep; 0 for a fact.
        units: that have both, launches or problems as the measure is counted.
        verdict: what it comes to.
        repeats_needed: for two units, where there are too few; None where there are
            enough, or no number of repeats would do.
    """

    factor: str
    level: str
    base: str
    measure: Measure
    difference: float
    low: float
    high: float
    p: float
    units: int
    verdict: Verdict
    repeats_needed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A contrast before it is judged."""

    factor: Factor
    level: str
    measure: Measure
    units: Mapping[Unit, float]

    @property
    def differences(self) -> list[float]:
        return list(self.units.values())

    @property
    def is_fact(self) -> bool:
        settings = [unit.settings for unit in self.units]
        return self.measure.is_exact and is_fact(self.differences, settings)

    @property
    def is_test(self) -> bool:
        return len(self.units) >= LEAST_UNITS and not self.is_fact

    @property
    def p(self) -> float:
        by_problem = self.measure.is_by_problem
        return (sign_flip_p if by_problem else student_p)(self.differences)

    def interval(self, level: float) -> Interval:
        """Of the mean difference."""
        if len(self.units) < LEAST_UNITS:
            return Interval(-math.inf, math.inf)
        if self.is_fact:
            return Interval(min(self.differences), max(self.differences))
        if self.measure.kind is Kind.SHARE:
            return share_interval(self.differences, level)
        found = student_interval(self.differences, level)
        is_rate = self.measure.kind is Kind.RATE
        return Interval(*map(_expm1, found)) if is_rate else found


def contrasts(
    runs: Sequence[Run],
    factors: Sequence[Factor],
    measures: Sequence[Measure],
    *,
    is_asked: Callable[[Factor, Measure], bool] = lambda _, __: True,
) -> tuple[Contrast, ...]:
    """Every level of every factor beside its base, by every measure.

    Args:
        runs: of all cells; the table need not be complete.
        factors: all that were varied.
        measures: all that are asked for; each one more makes all intervals wider.
        is_asked: whether a factor could make a difference by a measure.
    """
    asked = [
        _Asked(factor=factor, level=level, measure=measure, units=units)
        for factor in factors
        for level in factor.levels
        for measure in measures
        if is_asked(factor, measure)
        for units in [Pairing(factor, factors).differences(runs, level, measure)]
    ]
    tests = [one for one in asked if one.is_test]
    adjusted = iter(holm([one.p for one in tests]))
    n_repeats = len({run.repeat for run in runs})
    found = []
    for one in asked:
        interval = one.interval(ALPHA / max(len(tests), 1))
        sure = 0.0 if one.is_fact and interval.excludes_0 else 1.0
        p = next(adjusted) if one.is_test else sure
        found.append(_judged(one, interval, p, n_repeats))
    return tuple(found)


def _judged(one: _Asked, interval: Interval, p: float, n_repeats: int) -> Contrast:
    mean = fmean(one.differences) if one.units else math.nan
    return Contrast(
        factor=one.factor.name,
        level=one.level,
        base=one.factor.base,
        measure=one.measure,
        difference=_expm1(mean) if one.measure.kind is Kind.RATE else mean,
        low=interval.low,
        high=interval.high,
        p=p,
        units=len(one.units),
        verdict=_verdict(one, interval, p),
        repeats_needed=_repeats_needed(one, n_repeats),
    )


def _expm1(x: float) -> float:
    """Two launches that differ much leave everything open."""
    return math.inf if x > 700 else math.expm1(x)


def _verdict(one: _Asked, interval: Interval, p: float) -> Verdict:
    if len(one.units) < LEAST_UNITS:
        return Verdict.TOO_FEW
    if p <= ALPHA and interval.excludes_0:
        is_better = (interval.low > 0) == one.measure.higher_is_better
        return Verdict.BETTER if is_better else Verdict.WORSE
    is_alike = max(-interval.low, interval.high) <= one.measure.alike
    return Verdict.ALIKE if is_alike else Verdict.NO_DIFFERENCE


def _repeats_needed(one: _Asked, n_repeats: int) -> int | None:
    """At as many units a repeat as there were."""
    n = len(one.units)
    if n >= LEAST_UNITS or not n or one.measure.is_by_problem:
        return None
    return LEAST_UNITS * n_repeats


def best(
    factors: Sequence[Factor],
    found: Collection[Contrast],
    measure: Measure,
    ran: Collection[Cell],
) -> Cell:
    """The cell to recommend by a measure: the base, but for levels that are better.

    Of several better levels of a factor it is the one that gains most, though it need
    not be better than the next. Gains of two factors are taken to add up, for rates to
    multiply; only a cell that ran is recommended.

    Args:
        factors: all that were varied.
        found: as ``contrasts`` judged them.
        measure: which one counts.
        ran: the cells that have a run.
    """
    gains = {
        (one.factor, one.level): _gain(one)
        for one in found
        if one.measure == measure and one.verdict is Verdict.BETTER
    }
    base = {factor.name: factor.base for factor in factors}
    steps = [
        [(factor.name, level) for level in factor.values if level == factor.base]
        + [key for key in gains if key[0] == factor.name]
        for factor in factors
    ]
    cells = [dict(one) for one in product(*steps)]
    able = [base, *(cell for cell in cells if cell in ran)]
    return max(able, key=lambda cell: sum(gains.get(key, 0) for key in cell.items()))


def _gain(one: Contrast) -> float:
    is_rate = one.measure.kind is Kind.RATE
    return abs(math.log1p(one.difference) if is_rate else one.difference)


def contrast_record(one: Contrast) -> dict[str, Any]:
    """A contrast, as the journal and ``--json`` have it; null for what is not known."""
    return {
        "factor": one.factor,
        "level": one.level,
        "base": one.base,
        "measure": one.measure.name,
        "unit": one.measure.unit,
        "kind": one.measure.kind.value,
        "difference": _known(one.difference),
        "low": _known(one.low),
        "high": _known(one.high),
        "p": one.p,
        "units": one.units,
        "verdict": one.verdict.value,
        "repeats_needed": one.repeats_needed,
    }


def _known(x: float) -> float | None:
    return x if math.isfinite(x) else None
