"""Profiles and the history of their file, as a person reads them, or as JSON."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from placer.app.profiled import State
from placer.cli import jsons
from placer.units import GIB, mib

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.table import Table
    from rich.text import Text

    from placer.app.changes import Written
    from placer.app.profiled import Known, Profiles
    from placer.app.write import Applied
    from placer.profiles import Proved

# From here on there is room for the file, the devices and the engine.
WIDE = 140
STYLES = {
    State.PROVED: "green",
    State.STALE: "yellow",
    State.UNPROVED: "dim",
    State.NO_MODEL: "red",
}
DASH = "-"


def profiles(found: Profiles, *, as_json: bool, quiet: bool) -> None:
    """A line a profile."""
    if as_json:
        records = [_record(one) for one in found.known]
        record = {"conf": str(found.conf.path), "engine": found.engine}
        jsons.emit(record | {"profiles": records})
    elif quiet:
        for one in found.known:
            click.echo(f"{one.profile.id} {one.state.value}")
    else:
        _show(found)


def _show(found: Profiles) -> None:
    from placer.cli.out import console

    out = console()
    if not found.known:
        click.echo(f"{found.conf.path} has no profile; placer new adds one.")
        return
    out.print(_wide(found) if out.width >= WIDE else _narrow(found))
    for line in _reasons(found):
        click.echo(line)
    states = [one.state for one in found.known]
    counts = {state: states.count(state) for state in State if state in states}
    said = ", ".join(f"{n} {s.value.replace('-', ' ')}" for s, n in counts.items())
    engine = "" if found.engine is None else f"; engine {found.engine}"
    click.echo(f"{found.conf.path}: {said}{engine}")


def _narrow(found: Profiles) -> Table:
    table = _table("profile", "GiB", "context", "", "t/s", "left MiB", "proved")
    for one in found.known:
        proved = one.proved
        table.add_row(
            _id(one),
            _gib(one),
            _ctx(one),
            _strategy(one),
            _rate(None if proved is None else proved.decode_tokens_per_s),
            _left(proved, names=False),
            _state(one),
        )
    return table


def _wide(found: Profiles) -> Table:
    columns = ("profile", "GiB", "context", "", "prompt t/s", "t/s", "left MiB")
    table = _table(*columns, "model", "engine", "proof", "proved")
    for one in found.known:
        proved = one.proved
        table.add_row(
            _id(one),
            _gib(one),
            _ctx(one),
            _strategy(one),
            _rate(None if proved is None else proved.prompt_tokens_per_s),
            _rate(None if proved is None else proved.decode_tokens_per_s),
            _left(proved, names=True),
            one.profile.model or DASH,
            (proved and proved.engine) or DASH,
            (proved and proved.proof) or DASH,
            _state(one),
        )
    return table


def _table(*columns: str) -> Table:
    """Figures to the right; a name goes on below where room is short."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for name in columns:
        is_figure = name in ("GiB", "context", "prompt t/s", "t/s", "left MiB")
        table.add_column(
            name,
            justify="right" if is_figure else "left",
            no_wrap=name not in ("profile", "model"),
            overflow="fold",
        )
    return table


def _id(one: Known) -> str:
    """A bench variant stands under its production profile, set in."""
    return one.profile.id if one.production is None else f"  {one.profile.id}"


def _gib(one: Known) -> str:
    if one.model_bytes is None:
        return DASH
    gib = one.model_bytes / GIB
    return f"{gib:,.1f}" if gib >= 1 else f"{gib:.2g}"


def _ctx(one: Known) -> str:
    return DASH if one.ctx is None else f"{one.ctx:,}"


def _strategy(one: Known) -> str:
    """Its letter; of one that llama-server places, that."""
    if one.proved is not None and one.proved.strategy is not None:
        return one.proved.strategy
    return "fit" if one.profile.fit else DASH


def _rate(per_s: float | None) -> str:
    return DASH if per_s is None else f"{per_s:,.1f}"


def _left(proved: Proved | None, *, names: bool) -> str:
    """What each device had left under the proof."""
    devices = () if proved is None else proved.devices
    if all(device.left_bytes is None for device in devices):
        return DASH
    parts = []
    for device in devices:
        left = device.left_bytes
        figure = DASH if left is None else f"{mib(left):,.0f}"
        parts.append(f"{device.name} {figure}" if names else figure)
    return (", " if names else " ").join(parts)


def _state(one: Known) -> Text:
    """The day of a proof that holds; of any other what is wrong, in two words."""
    from rich.text import Text

    text = "no" if one.proved is None else one.proved.day
    if one.state in (State.STALE, State.NO_MODEL):
        text = one.state.value.replace("-", " ")
    return Text(text, STYLES[one.state])


def _reasons(found: Profiles) -> Iterator[str]:
    """What is wrong with models, and what a proof is worth, each once."""
    names: dict[str, list[str]] = {}
    for one in found.known:
        for text in _remarks(one):
            names.setdefault(text, []).append(one.profile.id)
    for text, ids in names.items():
        yield f"{', '.join(ids)}: {text}"


def _remarks(one: Known) -> Iterator[str]:
    if one.problem is not None:
        yield one.problem
    yield from one.stale
    if one.proved is not None and one.proved.emulated:
        yield "proved on emulated devices: its speed means nothing"


def _record(one: Known) -> dict[str, Any]:
    profile = one.profile
    return {
        "profile": profile.id,
        "name": profile.name,
        "description": profile.description,
        "production": one.production,
        "model": profile.model,
        "model_bytes": one.model_bytes,
        "problem": one.problem,
        "ctx": one.ctx,
        "speed": profile.speed,
        "state": one.state.value,
        "stale": list(one.stale),
        "proved": None if one.proved is None else proved_record(one.proved),
    }


def proved_record(proved: Proved) -> dict[str, Any]:
    """A proof as JSON has it."""
    devices = [
        asdict(device) | {"left_bytes": device.left_bytes} for device in proved.devices
    ]
    return asdict(proved) | {"devices": devices}


def added(change: Applied, *, as_json: bool, quiet: bool) -> None:
    """A new profile, by what it adds to the file."""
    from placer.cli import show

    if as_json or not quiet:
        show.applied(change, as_json=as_json, quiet=quiet)


def diff(change: Applied, *, as_json: bool) -> None:
    """What differs, and nothing else."""
    from placer.profiles import changed_profiles

    if as_json:
        names = changed_profiles(change.before, change.after)
        jsons.emit({"profiles": list(names), "diff": change.diff})
    elif not change.diff:
        click.echo("No change.")
    else:
        _print_diff(change.diff)


def _print_diff(text: str) -> None:
    from rich.syntax import Syntax

    from placer.cli.out import console

    out = console()
    if out.is_terminal:
        out.print(Syntax(text, "diff", background_color="default"))
    else:
        click.echo(text, nl=False)


def history(writes: tuple[Written, ...], path: Path, *, as_json: bool) -> None:
    """The writes that undo would take back, the newest first."""
    if as_json:
        jsons.emit({"conf": str(path), "writes": [_write_record(w) for w in writes]})
        return
    if not writes:
        click.echo(f"placer has not written {path}: there is nothing to undo.")
    for number, write in enumerate(writes, start=1):
        when = write.when.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        edited = ", edited by hand since" if write.is_edited else ""
        click.echo(f"{number:>3}  {when}  {_names(write)}{edited}")


def _names(write: Written) -> str:
    return ", ".join(write.profiles) or "comments alone"


def _write_record(write: Written) -> dict[str, Any]:
    return {
        "when": write.when.isoformat(timespec="seconds"),
        "profiles": list(write.profiles),
        "edited": write.is_edited,
        "backup": str(write.backup.path),
    }
