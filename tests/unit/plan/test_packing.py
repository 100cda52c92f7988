from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from placer.placement import Placement, Workload
from placer.plan.goal import Worth
from placer.plan.packing import Packing, Room, Rules
from placer.plan.problem import Packed
from placer.speed import FIELD_NOTES, cost_table, rates_of
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import GIB, KIB

# A dense layer and two of experts, 1 + 9 KiB and 30 of experts; 1 + 19 of output.
SHAPE = fake_shape(
    [FakeLayer(dense_kib=9), *[FakeLayer(dense_kib=9, expert_kib=30)] * 2],
    output_kib=19,
)
# 256 cells of K and V, 32 elements of 2 bytes.
CONTEXT_KIB = 32
WORK = Workload(ctx=256, parallel=1, kv_unified=False, batch=64, ubatch=64)
MACHINE = fake_machine([GIB, GIB])
ROOM = Room(free=(GIB, GIB - 1), used=(3, 4), last=(5, 6))
DECODE, PREFILL = Worth(decode=1.0, prefill=0.0), Worth(decode=0.0, prefill=1.0)
ANYWHERE = Rules(experts_on_cpu=True, layers_on_cpu=True)
ON_DEVICES = Rules(experts_on_cpu=True, layers_on_cpu=False)


def packing(worth: Worth = DECODE, **changes: Any) -> Packing:
    """The model on two devices, under some changes of the workload."""
    rates = rates_of(MACHINE, FIELD_NOTES)
    work = replace(WORK, **changes)
    table = cost_table(SHAPE, work, MACHINE, rates, 0)
    return Packing(table=table, machine=MACHINE, worth=worth)


def placed(counts: tuple[int, ...], *homes: tuple[int, ...]) -> Placement:
    """An answer as flags, layers on the CPU allowed."""
    found = packing()
    problem = found.problem(ROOM, ANYWHERE)
    packed = Packed(counts=counts, homes=homes, cost=0, bound=0)
    return found.placement(problem, packed)


def test_the_numbers_are_bytes_with_their_context() -> None:
    """Slots without their experts, and each group of these, on every device."""
    problem = packing().problem(ROOM, ON_DEVICES)
    dense, mixed, output = problem.kinds

    assert problem.slots == (0, 1, 1, 2)
    assert dense.n_bytes == mixed.n_bytes == ((10 + CONTEXT_KIB) * KIB,) * 2
    assert output.n_bytes == (20 * KIB,) * 2
    assert dense.groups == output.groups == ()
    assert [g.n_bytes for g in mixed.groups] == [(10 * KIB,) * 2] * 3
    assert Room(free=problem.capacity, used=problem.used, last=problem.last) == ROOM
    assert problem.experts_on_cpu
    assert not problem.layers_on_cpu


def test_a_cache_on_the_cpu_takes_nothing_of_a_device() -> None:
    """With -nkvo."""
    problem = packing(kv_offload=False).problem(ROOM, ON_DEVICES)

    assert problem.kinds[0].n_bytes == (10 * KIB,) * 2


def test_what_is_beside_a_slot_follows_it() -> None:
    """A draft's layers, for example; slots that differ in it are no kind."""
    beside = replace(packing(), beside=(0, 0, 7 * KIB, 1 * KIB))
    problem = beside.problem(ROOM, ON_DEVICES)

    assert problem.slots == (0, 1, 2, 3)
    assert problem.kinds[2].n_bytes[0] - problem.kinds[1].n_bytes[0] == 7 * KIB
    assert problem.kinds[3].n_bytes == (21 * KIB,) * 2


def test_costs_are_the_tables_weighed() -> None:
    """A token that is written, or one of a batch that is read."""
    found, table = packing(), packing().table
    decode = found.problem(ROOM, ON_DEVICES)
    prefill = packing(PREFILL).problem(ROOM, ON_DEVICES)

    for home in range(3):
        times = table.slot(1, home), table.group(1, 2, home)
        kinds = decode.kinds[1], prefill.kinds[1]
        assert kinds[0].cost[home] == pytest.approx(times[0].decode_s)
        assert kinds[1].cost[home] == pytest.approx(times[0].prefill_s / 64)
        assert kinds[0].groups[2].cost[home] == pytest.approx(times[1].decode_s)
        assert kinds[1].groups[2].cost[home] == pytest.approx(times[1].prefill_s / 64)


def test_hops_are_weighed_too() -> None:
    """No prompt goes to the CPU whose weights a device takes."""
    decode = packing().problem(ROOM, ON_DEVICES)
    prefill = packing(PREFILL).problem(ROOM, ON_DEVICES)

    assert decode.hop[0][2] > decode.hop[0][1] > decode.hop[0][0] == 0
    assert prefill.hop[0][2] == 0
    assert decode.torn[0][2] >= decode.hop[0][2]


@pytest.mark.parametrize("n", [1, 2, 4])
def test_of_overlapping_batches_a_part_waits_for_the_slowest(n: int) -> None:
    """The first passes all devices, the others one of them."""
    one = packing(PREFILL).problem(ROOM, ON_DEVICES)
    many = replace(packing(PREFILL), in_flight=n)
    summed, pace = (p.problem(ROOM, ON_DEVICES) for p in (many, many.pace()))

    assert summed.kinds[0].cost[0] == pytest.approx(one.kinds[0].cost[0] / n)
    assert pace.kinds[0].cost[0] == pytest.approx(one.kinds[0].cost[0] * (n - 1) / n)


def test_writing_never_overlaps() -> None:
    """Only the sum counts."""
    many = replace(packing(DECODE), in_flight=4)

    assert many.problem(ROOM, ON_DEVICES).kinds == (
        packing(DECODE).problem(ROOM, ON_DEVICES).kinds
    )
    assert set(many.pace().problem(ROOM, ON_DEVICES).kinds[0].cost) == {0}


def test_what_has_to_be_somewhere_is_counted() -> None:
    """All but the experts, with the context; and the experts."""
    least = packing().least_bytes

    assert least.dense == (3 * (10 + CONTEXT_KIB) + 20) * KIB
    assert least.experts == 2 * 30 * KIB


def test_an_answer_is_a_split_and_its_exceptions() -> None:
    """-ts counts devices only; what is at home is no exception."""
    found = placed((0, 2, 2), (), (0, 2, 0), (1, 1, 0), ())
    exceptions = {(e.tensor, e.buffer) for e in found.exceptions}

    assert found.split == (2, 2)
    assert found.main_gpu is None
    assert exceptions == {
        ("blk.1.ffn_up_exps.weight", "CPU"),
        ("blk.2.ffn_down_exps.weight", "Vulkan0"),
    }


def test_layers_on_the_cpu_are_what_is_left_of_the_split() -> None:
    """-ngl is lower then, and their experts are no exceptions."""
    found = placed((2, 1, 1), (), (2, 2, 2), (0, 0, 0), ())

    assert (found.split, found.n_gpu_layers) == ((1, 1), 2)
    assert found.exceptions == frozenset()


def test_one_device_that_does_it_alone_is_the_only_one() -> None:
    """-sm none -mg, with or without experts on the CPU."""
    whole = placed((0, 0, 4), (), (1, 1, 1), (1, 1, 1), ())
    away = placed((0, 4, 0), (), (0, 0, 0), (2, 2, 2), ())
    shared = placed((0, 4, 0), (), (0, 0, 0), (1, 0, 0), ())
    none = placed((4, 0, 0), (), (2, 2, 2), (2, 2, 2), ())

    assert (whole.main_gpu, away.main_gpu) == (1, 0)
    assert shared.main_gpu is none.main_gpu is None
    assert none.n_gpu_layers == 0
