"""Transformers of the usual kind: attention, feed-forward, a residual around each.

One ``Recipe`` an architecture says what it does differently; which biases and scales
there are, and which layers have experts or a window, is read off the file. Sources are
src/models/*.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import (
    AttentionInput,
    Heads,
    attend,
    attend_at_once,
    attention_input,
    batch_input,
)
from placer.graph.recipe import feed_forward

if TYPE_CHECKING:
    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.recipe import Recipe
    from placer.graph.tensor import GraphTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the host fills in for all layers."""

    pos: GraphTensor
    full: AttentionInput
    window: AttentionInput | None
    out_ids: GraphTensor
    attn_scale: GraphTensor | None

    def of(self, build: Build, il: int) -> AttentionInput:
        """The cache that a layer reads."""
        is_swa = build.shape.layers[il].is_swa and self.window is not None
        return self.window if is_swa and self.window is not None else self.full


def standard(build: Build, recipe: Recipe) -> Graph:
    """The graph of a transformer."""
    x = embedding(build, recipe)
    inputs = inputs_of(build, recipe)
    if recipe.embedding == "positions":
        table = build.weight("position_embd.weight")
        if table is not None:
            x = ops.add(x, ops.get_rows(table, inputs.pos))
    for il in build.layers:
        is_last = il == build.n_layer - 1 and not (recipe.late_rows or recipe.all_rows)
        rows = inputs.out_ids if is_last else None
        if recipe.parallel:
            x = _side_by_side(build, x, inputs, il, recipe, rows)
        else:
            x = one_by_one(build, x, inputs, il, recipe, rows)
        x = _deepstack(build, x, il)
    if recipe.late_rows == "before norm":
        x = ops.get_rows(x, inputs.out_ids)
    return ending(build, x, recipe, inputs)


def embedding(build: Build, recipe: Recipe) -> GraphTensor:
    """Tokens as vectors, the way the architecture wants them."""
    x = build.embedded(scale_rows=recipe.embedding == "row scaled")
    if recipe.embedding == "scaled":
        return ops.scale(x)
    if recipe.embedding == "normed":
        return ops.same("RMS_NORM", x)
    if recipe.embedding == "layer normed":
        weight = build.weight("token_embd_norm.weight")
        return build.norm(x, weight, build.weight("token_embd_norm.bias"), 0, "NORM")
    return x


def inputs_of(build: Build, recipe: Recipe) -> Inputs:
    """The inputs of all layers."""
    layers, cells = build.shape.layers, build.layout.cells
    by_window = {layer.is_swa: c for layer, c in zip(layers, cells, strict=True)}
    full_cells = by_window.get(False, build.workload.n_ctx_seq)
    if recipe.has_cache:
        is_swa = False if True in by_window else None
        full = attention_input(build, full_cells, is_swa=is_swa)
    else:
        full = batch_input(build)
    window = None
    if True in by_window:
        window = attention_input(build, by_window[True], is_swa=True)
    has_scale = recipe.attn_scale and (
        build.arch == "llama4" or build.hparams.number("attention.temperature_scale", 0)
    )
    scale = build.input("F32", 1, 1, build.n_tokens, name="attn_scale")
    return Inputs(
        pos=build.positions(_numbers_a_token(build, recipe)),
        full=full,
        window=window,
        out_ids=build.out_ids(),
        attn_scale=scale if has_scale else None,
    )


def _numbers_a_token(build: Build, recipe: Recipe) -> int:
    """Four where the file says how to rotate in sections: use_mrope."""
    sections = build.hparams.array("rope.dimension_sections") or ()
    in_sections = len(sections) > 1 and min(sections[:2]) > 0
    return 4 if in_sections and build.arch.startswith("glm4") else recipe.positions


def one_by_one(
    build: Build,
    x: GraphTensor,
    inputs: Inputs,
    il: int,
    recipe: Recipe,
    rows: GraphTensor | None,
) -> GraphTensor:
    """Attention, then the feed-forward."""
    y = x
    if recipe.pre_norm:
        y = build.layer_norm(x, il, "attn_norm", recipe.norm)
    y = attention(build, y, inputs, il, recipe)
    if recipe.post_norm:
        y, x, rows = _normed_after(build, y, x, il, recipe, rows)
    if rows is not None:
        y, x = ops.get_rows(y, rows), ops.get_rows(x, rows)
    x = ops.add(_residual(build, y, recipe), x)
    y = x
    if recipe.pre_norm:
        y = build.layer_norm(x, il, recipe.ffn_norm, recipe.norm)
    y = feed_forward(build, y, il, recipe)
    if recipe.post_norm:
        held = il if recipe.post_held else -1
        weight = build.of_layer(il, "post_ffw_norm.weight")
        y = build.norm(y, weight, None, held)
    return ops.add(_residual(build, y, recipe), x)


def _normed_after(
    build: Build,
    y: GraphTensor,
    x: GraphTensor,
    il: int,
    recipe: Recipe,
    rows: GraphTensor | None,
) -> tuple[GraphTensor, GraphTensor, GraphTensor | None]:
    """Attention's result normalised; rows without logits dropped before, mostly."""
    if rows is not None and (recipe.attn_gate != "rows" or build.arch == "grok"):
        y, x, rows = ops.get_rows(y, rows), ops.get_rows(x, rows), None
    return build.layer_norm(y, il, recipe.post_attn_norm), x, rows


def _side_by_side(
    build: Build,
    x: GraphTensor,
    inputs: Inputs,
    il: int,
    recipe: Recipe,
    rows: GraphTensor | None,
) -> GraphTensor:
    """Attention and feed-forward of the same normalised input."""
    z = build.layer_norm(x, il, "attn_norm", recipe.norm)
    y = attention(build, z, inputs, il, recipe)
    if rows is not None:
        y, x, z = (ops.get_rows(t, rows) for t in (y, x, z))
    f = feed_forward(build, z, il, recipe)
    parts = {"a": y, "f": f, "x": x}
    first, second, third = (parts[name] for name in recipe.parallel)
    return ops.add(ops.add(first, second), third)


def _residual(build: Build, y: GraphTensor, recipe: Recipe) -> GraphTensor:
    scaled = recipe.residual_scaled and build.factor("residual_scale")
    return ops.scale(y) if scaled else y


def _deepstack(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    """Vision features of a deeper layer, added in the first ones: qwen3vl.cpp."""
    if not build.arch.startswith("qwen3vl"):
        return x
    if il >= build.hparams.integer("n_deepstack_layers", 0) or build.rows is None:
        return x
    return ops.add(
        x, ops.view(build.rows, (build.n_embd, build.n_tokens), (build.rows.nb[1],))
    )


def ending(build: Build, x: GraphTensor, recipe: Recipe, inputs: Inputs) -> Graph:
    """The last norm and the logits, scaled and squeezed as the file says."""
    weight = build.weight("output_norm.weight")
    x = build.norm(x, weight, build.weight("output_norm.bias"), -1, recipe.norm)
    if recipe.late_rows == "behind norm":
        x = ops.get_rows(x, inputs.out_ids)
    y = build.projected_logits(x)
    if recipe.logits_scaled and build.factor("logit_scale"):
        y = ops.scale(y)
    unsaid = CAPS.get(build.arch)
    if unsaid is not None and build.hparams.number("final_logit_softcapping", unsaid):
        y = ops.scale(ops.unary("TANH", ops.scale(y)))
    build.graph.expand(y)
    return build.graph


# Who squeezes logits, and within what where the file says nothing: llama-hparams.h:137.
CAPS = {
    "gemma2": 30.0,
    "gemma3": 0.0,
    "gemma4": 30.0,
    "grok": 0.0,
    "muse-glimmer": 30.0,
}


def attention(
    build: Build, x: GraphTensor, inputs: Inputs, il: int, recipe: Recipe
) -> GraphTensor:
    """Queries, keys and values; their rotation; attention; the projection."""
    heads = qkv(build, x, il, by_rows=recipe.qk_norm == "rows")
    is_roped = rotates(build, il, recipe)
    q = _prepared(build, heads.q, inputs, il, recipe, "attn_q_norm", is_roped=is_roped)
    k = heads.k
    if k is not None:
        k = _prepared(build, k, inputs, il, recipe, "attn_k_norm", is_roped=is_roped)
    if recipe.q_scaled:
        q = ops.scale(q)
    if inputs.attn_scale is not None and not (build.arch == "llama4" and is_roped):
        q = ops.mul(q, inputs.attn_scale)
    heads = Heads(q=q, k=k, v=heads.v)
    if recipe.attn_gate:
        return _gated(build, x, heads, inputs, il, recipe)
    if not recipe.has_cache:
        return attend_at_once(build, heads, inputs.full, il)
    sinks = build.of_layer(il, "attn_sinks.weight")
    return attend(build, heads, inputs.of(build, il), il, sinks=sinks)


def _prepared(
    build: Build,
    x: GraphTensor,
    inputs: Inputs,
    il: int,
    recipe: Recipe,
    norm: str,
    *,
    is_roped: bool,
) -> GraphTensor:
    """Heads normalised and rotated, in the order that the architecture has."""
    after = build.arch in NORM_AFTER_ROPE
    if recipe.qk_norm == "heads" and not after:
        x = _head_norm(build, x, il, norm, recipe)
    if is_roped:
        factors = build.rope_factors(il) if recipe.rope_factors else None
        x = ops.rope(x, inputs.pos, factors)
    if recipe.qk_norm == "heads" and after:
        x = _head_norm(build, x, il, norm, recipe)
    if recipe.qk_norm == "bare" and is_roped:
        x = ops.same("RMS_NORM", x)
    return x


def _head_norm(
    build: Build, x: GraphTensor, il: int, norm: str, recipe: Recipe
) -> GraphTensor:
    weight = build.of_layer(il, f"{norm}.weight")
    if weight is None and build.arch != "talkie":
        return x
    return build.norm(x, weight, None, il, recipe.norm)


# Rotated first, then normalised.
NORM_AFTER_ROPE = frozenset(
    "hunyuan-dense hunyuan_vl hunyuan-moe maincoder talkie".split()
)


def _gated(
    build: Build,
    x: GraphTensor,
    heads: Heads,
    inputs: Inputs,
    il: int,
    recipe: Recipe,
) -> GraphTensor:
    """Attention with a gate on its result: afmoe.cpp, spark2-5.cpp."""
    y = attend(build, heads, inputs.of(build, il), il, name="")
    kind = "SOFTPLUS" if recipe.attn_gate == "softplus" else "SIGMOID"
    gate = ops.unary(kind, ops.mul_mat(build.must(il, "attn_gate.weight"), x))
    layer = build.shape.layers[il]
    if gate.ne[0] == layer.n_head:
        d, n_head, n = layer.head_dim_v, layer.n_head, y.ne[1]
        y = ops.mul(ops.reshape(y, d, n_head, n), ops.reshape(gate, 1, n_head, n))
        y = ops.reshape(y, d * n_head, n)
    else:
        y = ops.mul(y, gate)
    scale = build.of_layer(il, "attn_output.scale")
    return build.mm(build.must(il, "attn_output.weight"), y, scale)


def rotates(build: Build, il: int, recipe: Recipe) -> bool:
    """Whether the layer rotates queries and keys."""
    layer, hparams = build.shape.layers[il], build.hparams
    if recipe.rope == "window":
        return layer.is_swa
    if recipe.rope == "window or none":
        return layer.is_swa or not any(x.is_swa for x in build.shape.layers)
    if recipe.rope == "window and dense":
        return layer.is_swa or il < hparams.integer("leading_dense_block_count", 0)
    if recipe.rope == "step":
        windowed = any(x.is_swa for x in build.shape.layers)
        step = 4 if windowed or build.arch != "llama4" else build.n_layer
        return (il + 1) % step != 0
    if recipe.rope == "pattern":
        return hparams.per_layer("attention.rope_pattern", 1)[il] != 0
    return recipe.rope == "all"


def qkv(build: Build, x: GraphTensor, il: int, *, by_rows: bool = False) -> Heads:
    """build_qkv, llama-graph.cpp:1684.

    Args:
        build: the graph.
        x: [n_embd, tokens].
        il: the layer.
        by_rows: whether all heads of a token are normalised together.
    """
    layer = build.shape.layers[il]
    n_head, n_kv = layer.n_head, layer.n_head_kv
    dk, dv = layer.head_dim_k, layer.head_dim_v
    clamped = build.hparams.number("attention.clamp_kqv", 0.0) > 0 and not by_rows
    if build.of_layer(il, "attn_qkv.weight") is not None:
        y = fused_qkv(build, x, il)
        y = ops.same("CLAMP", y) if clamped else y
        row, n = y.nb[1], build.n_tokens
        return Heads(
            q=ops.view(y, (dk, n_head, n), (dk * 4, row)),
            k=ops.view(y, (dk, n_kv, n), (dk * 4, row)),
            v=ops.view(y, (dv, n_kv, n), (dv * 4, row)),
        )
    parts = []
    for name, n, d in (("q", n_head, dk), ("k", n_kv, dk), ("v", n_kv, dv)):
        y = build.linear(il, f"attn_{name}", x)
        y = ops.same("CLAMP", y) if clamped else y
        if by_rows and name != "v":
            weight = build.of_layer(il, f"attn_{name}_norm.weight")
            y = build.norm(y, weight, None, il)
        parts.append(ops.reshape(y, d, n, build.n_tokens))
    return Heads(q=parts[0], k=parts[1], v=parts[2])


# Whose graphs load a scale of the fused projection and leave it.
QKV_UNSCALED = frozenset({"cogvlm", "mimo2", "plamo3"})


def fused_qkv(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    """One projection for queries, keys and values; its bias in one or three parts."""
    scale = build.of_layer(il, "attn_qkv.scale")
    scale = None if build.arch in QKV_UNSCALED else scale
    y = build.mm(build.must(il, "attn_qkv.weight"), x, scale)
    bias = build.of_layer(il, "attn_qkv.bias")
    if bias is not None:
        return ops.add(y, bias)
    parts = [build.of_layer(il, f"attn_{name}.bias") for name in "qkv"]
    q, k, v = parts
    if q is None or k is None or v is None:
        return y
    return ops.add(y, ops.concat(ops.concat(q, k, 0), v, 0))
