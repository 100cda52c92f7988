"""Verdicts and figures in words, the same on a terminal, on a page and in a chart."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from placer.experiment.measures import Kind
from placer.experiment.verdict import Verdict
from placer.units import size_text

if TYPE_CHECKING:
    from placer.experiment.cells import Figure
    from placer.experiment.design import Cell
    from placer.experiment.measures import Measure
    from placer.experiment.verdict import Contrast

BYTES = "bytes"
# A rate that may be so many times higher is not known at all.
MOST = 10.0


def cell_text(cell: Cell) -> str:
    """``"temp=0.8 ctk=q8_0"``; of nothing that is varied, that."""
    return " ".join(f"{name}={value}" for name, value in cell.items()) or "as it stands"


def contrast_text(one: Contrast) -> str:
    """``"ctk=q4_0 beside f16: tokens/s +1.2 % (-0.8 to +3.1 %): no difference seen"``.

    Where the whole interval is one figure it was a fact, and no interval is shown.
    """
    what = f"{one.factor}={one.level} beside {one.base}: {one.measure.name}"
    if math.isnan(one.difference):
        return f"{what}: nothing to compare"
    change = difference_text(one.difference, one.measure)
    if one.verdict is Verdict.TOO_FEW:
        needed = "more problems would be needed"
        if one.repeats_needed is not None:
            needed = f"--repeats {one.repeats_needed} would be needed"
        return f"{what} {change}: {one.verdict.value}, {needed}"
    if one.low == one.high:
        return f"{what} {change}: {one.verdict.value}"
    low, high = (difference_text(x, one.measure) for x in (one.low, one.high))
    shared = _unit_behind(one.measure)
    return (
        f"{what} {change} ({low.removesuffix(shared)} to {high}): {one.verdict.value}"
    )


def _unit_behind(measure: Measure) -> str:
    """What stands behind a difference, whatever its size."""
    if measure.unit == BYTES:
        return ""
    units = {Kind.RATE: " %", Kind.SHARE: " points"}
    return units.get(measure.kind, f" {measure.unit}")


def difference_text(x: float, measure: Measure) -> str:
    """A difference with its sign: a share of the base, points, or in its unit."""
    if measure.unit == BYTES:
        return f"{'-' if x < 0 else '+'}{size_text(round(abs(x)))}"
    behind = _unit_behind(measure)
    if measure.kind is Kind.RATE and x > MOST:
        return f"more than +{100 * MOST:.0f}{behind}"
    if measure.kind is Kind.COST:
        return f"{x:+.3g}{behind}".rstrip()
    return f"{100 * x:+.1f}{behind}"


def unit_text(measure: Measure) -> str:
    """The unit of a measure's figures, "" where its name or they themselves say it."""
    if measure.kind is Kind.SHARE:
        return "%"
    has_own = measure.unit == BYTES or measure.unit in measure.name
    return "" if has_own else measure.unit


def value_text(x: float, measure: Measure) -> str:
    """A figure as a person reads it, without ``unit_text``."""
    if measure.kind is Kind.SHARE:
        return f"{100 * x:.1f}"
    if measure.unit == BYTES:
        return size_text(round(x))
    return f"{x:,.1f}" if x >= 100 else f"{x:.3g}"


def figure_text(figure: Figure, measure: Measure) -> str:
    """``"61.2 (60.1 to 62.3)"``; the mean alone where there is no interval."""
    mean = value_text(figure.mean, measure)
    if figure.low is None or figure.high is None or figure.low == figure.high:
        return mean
    low, high = (value_text(x, measure) for x in (figure.low, figure.high))
    return f"{mean} ({low} to {high})"
