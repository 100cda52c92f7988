"""Options of the plan alone, and what they amount to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import MARGIN

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.app import PlanOptions

INFINITE = float("inf")
PLANNING = (
    click.option(
        "--for",
        "goal",
        type=click.Choice(["decode", "prefill", "balanced", "context"]),
        default="decode",
        show_default=True,
        help="What to be best at: writing, reading prompts, both, or the largest "
        "context.",
    ),
    *MARGIN,
    click.option(
        "--depth",
        type=click.IntRange(min=0),
        default=4096,
        show_default=True,
        help="Tokens in the cache at which speed is predicted.",
    ),
    click.option(
        "--min-speed",
        type=click.FloatRange(min=0),
        help="Tokens/s that --for context may not fall under.  [80 % of now]",
    ),
    click.option(
        "--baselines/--no-baselines",
        default=True,
        show_default=True,
        help="Plan --fit and one GPU too.",
    ),
    click.option(
        "--tradeoffs/--no-tradeoffs",
        default=None,
        help="Try other settings too.  [not with --json and --quiet]",
    ),
    click.option(
        "--explain",
        is_flag=True,
        help="Say what limits, and what more memory would buy.",
    ),
    click.option(
        "--plot",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.svg|FILE.png",
        help="Draw the placements and trade-offs.",
    ),
)


def plan_options(
    values: dict[str, Any],
    *,
    plot: Path | None,
    is_terse: bool,
    on_step: Callable[[str], None],
) -> PlanOptions:
    """What a plan is to be best at, out of the verb's options."""
    from placer.app import PlanOptions
    from placer.plan import Goal

    least = values["min_speed"]
    if least is not None and (values["goal"] != "context" or not least < INFINITE):
        raise click.UsageError("--min-speed is a number, and for --for context alone.")
    tradeoffs = values["tradeoffs"]
    if tradeoffs is None:
        tradeoffs = plot is not None or not is_terse
    return PlanOptions(
        goal=Goal(values["goal"]),
        margins_mib=values["margin"],
        depth=values["depth"],
        least_speed=least,
        baselines=values["baselines"],
        tradeoffs=tradeoffs,
        explain=values["explain"],
        on_step=on_step,
    )
