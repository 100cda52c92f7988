"""A sweep as bars: every cell, and the interval of its mean, a chart a measure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.experiment.measures import Kind
from placer.experiment.words import BYTES, cell_text, figure_text, unit_text
from placer.report.chart import Bar, Chart, Group, Part
from placer.units import mib

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.app.sweep_result import Swept
    from placer.experiment.cells import Figure
    from placer.experiment.measures import Measure

EMULATED = "The devices are emulated: how fast they are means nothing."
LEGEND = (("answer", "the best that was seen"), ("rival", "the others"))


def sweep_charts(swept: Swept) -> dict[str, Chart]:
    """By the measure; those that nothing was measured of are not there."""
    found = {one.name: _chart(swept, one) for one in swept.measures}
    return {name: chart for name, chart in found.items() if chart.bars}


def chart_paths(path: Path, swept: Swept) -> dict[str, Path]:
    """Where each goes: the first to the path itself, others beside it.

    ``sweep.svg`` and ``sweep-vram.svg``.
    """
    names = list(sweep_charts(swept))
    others = {name: path.with_stem(f"{path.stem}-{_plain(name)}") for name in names[1:]}
    return {name: others.get(name, path) for name in names}


def _plain(name: str) -> str:
    """A measure in the name of a file."""
    return name.replace("/", "-per-").replace("@", "-at-")


def _chart(swept: Swept, measure: Measure) -> Chart:
    scale, unit = _scale(measure)
    chosen = swept.found.best.get(measure.name)
    bars = []
    for one in swept.found.cells:
        figure = one.figures.get(measure.name)
        if figure is None:
            continue
        is_base = one.cell == swept.base
        kind = "answer" if one.cell == chosen else "rival"
        bars.append(
            Bar(
                label=cell_text(one.cell) + (" (base)" if is_base else ""),
                parts=(Part(kind=kind, value=max(scale(figure.mean), 0.0)),),
                text=f"{figure_text(figure, measure)} {unit_text(measure)}".rstrip(),
                span=_span(figure, scale),
            )
        )
    note = "What two cells differ by is narrower than what each is known to."
    return Chart(
        title=f"{swept.target.name}: {measure.name}",
        unit=unit,
        groups=(Group(title="", bars=tuple(bars)),),
        legend=LEGEND,
        note=f"{note} {EMULATED}" if swept.emulated else note,
    )


def _scale(measure: Measure) -> tuple[Callable[[float], float], str]:
    if measure.kind is Kind.SHARE:
        return (lambda x: 100 * x), "%"
    if measure.unit == BYTES:
        return (lambda x: mib(round(x))), "MiB"
    return float, measure.unit


def _span(
    figure: Figure, scale: Callable[[float], float]
) -> tuple[float, float] | None:
    if figure.low is None or figure.high is None:
        return None
    return max(scale(figure.low), 0.0), max(scale(figure.high), 0.0)
