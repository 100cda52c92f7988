"""Before a server is started: whether what is free now holds it, and what to close."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.app.rated import rated_flags
from placer.app.standing import own_placement
from placer.errors import InputError, SearchError
from placer.serve.alive import seems_alive
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from placer.app.desk import Desk
    from placer.app.rated import Rated
    from placer.machine import Device
    from placer.serve import Running, StateFolder

HOST = "CPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What a server needs of one memory, and what is free of it.

    Attributes:
        device: its name, ``CPU`` for the host's.
        needs_bytes: what the server will hold.
        free_bytes: what is free now.
        closable: what holds it and could be ended, in words.
    """

    device: str
    needs_bytes: int
    free_bytes: int
    closable: tuple[str, ...] = ()

    @property
    def short_bytes(self) -> int:
        """What is missing; 0 where nothing is."""
        return max(self.needs_bytes - self.free_bytes, 0)

    def __str__(self) -> str:
        text = f"{self.device} needs {size_text(self.needs_bytes)}, "
        text += f"{size_text(self.free_bytes)} free"
        if self.short_bytes:
            text += f", short by {size_text(self.short_bytes)}"
        if self.short_bytes and self.closable:
            text += f": close {', '.join(self.closable)}"
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Preflight:
    """A server and the memory that is free now.

    Attributes:
        needs: of each device and of the host; of none where nobody knows.
        notes: what is not known, in words.
    """

    needs: tuple[Need, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def short(self) -> tuple[Need, ...]:
        """Where memory is missing."""
        return tuple(need for need in self.needs if need.short_bytes)

    def planned_bytes(self, device: str) -> int | None:
        """What the server is to hold of a device; None where nobody knows."""
        return next((n.needs_bytes for n in self.needs if n.device == device), None)


class NoRoomError(SearchError):
    """A server does not fit into what is free now.

    Args:
        profile: what was to be served.
        preflight: what is missing.
    """

    def __init__(self, profile: str, preflight: Preflight) -> None:
        lines = "; ".join(str(need) for need in preflight.short)
        hint = f"placer serve {profile} --refit places it anew, --force starts anyhow"
        super().__init__(f"{profile} does not fit now: {lines}", hint=hint)
        self.profile = profile
        self.preflight = preflight


def preflight(desk: Desk, state: StateFolder) -> Preflight:
    """What the profile's own placement needs, and what is free."""
    try:
        flags = own_placement(desk.target)
    except InputError:
        return Preflight(notes=("llama-server places it by itself (--fit)",))
    try:
        rated = rated_flags(flags, desk)
    except InputError as error:
        return Preflight(notes=(f"its memory was not checked: {error.problem}",))
    return preflight_of(rated, desk, state)


def preflight_of(rated: Rated, desk: Desk, state: StateFolder) -> Preflight:
    """What a placement needs of each memory, and what is free of it."""
    machine = desk.machine
    others = tuple(_others(state, desk.target.name))
    needs = [
        Need(
            device=device.name,
            needs_bytes=device.free_bytes - left,
            free_bytes=device.free_bytes,
            closable=tuple(_closable(device, others)),
        )
        for device, left in zip(machine.devices, rated.headroom_bytes, strict=True)
    ]
    host_bytes = rated.best.host.total_bytes
    host_bytes += sum(one.host.total_bytes for one in rated.companions)
    if machine.host_free_bytes is not None and not machine.is_unified:
        free = machine.host_free_bytes
        needs.append(Need(device=HOST, needs_bytes=host_bytes, free_bytes=free))
    notes = () if rated.is_complete else ("not all of its memory is known",)
    return Preflight(needs=tuple(needs), notes=notes)


def _others(state: StateFolder, profile: str) -> Iterator[Running]:
    """Servers of ours on real devices; those of a daemon that is silent left out."""
    for running in state.servers():
        is_other = running.profile != profile and not running.emulated
        if is_other and seems_alive(running):
            yield running


def _closable(device: Device, others: Sequence[Running]) -> Iterator[str]:
    """What holds memory of a device, our own servers first, then the largest."""
    ours = set()
    for running in others:
        held = {one.name: one.planned_bytes for one in running.devices}
        if device.name in held and held[device.name] != 0:
            ours.add(running.pid)
            yield f"{running.profile} (placer stop {running.profile})"
    for process in () if device.nvml is None else device.nvml.processes:
        if process.pid not in ours:
            used = process.used_bytes
            size = "" if used is None else f", {size_text(used)}"
            yield f"{process.name} (process {process.pid}{size})"
