"""A process that behaves like llama-server; ``fake_engine`` makes its executable.

What is asked most, its version and its devices, is answered before anything that a
launch needs is imported: a search asks several times a launch.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from placer.testing.fake_engine import BUILD, COMMIT, FakeConfig, Fault, die

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(argv: Sequence[str]) -> int:
    """The life of one process; its exit code.

    Args:
        argv: the configuration file, then the flags of llama-server.
    """
    config_path, args = Path(argv[0]), argv[1:]
    config = FakeConfig.from_json(config_path.read_text())
    if config.fault is Fault.SIGILL_AT_START and config.fault_after == 0:
        die(signal.SIGILL)
    if "--version" in args:
        sys.stderr.write(f"version: 0.1.0-dev (build {BUILD}, commit {COMMIT})\n")
        return 0
    if "--list-devices" in args:
        sys.stdout.write(_device_list(config))
        return 0
    from placer.testing.fake_server import serve

    return serve(config_path, config, args)


def _device_list(config: FakeConfig) -> str:
    lines = [
        f"  {name}: Fake GPU ({mib} MiB, {mib} MiB free)\n"
        for name, mib in config.devices.items()
    ]
    return "".join(["Available devices:\n", *(lines or ["  (none)\n"])])


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # requests may still be waiting in their threads
