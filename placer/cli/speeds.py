"""``placer bench speed``: how fast a profile reads and writes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from placer.cli.exams import MOST_USERS, Numbers
from placer.cli.options import (
    ENGINE,
    FILES,
    LEDGER,
    LOGS,
    OUTPUT,
    PATIENCE,
    complete_profile,
    options,
    with_where,
)

if TYPE_CHECKING:
    from placer.app import Where
    from placer.app.speed_bench import NotBenched, SpeedBench
    from placer.app.speed_question import SpeedOptions

ASKED = (
    click.option(
        "--depth",
        "depths",
        type=Numbers(least=0),
        default=(),
        help="Tokens in the cache before a prompt: 0,4096,16384.  [none, half, and "
        "all that a slot holds]",
    ),
    click.option(
        "-b",
        "--batch",
        "batches",
        type=Numbers(),
        default=(),
        help="Logical batches, each a start of the server.  [the profile's]",
    ),
    click.option(
        "-ub",
        "--ubatch",
        "ubatches",
        type=Numbers(),
        default=(),
        help="Physical batches, likewise.  [the profile's]",
    ),
    click.option(
        "--users",
        type=Numbers(most=MOST_USERS),
        default="1",
        show_default=True,
        help="Who ask at once: 1,2,4. -np is raised to the most of them.",
    ),
    click.option(
        "-p",
        "--n-prompt",
        type=click.IntRange(min=1),
        help="Tokens of a prompt.  [a batch]",
    ),
    click.option(
        "-n",
        "--n-gen",
        type=click.IntRange(min=2),
        default=128,
        show_default=True,
        help="Tokens that each writes.",
    ),
    click.option(
        "--repeats",
        type=click.IntRange(min=1),
        default=3,
        show_default=True,
        help="Starts of the server for each batch; the figures are their means.",
    ),
    click.option(
        "--seed",
        type=int,
        default=1,
        show_default=True,
        help="Of the order in which it is started.",
    ),
    click.option("--resume", is_flag=True, help="Go on with what was broken off last."),
    click.option(
        "--chart",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.svg",
        help="Draw it.",
    ),
)


@click.command("speed")
@click.argument(
    "names",
    nargs=-1,
    required=True,
    metavar="PROFILE...",
    shell_complete=complete_profile,
)
@options(ASKED, ENGINE, FILES, LEDGER, LOGS, PATIENCE, OUTPUT)
@with_where
def speed_command(
    *,
    names: tuple[str, ...],
    where: Where,
    chart: Path | None,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Measure tokens/s of profiles as they stand: by depth, batch and users.

    Each batch is launched --repeats times: how fast prompts are read and answers are
    written, when the first token comes, what the GPUs hold and draw. Ctrl-C keeps what
    was measured. --quiet prints a line a row: profile, -b, -ub, depth, users, tokens/s
    read and written.

    \b
    Examples:
      placer bench speed glm-q8
      placer bench speed glm-q8 --depth 0,16384 --batch 512,2048 --chart speed.svg
      placer bench speed glm-q8 oss-120b --users 1,2,4
    """
    from placer.app.speed_bench import InterruptedBenchError
    from placer.app.speed_chart import require_chart
    from placer.cli import speed_tables

    if chart is not None:
        require_chart(chart)
    found: list[SpeedBench | NotBenched] = []
    try:
        _bench(names, where, _options(asked), found, is_terse=as_json or quiet)
    except InterruptedBenchError as error:
        speed_tables.ended(
            [*found, error.found], chart=chart, as_json=as_json, quiet=quiet
        )
        raise
    speed_tables.ended(found, chart=chart, as_json=as_json, quiet=quiet)
    code = next((one.exit_code for one in found if one.exit_code), 0)
    if code:
        raise click.exceptions.Exit(code)


def _bench(
    names: tuple[str, ...],
    where: Where,
    asked: SpeedOptions,
    found: list[SpeedBench | NotBenched],
    *,
    is_terse: bool,
) -> None:
    """All profiles, seen while they run; what is done is in ``found`` at once."""
    from placer.app.speed_bench import bench_speeds
    from placer.cli import speed_tables

    with speed_tables.speed_view(quiet=is_terse) as on_event:
        found.extend(bench_speeds(names, where, asked, on_event))


def _options(values: dict[str, Any]) -> SpeedOptions:
    from placer.app.speed_question import SpeedOptions

    patience_s = values.pop("patience")
    return SpeedOptions(patience_s=patience_s, **values)
