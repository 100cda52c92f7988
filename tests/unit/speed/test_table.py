from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from placer.gguf import Tensor
from placer.placement import Placement, Workload
from placer.speed import FIELD_NOTES, CostTable, cost_table, rates_of
from placer.speed.table import (
    ACTIVATION_BYTES,
    NODES_OF_STATE,
    NODES_PER_TENSOR,
    OFFLOADED_HOPS,
    groups_of,
)
from placer.testing.fake_shapes import FakeLayer, fake_machine, fake_shape
from placer.units import GIB, KIB

if TYPE_CHECKING:
    from placer.model import ModelShape

# Two layers of 1 + 1000 KiB, 3000 KiB of experts in the second: 2 of 8 are visited.
LAYERS = [FakeLayer(dense_kib=1000), FakeLayer(dense_kib=1000, expert_kib=3000)]
SHAPE = fake_shape(LAYERS, output_kib=500)
MACHINE = fake_machine([GIB, GIB])
RATES = rates_of(MACHINE, FIELD_NOTES)
WORK = Workload(ctx=4096, parallel=1, kv_unified=False, batch=512, ubatch=512)
DEVICE, CPU, OUTPUT = 0, 2, 2
NODE_S = FIELD_NOTES.node_s
BYTES_PER_S = RATES.homes[DEVICE].bytes_per_s


def table(shape: ModelShape = SHAPE, depth: int = 0, **changes: Any) -> CostTable:
    """The costs, under some changes of the workload."""
    return cost_table(shape, replace(WORK, **changes), MACHINE, RATES, depth)


def test_a_token_reads_all_of_a_slot_but_its_experts() -> None:
    """And starts some operations for each tensor, those of the experts too."""
    found = table()
    reads_s = 1001 * KIB / BYTES_PER_S

    assert found.slot(0, DEVICE).decode_s == pytest.approx(
        2 * NODES_PER_TENSOR * NODE_S + reads_s
    )
    assert found.slot(1, DEVICE).decode_s == pytest.approx(
        5 * NODES_PER_TENSOR * NODE_S + reads_s
    )


def test_a_token_visits_some_of_the_experts() -> None:
    """Two of eight, on the device or on the slower CPU."""
    found = table()
    n_bytes = 1000 * KIB * 2 / 8

    assert found.group(1, 0, DEVICE).decode_s == pytest.approx(n_bytes / BYTES_PER_S)
    assert found.group(1, 0, CPU).decode_s == pytest.approx(
        n_bytes / RATES.homes[CPU].bytes_per_s
    )


def test_a_batch_visits_nearly_all_of_them() -> None:
    """A few tokens do not: weights are read once for those that are met."""
    slow_to_read = replace(RATES.homes[DEVICE], flops_per_s=1e30)
    rates = replace(RATES, homes=(slow_to_read, *RATES.homes[1:]))
    seconds = [
        cost_table(SHAPE, replace(WORK, ubatch=n), MACHINE, rates, 0)
        .group(1, 0, DEVICE)
        .prefill_s
        for n in (1, 2, 512)
    ]
    whole_s = 1000 * KIB / BYTES_PER_S

    assert seconds == pytest.approx([whole_s / 4, whole_s * 7 / 16, whole_s])


def test_groups_come_in_the_order_of_their_use() -> None:
    """Gate, up, down, whatever order the file has; a bias with its matrix."""
    layer = SHAPE.layers[1]
    bias = replace(layer.tensors[2], name="blk.1.ffn_up_exps.bias")
    groups = groups_of(replace(layer, tensors=(*layer.tensors, bias)))

    assert [g.name for g in groups] == ["ffn_gate_exps", "ffn_up_exps", "ffn_down_exps"]
    assert [t.name for t in groups[1].tensors] == [
        "blk.1.ffn_up_exps.weight",
        "blk.1.ffn_up_exps.bias",
    ]
    assert table().groups[0] == table().groups[OUTPUT] == ()


def test_slots_of_one_kind_cost_the_same() -> None:
    """Layers with and without experts are two kinds, and the output is one."""
    assert table(fake_shape(LAYERS * 2)).kinds == (0, 1, 0, 1, 2)


def context_s(shape: ModelShape, depth: int, **changes: Any) -> float:
    """What the cache of the first layer costs a token at a depth."""
    deep, empty = table(shape, depth, **changes), table(shape, 0, **changes)
    return deep.slot(0, DEVICE).decode_s - empty.slot(0, DEVICE).decode_s


def test_a_token_reads_the_cache_as_far_as_it_is_filled() -> None:
    """32 elements of two bytes for K and for V; a quantised cache is smaller."""
    row_s = 2 * 32 * 2 / BYTES_PER_S

    assert context_s(SHAPE, 1000) == pytest.approx(1000 * row_s, rel=1e-6)
    assert context_s(SHAPE, 4096) == pytest.approx(4096 * row_s, rel=1e-6)
    assert context_s(SHAPE, 1000, type_k="q8_0", type_v="q8_0") < 0.6 * 1000 * row_s


def test_a_window_is_read_no_further_than_it_reaches() -> None:
    """128 tokens, however many are behind them."""
    shape = fake_shape([FakeLayer(is_swa=True), FakeLayer()])
    window_s = context_s(shape, 128)

    assert window_s > 0
    assert context_s(shape, 4000) == pytest.approx(window_s)


def test_a_state_is_read_and_written_at_any_depth() -> None:
    """It is not a cache, and starts more operations."""
    layer = replace(SHAPE.layers[0], has_kv=False, recurrent_elements=10_000)
    found = table(replace(SHAPE, layers=(layer, SHAPE.layers[1])))
    more_s = found.slot(0, DEVICE).decode_s - table().slot(0, DEVICE).decode_s

    assert more_s == pytest.approx(
        NODES_OF_STATE * NODE_S + 2 * 4 * 10_000 / BYTES_PER_S
    )


def test_a_cache_on_the_cpu_is_read_there() -> None:
    """With -nkvo, whatever device the layer is on."""
    share = BYTES_PER_S / RATES.homes[CPU].bytes_per_s

    assert context_s(SHAPE, 1000, kv_offload=False) == pytest.approx(
        share * context_s(SHAPE, 1000)
    )


def test_the_output_is_computed_for_what_is_asked() -> None:
    """A row a slot, where a layer computes all of a batch."""
    found = table()
    batch_s = found.slot(OUTPUT, CPU).prefill_s - found.slot(OUTPUT, CPU).decode_s

    assert batch_s < found.slot(0, CPU).prefill_s / 100


def test_weights_of_the_cpu_pass_the_link_for_every_batch() -> None:
    """A device computes with them; there and back for nearly each matrix."""
    found = table()
    device = RATES.homes[DEVICE]
    tensor = SHAPE.layers[0].tensors[1]
    flops = 2.0 * tensor.n_elements * 512
    moved_s = tensor.n_bytes / device.link_bytes_per_s
    once_s = found.hop(CPU, DEVICE).prefill_s

    assert found.dense(tensor, CPU).prefill_s == pytest.approx(
        moved_s + flops / (device.flops_per_s * FIELD_NOTES.dense_efficiency)
    )
    assert found.slot(0, CPU).prefill_s > OFFLOADED_HOPS * once_s
    assert found.seen_at(CPU) == DEVICE


@pytest.mark.parametrize("changes", [{"op_offload": False}, {"ubatch": 16}])
def test_without_offloading_the_cpu_computes(changes: dict[str, Any]) -> None:
    """As asked, or because a batch is too small for it."""
    found = table(**changes)
    tensor = SHAPE.layers[0].tensors[1]
    flops = 2.0 * tensor.n_elements * found.n_tokens

    assert found.offloader is None
    assert found.seen_at(CPU) == CPU
    assert found.dense(tensor, CPU).prefill_s == pytest.approx(
        max(
            tensor.n_bytes / RATES.homes[CPU].bytes_per_s,
            flops / FIELD_NOTES.host_flops_per_s,
        )
    )


def test_a_remote_device_takes_no_weights_of_the_cpu() -> None:
    """Its backend does not offload."""
    machine = fake_machine([GIB], backend="RPC")
    rates = rates_of(machine, FIELD_NOTES)

    assert cost_table(SHAPE, WORK, machine, rates, 0).offloader is None


def test_one_device_alone_takes_them() -> None:
    """It is the first that the engine has then."""
    found = table()

    assert found.of(Placement(split=(0, 3), main_gpu=1)).offloader == 1
    assert found.of(Placement(split=(2, 1))) is found


def test_the_next_layer_gets_a_row_and_experts_more_than_that() -> None:
    """A row a token; within a layer also which experts it visits."""
    found = table()
    row_s = SHAPE.n_embd * ACTIVATION_BYTES / RATES.homes[DEVICE].link_bytes_per_s

    assert found.hop(0, 1).decode_s == pytest.approx(FIELD_NOTES.device_hop_s + row_s)
    assert found.hop(0, 1).prefill_s == pytest.approx(
        FIELD_NOTES.device_hop_s + 512 * row_s
    )
    assert found.hop(1, 1) == found.hop(0, 0, torn=True)
    assert found.hop(0, 1, torn=True).decode_s == found.hop(0, 1).decode_s


def test_a_remote_device_is_told_its_part_of_a_torn_layer() -> None:
    """Each time, and each tensor that comes back is a round trip."""
    machine = fake_machine([GIB], backend="RPC")
    rates = rates_of(machine, FIELD_NOTES)
    found = cost_table(SHAPE, WORK, machine, rates, 0)
    there, back = found.hop(1, 0, torn=True), found.hop(0, 1, torn=True)

    assert there.decode_s > found.hop(1, 0).decode_s
    assert back.decode_s - found.hop(0, 1).decode_s == pytest.approx(
        rates.homes[0].hop_s
    )


def test_matrices_weigh_what_they_are_and_not_their_name() -> None:
    """Twice the bytes are read in twice the time."""
    one = SHAPE.layers[0].tensors[1]
    two = Tensor(
        name="blk.0.other.weight",
        dims=(2 * one.n_bytes,),
        type_name="I8",
        offset=0,
        n_bytes=2 * one.n_bytes,
        shard=0,
    )

    assert table().dense(two, DEVICE).decode_s == pytest.approx(
        2 * table().dense(one, DEVICE).decode_s
    )
