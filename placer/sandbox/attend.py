"""A child that is fed, heard and watched until it ends or has to be ended."""

from __future__ import annotations

import os
import selectors
import time
from contextlib import ExitStack, suppress
from typing import IO, TYPE_CHECKING, cast

from placer.sandbox.contract import Ended
from placer.units import KIB

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    from placer.sandbox.contract import Limits

LOOK_S = 0.05
CHUNK_BYTES = 64 * KIB


class Attendant:
    """Feeds a child its order and keeps what it says, and not a byte too much."""

    def __init__(
        self, child: subprocess.Popen[bytes], order: bytes, *, most_bytes: int
    ) -> None:
        self._child = child
        # Whoever starts it pipes both.
        self._stdin = cast("IO[bytes]", child.stdin)
        self._stdout = cast("IO[bytes]", child.stdout)
        self._order = memoryview(order)
        self._most_bytes = most_bytes
        self.output = bytearray()
        for pipe in (self._stdin, self._stdout):
            os.set_blocking(pipe.fileno(), False)

    @property
    def is_too_much(self) -> bool:
        """Whether it said more than it may."""
        return len(self.output) > self._most_bytes

    def attend(self, limits: Limits, memory: Callable[[], int]) -> Ended:
        """Until it ended, or should be: why.

        Args:
            limits: of time and memory.
            memory: what it takes now.
        """
        deadline = time.monotonic() + limits.wall_s
        next_look = time.monotonic() + LOOK_S
        with ExitStack() as stack:
            over = os.pidfd_open(self._child.pid)
            stack.callback(os.close, over)
            ready = stack.enter_context(selectors.DefaultSelector())
            ready.register(over, selectors.EVENT_READ)
            ready.register(self._stdin, selectors.EVENT_WRITE, self._feed)
            ready.register(self._stdout, selectors.EVENT_READ, self._hear)
            while (now := time.monotonic()) < deadline:
                if now >= next_look:
                    if memory() > limits.memory_bytes:
                        return Ended.MEMORY
                    next_look = time.monotonic() + LOOK_S
                for key, _ in ready.select(max(min(deadline, next_look) - now, 0)):
                    if key.data is None:
                        return Ended.ITSELF
                    if not key.data():
                        ready.unregister(key.fileobj)
                if self.is_too_much:
                    return Ended.OUTPUT
        return Ended.TIME

    def hear_out(self) -> None:
        """All that it said and nobody read yet; nobody speaks any more."""
        while not self.is_too_much and self._hear():
            pass

    def _feed(self) -> bool:
        """Some more of the order; False where it has all or wants no more."""
        with suppress(BrokenPipeError):
            self._order = self._order[os.write(self._stdin.fileno(), self._order) :]
            if self._order:
                return True
        with suppress(BrokenPipeError):
            self._stdin.close()
        return False

    def _hear(self) -> bool:
        """Some more of what it says; False where there is nothing."""
        try:
            heard = os.read(self._stdout.fileno(), CHUNK_BYTES)
        except BlockingIOError:
            return False
        self.output += heard
        return bool(heard)
