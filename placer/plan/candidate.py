"""A placement worth trying, with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.model.shape import is_expert
from placer.placement import Placement, Strategy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.machine import Machine
    from placer.memory import MemoryEstimate
    from placer.model import ModelShape
    from placer.speed import Speed


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A placement worth trying.

    Attributes:
        strategy: which of the four.
        placement: where everything goes.
        estimate: what it would hold, by formula.
        headroom_bytes: of each device; negative where it would not fit.
        speed: what it is predicted to do.
        gap: by what share something faster could exist at most, by the speed model; 0
            is proved best, None where nobody asked.
    """

    strategy: Strategy
    placement: Placement
    estimate: MemoryEstimate
    headroom_bytes: tuple[int, ...]
    speed: Speed
    gap: float | None = None

    @property
    def fits(self) -> bool:
        """Whether it fits, by formula: not a proof."""
        return min(self.headroom_bytes) >= 0


def strategy_of(placement: Placement, shape: ModelShape) -> Strategy:
    """Which of the four strategies a placement is."""
    if placement.n_gpu_layers < shape.n_slots:
        return Strategy.LAYERS_ON_CPU
    if any(exception.buffer == "CPU" for exception in placement.exceptions):
        return Strategy.EXPERTS_ON_CPU
    used = sum(1 for n in placement.split if n)
    alone = used == 1 and not placement.exceptions
    return Strategy.ONE_GPU if alone else Strategy.LAYERS


def experts_kept(placement: Placement, shape: ModelShape) -> tuple[int, ...] | None:
    """Expert tensors that each device of the split holds; None where none is on a CPU.

    Those that ``-ot`` puts on another device count where their layer is.
    """
    away = {e.tensor for e in placement.exceptions if e.buffer == "CPU"}
    homes = placement.slot_devices(shape.n_slots)
    kept, on_cpu = [0] * len(placement.split), False
    for layer in shape.layers:
        home = homes[layer.index]
        for tensor in layer.tensors:
            if not is_expert(tensor.name):
                continue
            if home is None or tensor.name in away:
                on_cpu = True
            else:
                kept[home] += 1
    return tuple(kept) if on_cpu else None


def headroom_bytes(
    estimate: MemoryEstimate, machine: Machine, beside: Sequence[int] = ()
) -> tuple[int, ...]:
    """What each device would have left, of ``beside`` bytes for something else too.

    A device that uses the host's memory has to leave room for what the host holds; one
    that holds nothing has no overhead.
    """
    shared = machine.shared_bytes(estimate.host.total_bytes)
    more = tuple(beside) or (0,) * len(machine.devices)
    held = [d.total_bytes + n for d, n in zip(estimate.devices, more, strict=True)]
    return tuple(
        device.free_bytes - device.overhead_under(n_bytes) - n_bytes - shared
        for device, n_bytes in zip(machine.devices, held, strict=True)
    )
