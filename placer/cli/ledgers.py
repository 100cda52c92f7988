"""The ledger: as JSON, as its path, or as a table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from placer.units import MIB

if TYPE_CHECKING:
    from placer.app.verbs import LedgerRead
    from placer.ledger.speeds import Ratios
    from placer.ledger.summary import Line, Spread


def ledger(found: LedgerRead, *, as_json: bool, quiet: bool) -> None:
    """What was learned so far."""
    if as_json:
        from placer.cli import jsons

        record = {"path": str(found.path), "entries": found.count}
        jsons.emit(record | {"lines": [asdict(line) for line in found.lines]})
    elif quiet:
        click.echo(str(found.path))
    else:
        _show(found)


def _show(found: LedgerRead) -> None:
    click.echo(f"{found.path}: {found.count} entries")
    if not found.lines:
        click.echo(
            "Empty: estimate, plan and optimize fill it where there is an engine."
        )
        return
    click.echo("MiB, or measured over predicted; least / median / most (how many):")
    for line in found.lines:
        click.echo("\n".join(_texts(line)))


def _texts(line: Line) -> list[str]:
    key = line.key
    kind = " (emulated)" if key.emulated else ""
    texts = [f"{key.architecture} on {key.backend}{kind}, build {key.build}"]
    texts.append(f"  dry run less formula, compute: {_spread(line.dry_run)}")
    texts.append(f"  overhead observed: {_spread(line.overhead)}")
    moved = [f"{place} {n / MIB:+.0f}" for place, n in line.corrections.items()]
    texts.append(f"  corrects the next estimate: {', '.join(moved) or 'no'}")
    texts.append(f"  decode, tokens/s: {_ratios(line.decode_ratio)}")
    texts.append(f"  prefill, tokens/s: {_ratios(line.prefill_ratio)}")
    return texts


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "not seen"
    low, middle, high = (n / MIB for n in (spread.low, spread.middle, spread.high))
    return f"{low:.1f} / {middle:.1f} / {high:.1f} ({spread.count})"


def _ratios(found: Ratios | None) -> str:
    if found is None:
        return "not seen"
    return f"{found.low:.3g} / {found.middle:.3g} / {found.high:.3g} ({found.count})"
