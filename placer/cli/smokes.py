"""What a smoke test found, as a person reads it, or as JSON, or in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from placer.app.compared import Kind
from placer.app.smoke import figure_record
from placer.cli import jsons
from placer.cli.out import console
from placer.report.engine_page import change_text, figure_name, figure_text, status_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from placer.app.compared import Figure
    from placer.app.smoke import Smoke

STYLES = {"better": "green", "same": "green", "worse": "bold red"}
REGRESSED = "bold red"


def smoke(found: Smoke, *, as_json: bool, quiet: bool) -> None:
    """One profile; its JSON is part of the document at the end."""
    if as_json:
        return
    if quiet:
        click.echo(f"{found.name} smoke {found.status.value}")
        return
    out = console()
    wrap = not out.is_terminal
    out.print(_headline(found), soft_wrap=wrap)
    if found.figures:
        out.print(_table(found))
    for line in _lines(found):
        out.print(Text(line, "dim"), soft_wrap=wrap)
    out.print()


def pairs_end(found: Sequence[Smoke], *, as_json: bool) -> None:
    """The document of all profiles under two engines."""
    if as_json:
        jsons.emit({"profiles": [record(one) for one in found]})


def page(path: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Where the page of all that changed lies."""
    if path is not None and not (as_json or quiet):
        click.echo(f"Page: {path}")


def record(found: Smoke) -> dict[str, Any]:
    """A smoke test as JSON."""
    folder = None if found.folder is None else str(found.folder)
    return {"name": found.name, **found.record(), "record": folder}


def _headline(found: Smoke) -> Text:
    what = "B beside A" if found.is_pair else "smoke test"
    text = Text(f"{found.name}, {what}: ", "bold")
    style = REGRESSED if found.status.is_regression else STYLES.get(found.status.value)
    text.append(status_text(found.status.value), style or "yellow")
    return text.append(f": {found.reason}" if found.reason else "")


def _table(found: Smoke) -> Table:
    """A row a figure."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    titles = ("", "A", "B", "") if found.is_pair else ("", "recorded", "now", "")
    for column in titles:
        table.add_column(column, justify="right" if column else "left")
    old, new = ("-" if one is None else one.text for one in (found.old, found.new))
    table.add_row("engine", old, new, "")
    for figure in found.figures:
        table.add_row(*_cells(figure))
    return table


def _cells(figure: Figure) -> list[str | Text]:
    facts = figure_record(figure)
    numbers = [figure_text(figure.name, n) for n in (figure.recorded, figure.now)]
    words = change_text(facts)
    is_same = figure.kind in (None, Kind.SAME)
    style = "dim" if figure.kind is None or is_same else STYLES[figure.kind.value]
    return [figure_name(facts), *numbers, Text(words, style)]


def _lines(found: Smoke) -> list[str]:
    lines = list(found.notes)
    if found.recorded is not None:
        lines.append(f"Recorded: {found.recorded}")
    if found.folder is not None:
        lines.append(f"Record: {found.folder}")
    return lines
