"""The command: its verbs, and what becomes of an error."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from placer import VERSION
from placer.cli import commands
from placer.errors import PlacerError

if TYPE_CHECKING:
    from collections.abc import Sequence

INTERRUPTED = 130
USAGE = 2
FAULT = 1
BROKEN_PIPE = 141

EPILOG = """
\b
Try it without a GPU:
  placer devices --emulate 400,300
  placer plan model.gguf --emulate 400,300 --ctx 4096
  placer estimate model.gguf --machine rtx-4090+rtx-5070-ti
\b
The main job:
  placer optimize glm-q8 --ctx 131072 -b 4096

Exit codes: 0 done, 1 a fault of placer's own, 2 bad input, 3 machine or engine,
4 does not fit, 5 journal, 130 interrupted.
"""


class Verbs(click.Group):
    """The verbs, in the order in which a person needs them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Not by the alphabet."""
        del ctx
        return list(self.commands)


@click.group(
    cls=Verbs,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(VERSION, message="placer %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(*, debug: bool) -> None:
    """Find, prove and write the placement of a GGUF model on your GPUs.

    placer launches the real llama-server, fills its context, and keeps the fastest
    placement that does not run out of memory.
    """
    del debug


for command in commands.ALL:
    cli.add_command(command)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code; an error is one line on stderr."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        # A closed terminal ends a search as Ctrl-C does: with its record closed.
        # What is ignored stays so: nohup means it.
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler)
    _leave(run(sys.argv[1:] if argv is None else list(argv)))


def _leave(code: int) -> NoReturn:
    """End the process at once: taking Python down would cost a quick verb a sixth.

    Everything that needs closing was closed by the verb.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = BROKEN_PIPE
    os._exit(code)


def run(argv: list[str]) -> int:
    """Run the command; its exit code."""
    if sys.stdout is None:
        # The shell closed it: what is printed goes nowhere.
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115
    if not argv:
        click.echo(cli.get_help(click.Context(cli, info_name="placer")), err=True)
        return USAGE
    try:
        code = cli.main(args=argv, prog_name="placer", standalone_mode=False)
    except (PlacerError, click.ClickException, click.Abort, KeyboardInterrupt) as error:
        return _fail(error, debug="--debug" in argv)
    except BrokenPipeError:
        # Whoever read us has enough; Python must not complain at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:  # noqa: BLE001 - the last resort, told in one line
        return _fail(error, debug="--debug" in argv)
    return code if isinstance(code, int) else 0


def _fail(error: BaseException, *, debug: bool) -> int:
    """Say what is wrong in one line; the exit code."""
    text, code = "interrupted", INTERRUPTED
    if isinstance(error, Exception):
        text = f"a fault of placer's own, {type(error).__name__}: {error}"
        text, code = f"{text}; run it with --debug and report what it says", FAULT
    if isinstance(error, PlacerError):
        text, code = str(error), error.exit_code
    elif isinstance(error, click.ClickException):
        text, code = _usage(error), USAGE
    elif isinstance(error, click.Abort):
        text, code = "interrupted", INTERRUPTED
    if debug:
        import traceback

        traceback.print_exception(error)
    click.echo(f"placer: {' '.join(text.split())}", err=True)
    return code


def _usage(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    path = "placer" if context is None else context.command_path
    return f"{error.format_message()} See: {path} --help"
