"""The first process of a sandbox: all its others end with it."""

from __future__ import annotations

import json
import os
import select
import signal
from contextlib import suppress
from typing import Self

from placer.errors import MachineError
from placer.sandbox.order import FOLDER
from placer.units import KIB

GONE_WITHIN_S = 5.0
# What a file takes of the kernel's memory, even an empty one.
INODE_BYTES = KIB


class FirstProcess:
    """It is held, not named: its number may be another's once it is gone."""

    def __init__(self, told: bytes) -> None:
        """Hold it.

        Args:
            told: what ``bwrap --info-fd`` says; nothing where it made no sandbox.
        """
        self._pid: int | None = None
        self._held: int | None = None
        with suppress(ValueError, KeyError, ProcessLookupError):
            self._pid = int(json.loads(told)["child-pid"])
            self._held = os.pidfd_open(self._pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._held is not None:
            self._kill(self._held)
            os.close(self._held)
            self._held = None

    @property
    def is_held(self) -> bool:
        """Whether there is one, so that all can be ended."""
        return self._held is not None

    def memory(self) -> int:
        """What all processes and files of the sandbox take, in bytes."""
        import psutil

        if self._pid is None:
            return 0
        total = _n_files(self._pid) * INODE_BYTES
        with suppress(psutil.Error):
            first = psutil.Process(self._pid)
            for process in (first, *first.children(recursive=True)):
                with suppress(psutil.Error):
                    taken = process.memory_info()
                    total += taken.rss - taken.shared
        return total

    def end(self) -> None:
        """Kill it, and wait until nothing of the sandbox runs.

        Raises:
            MachineError: something still does.
        """
        if self._held is None:
            return
        self._kill(self._held)
        waiting = select.poll()
        # It is readable when it ended, which is when all the others have.
        waiting.register(self._held, select.POLLIN)
        if not waiting.poll(GONE_WITHIN_S * 1000):
            raise MachineError(
                f"process {self._pid} of a sandbox does not end",
                hint="the kernel holds it; see what dmesg says",
            )

    @staticmethod
    def _kill(held: int) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(held, signal.SIGKILL)


def _n_files(pid: int) -> int:
    """How many files there are in the temporary folder of a sandbox."""
    try:
        temp = os.statvfs(f"/proc/{pid}/root{FOLDER}")
    except OSError:
        return 0
    return temp.f_files - temp.f_ffree
