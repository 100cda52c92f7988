"""Latent attention to the few cells that an index picks: DeepSeek V3.2, GLM-5, dots.

A small second cache of keys scores every cell; only the best stay in the mask. Sources
are files of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import (
    AttentionInput,
    attention_input,
    k_view,
    n_streams,
    stored_k,
)
from placer.graph.mla import (
    RECIPE,
    LatentShape,
    absorbed,
    attend_latent,
    latent,
    latent_input,
    latent_shape,
    logits,
    query_parts,
    short_queries,
)
from placer.graph.recipe import feed_forward

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SparseInput:
    """build_attn_inp_k_dsa, llama-graph.cpp:3411.

    Attributes:
        full: of the cache of latents.
        index: of the cache of the index, turned by ``k_rot``.
    """

    full: AttentionInput
    index: AttentionInput


def sparse_input(build: Build) -> SparseInput:
    """What the host fills in for the two caches."""
    full = latent_input(build)
    ns = n_streams(build)
    rows = build.n_tokens // ns
    mask = build.input("F16", full.n_kv, rows, 1, ns, name="lid_kq_mask")
    k_idxs = build.input("I64", build.n_tokens, name="lid_k_idxs")
    side = _turned_side(build)
    k_rot = build.input("F32", side, side, name="lid_k_rot")
    index = replace(full, k_idxs=k_idxs, mask=mask, k_rot=k_rot)
    return SparseInput(full=full, index=index)


def _turned_side(build: Build) -> int:
    """Side of the matrix that turns the index: llama-kv-cache.cpp:327."""
    n, head = 64, build.hparams.integer("attention.indexer.key_length", 0)
    while head % (2 * n) == 0:
        n *= 2
    return n


def best_cells(
    build: Build,
    x: GraphTensor,
    short: GraphTensor,
    inp: SparseInput,
    pos: GraphTensor,
    il: int,
) -> GraphTensor:
    """The cells with the best scores: [chosen, tokens, 1, streams].

    Args:
        build: the graph.
        x: the layer's normalised input.
        short: what queries are made of.
        inp: what the host fills in.
        pos: positions.
        il: the layer.
    """
    hparams, n = build.hparams, build.n_tokens
    head = hparams.integer("attention.indexer.key_length", 0)
    n_head = hparams.integer("attention.indexer.head_count", 0)
    q = ops.mul_mat(build.must(il, "indexer.attn_q_b.weight"), short)
    q = ops.rope(ops.reshape(q, head, n_head, n), pos)
    k = ops.mul_mat(build.must(il, "indexer.attn_k.weight"), x)
    k = build.layer_norm(k, il, "indexer.k_norm", "NORM")
    k = ops.rope(ops.reshape(k, head, 1, n), pos)
    if build.arch not in UNTURNED and inp.index.k_rot is not None:
        q, k = ops.mul_mat(inp.index.k_rot, q), ops.mul_mat(inp.index.k_rot, k)
    work, n_kv = build.workload, inp.index.n_kv
    kind = work.type_k.upper()
    cache = build.stored(il, kind, head, n_kv, work.n_stream, name="cache_lid")
    build.graph.expand(stored_k(cache, k, inp.index))
    weights = ops.mul_mat(build.must(il, "indexer.proj.weight"), x)
    seen = k_view(build, cache, head, 1, n_kv)
    score = _scores(q, seen, weights, inp.index.mask)
    n_best = min(score.ne[0], hparams.integer("attention.indexer.top_k", 0))
    return ops.cont(ops.top_k(score, n_best))


# Whose index is not turned: hy-v4.cpp:377.
UNTURNED = frozenset({"hy_v4"})


def _scores(
    q: GraphTensor, k: GraphTensor, weights: GraphTensor, mask: GraphTensor
) -> GraphTensor:
    """[cells, tokens, 1, streams], in one node wherever it runs."""
    ns = k.ne[3]
    per = q.ne[2] // ns
    q = ops.view(q, (*q.ne[:2], per, ns), (*q.nb[1:3], q.nb[3] // ns))
    steps = (weights.nb[1], weights.nb[2] // ns, weights.nb[3] // ns)
    weights = ops.scale(ops.view(weights, (weights.ne[0], per, 1, ns), steps))
    return ops.lightning_indexer(q, k, weights, mask)


def sparse_mask(mask: GraphTensor, best: GraphTensor) -> GraphTensor:
    """The mask with all but the best cells shut: llama-graph.cpp:3147."""
    shut = ops.same("FILL", mask)
    shut = ops.view(shut, (1, shut.ne[0], shut.ne[1], shut.ne[3]), shut.nb[:3])
    ids = ops.view(
        best,
        (best.ne[0], best.ne[1], best.ne[3], 1),
        (best.nb[1], best.nb[2], best.ne[3] * best.nb[3]),
    )
    zeros = ops.leaf("F32", 1, *ids.ne[:3], name="zeros")
    opened = ops.set_rows(shut, ops.same("FILL", zeros), ids)
    dims = (opened.ne[1], opened.ne[2], 1, opened.ne[3])
    opened = ops.view(opened, dims, (opened.nb[2], opened.nb[3], opened.nb[3]))
    return ops.add(opened, mask)


def deepseek32(build: Build) -> Graph:
    """src/models/deepseek32.cpp:162 and glm-dsa.cpp, where layers share an index."""
    x = build.embedded()
    pos, inp, out_ids = build.positions(), sparse_input(build), build.out_ids()
    best: GraphTensor | None = None
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        short = short_queries(build, y, il)
        if best is None or build.shape.layers[il].index_k:
            best = best_cells(build, y, short, inp, pos, il)
        y = sparse_attention(build, (y, short, best), inp, pos, il)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)
        x = ops.add(y, x)
        y = build.layer_norm(x, il, "ffn_norm")
        x = ops.add(feed_forward(build, y, il, RECIPE), x)
    return logits(build, build.norm(x, build.weight("output_norm.weight"), None, -1))


def sparse_attention(
    build: Build,
    given: tuple[GraphTensor, GraphTensor, GraphTensor],
    inp: SparseInput,
    pos: GraphTensor,
    il: int,
    *,
    name: str = "attn_output",
) -> GraphTensor:
    """Over the best cells of the latents; given are input, short queries, cells."""
    x, short, best = given
    s = latent_shape(build, il)
    q = ops.mul_mat(build.must(il, "attn_q_b.weight"), short)
    still, turning = query_parts(build, q, s)
    kv, pe = latent(build, x, il, s)
    parts = (still, ops.rope(turning, pos))
    heads = absorbed(build, parts, kv, ops.rope(pe, pos), il)
    return attend_latent(
        build,
        heads,
        inp.full,
        il,
        name=name,
        sinks=build.of_layer(il, "attn_sinks.weight"),
        mask=sparse_mask(inp.full.mask, best),
    )


def dots3note(build: Build) -> Graph:
    """src/models/dots3note.cpp:152: layers with a window in turn with an index."""
    x = build.embedded()
    pos, inp = build.positions(), sparse_input(build)
    cells = (
        c
        for c, y in zip(build.layout.cells, build.shape.layers, strict=True)
        if y.is_swa
    )
    window = attention_input(build, max(cells, default=0), values=False, rotated=False)
    out_ids = build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        y = _gated_attention(build, y, (inp, window), pos, il)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)
        x = ops.add(y, x)
        y = build.layer_norm(x, il, "ffn_norm")
        x = ops.add(feed_forward(build, y, il, RECIPE), x)
    return logits(build, build.norm(x, build.weight("output_norm.weight"), None, -1))


def _gated_attention(
    build: Build,
    x: GraphTensor,
    inputs: tuple[SparseInput, AttentionInput],
    pos: GraphTensor,
    il: int,
) -> GraphTensor:
    """Of dots3note: a gate for every head."""
    inp, window = inputs
    is_swa = build.shape.layers[il].is_swa
    short = short_queries(build, x, il)
    s = _dots_shape(build, il, is_swa=is_swa)
    q = ops.mul_mat(build.must(il, "attn_q_b.weight"), short)
    still, turning = query_parts(build, q, s)
    kv, pe = latent(build, x, il, s)
    pe = ops.rope(build.layer_norm(pe, il, "attn_k_norm"), pos)
    heads = absorbed(build, (still, ops.rope(turning, pos)), kv, pe, il)
    if is_swa:
        y = attend_latent(build, heads, window, il, name="")
    else:
        best = best_cells(build, x, short, inp, pos, il)
        mask = sparse_mask(inp.full.mask, best)
        y = attend_latent(build, heads, inp.full, il, name="", mask=mask)
    gate = ops.unary("SIGMOID", ops.mul_mat(build.must(il, "attn_gate.weight"), x))
    n = build.n_tokens
    y = ops.reshape(y, s.head_v, s.n_head, n)
    y = ops.mul(y, ops.reshape(gate, 1, s.n_head, n))
    return build.linear(il, "attn_output", ops.reshape(y, s.head_v * s.n_head, n))


def _dots_shape(build: Build, il: int, *, is_swa: bool) -> LatentShape:
    s = latent_shape(build, il)
    if not is_swa:
        return s
    hparams = build.hparams
    return replace(
        s,
        head_k=hparams.integer("attention.key_length_mla_swa", s.head_k),
        head_v=hparams.integer("attention.value_length_mla_swa", s.head_v),
        rank=hparams.integer("attention.kv_lora_rank_swa", s.rank),
    )


GRAPHS: dict[str, Callable[[Build], Graph]] = {
    "deepseek32": deepseek32,
    "dots3note": dots3note,
    "glm-dsa": deepseek32,
}
