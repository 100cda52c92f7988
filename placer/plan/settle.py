"""Ranked candidates for a machine, by formula."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placer.memory import MemoryEstimate, estimate_memory
from placer.placement import Placement, Strategy
from placer.plan.costs import slot_costs
from placer.plan.family import Family, Spread, families
from placer.units import MIB

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
# What a plan leaves free on each device: nothing, and what llama.cpp's own --fit
# leaves (common.h:473).
MARGINS_BYTES = (0, 1024 * MIB)


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
    shape: ModelShape,
    workload: Workload,
    machine: Machine,
    beside: Sequence[int] = (),
) -> tuple[Family, ...]:
    """The families of strategies on the machine's devices.

    Args:
        shape: the model.
        workload: what is asked of it.
        machine: the devices.
        beside: bytes that follow each slot without being of the model.
    """
    costs = tuple(
        slot_costs(shape, workload, device.backend).with_beside(beside)
        for device in machine.devices
    )
    return families(shape, costs)


def plan_candidates(
    shape: ModelShape,
    workload: Workload,
    machine: Machine,
    *,
    formula: FormulaOf | None = None,
    compute_of: ComputeOf | None = None,
    beside: Sequence[int] = (),
) -> tuple[Candidate, ...]:
    """The best member of each family, for growing margins, best first.

    Args:
        shape: the model.
        workload: what is asked of it.
        machine: the devices.
        formula: what a placement holds; None for ``estimate_memory`` as it is.
        compute_of: the compute buffers of a placement; None for the formula's.
        beside: bytes that follow each slot without being of the model.
    """
    formula = formula or formula_of(shape, workload, machine)
    compute_of = compute_of or formula_compute(formula)
    candidates: list[Candidate] = []
    for family in families_for(shape, workload, machine, beside):
        for margin_bytes in MARGINS_BYTES:
            room = [device.usable_bytes - margin_bytes for device in machine.devices]
            spread = settle(family, room, compute_of).spread
            if spread is None:
                continue
            candidate = candidate_of(family, spread, machine, formula)
            if all(not _same(candidate, earlier) for earlier in candidates):
                candidates.append(candidate)
    return tuple(candidates)


def _same(one: Candidate, other: Candidate) -> bool:
    """Whether two strategies come to the same placement."""
    a, b = one.placement, other.placement
    return a.split == b.split and a.exceptions == b.exceptions


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


def candidate_of(
    family: Family, spread: Spread, machine: Machine, formula: FormulaOf
) -> Candidate:
    """The spread with all that is known of it by formula."""
    placement = family.placement(spread)
    estimate = formula(placement)
    if min(headroom_bytes(estimate, machine)) < 0:
        estimate = formula(unpipelined(placement))
    return Candidate(
        strategy=family.strategy,
        spread=spread,
        placement=placement,
        estimate=estimate,
        headroom_bytes=headroom_bytes(estimate, machine),
    )


def candidate_for_placement(
    placement: Placement, shape: ModelShape, estimate: MemoryEstimate, machine: Machine
) -> Candidate:
    """Any placement, a hand-made one for example, with what the formula says of it."""
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
