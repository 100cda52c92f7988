"""``placer together``: whether profiles fit side by side, and how."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import (
    DESCRIBED,
    ENGINE,
    FILES,
    GOAL,
    LEDGER,
    MARGIN,
    OUTPUT,
    complete_profile,
    options,
    with_where,
)

if TYPE_CHECKING:
    from rich.table import Table

    from placer.app import Where
    from placer.app.together import Arrangement, Member, Together

DOES_NOT_FIT = 4


@click.command("together")
@click.argument(
    "names",
    nargs=-1,
    required=True,
    metavar="PROFILE PROFILE...",
    shell_complete=complete_profile,
)
@options(GOAL, MARGIN, DESCRIBED, ENGINE, FILES, LEDGER, OUTPUT)
@with_where
def together_command(
    *,
    names: tuple[str, ...],
    where: Where,
    goal: str,
    margin: tuple[int, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Say whether profiles fit at the same time, and with which placements.

    First as models.conf has them; where that does not fit, each is placed anew in
    what the others leave. Nothing is loaded: these are estimates. Exit code 4 says
    that they do not fit.

    \b
    Examples:
      placer together glm-q4 qwen-next-q5
      placer together glm-q4 gpt-oss-120b --machine rtx-4090+rtx-5070-ti
    """
    from placer.app.together import TogetherOptions, together
    from placer.cli.steps import steps
    from placer.plan import Goal

    with steps(quiet=quiet or as_json) as on_step:
        asked = TogetherOptions(goal=Goal(goal), margins_mib=margin, on_step=on_step)
        found = together(names, where, asked)
    _show(found, as_json=as_json, quiet=quiet)
    if not found.fits:
        raise click.exceptions.Exit(DOES_NOT_FIT)


def _show(found: Together, *, as_json: bool, quiet: bool) -> None:
    if as_json:
        from placer.cli import jsons

        jsons.emit(together_record(found))
    elif quiet:
        click.echo("fits" if found.fits else "does not fit")
    else:
        _print(found)


def _print(found: Together) -> None:
    from rich.text import Text

    from placer.cli.out import console

    out, best = console(), found.best
    for line in _stated_lines(found):
        out.print(Text(line), soft_wrap=True)
    out.print()
    out.print(_speeds(best))
    for member in best.members:
        flags = shlex.join(member.rated.args)
        out.print(Text(f"{member.name}: {flags}"), soft_wrap=True)
    out.print()
    out.print(_memory(found))
    for line in _end_lines(found):
        out.print(Text(line, "dim"), soft_wrap=True)


def _stated_lines(found: Together) -> list[str]:
    """Whether they fit as models.conf has them, and else."""
    from placer.app.together import short_text

    stated, planned = found.stated, found.planned
    lines = [f"{name}: {reason}." for name, reason in found.unstated]
    if stated is not None and stated.fits:
        return ["They fit side by side as models.conf has them."]
    if stated is not None:
        lines.append(f"As models.conf has them: {_verdict(found, stated)}.")
    if planned is not None and planned.fits:
        lines.append("Placed anew they fit side by side:")
    elif planned is not None:
        short = short_text(found.pools, planned)
        lines.append(f"Placed anew: {short or _verdict(found, planned)}.")
    return lines


def _verdict(found: Together, arrangement: Arrangement) -> str:
    from placer.app.together import short_text

    if not arrangement.is_known:
        return "not all of their memory is known"
    return short_text(found.pools, arrangement)


def _speeds(best: Arrangement) -> Table:
    """A row a profile: what it writes alone, and as placed here."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for column in ("tokens/s written", "strategy"):
        table.add_column(column)
    for column in ("alone", "together", ""):
        table.add_column(column, justify="right")
    for member in best.members:
        change = member.together / member.alone - 1 if member.alone else 0.0
        table.add_row(
            member.name,
            member.rated.candidate.strategy.value,
            f"{member.alone:,.1f}",
            f"{member.together:,.1f}",
            f"{change:+.0%}".replace("%", " %") if round(change, 2) else "",
        )
    return table


def _memory(found: Together) -> Table:
    """A row a pool: what each profile takes of it, and what is left."""
    from rich.table import Table

    from placer.units import mib

    rows = _rows(found)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    # A column of nothing but zeros says nothing.
    kept = [name for name in rows[0] if any(row[name] for row in rows)]
    table.add_column("MiB")
    for name in kept:
        table.add_column(name, justify="right")
    for pool, row in zip(found.pools, rows, strict=True):
        table.add_row(pool.name, *(f"{mib(row[name]):,.0f}" for name in kept))
    return table


def _rows(found: Together) -> list[dict[str, int]]:
    """Bytes of each pool: free, less what each takes, is what is left."""
    members = found.best.members
    residents = [member.resident for member in members]
    rows = []
    for pool, left in zip(found.pools, found.best.left_bytes, strict=True):
        margin = 0 if pool.device is None else found.margins_bytes[pool.device]
        held = {member.name: pool.held_bytes(member.resident) for member in members}
        contexts = pool.further_contexts_bytes(residents)
        row = {"free": pool.free_bytes, **held, "contexts": contexts, "margin": margin}
        rows.append(row | {"left": left})
    return rows


def _end_lines(found: Together) -> list[str]:
    """What the figures are, and what they are not."""
    from placer.units import size_text

    sources = {member.rated.best.source for member in found.best.members}
    by = "the engine's dry run" if sources == {"dry-run"} else "formula"
    lines = [_caveat(by)]
    residents = [member.resident for member in found.best.members]
    if any(pool.further_contexts_bytes(residents) for pool in found.pools):
        size = size_text(max(pool.context_bytes for pool in found.pools))
        lines.append(
            f"Contexts: each process of CUDA takes {size} of each device that it uses "
            "beside all that, which is assumed; the first one is counted already."
        )
    if found.pools[-1].device is not None:
        lines.append("Of the CPU's memory nothing is known here.")
    if found.planned is not None and found.planned.fits:
        lines.append(
            f"Of all divisions that were tried this one slows them least: "
            f"{found.planned.ratio:.0%} of the speed of each alone, geometric mean."
        )
    lines += [
        f"{name} is served now: what it holds is not free." for name in found.running
    ]
    return lines


def _caveat(by: str) -> str:
    return (
        f"Figures by {by}, nothing was loaded: an estimate. The speeds are those of "
        "one at a time; who computes at the same time shares the cards."
    )


def together_record(found: Together) -> dict[str, Any]:
    """The same as ``--json`` prints it."""
    return {
        "fits": found.fits,
        "goal": found.goal.value,
        "machine": found.machine.name,
        "running": list(found.running),
        "unstated": [{"name": n, "reason": why} for n, why in found.unstated],
        "stated": _arrangement_record(found, found.stated),
        "planned": _arrangement_record(found, found.planned),
    }


def _arrangement_record(
    found: Together, arrangement: Arrangement | None
) -> dict[str, Any] | None:
    if arrangement is None:
        return None
    residents = [member.resident for member in arrangement.members]
    return {
        "fits": arrangement.fits,
        "ratio": round(arrangement.ratio, 4),
        "pools": [
            {
                "name": pool.name,
                "free_bytes": pool.free_bytes,
                "contexts_bytes": pool.further_contexts_bytes(residents),
                "left_bytes": left,
            }
            for pool, left in zip(found.pools, arrangement.left_bytes, strict=True)
        ],
        "profiles": [_member_record(found, one) for one in arrangement.members],
    }


def _member_record(found: Together, member: Member) -> dict[str, Any]:
    held = {pool.name: pool.held_bytes(member.resident) for pool in found.pools}
    return {
        "name": member.name,
        "strategy": member.rated.candidate.strategy.value,
        "args": list(member.rated.args),
        "alone_tokens_per_s": round(member.alone, 2),
        "together_tokens_per_s": round(member.together, 2),
        "held_bytes": held,
        "source": member.rated.best.source,
        "notes": list(member.rated.notes),
    }
