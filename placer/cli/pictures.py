"""The picture of a placement: bars, what limits it, and what would help."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from rich.text import Text

from placer.cli.bars import device_table, legend, picture_of
from placer.cli.out import console
from placer.units import size_text

if TYPE_CHECKING:
    from rich.console import Console

    from placer.app import Estimated, Rated, Relief
    from placer.app.target import Target
    from placer.machine import Machine


# More than any table without its bar: a narrower terminal breaks the lines, and no
# figure is cut short.
LEAST_COLUMNS = 80


def wide_enough() -> Console:
    """Standard output, with room for a table without its bar."""
    out = console()
    out.width = max(out.width, LEAST_COLUMNS)
    return out


def show_estimate(found: Estimated) -> None:
    """One placement."""
    out = wide_enough()
    print_head(out, found.target, found.machine)
    out.print(Text(shlex.join(found.rated.args), "green"), soft_wrap=True)
    print_rated(out, found.rated, found.machine)
    for line in _verdict(found.rated, found.machine, found.reliefs):
        out.print(line, soft_wrap=not out.is_terminal)
    out.print(Text(_speed_text(found.rated), "dim"), soft_wrap=not out.is_terminal)


def _speed_text(rated: Rated) -> str:
    """What the placement is predicted to do, in words."""
    speed = rated.candidate.speed
    decode = speed.decode
    return (
        f"Predicted: {decode.mid:.1f} tokens/s written ({decode.low:.1f} to "
        f"{decode.high:.1f}), {speed.prefill.mid:,.0f} read, with {speed.depth:,} in "
        "the cache."
    )


def print_head(out: Console, target: Target, on: Machine) -> None:
    """What is asked, of which model, on which machine."""
    head = Text(target.name, "bold")
    out.print(head, _workload_text(target), soft_wrap=not out.is_terminal)
    if on.name is not None:
        out.print(Text(f"on {on.name}", "dim"))


def print_rated(out: Console, rated: Rated, on: Machine) -> None:
    """Picture, legend, and where each figure comes from."""
    picture = picture_of(rated, on)
    out.print(device_table(picture, out.width))
    out.print(legend(picture))
    for companion in rated.companions:
        beside = [*companion.devices, companion.host]
        size = size_text(sum(held.total_bytes for held in beside))
        out.print(Text(f"beside: {companion.kind} {companion.name}, {size}", "dim"))
    splits = rated.best.graph_splits
    text = f"Figures {_source_text(rated)}"
    if splits is not None:
        text += f"; graph splits {splits[0]} / {splits[1]} (prompt / one token)"
    out.print(Text(f"{text}.", "dim"))
    for note in rated.notes:
        out.print(Text(f"Note: {note}.", "yellow"), soft_wrap=not out.is_terminal)


def _verdict(rated: Rated, on: Machine, reliefs: tuple[Relief, ...]) -> list[Text]:
    """What limits, by how much, and what would help."""
    device = on.devices[rated.tightest].name
    left_bytes = rated.headroom_bytes[rated.tightest]
    size = size_text(abs(left_bytes))
    if rated.fits:
        return [Text(f"Fits: {device} is the tightest, {size} left.", "bold green")]
    if left_bytes >= 0:
        text = f"Not known: {device} would have {size} left for what is not known."
        return [Text(text, "bold yellow")]
    lines = [Text(f"Does not fit: {device} is {size} short.", "bold red")]
    for relief in reliefs:
        flags, freed = shlex.join(relief.args), size_text(relief.freed_bytes)
        is_enough = relief.freed_bytes + left_bytes >= 0
        tail = "enough" if is_enough else "not enough alone"
        lines.append(Text(f"  {flags} would free {freed} of {device}: {tail}"))
    return [*lines, Text("  placer plan shows which placements would fit")]


def _workload_text(target: Target) -> Text:
    work = target.workload
    slots = f"{work.parallel} slots" if work.parallel > 1 else "1 slot"
    text = f"context {work.ctx:,}, {slots}, -b {work.batch} -ub {work.n_ubatch}, "
    return Text(f"{text}cache {work.type_k}/{work.type_v}", "dim")


def _source_text(rated: Rated) -> str:
    return "by the engine's dry run" if rated.dry_run else "by formula"
