"""Processes that hold memory at the same time, and whether there is room for them.

A pool is a memory that all of them draw from: each device, and the host. What each
takes of a pool only adds up, so the largest number of which *any* fit is told by the
largest ones of each pool, without a look at every set.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from placer.machine.overhead import LAZY
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.machine import Machine

# What the engine reports as free is so with one context of CUDA in place; every
# further process makes one of its own. Assumed: it was not measured on a card.
CONTEXT_BYTES = 512 * MIB
CPU = "CPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """A memory that processes share.

    Attributes:
        name: of the device, or ``"CPU"``.
        free_bytes: what is free of it before any of them.
        context_bytes: what each process takes of it beside all that it holds, once
            already counted as not free.
        device: its index; None for the host's memory.
        with_device: whether what is held of the only device counts too: both are one
            memory.
    """

    name: str
    free_bytes: int
    context_bytes: int = 0
    device: int | None = None
    with_device: bool = False

    @property
    def room_bytes(self) -> int:
        """What processes can take of it, the context of each among it."""
        return self.free_bytes + self.context_bytes

    def taken_bytes(self, resident: Resident) -> int:
        """What a process takes of it."""
        held = self.held_bytes(resident)
        return held + self.context_bytes if held else 0

    def held_bytes(self, resident: Resident) -> int:
        """The same without a context."""
        if self.device is not None:
            return resident.device_bytes[self.device]
        shared = sum(resident.device_bytes) if self.with_device else 0
        return resident.host_bytes + shared

    def further_contexts_bytes(self, residents: Sequence[Resident]) -> int:
        """The contexts that are not yet counted as not free: all but one."""
        holding = sum(1 for one in residents if self.held_bytes(one))
        return self.context_bytes * max(holding - 1, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """What one process holds.

    Attributes:
        name: the profile's.
        device_bytes: of each device of the machine, overhead counted.
        host_bytes: of the host.
    """

    name: str
    device_bytes: tuple[int, ...]
    host_bytes: int


def pools_of(machine: Machine) -> tuple[Pool, ...]:
    """The devices in the machine's order; the host last, where its memory is known."""
    pools = tuple(
        Pool(
            name=device.name,
            free_bytes=device.free_bytes,
            context_bytes=CONTEXT_BYTES if device.backend in LAZY else 0,
            device=index,
        )
        for index, device in enumerate(machine.devices)
    )
    free = machine.host_free_bytes
    if free is None:
        return pools
    if not machine.is_unified:
        return (*pools, Pool(name=CPU, free_bytes=free))
    # One memory: the host's part is what is free beside all that the device may take.
    free = max(free, machine.devices[0].free_bytes)
    return (*pools, Pool(name=CPU, free_bytes=free, with_device=True))


def left_bytes(pools: Sequence[Pool], residents: Sequence[Resident]) -> tuple[int, ...]:
    """What each pool has left under all of them; negative where they do not fit."""
    return tuple(
        pool.free_bytes
        - sum(pool.held_bytes(one) for one in residents)
        - pool.further_contexts_bytes(residents)
        for pool in pools
    )


def most_at_once(pools: Sequence[Pool], residents: Sequence[Resident]) -> int:
    """The largest number of which any so many fit at the same time."""
    most = len(residents)
    for pool in pools:
        taken = sorted((pool.taken_bytes(one) for one in residents), reverse=True)
        fitting = [total <= pool.room_bytes for total in accumulate(taken)]
        most = min(most, sum(fitting))
    return most
