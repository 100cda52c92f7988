"""Servers that were started: how they are, and their end."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from placer.app.judged import judge
from placer.engine.advice import advice
from placer.engine.health import Health, health_of
from placer.engine.verdict import Outcome
from placer.errors import InputError, MachineError
from placer.machine.nvml import NvmlWatch
from placer.serve import default_state
from placer.serve.alive import background, end, is_alive
from placer.serve.contained import ContainedProcess
from placer.serve.lock import starting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.engine.verdict import Verdict
    from placer.serve import Running, StateFolder

# Of a log that ends in the middle of its work.
WITHOUT_A_WORD = frozenset({Outcome.OK, Outcome.UNKNOWN})
KILLED = "it ended without a word: look into dmesg, somebody or the kernel killed it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A server on record, as it is now.

    Attributes:
        running: its record.
        health: what it answers; None of one that has ended. SILENT, too, in a
            container whose daemon does not say whether it runs.
        uptime_s: seconds since it was started.
        held_bytes: what it holds of each device; None where nobody says.
        verdict: on the log of one that has ended, where that says why.
        advice: what to do about that, or about the daemon.
    """

    running: Running
    health: Health | None
    uptime_s: float
    held_bytes: tuple[int, ...] | None = None
    verdict: Verdict | None = None
    advice: str | None = None

    @property
    def word(self) -> str:
        """How it is, in one word."""
        return "dead" if self.health is None else self.health.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """What was ended.

    Attributes:
        profiles: whose servers ran.
        cleared: whose servers had ended before, or were never put on record.
        containers: left by searches that were killed.
    """

    profiles: tuple[str, ...] = ()
    cleared: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()


def status(
    profile: str | None = None, *, state: StateFolder | None = None
) -> tuple[Seen, ...]:
    """How the servers on record are, by profile.

    Args:
        profile: the only one that is asked for; None for all.
        state: where they are on record; None for the user's own.

    Raises:
        InputError: that one is not on record.
    """
    state = state or default_state()
    if profile is None:
        return tuple(seen(running, state) for running in state.servers())
    running = state.server(profile)
    if running is None:
        raise _not_on_record(profile, state)
    return (seen(running, state),)


def seen(running: Running, state: StateFolder) -> Seen:
    """How one of them is."""
    started = datetime.fromisoformat(running.started)
    uptime_s = max((datetime.now(UTC) - started).total_seconds(), 0.0)
    try:
        alive = is_alive(running)
    except MachineError as error:
        return Seen(
            running=running,
            health=Health.SILENT,
            uptime_s=uptime_s,
            advice=str(error),
        )
    if alive:
        return Seen(
            running=running,
            health=health_of(running.base_url),
            uptime_s=uptime_s,
            held_bytes=_held_bytes(running, state),
        )
    verdict, advised = _why(running)
    return Seen(
        running=running,
        health=None,
        uptime_s=uptime_s,
        verdict=verdict,
        advice=advised,
    )


def _why(running: Running) -> tuple[Verdict | None, str]:
    """Why a server has ended, by its log, and what to do about it."""
    try:
        verdict = judge(running.log, exit_code=_exit_code(running)).verdict
    except InputError:
        return None, KILLED
    if verdict.outcome in WITHOUT_A_WORD:
        return None, KILLED
    return verdict, advice(verdict) or KILLED


def _exit_code(running: Running) -> int | None:
    """What a container ended with, its last words copied; of a process nobody knows."""
    if running.container is None:
        return None
    ended = background(running)
    if not isinstance(ended, ContainedProcess):
        return None
    ended.copy_log()
    return ended.exit_code()


def _held_bytes(running: Running, state: StateFolder) -> tuple[int, ...] | None:
    """What a running server holds of its devices, where anything can say so."""
    if running.pid is None:
        return None
    if running.emulated:
        return _emulated_bytes(running, state)
    watch = NvmlWatch.of(running.listed())
    return None if watch is None else watch.peak_bytes(running.pid)


def _emulated_bytes(running: Running, state: StateFolder) -> tuple[int, ...] | None:
    """By the machine's own file, where each device has the number of its name."""
    from placer.testing.state import StateFile

    try:
        file = StateFile(state.folder(running.profile) / "gpus" / "state")
    except (OSError, InputError):
        return None
    with closing(file):
        for usage in file.usage():
            if usage.pid == running.pid and usage.running:
                numbers = [d.name.removeprefix("Vulkan") for d in running.devices]
                return tuple(usage.used_bytes[int(n)] for n in numbers)
    return None


def stop(
    profiles: Sequence[str] = (),
    *,
    every: bool = False,
    state: StateFolder | None = None,
) -> Stopped:
    """End servers, and clear away what is left of those that have ended.

    Args:
        profiles: whose; none of them for the only one.
        every: whether all are ended.
        state: where they are on record; None for the user's own.

    Raises:
        InputError: one of them is not on record, or it is not clear which.
        MachineError: a container's daemon does not answer; the others are ended.
    """
    state = state or default_state()
    chosen = _chosen(profiles, every=every, state=state)
    ran: list[str] = []
    cleared: list[str] = []
    failed: list[MachineError] = []
    for name in chosen:
        try:
            (ran if end(name, state) else cleared).append(name)
        except MachineError as error:
            failed.append(error)
    cleared += _swept(state)
    found = Stopped(profiles=tuple(ran), cleared=tuple(cleared), containers=_orphans())
    if failed:
        raise failed[0]
    return found


def _chosen(
    profiles: Sequence[str], *, every: bool, state: StateFolder
) -> tuple[str, ...]:
    known = [running.profile for running in state.servers()]
    if every or (not profiles and len(known) < 2):
        return tuple(known)
    if not profiles:
        raise InputError(
            f"{len(known)} servers are on record: {', '.join(known)}",
            hint="name those to stop, or give --all",
        )
    for name in profiles:
        if name not in known and name not in state.leftovers():
            raise _not_on_record(name, state)
    return tuple(name for name in dict.fromkeys(profiles) if name in known)


def _swept(state: StateFolder) -> list[str]:
    """Folders of starts that were killed before anything was on record."""
    swept = []
    for name in state.leftovers():
        with suppress(InputError), starting(state, name):
            if state.server(name) is None:
                _end_unrecorded(name, state)
                state.forget(name)
                swept.append(name)
    return swept


def _end_unrecorded(name: str, state: StateFolder) -> None:
    """A container whose starter was killed before it was on record."""
    from placer.engine.docker import served_containers

    folder = state.folder(name).absolute()
    for container in served_containers():
        if container.config_home.is_relative_to(folder):
            container.stop()


def _orphans() -> tuple[str, ...]:
    """Containers of searches that were killed: removed wherever a daemon answers."""
    from placer.engine.docker import remove_orphans

    return remove_orphans()


def _not_on_record(name: str, state: StateFolder) -> InputError:
    known = ", ".join(running.profile for running in state.servers())
    hint = f"on record: {known}" if known else f"placer serve {name} starts one"
    return InputError(f"no server of {name} is on record", hint=hint)


def on_record(name: str | None, state: StateFolder) -> Running:
    """The server of a profile, or the only one.

    Raises:
        InputError: there is none, or it is not clear which.
    """
    servers = state.servers()
    if name is None and len(servers) > 1:
        known = ", ".join(running.profile for running in servers)
        raise InputError(f"{len(servers)} servers are on record", hint=f"name {known}")
    found = state.server(name) if name else next(iter(servers), None)
    if found is None:
        if name:
            raise _not_on_record(name, state)
        raise InputError("no server is on record", hint="placer serve starts one")
    return found


def is_served(profile: str, state: StateFolder | None = None) -> bool:
    """Whether a profile's server runs."""
    running = (state or default_state()).server(profile)
    return running is not None and is_alive(running)
