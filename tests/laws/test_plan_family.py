"""The best member of a family is the one that counting them all would find."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from placer.memory import estimate_memory
from placer.placement import Strategy, Workload, placement_args, placement_from_args
from placer.plan import Family, Spread
from placer.plan.settle import families_for, settle
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.machine import Machine
    from placer.model import ModelShape

WORKLOAD = Workload(ctx=256, batch=32, ubatch=32, parallel=1, kv_unified=False)

layers = st.builds(
    FakeLayer,
    dense_kib=st.integers(1, 40),
    expert_kib=st.just(0) | st.integers(3, 90),
    kv_heads=st.sampled_from([0, 1, 2]),
    is_swa=st.booleans(),
)
shapes = st.builds(
    fake_shape,
    st.lists(layers, min_size=1, max_size=5),
    output_kib=st.integers(1, 40),
)
rooms = st.lists(st.integers(0, 300), min_size=1, max_size=3)


def every_spread(family: Family) -> Iterator[Spread]:
    """All members of a family, by counting."""
    n_slots, n_devices = family.shape.n_slots, len(family.costs)
    for slots in product(range(n_slots + 1), repeat=n_devices):
        total = sum(slots)
        if family.strategy is Strategy.LAYERS_ON_CPU:
            if 0 < total <= n_slots:
                yield Spread(slots=slots)
        elif total != n_slots:
            continue
        elif family.strategy is Strategy.EXPERTS_ON_CPU:
            yield from _every_kept(family, slots)
        elif family.device is None or slots[family.device] == n_slots:
            yield Spread(slots=slots)


def _every_kept(family: Family, slots: tuple[int, ...]) -> Iterator[Spread]:
    ranges, start = [], 0
    for count in slots:
        experts = family.costs[0].experts[start : start + count]
        ranges.append(range(sum(1 for size in experts if size) + 1))
        start += count
    for kept in product(*ranges):
        yield Spread(slots=slots, kept=kept)


def families_on(shape: ModelShape, machine: Machine) -> tuple[Family, ...]:
    """All families of the model on the machine."""
    return families_for(shape, WORKLOAD, machine)


@settings(max_examples=600)
@given(shapes, rooms)
def test_the_best_equals_counting(shape: ModelShape, rooms_kib: list[int]) -> None:
    """No spread that the capacities hold has a greater value than ``best``."""
    capacities = [kib * KIB for kib in rooms_kib]
    for family in families_on(shape, fake_machine(capacities)):
        values = [
            family.value(spread)
            for spread in every_spread(family)
            if all(
                load <= room
                for load, room in zip(family.loads(spread), capacities, strict=True)
            )
        ]
        best = family.best(capacities)
        if best is None:
            assert not values
        else:
            assert values
            assert family.value(best) == max(values)
            loads = family.loads(best)
            assert all(a <= b for a, b in zip(loads, capacities, strict=True))


@given(shapes, rooms)
def test_more_room_is_never_worse(shape: ModelShape, rooms_kib: list[int]) -> None:
    """One more KiB on a device never makes the best spread smaller."""
    capacities = [kib * KIB for kib in rooms_kib]
    for family in families_on(shape, fake_machine(capacities)):
        best = family.best(capacities)
        if best is None:
            continue
        for index in range(len(capacities)):
            more = list(capacities)
            more[index] += KIB
            richer = family.best(more)
            assert richer is not None
            assert family.value(richer) >= family.value(best)


@given(shapes, st.integers(1, 3))
def test_everything_holds_any_spread(shape: ModelShape, n_devices: int) -> None:
    """With room for all of the model on each device, the first takes all it can."""
    for family in families_on(shape, fake_machine([0] * n_devices)):
        best = family.best(family.everything)
        assert best is not None
        assert sum(best.slots) == shape.n_slots
        if family.strategy is not Strategy.ONE_GPU:
            first = best.slots if best.kept is None else best.kept
            assert sum(first) == first[0]


@given(shapes, st.integers(1, 3))
def test_loads_are_the_estimates_weights_and_context(
    shape: ModelShape, n_devices: int
) -> None:
    """What a family packs with is what the estimate says of the placement."""
    machine = fake_machine([0] * n_devices)
    for family in families_on(shape, machine):
        for spread in list(every_spread(family))[:40]:
            placement = family.placement(spread)
            estimate = estimate_memory(shape, WORKLOAD, placement, machine)
            held = tuple(
                d.model_bytes + (d.context_bytes or 0) for d in estimate.devices
            )
            assert family.loads(spread) == held


@given(shapes, st.integers(1, 3))
def test_a_spreads_flags_parse_back(shape: ModelShape, n_devices: int) -> None:
    """The flags of each placement mean that placement, tensor by tensor."""
    machine = fake_machine([MIB] * n_devices)
    for family in families_on(shape, machine):
        for spread in list(every_spread(family))[:25]:
            placement = family.placement(spread)
            args = placement_args(placement, shape)
            assert placement_from_args(args, shape, machine) == placement


@settings(max_examples=60)
@given(shapes, rooms, st.lists(st.integers(0, 60), min_size=3, max_size=3))
def test_settling_leaves_room_for_compute_buffers(
    shape: ModelShape, rooms_kib: list[int], compute_kib: list[int]
) -> None:
    """Beside constant buffers the settled spread fits, and none better does."""
    room = [kib * KIB for kib in rooms_kib]
    compute = [kib * KIB for kib in compute_kib][: len(room)]
    for family in families_on(shape, fake_machine(room)):
        settled = settle(family, room, lambda _, compute=compute: compute)  # type: ignore[misc]
        left = [max(a - b, 0) for a, b in zip(room, compute, strict=True)]
        if settled.spread is not None:
            assert settled.capacities == tuple(left)
        assert settled.spread == family.best(left)
