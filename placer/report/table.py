"""Markdown that reads well raw: tables with aligned columns, text that stays text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# What Markdown would otherwise read as markup, the column separator among it.
MARKUP = str.maketrans({mark: f"\\{mark}" for mark in "\\`*<|"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table.

    Attributes:
        title: what stands above it.
        right: whether it is a column of figures, aligned at its end.
    """

    title: str
    right: bool = False


def text_columns(*titles: str) -> tuple[Column, ...]:
    """Columns of text."""
    return tuple(Column(title=title) for title in titles)


def figure_columns(*titles: str) -> tuple[Column, ...]:
    """Columns of figures."""
    return tuple(Column(title=title, right=True) for title in titles)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> str:
    """The rows as a table whose cells line up; cells must be escaped already."""
    lines = [[column.title for column in columns], *rows]
    widths = [max(3, *map(len, cells)) for cells in zip(*lines, strict=True)]
    rule = [
        "-" * (width - 1) + ":" if column.right else "-" * width
        for column, width in zip(columns, widths, strict=True)
    ]
    padded = [_padded(line, columns, widths) for line in lines]
    return "\n".join(_line(cells) for cells in (padded[0], rule, *padded[1:]))


def plain(text: str) -> str:
    """The text on one line, and nothing in it markup."""
    return one_line(text).translate(MARKUP)


def code(text: str) -> str:
    """The text as a code span, whatever backticks it holds; not for a table."""
    line = one_line(text)
    longest = max((len(run) for run in _backtick_runs(line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return f"{fence}{space}{line}{space}{fence}"


def code_cell(text: str) -> str:
    """The same for a table, where a bar must be escaped even in a code span."""
    return code(text).replace("|", r"\|")


def one_line(text: str) -> str:
    """The text without line breaks and without what cannot be printed."""
    return "".join(c for c in " ".join(text.split()) if c.isprintable())


def _backtick_runs(line: str) -> list[str]:
    return "".join(c if c == "`" else " " for c in line).split()


def _padded(
    cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]
) -> list[str]:
    return [
        cell.rjust(width) if column.right else cell.ljust(width)
        for cell, column, width in zip(cells, columns, widths, strict=True)
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
