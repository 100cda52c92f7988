"""Transformers of the usual kind: attention, feed-forward, a residual around each.

One ``Recipe`` an architecture says what it does differently; which norms, biases and
scales there are is read off the file. Sources are src/models/*.cpp of llama.cpp build
11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import AttentionInput, Heads, attend, attention_input
from placer.graph.experts import Routing, experts, ffn
from placer.graph.build import SOFTMAX

if TYPE_CHECKING:
    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor

Maybe = "GraphTensor | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What one architecture does differently.

    Attributes:
        norm: the operation of its norms.
        activation: of its feed-forwards.
        roped: whether queries and keys are rotated.
        qk_norm: ``"heads"`` normalises each head before the rotation, ``"heads after"``
            after it, ``"rows"`` all heads together before they are told apart.
        norm_experts: whether the weights of the chosen experts sum to one.
        gating: of the experts where the file names none.
        activation_experts: where it differs.
    """

    norm: str = "RMS_NORM"
    activation: str = "silu"
    roped: bool = True
    qk_norm: str = ""
    norm_experts: bool = True
    gating: int = SOFTMAX
    activation_experts: str = "silu"


def standard(build: Build, recipe: Recipe) -> Graph:
    """The graph of a transformer that keeps keys and values for all layers."""
    x = build.embedded()
    pos = build.positions()
    inp = attention_input(build, build.layout.cells[0])
    out_ids = build.out_ids()
    for il in range(build.n_layer):
        y = build.layer_norm(x, il, "attn_norm", recipe.norm)
        y = attention(build, y, pos, inp, il, recipe)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)
        x = ops.add(y, x)
        y = build.layer_norm(x, il, "ffn_norm", recipe.norm)
        x = ops.add(feed_forward(build, y, il, recipe), x)
    return build.finish(x, recipe.norm)


def attention(
    build: Build,
    x: GraphTensor,
    pos: GraphTensor,
    inp: AttentionInput,
    il: int,
    recipe: Recipe,
) -> GraphTensor:
    """Queries, keys and values; their rotation; attention."""
    heads = qkv(build, x, il)
    q, k = heads.q, heads.k
    assert k is not None
    if recipe.qk_norm == "heads":
        q = build.layer_norm(q, il, "attn_q_norm", recipe.norm)
    if recipe.roped:
        factors = build.rope_factors(il)
        q = ops.rope(q, pos, factors)
    if recipe.qk_norm == "heads":
        k = build.layer_norm(k, il, "attn_k_norm", recipe.norm)
    if recipe.roped:
        k = ops.rope(k, pos, factors)
    return attend(build, Heads(q=q, k=k, v=heads.v), inp, il)


def qkv(build: Build, x: GraphTensor, il: int) -> Heads:
    """build_qkv, llama-graph.cpp:1684."""
    layer = build.shape.layers[il]
    n_head, n_kv = layer.n_head, layer.n_head_kv
    dk, dv = layer.head_dim_k, layer.head_dim_v
    clamped = build.hparams.number("attention.clamp_kqv", 0.0) > 0
    fused = build.of_layer(il, "attn_qkv.weight")
    if fused is not None:
        y = build.linear(il, "attn_qkv", x)
        y = ops.same("CLAMP", y) if clamped else y
        row = y.nb[1]
        q = ops.view(y, (dk, n_head, build.n_tokens), (dk * 4, row))
        k = ops.view(y, (dk, n_kv, build.n_tokens), (dk * 4, row))
        v = ops.view(y, (dv, n_kv, build.n_tokens), (dv * 4, row))
        return Heads(q=q, k=k, v=v)
    parts = []
    for name, n, d in (("q", n_head, dk), ("k", n_kv, dk), ("v", n_kv, dv)):
        y = build.linear(il, f"attn_{name}", x)
        y = ops.same("CLAMP", y) if clamped else y
        parts.append(ops.reshape(y, d, n, build.n_tokens))
    return Heads(q=parts[0], k=parts[1], v=parts[2])


def feed_forward(build: Build, x: GraphTensor, il: int, recipe: Recipe) -> GraphTensor:
    """Dense, or of experts where the layer has a router."""
    if build.of_layer(il, "ffn_gate_inp.weight") is None:
        return ffn(build, x, il, activation=recipe.activation)
    return experts(build, x, il, routing(build, recipe))


def routing(build: Build, recipe: Recipe) -> Routing:
    """How the model's tokens find their experts."""
    scale = build.hparams.number("expert_weights_scale", 0.0)
    return Routing(
        gating=recipe.gating,
        norm=recipe.norm_experts,
        scaled=scale not in (0.0, 1.0),
        activation=recipe.activation_experts,
        n_used=build.shape.n_expert_used,
    )
