"""``placer compose``: a profile's server for Docker Compose."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import FILES, OUTPUT, complete_profile, options, with_where

if TYPE_CHECKING:
    from placer.app import Where
    from placer.app.composed import Composed

CONTAINER = (
    click.option(
        "--image",
        help="With llama-server as its entrypoint.  [$PLACER_DOCKER_IMAGE]",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.yml",
        help="Write it there.  [standard output]",
    ),
    click.option("--force", is_flag=True, help="Replace a file that is not placer's."),
    click.option(
        "--host",
        default="127.0.0.1",
        show_default=True,
        help="Address of this machine on which the port is published.",
    ),
    click.option(
        "--port", type=click.IntRange(1, 65535), help="Likewise.  [the profile's, 8080]"
    ),
    click.option(
        "--gpus",
        type=click.Choice(["nvidia", "amd", "intel", "none"]),
        default="nvidia",
        show_default=True,
        help="Whose devices the container gets.",
    ),
)


@click.command("compose")
@click.argument("name", metavar="PROFILE", shell_complete=complete_profile)
@options(CONTAINER, FILES, OUTPUT)
@with_where
def compose_command(
    *, name: str, where: Where, as_json: bool, quiet: bool, **asked: Any
) -> None:
    """Write a docker-compose.yml that serves a profile.

    Every flag is explicit, one a line. The models folder is mounted read-only, the
    server's health is asked, and it comes back after a crash and after a boot.

    \b
    Examples:
      placer compose glm-q8 --image llama-server-cuda
      placer compose glm-q8 --out docker-compose.yml --port 8081
    """
    from placer.app.composed import ComposeOptions, compose

    found = compose(name, where, ComposeOptions(**asked))
    _show(found, as_json=as_json, quiet=quiet)


def _show(found: Composed, *, as_json: bool, quiet: bool) -> None:
    """The file, where it was not written; what to do with it; what to know."""
    if as_json:
        from placer.cli import jsons

        jsons.emit(compose_record(found))
        return
    if found.out is None:
        click.echo(found.text, nl=False)
    elif not quiet:
        click.echo(f"Wrote {found.out}. Start it:")
        click.echo(f"  docker compose -f {found.out} up -d")
    for line in () if quiet else found.notes:
        click.echo(line, err=found.out is None)


def compose_record(found: Composed) -> dict[str, Any]:
    """The same as ``--json`` prints it."""
    service = found.service
    return {
        "file": None if found.out is None else str(found.out),
        "name": service.name,
        "image": service.image,
        "args": list(service.flags),
        "volumes": [{"source": v.source, "target": v.target} for v in service.volumes],
        "host": service.host,
        "port": service.port,
        "notes": list(found.notes),
        "text": found.text,
    }
