"""The verbs about models.conf itself: list, add, write, compare, take back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import (
    FILES,
    LOGS,
    OUTPUT,
    complete_profile,
    name_argument,
    options,
    with_where,
)

if TYPE_CHECKING:
    from placer.app import Where
    from placer.app.added import Wanted

ASKING = (
    click.option(
        "--server",
        type=click.Path(path_type=Path),
        help="llama-server to ask for its build.  [$PLACER_LLAMA_SERVER, PATH]",
    ),
    click.option("--no-engine", is_flag=True, help="Ask no engine for its build."),
)
WANTED = (
    click.option("--name", help="What a menu shows.  [from the model]"),
    click.option("--description", help="One line on what it is for.  [from the model]"),
    click.option(
        "-c",
        "--ctx",
        "--ctx-size",
        type=click.IntRange(min=1),
        help="Tokens of context.  [what it was trained for, 131072 at most]",
    ),
    click.option(
        "-b",
        "--batch-size",
        type=click.IntRange(min=1),
        help="Logical batch.  [2048]",
    ),
    click.option(
        "-ub",
        "--ubatch-size",
        type=click.IntRange(min=1),
        help="Physical batch; drives the compute buffers.  [512]",
    ),
    click.option(
        "-ctk",
        "--cache-type-k",
        help="Type of the keys in the cache.  [q8_0 where the model allows it]",
    ),
    click.option(
        "-ctv", "--cache-type-v", help="Type of the values in the cache.  [likewise]"
    ),
    click.option(
        "--variants",
        default="production",
        show_default=True,
        metavar="production,bench",
        help="Which profiles of the model; bench has a short context.",
    ),
)


@click.command("profiles")
@options(ASKING, FILES, OUTPUT)
@with_where
def profiles_command(
    *, where: Where, no_engine: bool, as_json: bool, quiet: bool
) -> None:
    """List the profiles, what was proved of each, and what is stale.

    Nothing is launched. A bench variant stands under its production profile. "left"
    is what each GPU had free beside the server, under the proof.

    \b
    Examples:
      placer profiles
      placer profiles --no-engine --json
    """
    from placer.app.profiled import profiles
    from placer.cli import listings

    found = profiles(where, ask_engine=not no_engine)
    listings.profiles(found, as_json=as_json, quiet=quiet)


@click.command("new")
@click.argument("profile")
@click.argument("model", metavar="MODEL.gguf")
@options(WANTED, FILES)
@click.option("--dry-run", is_flag=True, help="Only show what would be added.")
@options(OUTPUT)
@with_where
def new_command(
    *,
    profile: str,
    model: str,
    where: Where,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
    **wanted: Any,
) -> None:
    """Add a profile for a model, with what its header suggests.

    It is put behind all others; a models.conf is made where there is none. With FIT=on
    it can be served at once; optimize then proves a placement and writes that.

    \b
    Examples:
      placer new glm-q8 GLM-4.7-Flash-Q8_0.gguf
      placer new glm-q8 models/GLM-4.7-Flash-Q8_0.gguf -c 65536 -ub 1024
      placer new glm-q8 GLM-4.7-Flash-Q8_0.gguf --variants production,bench
    """
    from placer.app.added import new
    from placer.cli import listings

    change = new(profile, model, where, _wanted(wanted), write=not dry_run)
    listings.added(change, as_json=as_json, quiet=quiet)


def _wanted(values: dict[str, Any]) -> Wanted:
    """What the new profile is to say, out of the verb's options."""
    from placer.app.added import Wanted
    from placer.app.variants import parse_variants

    return Wanted(
        name=values["name"],
        description=values["description"],
        ctx=values["ctx"],
        batch=values["batch_size"],
        ubatch=values["ubatch_size"],
        type_k=values["cache_type_k"],
        type_v=values["cache_type_v"],
        variants=parse_variants(values["variants"]),
    )


@click.command("diff")
@click.argument(
    "name", metavar="[PROFILE]", required=False, shell_complete=complete_profile
)
@options(FILES, LOGS, OUTPUT)
@with_where
def diff_command(*, name: str | None, where: Where, as_json: bool, quiet: bool) -> None:
    """Show what apply would change; without PROFILE, what undo would take back.

    Nothing is written.

    \b
    Examples:
      placer diff glm-q8
      placer diff
    """
    from placer.app.changes import diff
    from placer.cli import listings

    del quiet  # the difference is the answer
    listings.diff(diff(name, where), as_json=as_json)


@click.command("apply")
@name_argument
@options(FILES, LOGS)
@click.option("--dry-run", is_flag=True, help="Only show what would change.")
@options(OUTPUT)
@with_where
def apply_command(
    *, name: str, where: Where, dry_run: bool, as_json: bool, quiet: bool
) -> None:
    """Write what the last search found to its profile.

    \b
    Example:
      placer apply glm-q8
    """
    from placer import app
    from placer.cli import show

    applied = app.apply(name, where, write=not dry_run)
    show.applied(applied, as_json=as_json, quiet=quiet)


@click.command("undo")
@options(FILES)
@click.option("--list", "is_list", is_flag=True, help="List what can be taken back.")
@click.option("--force", is_flag=True, help="Even if the file was edited since.")
@options(OUTPUT)
@with_where
def undo_command(
    *, where: Where, is_list: bool, force: bool, as_json: bool, quiet: bool
) -> None:
    """Take back placer's last write to models.conf.

    \b
    Examples:
      placer undo
      placer undo --list
    """
    path = where.folders.conf_path
    if is_list:
        from placer.app.changes import history
        from placer.cli import listings

        listings.history(history(where), path, as_json=as_json)
        return
    from placer import app
    from placer.cli import show

    app.undo(where, force=force)
    show.undone(path, as_json=as_json, quiet=quiet)
