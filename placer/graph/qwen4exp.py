"""Qwen4: delta nets and attention to blocks that an index picks, in parallel streams.

Mirrors src/models/qwen4exp.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import (
    AttentionInput,
    Heads,
    attend,
    attention_input,
    caches,
    hadamard,
    k_view,
    mha,
    stored_k,
    stored_v,
    turned,
    v_view,
)
from placer.graph.build import UnknownGraphError
from placer.graph.delta_net import (
    delta_shape,
    gated_feed_forward,
    l2_norm,
    recurrent,
)
from placer.graph.hyper import spread
from placer.graph.recurrent import StateInput, read_state, state_input, state_rows
from placer.units import pad

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor

# kpool_pad, llama-memory-hybrid-idx.cpp:386
POOL_PADDING = 64
# Positions of rotations in sections.
SECTIONS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolInput:
    """llm_graph_input_kpool, qwen4exp.cpp:678.

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the host fills in for all layers."""

    states: StateInput
    full: AttentionInput
    pools: PoolInput | None
    pos: GraphTensor


def _pool_input(build: Build, n_kv: int) -> PoolInput | None:
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


def qwen4exp(build: Build) -> Graph:
    """qwen4exp.cpp:395."""
    x = build.embedded()
    states = state_input(build)
    cells = zip(build.layout.cells, build.shape.layers, strict=True)
    full = attention_input(build, max(c for c, layer in cells if layer.has_kv))
    pools = _pool_input(build, full.n_kv)
    inputs = Inputs(
        states=states, full=full, pools=pools, pos=build.positions(SECTIONS)
    )
    out_ids = build.out_ids()
    grams = _grams(build)
    x = spread(build, x)
    build.graph.expand(x)
    gram_layers = build.hparams.array("ple.layers") or ()
    for il in range(build.n_layer):
        if grams is not None and il in gram_layers:
            x = _with_grams(build, states, grams, x, il)
        y, inject = _read(build, x, f"blk.{il}.hc_attn", il)
        build.graph.expand(y)
        if build.shape.layers[il].recurrent_elements:
            y = _linear(build, states, y, il)
        else:
            y = _attention(build, y, inputs, il)
        if il == build.n_layer - 1:
            y, inject = ops.get_rows(y, out_ids), ops.get_rows(inject, out_ids)
            x = _rows(x, out_ids)
        x = _written(build, y, x, inject, il)
        y, inject = _read(build, x, f"blk.{il}.hc_ffn", il)
        x = _written(build, gated_feed_forward(build, y, il), x, inject, il)
        build.hold(x, il)
    return build.logits(_mixed(build, x, "output_hc", -1)[0])


def _rows(x: GraphTensor, out_ids: GraphTensor) -> GraphTensor:
    """The rows that get logits, of every stream."""
    n_embd, hc, n = x.ne[:3]
    x = ops.get_rows(ops.reshape(x, n_embd * hc, n), out_ids)
    return ops.reshape(x, n_embd, hc, x.ne[1])


def _weight(build: Build, name: str) -> GraphTensor:
    found = build.weight(name)
    if found is None:
        raise UnknownGraphError(f"qwen4exp without {name}")
    return found


def _scaled(build: Build, il: int, name: str, x: GraphTensor) -> GraphTensor:
    """A projection with its scale; biases are loaded and left."""
    scale = build.of_layer(il, f"{name}.scale")
    return build.mm(build.must(il, f"{name}.weight"), x, scale)


def _mixed(
    build: Build, x: GraphTensor, prefix: str, il: int
) -> tuple[GraphTensor, GraphTensor]:
    """build_hc_mix, qwen4exp.cpp:314: the streams as one, and all normalised."""
    n_embd, hc, n = x.ne[:3]
    xn = ops.mul(ops.same("RMS_NORM", x), _weight(build, f"{prefix}_norm.weight"))
    xn = ops.reshape(xn, n_embd * hc, n)
    low = ops.mul_mat(_weight(build, f"{prefix}_down.weight"), xn)
    low = ops.unary("SILU", ops.scale(low))
    gate = ops.mul_mat(_weight(build, f"{prefix}_up.weight"), low)
    if "hc_pre" in build.layout.fused and il >= 0:
        y = ops.hc_pre(ops.reshape(xn, n_embd, hc, n), ops.reshape(gate, n_embd, hc, n))
        build.add_fused("hc_pre", y, il)
        return y, xn
    gated = ops.mul(xn, ops.unary("SIGMOID", gate))
    gated = ops.reshape(gated, n_embd, hc, n)
    parts = [ops.view(gated, (n_embd, n), (gated.nb[2],)) for _ in range(hc)]
    y = ops.cont(parts[0])
    for part in parts[1:]:
        y = ops.add(y, part)
    return ops.scale(y), xn


def _read(
    build: Build, x: GraphTensor, prefix: str, il: int
) -> tuple[GraphTensor, GraphTensor]:
    """A block's input, and what says how its result goes to the streams."""
    y, xn = _mixed(build, x, prefix, il)
    return y, ops.mul_mat(_weight(build, f"{prefix}_inject.weight"), xn)


def _written(
    build: Build, y: GraphTensor, x: GraphTensor, inject: GraphTensor, il: int
) -> GraphTensor:
    """build_hc_combine, qwen4exp.cpp:365."""
    n_embd, hc, n = x.ne[:3]
    weight = ops.scale(ops.unary("SIGMOID", ops.scale(inject)))
    if "hc_post" in build.layout.fused:
        made = ops.hc_post(y, x, weight)
        build.add_fused("hc_post", made, il)
        return made
    weight = ops.reshape(weight, 1, hc, n)
    y = ops.repeat(ops.reshape(y, n_embd, 1, n), n_embd, hc, n, 1)
    return ops.add(x, ops.mul(y, weight))


def _grams(build: Build) -> GraphTensor | None:
    """build_inp_ple, qwen4exp.cpp:1340: rows of the n-grams that end in each token."""
    table = build.weight("per_layer_token_embd.weight")
    hparams, n = build.hparams, build.n_tokens
    n_heads = hparams.integer("ple.heads_per_ngram", 0)
    n_heads *= max(hparams.integer("ple.ngram_size", 0) - 1, 0)
    if table is None or not n_heads:
        return None
    rows = build.input("I32", n_heads * n, name="ple_rows")
    found = ops.reshape(ops.get_rows(table, rows), table.ne[0] * n_heads, n)
    build.graph.expand(found)
    return found


def _with_grams(
    build: Build, inp: StateInput, grams: GraphTensor, x: GraphTensor, il: int
) -> GraphTensor:
    """build_ple, qwen4exp.cpp:1361: what the n-grams add to the streams."""
    n_embd, hc, n = x.ne[:3]

    def normed(y: GraphTensor, name: str) -> GraphTensor:
        y = ops.same("RMS_NORM", ops.reshape(y, n_embd, hc, n))
        return ops.mul(y, build.must(il, f"ple_norm_{name}.weight"))

    key = normed(ops.mul_mat(build.must(il, "ple_key.weight"), grams), "key")
    value = ops.mul_mat(build.must(il, "ple_value.weight"), grams)
    s = ops.scale(ops.sum_rows(ops.mul(key, normed(x, "query"))))
    size = ops.same("SQRT", ops.same("CLAMP", ops.unary("ABS", s)))
    gate = ops.unary("SIGMOID", ops.mul(ops.unary("SGN", s), size))
    value = ops.repeat(ops.reshape(value, n_embd, 1, n), n_embd, hc, n, 1)
    gated = ops.mul(value, gate)
    flat = normed(ops.reshape(gated, n_embd * hc, n), "conv")
    y = _gram_convolution(build, inp, ops.reshape(flat, n_embd * hc, n), il)
    y = ops.cont(ops.unary("SILU", y))
    return ops.add(x, ops.add(gated, ops.reshape(y, n_embd, hc, n)))


def _gram_convolution(
    build: Build, inp: StateInput, x: GraphTensor, il: int
) -> GraphTensor:
    """A sum of shifted copies, each weighted by channel: [channels, tokens, ...]."""
    channels, n_s = x.ne[0], build.n_seqs
    n_t = build.n_tokens // n_s
    kernel = build.hparams.integer("ple.conv_kernel", 1)
    window = (kernel - 1) * build.hparams.integer("ple.ngram_size", 0)
    stored = build.stored(
        il, "F32", window * channels, state_rows(build), name="cache_p"
    )
    x = ops.reshape(x, channels, n_t, n_s)
    x = _before(build, inp, stored, x, window)
    weight = build.must(il, "ple_conv1d.weight")
    total: GraphTensor | None = None
    for _ in range(kernel):
        part = ops.view(x, (n_t, channels, n_s), (x.nb[1], x.nb[2]))
        part = ops.cont(ops.transpose(part))
        tap = ops.cont(ops.view(weight, (1, channels), (weight.nb[1],)))
        tap = ops.reshape(tap, channels)
        if tap.type_name != "F32":
            tap = ops.cast(tap, "F32")
        part = ops.mul(part, tap)
        total = part if total is None else ops.add(total, part)
    if total is None:
        raise ValueError(weight)
    return total


def _before(
    build: Build,
    inp: StateInput,
    stored: GraphTensor,
    x: GraphTensor,
    window: int,
) -> GraphTensor:
    """build_conv_state_at, qwen4exp.cpp:1289: the last inputs before the new ones."""
    channels, n_s = x.ne[0], build.n_seqs
    size = window * channels
    old = ops.reshape(read_state(build, inp, stored, size), window, channels, n_s)
    y = ops.concat(old, ops.transpose(x), 0)
    for _ in range(1 + build.n_rs_seq):
        last = ops.view(y, (window, channels, n_s), (y.nb[1], y.nb[2]))
        to = ops.view(stored, (size, n_s), (stored.nb[1],))
        build.graph.expand(ops.cpy(ops.cont(last), to))
    return y


def _linear(build: Build, inp: StateInput, x: GraphTensor, il: int) -> GraphTensor:
    """build_layer_attn_linear, qwen4exp.cpp:1019: a delta net with another gate."""
    d, n_s = delta_shape(build), build.n_seqs
    n_t = build.n_tokens // n_s
    mixed = _scaled(build, il, "attn_qkv", x)
    mixed = ops.reshape(mixed, mixed.ne[0], n_t, n_s)
    z = _scaled(build, il, "attn_gate", x)
    beta = _scaled(build, il, "ssm_beta", x)
    beta = ops.unary("SIGMOID", ops.reshape(beta, 1, d.n_head_v, n_t, n_s))
    decay = ops.reshape(_scaled(build, il, "ssm_alpha", x), d.n_head_v, n_t, n_s)
    decay = ops.unary("SOFTPLUS", ops.add(decay, build.must(il, "ssm_dt.bias")))
    decay = ops.mul(decay, build.must(il, "ssm_a"))
    decay = ops.reshape(decay, 1, d.n_head_v, n_t, n_s)
    kernel, rows = build.must(il, "ssm_conv1d.weight"), state_rows(build)
    window = kernel.ne[0] - 1
    conv = build.stored(il, "F32", window * d.channels, rows, name="cache_r")
    y = _before(build, inp, conv, mixed, window)
    states = build.stored(il, "F32", d.state_size, rows, name="cache_s")
    state = read_state(build, inp, states, d.state_size)
    state = ops.reshape(state, d.head_v, d.head_v, d.n_head_v, n_s)
    q, k, v = _parts(build, ops.unary("SILU", ops.ssm_conv(y, kernel)))
    y = recurrent(build, states, (q, k, v, decay, beta, state), il)
    z = ops.reshape(z, d.head_v, d.n_head_v, n_t, n_s)
    y = ops.mul(build.layer_norm(y, il, "ssm_norm"), ops.unary("SIGMOID", z))
    y = ops.reshape(y, d.head_v * d.n_head_v, n_t, n_s)
    return ops.reshape(_scaled(build, il, "ssm_out", y), build.n_embd, n_t * n_s)


def _parts(build: Build, y: GraphTensor) -> tuple[GraphTensor, ...]:
    """Queries, keys and values out of the convolution's result."""
    d, (n_t, n_s) = delta_shape(build), y.ne[1:3]
    row = 4 * d.channels
    nb = (4 * d.head_k, row, row * n_t)
    q, k = (
        l2_norm(ops.view(y, (d.head_k, d.n_head_k, n_t, n_s), nb)) for _ in range(2)
    )
    v = ops.view(y, (d.head_v, d.n_head_v, n_t, n_s), (4 * d.head_v, row, row * n_t))
    is_fused = {"delta_step", "delta_chunk"} <= build.layout.fused
    if d.n_head_k != d.n_head_v and not is_fused:
        dims = (d.head_k, d.n_head_v, n_t, n_s)
        q, k = ops.repeat(q, *dims), ops.repeat(k, *dims)
    return q, k, v


def _attention(build: Build, x: GraphTensor, inputs: Inputs, il: int) -> GraphTensor:
    """build_layer_attn, qwen4exp.cpp:930: gated, over the chosen cells."""
    layer, n, pools = build.shape.layers[il], build.n_tokens, inputs.pools
    d, n_head, n_kv = layer.head_dim_v, layer.n_head, layer.n_head_kv
    mask: GraphTensor | None = None
    if pools is not None and layer.index_k:
        mask = _mask(build, x, inputs, pools, il)
    both = _scaled(build, il, "attn_q", x)
    halves = (4 * 2 * d, 4 * 2 * d * n_head)
    q = build.layer_norm(ops.view(both, (d, n_head, n), halves), il, "attn_q_norm")
    k = ops.reshape(_scaled(build, il, "attn_k", x), d, n_kv, n)
    k = build.layer_norm(k, il, "attn_k_norm")
    v = ops.reshape(_scaled(build, il, "attn_v", x), d, n_kv, n)
    gate = ops.cont(ops.view(both, (d, n_head, n), halves), d * n_head, n)
    heads = Heads(q=ops.rope(q, inputs.pos), k=ops.rope(k, inputs.pos), v=v)
    if mask is None:
        y = attend(build, heads, inputs.full, il, name="")
    else:
        y = _attend_chosen(build, heads, inputs.full, mask, il)
    return _scaled(build, il, "attn_output", ops.mul(y, ops.unary("SIGMOID", gate)))


def _attend_chosen(
    build: Build, heads: Heads, inp: AttentionInput, mask: GraphTensor, il: int
) -> GraphTensor:
    """build_attn_qsa, qwen4exp.cpp:870."""
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


def _pooled_keys(
    build: Build, x: GraphTensor, inputs: Inputs, pools: PoolInput, il: int
) -> GraphTensor:
    """The key of every pool, the mean of its cells': [head, 1, pools]."""
    work, n, n_kv = build.workload, build.n_tokens, inputs.full.n_kv
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


def _mask(
    build: Build, x: GraphTensor, inputs: Inputs, pools: PoolInput, il: int
) -> GraphTensor:
    """build_qsa_sel, qwen4exp.cpp:756: all but the chosen cells shut."""
    pooled = _pooled_keys(build, x, inputs, pools, il)
    n, n_best, n_pool = build.n_tokens, pools.n_best, pooled.ne[2]
    n_index = build.hparams.integer("attention.indexer.head_count", 0)
    q = ops.mul_mat(build.must(il, "indexer.q_proj.weight"), x)
    q = build.layer_norm(ops.reshape(q, pooled.ne[0], n_index, n), il, "indexer.q_norm")
    q = ops.rope(q, inputs.pos)
    weights = ops.same("FILL", ops.leaf("F32", n_index, n, name="weights"))
    score = ops.lightning_indexer(q, pooled, weights, pools.mask)
    build.add_fused("lightning_indexer", score, il)
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
    return _opened(inputs.full, cells, ops.concat(live, tail, 0))


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


GRAPHS: dict[str, Callable[[Build], Graph]] = {"qwen4exp": qwen4exp}
