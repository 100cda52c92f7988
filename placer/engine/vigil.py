"""A launched engine, looked at now and then: whether it lives, moves, and speaks."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placer.engine.follow import LogFollower

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.engine.client import ServerClient
    from placer.engine.process import EngineProcess

POLL_S = 0.05
SETTLE_S = 1.0


@dataclass(slots=True, kw_only=True)
class Vigil:
    """One launch under watch.

    Attributes:
        process: the engine.
        patience_s: seconds without any movement after which it is stalled.
        lines: of its log so far.
        exit_code: of an engine that ended by itself.
        stalled: whether nothing moved for the whole patience.
        started_s: when the watch began.
        moved_s: when something last moved.
    """

    process: EngineProcess
    patience_s: float
    lines: list[str] = field(default_factory=list)
    exit_code: int | None = None
    stalled: bool = False
    started_s: float = field(default_factory=time.monotonic)
    moved_s: float = field(default_factory=time.monotonic)
    _resident_bytes: int = 0
    _follower: LogFollower = field(init=False)

    def __post_init__(self) -> None:
        self._follower = LogFollower(self.process.log_path)

    @property
    def elapsed_s(self) -> float:
        """Seconds since it was launched."""
        return time.monotonic() - self.started_s

    def look(self, *, loading: bool) -> bool:
        """Look around once; whether the engine is alive and moving.

        Args:
            loading: it reads weights without a word, and its memory tells.
        """
        code = self.process.exit_code()
        new = self._follower.new_lines()
        if new:
            self.lines += new
            self.move()
        if loading and self._is_reading():
            self.move()
        self.exit_code = code
        silent_s = time.monotonic() - self.moved_s
        self.stalled = code is None and silent_s > self.patience_s
        return code is None and not self.stalled

    def move(self) -> None:
        """Something moved that only the asker saw."""
        self.moved_s = time.monotonic()

    def hear_out(self) -> None:
        """The last words of an engine that has ended."""
        self.lines += self._follower.new_lines() + self._follower.last_line()

    def _is_reading(self) -> bool:
        """Whether the engine's memory has changed."""
        import psutil

        if self.process.pid is None:
            return False
        try:
            resident = psutil.Process(self.process.pid).memory_info().rss
        except psutil.Error:
            return False
        changed = resident != self._resident_bytes
        self._resident_bytes = resident
        return changed


def wait_for_health(client: ServerClient, tick: Callable[[], bool]) -> bool:
    """Look around until the model is loaded; False where the engine ends or stalls."""
    while tick():
        if client.is_healthy():
            return True
        time.sleep(POLL_S)
    return False


def settle(tick: Callable[[], bool]) -> None:
    """A server that failed a request may be dying: let it, for a moment."""
    until_s = time.monotonic() + SETTLE_S
    while time.monotonic() < until_s and tick():
        time.sleep(POLL_S)
