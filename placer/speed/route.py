"""Which homes a token visits on its way through a layer, and what the changes cost.

Operations run where their weights are, attention where the cache is. Every change of
the home is a graph split: the engine copies what crosses, and waits for it.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING

from placer.model.shape import is_expert
from placer.speed.times import Times

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from placer.gguf import Tensor
    from placer.speed.table import CostTable

# What comes behind attention, or behind the state that stands in its place.
BEHIND_CACHE = ("attn_output", "attn_out", "ssm_out", "attn_o.", "time_mix_output")
CACHE, BEHIND, ROUTER, EXPERTS, SHARED = range(1, 6)


def hops(table: CostTable, homes: Sequence[int]) -> Times:
    """What it takes to visit homes one after the other, within a layer.

    A batch with weights of the CPU may be computed on a device, and does not go there.
    """
    total = Times()
    for a, b in pairwise(homes):
        total += hop(table, a, b, torn=True)
    return total


def hop(table: CostTable, a: int, b: int, *, torn: bool = False) -> Times:
    """From one home to the next, between two layers or within one."""
    seen = table.hop(table.seen_at(a), table.seen_at(b), torn=torn)
    decode_s = table.hop(a, b, torn=torn).decode_s
    return Times(decode_s=decode_s, prefill_s=seen.prefill_s)


def layer_route(
    table: CostTable, slot: int, home: int, home_of: Callable[[Tensor], int]
) -> list[int]:
    """The homes of a layer's matrices in the order of their use.

    It begins and ends where the layer's dense matrices are, which is where its sums
    and norms run.

    Args:
        table: the model.
        slot: of the layer.
        home: of the layer by ``-ts``, and so of its cache.
        home_of: of each tensor.
    """
    layer = table.shape.layers[slot]
    matrices = [t for t in layer.tensors if len(t.dims) > 1]
    steps = [(_rank(table, slot, t), home_of(t)) for t in matrices]
    if layer.has_kv:
        at = home if table.workload.kv_offload else table.rates.cpu
        steps.append(((CACHE, 0), at))
    seat = _seat(matrices, home, home_of)
    visited = [home for _, home in sorted(steps, key=lambda step: step[0])]
    return [seat, *visited, seat]


def _seat(
    matrices: Sequence[Tensor], home: int, home_of: Callable[[Tensor], int]
) -> int:
    """Where most of the dense matrices are."""
    weighed: Counter[int] = Counter()
    for tensor in matrices:
        if not is_expert(tensor.name):
            weighed[home_of(tensor)] += tensor.n_bytes
    return weighed.most_common(1)[0][0] if weighed else home


def _rank(table: CostTable, slot: int, tensor: Tensor) -> tuple[int, int]:
    """When a layer's matrix is used."""
    stem = tensor.name.split(".", 2)[-1]
    if is_expert(tensor.name):
        names = [group.name for group in table.groups[slot]]
        return EXPERTS, names.index(tensor.name.split(".")[2])
    if "shexp" in stem:
        return SHARED, 0
    if stem.startswith("ffn_"):
        return ROUTER, 0
    return (BEHIND, 0) if stem.startswith(BEHIND_CACHE) else (0, 0)


def homes_of_tensors(
    exceptions: Mapping[str, str], buffers: Sequence[str]
) -> dict[str, int]:
    """The homes of the tensors that do not follow their layer."""
    index = {name: at for at, name in enumerate(buffers)}
    return {tensor: index[buffer] for tensor, buffer in exceptions.items()}
