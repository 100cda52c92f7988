"""Options of a search alone, and what they amount to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import GOAL, MARGIN

if TYPE_CHECKING:
    from placer.app import StudyOptions

SEARCHING = (
    *GOAL,
    *MARGIN,
    click.option(
        "--launch-beyond",
        is_flag=True,
        help="Launch one step more on every device too, to see it run out of memory.",
    ),
    click.option(
        "--compare/--no-compare",
        default=None,
        help="Measure the answer beside --fit and one GPU.  [not on emulated GPUs]",
    ),
    click.option(
        "--budget",
        default="15m",
        show_default=True,
        metavar="TIME",
        help="Time for that measurement: 15m, 90s.",
    ),
    click.option(
        "--resume",
        is_flag=True,
        help="Go on with the newest search, which was broken off.",
    ),
)


def study_options(values: dict[str, Any], *, emulated: bool) -> StudyOptions:
    """What is searched for, out of the verb's options.

    The speed of emulated GPUs means nothing, and is not measured unasked.
    """
    compare = values["compare"]
    compares = not emulated if compare is None else compare
    from placer.app import StudyOptions
    from placer.engine.observation import Proof
    from placer.plan import Goal

    return StudyOptions(
        goal=Goal(values["goal"]),
        margins_mib=values["margin"],
        proof=Proof[values["proof"].upper()],
        patience_s=values["patience"],
        by_launch=values["launch_beyond"],
        resume=values["resume"],
        compare_s=_seconds(values["budget"]) if compares else None,
    )


def _seconds(text: str) -> float:
    """A time such as ``15m``."""
    from placer.tune.budget import parse_budget

    seconds = parse_budget(text).seconds
    if seconds is None:
        raise click.UsageError(f"--budget {text}: give a time, such as 15m.")
    return seconds
