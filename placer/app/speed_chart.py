"""Benches of speed as a chart: who writes and reads fastest, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.report.chart import Bar, Chart, Group, Part, svg
from placer.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from placer.app.speed_bench import SpeedBench
    from placer.app.speed_rows import Mean, Row

SUFFIX = ".svg"
# A share, beyond which an interval takes only room.
MOST_SHOWN = 10.0
TITLES = {
    "decode_tokens_per_s": "written per second, all users together",
    "prefill_tokens_per_s": "read per second, all users together",
}
NOTE = "Tokens per second; bars are shares of the fastest of their kind."
EMULATED = "The devices are emulated: their speed means nothing."


def require_chart(path: Path) -> None:
    """Check that a chart can be drawn there, before anything is launched.

    Raises:
        InputError: another kind of file, or no such folder.
    """
    if path.suffix.lower() != SUFFIX:
        raise InputError(f"{path.name} is no chart", hint="name a file .svg")
    if not path.absolute().parent.is_dir():
        raise InputError(
            "has no such folder", path=path, hint="make the folder, or name another"
        )


def write_chart(found: Sequence[SpeedBench], path: Path) -> None:
    """The chart of what was measured, whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    write_whole(path, svg(speed_chart(found)), hint="give another file with --chart")


def speed_chart(found: Sequence[SpeedBench]) -> Chart:
    """Both speeds of every row, profile by profile."""
    is_emulated = any(one.header["emulated"] for one in found)
    names = ", ".join(one.name for one in found)
    groups = [group for figure in TITLES for group in _groups(found, figure)]
    return Chart(
        title=f"Speed of {names}",
        unit="%",
        groups=tuple(groups),
        note=f"{NOTE} {EMULATED}" if is_emulated else NOTE,
    )


def _groups(found: Sequence[SpeedBench], figure: str) -> Iterator[Group]:
    """One figure, on one scale for all profiles."""
    means = [row.figures[figure] for one in found for row in one.rows]
    fastest = max((mean.mean for mean in means if mean is not None), default=1.0)
    for one in found:
        told = [(row, row.figures[figure]) for row in one.rows]
        bars = [_bar(_label(row), mean, 100 / fastest) for row, mean in told if mean]
        title = f"{one.name}: {TITLES[figure]}" if len(found) > 1 else TITLES[figure]
        yield Group(title=title, bars=tuple(bars))


def _bar(label: str, mean: Mean, scale: float) -> Bar:
    width, length = mean.half_width, mean.mean * scale
    parts = (Part(kind="measured", value=length),)
    text = f"{mean.mean:,.1f}"
    if width is None:
        return Bar(label=label, parts=parts, text=text)
    span = max(length * (1 - width), 0.0), length * (1 + width)
    return Bar(label=label, parts=parts, text=f"{text} {interval(width)}", span=span)


def interval(half_width: float) -> str:
    """``"±2 %"``; wider ones than anybody needs to know exactly are cut short."""
    text = f"±{half_width:.0%}" if half_width < MOST_SHOWN else "±>999%"
    return text.replace("%", " %")


def _label(row: Row) -> str:
    users = "1 user" if row.cell.users == 1 else f"{row.cell.users} users"
    return f"{row.settings.text}, depth {row.cell.depth:,}, {users}"
