"""``placer optimize``: the search for one profile, or for several in turn."""

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
    PROOF,
    WORKLOAD,
    complete_profile,
    options,
    with_request,
    with_where,
)

if TYPE_CHECKING:
    from placer.app import Request, StudyOptions, Where
    from placer.app.lineup import Lineup

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
        help="Go on with what was broken off: the newest search, or those in turn.",
    ),
)
SEVERAL = (
    click.option(
        "--variants",
        metavar="production,bench",
        help="Search both profiles of the model in turn; bench is added if missing.",
    ),
    click.option("--all", "is_all", is_flag=True, help="Search every profile in turn."),
    click.option(
        "--again", is_flag=True, help="With --all: those too whose proof still holds."
    ),
)


@click.command("optimize")
@click.argument(
    "name",
    metavar="PROFILE|MODEL.gguf",
    required=False,
    shell_complete=complete_profile,
)
@options(SEVERAL, WORKLOAD, DEVICES, ENGINE, FILES, LEDGER, LOGS, PROOF, SEARCHING)
@click.option("--dry-run", is_flag=True, help="Search, but leave models.conf as it is.")
@options(OUTPUT)
@with_where
@with_request
def optimize_command(
    *,
    name: str | None,
    where: Where,
    request: Request,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Find the best placement that fits, prove it, write it.

    Every launch is the real llama-server, its context filled by a real prompt. Each
    is on disk before the next. A bare MODEL.gguf is searched, and nothing is written.

    --all goes on when one profile fails, and passes over those whose model is missing
    or whose proof still holds; the exit code is the worst of all.

    \b
    Examples:
      placer optimize glm-q8 --ctx 131072 -b 4096
      placer optimize glm-q8 --dry-run
      placer optimize glm-q8 --resume
      placer optimize glm-q8 --variants production,bench
      placer optimize --all --budget 10m
      placer optimize model.gguf --emulate 400,300 --ctx 2048
    """
    search = study_options(asked, emulated=where.emulate is not None)
    write = not asked["dry_run"]
    lineup = _lineup(name, where, request, asked)
    if lineup is not None:
        from placer.cli import turns

        code = turns.series(
            lineup, where, search, write=write, as_json=as_json, quiet=quiet
        )
        if code:
            raise click.exceptions.Exit(code)
        return
    from placer import app
    from placer.cli import live, show

    with live.search_view(quiet=quiet or as_json) as on_event:
        result = app.optimize(
            name or "", where, request, search, write=write, on_event=on_event
        )
    show.optimized(result, as_json=as_json, quiet=quiet)


def _lineup(
    name: str | None, where: Where, request: Request, asked: dict[str, Any]
) -> Lineup | None:
    """The profiles to search in turn; None for the one that is named."""
    is_all, variants = asked["is_all"], asked["variants"]
    if is_all == (name is not None):
        raise click.UsageError("name a PROFILE or a MODEL.gguf, or give --all.")
    if is_all and variants is not None:
        raise click.UsageError("--variants is of one profile, --all of every one.")
    if asked["again"] and not is_all:
        raise click.UsageError("--again is for --all: a named profile is searched.")
    if name is not None and variants is None:
        return None
    from placer.app.lineup import both_variants, every_profile
    from placer.app.variants import parse_variants

    if name is None:
        return every_profile(where, request, again=asked["again"])
    return both_variants(name, parse_variants(variants), where, request)


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
