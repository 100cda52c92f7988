"""``placer verify``: the proof once more, and what regressed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
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
    from collections.abc import Sequence

    from placer.app import Verification, VerifyOptions, Where
    from placer.app.compared import Tolerance
    from placer.app.smoke import Smoke
    from placer.app.smoke_question import SmokeOptions

SERVERS = (
    click.option(
        "--server",
        "servers",
        type=click.Path(path_type=Path),
        multiple=True,
        help="llama-server to use; given twice with --suite, A and B are launched in "
        "turn.  [$PLACER_LLAMA_SERVER, PATH]",
    ),
    *ENGINE[1:],
)
SUITE = (
    click.option(
        "--suite",
        type=click.Choice(["smoke"]),
        help="Ask also what the model expects and some problems, and compare that.",
    ),
    click.option(
        "--problems",
        type=click.IntRange(min=0),
        default=8,
        show_default=True,
        help="Problems of HumanEval in a smoke test.",
    ),
    click.option(
        "--max-tokens",
        type=click.IntRange(min=1),
        default=512,
        show_default=True,
        help="Tokens of an answer.",
    ),
    click.option(
        "--rounds",
        type=click.IntRange(min=1),
        default=3,
        show_default=True,
        help="Launches of each of two servers.",
    ),
    click.option(
        "--divergence",
        type=click.FloatRange(min=0),
        default=0.01,
        show_default=True,
        metavar="NATS",
        help="By which the model may expect something else.",
    ),
    click.option(
        "--accept", is_flag=True, help="What is there now is the record from now on."
    ),
    click.option(
        "--docs",
        type=click.Path(path_type=Path),
        default=Path("docs"),
        show_default=True,
        help="Folder of benchmarks/engines.md, which says what changed.",
    ),
)
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
@options(PROOF, LIMITS, SUITE, SERVERS, FILES, LEDGER, LOGS, OUTPUT)
@with_where
def verify_command(
    *,
    names: tuple[str, ...],
    is_all: bool,
    servers: tuple[Path, ...],
    docs: Path,
    where: Where,
    as_json: bool,
    quiet: bool,
    **limits: Any,
) -> None:
    """Launch what models.conf says once more, and say what regressed.

    For after an update of the engine or of a driver. Each profile is launched once as
    it stands, its context filled, and held to the newest search that found the same
    placement. Exit code 4 says that something is worse or does not fit any more.

    --suite smoke asks those that fit what comes next in a text, and some problems, and
    holds that to the last smoke test. With two --server each profile is launched under
    both in turn instead, and B is held to A. docs/benchmarks/engines.md says what
    changed.

    \b
    Examples:
      placer verify glm-q8
      placer verify --all --quiet
      placer verify --all --suite smoke
      placer verify glm-q8 --suite smoke --server old/llama-server --server llama-server
    """
    from placer.app.verified import profiles_to_verify, worst_code

    _require(names, servers, is_all=is_all, suite=limits["suite"])
    asked = _options(limits)
    first = where.server if not servers else servers[0]
    where = replace(where, server=first)
    chosen, skipped = profiles_to_verify(None if is_all else names, where)
    shown = _Shown(as_json=as_json, quiet=quiet)
    if len(servers) > 1:
        codes = _pairs(chosen, (servers[0], servers[1]), where, asked, shown)
    else:
        codes = _profiles(chosen, skipped, where, asked, shown)
    if asked.smoke is not None:
        _page(where, docs, shown)
    if worst_code(codes):
        raise click.exceptions.Exit(worst_code(codes))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """What is printed."""

    as_json: bool
    quiet: bool

    @property
    def is_terse(self) -> bool:
        """Whether nothing is to be seen while it runs."""
        return self.as_json or self.quiet

    @property
    def form(self) -> dict[str, bool]:
        """As whoever prints takes it."""
        return {"as_json": self.as_json, "quiet": self.quiet}


def _require(
    names: tuple[str, ...],
    servers: tuple[Path, ...],
    *,
    is_all: bool,
    suite: str | None,
) -> None:
    if is_all == bool(names):
        raise click.UsageError("name profiles, or give --all")
    if len(servers) > 2 or (len(servers) == 2 and suite is None):
        raise click.UsageError("give two --server with --suite smoke, else one")


def _options(limits: dict[str, Any]) -> VerifyOptions:
    from placer.app import VerifyOptions
    from placer.app.compared import Tolerance
    from placer.engine.observation import Proof
    from placer.units import from_mib

    tolerance = Tolerance(
        share=limits["tolerance"],
        memory_bytes=from_mib(limits["memory"]),
        nats=limits["divergence"],
    )
    is_smoked = limits["suite"] is not None
    return VerifyOptions(
        proof=Proof[limits["proof"].upper()],
        patience_s=limits["patience"],
        tolerance=tolerance,
        smoke=_smoke_options(limits, tolerance) if is_smoked else None,
    )


def _smoke_options(limits: dict[str, Any], tolerance: Tolerance) -> SmokeOptions:
    from placer.app.smoke_question import SmokeOptions

    return SmokeOptions(
        problems=limits["problems"],
        max_tokens=limits["max_tokens"],
        rounds=limits["rounds"],
        is_accepted=limits["accept"],
        tolerance=tolerance,
        patience_s=limits["patience"],
    )


def _profiles(
    chosen: Sequence[str],
    skipped: tuple[Verification, ...],
    where: Where,
    asked: VerifyOptions,
    shown: _Shown,
) -> list[int]:
    """All of them, held to their records; their exit codes."""
    from placer.app.verified import Verified
    from placer.cli import verifications

    for one in skipped:
        verifications.verification(one, **shown.form)
    found = [_verified(name, where, asked, shown) for name in chosen]
    result = Verified(profiles=(*skipped, *found))
    verifications.end(result, **shown.form)
    return [result.exit_code]


def _verified(
    name: str, where: Where, asked: VerifyOptions, shown: _Shown
) -> Verification:
    """One profile, seen while it runs, and on the screen before the next."""
    from placer.app.verified import verify_profile
    from placer.cli import live, verifications

    if not shown.is_terse:
        click.secho(name, bold=True)
    with live.search_view(quiet=shown.is_terse) as on_event:
        found = verify_profile(name, where, asked, on_event)
    verifications.verification(found, **shown.form)
    if asked.smoke is None:
        return found
    from placer.app.smoke import with_smoke
    from placer.cli import smokes
    from placer.cli.steps import steps

    with steps(quiet=shown.is_terse) as on_step:
        found = with_smoke(found, where, asked.smoke, on_step)
    if found.smoke is not None:
        smokes.smoke(found.smoke, **shown.form)
    return found


def _pairs(
    chosen: Sequence[str],
    servers: tuple[Path, Path],
    where: Where,
    asked: VerifyOptions,
    shown: _Shown,
) -> list[int]:
    """All of them under two engines; their exit codes."""
    from placer.app.smoke_pair import smoke_pair
    from placer.cli import smokes
    from placer.cli.steps import steps

    found: list[Smoke] = []
    for name in chosen:
        with steps(quiet=shown.is_terse) as on_step:
            found.append(smoke_pair(name, servers, where, asked.smoke, on_step))
        smokes.smoke(found[-1], **shown.form)
    smokes.pairs_end(found, as_json=shown.as_json)
    return [one.code for one in found]


def _page(where: Where, docs: Path, shown: _Shown) -> None:
    from placer.cli import smokes
    from placer.report.engine_page import written_engines

    smokes.page(written_engines(where.logs, docs), **shown.form)
