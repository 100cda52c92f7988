"""Profiles searched in turn: each while it runs, then all of them in a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from placer.app.turns import Ended, exit_code
from placer.cli import jsons, live
from placer.units import duration_text

if TYPE_CHECKING:
    from rich.table import Table

    from placer.app import StudyOptions, Where
    from placer.app.lineup import Lineup, Waiting
    from placer.app.series import Series
    from placer.app.turns import Turn

STYLES = {Ended.FOUND: "green", Ended.FAILED: "bold red", Ended.SKIPPED: "dim"}
DASH = "-"


def series(
    lineup: Lineup,
    where: Where,
    options: StudyOptions,
    *,
    write: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Search them all, and show what became of each; the exit code."""
    from placer.app.series import open_series

    with open_series(lineup, where, options, write=write) as opened:
        if quiet:
            for turn in opened.done:
                _show_one(turn, quiet=True)
        for number, each in enumerate(opened.waiting, start=1):
            title = f"{each.profile} ({number} of {len(opened.waiting)})"
            turn = _run(opened, each, title, is_terse=as_json or quiet)
            if not as_json:
                _show_one(turn, quiet=quiet)
        done = opened.done
    if as_json:
        jsons.emit({"profiles": [turn.as_json() for turn in done]})
    elif not quiet:
        _show_all(done)
    return exit_code(done)


def _run(opened: Series, each: Waiting, title: str, *, is_terse: bool) -> Turn:
    """One profile, seen while it is searched."""
    if not is_terse:
        click.secho(title, bold=True)
    with live.search_view(quiet=is_terse) as on_event:
        return opened.run(each, on_event)


def _show_one(turn: Turn, *, quiet: bool) -> None:
    if quiet:
        click.echo(f"{turn.profile} {turn.status.value}")
        return
    click.echo(f"{turn.profile}: {_sentence(turn)}")
    click.echo()


def _sentence(turn: Turn) -> str:
    """``"found C in 3 launches: -ngl 48 ..."``, or why not."""
    if turn.status is not Ended.FOUND:
        return f"{turn.status.value}: {turn.reason}"
    times = "1 launch" if turn.launches == 1 else f"{turn.launches} launches"
    return f"found {turn.strategy} in {times}: {' '.join(turn.args)}"


def _show_all(done: tuple[Turn, ...]) -> None:
    """The table of the morning, and below it why some have no figures."""
    from placer.cli.out import console

    out = console()
    out.print(_table(done))
    for turn in done:
        if turn.reason is not None:
            click.echo(f"{turn.profile}: {turn.reason}")
    if any(turn.emulated for turn in done):
        click.echo("The speed of emulated devices means nothing.")
    counts = {s: [turn.status for turn in done].count(s) for s in Ended}
    took = duration_text(sum(turn.seconds for turn in done))
    said = ", ".join(f"{n} {s.value}" for s, n in counts.items() if n)
    click.echo(f"{said} in {took}")


def _table(done: tuple[Turn, ...]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for name in ("profile", "", "", "launches", "time", "was t/s", "tokens/s"):
        is_text = name in ("profile", "")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    for turn in done:
        is_found = turn.status is Ended.FOUND
        table.add_row(
            turn.profile,
            Text(turn.status.value, STYLES[turn.status]),
            turn.strategy or "",
            str(turn.launches) if is_found or turn.launches else DASH,
            duration_text(turn.seconds) if turn.seconds else DASH,
            _rate(turn.was_tokens_per_s),
            _rate(turn.tokens_per_s),
        )
    return table


def _rate(per_s: float | None) -> str:
    return DASH if per_s is None else f"{per_s:,.1f}"
