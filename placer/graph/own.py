"""Transformers that no recipe fits, each built from the same blocks.

Sources are src/models/*.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import Heads, attend
from placer.graph.build import SIGMOID, UnknownGraphError
from placer.graph.experts import experts, ffn
from placer.graph.recipe import Recipe, feed_forward, routing
from placer.graph.standard import attention, embedding, ending, inputs_of, qkv, standard

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor

# baichuan.cpp:8: only the model of 32 layers rotates; the others are ALiBi.
BAICHUAN_ROTATED = 32


def baichuan(build: Build) -> Graph:
    """baichuan.cpp."""
    rope = "all" if build.shape.n_layer_all == BAICHUAN_ROTATED else "none"
    return standard(build, Recipe(rope=rope))


def deci(build: Build) -> Graph:
    """Layers without attention, with a mere projection, or without feed-forward."""
    recipe = Recipe(rope_factors=True)
    x = embedding(build, recipe)
    inputs = inputs_of(build, recipe)
    for il in build.layers:
        layer, before = build.shape.layers[il], x
        y = x
        if layer.n_head:
            y = build.layer_norm(x, il, "attn_norm")
        if layer.n_head and not layer.n_head_kv:
            y = ops.mul_mat(build.must(il, "attn_output.weight"), y)
        elif layer.n_head:
            y = attention(build, y, inputs, il, recipe)
        if il == build.n_layer - 1:
            y, before = (ops.get_rows(t, inputs.out_ids) for t in (y, before))
        if build.of_layer(il, "ffn_up.weight") is None:
            continue
        x = ops.add(y, before) if layer.n_head else y
        x = ops.add(
            feed_forward(build, build.layer_norm(x, il, "ffn_norm"), il, recipe), x
        )
    return ending(build, x, recipe, inputs)


def gptneox(build: Build) -> Graph:
    """Attention and feed-forward side by side, each with a norm of its own."""
    recipe = Recipe(norm="NORM", activation="gelu")
    if not build.hparams.flag("use_parallel_residual", default=True):
        return standard(build, recipe)
    x = embedding(build, recipe)
    inputs = inputs_of(build, recipe)
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm", "NORM")
        y = attention(build, y, inputs, il, recipe)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, inputs.out_ids), ops.get_rows(x, inputs.out_ids)
        z = build.layer_norm(x, il, "ffn_norm", "NORM")
        x = ops.add(ops.add(feed_forward(build, z, il, recipe), x), y)
    return ending(build, x, recipe, inputs)


def mpt(build: Build) -> Graph:
    """ALiBi, learnt positions where the file has them: mpt.cpp.

    Raises:
        UnknownGraphError: the file normalises queries, which no compared one does.
    """
    if build.of_layer(0, "attn_q_norm.weight") is not None:
        raise UnknownGraphError("mpt with attn_q_norm")
    recipe = Recipe(norm="NORM", activation="gelu", embedding="positions", rope="none")
    return standard(build, recipe)


def grok(build: Build) -> Graph:
    """Experts and a dense feed-forward side by side: grok.cpp."""
    recipe = Recipe(activation="gelu", expert_activation="gelu", logits_scaled=True)
    x = embedding(build, recipe)
    inputs = inputs_of(build, recipe)
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        y = attention(build, y, inputs, il, recipe)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, inputs.out_ids), ops.get_rows(x, inputs.out_ids)
        x = ops.add(build.layer_norm(y, il, "attn_output_norm"), x)
        z = build.layer_norm(x, il, "ffn_norm")
        y = experts(build, z, il, routing(build, recipe))
        if build.of_layer(il, "ffn_up.weight") is not None:
            y = ops.scale(ops.add(ffn(build, z, il, activation="gelu"), y))
        norm = "post_ffw_norm"
        if build.of_layer(il, f"{norm}.weight") is None:
            norm = "layer_output_norm"
        x = ops.add(build.layer_norm(y, il, norm), x)
    return ending(build, x, recipe, inputs)


def grovemoe(build: Build) -> Graph:
    """Experts, then groups of experts that share a router: grovemoe.cpp."""
    recipe = Recipe(qk_norm="heads")
    x = embedding(build, recipe)
    inputs = inputs_of(build, recipe)
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        y = attention(build, y, inputs, il, recipe)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, inputs.out_ids), ops.get_rows(x, inputs.out_ids)
        x = ops.add(y, x)
        z = build.layer_norm(x, il, "ffn_norm")
        probs = ops.mul_mat(build.must(il, "ffn_gate_inp.weight"), z)
        route = routing(build, recipe)
        y = experts(build, z, il, route, probs_in=probs)
        n_chunk = build.shape.n_expert // build.hparams.integer("experts_per_group", 1)
        route = replace(route, n_used=min(route.n_used, n_chunk))
        more = experts(build, y, il, route, probs_in=probs, suffix="_chexps")
        x = ops.add(ops.add(y, ops.scale(more)), x)
    return ending(build, x, recipe, inputs)


def talkie(build: Build) -> Graph:
    """The embedding comes back in every layer; norms have no weights: talkie.cpp."""
    recipe = Recipe(embedding="normed", qk_norm="heads", logits_scaled=True)
    x = skip = embedding(build, recipe)
    inputs = inputs_of(build, recipe)
    for il in build.layers:
        again = skip
        y = build.norm(x, None, None, il)
        y = attention(build, y, inputs, il, recipe)
        if il == build.n_layer - 1:
            y, x, again = (ops.get_rows(t, inputs.out_ids) for t in (y, x, again))
        x = ops.add(y, x)
        y = build.norm(x, None, None, il)
        x = ops.add(ffn(build, y, il), x)
        x = ops.add(x, ops.mul(again, build.must(il, "layer_output_scale.weight")))
    return ending(build, x, recipe, inputs)


def falcon(build: Build) -> Graph:
    """Side by side, attention with a second norm where the file has it: falcon.cpp."""
    recipe = Recipe(norm="NORM", activation="gelu")
    x = embedding(build, recipe)
    inputs = inputs_of(build, recipe)
    for il in build.layers:
        z = y = build.layer_norm(x, il, "attn_norm", "NORM")
        if build.of_layer(il, "attn_norm_2.weight") is not None:
            y = build.layer_norm(x, il, "attn_norm_2", "NORM")
        y = attention(build, y, inputs, il, recipe)
        if il == build.n_layer - 1:
            y, x, z = (ops.get_rows(t, inputs.out_ids) for t in (y, x, z))
        x = ops.add(ops.add(feed_forward(build, z, il, recipe), y), x)
    return ending(build, x, recipe, inputs)


def arctic(build: Build) -> Graph:
    """Experts beside attention and a dense feed-forward: arctic.cpp."""
    recipe = Recipe()
    x = embedding(build, recipe)
    inputs = inputs_of(build, recipe)
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        y = attention(build, y, inputs, il, recipe)
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, inputs.out_ids), ops.get_rows(x, inputs.out_ids)
        before, x = x, ops.add(y, x)
        x = ops.add(ffn(build, build.layer_norm(x, il, "ffn_norm"), il), x)
        z = build.layer_norm(before, il, "ffn_norm_exps")
        x = ops.add(experts(build, z, il, routing(build, recipe)), x)
    return ending(build, x, recipe, inputs)


# llama4.cpp:41: the model of so many experts leaves rotated heads as they are.
LLAMA4_BARE_EXPERTS = 128


def llama4(build: Build) -> Graph:
    """Every fourth layer is not rotated, but scaled by position: llama4.cpp."""
    is_bare = build.shape.n_expert == LLAMA4_BARE_EXPERTS
    recipe = Recipe(
        rope="step",
        rope_factors=True,
        qk_norm="" if is_bare else "bare",
        attn_scale=True,
        gating=SIGMOID,
        norm_experts=False,
    )
    return standard(build, recipe)


def smallthinker(build: Build) -> Graph:
    """Routers read the layer's input before attention: smallthinker.cpp."""
    recipe = Recipe(expert_activation="relu", gating=None)
    x = embedding(build, recipe)
    inputs = inputs_of(build, recipe)
    windowed = any(layer.is_swa for layer in build.shape.layers)
    for il in build.layers:
        probs = ops.mul_mat(build.must(il, "ffn_gate_inp.weight"), x)
        rope = "all" if not windowed or il % 4 else "none"
        y = build.layer_norm(x, il, "attn_norm")
        y = attention(build, y, inputs, il, replace(recipe, rope=rope))
        if il == build.n_layer - 1:
            y, x, probs = (ops.get_rows(t, inputs.out_ids) for t in (y, x, probs))
        x = ops.add(y, x)
        z = build.layer_norm(x, il, "ffn_norm")
        route = routing(build, recipe)
        x = ops.add(experts(build, z, il, route, probs_in=probs), x)
    return ending(build, x, recipe, inputs)


def mimo2(build: Build) -> Graph:
    """Windows with sinks and heads of their own: mimo2.cpp."""
    recipe = Recipe(gating=SIGMOID)
    x = embedding(build, recipe)
    inputs = inputs_of(build, recipe)
    scaled = build.hparams.number("attention.value_scale", 0.0)
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        heads = _bare_heads(build, y, il)
        if heads.k is None:
            raise ValueError(heads)
        heads = Heads(
            q=ops.rope(heads.q, inputs.pos), k=ops.rope(heads.k, inputs.pos), v=heads.v
        )
        sinks = build.of_layer(il, "attn_sinks.weight")
        y = attend(build, heads, inputs.of(build, il), il, sinks=sinks)
        y = ops.scale(y) if scaled else y
        if il == build.n_layer - 1:
            y, x = ops.get_rows(y, inputs.out_ids), ops.get_rows(x, inputs.out_ids)
        x = ops.add(y, x)
        x = ops.add(
            feed_forward(build, build.layer_norm(x, il, "ffn_norm"), il, recipe), x
        )
    return ending(build, x, recipe, inputs)


def _bare_heads(build: Build, x: GraphTensor, il: int) -> Heads:
    """Projections without the biases and scales that may be in the file: mimo2.cpp."""
    if build.of_layer(il, "attn_qkv.weight") is not None:
        return qkv(build, x, il)
    layer = build.shape.layers[il]
    q, k, v = (
        ops.mul_mat(build.must(il, f"attn_{name}.weight"), x)
        for name in ("q", "k", "v")
    )
    n = build.n_tokens
    return Heads(
        q=ops.reshape(q, layer.head_dim_k, layer.n_head, n),
        k=ops.reshape(k, layer.head_dim_k, layer.n_head_kv, n),
        v=ops.reshape(v, layer.head_dim_v, layer.n_head_kv, n),
    )


GRAPHS: dict[str, Callable[[Build], Graph]] = {
    "arctic": arctic,
    "baichuan": baichuan,
    "deci": deci,
    "falcon": falcon,
    "gptneox": gptneox,
    "grok": grok,
    "grovemoe": grovemoe,
    "llama4": llama4,
    "mimo2": mimo2,
    "mpt": mpt,
    "smallthinker": smallthinker,
    "talkie": talkie,
}
