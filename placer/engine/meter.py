"""What devices hold and draw while a server works: looked at a few times a second."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from placer.machine.sensors import read_cards

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from placer.engine.gauge import MemoryWatch
    from placer.machine import Device
    from placer.machine.sensors import CardReading

PERIOD_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Lap:
    """A stretch of time; None for what nobody says.

    Attributes:
        seconds: that it took.
        held_bytes: the most that the server was seen to hold of each device, ever.
        used_bytes: the most that all processes held of each device meanwhile.
        watts: what each device drew, on average.
    """

    seconds: float
    held_bytes: tuple[int, ...] | None = None
    used_bytes: tuple[int | None, ...] = ()
    watts: tuple[float | None, ...] = ()

    @property
    def joules(self) -> float | None:
        """What all devices drew together; None where one does not tell."""
        known = [w for w in self.watts if w is not None]
        if not known or len(known) < len(self.watts):
            return None
        return sum(known) * self.seconds


@dataclass(slots=True, kw_only=True)
class Meter:
    """Looks at devices in the background, for as long as its block lasts.

    Attributes:
        devices: in the engine's order.
        pid: the server's process; None where it has none here.
        watch: who holds what, where that can be seen.
        cards: reads all devices once.
    """

    devices: tuple[Device, ...]
    pid: int | None
    watch: MemoryWatch | None
    cards: Callable[[tuple[Device, ...]], tuple[CardReading, ...]] = read_cards
    _held: tuple[int, ...] | None = field(default=None, init=False)
    _seen: list[tuple[CardReading, ...]] = field(default_factory=list, init=False)
    _began_s: float = field(default_factory=time.monotonic, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def lap(self) -> Lap:
        """What was seen since the last one; one more look is taken for it."""
        self._look()
        with self._lock:
            seen, self._seen = self._seen, []
            now_s = time.monotonic()
            seconds, self._began_s = now_s - self._began_s, now_s
        return Lap(
            seconds=seconds,
            held_bytes=self._held,
            used_bytes=tuple(
                max(
                    (r.used_bytes for r in one if r.used_bytes is not None),
                    default=None,
                )
                for one in zip(*seen, strict=True)
            ),
            watts=tuple(
                _mean([r.power_w for r in one]) for one in zip(*seen, strict=True)
            ),
        )

    def _run(self) -> None:
        while not self._over.wait(PERIOD_S):
            self._look()

    def _look(self) -> None:
        seen = self.cards(self.devices)
        with self._lock:
            self._seen.append(seen)
            if self.watch is not None and self.pid is not None:
                self._held = self.watch.peak_bytes(self.pid) or self._held


def _mean(figures: list[float | None]) -> float | None:
    known = [figure for figure in figures if figure is not None]
    return sum(known) / len(known) if known else None
