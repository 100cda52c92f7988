"""A search while it runs: a live view on a terminal, a line an event elsewhere."""

from __future__ import annotations

import shlex
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from placer.cli.bars import Picture, device_table, held_of, legend
from placer.cli.contests import progress_text
from placer.cli.out import console
from placer.engine.judge import Outcome
from placer.engine.observation import Stage
from placer.engine.verdict import verdict_text
from placer.measure.events import RoundStarted
from placer.plan import headroom_bytes
from placer.search.events import (
    Event,
    Launching,
    Progress,
    StrategyExcluded,
    StudyStarted,
    TrialDone,
)
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from placer.engine.loadtest import LoadProgress
    from placer.machine import Machine
    from placer.measure.events import Event as MeasureEvent
    from placer.search.trial import Probe, Trial

SHADERS = (
    "Emulated devices compile shaders on their very first prompt: that launch takes "
    "up to a minute or two longer, later ones do not."
)
STYLE = {True: "green", False: "red"}
REFRESH_PER_S = 8


@contextmanager
def search_view(*, quiet: bool) -> Iterator[Callable[[Event | MeasureEvent], None]]:
    """A listener for a search's events, shown while the ``with`` lasts."""
    out = console()
    if quiet:
        yield lambda event: None  # noqa: ARG005 - the signature of a listener
        return
    view = SearchView(out)
    if not out.is_terminal:
        yield view.tell
        return
    with Live(
        view.render(), console=out, refresh_per_second=REFRESH_PER_S, transient=True
    ) as live:

        def listen(event: Event | MeasureEvent) -> None:
            view.tell(event)
            live.update(view.render())

        yield listen


class SearchView:
    """What is known of a search so far."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._machine: Machine | None = None
        self._probe: Probe | None = None
        self._progress: LoadProgress | None = None
        self._began_s = time.monotonic()
        self._doing = "planning..."

    def tell(self, event: Event | MeasureEvent) -> None:
        """Take in an event; what is finished is printed for good."""
        if isinstance(event, RoundStarted):
            self._doing = f"measuring beside others, round {event.number}..."
        if isinstance(event, Progress):
            self._progress = event.progress
            return
        if isinstance(event, StudyStarted):
            self._machine = event.machine
        elif isinstance(event, Launching):
            self._probe, self._progress = event.probe, None
            self._began_s = time.monotonic()
        elif isinstance(event, TrialDone):
            self._probe = None
        width = self._out.width if self._out.is_terminal else None
        for line in _lines(event, width):
            self._out.print(line, soft_wrap=not self._out.is_terminal)

    def render(self) -> RenderableType:
        """The launch that is under way."""
        if self._probe is None or self._machine is None:
            return Text(self._doing, "dim")
        held = self._probe.dry_run or self._probe.formula
        devices = self._machine.devices
        picture = Picture(
            devices=devices,
            held=tuple(
                held_of(one, overhead=device.overhead_under(one.total_bytes))
                for one, device in zip(held.devices, devices, strict=True)
            ),
            left_bytes=headroom_bytes(held, self._machine),
        )
        return Group(
            Text(),
            self._title(self._probe),
            device_table(picture, self._out.width),
            legend(picture),
            self._bar(),
        )

    def _title(self, probe: Probe) -> Text:
        flags = shlex.join(probe.args[probe.args.index("-ngl") :])
        text = Text(f"Launch {probe.number}", "bold")
        return text.append(f"  {probe.purpose}: ", "dim").append(flags, "cyan")

    def _bar(self) -> RenderableType:
        progress = self._progress
        seconds = f"{time.monotonic() - self._began_s:5.0f} s"
        stage = Stage.STARTED if progress is None else progress.stage
        row = Table.grid(padding=(0, 1))
        cells: list[RenderableType] = [Text(f"{stage.title:<20}"), Text(seconds)]
        if progress is not None and progress.total_tokens:
            done, total = progress.done_tokens, progress.total_tokens
            cells.append(ProgressBar(total=total, completed=done, width=30))
            cells.append(Text(f"{done:,} of {total:,} tokens", "dim"))
        row.add_row(*cells)
        return row


def _lines(event: Event | MeasureEvent, width: int | None) -> list[Text]:
    """What an event leaves on the screen, which may be of any width."""
    if isinstance(event, StudyStarted):
        devices = ", ".join(
            f"{d.name} {size_text(d.free_bytes)} free" for d in event.machine.devices
        )
        lines = [Text(devices, "dim")]
        return [*lines, Text(SHADERS, "yellow")] if event.compiles_shaders else lines
    if isinstance(event, StrategyExcluded):
        where = f" on {event.device}" if event.device else ""
        short = size_text(event.short_bytes)
        text = f"{event.strategy.value}: {event.strategy.title}{where}"
        return [Text(f"{text}: {short} short by formula, not launched", "dim")]
    if isinstance(event, TrialDone):
        return [_trial_line(event.trial, width, is_recalled=event.is_recalled)]
    if isinstance(event, Launching | Progress):
        return []
    said = progress_text(event)
    return [] if said is None else [Text(said, "dim")]


def _trial_line(trial: Trial, width: int | None, *, is_recalled: bool) -> Text:
    fits = trial.verdict.outcome is Outcome.FITS
    flags = shlex.join(trial.probe.args[trial.probe.args.index("-ngl") :])
    text = Text(f"  {trial.probe.number:>3}  ")
    text.append(verdict_text(trial.verdict), STYLE[fits])
    text.append(f"  {trial.observation.total_s:.1f} s  ", "dim")
    if is_recalled:
        text.append("on record  ", "dim")
    speed = _speed_text(trial)
    if width is None or text.cell_len + len(speed) + len(flags) <= width:
        text.append(speed)
    return text.append(flags)


def _speed_text(trial: Trial) -> str:
    """What one user decodes, and what was predicted of it; nothing if unmeasured."""
    measured, said = trial.decode_tokens_per_s, trial.probe.speed
    if measured is None:
        return ""
    predicted = "" if said is None else f" ({said.decode.mid:,.1f} predicted)"
    return f"{measured:,.1f} tokens/s{predicted}  "
