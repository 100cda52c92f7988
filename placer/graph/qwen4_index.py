"""Attention of Qwen4 to the blocks of cells that an index picks.

A second cache keeps a key of every cell and one of every block of them. Mirrors
build_qsa_sel and its inputs, src/models/qwen4exp.cpp:649-930 of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import (
    AttentionInput,
    Heads,
    caches,
    hadamard,
    k_view,
    mha,
    stored_k,
    stored_v,
    turned,
    v_view,
)
from placer.units import pad

if TYPE_CHECKING:
    from placer.graph.build import Build
    from placer.graph.tensor import GraphTensor

# kpool_pad, llama-memory-hybrid-idx.cpp:386
POOL_PADDING = 64
# Positions of rotations in sections.
SECTIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolInput:
    """llm_graph_input_kpool, qwen4exp.cpp:649.

    Attributes:
        k_idxs: cells that new rows of the index go to.
        cells: the cell of each pool's key.
        members: [cells of a pool, pools].
        mask: [pools, tokens].
        tail: [cells, tokens], those of no pool yet.
        new: [cells of a pool, pools made anew].
        new_cells: where their keys go.
        new_pos: where they are.
        size: cells of a pool.
        n_best: pools that a token attends to.
    """

    k_idxs: GraphTensor
    cells: GraphTensor
    members: GraphTensor
    mask: GraphTensor
    tail: GraphTensor
    new: GraphTensor
    new_cells: GraphTensor
    new_pos: GraphTensor
    size: int
    n_best: int


def pool_input(build: Build, n_kv: int) -> PoolInput | None:
    """None where the layers attend to everything."""
    ratios = build.hparams.array("attention.compress_ratios") or (0,)
    if not any(layer.index_k for layer in build.shape.layers) or not max(ratios):
        return None
    size, n = max(ratios), build.n_tokens
    n_new = max(n_kv // size * max(build.workload.parallel, 1), 1)
    n_pool = max(POOL_PADDING, pad(n_new + 1, POOL_PADDING))
    n_top = build.hparams.integer("attention.indexer.top_k", 0)
    found = PoolInput(
        k_idxs=build.input("I64", n, name="kpool_k_idxs"),
        cells=build.input("I32", n_pool, name="pool_cells"),
        members=build.input("I32", size, n_pool, name="pool_idxs"),
        mask=build.input("F16", n_pool, n, name="pool_mask"),
        tail=build.input("I32", size - 1, n, name="tail_idxs"),
        new=build.input("I32", size, n_new, name="new_pool_idxs"),
        new_cells=build.input("I64", n_new, name="new_pool_rep"),
        new_pos=build.input("I32", SECTIONS * n_new, name="new_pool_pos"),
        size=size,
        n_best=min(n_pool, n_top // size),
    )
    for x in (found.cells, found.members, found.mask, found.tail):
        build.graph.expand(x)
    return found


def attend_chosen(
    build: Build, heads: Heads, inp: AttentionInput, mask: GraphTensor, il: int
) -> GraphTensor:
    """build_attn_qsa, qwen4exp.cpp:874."""
    q, k, v = turned(heads, inp)
    if k is None or v is None:
        raise ValueError(heads)
    for x in (q, v, k):
        build.graph.expand(x)
    layer = build.shape.layers[il]
    cache_k, cache_v = caches(build, il, inp.n_kv)
    build.graph.expand(stored_k(cache_k, k, inp))
    build.graph.expand(stored_v(build, cache_v, v, inp))
    k = k_view(build, cache_k, layer.head_dim_k, layer.n_head_kv, inp.n_kv)
    v = v_view(build, cache_v, layer.head_dim_v, layer.n_head_kv, inp.n_kv)
    y = mha(build, q, (k, v), ops.reshape(mask, *inp.mask.ne), il=il)
    return y if inp.v_rot is None else hadamard(y, inp.v_rot)


def chosen_mask(
    build: Build,
    x: GraphTensor,
    inputs: tuple[AttentionInput, PoolInput, GraphTensor],
    il: int,
) -> GraphTensor:
    """build_qsa_sel, qwen4exp.cpp:741: all but the chosen cells shut.

    Args:
        build: the graph.
        x: the layer's input.
        inputs: of attention, of the pools, and positions.
        il: the layer.
    """
    full, pools, pos = inputs
    pooled = _pooled_keys(build, x, pools, full.n_kv, il)
    n, n_best, n_pool = build.n_tokens, pools.n_best, pooled.ne[2]
    n_index = build.hparams.integer("attention.indexer.head_count", 0)
    q = ops.mul_mat(build.must(il, "indexer.q_proj.weight"), x)
    q = build.layer_norm(ops.reshape(q, pooled.ne[0], n_index, n), il, "indexer.q_norm")
    q = ops.rope(q, pos)
    weights = ops.same("FILL", ops.leaf("F32", n_index, n, name="weights"))
    score = ops.lightning_indexer(q, pooled, weights, pools.mask)
    best = ops.top_k(score, n_best)
    cells = ops.get_rows(pools.members, ops.reshape(best, n_best * n))
    cells = ops.reshape(cells, pools.size * n_best, n)
    cells = ops.concat(cells, pools.tail, 0)
    build.graph.expand(cells)
    of_best = ops.get_rows(ops.reshape(score, 1, n_pool, n), best)
    live = ops.same("CLAMP", ops.scale(of_best))
    live = ops.repeat(live, pools.size, n_best, n, 1)
    live = ops.reshape(live, pools.size * n_best, n)
    tail = ops.same("CLAMP", ops.scale(ops.cast(pools.tail, "F32")))
    return _opened(full, cells, ops.concat(live, tail, 0))


def _pooled_keys(
    build: Build, x: GraphTensor, pools: PoolInput, n_kv: int, il: int
) -> GraphTensor:
    """The key of every pool, the mean of its cells': [head, 1, pools]."""
    work, n = build.workload, build.n_tokens
    head = build.hparams.integer("attention.indexer.key_length", 0)
    k = ops.mul_mat(build.must(il, "indexer.k_proj.weight"), x)
    zero = ops.same("FILL", ops.leaf("F32", head, n, name="zeros"))
    rows = ops.reshape(ops.concat(k, zero, 0), 2 * head, 1, n)
    kind = work.type_k.upper()
    cache = build.stored(il, kind, 2 * head, n_kv, work.n_stream, name="cache_idx")
    stored = AttentionInput(
        k_idxs=pools.k_idxs,
        v_idxs=None,
        mask=pools.mask,
        k_rot=None,
        v_rot=None,
        n_kv=n_kv,
    )
    build.graph.expand(stored_k(cache, rows, stored))
    n_cells, n_new = n_kv * work.n_stream, pools.new.ne[1]
    kept, keys = (ops.view(cache, (head, n_cells), (cache.nb[1],)) for _ in range(2))
    found = ops.get_rows(kept, ops.reshape(pools.new, pools.size * n_new))
    found = ops.reshape(found, head, pools.size, n_new)
    parts = [ops.view(found, (head, n_new), (found.nb[2],)) for _ in range(pools.size)]
    new = ops.cont(parts[0])
    for part in parts[1:]:
        new = ops.add(new, part)
    new = build.layer_norm(ops.scale(new), il, "indexer.k_norm")
    new = ops.rope(ops.reshape(new, head, 1, n_new), pools.new_pos)
    new = ops.reshape(new, head, n_new)
    build.graph.expand(ops.set_rows(keys, new, pools.new_cells))
    return ops.reshape(ops.get_rows(keys, pools.cells), head, 1, pools.cells.ne[0])


def _opened(inp: AttentionInput, cells: GraphTensor, live: GraphTensor) -> GraphTensor:
    """The mask with the live ones of the cells open."""
    mask, (n_sel, n) = inp.mask, cells.ne[:2]
    n_all = inp.n_kv + n_sel
    shut = ops.same("FILL", ops.leaf(mask.type_name, n_all, name="shut"))
    shut = ops.reshape(ops.repeat(shut, n_all, n, 1, 1), 1, n_all, n)
    zeros = ops.same("FILL", ops.leaf(mask.type_name, n_sel, name="zeros"))
    zeros = ops.reshape(ops.repeat(zeros, n_sel, n, 1, 1), 1, n_sel, n)
    dump = ops.scale(ops.same("CUMSUM", ops.same("FILL", live)))
    ids = ops.sub(ops.cast(cells, "F32"), dump)
    ids = ops.cast(ops.add(ops.mul(ids, live), dump), "I32")
    opened = ops.set_rows(shut, zeros, ops.reshape(ids, n_sel, n, 1))
    row = opened.nb[2]
    steps = (row, row * mask.ne[1], row * mask.ne[1] * mask.ne[2])
    return ops.add(ops.view(opened, mask.ne, steps), mask)
