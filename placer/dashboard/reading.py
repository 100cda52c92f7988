"""All that the dashboard shows, at one moment, and where it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from placer.engine.container_stats import ContainerReading
    from placer.engine.live_stats import ServerStats
    from placer.engine.timings import Timings
    from placer.machine.sensors import CardReading, HostReading
    from placer.serve import Running


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a server runs no more.

    Attributes:
        verdict: on its log, in one line; None where that does not say why.
        advice: what to do about it.
    """

    verdict: str | None
    advice: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Speeds:
    """Tokens a second over all slots, now; None for not known, 0.0 for idle."""

    prompt: float | None = None
    decode: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A server and its machine at one moment.

    Attributes:
        uptime_s: since the server was started.
        cards: one a device of the server's record.
        host: the processor and the host's memory.
        server: what it answered last; None where it never did.
        silent_s: since when it does not answer; 0.0 where it does.
        speeds: of all slots together.
        last: the timings of the request that ended last.
        container: where it runs in one.
        lines: of the log, new since the reading before.
        ending: None while it runs.
    """

    uptime_s: float
    cards: tuple[CardReading, ...]
    host: HostReading
    server: ServerStats | None = None
    silent_s: float = 0.0
    speeds: Speeds = field(default_factory=Speeds)
    last: Timings | None = None
    container: ContainerReading | None = None
    lines: tuple[str, ...] = ()
    ending: Ending | None = None

    @property
    def word(self) -> str:
        """How the server is."""
        if self.ending is not None:
            return "ended"
        if self.server is None:
            return "starting"
        return "silent" if self.silent_s else self.server.health.value

    @property
    def at_work(self) -> int:
        """Slots that work on a request."""
        slots = None if self.server is None else self.server.slots
        return sum(slot.is_processing for slot in slots or ())


class Source(Protocol):
    """Reads one server; in a thread of its own, as an answer may take seconds."""

    @property
    def running(self) -> Running:
        """The record of the server."""

    def read(self) -> Reading:
        """The server now."""

    def close(self) -> None:
        """Nothing is read any more."""
