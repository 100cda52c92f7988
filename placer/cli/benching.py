"""``placer bench``: what profiles are worth, measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from placer.cli.exams import EXAM, MOST_USERS, Numbers
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
from placer.cli.speeds import speed_command
from placer.quality.suite import SUITES

if TYPE_CHECKING:
    from placer.app import Where
    from placer.app.quality_bench import QualityOptions

SAMPLING = (
    click.option(
        "-k",
        "ks",
        type=Numbers(),
        default=(1,),
        metavar="N,...",
        help="Show pass@k of these k: 1,5,10.  [1]",
    ),
    click.option(
        "--temp",
        type=click.FloatRange(min=0),
        default=0.0,
        show_default=True,
        help="Temperature; 0 takes the likeliest token each time.",
    ),
    click.option("--top-p", type=click.FloatRange(0, 1), help="[the profile's]"),
    click.option("--top-k", type=click.IntRange(min=0), help="[the profile's]"),
    click.option("--min-p", type=click.FloatRange(0, 1), help="[the profile's]"),
    click.option(
        "--seed",
        type=click.IntRange(0, (1 << 31) - 1),
        help="Of the first answer to each problem.  [one for each problem]",
    ),
)
HOW = (
    click.option("--only", metavar="ID,...", help="These problems: 0,17.  [all]"),
    click.option(
        "--thinking",
        type=click.Choice(["on", "off"]),
        help="Where the chat template can be told.  [the profile's]",
    ),
    click.option(
        "--users",
        type=click.IntRange(1, MOST_USERS),
        help="Who ask at once, at most one a slot.  [one a slot]",
    ),
    click.option(
        "--as-is", is_flag=True, help="The profile itself, not its bench variant."
    ),
    click.option("--resume", is_flag=True, help="Go on with what was broken off."),
)


@click.group("bench")
def bench_command() -> None:
    """Measure what profiles are worth: their code, their speed.

    \b
    Examples:
      placer bench quality glm-q8
      placer bench speed glm-q8
    """


@click.command("quality")
@click.argument(
    "names",
    nargs=-1,
    required=True,
    metavar="PROFILE...",
    shell_complete=complete_profile,
)
@options(EXAM, SAMPLING, HOW, ENGINE, FILES, LEDGER, LOGS, PATIENCE, OUTPUT)
@with_where
def quality_command(
    *,
    names: tuple[str, ...],
    where: Where,
    as_json: bool,
    quiet: bool,
    **asked: Any,
) -> None:
    """Have profiles write code, run it in a sandbox, and say how much of it is right.

    Each profile is measured by its bench variant bench-PROFILE where models.conf has
    one. Every answer is on disk before the next: after Ctrl-C or worse the same
    command with --resume asks only what is left. Exit code 0 says that all profiles
    were measured, whatever they scored.

    --quiet prints a line a profile: its name, pass@1 and its interval in per cent.

    \b
    Examples:
      placer bench quality glm-q8
      placer bench quality glm-q8 oss-120b --suite humaneval+ --max-tokens 8192
      placer bench quality glm-q8 --samples 10 --temp 0.8 --top-p 0.95 -k 1,10
    """
    from placer.app.quality_bench import bench_qualities
    from placer.cli import qualities

    found = []
    chosen = _options(asked)
    try:
        with qualities.quality_view(quiet=as_json or quiet) as view:
            for one in bench_qualities(names, where, chosen, view.tell):
                found.append(one)
                view.done(one)
                if quiet and not as_json:
                    qualities.line(one)
    finally:
        # Ctrl-C leaves what is whole on the screen.
        if found and not quiet:
            qualities.table(found, as_json=as_json)
    code = max(one.exit_code for one in found)
    if code:
        raise click.exceptions.Exit(code)


@click.command("reference")
@click.argument("name", required=False, metavar="MODEL")
@click.option("--suite", type=click.Choice(list(SUITES)), help="Which problems.")
@click.option("--score", type=float, metavar="PER CENT", help="pass@k: 87.2.")
@click.option("-k", "k", type=click.IntRange(min=1), default=1, help="Of pass@k.  [1]")
@click.option("--source", metavar="URL", help="The page that says so.")
@click.option("--day", metavar="DATE", help="When it said so: 2026-01-31.  [today]")
@click.option("--list", "is_list", is_flag=True, help="Show what is on record.")
@options(LOGS, OUTPUT)
@with_where
def reference_command(
    *, name: str | None, where: Where, is_list: bool, **asked: Any
) -> None:
    """Put a score on record that was measured elsewhere, with its source.

    \b
    Examples:
      placer bench reference some-cloud-model --suite humaneval+ --score 87.2 \\
        --source https://example.org/leaderboard
      placer bench reference --list
    """
    from placer.cli import qualities

    output = {key: asked.pop(key) for key in ("as_json", "quiet")}
    if is_list:
        qualities.references(where.logs, **output)
        return
    missing = [f"--{key}" for key in ("suite", "score", "source") if not asked[key]]
    if name is None or missing:
        raise click.UsageError(
            f"give {', '.join([*([] if name else ['MODEL']), *missing])}, or --list"
        )
    qualities.add(where.logs, {"name": name, **asked}, **output)


def _options(values: dict[str, Any]) -> QualityOptions:
    """What the options ask for."""
    from placer.app.quality_bench import QualityOptions
    from placer.quality.attempt import Asking, Style

    samples, ks = values["samples"], values["ks"]
    if max(ks) > samples:
        raise click.UsageError(f"pass@{max(ks)} takes --samples {max(ks)} at least")
    if samples > 1 and not values["temp"]:
        raise click.UsageError(
            "at temperature 0 all answers to a problem are the same; give --temp 0.8"
        )
    only = values["only"]
    return QualityOptions(
        suite=values["suite"],
        limit=values["limit"],
        only=None if only is None else tuple(only.split(",")),
        asking=Asking(
            max_tokens=values["max_tokens"],
            sampling=_sampling(values),
            style=Style(values["style"]),
        ),
        samples=samples,
        ks=ks,
        users=values["users"],
        sandbox=values["sandbox"],
        resume=values["resume"],
        as_is=values["as_is"],
        patience_s=values["patience"],
    )


def _sampling(values: dict[str, Any]) -> dict[str, Any]:
    """Fields of the request; what was not given is the server's own."""
    named = {name: values[name] for name in ("top_p", "top_k", "min_p", "seed")}
    sampling = {"temperature": values["temp"], **named}
    if values["thinking"] is not None:
        told = {"enable_thinking": values["thinking"] == "on"}
        sampling["chat_template_kwargs"] = told
    return {name: value for name, value in sampling.items() if value is not None}


for one in (quality_command, speed_command, reference_command):
    bench_command.add_command(one)
