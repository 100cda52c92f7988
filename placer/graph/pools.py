"""Delta attention, and latents that an index of pooled keys picks from: GLM-5.3-Flash.

Four residual streams, mixed by doubly stochastic matrices. Mirrors
src/models/glm5-next.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import AttentionInput, Heads, stored_k
from placer.graph.build import UnknownGraphError
from placer.graph.hyper import (
    mixes_of,
    n_streams,
    part_of_mixes,
    picked_rows,
    spread,
    weighed,
)
from placer.graph.kda import delta_attention
from placer.graph.mla import (
    RECIPE,
    attend_latent,
    latent_input,
    latent_shape,
    logits,
    short_queries,
)
from placer.graph.recipe import feed_forward
from placer.graph.recurrent import state_input
from placer.units import pad

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor

# Batches up to this gather the chosen latents: build_inp_kpool, glm5-next.cpp:323.
GATHERED_UP_TO = 16
# kpool_pad, llama-memory-hybrid-idx.cpp:386
POOL_PADDING = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolInput:
    """llm_graph_input_kpool, glm5-next.cpp:239.

    Attributes:
        k_idxs: cells that new rows of the index go to.
        cells: the cell of each pool's key.
        members: [cells of a pool, pools].
        mask: [pools, tokens].
        tail: [cells, tokens], those of no pool yet.
        live: [chosen cells, 1, 1, tokens].
        new: [cells of a pool, pools that have become full].
        new_cells: where their keys go.
        size: cells of a pool.
        n_best: pools that a token attends to.
    """

    k_idxs: GraphTensor
    cells: GraphTensor
    members: GraphTensor
    mask: GraphTensor
    tail: GraphTensor
    live: GraphTensor
    new: GraphTensor
    new_cells: GraphTensor
    size: int
    n_best: int


def _pool_input(build: Build, n_kv: int) -> PoolInput:
    hparams, work, n = build.hparams, build.workload, build.n_tokens
    size = hparams.integer("attention.indexer.kpool", 1)
    n_top = hparams.integer("attention.indexer.top_k", 0)
    if work.n_ubatch <= GATHERED_UP_TO and work.ctx > n_top + size - 1:
        raise UnknownGraphError("glm5-next with so small a batch")
    n_new = max(n_kv // size * max(work.parallel, 1), 1)
    n_pool = max(POOL_PADDING, pad(n_new + 1, POOL_PADDING))
    n_best = min(n_pool, n_top // size)
    has_tail = hparams.flag("attention.indexer.kpool_select_tail", default=True)
    n_sel = size * n_best + (size - 1 if has_tail else 0)
    found = PoolInput(
        k_idxs=build.input("I64", n, name="kpool_k_idxs"),
        cells=build.input("I32", n_pool, name="pool_cells"),
        members=build.input("I32", size, n_pool, name="pool_idxs"),
        mask=build.input("F16", n_pool, n, name="pool_mask"),
        tail=build.input("I32", size - 1, n, name="tail_idxs"),
        live=build.input("F32", n_sel, 1, 1, n, name="gather_mask"),
        new=build.input("I32", size, n_new, name="new_pool_idxs"),
        new_cells=build.input("I64", n_new, name="new_pool_rep"),
        size=size,
        n_best=n_best,
    )
    for x in (found.cells, found.members, found.mask, found.tail, found.live):
        build.graph.expand(x)
    return found


def glm5_next(build: Build) -> Graph:
    """glm5-next.cpp:548."""
    x = build.embedded()
    states, inp = state_input(build), latent_input(build)
    pools = _pool_input(build, inp.n_kv)
    out_ids = build.out_ids()
    x = spread(build, x)
    mask: GraphTensor | None = None
    for il in build.layers:
        y, mixes = _read(build, x, il, "attn")
        y = build.layer_norm(y, il, "attn_norm")
        build.graph.expand(y)
        if build.shape.layers[il].recurrent_elements:
            y = delta_attention(build, states, y, il)
        else:
            y, mask = _attention(build, y, (inp, pools), mask, il)
        x = _written(build, y, x, mixes, il)
        y, mixes = _read(build, x, il, "ffn")
        y = feed_forward(build, build.layer_norm(y, il, "ffn_norm"), il, RECIPE)
        x = _written(build, y, x, mixes, il)
    x = _mean(picked_rows(build, x, out_ids))
    return logits(build, build.norm(x, build.weight("output_norm.weight"), None, -1))


def _mean(x: GraphTensor) -> GraphTensor:
    """build_hc_mean, glm5-next.cpp:369: the streams as one."""
    parts = [ops.view(x, (x.ne[0], x.ne[2]), (x.nb[2],)) for _ in range(x.ne[1])]
    total = parts[0]
    for part in parts[1:]:
        total = ops.add(total, part)
    return ops.scale(total)


def _read(
    build: Build, x: GraphTensor, il: int, name: str
) -> tuple[GraphTensor, tuple[GraphTensor, GraphTensor]]:
    """build_hc_pre, glm5-next.cpp:453: input of a block, weights for its result."""
    hc = n_streams(build)
    mixes = mixes_of(build, x, build.must(il, f"hc_{name}_fn.weight"), hc)
    scale = build.must(il, f"hc_{name}_scale.weight")
    base = build.must(il, f"hc_{name}_base.weight")
    pre = ops.scale(part_of_mixes(mixes, scale, base, hc))
    post = ops.scale(part_of_mixes(mixes, scale, base, hc))
    if "hc_comb" in build.layout.fused:
        comb = ops.hc_comb(mixes, scale, base, hc)
        build.add_fused("hc_comb", comb, il)
    else:
        comb = _combined(build, mixes, scale, base)
    if "hc_pre" not in build.layout.fused:
        return weighed(x, pre), (post, comb)
    y = ops.hc_pre(x, pre)
    build.add_fused("hc_pre", y, il)
    return y, (post, comb)


def _combined(
    build: Build, mixes: GraphTensor, scale: GraphTensor, base: GraphTensor
) -> GraphTensor:
    """Rows and columns made to sum to one, in turn: build_hc_sinkhorn."""
    hc, n = n_streams(build), mixes.ne[1]
    comb = ops.view(mixes, (hc * hc, n), (mixes.nb[1],))
    comb = ops.mul(comb, ops.view(scale, (1,)))
    comb = ops.add(comb, ops.view(base, (hc * hc,)))
    comb = ops.soft_max_ext(ops.reshape(comb, hc, hc, n), None)
    eps = ops.same("FILL", ops.leaf("F32", 1, name="eps"))
    comb = ops.add(comb, eps)
    n_rounds = build.hparams.integer("hyper_connection.sinkhorn_iterations", 1)
    for i in range(n_rounds):
        if i:
            comb = ops.div(comb, ops.add(ops.sum_rows(comb), eps))
        columns = ops.sum_rows(ops.cont(ops.permute(comb, 1, 0, 2, 3)))
        columns = ops.permute(ops.add(columns, eps), 1, 0, 2, 3)
        comb = ops.div(comb, columns)
    return comb


def _written(
    build: Build,
    x: GraphTensor,
    streams: GraphTensor,
    mixes: tuple[GraphTensor, GraphTensor],
    il: int,
) -> GraphTensor:
    """build_hc_post, glm5-next.cpp:511: a block's result in every stream."""
    post, comb = mixes
    if "hc_post" in build.layout.fused:
        y = ops.hc_post(x, streams, post, comb)
        build.add_fused("hc_post", y, il)
        return y
    n_embd, hc, n = streams.ne[:3]
    made: GraphTensor | None = None
    for _ in range(hc):
        y = ops.mul(x, ops.view(post, (1, n), (post.nb[1],)))
        for _ in range(hc):
            old = ops.view(streams, (n_embd, n), (streams.nb[2],))
            y = ops.add(y, ops.mul(old, ops.view(comb, (1, n), (comb.nb[2],))))
        y = ops.reshape(y, n_embd, 1, n)
        made = y if made is None else ops.concat(made, y, 1)
    if made is None:
        raise ValueError(streams)
    return made


def _attention(
    build: Build,
    x: GraphTensor,
    inputs: tuple[AttentionInput, PoolInput],
    mask: GraphTensor | None,
    il: int,
) -> tuple[GraphTensor, GraphTensor]:
    """build_dsa_layer, glm5-next.cpp:913, and the mask for layers without an index."""
    inp, pools = inputs
    s, n = latent_shape(build, il), build.n_tokens
    short = short_queries(build, x, il)
    q = ops.mul_mat(build.must(il, "attn_q_b.weight"), short)
    q = ops.permute(ops.reshape(q, s.n_nope, s.n_head, n), 0, 2, 1, 3)
    kv = ops.mul_mat(build.must(il, "attn_kv_a_mqa.weight"), x)
    kv = ops.reshape(build.layer_norm(kv, il, "attn_kv_a_norm"), s.rank, 1, n)
    q = ops.mul_mat(build.must(il, "attn_k_b.weight"), q)
    q = ops.permute(q, 0, 2, 1, 3)
    if mask is None or build.shape.layers[il].index_k:
        pooled = _pooled_keys(build, x, (inp, pools), il)
        chosen = _chosen(build, x, short, pooled, pools, il)
        mask = _mask(build, chosen, inp, pools)
    heads = Heads(q=q, k=kv, v=kv)
    y = attend_latent(
        build, heads, inp, il, name="", mask=ops.reshape(mask, *inp.mask.ne)
    )
    return ops.mul_mat(build.must(il, "attn_output.weight"), y), mask


def _pooled_keys(
    build: Build,
    x: GraphTensor,
    inputs: tuple[AttentionInput, PoolInput],
    il: int,
) -> GraphTensor:
    """The key of every pool, new ones made first: [head, 1, pools]."""
    inp, pools = inputs
    work, n = build.workload, build.n_tokens
    head = build.hparams.integer("attention.indexer.key_length", 0)
    k = ops.mul_mat(build.must(il, "indexer.attn_k.weight"), x)
    k = build.layer_norm(k, il, "indexer.k_norm", "NORM")
    gate = ops.mul_mat(build.must(il, "indexer_compressor_gate.weight"), x)
    zero = ops.same("FILL", ops.leaf("F32", head, n, name="zeros"))
    rows = ops.concat(ops.concat(k, gate, 0), zero, 0)
    rows = ops.reshape(rows, 3 * head, 1, n)
    kind = work.type_k.upper()
    cache = build.stored(il, kind, 3 * head, inp.n_kv, work.n_stream, name="cache_idx")
    stored = AttentionInput(
        k_idxs=pools.k_idxs,
        v_idxs=None,
        mask=pools.mask,
        k_rot=None,
        v_rot=None,
        n_kv=inp.n_kv,
    )
    build.graph.expand(stored_k(cache, rows, stored))
    n_cells = inp.n_kv * work.n_stream
    kept = ops.view(cache, (2 * head, n_cells), (cache.nb[1],))
    keys = ops.view(cache, (head, n_cells), (cache.nb[1],))
    new = _new_keys(build, kept, pools, head, il)
    build.graph.expand(ops.set_rows(keys, new, pools.new_cells))
    return ops.reshape(ops.get_rows(keys, pools.cells), head, 1, pools.cells.ne[0])


def _new_keys(
    build: Build, kept: GraphTensor, pools: PoolInput, head: int, il: int
) -> GraphTensor:
    """Keys of pools that have become full, weighted by their gates: [head, pools]."""
    size, n_new = pools.size, pools.new.ne[1]
    rows = ops.get_rows(kept, ops.reshape(pools.new, size * n_new))
    rows = ops.reshape(rows, 2 * head, size, n_new)
    keys, gates = (
        ops.view(rows, (head, size, n_new), (rows.nb[1], rows.nb[2])) for _ in range(2)
    )
    p = ops.add(gates, build.must(il, "indexer_compressor_ape.weight"))
    p = ops.cont(ops.permute(p, 1, 0, 2, 3))
    p = ops.soft_max_ext(ops.reshape(p, size, head * n_new), None)
    p = ops.reshape(p, size, head, n_new)
    keys = ops.cont(ops.permute(keys, 1, 0, 2, 3))
    return ops.reshape(ops.sum_rows(ops.mul(p, keys)), head, n_new)


def _chosen(
    build: Build,
    x: GraphTensor,
    short: GraphTensor,
    pooled: GraphTensor,
    pools: PoolInput,
    il: int,
) -> GraphTensor:
    """The cells of the best pools, and those of no pool yet: [cells, tokens]."""
    n, n_best, n_pool = build.n_tokens, pools.n_best, pooled.ne[2]
    score = _scores(build, x, short, (pooled, pools.mask), il)
    best = ops.top_k(score, n_best)
    of_best = ops.get_rows(ops.reshape(score, 1, n_pool, n), best)
    order = ops.argsort(ops.reshape(of_best, n_best, n))
    best = ops.reshape(ops.cast(best, "F32"), 1, n_best, n)
    best = ops.reshape(ops.get_rows(best, order), n_best, n)
    best = ops.cast(ops.cont(best), "I32")
    cells = ops.get_rows(pools.members, ops.reshape(best, n_best * n))
    cells = ops.reshape(cells, pools.size * n_best, n)
    if pools.live.ne[0] == cells.ne[0]:
        return cells
    return ops.concat(cells, pools.tail, 0)


def _scores(
    build: Build,
    x: GraphTensor,
    short: GraphTensor,
    keys: tuple[GraphTensor, GraphTensor],
    il: int,
) -> GraphTensor:
    """How much each token wants each pool: [pools, tokens]."""
    pooled, mask = keys
    head = pooled.ne[0]
    q = ops.mul_mat(build.must(il, "indexer.attn_q_b.weight"), short)
    q = ops.reshape(q, head, q.ne[0] // head, build.n_tokens)
    weights = ops.scale(ops.mul_mat(build.must(il, "indexer.proj.weight"), x))
    return ops.lightning_indexer(q, pooled, weights, mask)


def _mask(
    build: Build, chosen: GraphTensor, inp: AttentionInput, pools: PoolInput
) -> GraphTensor:
    """The mask with all but the chosen cells shut: [cells, tokens]."""
    build.graph.expand(chosen)
    n, n_sel, n_kv = build.n_tokens, chosen.ne[0], inp.n_kv
    kind = inp.mask.type_name
    shut = ops.same("FILL", ops.leaf(kind, n_kv + n_sel, name="shut"))
    shut = ops.reshape(ops.repeat(shut, n_kv + n_sel, n, 1, 1), 1, n_kv + n_sel, n)
    zeros = ops.same("FILL", ops.leaf(kind, n_sel, name="zeros"))
    zeros = ops.reshape(ops.repeat(zeros, n_sel, n, 1, 1), 1, n_sel, n)
    live = ops.unary("EXP", ops.reshape(pools.live, n_sel, n))
    dump = ops.arange(n_sel)
    ids = ops.sub(ops.cast(chosen, "F32"), dump)
    ids = ops.cast(ops.add(ops.mul(ids, live), dump), "I32")
    opened = ops.set_rows(shut, zeros, ops.reshape(ids, n_sel, n, 1))
    opened = ops.view(opened, (n_kv, n), (opened.nb[2],))
    return ops.add(opened, ops.reshape(inp.mask, n_kv, n))


GRAPHS: dict[str, Callable[[Build], Graph]] = {"glm5-next": glm5_next}
