"""``placer verify``: the proof once more, and what regressed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import (
    ENGINE,
    FILES,
    LEDGER,
    LOGS,
    OUTPUT,
    PROOF,
    complete_profile,
    options,
    with_where,
)

if TYPE_CHECKING:
    from placer.app import Verification, VerifyOptions, Where

LIMITS = (
    click.option(
        "--tolerance",
        type=click.FloatRange(min=0, max=1),
        default=0.1,
        show_default=True,
        help="Share of tokens/s that may be lost: what single measurements spread.",
    ),
    click.option(
        "--memory",
        type=click.IntRange(min=0),
        metavar="MiB",
        default=64,
        show_default=True,
        help="MiB that a device may hold more.",
    ),
)


@click.command("verify")
@click.argument(
    "names", nargs=-1, metavar="PROFILE...", shell_complete=complete_profile
)
@click.option("--all", "is_all", is_flag=True, help="All whose model is there.")
@options(PROOF, LIMITS, ENGINE, FILES, LEDGER, LOGS, OUTPUT)
@with_where
def verify_command(
    *,
    names: tuple[str, ...],
    is_all: bool,
    where: Where,
    as_json: bool,
    quiet: bool,
    **limits: Any,
) -> None:
    """Launch what models.conf says once more, and say what regressed.

    For after an update of the engine or of a driver. Each profile is launched once as
    it stands, its context filled, and held to the newest search that found the same
    placement. Exit code 4 says that something is worse or does not fit any more.

    \b
    Examples:
      placer verify glm-q8
      placer verify --all --quiet
      placer verify glm-q8 oss-120b --tolerance 0.05
    """
    from placer.app.verified import Verified, profiles_to_verify
    from placer.cli import verifications

    if is_all == bool(names):
        raise click.UsageError("name profiles, or give --all")
    asked = _options(limits)
    chosen, skipped = profiles_to_verify(None if is_all else names, where)
    for one in skipped:
        verifications.verification(one, as_json=as_json, quiet=quiet)
    found = [
        _verified(name, where, asked, as_json=as_json, quiet=quiet) for name in chosen
    ]
    result = Verified(profiles=(*skipped, *found))
    verifications.end(result, as_json=as_json, quiet=quiet)
    if result.exit_code:
        raise click.exceptions.Exit(result.exit_code)


def _options(limits: dict[str, Any]) -> VerifyOptions:
    from placer.app import VerifyOptions
    from placer.app.compared import Tolerance
    from placer.engine.observation import Proof
    from placer.units import from_mib

    tolerance = Tolerance(
        share=limits["tolerance"], memory_bytes=from_mib(limits["memory"])
    )
    return VerifyOptions(
        proof=Proof[limits["proof"].upper()],
        patience_s=limits["patience"],
        tolerance=tolerance,
    )


def _verified(
    name: str, where: Where, asked: VerifyOptions, *, as_json: bool, quiet: bool
) -> Verification:
    """One profile, seen while it runs, and on the screen before the next."""
    from placer.app.verified import verify_profile
    from placer.cli import live, verifications

    is_terse = as_json or quiet
    if not is_terse:
        click.secho(name, bold=True)
    with live.search_view(quiet=is_terse) as on_event:
        found = verify_profile(name, where, asked, on_event)
    verifications.verification(found, as_json=as_json, quiet=quiet)
    return found
