"""Attention to the few blocks of positions that an index picks: MiniMax-M3.

Mirrors src/models/minimax-m3.cpp of llama.cpp build 11434. While the engine reserves
its cache is empty, so the position axis is as short as it gets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.gguf import type_size
from placer.graph import ops
from placer.graph.attention import (
    AttentionInput,
    Heads,
    attend,
    caches,
    hadamard,
    k_view,
    n_streams,
    stored_k,
    stored_v,
    turned,
    v_view,
)
from placer.graph.experts import experts, ffn
from placer.graph.mla import latent_input
from placer.graph.recipe import Recipe, routing
from placer.graph.standard import qkv
from placer.units import pad

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor

RECIPE = Recipe(gating=None, norm_experts=None, expert_activation="swiglu_oai")
# Positions of an empty cache: get_n_pos, llama-kv-cache-msa.cpp:262.
EMPTY_POSITIONS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockInput:
    """llm_graph_input_msa, minimax-m3.cpp:96, and sizes.

    Attributes:
        k_idxs: cells that new keys of the index go to.
        bias: [blocks, tokens], what makes the nearest blocks win.
        pos_mask: [positions, tokens], what a token can see.
        cells: [positions, streams], the cell of each position.
        cell_numbers: the same as numbers, where each stream has one token.
        blocks: [cells, streams], the block of each cell, where there are more.
        mask: attention's mask in F32, likewise.
        size: positions of a block.
        n_best: blocks that a token attends to.
    """

    k_idxs: GraphTensor
    bias: GraphTensor
    pos_mask: GraphTensor
    cells: GraphTensor
    cell_numbers: GraphTensor | None
    blocks: GraphTensor | None
    mask: GraphTensor | None
    size: int
    n_best: int


def _block_input(build: Build, inp: AttentionInput) -> BlockInput | None:
    """None where all layers attend to everything: minimax-m3.cpp:234."""
    work = build.workload
    has_streams = work.parallel <= 1 or not work.kv_unified
    if not build.layout.flash_attn or not has_streams:
        return None
    size = build.hparams.integer("attention.indexer.block_size", 1)
    n, ns = build.n_tokens, n_streams(build)
    n_pos = pad(EMPTY_POSITIONS, size)
    is_step = n == ns
    return BlockInput(
        k_idxs=build.input("I64", n, name="idx_k_idxs"),
        bias=build.input("F32", n_pos // size, n, name="msa_bias"),
        pos_mask=build.input("F32", n_pos, n, name="msa_pos_mask"),
        cells=build.input("I32", n_pos, ns, name="msa_pos_slot"),
        cell_numbers=build.input("F32", n_pos, ns, name="msa_pos_slot_f")
        if is_step
        else None,
        blocks=None if is_step else build.input("I32", inp.n_kv, ns, name="msa_blk"),
        mask=None if is_step else ops.cast(inp.mask, "F32"),
        size=size,
        n_best=min(build.hparams.integer("attention.indexer.top_k", 0), n_pos // size),
    )


def minimax_m3(build: Build) -> Graph:
    """minimax-m3.cpp:210."""
    x = build.embedded()
    pos, inp = build.positions(), latent_input(build)
    blocks = _block_input(build, inp)
    out_ids = build.out_ids()
    for il in build.layers:
        z = build.layer_norm(x, il, "attn_norm")
        heads = _heads(build, z, pos, il)
        if blocks is None or not build.shape.layers[il].index_k:
            y = attend(build, heads, inp, il)
        else:
            index = _index(build, z, blocks, pos, il)
            y = _sparse(build, heads, index, (inp, blocks), il)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)
        x = ops.add(y, x)
        x = ops.add(_feed_forward(build, build.layer_norm(x, il, "ffn_norm"), il), x)
    return build.logits(build.norm(x, build.weight("output_norm.weight"), None, -1))


def _heads(build: Build, x: GraphTensor, pos: GraphTensor, il: int) -> Heads:
    heads = qkv(build, x, il)
    if heads.k is None:
        raise ValueError(heads)
    return Heads(
        q=ops.rope(build.layer_norm(heads.q, il, "attn_q_norm"), pos),
        k=ops.rope(build.layer_norm(heads.k, il, "attn_k_norm"), pos),
        v=heads.v,
    )


def _feed_forward(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    if build.of_layer(il, "ffn_gate_inp.weight") is None:
        return ffn(build, x, il, activation="swiglu_oai")
    y = experts(build, x, il, routing(build, RECIPE))
    shared = ffn(build, x, il, suffix="_shexp", activation="swiglu_oai")
    return ops.add(y, shared)


def _index(
    build: Build, x: GraphTensor, blocks: BlockInput, pos: GraphTensor, il: int
) -> tuple[GraphTensor, GraphTensor]:
    """Queries of the index, and its keys as cached: [head, 1, cells, streams]."""
    layer, work, n = build.shape.layers[il], build.workload, build.n_tokens
    head = layer.index_k
    n_cells = build.layout.cells[il]
    q = ops.mul_mat(build.must(il, "indexer.q_proj.weight"), x)
    k = ops.mul_mat(build.must(il, "indexer.k_proj.weight"), x)
    q = ops.reshape(q, head, q.ne[0] // head, n)
    q = ops.rope(build.layer_norm(q, il, "indexer.q_norm"), pos)
    k = build.layer_norm(ops.reshape(k, head, 1, n), il, "indexer.k_norm")
    kind = work.type_k.upper()
    cache = build.stored(il, kind, head, n_cells, work.n_stream, name="cache_idx")
    stored = AttentionInput(
        k_idxs=blocks.k_idxs,
        v_idxs=None,
        mask=blocks.bias,
        k_rot=None,
        v_rot=None,
        n_kv=n_cells,
    )
    build.graph.expand(stored_k(cache, ops.rope(k, pos), stored))
    return q, k_view(build, cache, head, 1, n_cells)


def _sparse(
    build: Build,
    heads: Heads,
    index: tuple[GraphTensor, GraphTensor],
    inputs: tuple[AttentionInput, BlockInput],
    il: int,
) -> GraphTensor:
    """Attention to the best blocks, and the output projection."""
    inp, blocks = inputs
    q, k, v = turned(heads, inp)
    if k is None or v is None:
        raise ValueError(heads)
    for x in (q, k, v):
        build.graph.expand(x)
    layer = build.shape.layers[il]
    cache_k, cache_v = caches(build, il, inp.n_kv)
    build.graph.expand(stored_k(cache_k, k, inp))
    build.graph.expand(stored_v(build, cache_v, v, inp))
    k = k_view(build, cache_k, layer.head_dim_k, layer.n_head_kv, inp.n_kv)
    v = v_view(build, cache_v, layer.head_dim_v, layer.n_head_kv, inp.n_kv)
    if blocks.cell_numbers is not None:
        y = _step(q, (k, v), index, blocks, blocks.cell_numbers)
    else:
        y = _batch(q, (k, v), index, blocks)
    if inp.v_rot is not None:
        y = hadamard(y, inp.v_rot)
    scale = build.of_layer(il, "attn_output.scale")
    return build.mm(build.must(il, "attn_output.weight"), y, scale)


def _fused(
    q: GraphTensor, k: GraphTensor, v: GraphTensor, mask: GraphTensor, group: int
) -> GraphTensor:
    """build_attn_msa_fa, minimax-m3.cpp:176: groups and streams side by side."""
    head, n_head, n = q.ne[:3]
    channels = k.ne[3]
    rows = n_head * n // (group * channels)
    q = ops.permute(ops.reshape(q, head, group, channels, rows), 0, 2, 3, 1)
    y = ops.permute(ops.flash_attn_ext(q, k, v, mask), 0, 1, 3, 2)
    y = y if min(rows, channels) == 1 else ops.cont(y)
    return ops.reshape(y, head * n_head, n)


def _step(
    q: GraphTensor,
    kv: tuple[GraphTensor, GraphTensor],
    index: tuple[GraphTensor, GraphTensor],
    blocks: BlockInput,
    cell_numbers: GraphTensor,
) -> GraphTensor:
    """One token a stream: the chosen cells are gathered, minimax-m3.cpp:389."""
    k, v = kv
    head, n_kv_head, n_kv, ns = k.ne
    n_index, n_pos = index[0].ne[1], blocks.cells.ne[0]
    n_rows = blocks.size * blocks.n_best
    where = _positions(index, blocks, n_kv, ns)
    cells = ops.get_rows(ops.reshape(cell_numbers, 1, n_pos, ns), where)
    cells = ops.reshape(cells, blocks.size, blocks.n_best, n_index, ns)
    heads = ops.reshape(ops.arange(n_kv_head), 1, 1, n_index)
    rows = ops.reshape(ops.add(ops.scale(cells), heads), n_rows * n_index, ns)
    rows = ops.cast(rows, "I32")
    found = []
    for x in (k, v):
        flat = ops.view(x, (head, n_kv_head * n_kv, ns), (x.nb[1], x.nb[3]))
        y = ops.reshape(ops.get_rows(flat, rows), head, n_rows, 1, n_index * ns)
        kind = "F16" if type_size(x.type_name)[0] > 1 else x.type_name
        found.append(y if kind == y.type_name else ops.cast(y, kind))
    mask = ops.get_rows(ops.reshape(blocks.pos_mask, 1, n_pos, ns), where)
    mask = ops.cast(ops.reshape(mask, n_rows, 1, 1, n_index * ns), "F16")
    return _fused(q, found[0], found[1], mask, q.ne[1] // n_kv_head)


def _positions(
    index: tuple[GraphTensor, GraphTensor], blocks: BlockInput, n_kv: int, ns: int
) -> GraphTensor:
    """Every position of the best blocks, I32 [positions of all heads, streams]."""
    q, k = index
    n_pos, size, n_best = blocks.cells.ne[0], blocks.size, blocks.n_best
    head, n_index = q.ne[:2]
    k = ops.view(k, (head, n_kv, ns), (k.nb[2], k.nb[3]))
    k = ops.reshape(ops.get_rows(k, blocks.cells), head, n_pos, 1, ns)
    score = ops.mul_mat(k, ops.reshape(q, head, n_index, 1, ns))
    score = ops.add_inplace(score, ops.reshape(blocks.pos_mask, n_pos, 1, 1, ns))
    bias = ops.reshape(blocks.bias, n_pos // size, 1, 1, ns)
    score = ops.add(ops.pool_rows(score, size), bias)
    best = ops.scale(ops.cast(ops.top_k(score, n_best), "F32"))
    best = ops.repeat(
        ops.reshape(best, 1, n_best, n_index, ns), size, n_best, n_index, ns
    )
    where = ops.add(best, ops.reshape(ops.arange(size), size, 1, 1))
    return ops.cast(ops.reshape(where, size * n_best * n_index, ns), "I32")


def _batch(
    q: GraphTensor,
    kv: tuple[GraphTensor, GraphTensor],
    index: tuple[GraphTensor, GraphTensor],
    blocks: BlockInput,
) -> GraphTensor:
    """Several tokens a stream: all cells, most of them masked, stream by stream."""
    k, v = kv
    head, n_kv_head, n_kv, ns = k.ne
    n = q.ne[2] // ns
    made: GraphTensor | None = None
    for _ in range(ns):
        own_q = ops.view(q, (head, q.ne[1], n), q.nb[1:3])
        own_k, own_v = (
            ops.view(x, (head, n_kv_head, n_kv, 1), x.nb[1:]) for x in (k, v)
        )
        mask = _block_mask(index, blocks, n_kv, n)
        own_k, own_v = (ops.permute(x, 0, 3, 1, 2) for x in (own_k, own_v))
        y = _fused(own_q, own_k, own_v, mask, q.ne[1] // n_kv_head)
        made = y if made is None else ops.concat(made, y, 1)
    if made is None:
        raise ValueError(k)
    return made


def _block_mask(
    index: tuple[GraphTensor, GraphTensor], blocks: BlockInput, n_kv: int, n: int
) -> GraphTensor:
    """The mask of one stream's tokens: [cells, tokens, 1, index heads] in F16."""
    if blocks.mask is None or blocks.blocks is None:
        raise ValueError(blocks)
    n_index, n_pos = index[0].ne[1], blocks.cells.ne[0]
    n_blocks = n_pos // blocks.size
    mask = ops.view(blocks.mask, (n_kv, n, 1), (blocks.mask.nb[1], blocks.mask.nb[3]))
    bias = ops.view(
        blocks.bias, (n_blocks, 1, n), (blocks.bias.nb[1], blocks.bias.nb[1])
    )
    best = _best_blocks(index, blocks, bias, n)
    shut = ops.cast(ops.scale(bias), "F16")
    shut = ops.repeat(shut, n_blocks, n_index, n, 1)
    zero = ops.scale(ops.cast(best, "F32"))
    opened = ops.set_rows(
        ops.reshape(shut, 1, n_blocks, n_index * n),
        ops.reshape(zero, 1, blocks.n_best, n_index * n),
        ops.reshape(best, blocks.n_best, n_index * n),
    )
    opened = ops.reshape(opened, n_blocks, n_index, n)
    opened = ops.cont(ops.permute(opened, 0, 2, 1, 3))
    opened = ops.cont(ops.transpose(ops.reshape(opened, n_blocks, n * n_index)))
    opened = ops.get_rows(opened, ops.view(blocks.blocks, (n_kv,)))
    opened = ops.reshape(ops.cont(ops.transpose(opened)), n_kv, n, n_index)
    opened = ops.add_inplace(opened, mask)
    return ops.cast(ops.reshape(opened, n_kv, n, 1, n_index), "F16")


def _best_blocks(
    index: tuple[GraphTensor, GraphTensor],
    blocks: BlockInput,
    bias: GraphTensor,
    n: int,
) -> GraphTensor:
    """The blocks with the best scores of one stream: [chosen, index heads, tokens]."""
    q, k = index
    head, n_index, n_pos = q.ne[0], q.ne[1], blocks.cells.ne[0]
    q = ops.view(q, (head, n_index, n), q.nb[1:3])
    k = ops.view(k, (head, k.ne[2]), (k.nb[2],))
    k = ops.get_rows(k, ops.view(blocks.cells, (n_pos,)))
    score = ops.mul_mat(k, ops.reshape(q, head, n_index * n))
    score = ops.reshape(score, n_pos, n_index, n)
    seen = ops.view(
        blocks.pos_mask,
        (n_pos, 1, n),
        (blocks.pos_mask.nb[1], blocks.pos_mask.nb[1]),
    )
    score = ops.pool_rows(ops.add_inplace(score, seen), blocks.size)
    return ops.top_k(ops.add(score, bias), blocks.n_best)


GRAPHS: dict[str, Callable[[Build], Graph]] = {"minimax-m3": minimax_m3}
