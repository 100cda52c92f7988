"""Tuning while it runs, and what it found: for a person, as JSON, or as flags alone."""

from __future__ import annotations

import shlex
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from placer.app.tuned import Begun
from placer.cli import jsons
from placer.cli.live import SHADERS
from placer.cli.out import console
from placer.tune.knobs import changes_of, words_of
from placer.tune.tried import Came
from placer.tune.tuner import Answer, Done, Launching, Progress
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console
    from rich.status import Status

    from placer.app.tuned import Tuned
    from placer.engine.loadtest import LoadProgress
    from placer.tune.knobs import Settings
    from placer.tune.quality import Quality
    from placer.tune.space import Space
    from placer.tune.tried import Compared, Pace, Tried
    from placer.tune.tuner import Event

HEAD = "       decode   prefill  tokens/s"
HOW_TO_ACCEPT = "costs quality: not chosen; --accept-quality-loss takes it"


@contextmanager
def tuning_view(*, quiet: bool) -> Iterator[Callable[[Event | Begun], None]]:
    """A listener for what tuning does, shown while the ``with`` lasts."""
    if quiet:
        yield lambda _: None
        return
    out = console()
    if not out.is_terminal:
        yield TuningView(out, None).tell
        return
    with out.status("planning ...") as status:
        yield TuningView(out, status).tell


class TuningView:
    """What is known of tuning so far; what is finished is printed for good."""

    def __init__(self, out: Console, status: Status | None) -> None:
        self._out = out
        self._status = status
        self._start: Settings = {}
        self._doing = ""
        self._began_s = time.monotonic()

    def tell(self, event: Event | Begun) -> None:
        """Take in an event."""
        if isinstance(event, Begun):
            self._start = event.space.start
            for line in _begun(event):
                self._print(line)
        elif isinstance(event, Launching):
            self._doing = words_of(changes_of(event.settings, self._start))
            self._began_s = time.monotonic()
            self._show("planning")
        elif isinstance(event, Progress):
            self._show(_progress(event.progress))
        else:
            self._print(_done(event, self._start))

    def _show(self, what: str) -> None:
        if self._status is not None:
            seconds = time.monotonic() - self._began_s
            line = Text(f"{self._doing}: {what}, {seconds:.0f} s", no_wrap=True)
            self._status.update(line)

    def _print(self, line: Text) -> None:
        if self._out.is_terminal:
            line.truncate(self._out.width, overflow="ellipsis")
        self._out.print(line, soft_wrap=not self._out.is_terminal)


def _begun(event: Begun) -> Iterator[Text]:
    """The devices, what varies, and what is known already."""
    devices = event.machine.devices
    free = ", ".join(f"{d.name} {size_text(d.free_bytes)} free" for d in devices)
    yield Text(free, "dim")
    for name, values in event.space.values.items():
        yield Text(f"{name}: {', '.join(values)}", "dim")
    if event.known:
        tried = "1 setting" if event.known == 1 else f"{event.known} settings"
        yield Text(f"{tried} known already", "dim")
    if event.compiles_shaders:
        yield Text(SHADERS, "yellow")
    yield Text(HEAD, "bold")


def _progress(progress: LoadProgress) -> str:
    text = progress.stage.title
    if progress.total_tokens:
        text += f", {progress.done_tokens:,} of {progress.total_tokens:,} tokens"
    return text


def _done(event: Done, start: Settings) -> Text:
    """``"  3     612.0   2,310.4  ub=1024: the best so far"``."""
    tried = event.tried
    text = Text(f"{tried.number:>3}  " if tried.number else "     ")
    words = words_of(changes_of(tried.settings, start))
    text.append(_paces(tried.pace))
    text.append(f"  {words}", "bold" if event.is_best else "")
    if event.is_best:
        text.append(": the best so far", "green")
    elif event.purpose != "tuning":
        text.append(f": {event.purpose}", "dim")
    if tried.pace is None:
        colour = "red" if tried.came.was_launched else "dim"
        text.append(f": {tried.came.value}: {tried.why}", colour)
    return text


def _paces(pace: Pace | None) -> str:
    if pace is None:
        return f"{'-':>9} {'-':>9}"
    return f"{pace.decode:>9,.1f} {pace.prefill:>9,.1f}"


def tuned(found: Tuned, *, as_json: bool, quiet: bool) -> None:
    """What tuning found."""
    if as_json:
        jsons.emit(_record(found))
        return
    if quiet:
        click.echo(shlex.join(found.result.chosen.args[2:]))
        return
    out = console()
    wrap = not out.is_terminal
    out.print()
    out.print(Text(_sentence(found), "bold"), soft_wrap=wrap)
    out.print(_table(found))
    for line in _lines(found):
        out.print(Text(line), soft_wrap=wrap)


def _sentence(found: Tuned) -> str:
    """The answer."""
    result, compared = found.result, found.result.compared
    best = words_of(changes_of(result.best.settings, found.space.start))
    if result.answer is Answer.START_IS_BEST:
        return "Nothing that was tried is faster than the start."
    if result.answer is Answer.ONLY:
        return f"Only this fits, {best}: {result.why}."
    if result.answer is Answer.FAILS_AGAIN:
        return f"Launched again one of the two fails, keep the start: {result.why}"
    if compared is None:
        return f"Not confirmed, {best}: {result.why}."
    chance = f"chance alone explains {compared.noise:.0%}".replace("%", " %")
    gain = f"{abs(compared.gain):.0%}".replace("%", " %")
    if result.answer is Answer.BETTER:
        return f"Better, {best}: {gain} less time; {chance}."
    side = "less" if compared.gain >= 0 else "more"
    return f"No difference seen, {best}: {gain} {side} time; {chance}."


def _table(found: Tuned) -> Table:
    """The start beside the best, as measured again where it was."""
    result = found.result
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for column in ("tokens/s", "start", "best"):
        table.add_column(column, justify="left" if column == "tokens/s" else "right")
    start = None if result.start is None else result.start.pace
    best = result.best.pace
    if result.compared is not None:
        start, best = result.compared.start, result.compared.best
    for name in ("decode", "prefill"):
        figures = [
            "-" if pace is None else f"{getattr(pace, name):,.1f}"
            for pace in (start, best)
        ]
        table.add_row(name, *figures)
    return table


def _lines(found: Tuned) -> Iterator[str]:
    result, start = found.result, found.space.start
    for quality in found.quality:
        yield _quality(quality, start)
    if result.costly is not None and result.costly.pace is not None:
        words = words_of(changes_of(result.costly.settings, start))
        speed = f"{result.costly.pace.decode:,.1f} tokens/s"
        yield f"Faster still, {words}, {speed}: {HOW_TO_ACCEPT}"
    yield f"{_counts(result.tried)}; {_times(found.launches)}; {result.stopped}"
    yield f"Flags: {shlex.join(result.chosen.args[2:])}"
    yield f"Study: {found.storage}"
    if found.applied is not None:
        done = "Written" if found.applied.written else "Nothing to change"
        yield f"{done}: {found.target.name} in {found.applied.before.path}"
    elif found.unwritten:
        yield f"Not written: {found.unwritten}"


def _quality(quality: Quality, start: Settings) -> str:
    same = f"{quality.agreement:.0%}".replace("%", " %")
    usual = _types(start["ctk"], start["ctv"])
    return (
        f"Cache in {_types(quality.type_k, quality.type_v)}: the likeliest token is "
        f"that of {usual} at {same} of {quality.places} places, "
        f"{quality.divergence:.2g} nats away"
    )


def _types(type_k: str, type_v: str) -> str:
    return type_k if type_k == type_v else f"{type_k} and {type_v}"


def _counts(tried: tuple[Tried, ...]) -> str:
    """``"12 tried: 9 measured, 3 does not fit"``."""
    counts = Counter(one.came for one in tried)
    said = [f"{counts[came]} {came.value}" for came in Came if counts[came]]
    return f"{len(tried)} tried: {', '.join(said)}"


def _times(launches: int) -> str:
    return "1 launch" if launches == 1 else f"{launches} launches"


def _record(found: Tuned) -> dict[str, Any]:
    result, compared = found.result, found.result.compared
    applied = found.applied
    return {
        "name": found.target.name,
        "answer": result.answer.value,
        "goal": found.goal.value,
        "why": result.why,
        "start": _number(result.start),
        "best": result.best.number,
        "costly": _number(result.costly),
        "args": list(result.chosen.args),
        "compared": None if compared is None else _compared_record(compared),
        "tried": [_tried_record(one, found.space) for one in result.tried],
        "quality": [
            {
                "type_k": one.type_k,
                "type_v": one.type_v,
                "divergence_nats": round(one.divergence, 6),
                "agreement": round(one.agreement, 4),
                "places": one.places,
            }
            for one in found.quality
        ],
        "values": {name: list(v) for name, v in found.space.values.items()},
        "launches": found.launches,
        "stopped": result.stopped,
        "storage": found.storage,
        "study": found.study,
        "folder": str(found.folder),
        "written": applied is not None and applied.written,
        "diff": None if applied is None else applied.diff,
        "unwritten": found.unwritten,
    }


def _compared_record(compared: Compared) -> dict[str, Any]:
    return {
        "gain": round(compared.gain, 4),
        "noise": round(compared.noise, 4),
        "start": _pace_record(compared.start),
        "best": _pace_record(compared.best),
    }


def _number(tried: Tried | None) -> int | None:
    return None if tried is None else tried.number


def _pace_record(pace: Pace | None) -> dict[str, float] | None:
    if pace is None:
        return None
    return {
        "decode_tokens_per_s": round(pace.decode, 2),
        "prefill_tokens_per_s": round(pace.prefill, 2),
    }


def _tried_record(tried: Tried, space: Space) -> dict[str, Any]:
    return {
        "number": tried.number,
        "changes": changes_of(tried.settings, space.start),
        "came": tried.came.value,
        "why": tried.why,
        "short_bytes": tried.short_bytes,
        "pace": _pace_record(tried.pace),
        "args": list(tried.args),
    }
