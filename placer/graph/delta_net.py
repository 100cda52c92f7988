"""Gated delta nets with full attention every few layers: Qwen3-Next and Qwen3.5.

Mirrors src/models/delta-net-base.cpp, qwen3next.cpp and qwen35moe.cpp of llama.cpp
build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import AttentionInput, Heads, attend, attention_input
from placer.graph.build import SOFTMAX
from placer.graph.experts import Routing, experts, ffn
from placer.graph.recurrent import (
    StateInput,
    read_state,
    state_input,
    state_rows,
    write_state,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaShape:
    """Sizes of a delta net, by the hyperparameters ``ssm.*``."""

    head_k: int
    n_head_k: int
    head_v: int
    n_head_v: int

    @property
    def channels(self) -> int:
        """Of the convolution: queries, keys and values."""
        return 2 * self.head_k * self.n_head_k + self.head_v * self.n_head_v

    @property
    def state_size(self) -> int:
        """Elements of the state of one sequence."""
        return self.head_v * self.head_v * self.n_head_v


def delta_shape(build: Build) -> DeltaShape:
    """The sizes of the model's delta nets."""
    hparams = build.hparams
    n_head_v = hparams.integer("ssm.time_step_rank", 1)
    return DeltaShape(
        head_k=hparams.integer("ssm.state_size", 0),
        n_head_k=hparams.integer("ssm.group_count", 1),
        head_v=hparams.integer("ssm.inner_size", 0) // n_head_v,
        n_head_v=n_head_v,
    )


def delta_hybrid(
    build: Build,
    *,
    pos_per_token: int,
    linear: Callable[[Build, StateInput, GraphTensor, int], GraphTensor],
) -> Graph:
    """Delta nets and gated attention in turn, experts behind each."""
    x = build.embedded()
    states = state_input(build)
    cells = {
        c
        for c, y in zip(build.layout.cells, build.shape.layers, strict=True)
        if y.has_kv
    }
    inp = attention_input(build, max(cells))
    pos = build.positions(pos_per_token)
    out_ids = build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        build.graph.expand(y)
        if build.shape.layers[il].recurrent_elements:
            y = linear(build, states, y, il)
        else:
            y = gated_attention(build, y, pos, inp, il)
        x = ops.add(y, x)
        y = build.layer_norm(x, il, "post_attention_norm")
        x = ops.add(gated_feed_forward(build, y, il), x)
    x = build.norm(x, build.weight("output_norm.weight"), None, -1)
    x = ops.get_rows(x, out_ids)
    projection = build.weight("cls.output.weight")
    if projection is not None:  # an embedding model's head, qwen35.cpp:86
        y = build.mm(projection, x)
        bias = build.weight("cls.output.bias")
        build.graph.expand(y if bias is None else ops.add(y, bias))
    return build.logits(x)


def gated_attention(
    build: Build, x: GraphTensor, pos: GraphTensor, inp: AttentionInput, il: int
) -> GraphTensor:
    """Attention whose query projection holds a gate for the result."""
    layer, n = build.shape.layers[il], build.n_tokens
    d, n_head, n_kv = layer.head_dim_v, layer.n_head, layer.n_head_kv
    both = build.linear(il, "attn_q", x)
    k = build.linear(il, "attn_k", x)
    v = build.linear(il, "attn_v", x)
    if build.arch == "qwen3next":
        both = ops.reshape(both, 2 * d, n_head, n)
        halves = (both.nb[1], both.nb[2])
    else:
        halves = (4 * 2 * d, 4 * 2 * d * n_head)
    q = ops.view(both, (d, n_head, n), halves)
    gate = ops.view(both, (d, n_head, n), halves)
    q = build.layer_norm(q, il, "attn_q_norm")
    k = build.layer_norm(ops.reshape(k, d, n_kv, n), il, "attn_k_norm")
    gate = ops.cont(gate, d * n_head, n)
    heads = Heads(q=ops.rope(q, pos), k=ops.rope(k, pos), v=ops.reshape(v, d, n_kv, n))
    y = attend(build, heads, inp, il, name="")
    return build.linear(il, "attn_output", ops.mul(y, ops.unary("SIGMOID", gate)))


def linear_qwen3next(
    build: Build, inp: StateInput, x: GraphTensor, il: int
) -> GraphTensor:
    """build_layer_attn_linear, qwen3next.cpp:395."""
    d = delta_shape(build)
    n_t, n_s = build.n_tokens // build.n_seqs, build.n_seqs
    mixed, z = _mixed_qwen3next(build, x, il, d)
    ba = ops.mul_mat(build.must(il, "ssm_ba.weight"), x)
    per = d.n_head_v // d.n_head_k
    ba = ops.reshape(ba, 2 * per, d.n_head_k, n_t, n_s)
    b = ops.view(ba, (per, d.n_head_k, n_t, n_s), ba.nb[1:])
    a = ops.view(ba, (per, d.n_head_k, n_t, n_s), ba.nb[1:])
    beta = ops.unary("SIGMOID", ops.cont(b))
    alpha = ops.cont(a, d.n_head_v, n_t, n_s)
    gate = _decay(build, alpha, il)
    beta = ops.reshape(beta, 1, d.n_head_v, n_t, n_s)
    gate = ops.reshape(gate, 1, d.n_head_v, n_t, n_s)
    return _delta_layer(build, inp, (mixed, z, gate, beta), il, d)


def linear_qwen35(
    build: Build, inp: StateInput, x: GraphTensor, il: int
) -> GraphTensor:
    """build_layer_attn_linear, qwen35moe.cpp:204."""
    d = delta_shape(build)
    n_t, n_s = build.n_tokens // build.n_seqs, build.n_seqs
    mixed = build.linear(il, "attn_qkv", x)
    mixed = ops.reshape(mixed, mixed.ne[0], n_t, n_s)
    z = build.linear(il, "attn_gate", x)
    beta = build.linear(il, "ssm_beta", x)
    beta = ops.unary("SIGMOID", ops.reshape(beta, 1, d.n_head_v, n_t, n_s))
    alpha = ops.reshape(build.linear(il, "ssm_alpha", x), d.n_head_v, n_t, n_s)
    gate = ops.reshape(_decay(build, alpha, il), 1, d.n_head_v, n_t, n_s)
    return _delta_layer(build, inp, (mixed, z, gate, beta), il, d)


def _decay(build: Build, alpha: GraphTensor, il: int) -> GraphTensor:
    y = ops.add(alpha, build.must(il, "ssm_dt.bias"))
    return ops.mul(ops.unary("SOFTPLUS", y), build.must(il, "ssm_a"))


def _mixed_qwen3next(
    build: Build, x: GraphTensor, il: int, d: DeltaShape
) -> tuple[GraphTensor, GraphTensor]:
    """Queries, keys and values side by side, and the gate: qwen3next.cpp:314."""
    n_t, n_s = build.n_tokens // build.n_seqs, build.n_seqs
    fused = build.of_layer(il, "attn_qkv.weight")
    if fused is not None:
        mixed = ops.mul_mat(fused, x)
        mixed = ops.reshape(mixed, mixed.ne[0], n_t, n_s)
        return mixed, ops.mul_mat(build.must(il, "attn_gate.weight"), x)
    both = ops.mul_mat(build.must(il, "ssm_in.weight"), x)
    value = d.head_v * d.n_head_v // d.n_head_k
    both = ops.reshape(both, 2 * d.head_k + 2 * value, d.n_head_k, n_t, n_s)
    sizes = (d.head_k, d.head_k, value, value)
    q, k, v, z = (
        ops.view(both, (size, d.n_head_k, n_t, n_s), both.nb[1:]) for size in sizes
    )
    z = ops.cont(z)
    q, k, v = (ops.cont(part, part.ne[0] * d.n_head_k, n_t, n_s) for part in (q, k, v))
    return ops.concat(ops.concat(q, k, 0), v, 0), z


def _delta_layer(
    build: Build,
    inp: StateInput,
    parts: tuple[GraphTensor, GraphTensor, GraphTensor, GraphTensor],
    il: int,
    d: DeltaShape,
) -> GraphTensor:
    """Convolution, recurrence, gated norm and the output projection."""
    mixed, z, gate, beta = parts
    n_t, n_s = build.n_tokens // build.n_seqs, build.n_seqs
    kernel = build.must(il, "ssm_conv1d.weight")
    window = kernel.ne[0] - 1
    rows = state_rows(build)
    conv = build.stored(il, "F32", window * d.channels, rows, name="cache_r")
    states = build.stored(il, "F32", d.state_size, rows, name="cache_s")
    conv_input = conv_state(build, inp, conv, mixed, window, d.channels)
    state = read_state(build, inp, states, d.state_size)
    state = ops.reshape(state, d.head_v, d.head_v, d.n_head_v, n_s)
    y = ops.unary("SILU", ops.ssm_conv(conv_input, kernel))
    row = 4 * d.channels
    qk = (4 * d.head_k, row, row * n_t)
    q = l2_norm(ops.view(y, (d.head_k, d.n_head_k, n_t, n_s), qk))
    k = l2_norm(ops.view(y, (d.head_k, d.n_head_k, n_t, n_s), qk))
    v = ops.view(y, (d.head_v, d.n_head_v, n_t, n_s), (4 * d.head_v, row, row * n_t))
    q, k = (_repeated(build, part, d) for part in (q, k))
    y = recurrent(build, states, (q, k, v, gate, beta, state))
    z = ops.reshape(z, d.head_v, d.n_head_v, n_t, n_s)
    y = ops.mul(build.layer_norm(y, il, "ssm_norm"), ops.unary("SILU", z))
    y = ops.reshape(y, d.head_v * d.n_head_v, n_t, n_s)
    # qwen3next.cpp:557 leaves the scale out
    scale = None if build.arch == "qwen3next" else build.of_layer(il, "ssm_out.scale")
    y = build.mm(build.must(il, "ssm_out.weight"), y, scale)
    return ops.reshape(y, build.n_embd, n_t * n_s)


def l2_norm(x: GraphTensor) -> GraphTensor:
    """build_gdn_l2_norm, src/models/models.h:14."""
    return ops.scale(ops.same("RMS_NORM", x))


def _repeated(build: Build, x: GraphTensor, d: DeltaShape) -> GraphTensor:
    """Heads of keys as often as there are heads of values."""
    if d.n_head_k == d.n_head_v:
        return x
    n_t, n_s = x.ne[2], x.ne[3]
    if build.arch == "qwen3next":
        flat = ops.reshape(x, d.head_k, 1, d.n_head_k, n_t * n_s)
        per = d.n_head_v // d.n_head_k
        y = ops.repeat(flat, d.head_k, per, d.n_head_k, n_t * n_s)
        return ops.reshape(y, d.head_k, d.n_head_v, n_t, n_s)
    return x


def conv_state(
    build: Build,
    inp: StateInput,
    stored: GraphTensor,
    mixed: GraphTensor,
    window: int,
    channels: int,
) -> GraphTensor:
    """build_conv_state, delta-net-base.cpp: the last inputs before the new ones."""
    n_s = build.n_seqs
    before = read_state(build, inp, stored, window * channels)
    before = ops.reshape(before, window, channels, n_s)
    y = ops.concat(before, ops.transpose(mixed), 0)
    for _ in range(1 + build.n_rs_seq):
        last = ops.view(y, (window, channels, n_s), (y.nb[1], y.nb[2]))
        write_state(build, last, stored, window * channels, n_s)
    return y


def recurrent(
    build: Build,
    stored: GraphTensor,
    parts: tuple[GraphTensor, ...],
) -> GraphTensor:
    """build_recurrent_attn, delta-net-base.cpp: outputs, and the new states stored."""
    y, state = delta_net(parts)
    size = stored.ne[0]
    write_state(build, state, stored, size, build.n_seqs)
    return y


def delta_net(parts: tuple[GraphTensor, ...]) -> tuple[GraphTensor, GraphTensor]:
    """build_delta_net_fused, delta-net-base.cpp: outputs and states of one node.

    The engine fuses it wherever it runs: llama-context.cpp:235.
    """
    q, k, v, gate, beta, state = parts
    head, n_head, n_t, n_s = v.ne
    node = ops.gated_delta_net(q, k, v, gate, beta, state)
    nb = (4 * head, 4 * head * n_head, 4 * head * n_head * n_t)
    y = ops.view(node, (head, n_head, n_t, n_s), nb)
    square = (4 * head, 4 * head * head, 4 * head * head * n_head)
    return y, ops.view(node, (head, head, n_head, n_s), square)


def gated_feed_forward(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    """build_layer_ffn, qwen3next.cpp:565."""
    if build.of_layer(il, "ffn_gate_inp.weight") is None:
        return ffn(build, x, il)
    scale = build.hparams.number("expert_weights_scale", 0.0)
    routing = Routing(
        gating=SOFTMAX,
        norm=True,
        scaled=scale not in (0.0, 1.0),
        n_used=build.shape.n_expert_used,
    )
    y = experts(build, x, il, routing)
    if build.of_layer(il, "ffn_up_shexp.weight") is None:
        return y
    shared = ffn(build, x, il, suffix="_shexp")
    gate = ops.mul_mat(build.must(il, "ffn_gate_inp_shexp.weight"), x)
    return ops.add(y, ops.mul(shared, ops.unary("SIGMOID", gate)))


def _qwen3next(build: Build) -> Graph:
    return delta_hybrid(build, pos_per_token=1, linear=linear_qwen3next)


def _qwen35(build: Build) -> Graph:
    return delta_hybrid(build, pos_per_token=4, linear=linear_qwen35)


GRAPHS: dict[str, Callable[[Build], Graph]] = {
    "qwen3next": _qwen3next,
    "qwen35": _qwen35,
    "qwen35moe": _qwen35,
}
