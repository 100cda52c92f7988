"""Running servers as a person reads them, or as JSON, or in one line."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table
from rich.text import Text

from placer.cli import jsons
from placer.cli.bars import mib_text
from placer.cli.out import console
from placer.engine.verdict import verdict_text
from placer.units import duration_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from placer.app.preflight import Need, NoRoomError
    from placer.app.served import Seen, Stopped
    from placer.app.serving import Refit, Served

STYLES = {"ready": "green", "loading": "yellow", "silent": "yellow", "dead": "red"}
QUESTION = '{"messages": [{"role": "user", "content": "Hello"}]}'


def served(found: Served, *, as_json: bool, quiet: bool) -> None:
    """A server that was started, and what to do next."""
    running = found.running
    if as_json:
        jsons.emit(served_record(found))
        return
    if quiet:
        click.echo(running.base_url)
        return
    out = console()
    for note in found.notes:
        out.print(Text(f"Note: {note}.", "dim"), soft_wrap=not out.is_terminal)
    if found.refit is not None:
        _print_refit(out, found.refit)
    text = Text(running.profile, "bold")
    if found.load_s is None:
        text.append(f" is loading; it will answer at {running.base_url}")
    else:
        text.append(f" is ready at {running.base_url} after {found.load_s:.1f} s")
    out.print(text, soft_wrap=True)
    for line in _next(found):
        out.print(Text(line), soft_wrap=True)


def _print_refit(out: Console, refit: Refit) -> None:
    out.print("Placed anew for what is free now; models.conf is as it was.")
    for word, args in (("was", refit.before), ("now", refit.after)):
        out.print(Text(f"  {word}: {shlex.join(args)}"), soft_wrap=True)


def _next(found: Served) -> Iterator[str]:
    running = found.running
    key = " -H 'Authorization: Bearer KEY'" if "--api-key" in running.argv else ""
    url = f"{running.base_url}/v1/chat/completions"
    yield f"  curl {url}{key} -d '{QUESTION}'"
    yield f"  placer status {running.profile}     how it is"
    yield f"  placer dashboard {running.profile}  watch it"
    yield f"  placer stop {running.profile}       end it"


def served_record(found: Served) -> dict[str, Any]:
    """A start as JSON."""
    refit = found.refit
    return {
        **found.running.as_json(),
        "ready": found.ready,
        "load_s": found.load_s,
        "needs": [need_record(need) for need in found.preflight.needs],
        "refit": None
        if refit is None
        else {"before": list(refit.before), "after": list(refit.after)},
        "notes": list(found.notes),
    }


def need_record(need: Need) -> dict[str, Any]:
    """What is needed of one memory, as JSON."""
    return {
        "device": need.device,
        "needs_bytes": need.needs_bytes,
        "free_bytes": need.free_bytes,
        "short_bytes": need.short_bytes,
        "close": list(need.closable),
    }


def no_room(error: NoRoomError, *, as_json: bool) -> None:
    """What is short of memory: on standard error, a line each."""
    if as_json:
        needs = [need_record(need) for need in error.preflight.needs]
        jsons.emit({"profile": error.profile, "fits": False, "needs": needs})
    click.echo(f"placer: {error.profile} does not fit into what is free now", err=True)
    for need in error.preflight.short:
        click.echo(f"  {need}", err=True)
    click.echo(f"  {error.hint}", err=True)


def seen(found: Sequence[Seen], *, as_json: bool, quiet: bool) -> None:
    """Servers, as they are now."""
    if as_json:
        jsons.emit({"servers": [seen_record(one) for one in found]})
        return
    if quiet:
        for one in found:
            click.echo(f"{one.running.profile} {one.word} {one.running.base_url}")
        return
    out = console()
    if not found:
        out.print("No server runs; placer serve PROFILE starts one.")
        return
    _print_seen(found, out)


def _print_seen(found: Sequence[Seen], out: Console) -> None:
    out.print(_table(found))
    alive = [one for one in found if one.health is not None]
    if any(one.running.devices for one in alive):
        out.print()
        out.print(_memory_table(alive))
    for one in found:
        if one.advice is not None:
            for text in _why(one):
                out.print(text, soft_wrap=not out.is_terminal)


def _memory_table(found: Sequence[Seen]) -> Table:
    """What each holds of each device, beside what it was planned to."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("MiB")
    table.add_column("")
    for name in ("now", "planned", "total"):
        table.add_column(name, justify="right")
    for one in found:
        held = one.held_bytes or (None,) * len(one.running.devices)
        for device, now in zip(one.running.devices, held, strict=True):
            figures = (now, device.planned_bytes, device.total_bytes)
            texts = [mib_text(n_bytes) for n_bytes in figures]
            table.add_row(one.running.profile, device.name, *texts)
    return table


def _table(found: Sequence[Seen]) -> Table:
    columns = ("profile", "is", "at", "since", "context", "as")
    table = Table(*columns, box=None, pad_edge=False, header_style="dim")
    for one in found:
        running = one.running
        table.add_row(
            running.profile,
            Text(one.word, STYLES[one.word]),
            running.base_url,
            duration_text(one.uptime_s),
            f"{running.ctx:,}",
            _as_text(one),
        )
    return table


def _as_text(one: Seen) -> str:
    running = one.running
    if running.container is not None:
        return f"container {running.container[:12]}"
    return f"process {running.pid}"


def _why(one: Seen) -> Iterator[Text]:
    """Why a server has ended or cannot be asked, and where it says so."""
    why = "" if one.verdict is None else f"{verdict_text(one.verdict)}; "
    yield Text(f"{one.running.profile}: {why}{one.advice}", "red")
    yield Text(f"  its log: {one.running.log}", "dim")


def seen_record(one: Seen) -> dict[str, Any]:
    """A server as it is now, as JSON."""
    verdict = one.verdict
    held = one.held_bytes
    return {
        **one.running.as_json(),
        "health": one.word,
        "uptime_s": round(one.uptime_s),
        "held_bytes": None if held is None else list(held),
        "verdict": None if verdict is None else verdict.outcome.value,
        "evidence": [] if verdict is None else list(verdict.evidence),
        "advice": one.advice,
    }


def stopped(found: Stopped, *, as_json: bool, quiet: bool) -> None:
    """What was ended."""
    if as_json:
        jsons.emit(
            {
                "stopped": list(found.profiles),
                "cleared": list(found.cleared),
                "containers": list(found.containers),
            }
        )
        return
    if quiet:
        return
    lines = [f"Stopped {name}." for name in found.profiles]
    lines += [f"Cleared away {name}, which had ended." for name in found.cleared]
    lines += [f"Removed container {name} of a search." for name in found.containers]
    for line in lines or ["No server runs."]:
        click.echo(line)
