"""A sweep while it runs, and what it found: for a person, as JSON, or in short."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from placer.app.sweep import Begun
from placer.app.sweep_running import Launching, Measuring, Missing, Ran
from placer.cli import jsons
from placer.cli.live import SHADERS
from placer.cli.out import console
from placer.experiment.named import EXPERIMENTS
from placer.experiment.verdict import Verdict
from placer.experiment.words import (
    cell_text,
    contrast_text,
    figure_text,
    unit_text,
    value_text,
)
from placer.units import duration_text, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console
    from rich.status import Status

    from placer.app.sweep_result import Swept
    from placer.app.sweep_running import Event
    from placer.experiment.measures import Measure

COLOURS = {Verdict.BETTER: "green", Verdict.WORSE: "red"}


def experiments(*, as_json: bool, quiet: bool) -> None:
    """What can be asked by name."""
    if as_json:
        jsons.emit({"experiments": [asdict(one) for one in EXPERIMENTS.values()]})
        return
    for one in EXPERIMENTS.values():
        if quiet:
            click.echo(one.name)
            continue
        click.secho(one.name, bold=True)
        vary = " ".join(f"--vary {text}" for text in one.vary)
        click.echo(f"  {one.question}")
        click.echo(f"  {vary} --measure {one.measures}")
        click.echo(f"  {one.note}")


@contextmanager
def sweep_view(*, quiet: bool) -> Iterator[Callable[[Event | Begun], None]]:
    """A listener for what a sweep does, shown while the ``with`` lasts."""
    if quiet:
        yield lambda _: None
        return
    out = console()
    if not out.is_terminal:
        yield SweepView(out, None).tell
        return
    with out.status("planning ...") as status:
        yield SweepView(out, status).tell


class SweepView:
    """What is known of a sweep so far; what is finished is printed for good."""

    def __init__(self, out: Console, status: Status | None) -> None:
        self._out = out
        self._status = status
        self._measures: dict[str, Measure] = {}

    def tell(self, event: Event | Begun) -> None:
        """Take in an event."""
        if isinstance(event, Begun):
            self._measures = {one.name: one for one in event.question.measures}
            for line in _begun(event):
                self._print(line)
        elif isinstance(event, Launching):
            what = cell_text(event.settings)
            self._show(f"launch {event.number}, {what}", event.left_s)
        elif isinstance(event, Measuring):
            self._show(cell_text(event.turn.cell), event.left_s)
        elif isinstance(event, Ran):
            self._print(self._ran(event))
        elif isinstance(event, Missing):
            what = f"{event.measure} of {cell_text(event.settings)}"
            self._print(Text(f"   {what} is not known: {event.why}", "yellow"))
        else:
            what = f"{cell_text(event.settings)} does not run: {event.why}"
            self._print(Text(f"   {what}", "red"))

    def _ran(self, event: Ran) -> Text:
        """``"2  temp=0.8 ctk=q8_0  tokens/s 61.2, vram 4.1 GiB"``."""
        found = event.figures
        means = {n: sum(p.values()) / len(p) for n, p in found.problems.items() if p}
        said = [
            f"{name} {value_text(x, measure)} {unit_text(measure)}".rstrip()
            for name, x in {**found.figures, **means}.items()
            if (measure := self._measures.get(name)) is not None
        ]
        text = Text(f"{event.turn.repeat or '':>2}  ")
        text.append(cell_text(event.turn.cell), "bold")
        text.append(f"  {', '.join(said)}")
        if event.left_s is not None and not self._out.is_terminal:
            text.append(f"  ({_left(event.left_s)})", "dim")
        return text

    def _show(self, what: str, left_s: float | None) -> None:
        if self._status is not None:
            left = "" if left_s is None else f", {_left(left_s)}"
            self._status.update(Text(f"{what}{left}", no_wrap=True))

    def _print(self, line: Text) -> None:
        if self._out.is_terminal:
            line.truncate(self._out.width, overflow="ellipsis")
        self._out.print(line, soft_wrap=not self._out.is_terminal)


def _left(seconds: float) -> str:
    return f"{duration_text(seconds)} left"


def _begun(event: Begun) -> Iterator[Text]:
    """The devices, what varies, and how much of it."""
    devices = event.machine.devices
    free = ", ".join(f"{d.name} {size_text(d.free_bytes)} free" for d in devices)
    yield Text(free, "dim")
    for one in event.question.factors:
        values = [v + (" (base)" if v == one.base else "") for v in one.values]
        how = "restarts the server" if one.restarts else "does not restart it"
        yield Text(f"{one.name}: {', '.join(values)}; {how}", "dim")
    if event.known:
        yield Text(f"{_counted(event.known, 'run')} known already", "dim")
    if event.runs:
        launches = f"{event.launches} launch" + ("es" if event.launches != 1 else "")
        left = "how long is known after the first"
        if event.left_s is not None:
            left = f"about {duration_text(event.left_s)}"
        yield Text(f"{launches}, {_counted(event.runs, 'run')}; {left}", "dim")
    if event.compiles_shaders:
        yield Text(SHADERS, "yellow")


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def draw(found: Swept, path: Path) -> tuple[Path, ...]:
    """A chart a measure; where they are.

    Raises:
        InputError: one cannot be written.
    """
    from placer.app.sweep_chart import chart_paths, sweep_charts
    from placer.report.chart import svg
    from placer.whole import write_whole

    charts, paths = sweep_charts(found), chart_paths(path, found)
    for name, chart in charts.items():
        hint = "give another file with --chart"
        write_whole(paths[name], svg(chart), hint=hint)
    return tuple(paths.values())


def swept(found: Swept, drawn: Sequence[Path], *, as_json: bool, quiet: bool) -> None:
    """What a sweep found."""
    if as_json:
        jsons.emit(_record(found, drawn))
        return
    if quiet:
        for line in _recommended(found):
            click.echo(line)
        return
    out = console()
    wrap = not out.is_terminal
    out.print()
    out.print(_table(found))
    for one in found.found.contrasts:
        out.print(
            Text(contrast_text(one), COLOURS.get(one.verdict, "")), soft_wrap=wrap
        )
    for line in (*_recommended(found), *_lines(found, drawn)):
        out.print(Text(line), soft_wrap=wrap)


def _table(found: Swept) -> Table:
    """Every cell by itself."""
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for factor in found.factors:
        table.add_column(factor.name)
    table.add_column("runs", justify="right")
    for measure in found.measures:
        unit = unit_text(measure)
        head = f"{measure.name}, {unit}" if unit else measure.name
        table.add_column(head, justify="right")
    for one in found.found.cells:
        figures = [
            figure_text(one.figures[m.name], m) if m.name in one.figures else "-"
            for m in found.measures
        ]
        is_base = one.cell == found.base
        row = [*one.cell.values(), str(one.n), *figures]
        table.add_row(*row, style="bold" if is_base else "")
    return table


def _recommended(found: Swept) -> Iterator[str]:
    """``"By tokens/s take ctk=q8_0."``; the base unless something was better."""
    for name, cell in found.found.best.items():
        words = cell_text(cell)
        if cell == found.base:
            yield f"By {name}: keep {words}, nothing was seen to be better"
        else:
            yield f"By {name}: take {words}"


def _lines(found: Swept, drawn: Sequence[Path]) -> Iterator[str]:
    for cell, why in found.unfit:
        yield f"{cell_text(cell)} does not run: {why}"
    yield from found.notes
    for path in drawn:
        yield f"Chart: {path}"
    yield f"Record: {found.folder}"


def _record(found: Swept, drawn: Sequence[Path]) -> dict[str, Any]:
    return {
        "name": found.target.name,
        "folder": str(found.folder),
        "factors": [
            {
                "name": one.name,
                "values": list(one.values),
                "base": one.base,
                "restarts": one.restarts,
            }
            for one in found.factors
        ],
        "measures": [one.name for one in found.measures],
        "repeats": found.repeats,
        **found.found.record(),
        "proposed": None if found.proposed is None else dict(found.proposed),
        "unfit": [{"settings": dict(c), "why": why} for c, why in found.unfit],
        "notes": list(found.notes),
        "charts": [str(path) for path in drawn],
    }
