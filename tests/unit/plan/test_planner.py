"""The best placement, with buffers that are made up."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from placer.memory.estimate import without_compute
from placer.placement import Placement, Strategy, Workload
from placer.plan import Choice, Goal, Planner, strategy_of
from placer.plan.guess import proportions
from placer.plan.plan import ROUNDS, RULES, SHORT_BYTES
from placer.speed import FIELD_NOTES, cost_table, rates_of
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from placer.machine import Machine
    from placer.speed import CostTable

WORK = Workload(ctx=4096, parallel=1, kv_unified=False, batch=512, ubatch=512)
# Eight layers of 20 MiB, 200 of experts and 2 of context, and 10 MiB of output.
MOE = fake_shape(
    [FakeLayer(dense_kib=20480, expert_kib=204800, kv_heads=4)] * 8, output_kib=10240
)
WHOLE_MIB = 8 * 222 + 11
BUFFERS = 50 * MIB


@dataclass(slots=True)
class Buffers:
    """What compute buffers take, and who asked: so much of each device in use."""

    used: int = BUFFERS
    last: int = 0
    asked: list[Placement] = field(default_factory=list)

    def __call__(self, placement: Placement) -> Sequence[int]:
        self.asked.append(placement)
        moved = {e.buffer for e in placement.exceptions}
        holding = [i for i, n in enumerate(placement.split) if n]
        return [
            (self.used + self.last * (index in holding[-1:]))
            if n or f"Vulkan{index}" in moved
            else 0
            for index, n in enumerate(placement.split)
        ]


def planner(
    *free_mib: int,
    compute_of: Callable[[Placement], Sequence[int]] | None = None,
    machine: Machine | None = None,
    beside: Sequence[int] = (),
    **changes: Any,
) -> Planner:
    """The model on devices with so much free; the first is twice as fast."""
    if machine is None:
        machine = fake_machine([n * MIB for n in free_mib])
        first = replace(machine.devices[0], bandwidth_bytes_per_s=1000e9)
        machine = replace(machine, devices=(first, *machine.devices[1:]))
    work = replace(WORK, **changes)
    rates = rates_of(machine, FIELD_NOTES)
    return Planner(
        table=cost_table(MOE, work, machine, rates, 512),
        machine=machine,
        compute_of=compute_of or Buffers(),
        margins_bytes=(0,) * len(machine.devices),
        beside=beside,
    )


def best(found: Planner, goal: Goal = Goal.DECODE) -> Choice:
    """What has to be there."""
    choice = found.best(goal)
    assert choice is not None
    return choice


def strategy(found: Planner) -> Strategy:
    """Which strategy the best placement is."""
    return strategy_of(best(found).placement, MOE)


def held(found: Planner, placement: Placement) -> list[int]:
    """Bytes of each device, buffers included."""
    work = found.table.workload
    bare = without_compute(MOE, work, placement, found.machine)
    compute = found.compute_of(placement)
    return [d.total_bytes + n for d, n in zip(bare.devices, compute, strict=True)]


def test_devices_first_then_the_cpus_experts_then_its_layers() -> None:
    """What fits decides."""
    assert strategy(planner(WHOLE_MIB + 60, 3000)) is Strategy.ONE_GPU
    assert strategy(planner(1200, 1200)) is Strategy.LAYERS
    assert strategy(planner(800, 800)) is Strategy.EXPERTS_ON_CPU
    assert strategy(planner(120, 120)) is Strategy.LAYERS_ON_CPU


@pytest.mark.parametrize(
    "free_mib", [(2000, 2000), (1200, 1200), (900, 700), (300, 400), (150, 90)]
)
def test_the_best_fits_with_its_own_buffers(free_mib: tuple[int, ...]) -> None:
    """More of them with the output, or fewer."""
    for last in (30 * MIB, -30 * MIB):
        found = planner(*free_mib, compute_of=Buffers(last=last))
        needs = held(found, best(found).placement)

        assert all(
            n <= device.free_bytes
            for n, device in zip(needs, found.machine.devices, strict=True)
        )


def test_the_faster_device_is_full() -> None:
    """One more layer would not fit there."""
    found = planner(1200, 1200)
    needs = held(found, best(found).placement)

    assert 1200 * MIB - needs[0] < 222 * MIB
    assert best(found).gap == 0


def test_experts_leave_matrix_by_matrix() -> None:
    """No whole layer's worth of room is left."""
    found = planner(800, 800)
    placement = best(found).placement
    left = [800 * MIB - n for n in held(found, placement)]

    assert {e.buffer for e in placement.exceptions} >= {"CPU"}
    assert max(left) < 67 * MIB


def test_too_little_for_anything_is_no_choice() -> None:
    """Where the devices compute for the CPU even with nothing on them."""
    found = planner(10, 10, compute_of=lambda _: [BUFFERS, 0])

    assert found.best(Goal.DECODE) is None
    short = found.shortfall()
    assert short is not None
    assert found.with_more(0, short).with_more(1, short).best(Goal.DECODE) is not None


def test_what_is_missing_is_said_to_some_mib() -> None:
    """So much more on each device, and something would fit."""
    found = planner(400, compute_of=lambda _: [500 * MIB])
    short = found.shortfall()

    assert found.best(Goal.DECODE) is None
    assert short is not None
    assert 100 * MIB <= short <= 100 * MIB + SHORT_BYTES


def test_margins_stay_free() -> None:
    """On each device that holds anything."""
    found = replace(planner(1300, 1300), margins_bytes=(200 * MIB, 100 * MIB))
    needs = held(found, best(found).placement)

    assert needs[0] <= 1100 * MIB
    assert needs[1] <= 1200 * MIB


def test_overhead_stays_free() -> None:
    """What a backend takes beside the engine's buffers."""
    free = fake_machine([1300 * MIB, 1300 * MIB])
    lazy = tuple(replace(d, overhead_bytes=250 * MIB) for d in free.devices)
    found = planner(machine=replace(free, devices=lazy))

    assert max(held(found, best(found).placement)) <= 1050 * MIB


def test_more_memory_on_a_device_is_a_smaller_margin() -> None:
    """One device has it, and the answer is no worse."""
    found = planner(800, 800)
    more = found.with_more(1, 300 * MIB)

    assert more.margins_bytes == (0, -300 * MIB)
    assert best(more).cost < best(found).cost


def test_what_is_beside_each_slot_counts() -> None:
    """A draft that follows the split, for example."""
    beside = (*(100 * MIB,) * 8, 0)
    found = planner(WHOLE_MIB + 60, WHOLE_MIB + 60, beside=beside)
    needs = held(found, best(found).placement)
    slots = best(found).placement.split

    assert min(slots) > 0
    for n, own, device in zip(needs, slots, found.machine.devices, strict=True):
        assert n + 100 * MIB * min(own, 8) <= device.free_bytes + 100 * MIB


def test_one_device_alone_takes_no_other() -> None:
    """-sm none, though the other has room."""
    found = planner(3000, 900)
    choice = found.best(Goal.DECODE, device=1)

    assert choice is not None
    assert choice.placement.main_gpu == 1
    assert choice.placement.split[0] == 0
    assert {e.buffer for e in choice.placement.exceptions} == {"CPU"}


def test_all_on_one_device_is_all_or_nothing() -> None:
    """By what it has free."""
    found = planner(WHOLE_MIB + 50, WHOLE_MIB + 49)
    whole = found.whole_on(Goal.DECODE, 0)

    assert whole is not None
    assert whole.placement.split == (9, 0)
    assert found.whole_on(Goal.DECODE, 1) is None


def test_an_answer_is_asked_for_its_buffers_until_they_agree() -> None:
    """Once for the first guess, and no more than some rounds."""
    buffers = Buffers(last=100 * MIB)
    best(planner(800, 800, compute_of=buffers))

    assert 2 <= len(buffers.asked) <= ROUNDS + 1


def test_what_buffers_take_is_remembered() -> None:
    """Unless it is asked afresh."""
    buffers = Buffers()
    found = planner(800, 800, compute_of=buffers)
    counts = []
    for one in (found, found, found.afresh()):
        buffers.asked.clear()
        best(one)
        counts.append(len(buffers.asked))

    assert counts[1] < counts[0] == counts[2]


def test_buffers_that_grow_with_the_answer_still_fit() -> None:
    """As many MiB as a device has slots, ten times over."""

    def grow(placement: Placement) -> list[int]:
        return [10 * MIB * n for n in placement.split]

    found = planner(800, 800, compute_of=grow)

    assert max(held(found, best(found).placement)) <= 800 * MIB


def copies(n_bytes: int) -> Callable[[Placement], Sequence[int]]:
    """Buffers that are so much larger where batches overlap."""

    def buffers(placement: Placement) -> list[int]:
        overlaps = min(placement.split) > 0 and not placement.overridden
        return [BUFFERS + n_bytes * overlaps] * 2

    return buffers


@pytest.mark.parametrize("goal", Goal)
def test_batches_overlap_where_it_costs_nothing(goal: Goal) -> None:
    """Over devices that hold the model only together."""
    found = planner(1200, 1200, compute_of=copies(0), batch=2048)
    placement = best(found, goal).placement

    assert not placement.overridden
    assert min(placement.split) > 0


def test_they_do_not_where_the_faster_device_would_hold_less() -> None:
    """An -ot that matches nothing keeps the engine from filling the margin."""
    found = planner(1300, 1300, compute_of=copies(100 * MIB), batch=2048)
    placement = best(replace(found, margins_bytes=(100 * MIB, 100 * MIB))).placement

    assert placement.unpipelined
    assert not placement.exceptions


def test_they_do_all_the_same_where_reading_counts() -> None:
    """Half of the model is read at a time."""
    found = planner(1200, 1200, compute_of=copies(100 * MIB), batch=2048)
    reading = replace(found, table=without_decode(found.table))

    assert not best(reading, Goal.PREFILL).placement.overridden


def without_decode(table: CostTable) -> CostTable:
    """On devices whose arithmetic is so slow that only prompts count."""
    homes = tuple(replace(home, flops_per_s=1e11) for home in table.rates.homes)
    return replace(table, rates=replace(table.rates, homes=homes))


def test_one_batch_has_nothing_to_overlap() -> None:
    """The -ot is needed all the same: the engine would take the buffers."""
    placement = best(planner(1200, 1200), Goal.PREFILL).placement

    assert placement.overridden


def test_what_the_engine_gives_up_itself_needs_no_override() -> None:
    """Its buffers do not fit then: it starts again without."""
    found = planner(1200, 1200, compute_of=copies(900 * MIB), batch=2048)
    placement = best(found).placement

    assert not placement.unpipelined
    assert min(placement.split) > 0


def test_what_the_engine_gives_up_is_not_taken_for_overlapping() -> None:
    """A layer more on a device a hundredth faster is not worth half of the reading."""
    machine = fake_machine([1170 * MIB, 1150 * MIB])
    first = replace(machine.devices[0], bandwidth_bytes_per_s=505e9)
    machine = replace(machine, devices=(first, machine.devices[1]))
    found = planner(machine=machine, compute_of=copies(150 * MIB), batch=2048)
    choice = best(found)

    assert choice.overlaps
    assert choice.placement.split == (4, 5)
    assert found.compute_of(choice.placement) == [BUFFERS + 150 * MIB] * 2


def test_a_device_afar_may_be_worse_than_the_cpu() -> None:
    """All rules are tried then, and the best of them is the answer."""
    free = fake_machine([3000 * MIB], backend="RPC")
    far = replace(free.devices[0], network_bytes_per_s=1e6, network_latency_s=0.1)
    found = planner(machine=replace(free, devices=(far,)), compute_of=lambda _: [0])

    assert found.whole_on(Goal.DECODE, 0) is not None
    assert best(found).placement.n_gpu_layers == 0


@pytest.mark.parametrize(
    ("sizes", "n", "given"),
    [
        ((3, 1), 8, (6, 2)),
        ((1, 1, 1), 4, (1, 1, 2)),
        ((0, 5), 3, (0, 3)),
        ((0, 0), 3, (0, 3)),
    ],
)
def test_proportions_are_whole_and_complete(
    sizes: tuple[int, ...], n: int, given: tuple[int, ...]
) -> None:
    """What is left over goes to the last."""
    assert proportions(sizes, n) == given


def test_rules_are_tried_from_the_fastest_to_the_roomiest() -> None:
    """Each allows what the one before did, and more."""
    allowed = [(rules.experts_on_cpu, rules.layers_on_cpu) for rules in RULES]

    assert allowed == [(False, False), (True, False), (True, True)]
