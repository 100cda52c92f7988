"""A bench of speed while it runs, and what it found: as tables, lines, or JSON."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from placer.app.speed_bench import Begun, Launching, Measuring, NotBenched
from placer.app.speed_chart import EMULATED, interval, write_chart
from placer.app.speed_record import Unfit
from placer.cli import jsons
from placer.cli.live import SHADERS
from placer.cli.out import console
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console
    from rich.status import Status

    from placer.app.speed_bench import Event, SpeedBench
    from placer.app.speed_rows import Mean, Row, Sample

# Columns that say what narrow terminals have no room for.
WIDE = 100
NO_POWER = "Not every device tells what power it draws: no joules."


@contextmanager
def speed_view(*, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """A listener for what a bench does, shown while the ``with`` lasts."""
    if quiet:
        yield lambda _: None
        return
    out = console()
    if not out.is_terminal:
        yield SpeedView(out, None).tell
        return
    with out.status("planning ...") as status:
        yield SpeedView(out, status).tell


class SpeedView:
    """What is under way; what is measured is printed for good."""

    def __init__(self, out: Console, status: Status | None) -> None:
        self._out = out
        self._status = status
        self._of = 0

    def tell(self, event: Event) -> None:
        """Take in an event."""
        if isinstance(event, Begun):
            for line in _begun(event):
                self._print(line)
        elif isinstance(event, Launching):
            self._of = event.of
            self._show(f"{self._head(event)}: loading")
        elif isinstance(event, Measuring):
            self._show(f"{self._head(event)}: {_cell_text(event)}")
        elif isinstance(event, Unfit):
            self._print(Text(f"{event.settings.text}: {event.why}", "red"))
        else:
            self._print(Text(f"{self._head(event)}: {_sample_text(event)}"))

    def _head(self, event: Launching | Measuring | Sample) -> str:
        launch = event.launch
        return f"launch {launch.number} of {self._of}, {launch.settings.text}"

    def _show(self, line: str) -> None:
        if self._status is not None:
            self._status.update(Text(line, no_wrap=True))

    def _print(self, line: Text) -> None:
        self._out.print(line, soft_wrap=not self._out.is_terminal)


def _begun(event: Begun) -> Iterator[Text]:
    yield Text(event.name, "bold")
    devices = event.machine.devices
    free = ", ".join(f"{d.name} {size_text(d.free_bytes)} free" for d in devices)
    yield Text(f"{free}; placement {event.placed}", "dim")
    question = event.question
    asked = f"prompts of {question.n_prompt:,} tokens, answers of {question.n_gen:,}"
    count = len(question.launches)
    times = "1 launch" if count == 1 else f"{count} launches"
    yield Text(f"{asked}, {times}", "dim")
    if event.known:
        yield Text(f"{event.known} figures are known already", "dim")
    if event.compiles_shaders:
        yield Text(SHADERS, "yellow")


def _cell_text(event: Measuring | Sample) -> str:
    users = "1 user" if event.cell.users == 1 else f"{event.cell.users} users"
    return f"depth {event.cell.depth:,}, {users}"


def _sample_text(sample: Sample) -> str:
    pace = sample.pace
    written = pace.decode_tokens_per_s
    decode = "-" if written is None else f"{written:,.1f}"
    figures = f"reads {pace.prefill_tokens_per_s:,.1f}, writes {decode} tokens/s"
    return f"{_cell_text(sample)}: {figures}"


def ended(
    found: Sequence[SpeedBench | NotBenched],
    *,
    chart: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """All profiles, and the chart of those that were measured."""
    benches = [one for one in found if not isinstance(one, NotBenched)]
    if as_json:
        jsons.emit({"profiles": [_record(one) for one in found]})
    elif quiet:
        for one in benches:
            _print_lines(one)
    else:
        _print_all(found)
    if chart is not None and any(one.rows for one in benches):
        write_chart(benches, chart)
        if not (as_json or quiet):
            click.echo(f"Chart: {chart}")


def _print_lines(found: SpeedBench) -> None:
    """For scripts: no commas, no units."""
    for row in found.rows:
        asked = row.settings.batch, row.settings.ubatch, row.cell.depth, row.cell.users
        read, written = _plain(row, "prefill"), _plain(row, "decode")
        click.echo(" ".join(map(str, (found.name, *asked, read, written))))


def _plain(row: Row, name: str) -> str:
    mean = row.figures[f"{name}_tokens_per_s"]
    return "-" if mean is None else f"{mean.mean:.1f}"


def _print_all(found: Sequence[SpeedBench | NotBenched]) -> None:
    out = console()
    wrap = not out.is_terminal
    for one in found:
        out.print()
        if isinstance(one, NotBenched):
            out.print(Text(f"{one.name}: {one.why}", "red"), soft_wrap=wrap)
            continue
        out.print(Text(_headline(one), "bold"), soft_wrap=wrap)
        if one.rows:
            out.print(_table(one, is_wide=out.width >= WIDE))
        for line in _lines(one):
            out.print(Text(line), soft_wrap=wrap)


def _headline(found: SpeedBench) -> str:
    text = f"{found.name}: tokens/s"
    if found.header["emulated"]:
        text += ", of emulated devices"
    return text if found.stopped is None else f"{text}; {found.stopped}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column: its title, the cell of a row, and whether it needs room."""

    title: str
    cell: Callable[[Row], str]
    is_wide: bool = False


def _table(found: SpeedBench, *, is_wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    columns = [c for c in _columns(found) if is_wide or not c.is_wide]
    for column in columns:
        table.add_column(column.title, justify="right", no_wrap=True)
    for row in found.rows:
        table.add_row(*(column.cell(row) for column in columns))
    return table


def _columns(found: SpeedBench) -> Iterator[_Column]:
    """What tells the rows apart, then the figures that anybody told."""
    yield _Column(title="-b", cell=lambda row: f"{row.settings.batch:,}")
    yield _Column(title="-ub", cell=lambda row: f"{row.settings.ubatch:,}")
    yield _Column(title="depth", cell=lambda row: f"{row.cell.depth:,}")
    yield _Column(title="users", cell=lambda row: f"{row.cell.users}")
    yield _Column(title="n", cell=lambda row: f"{row.n}", is_wide=True)
    yield _rate("reads", "prefill_tokens_per_s")
    yield _rate("writes", "decode_tokens_per_s")
    if any(row.cell.users > 1 for row in found.rows):
        each = _rate("each", "user_decode_tokens_per_s")
        yield _Column(title="each", cell=each.cell, is_wide=True)
    yield _Column(title="first", cell=lambda row: _time(row.figures["ttft_s"]))
    yield _Column(title="held", cell=_held)
    if any(row.figures["joules"] for row in found.rows):
        yield _Column(title="W", cell=_watts, is_wide=True)
        yield _rate("tokens/J", "tokens_per_joule")


def _rate(title: str, figure: str) -> _Column:
    return _Column(title=title, cell=lambda row: _mean(row.figures[figure]))


def _mean(mean: Mean | None) -> str:
    """``"1,234.5 ±2 %"``; without the interval where there is none."""
    if mean is None:
        return "-"
    text = f"{mean.mean:,.1f}" if mean.mean >= 1 else f"{mean.mean:.3f}"
    if mean.half_width is None:
        return text
    return f"{text} {interval(mean.half_width)}"


def _time(mean: Mean | None) -> str:
    if mean is None:
        return "-"
    ms = mean.mean * 1000
    return f"{ms:,.0f} ms" if ms < 10_000 else f"{mean.mean:,.1f} s"


def _held(row: Row) -> str:
    """What the server held of all devices together."""
    return "-" if row.held_bytes is None else size_text(sum(row.held_bytes))


def _watts(row: Row) -> str:
    known = [watts for watts in row.watts if watts is not None]
    return f"{sum(known):,.0f}" if known else "-"


def _lines(found: SpeedBench) -> Iterator[str]:
    measured = {row.settings for row in found.rows}
    for unfit in found.unfit:
        what = "broke off" if unfit.settings in measured else "not measured"
        yield f"{unfit.settings.text}: {what}: {unfit.why}"
    held = [row.held_bytes for row in found.rows if row.held_bytes is not None]
    if held:
        yield f"Held at most: {_by_device(found, map(max, zip(*held, strict=True)))}"
    used = [row.used_bytes for row in found.rows if None not in row.used_bytes]
    if used:
        most = [max(n or 0 for n in each) for each in zip(*used, strict=True)]
        yield f"In use at most, by all processes: {_by_device(found, most)}"
    if found.rows and not any(row.figures["joules"] for row in found.rows):
        yield NO_POWER
    if found.header["emulated"]:
        yield EMULATED
    if any(row.n < 2 for row in found.rows):
        yield "What was launched once only has no interval."
    yield f"Record: {found.folder}"


def _by_device(found: SpeedBench, sizes: Any) -> str:
    named = zip(found.devices, sizes, strict=True)
    return ", ".join(f"{name} {size_text(size)}" for name, size in named)


def _record(found: SpeedBench | NotBenched) -> dict[str, Any]:
    if isinstance(found, NotBenched):
        return {"name": found.name, "why": found.why, "exit_code": found.exit_code}
    header = found.header
    return {
        "name": found.name,
        "why": found.stopped,
        "exit_code": found.exit_code,
        "engine": header["engine"],
        "emulated": header["emulated"],
        "devices": list(found.devices),
        "placed": header["placed"],
        "changed": header["changed"],
        "n_prompt": header["n_prompt"],
        "n_gen": header["n_gen"],
        "repeats": header["repeats"],
        "rows": [row.record() for row in found.rows],
        "unfit": [one.record() for one in found.unfit],
        "record": str(found.folder),
    }
