"""A server as it is: its record, its process, its log, and what it answers."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from placer.app.flags import api_key_of
from placer.dashboard.cards import cards_of
from placer.dashboard.log_book import is_idle
from placer.dashboard.reading import Ending, Reading, Speeds
from placer.dashboard.speeds import Speedometer
from placer.engine.follow import LogFollower
from placer.engine.health import Health
from placer.engine.live_stats import LiveStats, ServerStats
from placer.engine.timings import TimingsReader
from placer.errors import InputError, MachineError
from placer.machine.sensors import read_host

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from placer.dashboard.reading import Source
    from placer.engine.container_stats import ContainerStats
    from placer.engine.timings import Timings
    from placer.serve import Running, StateFolder
    from placer.serve.alive import Background

# Of a log of days the end: more than anybody scrolls through.
LOG_BYTES = 2 * 1024 * 1024
# An idle server is asked no more often, unless its log has something new.
ASK_S = 10.0
STOPPED = Ending(verdict=None, advice="it was stopped by another command")


def open_source(profile: str, state: StateFolder) -> Source:
    """The server of a profile.

    Raises:
        InputError: none is on record.
    """
    running = state.server(profile)
    if running is None:
        raise InputError(
            f"no server of {profile} is on record",
            hint=f"placer serve {profile} starts one",
        )
    return LiveSource(running, state)


class LiveSource:
    """Reads a real server.

    Args:
        running: its record.
        state: where it is on record.
    """

    def __init__(self, running: Running, state: StateFolder) -> None:
        self._running = running
        self._state = state
        self._open = ExitStack()
        self._process, self._pid = _process_of(running, self._open)
        self._log = LogTail(running.log)
        self._stats = LiveStats(running.base_url, api_key_of(running.argv))
        self._open.callback(self._stats.close)
        self._speedometer = Speedometer()
        self._container = _container_stats(running)
        self._server: ServerStats | None = None
        self._speeds = Speeds()
        self._answered_s = self._asked_s = time.monotonic()
        self._ending: Ending | None = None

    @property
    def running(self) -> Running:
        """The record of the server."""
        return self._running

    def read(self) -> Reading:
        """The server now."""
        running, pid = self._running, self._pid
        if self._ending is None and self._has_ended():
            self._ending = _ending(running, self._state)
            self._server, self._speeds = None, Speeds()
        lines = self._log.new_lines()
        silent_s = 0.0 if self._ending is not None else self._ask(lines)
        started = datetime.fromisoformat(running.started)
        return Reading(
            uptime_s=max((datetime.now(UTC) - started).total_seconds(), 0.0),
            cards=cards_of(running, self._state, pid),
            host=read_host(pid),
            server=self._server,
            silent_s=silent_s,
            speeds=self._speeds,
            lines=lines,
            last=self._log.last,
            container=None if self._container is None else self._container.read(),
            ending=self._ending,
        )

    def close(self) -> None:
        """Nothing is read any more."""
        self._open.close()

    def _has_ended(self) -> bool:
        if self._process is None:
            return True
        try:
            return self._process.exit_code() is not None
        except MachineError:
            # The container is gone, or its daemon is: silence tells the latter.
            return self._state.server(self._running.profile) is None

    def _ask(self, lines: Sequence[str]) -> float:
        """Ask the server; seconds since it last answered."""
        found = self._stats_now(lines)
        now_s = time.monotonic()
        if found.health is Health.SILENT:
            self._speeds = Speeds()
            return now_s - self._answered_s
        self._answered_s = now_s
        if found.health is Health.READY and found.slots is None:
            # Busy, or told not to say: what it said before stands.
            before = self._server
            slots = None if before is None else before.slots
            found = replace(found, slots=slots)
        self._server = found
        self._speeds = self._speedometer.read(found, now_s)
        return 0.0

    def _stats_now(self, lines: Sequence[str]) -> ServerStats:
        """What it answers; of an idle server that says nothing new what it did.

        It logs a line for each question that its slots have to answer.
        """
        before, now_s = self._server, time.monotonic()
        is_new = any(not is_idle(line) for line in lines)
        is_due = now_s - self._asked_s >= ASK_S
        if before is None or is_new or is_due or not before.is_idle:
            self._asked_s = now_s
            return self._stats.read()
        return replace(before, health=self._stats.health())


class _OutOfReach:
    """A container whose daemon does not answer: it may well run."""

    def exit_code(self) -> None:
        """Nobody knows of an end."""

    def stop(self) -> None:
        """Nobody can."""


class LogTail:
    """A log from near its end on, and the timings in it.

    Attributes:
        last: of the request that ended last; None before any.
    """

    def __init__(self, path: Path) -> None:
        size = path.stat().st_size if path.exists() else 0
        self._is_cut = size > LOG_BYTES
        self._follower = LogFollower(path, offset=max(size - LOG_BYTES, 0))
        self._timings = TimingsReader()
        self.last: Timings | None = None

    def new_lines(self) -> tuple[str, ...]:
        """The lines completed since the last call."""
        lines = self._follower.new_lines()
        if self._is_cut and lines:
            self._is_cut = False
            lines = lines[1:]
        self._take(lines)
        return tuple(lines)

    def _take(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.last = self._timings.feed(line) or self.last


def _process_of(
    running: Running, stack: ExitStack
) -> tuple[Background | None, int | None]:
    """What runs and its pid on this host; a container's log is copied meanwhile."""
    from placer.serve.alive import background
    from placer.serve.contained import ContainedProcess

    try:
        found = background(running)
    except MachineError:
        return _OutOfReach(), None
    if not isinstance(found, ContainedProcess):
        return found, running.pid
    with suppress(MachineError):
        stack.enter_context(found.follow_log())
    with suppress(MachineError):
        return found, found.pid
    return found, None


def _container_stats(running: Running) -> ContainerStats | None:
    from placer.engine.container_stats import ContainerStats

    return None if running.container is None else ContainerStats(running.container)


def _ending(running: Running, state: StateFolder) -> Ending:
    """Why it runs no more."""
    if state.server(running.profile) is None:
        return STOPPED
    from placer.app.served import seen
    from placer.engine.verdict import verdict_text

    found = seen(running, state)
    return Ending(
        verdict=None if found.verdict is None else verdict_text(found.verdict),
        advice=found.advice or "",
    )
