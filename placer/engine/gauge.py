"""Memory of the devices before, during and after one launch."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from placer.errors import MachineError
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable

# Drivers give memory back a moment after the end of a process.
GIVEN_BACK_WITHIN_S = 1.0
ASK_AGAIN_S = 0.1
# What comes and goes on a desktop without a launch being the worse for it.
NOISE_BYTES = 32 * MIB


class MemoryWatch(Protocol):
    """Says who holds what of each device, where anything can say so."""

    def peak_bytes(self, pid: int) -> tuple[int, ...] | None:
        """The most that the process was seen to hold of each device; None if never.

        Asked again and again while the process runs, and once after its end.
        """

    def others_bytes(self, pid: int) -> tuple[int, ...] | None:
        """What all but the process hold of each device now; None if nobody knows."""


@dataclass(slots=True, kw_only=True)
class Gauge:
    """What is seen of the devices while one process runs.

    Attributes:
        watch: who holds what, where it can be seen.
        free_now: asks the devices what they have free, where they are asked.
        free_bytes: what they had before.
        peak: most that the process held.
        others: most that all others held beyond what they held at first.
    """

    watch: MemoryWatch | None
    free_now: Callable[[], tuple[int, ...]] | None
    free_bytes: tuple[int, ...]
    peak: tuple[int, ...] | None = None
    others: tuple[int, ...] | None = None
    _others_first: tuple[int, ...] | None = field(default=None, init=False)

    def sample(self, pid: int | None) -> None:
        """Look at the process of this id, and at what others hold."""
        if self.watch is None or pid is None:
            return
        self.peak = self.watch.peak_bytes(pid) or self.peak
        now = self.watch.others_bytes(pid)
        if now is None:
            return
        first = self._others_first = self._others_first or now
        more = tuple(max(n - f, 0) for n, f in zip(now, first, strict=True))
        self.others = tuple(map(max, more, self.others or more))

    def free_after(self) -> tuple[int, ...] | None:
        """What the devices have free again, once the process has ended."""
        if self.free_now is None:
            return None
        until_s = time.monotonic() + GIVEN_BACK_WITHIN_S
        while True:
            try:
                now = self.free_now()
            except MachineError:
                # A device that is gone has nothing free; the log says why.
                return None
            pairs = zip(now, self.free_bytes, strict=True)
            is_back = all(after + NOISE_BYTES >= before for after, before in pairs)
            if is_back or time.monotonic() > until_s:
                return now
            time.sleep(ASK_AGAIN_S)
