"""Figures, bars and curves of text; what is not known is a dash, never a zero."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.text import Text

from placer.units import GIB, MIB, duration_text

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN = "–"  # noqa: RUF001 - an en dash, as in a table of a book
FULL, OTHERS, FREE, PLAN = "█", "▓", "░", "┃"
STEPS = " ▁▂▃▄▅▆▇█"
QUIET, LABEL, PLAIN = "#7d8590", "#9aa5b1", "#d0d7de"
HELD, CALM, WARM, BAD = "#6ca0c8", "#86b380", "#d4ad62", "#dc7f7f"


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of one table: MiB where all of it is small."""

    name: str
    n_bytes: int
    decimals: int

    @classmethod
    def of(cls, sizes: Sequence[int]) -> Unit:
        """The one in which the largest of them reads best."""
        if max(sizes, default=0) < 8 * GIB:
            return cls("MiB", MIB, 0)
        return cls("GiB", GIB, 1)

    def text(self, n_bytes: int | None) -> str:
        """A size in it, without its name."""
        if n_bytes is None:
            return UNKNOWN
        return f"{n_bytes / self.n_bytes:,.{self.decimals}f}"


def whole(value: float | None, unit: str = "") -> str:
    """A whole number and its unit."""
    return UNKNOWN if value is None else f"{value:,.0f}{unit}"


def per_second(value: float | None) -> str:
    """Tokens a second: a decimal below a thousand."""
    if value is None:
        return UNKNOWN
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}"


def seconds_text(seconds: float) -> str:
    """``0.81 s``; from ten seconds on as every time."""
    return f"{seconds:.2f} s" if seconds < 10 else duration_text(seconds)


def memory_bar(
    width: int, *, held: float, others: float, plan: float | None = None
) -> Text:
    """What the server holds, then what others do, and where the plan ends.

    Args:
        width: in cells.
        held: share of the whole, 0 to 1.
        others: likewise, beside it.
        plan: likewise; None for not known.
    """
    n_held = _cells(held, width)
    n_others = min(_cells(others, width), width - n_held)
    text = Text(FULL * n_held, HELD)
    text.append(OTHERS * n_others, LABEL)
    text.append(FREE * (width - n_held - n_others), QUIET)
    if plan is None:
        return text
    at = min(max(int(plan * width), 0), width - 1)
    return Text.assemble(text[:at], (PLAN, PLAIN), text[at + 1 :])


def share_bar(width: int, share: float, style: str = HELD) -> Text:
    """One share of a whole."""
    n = _cells(share, width)
    return Text(FULL * n, style).append(FREE * (width - n), QUIET)


def _cells(share: float, width: int) -> int:
    """Something is never drawn as nothing."""
    n = round(min(max(share, 0), 1) * width)
    return max(n, 1) if share > 0 else 0


def curve(values: Sequence[float | None], width: int, rows: int = 1) -> list[str]:
    """The last values as a curve from zero to the largest, one string a row.

    What is not known is left out, and a zero is not nothing: it has a line.
    """
    last = list(values)[-width:]
    top = max((v for v in last if v is not None), default=0) or 1
    levels = [_level(v, top, rows) for v in last]
    levels = [0] * (width - len(levels)) + levels
    return [
        "".join(STEPS[min(max(level - 8 * row, 0), 8)] for level in levels)
        for row in reversed(range(rows))
    ]


def _level(value: float | None, top: float, rows: int) -> int:
    return 0 if value is None else max(round(value / top * 8 * rows), 1)
