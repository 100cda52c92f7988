"""``placer serve``, ``status``, ``stop`` and ``dashboard``."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import (
    ENGINE,
    FILES,
    LEDGER,
    MARGIN,
    OUTPUT,
    complete_profile,
    options,
    with_where,
)

if TYPE_CHECKING:
    from placer.app import Where
    from placer.app.serving import ServeOptions

MACHINE = 3
DOES_NOT_FIT = 4
ADDRESS = (
    click.option(
        "--port",
        type=click.IntRange(min=0, max=65535),
        help="Port; 0 finds a free one.  [the profile's, 8080]",
    ),
    click.option("--host", help="Address to listen on.  [the profile's, 127.0.0.1]"),
)
STARTING = (
    click.option(
        "--refit", is_flag=True, help="Place it anew if it does not fit what is free."
    ),
    click.option("--force", is_flag=True, help="Start it though it does not fit."),
    click.option(
        "--wait/--no-wait", default=True, help="Whether to wait until it is loaded."
    ),
    click.option(
        "--patience",
        type=click.FloatRange(min=1),
        default=600,
        show_default=True,
        help="Seconds without any movement after which loading is stalled.",
    ),
    click.option(
        "--no-dashboard", is_flag=True, help="On a terminal too: start it, and end."
    ),
)


def complete_served(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[str]:
    """Profiles of servers on record, for the shell."""
    from placer.serve import default_state

    del ctx, param
    served = [running.profile for running in default_state().servers()]
    return [name for name in served if name.startswith(incomplete)]


@click.command("serve")
@click.argument("profile", required=False, shell_complete=complete_profile)
@options(ADDRESS, STARTING, MARGIN, ENGINE, FILES, LEDGER, OUTPUT)
@with_where
def serve_command(
    *,
    profile: str | None,
    where: Where,
    no_dashboard: bool,
    as_json: bool,
    quiet: bool,
    **starting: Any,
) -> None:
    """Start a profile's llama-server in the background, and watch it.

    It goes on when this command or its terminal ends; placer stop ends it. What it
    needs is compared with the memory that is free now before anything is started:
    exit code 4 says what is short, and what to close. Without PROFILE there is a
    menu.

    \b
    Examples:
      placer serve glm-q8
      placer serve glm-q8 --refit --no-dashboard
      placer serve glm-q4 --port 8081
    """
    asked = _serve_options(starting)
    if as_json or quiet or no_dashboard or not _on_terminal():
        chosen = profile or _chosen(where)
        if chosen is not None:
            _served(chosen, where, asked, as_json=as_json, quiet=quiet)
        return
    if profile is not None:
        _served(profile, where, asked)
    _watched(profile or _chosen(where), where, asked)


def _watched(profile: str | None, where: Where, asked: ServeOptions) -> None:
    """The dashboard of a server, and from there the menu and the next one."""
    from placer.app.served import is_served

    while profile is not None:
        if not is_served(profile):
            _served(profile, where, asked)
        answer = open_dashboard(profile)
        profile = _chosen(where) if answer == "menu" else None


def _served(
    profile: str,
    where: Where,
    asked: ServeOptions,
    *,
    as_json: bool = False,
    quiet: bool = False,
) -> None:
    """Started and shown; what is short of memory is a line each."""
    from placer.app.preflight import NoRoomError
    from placer.app.serving import serve
    from placer.cli import servers
    from placer.cli.steps import steps

    try:
        with steps(quiet=quiet or as_json) as on_step:
            found = serve(profile, where, replace(asked, on_step=on_step))
    except NoRoomError as error:
        servers.no_room(error, as_json=as_json)
        raise click.exceptions.Exit(DOES_NOT_FIT) from None
    servers.served(found, as_json=as_json, quiet=quiet)


def _serve_options(starting: dict[str, Any]) -> ServeOptions:
    from placer.app.serving import ServeOptions

    return ServeOptions(
        host=starting["host"],
        port=starting["port"],
        refit=starting["refit"],
        margins_mib=starting["margin"],
        force=starting["force"],
        wait=starting["wait"],
        patience_s=starting["patience"],
    )


def _on_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def _chosen(where: Where) -> str | None:
    """The profile that is chosen from the menu; None where it is left."""
    if not _on_terminal():
        raise click.UsageError(
            "name a profile: the menu needs a terminal; placer profiles lists them."
        )
    from placer.app.menu import menu_entries
    from placer.dashboard import run_menu

    return run_menu(menu_entries(where))


def open_dashboard(profile: str) -> str:
    """Watch a server, and end it where that is asked for; what was asked for.

    A terminal that is closed meanwhile leaves the server alone.
    """
    from placer.app.served import stop
    from placer.cli import servers
    from placer.dashboard import run_dashboard
    from placer.serve import default_state

    try:
        answer = run_dashboard(profile, default_state())
    except KeyboardInterrupt:
        answer = "detach"
    if answer == "detach":
        click.echo(f"{profile} goes on; placer stop {profile} ends it.")
    else:
        servers.stopped(stop([profile]), as_json=False, quiet=False)
    return answer


@click.command("dashboard")
@click.argument("profile", required=False, shell_complete=complete_served)
@options(ENGINE, FILES, LEDGER)
@with_where
def dashboard_command(*, profile: str | None, where: Where) -> None:
    """Watch a running server again.

    q stops it, r stops it and shows the menu, d leaves it running.

    \b
    Example:
      placer dashboard glm-q8
    """
    from placer.app.served import on_record
    from placer.app.serving import ServeOptions
    from placer.serve import default_state

    running = on_record(profile, default_state())
    if not _on_terminal():
        raise click.UsageError(
            "the dashboard needs a terminal; placer status does not."
        )
    if open_dashboard(running.profile) == "menu":
        _watched(_chosen(where), where, ServeOptions())


@click.command("status")
@click.argument("profile", required=False, shell_complete=complete_served)
@options(OUTPUT)
def status_command(*, profile: str | None, as_json: bool, quiet: bool) -> None:
    """Show the servers that placer serve started.

    Exit code 3 says that one of them has ended by itself; why, by its log, is shown.

    \b
    Examples:
      placer status
      placer status glm-q8 --json
    """
    from placer.app.served import status
    from placer.cli import servers

    found = status(profile)
    servers.seen(found, as_json=as_json, quiet=quiet)
    if any(one.health is None for one in found):
        raise click.exceptions.Exit(MACHINE)


@click.command("stop")
@click.argument("profiles", nargs=-1, shell_complete=complete_served)
@click.option("--all", "every", is_flag=True, help="All that are on record.")
@options(OUTPUT)
def stop_command(
    *, profiles: tuple[str, ...], every: bool, as_json: bool, quiet: bool
) -> None:
    """End servers that placer serve started; nothing of them is left but a log.

    Without a name it ends the only one. Containers of searches that were killed go
    too.

    \b
    Examples:
      placer stop
      placer stop glm-q8 glm-q4
      placer stop --all
    """
    from placer.app.served import stop
    from placer.cli import servers

    if every and profiles:
        raise click.UsageError("name profiles, or give --all")
    found = stop(profiles, every=every)
    servers.stopped(found, as_json=as_json, quiet=quiet)
