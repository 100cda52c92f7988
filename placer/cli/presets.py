"""``placer presets``: models.conf as the file of llama-server's router."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import (
    DESCRIBED,
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
    from placer.app.presets import Presets

ROUTER = (
    click.option(
        "--out",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE.ini",
        help="Write it there.  [standard output]",
    ),
    click.option("--force", is_flag=True, help="Replace a file that is not placer's."),
    click.option(
        "--load-on-startup",
        "on_startup",
        metavar="PROFILE,...",
        help="What the router loads when it starts, or none.  [the first ones, as many "
        "as may be resident]",
    ),
)


@click.command("presets")
@click.argument(
    "names", nargs=-1, metavar="[PROFILE...]", shell_complete=complete_profile
)
@options(ROUTER, MARGIN, DESCRIBED, ENGINE, FILES, LEDGER, OUTPUT)
@with_where
def presets_command(
    *,
    names: tuple[str, ...],
    where: Where,
    out: Path | None,
    force: bool,
    on_startup: str | None,
    margin: tuple[int, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Write the preset file of llama-server's own router.

    One section a profile, every flag explicit; all profiles whose model is there,
    where none is named. The router swaps models by request, and counts them: it is to
    be started with the --models-max that is printed, the largest number of which any
    so many fit at the same time.

    \b
    Examples:
      placer presets --out models.ini
      placer presets glm-q4 qwen-next-q5 --load-on-startup glm-q4
    """
    from placer.app.presets import PresetOptions, presets, write_presets

    first = None if on_startup is None else _names(on_startup)
    asked = PresetOptions(on_startup=first, margins_mib=margin)
    found = presets(names, where, asked)
    if out is not None:
        write_presets(found, out, force=force)
    _show(found, out, as_json=as_json, quiet=quiet)


def _names(text: str) -> tuple[str, ...]:
    return () if text == "none" else tuple(text.split(","))


def _show(found: Presets, out: Path | None, *, as_json: bool, quiet: bool) -> None:
    """The file, where it was not written; how to start the router; what to know."""
    if as_json:
        from placer.cli import jsons

        jsons.emit(presets_record(found, out))
        return
    if out is None:
        click.echo(found.text(), nl=False)
    elif quiet:
        click.echo(found.command(out))
    else:
        click.echo(f"Wrote {out}, {len(found.presets)} profiles. Start the router:")
        click.echo(f"  {found.command(out)}")
    for line in () if quiet else _lines(found):
        click.echo(line, err=out is None)


def _lines(found: Presets) -> list[str]:
    first = [preset.name for preset in found.presets if preset.on_startup]
    lines = [f"loaded on startup: {', '.join(first) or 'none'}"]
    lines += [f"left out: [{name}]: {reason}" for name, reason in found.left_out]
    return [*lines, *found.notes]


def presets_record(found: Presets, out: Path | None) -> dict[str, Any]:
    """The same as ``--json`` prints it."""
    return {
        "file": None if out is None else str(out),
        "models_max": found.models_max,
        "command": found.command() if out is None else found.command(out),
        "presets": [
            {
                "name": preset.name,
                "load_on_startup": preset.on_startup,
                "options": dict(preset.options),
            }
            for preset in found.presets
        ],
        "left_out": [{"name": n, "reason": why} for n, why in found.left_out],
        "notes": list(found.notes),
        "text": found.text() if out is None else found.text(out),
    }
