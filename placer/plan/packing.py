"""A model on a machine as a packing problem, and an answer as a placement."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from placer.memory import context_bytes_by_layer
from placer.memory.weights import allocated_bytes
from placer.model.shape import is_expert
from placer.placement import Placement, TensorException
from placer.plan.problem import GroupCost, Kind, Packed, Problem, slot_homes
from placer.speed.route import hop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.machine import Machine
    from placer.plan.goal import Worth
    from placer.speed import CostTable
    from placer.speed.times import Times


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What each device has for weights and context.

    Attributes:
        free: bytes in all, margins and overhead taken off.
        used: compute buffers of a device that holds anything.
        last: how much more they are where the output is.
    """

    free: tuple[int, ...]
    used: tuple[int, ...]
    last: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What may be on the CPU.

    Attributes:
        experts_on_cpu: experts of layers that are on devices.
        layers_on_cpu: whole layers, the first of the model.
    """

    experts_on_cpu: bool
    layers_on_cpu: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Least:
    """Bytes of a model on the devices where they are smallest.

    Attributes:
        dense: all but the experts, context included.
        experts: the routed experts.
    """

    dense: int
    experts: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.dense + self.experts


@dataclass(frozen=True, kw_only=True)
class Packing:
    """A model on a machine, to be packed under several rooms and rules.

    Attributes:
        table: what everything costs in time.
        machine: the devices.
        worth: what the time is worth.
        beside: bytes that follow each slot without being of the model.
        in_flight: batches that overlap over the devices, 1 for none.
        is_pace: whether costs are those of which only the slowest device's count.
    """

    table: CostTable
    machine: Machine
    worth: Worth
    beside: Sequence[int] = ()
    in_flight: int = 1
    is_pace: bool = False

    def pace(self) -> Packing:
        """The same with the costs that only the slowest device's count of."""
        return replace(self, is_pace=True)

    def problem(self, room: Room, rules: Rules) -> Problem:
        """The numbers."""
        kinds, slots = self._kinds
        return Problem(
            capacity=room.free,
            used=room.used,
            last=room.last,
            slots=slots,
            kinds=kinds,
            hop=self._hops(torn=False),
            torn=self._hops(torn=True),
            experts_on_cpu=rules.experts_on_cpu,
            layers_on_cpu=rules.layers_on_cpu,
        )

    def placement(self, problem: Problem, packed: Packed) -> Placement:
        """The answer as ``-ts`` and ``-ot``; as ``-sm none`` if one device does it."""
        counts = packed.counts[1:] if problem.layers_on_cpu else packed.counts
        homes = slot_homes(problem, packed.counts)
        touched = {*homes, *(at for chosen in packed.homes for at in chosen)}
        devices = sorted(touched - {problem.cpu})
        alone = devices[0] if len(devices) == 1 and len(counts) > 1 else None
        buffers = self.machine.buffer_types
        exceptions = {
            TensorException(tensor=tensor.name, buffer=buffers[at])
            for groups, home, chosen in zip(
                self.table.groups, homes, packed.homes, strict=True
            )
            for group, at in zip(groups, chosen, strict=True)
            if at != home
            for tensor in group.tensors
        }
        return Placement(split=counts, exceptions=frozenset(exceptions), main_gpu=alone)

    def _hops(self, *, torn: bool) -> tuple[tuple[float, ...], ...]:
        """Seconds from each home to each other."""
        homes = range(self.table.rates.cpu + 1)
        return tuple(
            tuple(self._worth(hop(self.table, a, b, torn=torn)) for b in homes)
            for a in homes
        )

    def _worth(self, times: Times) -> float:
        """Seconds, weighed.

        Of overlapping batches the first passes all devices, and each other one waits
        for the slowest of them: ``placer.speed.predict.overlapped_s``.
        """
        n, per_token = self.in_flight, self.worth.prefill / self.table.n_tokens
        if self.is_pace:
            return per_token * times.prefill_s * (n - 1) / n
        return self.worth.decode * times.decode_s + per_token * times.prefill_s / n

    @cached_property
    def least_bytes(self) -> Least:
        """What has to be somewhere."""
        kinds, slots = self._kinds
        groups = [group for number in slots for group in kinds[number].groups]
        return Least(
            dense=sum(min(kinds[number].n_bytes) for number in slots),
            experts=sum(min(group.n_bytes) for group in groups),
        )

    @property
    def unit_bytes(self) -> tuple[int, ...]:
        """The smallest part that can be moved, on each device."""
        kinds, _ = self._kinds
        groups = [group.n_bytes for kind in kinds for group in kind.groups]
        parts = groups or [kind.n_bytes for kind in kinds]
        return tuple(map(min, zip(*parts, strict=True)))

    @cached_property
    def _kinds(self) -> tuple[tuple[Kind, ...], tuple[int, ...]]:
        """The different slots, and which each of them is."""
        shape = self.table.shape
        context = context_bytes_by_layer(shape, self.table.workload)
        if context is None or not self.table.workload.kv_offload:
            context = (0,) * shape.n_layer_all
        beside = tuple(self.beside) or (0,) * shape.n_slots
        extra = [a + b for a, b in zip((*context, 0), beside, strict=True)]
        seen: dict[tuple[int, int], int] = {}
        kinds: list[Kind] = []
        slots = []
        for slot, key in enumerate(zip(self.table.kinds, extra, strict=True)):
            if key not in seen:
                seen[key] = len(kinds)
                kinds.append(self._kind(slot, extra[slot]))
            slots.append(seen[key])
        return tuple(kinds), tuple(slots)

    def _kind(self, slot: int, extra: int) -> Kind:
        table, shape = self.table, self.table.shape
        is_output = slot == shape.n_layer_all
        tensors = shape.output_tensors if is_output else shape.layers[slot].tensors
        dense = [t for t in tensors if not is_expert(t.name)]
        backends = [device.backend for device in self.machine.devices]
        homes = range(len(backends) + 1)
        return Kind(
            n_bytes=tuple(
                extra + sum(allocated_bytes(t, backend) for t in dense)
                for backend in backends
            ),
            cost=tuple(self._worth(table.slot(slot, home)) for home in homes),
            groups=tuple(
                GroupCost(
                    n_bytes=tuple(
                        sum(allocated_bytes(t, backend) for t in group.tensors)
                        for backend in backends
                    ),
                    cost=tuple(
                        self._worth(table.group(slot, index, home)) for home in homes
                    ),
                )
                for index, group in enumerate(table.groups[slot])
            ),
        )
