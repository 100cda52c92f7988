"""Ranked candidates for a machine, by formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.memory import MemoryEstimate, estimate_memory
from placer.placement import Strategy
from placer.plan.costs import slot_costs
from placer.plan.family import Family, Spread, families

if TYPE_CHECKING:
    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.placement import Placement, Workload

# Compute buffers depend on the placement and the placement on them; it settles fast.
ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A placement worth trying.

    Attributes:
        strategy: which of the four.
        spread: its coordinates in the family.
        placement: where everything goes.
        estimate: what it would hold, by formula.
        headroom_bytes: of each device; negative where it would not fit.
    """

    strategy: Strategy
    spread: Spread
    placement: Placement
    estimate: MemoryEstimate
    headroom_bytes: tuple[int, ...]

    @property
    def fits(self) -> bool:
        """Whether it fits, by formula: not a proof."""
        return min(self.headroom_bytes) >= 0


def families_for(
    shape: ModelShape, workload: Workload, machine: Machine
) -> tuple[Family, ...]:
    """The families of strategies on the machine's devices."""
    costs = tuple(
        slot_costs(shape, workload, device.backend) for device in machine.devices
    )
    return families(shape, costs)


def plan_candidates(
    shape: ModelShape, workload: Workload, machine: Machine
) -> tuple[Candidate, ...]:
    """The best member of each family that fits by formula, best first."""
    candidates: list[Candidate] = []
    for family in families_for(shape, workload, machine):
        spread = settled_spread(family, shape, workload, machine)
        if spread is None:
            continue
        candidate = candidate_of(family, spread, workload, machine)
        if all(not _same(candidate, earlier) for earlier in candidates):
            candidates.append(candidate)
    return tuple(candidates)


def _same(one: Candidate, other: Candidate) -> bool:
    """Whether two strategies come to the same placement."""
    a, b = one.placement, other.placement
    return a.split == b.split and a.exceptions == b.exceptions


def settled_spread(
    family: Family, shape: ModelShape, workload: Workload, machine: Machine
) -> Spread | None:
    """The family's best spread with room for the compute buffers it itself causes."""
    free = [device.free_bytes for device in machine.devices]
    spread = family.best(free)
    capacities = free
    for _ in range(ROUNDS):
        if spread is None:
            return None
        estimate = estimate_memory(shape, workload, family.placement(spread), machine)
        wanted = [
            min(before, room - (device.compute_bytes or 0))
            for before, room, device in zip(
                capacities, free, estimate.devices, strict=True
            )
        ]
        if wanted == capacities:
            return spread
        capacities = wanted
        spread = family.best(capacities)
    return spread


def candidate_of(
    family: Family, spread: Spread, workload: Workload, machine: Machine
) -> Candidate:
    """The spread with all that is known of it by formula."""
    placement = family.placement(spread)
    estimate = estimate_memory(family.shape, workload, placement, machine)
    return Candidate(
        strategy=family.strategy,
        spread=spread,
        placement=placement,
        estimate=estimate,
        headroom_bytes=headroom_bytes(estimate, machine),
    )


def candidate_for_placement(
    placement: Placement, shape: ModelShape, workload: Workload, machine: Machine
) -> Candidate:
    """Any placement, a hand-made one for example, with what the formula says of it."""
    estimate = estimate_memory(shape, workload, placement, machine)
    return Candidate(
        strategy=strategy_of(placement, shape),
        spread=Spread(slots=placement.split),
        placement=placement,
        estimate=estimate,
        headroom_bytes=headroom_bytes(estimate, machine),
    )


def strategy_of(placement: Placement, shape: ModelShape) -> Strategy:
    """Which of the four strategies a placement is."""
    if placement.n_gpu_layers < shape.n_slots:
        return Strategy.LAYERS_ON_CPU
    if any(exception.buffer == "CPU" for exception in placement.exceptions):
        return Strategy.EXPERTS_ON_CPU
    used = sum(1 for n in placement.split if n)
    return Strategy.ONE_GPU if used == 1 else Strategy.LAYERS


def headroom_bytes(estimate: MemoryEstimate, machine: Machine) -> tuple[int, ...]:
    """What each device would have left."""
    return tuple(
        device.free_bytes - held.total_bytes
        for device, held in zip(machine.devices, estimate.devices, strict=True)
    )
