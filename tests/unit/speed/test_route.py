from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import pytest

from placer.machine.files import load_machine
from placer.placement import Workload
from placer.speed import FIELD_NOTES, CostTable, cost_table, rates_of
from placer.speed.route import homes_of_tensors, hop, hops, layer_route
from placer.speed.times import Times
from placer.testing.accuracy.models import big_models

if TYPE_CHECKING:
    from placer.gguf import Tensor

MACHINE = load_machine("desktop-4090-5070-ti")
RATES = rates_of(MACHINE, FIELD_NOTES)
WORK = Workload(ctx=4096, parallel=1, kv_unified=False, batch=512, ubatch=512)
# The layer is on the first device.
HOME, OTHER, CPU = 0, 1, 2
LAYER = 5


def table(name: str = "GLM-4.7-Flash-Q4_K_M", **changes: Any) -> CostTable:
    """A published model on the desktop."""
    shape = next(m for m in big_models() if m.name == name).shape()
    return cost_table(shape, replace(WORK, **changes), MACHINE, RATES, 0)


def route(found: CostTable, **homes: int) -> list[int]:
    """The homes that a layer visits, its tensors elsewhere by a part of their names."""

    def home_of(tensor: Tensor) -> int:
        parts = {part: home for part, home in homes.items() if part in tensor.name}
        return parts[max(parts, key=len)] if parts else HOME

    visited = layer_route(found, LAYER, HOME, home_of)
    return [home for home, _ in groupby(visited)]


def test_a_layer_that_is_all_there_goes_nowhere() -> None:
    """One home from end to end."""
    assert route(table()) == [HOME]


@pytest.mark.parametrize(
    ("moved", "visited"),
    [
        ({"exps": CPU}, [HOME, CPU, HOME]),
        ({"gate_exps": CPU}, [HOME, CPU, HOME]),
        ({"gate_exps": CPU, "up_exps": CPU}, [HOME, CPU, HOME]),
        ({"gate_exps": CPU, "down_exps": CPU}, [HOME, CPU, HOME, CPU, HOME]),
        ({"up_exps": OTHER, "down_exps": CPU}, [HOME, OTHER, CPU, HOME]),
        ({"gate_exps": OTHER, "up_exps": CPU}, [HOME, OTHER, CPU, HOME]),
    ],
)
def test_experts_are_visited_matrix_by_matrix(
    moved: dict[str, int], visited: list[int]
) -> None:
    """Gate, up and down, in this order and not in that of the file."""
    assert route(table(), **moved) == visited


def test_shared_experts_come_behind_the_routed() -> None:
    """Where they are elsewhere, they are a visit of their own."""
    assert route(table(), gate_exps=CPU, shexp=OTHER) == [HOME, CPU, HOME, OTHER, HOME]


def test_a_layer_whose_weights_moved_comes_back_for_its_cache() -> None:
    """What a misaligned -ot costs: the sums are with the weights, the cache is not."""
    everything = {"blk": OTHER}

    assert route(table(), **everything) == [OTHER, HOME, OTHER]


def test_a_cache_on_the_cpu_is_a_visit() -> None:
    """With -nkvo, in each layer."""
    assert route(table(kv_offload=False)) == [HOME, CPU, HOME]


def test_attentions_output_comes_behind_its_cache() -> None:
    """As the last of its weights."""
    found = table("Qwen3-235B-A22B")

    assert route(found, attn_output=OTHER) == [HOME, OTHER, HOME]
    assert route(found, attn_k=OTHER) == [HOME, OTHER, HOME]
    assert route(found, attn_k=OTHER, attn_output=OTHER) == [
        *(HOME, OTHER, HOME, OTHER, HOME)
    ]


def test_a_way_is_the_sum_of_its_changes() -> None:
    """Staying costs nothing; each change costs what it costs within a layer."""
    found = table()
    there, back = (hop(found, *ends, torn=True) for ends in ((0, 1), (1, 0)))

    assert hops(found, [HOME, HOME]) == Times()
    assert hops(found, [HOME, OTHER, OTHER, HOME]) == there + back


def test_a_prompt_does_not_go_to_the_cpu_where_a_device_takes_its_weights() -> None:
    """A token does."""
    found = table()

    assert hop(found, HOME, CPU).prefill_s == 0
    assert hop(found, HOME, CPU).decode_s > FIELD_NOTES.host_hop_s
    assert hop(found, OTHER, CPU).prefill_s == hop(found, OTHER, HOME).prefill_s
    assert hop(table(op_offload=False), HOME, CPU).prefill_s > FIELD_NOTES.host_hop_s


def test_a_buffer_is_a_home() -> None:
    """The devices in order, the CPU behind them."""
    found = homes_of_tensors({"a": "CPU", "b": "CUDA1"}, MACHINE.buffer_types)

    assert found == {"a": CPU, "b": OTHER}
