"""What a run amounts to, whatever it ran in."""

from __future__ import annotations

import signal

from placer.errors import MachineError
from placer.sandbox.contract import Ended, Finished, Limits
from placer.sandbox.inside import STARTED

# A program that computed for too long is ended by this.
OUT_OF_CPU = 128 + signal.SIGXCPU


def conclude(
    said: bytes,
    *,
    code: int,
    ended: Ended,
    seconds: float,
    limits: Limits,
    sandbox: str,
) -> Finished:
    """A run that is over.

    Args:
        said: all that was heard of it.
        code: its exit code as a shell tells it.
        ended: by whom, as far as its sandbox knows.
        seconds: how long it ran.
        limits: what it was allowed.
        sandbox: the name of what it ran in.

    Raises:
        MachineError: it did not begin.
    """
    if ended is Ended.ITSELF and not said.startswith(STARTED):
        words = said.decode(errors="replace").strip() or f"exit code {code}"
        raise MachineError(
            f"{sandbox} makes no sandbox: {words}", hint="see docs/sandbox.md"
        )
    if ended is Ended.ITSELF and code == OUT_OF_CPU:
        ended = Ended.TIME
    counts = said.removeprefix(STARTED)[: limits.output_bytes]
    return Finished(
        exit_code=code if ended is Ended.ITSELF else None,
        output=counts.decode(errors="replace"),
        seconds=seconds,
        ended_by=ended,
    )
