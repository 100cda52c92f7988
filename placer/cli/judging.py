"""The verb ``judge``, and how it shows a verdict."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from placer.cli.options import OUTPUT, options
from placer.units import MIB

if TYPE_CHECKING:
    from placer.app.judged import Judged
    from placer.engine.verdict import Verdict

COLUMNS = 80
# Lines of a log are shortened for a person, never in JSON.
MOST_EVIDENCE = 6
WORDS = {
    "OOM_WEIGHTS": "a device had no memory left for weights",
    "OOM_CONTEXT": "a device had no memory left for the context",
    "OOM_COMPUTE": "a device had no memory left for compute buffers",
    "OOM_IN_USE": "a device ran out of memory in use",
    "HOST_MEMORY": "the host ran out of memory, not a device",
    "REFUSED": "llama-server refused to start",
    "CRASHED": "llama-server crashed or gave up",
    "STALLED": "nothing moved any more",
    "OK": "the server came up and nothing went wrong; a log proves no fit",
    "UNKNOWN": "the log does not say how the launch ended",
}
# Where the cause says more than the verdict
CAUSE_WORDS = {
    "buffer limit": "one buffer is larger than the device allows",
    "illegal instruction": "an instruction that this processor does not have",
    "segmentation fault": "a segmentation fault",
    "bus error": "a bus error: a file or memory could not be read",
    "device lost": "a device disappeared",
    "no kernel": "the build has no code for this GPU",
    "rpc server": "an rpc-server ended or was not reached",
    "port": "the port is taken",
    "flag": "a flag was refused",
    "model": "the model's file was refused",
    "context full": "the server runs; a prompt did not fit the context",
    "no gpu": "the server came up, without a GPU",
}


class ExitCode(click.ParamType[int]):
    """An exit code: decimal, or Windows' 0xC0000005."""

    name = "integer"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """The number."""
        try:
            return int(str(value), 0)
        except ValueError:
            self.fail(f"{value!r} is no exit code.", param, ctx)


@click.command("judge")
@click.argument("log", type=click.Path(path_type=Path, allow_dash=True))
@click.option(
    "--exit-code",
    type=ExitCode(),
    metavar="N",
    help="What the server ended with, where you know it: 1, 134, -9, 0xC0000005.",
)
@options(OUTPUT)
def judge_command(
    *, log: Path, exit_code: int | None, as_json: bool, quiet: bool
) -> None:
    """Say what a llama-server log shows, and what to change.

    Any build, any backend, however it was pasted; - reads standard input. Exit code 0
    whenever there is an answer, 2 where the file is no log of llama-server.

    \b
    Examples:
      placer judge server.log
      docker logs llama 2>&1 | placer judge - --exit-code 1
    """
    from placer import app

    found = app.judge(log, exit_code=exit_code)
    if as_json:
        from placer.cli import jsons

        jsons.emit(judged_record(found))
    elif quiet:
        click.echo(found.verdict.outcome.value)
    else:
        click.echo("\n".join(_texts(found)))


def judged_record(found: Judged) -> dict[str, Any]:
    """A verdict as JSON; ``verdict`` is null where the log does not say."""
    verdict = found.verdict
    name = verdict.outcome.value
    return {
        "verdict": None if name == "UNKNOWN" else name,
        "cause": None if verdict.cause is None else verdict.cause.value,
        "device": verdict.device,
        "asked_bytes": verdict.asked_bytes,
        "free_bytes": verdict.free_bytes,
        "evidence": list(verdict.evidence),
        "advice": found.advice,
        "notes": list(found.notes),
    }


def _texts(found: Judged) -> list[str]:
    from placer.engine import phrases

    verdict = found.verdict
    texts = _wrapped(f"{verdict.outcome.value}: {_words(verdict)}")
    sizes = _sizes(verdict)
    if sizes:
        texts.append(sizes)
    for line in verdict.evidence[:MOST_EVIDENCE]:
        shown = "".join(c if c.isprintable() else " " for c in phrases.message(line))
        texts += textwrap.wrap(
            shown.strip(), COLUMNS, initial_indent="  ", subsequent_indent="    "
        )[:2]
    if found.advice is not None:
        texts += _wrapped(f"To change: {found.advice}.")
    for note in found.notes:
        texts += _wrapped(f"Note: {note}.")
    return texts


def _words(verdict: Verdict) -> str:
    cause = None if verdict.cause is None else verdict.cause.value
    return CAUSE_WORDS.get(cause or "") or WORDS.get(verdict.outcome.value, "")


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, COLUMNS, break_on_hyphens=False)


def _sizes(verdict: Verdict) -> str:
    parts = [] if verdict.device is None else [verdict.device]
    if verdict.asked_bytes is not None:
        parts.append(f"asked {verdict.asked_bytes / MIB:,.1f} MiB")
    if verdict.free_bytes is not None:
        parts.append(f"{verdict.free_bytes / MIB:,.1f} MiB free")
    return ", ".join(parts)
