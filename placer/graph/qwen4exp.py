"""Qwen4: delta nets and attention to blocks that an index picks, in parallel streams.

Mirrors src/models/qwen4exp.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import AttentionInput, Heads, attend, attention_input
from placer.graph.build import UnknownGraphError
from placer.graph.delta_net import (
    delta_shape,
    gated_feed_forward,
    l2_norm,
    recurrent,
)
from placer.graph.hyper import spread
from placer.graph.qwen4_index import (
    SECTIONS,
    PoolInput,
    attend_chosen,
    chosen_mask,
    pool_input,
)
from placer.graph.recurrent import StateInput, read_state, state_input, state_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the host fills in for all layers."""

    states: StateInput
    full: AttentionInput
    pools: PoolInput | None
    pos: GraphTensor


def qwen4exp(build: Build) -> Graph:
    """qwen4exp.cpp:400."""
    x = build.embedded()
    states = state_input(build)
    cells = zip(build.layout.cells, build.shape.layers, strict=True)
    full = attention_input(build, max(c for c, layer in cells if layer.has_kv))
    pools = pool_input(build, full.n_kv)
    inputs = Inputs(
        states=states, full=full, pools=pools, pos=build.positions(SECTIONS)
    )
    out_ids = build.out_ids()
    grams = _grams(build)
    x = spread(build, x)
    build.graph.expand(x)
    gram_layers = build.hparams.array("ple.layers") or ()
    for il in build.layers:
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
    """build_hc_combine, qwen4exp.cpp:370."""
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
    """build_inp_ple, qwen4exp.cpp:1353: rows of the n-grams that end in each token."""
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
    """build_ple, qwen4exp.cpp:1373: what the n-grams add to the streams."""
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
    """build_conv_state_at, qwen4exp.cpp:1299: the last inputs before the new ones."""
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
    y = recurrent(build, states, (q, k, v, decay, beta, state))
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
    return q, k, v


def _attention(build: Build, x: GraphTensor, inputs: Inputs, il: int) -> GraphTensor:
    """build_layer_attn, qwen4exp.cpp:932: gated, over the chosen cells."""
    layer, n, pools = build.shape.layers[il], build.n_tokens, inputs.pools
    d, n_head, n_kv = layer.head_dim_v, layer.n_head, layer.n_head_kv
    mask: GraphTensor | None = None
    if pools is not None and layer.index_k:
        mask = chosen_mask(build, x, (inputs.full, pools, inputs.pos), il)
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
        y = attend_chosen(build, heads, inputs.full, mask, il)
    return _scaled(build, il, "attn_output", ops.mul(y, ops.unary("SIGMOID", gate)))


GRAPHS: dict[str, Callable[[Build], Graph]] = {"qwen4exp": qwen4exp}
