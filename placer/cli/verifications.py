"""What ``placer verify`` found, as a person reads it, or as JSON, or in one line."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from placer.app.compared import Kind
from placer.app.verified import Status, outcome_record
from placer.cli import jsons, smokes
from placer.cli.out import console
from placer.engine.verdict import verdict_text
from placer.units import mib, size_text

if TYPE_CHECKING:
    from placer.app import Verification, Verified
    from placer.app.compared import Figure

NAMES = {
    "memory_bytes": "MiB",
    "decode_tokens_per_s": "decode tokens/s",
    "prompt_tokens_per_s": "prompt tokens/s",
    "prompt_graph_splits": "graph splits, prompt",
    "token_graph_splits": "graph splits, token",
}
STYLES = {
    "same": "green",
    "better": "green",
    "worse": "bold red",
    "does-not-fit": "bold red",
    "failed": "bold red",
    "no-record": "yellow",
    "not-verified": "yellow",
    "skipped": "dim",
}


def verification(found: Verification, *, as_json: bool, quiet: bool) -> None:
    """One profile; its JSON is part of the document at the end."""
    if as_json:
        return
    if quiet:
        click.echo(f"{found.name} {found.status.value}")
        return
    out = console()
    wrap = not out.is_terminal
    out.print(_headline(found), soft_wrap=wrap)
    if found.seen is not None:
        out.print(_table(found))
    for line in _lines(found):
        out.print(Text(line, "dim"), soft_wrap=wrap)
    out.print()


def _headline(found: Verification) -> Text:
    """``glm-q8: worse``, and why it is not one of better, same and worse."""
    text = Text(f"{found.name}: ", "bold")
    text.append(_words(found.status), STYLES[found.status.value])
    if found.verdict is not None and found.status.is_regression and not found.figures:
        text.append(f": {verdict_text(found.verdict)}")
    return text.append(f": {found.reason}" if found.reason else "")


def _table(found: Verification) -> Table:
    """As recorded and now, a row a figure; of a new placement its figures alone."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for column in ("", "recorded", "now", ""):
        table.add_column(column, justify="right" if column else "left")
    engines = [
        "-" if one is None else str(one.header["engine"])
        for one in (found.recorded, found.seen)
    ]
    changed = "" if found.recorded is None or len(set(engines)) == 1 else "another"
    table.add_row("engine", *engines, changed)
    verdict = "-" if found.verdict is None else found.verdict.outcome.value
    table.add_row("verdict", "-" if found.recorded is None else "FITS", verdict, "")
    for figure in found.figures:
        table.add_row(*_cells(figure))
    return table


def _cells(figure: Figure) -> list[str | Text]:
    name = NAMES[figure.name]
    if figure.device is not None:
        name = f"{figure.device} {name} ({figure.source})"
    numbers = [_number(figure, value) for value in (figure.recorded, figure.now)]
    return [name, *numbers, _kind_text(figure)]


def _kind_text(figure: Figure) -> Text:
    if figure.kind is Kind.SAME:
        return Text("no difference", "dim")
    if figure.kind is not None:
        kind = figure.kind.value
        return Text(f"{kind}, {_change(figure)}", STYLES[kind])
    return Text("" if figure.recorded is None else "not compared", "dim")


def _number(figure: Figure, value: float | None) -> str:
    if value is None:
        return "-"
    if figure.name == "memory_bytes":
        return f"{mib(round(value)):,.0f}"
    return f"{value:,.1f}" if figure.name.endswith("_per_s") else f"{value:,.0f}"


def _change(figure: Figure) -> str:
    """``"-12 %"`` of a rate, ``"+120 MiB"`` of memory, ``"+2"`` of splits."""
    was, now = figure.recorded or 0, figure.now or 0
    if figure.name == "memory_bytes":
        sign = "+" if now > was else "-"
        return f"{sign}{size_text(round(abs(now - was)))}"
    if figure.name.endswith("_per_s") and was:
        return f"{now / was - 1:+.0%}".replace("%", " %")
    return f"{now - was:+,.0f}"


def _lines(found: Verification) -> list[str]:
    lines = list(found.notes)
    if found.recorded is not None:
        lines.append(f"Recorded: {found.recorded.folder}")
    if found.seen is not None:
        args = found.seen.trials[0]["args"]
        lines.append(f"Flags: {shlex.join(args[args.index('-ngl') :])}")
        lines.append(f"Record: {found.seen.folder}")
    return lines


def end(result: Verified, *, as_json: bool, quiet: bool) -> None:
    """The document of all of them, or how many became what."""
    if as_json:
        jsons.emit({"profiles": [_record(one) for one in result.profiles]})
    elif not quiet and len(result.profiles) > 1:
        click.echo(_sum(result.profiles))


def _sum(found: tuple[Verification, ...]) -> str:
    """``"3 same, 1 worse, 2 skipped"``."""
    counts: dict[str, int] = {}
    for one in found:
        words = _words(one.status)
        counts[words] = counts.get(words, 0) + 1
    return ", ".join(f"{count} {words}" for words, count in counts.items())


def _words(status: Status) -> str:
    text: str = status.value
    if status is Status.NO_RECORD:
        text += " of this placement"
    return text.replace("-", " ")


def _record(found: Verification) -> dict[str, Any]:
    seen = found.seen
    return {
        "name": found.name,
        **outcome_record(found),
        "engine": None if seen is None else seen.header["engine"],
        "record": None if seen is None else str(seen.folder),
        "trial": None if seen is None else seen.trials[0],
        "smoke": None if found.smoke is None else smokes.record(found.smoke),
    }
