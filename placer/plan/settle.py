"""A family's best spread beside the compute buffers that it itself causes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placer.memory import MemoryEstimate, estimate_memory
from placer.placement import Placement
from placer.plan.costs import slot_costs
from placer.plan.family import Family, Spread, families

if TYPE_CHECKING:
    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.placement import Workload

# What a placement holds, by formula.
FormulaOf = Callable[[Placement], MemoryEstimate]
# Compute buffers of a placement, in bytes a device.
ComputeOf = Callable[[Placement], Sequence[int]]
# Compute buffers depend on the placement and the placement on them; it settles fast.
ROUNDS = 4


def families_for(
    shape: ModelShape, workload: Workload, machine: Machine
) -> tuple[Family, ...]:
    """The families of strategies on the machine's devices.

    Args:
        shape: the model.
        workload: what is asked of it.
        machine: the devices.
    """
    costs = tuple(
        slot_costs(shape, workload, device.backend) for device in machine.devices
    )
    return families(shape, costs)


def formula_of(shape: ModelShape, workload: Workload, machine: Machine) -> FormulaOf:
    """What any placement of the model holds."""
    return lambda placement: estimate_memory(shape, workload, placement, machine)


def formula_compute(formula: FormulaOf) -> ComputeOf:
    """Compute buffers by formula, in bytes a device."""
    return lambda placement: [
        device.compute_bytes or 0 for device in formula(placement).devices
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A family's best spread beside the compute buffers that it itself causes.

    Attributes:
        spread: None where no member fits.
        capacities: bytes of weights and context that each device has room for.
    """

    spread: Spread | None
    capacities: tuple[int, ...]


def settle(
    family: Family, room: Sequence[int], compute_of: ComputeOf, rounds: int = ROUNDS
) -> Settled:
    """The best spread in ``room`` bytes a device, compute buffers included.

    Each round takes the buffers of the last spread off the room; a device's room
    never grows again, so that it ends.
    """
    capacities = tuple(max(n_bytes, 0) for n_bytes in room)
    spread = family.best(capacities)
    for _ in range(rounds):
        if spread is None:
            break
        # Without pipelining: the engine gives it up where its copies do not fit.
        compute = compute_of(unpipelined(family.placement(spread)))
        wanted = tuple(
            min(before, max(total - buffers, 0))
            for before, total, buffers in zip(capacities, room, compute, strict=True)
        )
        if wanted == capacities:
            break
        capacities = wanted
        spread = family.best(capacities)
    return Settled(spread=spread, capacities=capacities)


def unpipelined(placement: Placement) -> Placement:
    """The same tensors in the same places, with no pipeline over the devices."""
    return replace(placement, unpipelined=not placement.exceptions)
