"""Gemma 4: heads of two sizes, shared caches, an embedding for each layer.

Mirrors src/models/gemma4.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import Heads, attend
from placer.graph.build import SOFTMAX
from placer.graph.experts import Routing, experts, ffn
from placer.graph.recipe import Recipe
from placer.graph.standard import ending, inputs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.standard import Inputs
    from placer.graph.tensor import GraphTensor

RECIPE = Recipe(late_rows="behind norm")


def gemma4(build: Build) -> Graph:
    """The graph."""
    x = build.embedded(scale_rows=True)
    inputs = inputs_of(build, RECIPE)
    by_layer = _embeddings_by_layer(build, x)
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        y = _attention(build, y, inputs, il)
        y = build.layer_norm(y, il, "post_attention_norm")
        x = ops.add(y, x)
        y = _feed_forward(build, x, il)
        y = build.norm(y, build.of_layer(il, "post_ffw_norm.weight"), None, -1)
        x = ops.add(y, x)
        if by_layer is not None:
            x = _with_embedding(build, x, by_layer, il)
        scale = build.of_layer(il, "layer_output_scale.weight")
        x = x if scale is None else ops.mul(x, scale)
    return ending(build, x, RECIPE, inputs)


def _embeddings_by_layer(build: Build, x: GraphTensor) -> GraphTensor | None:
    """[elements, tokens, layers], gemma4.cpp:445; None where the file has none."""
    table = build.weight("per_layer_token_embd.weight")
    projection = build.weight("per_layer_model_proj.weight")
    if table is None or projection is None:
        return None
    n, n_layer = table.ne[0] // build.n_layer, build.n_layer
    tokens = build.input("I32", build.n_tokens, name="inp_per_layer_tokens")
    found = ops.get_rows(table, tokens)
    found = ops.scale(ops.reshape(found, n, n_layer, build.n_tokens))
    build.graph.expand(found)
    made = ops.scale(ops.mul_mat(projection, x))
    made = ops.reshape(made, n, n_layer, build.n_tokens)
    made = build.norm(made, build.weight("per_layer_proj_norm.weight"), None, -1)
    both = ops.scale(ops.add(made, found))
    return ops.cont(ops.permute(both, 0, 2, 1, 3))


def _with_embedding(
    build: Build, x: GraphTensor, by_layer: GraphTensor, il: int
) -> GraphTensor:
    y = build.mm(build.must(il, "inp_gate.weight"), x)
    y = ops.unary("GELU", y)
    own = ops.view(by_layer, by_layer.ne[:2], (by_layer.nb[1],))
    y = build.mm(build.must(il, "proj.weight"), ops.mul(y, own))
    y = build.norm(y, build.of_layer(il, "post_norm.weight"), None, il)
    return ops.add(x, y)


def _attention(build: Build, x: GraphTensor, inputs: Inputs, il: int) -> GraphTensor:
    """Keys that are values too where the file has none; caches that are shared."""
    layer, n = build.shape.layers[il], build.n_tokens
    factors = None if layer.is_swa else build.rope_factors(il)
    fused = build.of_layer(il, "attn_qkv.weight")
    both = None if fused is None else build.linear(il, "attn_qkv", x)

    def projected(name: str, n_head: int) -> GraphTensor:
        if both is None:
            return build.linear(il, f"attn_{name}", x)
        dims = (layer.head_dim_k * n_head, n)
        return ops.cont(ops.view(both, dims, (both.nb[1],)))

    def in_heads(y: GraphTensor, n_head: int) -> GraphTensor:
        return ops.reshape(y, layer.head_dim_k, n_head, n)

    q = in_heads(projected("q", layer.n_head), layer.n_head)
    q = ops.rope(build.layer_norm(q, il, "attn_q_norm"), inputs.pos, factors)
    k = v = None
    if layer.has_kv:
        n_kv = layer.n_head_kv
        keys = projected("k", n_kv)
        has_v = both is not None or build.of_layer(il, "attn_v.weight") is not None
        values = projected("v", n_kv) if has_v else keys
        k = build.layer_norm(in_heads(keys, n_kv), il, "attn_k_norm")
        k = ops.rope(k, inputs.pos, factors)
        v = ops.same("RMS_NORM", in_heads(values, n_kv))
    return attend(
        build,
        Heads(q=q, k=k, v=v),
        inputs.of(build, il),
        il,
        kv_layer=_cached_in(build, il),
    )


def _cached_in(build: Build, il: int) -> int:
    """The layer whose cache it reads: llama-model.cpp:2798."""
    layers = build.shape.layers
    if layers[il].has_kv:
        return il
    own = sum(layer.has_kv for layer in layers)
    return own - (2 if layers[il].is_swa else 1)


def _feed_forward(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    """Dense; with experts, both side by side, each with norms of its own."""
    y = ffn(build, build.layer_norm(x, il, "ffn_norm"), il, activation="gelu")
    router = build.of_layer(il, "ffn_gate_inp.weight")
    if router is None:
        return y
    y = build.layer_norm(y, il, "post_ffw_norm_1")
    z = build.layer_norm(x, il, "pre_ffw_norm_2")
    probs = ops.scale(ops.same("RMS_NORM", x))
    probs = ops.mul(probs, build.must(il, "ffn_gate_inp.scale"))
    route = Routing(
        gating=SOFTMAX,
        norm=True,
        scaled=False,
        activation="gelu",
        n_used=build.shape.n_expert_used,
    )
    z = experts(build, z, il, route, probs_in=build.mm(router, probs))
    return ops.add(y, build.layer_norm(z, il, "post_ffw_norm_2"))


GRAPHS: dict[str, Callable[[Build], Graph]] = {"gemma4": gemma4}
