"""``placer clients``: the settings of the usual tools for a served profile."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import FILES, OUTPUT, complete_profile, options, with_where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.app import Where
    from placer.app.clients import Clients
    from placer.engine.chat import Answer

# The tools of placer.clients, which is not imported for --help.
TOOLS = ("continue", "aider", "claude-code", "open-webui", "llm", "openai")
NO_ANSWER = 3
CLIENT = (
    click.option(
        "--tool", type=click.Choice(TOOLS), help="The only tool to print it for."
    ),
    click.option(
        "--url",
        metavar="http://HOST:PORT",
        help="Where it answers.  [where it is served, else as the profile says]",
    ),
    click.option(
        "--out",
        type=click.Path(path_type=Path),
        metavar="FILE|FOLDER",
        help="Write the tool's files there.  [standard output]",
    ),
    click.option("--force", is_flag=True, help="Replace what is there."),
    click.option(
        "--check",
        "checks",
        is_flag=True,
        help="Send a real request, and say if it ran.",
    ),
)


@click.command("clients")
@click.argument(
    "name", required=False, metavar="[PROFILE]", shell_complete=complete_profile
)
@options(CLIENT, FILES, OUTPUT)
@with_where
def clients_command(
    *,
    name: str | None,
    where: Where,
    tool: str | None,
    url: str | None,
    checks: bool,
    as_json: bool,
    quiet: bool,
    **writing: Any,
) -> None:
    """Print the settings of chat and coding tools for a profile's server.

    Of the profile that is named, else of the only one that is served. --check sends
    one chat in each of the two ways in which tools ask; exit code 3 says that none
    was answered.

    \b
    Examples:
      placer clients glm-q4
      placer clients glm-q4 --tool continue --out config.yaml
      placer clients --check
    """
    from placer.app import clients as app

    out = writing["out"]
    if out is not None and tool is None:
        raise click.UsageError("--out needs --tool")
    found = app.clients(name, where, tool=tool, url=url)
    written = []
    if out is not None:
        written = app.write_setting(found.settings[0], out, force=writing["force"])
    answers = app.check(found) if checks else ()
    if as_json:
        _emit(found, answers, written)
    else:
        is_shown = out is None and not (checks and tool is None)
        _show(found, answers, written, is_shown=is_shown, quiet=quiet)
    if checks and not answers[0].ok:
        raise click.exceptions.Exit(NO_ANSWER)


def _show(
    found: Clients,
    answers: Sequence[Answer],
    written: Sequence[Path],
    *,
    is_shown: bool,
    quiet: bool,
) -> None:
    """The files, to be read or redirected; what a person should know goes to stderr."""
    if is_shown:
        _print_files(found)
    for path in written:
        click.echo(str(path) if quiet else f"Wrote {path}")
    for answer in answers:
        click.echo(_answer_text(answer, quiet=quiet))
    if not quiet:
        notes = [(found.profile, note) for note in found.notes]
        if is_shown or written:
            notes += [(one.title, note) for one in found.settings for note in one.notes]
        for whose, note in notes:
            click.echo(f"{whose}: {note}", err=True)


def _print_files(found: Clients) -> None:
    """Each under a line that says where it belongs; one alone without it."""
    files = [(one.title, file) for one in found.settings for file in one.files]
    for number, (title, file) in enumerate(files):
        if len(files) > 1:
            name = "" if file.name in file.place else f"{file.name}, "
            click.echo(f"{chr(10) if number else ''}# {title}: {name}{file.place}")
        click.echo(file.text, nl=False)


def _answer_text(answer: Answer, *, quiet: bool) -> str:
    word = "answered" if answer.ok else "no answer"
    if quiet:
        return f"{answer.path} {word}"
    return f"{answer.path}: {word} in {answer.seconds:.1f} s: {answer.detail}"


def _emit(found: Clients, answers: Sequence[Answer], written: Sequence[Path]) -> None:
    from placer.cli import jsons

    jsons.emit(clients_record(found, answers, written))


def clients_record(
    found: Clients, answers: Sequence[Answer], written: Sequence[Path]
) -> dict[str, Any]:
    """The same as ``--json`` prints it."""
    endpoint = found.endpoint
    return {
        "profile": found.profile,
        "running": found.is_running,
        "endpoint": {
            "base_url": endpoint.base_url,
            "openai_url": endpoint.openai_url,
            "model": endpoint.model,
            "context": endpoint.context,
            "keyed": endpoint.is_keyed,
        },
        "tools": [
            {
                "tool": one.tool,
                "files": [
                    {"name": file.name, "place": file.place, "text": file.text}
                    for file in one.files
                ],
                "notes": list(one.notes),
            }
            for one in found.settings
        ],
        "written": [str(path) for path in written],
        "check": [
            {
                "path": answer.path,
                "ok": answer.ok,
                "detail": answer.detail,
                "seconds": round(answer.seconds, 3),
            }
            for answer in answers
        ],
        "notes": list(found.notes),
    }
