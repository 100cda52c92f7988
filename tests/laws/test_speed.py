"""The speed model: faster machines, what the packer sums up, and where it hops."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placer.machine.files import load_machine
from placer.memory import estimate_memory
from placer.placement import Placement, TensorException, Workload
from placer.plan import Goal
from placer.plan.goal import Worth
from placer.plan.packing import Packing, Room, Rules
from placer.plan.problem import Packed, Problem, cost_of, slot_homes
from placer.speed import (
    FIELD_NOTES,
    CostTable,
    Rates,
    cost_table,
    predict,
    rates_of,
)
from placer.speed.predict import _slot_route, batches_in_flight, spent
from placer.speed.route import homes_of_tensors
from placer.testing.accuracy.models import big_models

if TYPE_CHECKING:
    from placer.model import ModelShape

MACHINE = load_machine("desktop-4090-5070-ti")
AFAR = replace(
    MACHINE,
    devices=(
        replace(
            MACHINE.devices[0],
            name="RPC0",
            buffer_type="RPC0",
            network_bytes_per_s=1e9,
            network_latency_s=1e-4,
        ),
        MACHINE.devices[1],
    ),
)
WORK = Workload(ctx=8192, parallel=1, kv_unified=False, batch=512, ubatch=512)
DEPTH = 2048
MODELS = (
    "Qwen3-235B-A22B",
    "GLM-4.7-Flash-Q4_K_M",
    "gpt-oss-120b-F16",
    "Mixtral-8x7B",
)
MOST_BYTES = 1 << 60
SAME = 1e-12
ROOM = Room(free=(MOST_BYTES,) * 2, used=(0, 0), last=(0, 0))
ANYWHERE = Rules(experts_on_cpu=True, layers_on_cpu=True)
WHOLE = Rules(experts_on_cpu=False, layers_on_cpu=False)


@cache
def shapes() -> dict[str, ModelShape]:
    """The models whose experts are moved."""
    return {m.name: m.shape() for m in big_models() if m.name in MODELS}


def table_of(shape: ModelShape, rates: Rates, workload: Workload = WORK) -> CostTable:
    """The costs on the desktop."""
    return cost_table(shape, workload, MACHINE, rates, DEPTH)


NOTES = rates_of(MACHINE, FIELD_NOTES)


@st.composite
def packed_in(draw: st.DrawFn, problem: Problem, *, whole: bool = False) -> Packed:
    """Any placement that the packer may answer; with ``whole`` no layer on the CPU."""
    n = len(problem.slots)
    on_cpu = 0 if whole else draw(st.integers(0, n))
    first = draw(st.integers(0, n - on_cpu))
    counts = (on_cpu, first, n - on_cpu - first)
    torn = draw(st.sets(st.integers(0, n - 1), max_size=12) | st.just(set(range(n))))
    homes: list[tuple[int, ...]] = []
    for slot, home in enumerate(slot_homes(problem, counts)):
        n_groups = len(problem.kinds[problem.slots[slot]].groups)
        choice = st.tuples(*[st.integers(0, 2)] * n_groups)
        is_torn = slot in torn and home != problem.cpu
        homes.append(draw(choice) if is_torn else (home,) * n_groups)
    return Packed(counts=counts, homes=tuple(homes), cost=0.0, bound=0.0)


@st.composite
def cases(
    draw: st.DrawFn, *, worth: Worth, is_afar: bool = False
) -> tuple[Packing, Problem, Packed]:
    """A model on the desktop, as the packer sees it, and an answer that it may give."""
    machine = AFAR if is_afar else MACHINE
    shape = shapes()[draw(st.sampled_from(MODELS))]
    rates = rates_of(machine, FIELD_NOTES)
    table = cost_table(shape, WORK, machine, rates, DEPTH)
    packing = Packing(table=table, machine=machine, worth=worth)
    problem = packing.problem(ROOM, ANYWHERE)
    return packing, problem, draw(packed_in(problem))


def placed_cost(problem: Problem, packed: Packed) -> float:
    """What the packer's numbers add up to."""
    return cost_of(problem, slot_homes(problem, packed.counts), packed.homes)


DECODE = Worth(decode=1.0, prefill=0.0)


@settings(max_examples=150)
@given(st.booleans().flatmap(lambda afar: cases(worth=DECODE, is_afar=afar)))
def test_the_packer_sums_up_what_is_predicted(
    case: tuple[Packing, Problem, Packed],
) -> None:
    """Seconds of a token, a remote device or none among the two."""
    packing, problem, packed = case
    placement = packing.placement(problem, packed)
    used = spent(packing.table, placement, packing.machine)

    assert used.total.decode_s == pytest.approx(placed_cost(problem, packed))


@settings(max_examples=60)
@given(st.sampled_from(Goal).flatmap(lambda goal: cases(worth=goal.worth)))
def test_so_it_does_for_prompts_over_two_devices(
    case: tuple[Packing, Problem, Packed],
) -> None:
    """Whatever the goal makes of both."""
    packing, problem, packed = case
    placement = packing.placement(problem, packed)
    if placement.main_gpu is not None:
        return
    used = spent(packing.table, placement, packing.machine).total
    worth, n = packing.worth, packing.table.n_tokens

    assert worth.decode * used.decode_s + worth.prefill * used.prefill_s / n == (
        pytest.approx(placed_cost(problem, packed))
    )


@settings(max_examples=60)
@given(
    st.sampled_from(MODELS),
    st.sampled_from(Goal),
    st.data(),
    st.sampled_from([1, 2, 8]),
)
def test_and_where_batches_overlap(
    name: str, goal: Goal, data: st.DataObject, batches: int
) -> None:
    """The sum and what only the slowest device adds to it."""
    work = replace(WORK, batch=512 * batches)
    table = table_of(shapes()[name], NOTES, work)
    n = min(batches_in_flight(table), 4)
    packing = Packing(table=table, machine=MACHINE, worth=goal.worth, in_flight=n)
    problem, pace = packing.problem(ROOM, WHOLE), packing.pace().problem(ROOM, WHOLE)
    slots = len(problem.slots)
    first = data.draw(st.integers(1, slots - 1))
    homes = [0] * first + [1] * (slots - first)
    own = tuple(
        (home,) * len(problem.kinds[kind].groups)
        for kind, home in zip(problem.slots, homes, strict=True)
    )
    waits = [0.0, 0.0]
    for kind, home in zip(pace.slots, homes, strict=True):
        groups = pace.kinds[kind].groups
        waits[home] += pace.kinds[kind].cost[home] + sum(g.cost[home] for g in groups)
    speed = predict(
        table, Placement(split=(first, slots - first)), MACHINE, pipelined=True
    )
    predicted = goal.worth.decode / speed.decode.mid
    predicted += goal.worth.prefill / speed.prefill.mid

    assert predicted == pytest.approx(cost_of(problem, homes, own) + max(waits))


@st.composite
def faster(draw: st.DrawFn) -> Rates:
    """The desktop with more bandwidth somewhere, or with less to wait for."""
    if draw(st.booleans()):
        homes = list(NOTES.homes)
        index, times = draw(st.integers(0, 2)), draw(st.floats(1.0, 4.0))
        speed = times * homes[index].bytes_per_s
        homes[index] = replace(homes[index], bytes_per_s=speed)
        return replace(NOTES, homes=tuple(homes))
    name = draw(st.sampled_from(["device_hop_s", "host_hop_s", "node_s"]))
    wait_s = draw(st.floats(0.0, 1.0)) * getattr(FIELD_NOTES, name)
    return rates_of(MACHINE, replace(FIELD_NOTES, **{name: wait_s}))


@settings(max_examples=150)
@given(case=cases(worth=DECODE), rates=faster(), overlaps=st.booleans())
def test_a_faster_machine_is_never_slower(
    case: tuple[Packing, Problem, Packed], rates: Rates, *, overlaps: bool
) -> None:
    """More bandwidth of a device or of the CPU; or less of what is waited for."""
    packing, problem, packed = case
    placement = packing.placement(problem, packed)
    pipelined = overlaps and not placement.exceptions
    slow, fast = (
        predict(
            table_of(packing.table.shape, some), placement, MACHINE, pipelined=pipelined
        )
        for some in (NOTES, rates)
    )
    assert fast.decode.mid >= slow.decode.mid * (1 - SAME)
    assert fast.prefill.mid >= slow.prefill.mid * (1 - SAME)


def n_changes(table: CostTable, placement: Placement) -> int:
    """How often a token changes its home, from the CPU and back to it."""
    cpu = table.rates.cpu
    moved = homes_of_tensors(
        {e.tensor: e.buffer for e in placement.exceptions}, MACHINE.buffer_types
    )
    route = [cpu]
    for slot, device in enumerate(placement.slot_devices(table.shape.n_slots)):
        route += _slot_route(table, slot, cpu if device is None else device, moved)
    return sum(a != b for a, b in pairwise([*route, cpu]))


def without_torn_ends(placement: Placement, table: CostTable) -> Placement:
    """The same, the experts of each device's last layer at home."""
    homes = placement.slot_devices(table.shape.n_slots)
    layers = table.shape.layers
    ends = {
        tensor.name
        for layer in layers
        for tensor in layer.tensors
        if layer is layers[-1] or homes[layer.index] != homes[layer.index + 1]
    }
    kept = frozenset(e for e in placement.exceptions if e.tensor not in ends)
    return replace(placement, exceptions=kept)


def splits_less_changes(
    name: str, data: st.DataObject, workload: Workload, *, whole: bool
) -> int:
    """Splits of the decode graph less changes of the home, of some placement."""
    shape = shapes()[name]
    table = table_of(shape, NOTES, workload)
    packing = Packing(table=table, machine=MACHINE, worth=DECODE)
    problem = packing.problem(ROOM, ANYWHERE)
    packed = data.draw(packed_in(problem, whole=whole))
    placement = without_torn_ends(packing.placement(problem, packed), table)
    found = estimate_memory(shape, workload, placement, MACHINE)
    assert found.graph_splits is not None
    if not placement.n_gpu_layers:
        # All on the CPU is one graph.
        return found.graph_splits[1] - 1
    return found.graph_splits[1] - n_changes(table, placement)


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=12)
@given(data=st.data())
def test_each_change_of_the_home_is_a_split_of_the_graph(
    name: str, data: st.DataObject
) -> None:
    """With no constant beside: the inputs are the CPU's, and so is what is sampled."""
    work = replace(WORK, flash_attn="on")
    assert splits_less_changes(name, data, work, whole=True) == 0


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=8)
@given(data=st.data())
def test_so_it_is_with_layers_on_the_cpu(name: str, data: st.DataObject) -> None:
    """Where no device takes operations of theirs."""
    work = replace(WORK, flash_attn="on", op_offload=False)
    assert splits_less_changes(name, data, work, whole=False) == 0


@pytest.mark.parametrize("name", MODELS)
def test_experts_that_leave_the_last_layer_of_a_device_save_two_at_most(
    name: str,
) -> None:
    """What follows them runs where they are, or where the next layer is."""
    shape = shapes()[name]
    table = table_of(shape, NOTES)
    last = shape.n_slots // 2 - 1
    found: Counter[int] = Counter()
    for group in table.groups[last]:
        for buffer in ("CUDA1", "CPU"):
            away = frozenset(
                TensorException(tensor=t.name, buffer=buffer) for t in group.tensors
            )
            placement = Placement(
                split=(last + 1, shape.n_slots - last - 1), exceptions=away
            )
            splits = estimate_memory(shape, WORK, placement, MACHINE).graph_splits
            assert splits is not None
            found[n_changes(table, placement) - splits[1]] += 1

    assert set(found) <= {0, 1, 2}
    assert found[0] >= 4
