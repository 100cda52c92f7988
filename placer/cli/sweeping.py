"""``placer sweep``: an experiment over flags and sampling."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from placer.cli.exams import EXAM, MOST_USERS
from placer.cli.options import (
    DEVICES,
    ENGINE,
    FILES,
    LEDGER,
    LOGS,
    OUTPUT,
    PATIENCE,
    WORKLOAD,
    complete_profile,
    options,
    with_request,
    with_where,
)

if TYPE_CHECKING:
    from placer.app import Request, Where
    from placer.app.sweep_question import SweepOptions

ASKED = (
    click.option(
        "--vary",
        multiple=True,
        metavar="NAME=VALUE,...",
        help="A flag of llama-server or a sampling parameter: ctk=q8_0,q4_0 or "
        "temp=0.6,0.8; repeat for more. kv is ctk and ctv together; t takes half, "
        "cores and threads too; values with commas are parted by semicolons.",
    ),
    click.option(
        "--base",
        multiple=True,
        metavar="NAME=VALUE",
        help="What others are compared with.  [as the profile or the engine has it]",
    ),
    click.option(
        "--measure",
        metavar="NAME,...",
        help="pass@K, truncated, tokens/s, prompt-tokens/s, ttft, vram, joules/token, "
        "kl, agreement, ppl; the first counts most.  [tokens/s,vram]",
    ),
    click.option(
        "--experiment", metavar="NAME", help="Ask a question that --list shows."
    ),
    click.option("--list", "is_list", is_flag=True, help="Show the named experiments."),
    click.option(
        "--repeats",
        type=click.IntRange(min=1, max=1000),
        help="Times that all is measured.  [5 for speeds, 2 for vram, else 1]",
    ),
    click.option(
        "--budget",
        metavar="TIME|N",
        help="Have cells proposed instead of measuring all, by the first measure: for "
        "30m, or N runs. The best is then measured beside the base again.",
    ),
    click.option(
        "--seed", type=int, default=11434, show_default=True, help="Of the order."
    ),
    click.option("--resume", is_flag=True, help="Go on with the newest sweep."),
    click.option(
        "--chart",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.svg",
        help="Draw it; further measures go to FILE-MEASURE.svg.",
    ),
)
PROBES = (
    click.option(
        "--users",
        type=click.IntRange(1, MOST_USERS),
        default=1,
        show_default=True,
        help="Problems that are asked at once.",
    ),
    click.option(
        "--prompt-tokens",
        type=click.IntRange(min=1),
        metavar="N",
        help="Read to measure a speed.  [512]",
    ),
    click.option(
        "--tokens",
        type=click.IntRange(min=2),
        default=64,
        show_default=True,
        metavar="N",
        help="Written to measure a speed.",
    ),
    click.option(
        "--text",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="What llama-perplexity reads for ppl.",
    ),
)


@click.command("sweep")
@click.argument(
    "name",
    metavar="PROFILE|MODEL.gguf",
    required=False,
    shell_complete=complete_profile,
)
@options(ASKED, EXAM, PROBES)
@options(WORKLOAD, DEVICES, ENGINE, FILES, LEDGER, LOGS, PATIENCE, OUTPUT)
@with_where
@with_request
def sweep_command(
    *,
    name: str | None,
    is_list: bool,
    where: Where,
    request: Request,
    as_json: bool,
    quiet: bool,
    chart: Path | None,
    **asked: Any,
) -> None:
    """Vary flags and sampling, and say what differs from the base.

    All combinations are measured, in random order, as often as --repeats says; the
    server starts again only for flags that it takes at its start. "No difference seen"
    is an answer: all verdicts together are wrong in 5 of 100 sweeps at most.

    \b
    Examples:
      placer sweep glm-q8 --vary temp=0.6,0.8,1.0 --vary ctk=q8_0,q5_0,q4_0 \\
                          --measure pass@1,tokens/s,vram --chart sweep.svg
      placer sweep glm-q8 --experiment kv-types
      placer sweep glm-q8 --vary b=512,2048,4096 --vary ub=256,512,1024 --budget 30m
      placer sweep --list
    """
    from placer.cli import sweeps

    if is_list:
        sweeps.experiments(as_json=as_json, quiet=quiet)
        return
    if name is None:
        raise click.UsageError("name a profile, or give --list")
    from placer.app.sweep import sweep

    sweep_options = _options(asked)
    with sweeps.sweep_view(quiet=quiet or as_json) as on_event:
        found = sweep(name, where, request, sweep_options, on_event)
    drawn = () if chart is None else sweeps.draw(found, chart)
    sweeps.swept(found, drawn, as_json=as_json, quiet=quiet)


def _options(values: dict[str, Any]) -> SweepOptions:
    from placer.app.sweep_question import SweepOptions
    from placer.quality.attempt import Style
    from placer.tune.budget import parse_budget

    if not values["vary"] and values["experiment"] is None:
        raise click.UsageError("give --vary or --experiment; --list shows those")
    budget = values.pop("budget")
    return SweepOptions(
        budget=None if budget is None else parse_budget(budget),
        style=Style(values.pop("style")),
        patience_s=values.pop("patience"),
        **values,
    )
