"""The four strategies as families of spreads, each with its best member.

A family answers one question exactly: given so many bytes on each device, which
spread is the best that they hold? The search turns what launches teach into bytes and
asks again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from placer.model.shape import is_expert
from placer.placement import Placement, Strategy, TensorException

if TYPE_CHECKING:
    from placer.model import ModelShape
    from placer.plan.costs import SlotCosts

Capacities = Sequence[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """How much of the model each device takes, front to back.

    Attributes:
        slots: of each device, as ``-ts`` has them.
        kept: layers of each device whose experts stay with it; None where all do.
    """

    slots: tuple[int, ...]
    kept: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Family:
    """All spreads of one strategy.

    Attributes:
        strategy: which.
        shape: the model.
        costs: of each device.
        device: the only device used, for ``ONE_GPU``.
    """

    strategy: Strategy
    shape: ModelShape
    costs: tuple[SlotCosts, ...]
    device: int | None = None

    def best(self, capacities: Capacities) -> Spread | None:
        """The best spread that the capacities hold, None if there is none.

        Args:
            capacities: bytes of weights and context for each device.

        Best is: most on the GPUs, then most on the first, then on the second...
        """
        if self.strategy is Strategy.ONE_GPU:
            return self._one_gpu(capacities)
        if self.strategy is Strategy.LAYERS:
            return self._fill(capacities, 0)
        if self.strategy is Strategy.EXPERTS_ON_CPU:
            return self._experts(capacities)
        return self._layers(capacities)

    def value(self, spread: Spread) -> tuple[int, ...]:
        """What makes one spread of the family better than another; bigger is better."""
        units = spread.slots if spread.kept is None else spread.kept
        return (sum(units), *units)

    def loads(self, spread: Spread) -> tuple[int, ...]:
        """Bytes of weights and context that each device takes, by formula."""
        loads = []
        start = self.shape.n_slots - sum(spread.slots)
        for index, count in enumerate(spread.slots):
            costs = self.costs[index]
            load = sum(costs.fixed[start : start + count])
            load += sum(
                costs.experts[slot] for slot in self._kept(spread, index, start)
            )
            loads.append(load)
            start += count
        return tuple(loads)

    def contexts(self, spread: Spread) -> tuple[int, ...]:
        """The part of each load that is context."""
        ends = accumulate(spread.slots, initial=self.shape.n_slots - sum(spread.slots))
        return tuple(
            sum(costs.context[start:end])
            for costs, (start, end) in zip(self.costs, pairwise(ends), strict=True)
        )

    def placement(self, spread: Spread) -> Placement:
        """The spread as a placement."""
        return Placement(
            split=spread.slots,
            main_gpu=self.device,
            exceptions=frozenset(self._exceptions(spread)),
        )

    @cached_property
    def everything(self) -> tuple[int, ...]:
        """Capacities that hold any spread."""
        return tuple(costs.total_bytes for costs in self.costs)

    def unit_bytes(self, device: int) -> int:
        """The smallest step by which a device's load grows."""
        costs = self.costs[device]
        if self.strategy is Strategy.EXPERTS_ON_CPU:
            return min(size for size in costs.experts if size)
        return min(map(sum, zip(costs.fixed, costs.experts, strict=True)))

    def _kept(self, spread: Spread, device: int, start: int) -> list[int]:
        """The slots of the device whose experts stay with their layer."""
        slots = range(start, start + spread.slots[device])
        moe = [slot for slot in slots if self.costs[device].experts[slot]]
        return moe if spread.kept is None else moe[: spread.kept[device]]

    def _exceptions(self, spread: Spread) -> Iterator[TensorException]:
        if spread.kept is None:
            return
        start = self.shape.n_slots - sum(spread.slots)
        for device, count in enumerate(spread.slots):
            kept = set(self._kept(spread, device, start))
            for layer in self.shape.layers[start : start + count]:
                if layer.index not in kept:
                    yield from (
                        TensorException(tensor=t.name, buffer="CPU")
                        for t in layer.tensors
                        if is_expert(t.name)
                    )
            start += count

    def _one_gpu(self, capacities: Capacities) -> Spread | None:
        device = self.device or 0
        if self.costs[device].total_bytes > capacities[device]:
            return None
        slots = [0] * len(self.costs)
        slots[device] = self.shape.n_slots
        return Spread(slots=tuple(slots))

    def _layers(self, capacities: Capacities) -> Spread | None:
        """The most layers, the output among them, that the devices hold together."""
        for start in range(self.shape.n_slots):
            spread = self._fill(capacities, start)
            if spread is not None:
                return spread
        return None

    def _experts(self, capacities: Capacities) -> Spread | None:
        """The most expert layers beside the dense part of every layer.

        From the last device to the first: what is best for the slots from each slot
        on, out of every slot at which the device may end.
        """
        n_slots = self.shape.n_slots
        rest: dict[int, _Kept] = {n_slots: _Kept()}
        for device in reversed(range(len(capacities))):
            best: dict[int, _Kept] = {}
            # The first device starts at the first slot, and only there.
            for start in range(n_slots + 1 if device else 1):
                options = [
                    _Kept((end - start, *after.slots), (kept, *after.kept))
                    for end, kept in self._stretches(device, start, capacities[device])
                    if (after := rest.get(end)) is not None
                ]
                if options:
                    best[start] = max(options, key=_Kept.rank)
            rest = best
        found = rest.get(0)
        return None if found is None else Spread(slots=found.slots, kept=found.kept)

    def _stretches(
        self, device: int, start: int, capacity: int
    ) -> Iterator[tuple[int, int]]:
        """Each slot at which the device can end, and the expert layers it can keep.

        It keeps the first of its stretch, as ``_kept`` does.
        """
        costs = self.costs[device]
        yield start, 0
        experts: list[int] = [0]
        fixed = 0
        for slot in range(start, costs.n_slots):
            fixed += costs.fixed[slot]
            if fixed > capacity:
                return
            if costs.experts[slot]:
                experts.append(experts[-1] + costs.experts[slot])
            yield slot + 1, bisect_right(experts, capacity - fixed) - 1

    def _fill(self, capacities: Capacities, start: int) -> Spread | None:
        """Give each device in turn as many slots as it holds; None if any is left.

        Front-loading is optimal: what an earlier device takes, a later one need not.
        """
        slot, counts = start, []
        for device, capacity in enumerate(capacities):
            end = self._fill_device(device, capacity, slot)
            counts.append(end - slot)
            slot = end
        return Spread(slots=tuple(counts)) if slot == self.shape.n_slots else None

    def _fill_device(self, device: int, room: int, slot: int) -> int:
        """The slot after the last that the device holds."""
        costs = self.costs[device]
        while slot < costs.n_slots:
            room -= costs.fixed[slot] + costs.experts[slot]
            if room < 0:
                break
            slot += 1
        return slot


@dataclass(frozen=True, slots=True)
class _Kept:
    """Slots and expert layers of the last devices."""

    slots: tuple[int, ...] = ()
    kept: tuple[int, ...] = ()

    def rank(self) -> tuple[int, tuple[int, ...], tuple[int, ...]]:
        """What ``Family.value`` ranks by; of equals, most slots on the first device."""
        return (sum(self.kept), self.kept, self.slots)


def families(shape: ModelShape, costs: tuple[SlotCosts, ...]) -> tuple[Family, ...]:
    """The families worth trying, in order of preference: A, C, D, B."""
    found = [
        Family(strategy=Strategy.ONE_GPU, shape=shape, costs=costs, device=device)
        for device in range(len(costs))
    ]
    if len(costs) > 1:
        found.append(Family(strategy=Strategy.LAYERS, shape=shape, costs=costs))
    if shape.is_moe:
        found.append(Family(strategy=Strategy.EXPERTS_ON_CPU, shape=shape, costs=costs))
    found.append(Family(strategy=Strategy.LAYERS_ON_CPU, shape=shape, costs=costs))
    return tuple(found)
