"""Bars as SVG: stacked, grouped, with whiskers; the same chart, the same bytes.

Readable on light and dark pages, without colours (the parts of a bar stand in the order
of the legend, and figures behind it), and by a screen reader.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import accumulate, pairwise
from textwrap import wrap
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape, quoteattr

from placer.report.chart_style import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH, PADDING = 760.0, 20.0
BAR, PITCH, GROUP_HEAD, GROUP_GAP = 14.0, 21.0, 22.0, 8.0
TITLE_Y, LEGEND_Y, TOP, LINE = 30.0, 54.0, 74.0, 16.0
# Of a character at the sizes of the style; a little more than that of most fonts.
LABEL_PX, FIGURE_PX = 6.9, 6.6
GUTTER = 10.0
TICKS = 5
# A chart of nothing but zeros has a scale all the same.
NOTHING = 1e-9
NOTE_CHARS = 108


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of a bar.

    Attributes:
        kind: what it is of; it has a colour in the style and a name in the legend.
        value: how long it is, in the chart's unit.
    """

    kind: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar with its label before it and its figure behind it.

    Attributes:
        label: what it is of.
        parts: from left to right.
        text: the figure, as it is to be read.
        span: between what the value lies, as a whisker.
        mark: where a limit stands, as a stroke through the bar.
    """

    label: str
    parts: tuple[Part, ...]
    text: str = ""
    span: tuple[float, float] | None = None
    mark: float | None = None

    @property
    def total(self) -> float:
        """Of all parts."""
        return sum(part.value for part in self.parts)

    @property
    def reach(self) -> float:
        """The end of whatever is drawn."""
        return max(self.total, self.mark or 0.0, self.span[1] if self.span else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Bars under a heading; an empty one takes no room."""

    title: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Groups of bars on one scale.

    Attributes:
        title: above it, and what a screen reader says first.
        unit: of the scale.
        groups: from top to bottom.
        legend: kinds of parts with their names, in the order of the parts.
        mark: what the stroke through a bar stands for.
        note: below it.
        is_counted: whether what is drawn comes in whole pieces only.
    """

    title: str
    unit: str
    groups: tuple[Group, ...]
    legend: tuple[tuple[str, str], ...] = ()
    mark: str = ""
    note: str = ""
    is_counted: bool = False

    @property
    def bars(self) -> tuple[Bar, ...]:
        """All of them."""
        return tuple(bar for group in self.groups for bar in group.bars)

    @property
    def description(self) -> str:
        """Every figure, for those who do not see the bars."""
        groups = (
            f"{group.title}: " * bool(group.title)
            + ", ".join(f"{bar.label} {bar.text}".strip() for bar in group.bars)
            for group in self.groups
        )
        return f"{'; '.join(groups)}."


def svg(chart: Chart) -> str:
    """The chart as a file that needs nothing beside it."""
    frame = _Frame.of(chart)
    pieces = [
        *_head(chart),
        *_scale(chart, frame),
        *_groups(chart, frame),
        *_notes(chart, frame),
    ]
    width, height = _number(WIDTH), _number(frame.height)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"',
            f'  width="{width}" height="{height}" role="img"',
            '  aria-labelledby="title desc">',
            f'<title id="title">{escape(chart.title)}</title>',
            f'<desc id="desc">{escape(chart.description)}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="page" width="{width}" height="{height}" rx="6"/>',
            *pieces,
            "</svg>\n",
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Where the bars begin, how long a unit is, where they end."""

    left: float
    px_per_unit: float
    ticks: tuple[float, ...]
    bottom: float
    height: float

    @classmethod
    def of(cls, chart: Chart) -> _Frame:
        """The frame that leaves room for every label and every figure."""
        label = max((len(bar.label) for bar in chart.bars), default=0)
        figure = max((len(bar.text) for bar in chart.bars), default=0)
        left = PADDING + label * LABEL_PX + GUTTER
        room = WIDTH - PADDING - left - figure * FIGURE_PX - GUTTER
        most = max((bar.reach for bar in chart.bars), default=0.0)
        most = most if most > NOTHING else 1.0
        bottom = TOP + sum(map(_group_height, chart.groups))
        notes = len(wrap(chart.note, NOTE_CHARS))
        return cls(
            left=left,
            px_per_unit=room / most,
            ticks=ticks(most, whole=chart.is_counted),
            bottom=bottom,
            height=bottom + 28.0 + (notes * LINE + 4.0 if notes else 0.0) + 8.0,
        )

    def x(self, value: float) -> float:
        """Where a value stands."""
        return self.left + value * self.px_per_unit


def ticks(most: float, *, whole: bool = False) -> tuple[float, ...]:
    """Round figures from 0 to no more than the most, as many as there is room.

    Args:
        most: where the longest bar ends.
        whole: whether they are whole numbers.
    """
    rough = max(most / TICKS, 1.0 if whole else 0.0)
    power = 10.0 ** math.floor(math.log10(rough))
    steps = (n * power for n in (1, 2, 2.5, 5, 10) if n * power >= rough)
    step = next(step for step in steps if not whole or step.is_integer())
    return tuple(step * n for n in range(int(most / step + 1e-9) + 1))


def _head(chart: Chart) -> Iterator[str]:
    yield _text("title", PADDING, TITLE_Y, chart.title)
    x = PADDING
    for kind, name in chart.legend:
        yield _rect(f"bar {kind}", (x, LEGEND_Y - 10.0), (12.0, 12.0))
        yield _text("legend", x + 17.0, LEGEND_Y, name)
        x += 17.0 + len(name) * LABEL_PX + 18.0
    if chart.mark:
        yield _line("mark", (x + 2.0, LEGEND_Y - 12.0), (x + 2.0, LEGEND_Y + 4.0))
        yield _text("legend", x + 10.0, LEGEND_Y, chart.mark)


def _scale(chart: Chart, frame: _Frame) -> Iterator[str]:
    for value in frame.ticks:
        x = frame.x(value)
        yield _line("grid", (x, TOP - 4.0), (x, frame.bottom))
        is_last = value == frame.ticks[-1]
        text = f"{value:,.10g} {chart.unit if is_last else ''}".rstrip()
        yield _text("scale", x, frame.bottom + 16.0, text)


def _groups(chart: Chart, frame: _Frame) -> Iterator[str]:
    y = TOP
    for group in chart.groups:
        if group.title:
            yield _text("group", PADDING, y + 14.0, group.title)
        top = y + (GROUP_HEAD if group.title else 0.0)
        for at, bar in enumerate(group.bars):
            yield from _bar(bar, frame, top + at * PITCH)
        y += _group_height(group)


def _bar(bar: Bar, frame: _Frame, y: float) -> Iterator[str]:
    yield _text("label", frame.left - GUTTER, y + 11.0, bar.label)
    ends = list(accumulate((part.value for part in bar.parts), initial=0.0))
    for part, (start, end) in zip(bar.parts, pairwise(ends), strict=True):
        if part.value > 0:
            size = (frame.x(end) - frame.x(start), BAR)
            yield _rect(f"bar {part.kind}", (frame.x(start), y), size)
    middle = y + BAR / 2
    if bar.span is not None:
        low, high = map(frame.x, bar.span)
        yield _line("span", (low, middle), (high, middle))
        for x in (low, high):
            yield _line("span", (x, middle - 4.0), (x, middle + 4.0))
    if bar.mark is not None:
        x = frame.x(bar.mark)
        yield _line("mark", (x, y - 2.0), (x, y + BAR + 2.0))
    yield _text("figure", frame.x(bar.reach) + GUTTER - 3.0, y + 11.0, bar.text)


def _notes(chart: Chart, frame: _Frame) -> Iterator[str]:
    for at, line in enumerate(wrap(chart.note, NOTE_CHARS)):
        yield _text("note", PADDING, frame.bottom + 40.0 + at * LINE, line)


def _group_height(group: Group) -> float:
    head = GROUP_HEAD if group.title else 0.0
    return head + len(group.bars) * PITCH + GROUP_GAP if group.bars else 0.0


def _text(kind: str, x: float, y: float, text: str) -> str:
    return (
        f'<text class="{kind}" x="{_number(x)}" y="{_number(y)}">{escape(text)}</text>'
    )


def _rect(kind: str, at: tuple[float, float], size: tuple[float, float]) -> str:
    (x, y), (width, height) = map(_numbers, (at, size))
    return f"<rect class={quoteattr(kind)} x={x} y={y} width={width} height={height}/>"


def _line(kind: str, start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = map(_numbers, (start, end))
    return f'<line class="{kind}" x1={x1} y1={y1} x2={x2} y2={y2}/>'


def _numbers(point: tuple[float, float]) -> tuple[str, ...]:
    return tuple(f'"{_number(value)}"' for value in point)


def _number(value: float) -> str:
    """To a tenth of a pixel, so that no machine's last digit tells."""
    return f"{value:.1f}".removesuffix(".0")
