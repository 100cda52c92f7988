"""``placer tune``: settings beyond placement, by launching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import (
    DEVICES,
    ENGINE,
    FILES,
    GOAL,
    LEDGER,
    LOGS,
    MARGIN,
    OUTPUT,
    PATIENCE,
    WORKLOAD,
    name_argument,
    options,
    with_request,
    with_where,
)

if TYPE_CHECKING:
    from placer.app import Request, Where
    from placer.app.tuning import TuneOptions

TUNING = (
    click.option(
        "--budget",
        metavar="TIME|N",
        default="20m",
        show_default=True,
        help="What may be spent: 20m, 1h30m, or a number of launches. Measuring the "
        "best again is part of it.",
    ),
    *GOAL,
    click.option(
        "--vary",
        multiple=True,
        metavar="FLAG=VALUE,...",
        help="Values to try instead of the usual ones: ub=512,1024. Of ub, b, ctk, "
        "ctv, fa, op-offload, np, t, tb, sm; repeat for more.",
    ),
    click.option("--only", is_flag=True, help="Vary nothing but what --vary names."),
    *MARGIN,
    click.option(
        "--accept-quality-loss",
        is_flag=True,
        help="Choose cache types below q8_0 too, if --vary names them.",
    ),
    click.option(
        "--quality/--no-quality",
        default=True,
        show_default=True,
        help="Measure what each cache type costs; one launch each.",
    ),
    click.option("--resume", is_flag=True, help="Go on with the newest study."),
    click.option(
        "--storage",
        metavar="FILE|URL",
        help="A study that several machines share: a file, or sqlite:///tune.db.",
    ),
    click.option("--write", is_flag=True, help="Write what is better to models.conf."),
)


@click.command("tune")
@name_argument
@options(TUNING)
@options(WORKLOAD, DEVICES, ENGINE, FILES, LEDGER, LOGS, PATIENCE, OUTPUT)
@with_where
@with_request
def tune_command(
    *,
    name: str,
    where: Where,
    request: Request,
    as_json: bool,
    quiet: bool,
    **tuning: Any,
) -> None:
    """Find faster settings: batches, cache types, threads and more.

    Each is placed by the planner, asked of the engine's dry run, launched with its
    context filled, and measured. It starts with what the profile says; the best is
    then measured against that once more, in turns. Ctrl-C keeps what was tried.

    \b
    Examples:
      placer tune glm-q8 --budget 20m
      placer tune glm-q8 --vary ub=512,1024,2048 --only --budget 12
      placer tune glm-q8 --for balanced --resume --write
    """
    from placer.app.tuned import tune
    from placer.cli import tunings

    asked = _options(tuning)
    with tunings.tuning_view(quiet=quiet or as_json) as on_event:
        found = tune(name, where, request, asked, on_event)
    tunings.tuned(found, as_json=as_json, quiet=quiet)


def _options(values: dict[str, Any]) -> TuneOptions:
    """What is tuned for, out of the verb's options."""
    from placer.app.tuning import TuneOptions
    from placer.plan import Goal
    from placer.tune.budget import parse_budget
    from placer.tune.knobs import parse_vary

    if values["only"] and not values["vary"]:
        raise click.UsageError("--only leaves nothing to vary without --vary.")
    return TuneOptions(
        goal=Goal(values["goal"]),
        budget=parse_budget(values["budget"]),
        margins_mib=values["margin"],
        patience_s=values["patience"],
        vary=parse_vary(values["vary"]),
        only=values["only"],
        accept_quality_loss=values["accept_quality_loss"],
        quality=values["quality"],
        resume=values["resume"],
        storage=values["storage"],
        write=values["write"],
    )
