"""Plans: ranked placements beside the baselines, trade-offs, and what limits."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from placer.cli.bars import mib_text
from placer.cli.pictures import print_head, print_rated, wide_enough
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from placer.app import Explained, Plan, Rated
    from placer.machine import Machine
    from placer.speed import Interval

# Columns from which on strategies are named in full.
ROOMY = 96
GOALS = {
    "decode": "writing tokens",
    "prefill": "reading prompts",
    "balanced": "reading eight tokens for each one written",
    "context": "the largest context that is still fast",
}


def show_plan(found: Plan) -> None:
    """All of it: the candidates, the best one's memory, what else could be."""
    out = wide_enough()
    print_head(out, found.target, found.machine)
    text = f"for {GOALS[found.goal.value]}, with {found.depth:,} tokens in the cache"
    out.print(Text(text, "dim"))
    out.print()
    out.print(_candidates(found, out.width))
    if out.width < ROOMY:
        out.print(_strategies(found))
    for name, rated in rows_of(found):
        line = Text(f"{name}: ", "bold").append(
            shlex.join(_args(found, rated)), "not bold green"
        )
        out.print(line, soft_wrap=True)
    out.print()
    print_rated(out, found.candidates[0], found.machine)
    if found.tradeoffs:
        out.print()
        out.print(_tradeoffs(found))
    if found.explained is not None:
        out.print()
        _print_explained(out, found.explained)
    out.print()
    _print_end(out, found)


def rows_of(found: Plan) -> Iterator[tuple[str, Rated]]:
    """Every placement that is shown, with what it is called."""
    for rank, rated in enumerate(found.candidates, start=1):
        yield str(rank), rated
    best = found.candidates[0].candidate.placement
    if found.one_gpu is not None and found.one_gpu.candidate.placement != best:
        yield "one GPU", found.one_gpu
    if found.fit is not None:
        yield "--fit", found.fit


def _args(found: Plan, rated: Rated) -> tuple[str, ...]:
    """The flags of a row; of the first, the context too where it was looked for."""
    return found.best_args if rated is found.candidates[0] else rated.args


def _candidates(found: Plan, columns: int) -> Table:
    """A row a placement; titles of strategies where there is room for them."""
    table = _table()
    for name in ("", "strategy", "written/s", "read/s", "splits", "on CPU", "left MiB"):
        is_text = name in ("", "strategy")
        table.add_column(name, justify="left" if is_text else "right", no_wrap=True)
    for name, rated in rows_of(found):
        splits = rated.best.graph_splits
        table.add_row(
            name,
            _strategy_text(rated, columns),
            _written_text(rated),
            number_text(rated.candidate.speed.prefill.mid),
            "-" if splits is None else f"{splits[0]}/{splits[1]}",
            _experts_text(rated.expert_bytes_on_host),
            _left_text(rated, found.machine),
        )
    return table


def _strategies(found: Plan) -> Text:
    """What the letters mean, of those that are shown."""
    tried = [one.rated for one in found.tradeoffs if one.rated is not None]
    shown = dict.fromkeys(
        rated.candidate.strategy
        for rated in (*(rated for _, rated in rows_of(found)), *tried)
    )
    return Text(", ".join(f"{one.value}: {one.title}" for one in shown), "dim")


def _strategy_text(rated: Rated, columns: int = 0) -> str:
    strategy = rated.candidate.strategy
    return f"{strategy.value} {strategy.title}" if columns >= ROOMY else strategy.value


def _table() -> Table:
    return Table(box=None, pad_edge=False, padding=(0, 1))


def _written_text(rated: Rated) -> str:
    """The figure with its interval; at most so much where the host has to page."""
    text = interval_text(rated.candidate.speed.decode)
    return f"< {text}" if rated.host_is_short else text


def _experts_text(n_bytes: int) -> str:
    return "-" if not n_bytes else size_text(n_bytes)


def _left_text(rated: Rated, machine: Machine) -> Text:
    """What the tightest device has left, in MiB."""
    left = rated.headroom_bytes[rated.tightest]
    name = machine.devices[rated.tightest].name
    style = "bold red" if left < 0 else ""
    return Text(f"{mib_text(left)} {name}", style)


def interval_text(figure: Interval) -> str:
    """``22.5 (18.0-27.0)``."""
    low, high = number_text(figure.low), number_text(figure.high)
    return f"{number_text(figure.mid)} ({low}-{high})"


def number_text(per_s: float) -> str:
    """Three figures, whole numbers from a hundred on."""
    return f"{per_s:,.0f}" if per_s >= 100 else f"{per_s:.1f}"


def _tradeoffs(found: Plan) -> Table:
    """What other settings would give, beside the best placement."""
    table = _table()
    table.add_column("with", no_wrap=True)
    table.add_column("strategy", no_wrap=True)
    for name in ("written/s", "read/s", "on CPU"):
        table.add_column(name, justify="right", no_wrap=True)
    best = found.candidates[0]
    table.add_row("as asked", *_trade(best, best))
    for one in found.tradeoffs:
        table.add_row(shlex.join(one.args), *_trade(one.rated, best))
    return table


def _trade(rated: Rated | None, best: Rated) -> tuple[str, ...]:
    if rated is None:
        return ("", "fits nowhere", "", "")
    speed, now = rated.candidate.speed, best.candidate.speed
    return (
        _strategy_text(rated),
        _compared(speed.decode.mid, now.decode.mid),
        _compared(speed.prefill.mid, now.prefill.mid),
        _experts_text(rated.expert_bytes_on_host),
    )


def _compared(per_s: float, now: float) -> str:
    """The figure, and how it differs from what there is now."""
    change = round((per_s / now - 1) * 100)
    return f"{number_text(per_s)} {f'{change:+d} %' if change else '':>6}"


def _print_explained(out: Console, found: Explained) -> None:
    """What limits, what one more GiB would buy, which flag frees most."""
    total = sum(found.seconds.values())
    parts = [
        f"{name} {seconds / total:.0%}"
        for name, seconds in found.seconds.items()
        if seconds / total >= 0.005
    ]
    lines = [
        f"What limits: {LIMITS.get(found.limit, f'reading weights on {found.limit}')}.",
        f"Where the time goes: {', '.join(parts)}.",
        *(
            f"1 GiB more on {one.device}: {number_text(one.tokens_per_s)} tokens/s "
            f"({one.gained:+.1%})."
            for one in found.more_memory
        ),
    ]
    if found.reliefs:
        first = found.reliefs[0]
        flags, freed = shlex.join(first.args), size_text(first.freed_bytes)
        lines.append(f"{flags} frees the most of {found.tightest}: {freed}.")
    if found.gap is not None:
        gap = (
            "nothing faster exists"
            if not found.gap
            else (f"nothing faster than by {found.gap:.1%} exists")
        )
        lines.append(f"By the speed model {gap}.")
    for line in lines:
        out.print(line, soft_wrap=not out.is_terminal)


LIMITS = {
    "CPU": "the weights on the CPU",
    "hops": "the way between devices",
}


def _print_end(out: Console, found: Plan) -> None:
    notes = [f"Speed is predicted, calibrated by {found.calibration}."]
    if found.assumed:
        notes.append(f"Assumed: {', '.join(found.assumed)}.")
    dry = f", dry runs {found.dry_run_seconds:.2f} s" if found.dry_run_seconds else ""
    notes.append(
        f"Planned in {found.seconds:.2f} s{dry}. Nothing was loaded: these are "
        "estimates. placer optimize proves them."
    )
    for note in notes:
        out.print(Text(note, "dim"), soft_wrap=not out.is_terminal)
