"""Kimi's delta attention with latent attention every few layers.

Kimi Linear, Kimi K3 and Ling 3. Sources are src/models/kimi-linear.cpp, kimi-k3.cpp and
bailingmoe3.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import AttentionInput, Heads, attend
from placer.graph.delta_net import l2_norm, recurrent
from placer.graph.experts import experts, situ
from placer.graph.mla import (
    RECIPE,
    absorbed,
    attend_latent,
    latent,
    latent_input,
    latent_shape,
    logits,
    queries,
    query_parts,
    unfolded,
)
from placer.graph.recipe import Recipe, feed_forward, routing
from placer.graph.recurrent import StateInput, read_state, state_input, state_rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor

KIMI_LINEAR = Recipe(gating=None, norm_experts=True)
KIMI_K3 = Recipe(gating=None, norm_experts=None, expert_activation="situ")
NO_BOUND = float("-inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class KdaShape:
    """Sizes of delta attention: elements of a head, heads, inputs kept."""

    head: int
    n_head: int
    window: int

    @property
    def channels(self) -> int:
        """Of each of the three convolutions."""
        return self.head * self.n_head

    @property
    def conv_size(self) -> int:
        """Elements of the three convolutions' state of one sequence."""
        return 3 * self.window * self.channels

    @property
    def state_size(self) -> int:
        """Elements of the state of one sequence."""
        return self.head * self.head * self.n_head


def kda_shape(build: Build) -> KdaShape:
    """n_embd_head_kda and ssm_d_conv."""
    return KdaShape(
        head=build.hparams.integer("kda.head_dim", 0),
        n_head=build.shape.layers[0].n_head,
        window=build.hparams.integer("ssm.conv_kernel", 4) - 1,
    )


def delta_attention(
    build: Build, inp: StateInput, x: GraphTensor, il: int
) -> GraphTensor:
    """build_kda_layer, kimi-k3.cpp:399, and its like: [n_embd, tokens]."""
    d = kda_shape(build)
    n, n_t, n_s = build.n_tokens, build.n_tokens // build.n_seqs, build.n_seqs
    rows = state_rows(build)
    conv = build.stored(il, "F32", d.conv_size, rows, name="cache_r")
    before = read_state(build, inp, conv, d.conv_size)
    qkv = zip("qkv", _inputs(build, x, il, d), strict=True)
    q, k, v = (_convolved(build, (conv, before), part, y, il) for part, y in qkv)
    gate = ops.reshape(_decay(build, x, il, d), d.head, d.n_head, n_t, n_s)
    beta = ops.mul_mat(build.must(il, "ssm_beta.weight"), x)
    beta = ops.unary("SIGMOID", ops.reshape(beta, 1, d.n_head, n_t, n_s))
    states = build.stored(il, "F32", d.state_size, rows, name="cache_s")
    state = read_state(build, inp, states, d.state_size)
    state = ops.reshape(state, d.head, d.head, d.n_head, n_s)
    y = recurrent(build, states, (l2_norm(q), l2_norm(k), v, gate, beta, state))
    y = ops.reshape(ops.cont(y), d.head, d.n_head, n)
    y = build.layer_norm(y, il, "ssm_norm")
    z = ops.reshape(_result_gate(build, x, il), d.head, d.n_head, n)
    y = ops.mul(y, ops.unary("SIGMOID", z))
    return ops.mul_mat(build.must(il, "attn_output.weight"), ops.cont(y, d.channels, n))


def _inputs(
    build: Build, x: GraphTensor, il: int, d: KdaShape
) -> tuple[GraphTensor, ...]:
    """Queries, keys and values before their convolutions: [channels, tokens]."""
    fused = build.of_layer(il, "attn_qkv.weight")
    if fused is None:
        return tuple(
            ops.mul_mat(build.must(il, f"attn_{name}.weight"), x) for name in "qkv"
        )
    y = ops.mul_mat(fused, x)
    dims = (d.channels, build.n_tokens)
    return tuple(ops.cont(ops.view(y, dims, (y.nb[1],))) for _ in range(3))


def _convolved(
    build: Build,
    states: tuple[GraphTensor, GraphTensor],
    part: str,
    x: GraphTensor,
    il: int,
) -> GraphTensor:
    """causal_conv1d, kimi-linear.cpp:175: [head, heads, tokens, sequences]."""
    d = kda_shape(build)
    n_t, n_s = build.n_tokens // build.n_seqs, build.n_seqs
    stored, before = states
    dims = (d.window, d.channels, n_s)
    nb = (4 * d.window, 4 * d.conv_size)
    x = ops.reshape(x, d.channels, n_t, n_s)
    y = ops.concat(ops.view(before, dims, nb), ops.transpose(x), 0)
    for _ in range(1 + build.n_rs_seq):
        last = ops.view(y, dims, (y.nb[1], y.nb[2]))
        build.graph.expand(ops.cpy(last, ops.view(stored, dims, nb)))
    kernel = build.must(il, f"ssm_conv1d_{part}.weight")
    y = ops.ssm_conv(y, ops.reshape(kernel, d.window + 1, d.channels))
    y = ops.unary("SILU", ops.reshape(y, d.channels, build.n_tokens))
    return ops.reshape(y, d.head, d.n_head, n_t, n_s)


def _decay(build: Build, x: GraphTensor, il: int, d: KdaShape) -> GraphTensor:
    """How fast the state fades, for each element: kimi-k3.cpp:420."""
    y = ops.mul_mat(build.must(il, "ssm_f_a.weight"), x)
    second = build.of_layer(il, "ssm_f_b.weight")
    y = y if second is None else ops.mul_mat(second, y)
    y = ops.add(y, build.must(il, "ssm_dt.bias"))
    a = ops.reshape(build.must(il, "ssm_a"), 1, d.n_head, 1)
    dims = (d.head, d.n_head, build.n_tokens)
    bound = build.hparams.number("kda.gate_lower_bound", NO_BOUND)
    if build.arch == "kimi-linear" or bound == NO_BOUND:
        return ops.mul(ops.reshape(ops.unary("SOFTPLUS", y), *dims), a)
    y = ops.mul(ops.reshape(y, *dims), a)
    y = y if build.arch == "bailingmoe3" else ops.scale(y)
    return ops.scale(ops.unary("SIGMOID", y))


def _result_gate(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    """What the result is multiplied by, in one step or in two."""
    whole = build.of_layer(il, "ssm_g.weight")
    if whole is not None:
        return ops.mul_mat(whole, x)
    y = ops.mul_mat(build.must(il, "ssm_g_a.weight"), x)
    second = build.of_layer(il, "ssm_g_b.weight")
    return y if second is None else ops.mul_mat(second, y)


def _still_attention(
    build: Build, x: GraphTensor, inp: AttentionInput, il: int, *, name: str
) -> GraphTensor:
    """Latent attention without rotation: Kimi's, kimi-linear.cpp:387."""
    s = latent_shape(build, il)
    q = queries(build, x, il)
    kv, pe = latent(build, x, il, s)
    if build.of_layer(il, "attn_k_b.weight") is not None:
        heads = absorbed(build, query_parts(build, q, s), kv, pe, il)
        return attend_latent(build, heads, inp, il, name=name)
    k, v = unfolded(build, kv, pe, il, s)
    q = ops.reshape(q, s.head_k, s.n_head, build.n_tokens)
    return attend(build, Heads(q=q, k=k, v=v), inp, il, name=name)


def kimi_linear(build: Build) -> Graph:
    """src/models/kimi-linear.cpp:234."""
    x = build.embedded()
    states, inp, out_ids = state_input(build), latent_input(build), build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        build.graph.expand(y)
        if build.shape.layers[il].recurrent_elements:
            y = delta_attention(build, states, y, il)
        else:
            y = _still_attention(build, y, inp, il, name="attn_output")
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)
        x = ops.add(y, x)
        y = build.layer_norm(x, il, "ffn_norm")
        x = ops.add(feed_forward(build, y, il, KIMI_LINEAR), x)
    return logits(build, build.norm(x, build.weight("output_norm.weight"), None, -1))


def bailingmoe3(build: Build) -> Graph:
    """src/models/bailingmoe3.cpp:219: gated latents that rotate."""
    x = build.embedded()
    states, inp = state_input(build), latent_input(build)
    sections = build.hparams.array("rope.dimension_sections") or (0, 0)
    pos = build.positions(4 if min(sections[:2]) > 0 else 1)
    out_ids = build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        if build.shape.layers[il].recurrent_elements:
            y = delta_attention(build, states, y, il)
        else:
            y = _gated_attention(build, y, inp, pos, il)
        x = ops.add(y, x)
        y = build.layer_norm(x, il, "ffn_norm")
        x = ops.add(feed_forward(build, y, il, RECIPE), x)
    x = build.norm(x, build.weight("output_norm.weight"), None, -1)
    return logits(build, ops.get_rows(x, out_ids))


def _gated_attention(
    build: Build, x: GraphTensor, inp: AttentionInput, pos: GraphTensor, il: int
) -> GraphTensor:
    """Of bailingmoe3: a gate for every head."""
    s, n = latent_shape(build, il), build.n_tokens
    still, turning = query_parts(build, queries(build, x, il), s)
    kv, pe = latent(build, x, il, s)
    parts = (still, ops.rope(turning, pos))
    heads = absorbed(build, parts, kv, ops.rope(pe, pos), il)
    y = attend_latent(build, heads, inp, il, name="")
    gate = ops.mul_mat(build.must(il, "attn_gate.weight"), x)
    gate = ops.unary("SIGMOID", ops.reshape(gate, 1, s.n_head, n))
    y = ops.mul(ops.reshape(y, s.head_v, s.n_head, n), gate)
    y = ops.cont(y, s.head_v * s.n_head, n)
    return ops.mul_mat(build.must(il, "attn_output.weight"), y)


class _Residuals:
    """Streams kept from layers before, mixed by score: res_mix, kimi-k3.cpp:198."""

    def __init__(self, build: Build) -> None:
        self._build = build
        self._stack: GraphTensor | None = None
        self.block = build.hparams.integer("attn_res.block_size", 0)

    def keep(self, x: GraphTensor) -> None:
        """Put the stream with those kept."""
        kept = ops.reshape(x, x.ne[0], 1, x.ne[1])
        self._stack = kept if self._stack is None else ops.concat(self._stack, kept, 1)

    def mixed(self, x: GraphTensor, score: str) -> GraphTensor:
        """The stream and all kept ones, weighted."""
        if self._stack is None:
            return x
        weight, stack = self._build.weight(f"{score}.weight"), self._stack
        if weight is None:
            raise ValueError(score)
        n_kept, n = stack.ne[1], x.ne[1]
        kept = ops.sum_rows(ops.mul(ops.same("RMS_NORM", stack), weight))
        own = ops.sum_rows(ops.mul(ops.same("RMS_NORM", x), weight))
        scores = ops.concat(ops.reshape(kept, n_kept, n), own, 0)
        p = ops.soft_max_ext(scores, None)
        of_kept = ops.cont(ops.view(p, (n_kept, n), (p.nb[1],)))
        of_own = ops.cont(ops.view(p, (1, n), (p.nb[1],)))
        return ops.add(ops.hc_pre(stack, of_kept), ops.mul(x, of_own))


def kimi_k3(build: Build) -> Graph:
    """src/models/kimi-k3.cpp:236."""
    x = build.embedded()
    states, inp, out_ids = state_input(build), latent_input(build), build.out_ids()
    kept = _Residuals(build)
    for il in build.layers:
        y = kept.mixed(x, f"blk.{il}.attn_res_score")
        is_kept = kept.block > 0 and il % kept.block == 0
        if is_kept:
            kept.keep(x)
        y = build.layer_norm(y, il, "attn_norm")
        build.graph.expand(y)
        if build.shape.layers[il].recurrent_elements:
            y = delta_attention(build, states, y, il)
        else:
            y = _k3_attention(build, y, inp, il)
        x = y if is_kept else ops.add(x, y)
        y = kept.mixed(x, f"blk.{il}.ffn_res_score")
        x = ops.add(x, _k3_feed_forward(build, build.layer_norm(y, il, "ffn_norm"), il))
    x = ops.get_rows(kept.mixed(x, "output_res_score"), out_ids)
    return logits(build, build.norm(x, build.weight("output_norm.weight"), None, -1))


def _k3_attention(
    build: Build, x: GraphTensor, inp: AttentionInput, il: int
) -> GraphTensor:
    """build_mla_layer, kimi-k3.cpp:485: a gate for every element."""
    y = _still_attention(build, x, inp, il, name="")
    gate = build.of_layer(il, "attn_gate.weight")
    if gate is not None:
        y = ops.mul(y, ops.unary("SIGMOID", ops.mul_mat(gate, x)))
    return ops.mul_mat(build.must(il, "attn_output.weight"), y)


def _k3_feed_forward(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    """build_latent_moe, kimi-k3.cpp:570: experts that read a narrower vector."""
    router = build.of_layer(il, "ffn_gate_inp.weight")
    if router is None:
        return _situ_ffn(build, x, il, "")
    down = build.of_layer(il, "ffn_routed_down.weight")
    narrow = x if down is None else ops.mul_mat(down, x)
    scores = ops.mul_mat(router, x)
    y = experts(build, narrow, il, routing(build, KIMI_K3), probs_in=scores)
    if build.of_layer(il, "ffn_routed_norm.weight") is not None:
        y = build.layer_norm(y, il, "ffn_routed_norm")
    up = build.of_layer(il, "ffn_routed_up.weight")
    y = y if up is None else ops.mul_mat(up, y)
    if build.of_layer(il, "ffn_gate_shexp.weight") is None:
        return y
    return ops.add(y, _situ_ffn(build, x, il, "_shexp"))


def _situ_ffn(build: Build, x: GraphTensor, il: int, suffix: str) -> GraphTensor:
    gate = ops.mul_mat(build.must(il, f"ffn_gate{suffix}.weight"), x)
    up = ops.mul_mat(build.must(il, f"ffn_up{suffix}.weight"), x)
    return ops.mul_mat(
        build.must(il, f"ffn_down{suffix}.weight"), situ(build, gate, up)
    )


GRAPHS: dict[str, Callable[[Build], Graph]] = {
    "bailingmoe3": bailingmoe3,
    "kimi-k3": kimi_k3,
    "kimi-linear": kimi_linear,
}
