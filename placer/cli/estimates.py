"""Estimates and plans: as JSON, in one word, or as a picture."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from placer.app import Estimated, Plan, Rated


def estimate(found: Estimated, *, as_json: bool, quiet: bool) -> None:
    """One placement."""
    if as_json:
        from placer.cli import jsons

        jsons.emit(jsons.estimate_record(found))
    elif quiet:
        click.echo(_word(found.rated))
    else:
        from placer.cli.pictures import show_estimate

        show_estimate(found)


def plan(found: Plan, *, as_json: bool, quiet: bool) -> None:
    """Ranked candidates."""
    if as_json:
        from placer.cli import jsons

        jsons.emit(jsons.plan_record(found))
    elif quiet:
        click.echo(shlex.join(found.best_args))
    else:
        from placer.cli.plans import show_plan

        show_plan(found)


def _word(rated: Rated) -> str:
    if rated.fits:
        return "fits"
    return "does not fit" if min(rated.headroom_bytes) < 0 else "not known"
