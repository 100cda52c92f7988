"""State space models, alone and with attention: Mamba, Jamba, Falcon-H1, Nemotron-H.

Mirrors src/models/mamba-base.cpp, mamba.cpp, jamba.cpp, granite-hybrid.cpp,
falcon-h1.cpp, nemotron-h.cpp, plamo2.cpp and lfm2.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.attention import AttentionInput, Heads, attend, attention_input
from placer.graph.build import SIGMOID
from placer.graph.experts import Routing, experts, ffn
from placer.graph.recipe import Recipe, feed_forward
from placer.graph.recurrent import StateInput, state_input
from placer.graph.scan import mamba1, mamba2, mamba_plamo2, short_conv
from placer.graph.standard import qkv

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph
    from placer.graph.tensor import GraphTensor

    Scan = Callable[[Build, StateInput, GraphTensor, int], GraphTensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hybrid:
    """What one architecture does differently.

    Attributes:
        scan: its recurrent layers.
        rope: ``"all"``, ``"none"`` or, as the file says, ``"finetuned"``.
        recipe: its feed-forwards; None where it has none.
        stream_first: whether results are added to the stream or the stream to them.
        ffn_stream_first: the same for feed-forwards.
        norm_name: of the last norm.
    """

    scan: Scan
    rope: str = "none"
    recipe: Recipe | None = None
    stream_first: bool = False
    ffn_stream_first: bool = False
    norm_name: str = "output_norm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What the host fills in for all layers."""

    states: StateInput
    full: AttentionInput | None
    window: AttentionInput | None
    pos: GraphTensor

    def of(self, build: Build, il: int) -> AttentionInput:
        """The cache that a layer reads."""
        found = self.window if build.shape.layers[il].is_swa else self.full
        if found is None:
            raise ValueError(f"layer {il} has no cache")
        return found


def inputs_of(build: Build) -> Inputs:
    """The states' rows, and the caches that there are."""
    states = state_input(build)
    by_window = {
        layer.is_swa: cells
        for layer, cells in zip(build.shape.layers, build.layout.cells, strict=True)
        if layer.has_kv
    }
    made = {w: attention_input(build, by_window[w]) for w in sorted(by_window)}
    return Inputs(
        states=states,
        full=made.get(False),
        window=made.get(True),
        pos=build.positions(),
    )


def hybrid(build: Build, how: Hybrid) -> Graph:
    """The graph of a model with recurrent layers."""
    x = build.embedded()
    inputs = inputs_of(build)
    out_ids = build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        if build.shape.layers[il].recurrent_elements:
            y = how.scan(build, inputs.states, y, il)
        else:
            y = _attention(build, y, inputs, il, how)
        if il == build.n_layer - 1:
            y, x = _rows(y, x, out_ids)
        y = _residual(build, y)
        x = ops.add(x, y) if how.stream_first else ops.add(y, x)
        if how.recipe is not None:
            x = _feed_forward(build, x, il, how, how.recipe)
    return _logits(build, x, how)


def _rows(
    y: GraphTensor, x: GraphTensor, out_ids: GraphTensor
) -> tuple[GraphTensor, GraphTensor]:
    return ops.get_rows(y, out_ids), ops.get_rows(x, out_ids)


def _feed_forward(
    build: Build, x: GraphTensor, il: int, how: Hybrid, recipe: Recipe
) -> GraphTensor:
    y = feed_forward(build, build.layer_norm(x, il, "ffn_norm"), il, recipe)
    y = _residual(build, y)
    return ops.add(x, y) if how.ffn_stream_first else ops.add(y, x)


def _residual(build: Build, y: GraphTensor) -> GraphTensor:
    is_scaled = build.arch == "granitehybrid"
    is_scaled = is_scaled and build.hparams.number("residual_scale", 0.0) != 0.0
    return ops.scale(y) if is_scaled else y


def _logits(build: Build, x: GraphTensor, how: Hybrid) -> Graph:
    weight = build.weight(f"{how.norm_name}.weight")
    y = build.projected_logits(build.norm(x, weight, None, -1))
    if build.arch == "granitehybrid" and build.hparams.number("logit_scale", 0.0):
        y = ops.scale(y)
    build.graph.expand(y)
    return build.graph


def _attention(
    build: Build, x: GraphTensor, inputs: Inputs, il: int, how: Hybrid
) -> GraphTensor:
    """Ordinary attention between the recurrent layers."""
    heads = qkv(build, x, il)
    if how.rope == "all" or (how.rope == "finetuned" and _is_roped(build)):
        heads = _turned(build, heads, inputs, il)
    return attend(build, heads, inputs.of(build, il), il)


def _is_roped(build: Build) -> bool:
    """granite-hybrid.cpp: the file's rope.scaling.finetuned says whether it rotates."""
    return build.hparams.flag("rope.scaling.finetuned", default=True)


def _turned(build: Build, heads: Heads, inputs: Inputs, il: int) -> Heads:
    q, k = heads.q, heads.k
    if k is None:
        return heads
    if build.of_layer(il, "attn_q_norm.weight") is not None:
        q = build.layer_norm(q, il, "attn_q_norm")
        k = build.layer_norm(k, il, "attn_k_norm")
    factors = build.rope_factors(il) if build.arch == "granitehybrid" else None
    q, k = (ops.rope(part, inputs.pos, factors) for part in (q, k))
    return Heads(q=q, k=k, v=heads.v)


def falcon_h1(build: Build) -> Graph:
    """falcon-h1.cpp: attention and a state space side by side in every layer."""
    x = build.embedded()
    inputs = inputs_of(build)
    out_ids = build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        heads = qkv(build, y, il)
        heads = Heads(
            q=ops.rope(heads.q, inputs.pos),
            k=None if heads.k is None else ops.rope(heads.k, inputs.pos),
            v=heads.v,
        )
        a = _unbiased_attention(build, heads, inputs, il)
        y = build.layer_norm(x, il, "attn_norm")
        s = mamba2(build, inputs.states, y, il)
        x = ops.add(ops.add(a, s), x)
        if il == build.n_layer - 1:
            x = ops.get_rows(x, out_ids)
        y = build.layer_norm(x, il, "ffn_norm")
        x = ops.add(ffn(build, y, il), x)
    return build.finish(x)


def _unbiased_attention(
    build: Build, heads: Heads, inputs: Inputs, il: int
) -> GraphTensor:
    y = attend(build, heads, inputs.of(build, il), il, name="")
    scale = build.of_layer(il, "attn_output.scale")
    return build.mm(build.must(il, "attn_output.weight"), y, scale)


def nemotron_h(build: Build) -> Graph:
    """nemotron-h.cpp: one block a layer, a state space, attention or feed-forward."""
    x = build.embedded()
    inputs = inputs_of(build)
    out_ids = build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        layer = build.shape.layers[il]
        if layer.recurrent_elements:
            y = mamba2(build, inputs.states, y, il)
        elif layer.has_kv:
            y = attend(build, qkv(build, y, il), inputs.of(build, il), il)
        else:
            y = _nemotron_ffn(build, y, il)
        x = ops.add(y, x)
    x = build.norm(x, build.weight("output_norm.weight"), None, -1)
    return build.logits(ops.get_rows(x, out_ids))


def _nemotron_ffn(build: Build, x: GraphTensor, il: int) -> GraphTensor:
    router = build.of_layer(il, "ffn_gate_inp.weight")
    if router is None:
        return ffn(build, x, il, activation="relu_sqr")
    latent, down = x, build.of_layer(il, "ffn_latent_down.weight")
    if down is not None:
        latent = ops.mul_mat(down, x)
    hparams = build.hparams
    routing = Routing(
        gating=SIGMOID,
        norm=hparams.flag("expert_weights_norm", default=False),
        scaled=hparams.number("expert_weights_scale", 0.0) not in (0.0, 1.0),
        activation="relu_sqr",
        n_used=int(hparams.per_layer("expert_used_count", 0)[il]),
    )
    y = experts(build, latent, il, routing, probs_in=ops.mul_mat(router, x))
    up = build.of_layer(il, "ffn_latent_up.weight")
    y = y if up is None else ops.mul_mat(up, y)
    return ops.add(y, ffn(build, x, il, activation="relu_sqr", suffix="_shexp"))


def plamo2(build: Build) -> Graph:
    """plamo2.cpp."""
    x = build.embedded()
    inputs = inputs_of(build)
    out_ids = build.out_ids()
    for il in build.layers:
        y = build.layer_norm(x, il, "attn_norm")
        if build.shape.layers[il].recurrent_elements:
            y = mamba_plamo2(build, inputs.states, y, il)
        else:
            y = _plamo2_attention(build, y, inputs, il)
        if il == build.n_layer - 1:
            y, x = _rows(y, x, out_ids)
        x = ops.add(build.layer_norm(y, il, "post_attention_norm"), x)
        y = build.layer_norm(x, il, "ffn_norm")
        y = ffn(build, y, il, activation="swiglu", parallel=False)
        x = ops.add(build.layer_norm(y, il, "post_ffw_norm"), x)
    return build.finish(x)


def _plamo2_attention(
    build: Build, x: GraphTensor, inputs: Inputs, il: int
) -> GraphTensor:
    layer, n = build.shape.layers[il], build.n_tokens
    y = ops.mul_mat(build.must(il, "attn_qkv.weight"), x)
    dk, dv, row = layer.head_dim_k, layer.head_dim_v, y.nb[1]
    q = ops.view(y, (dk, layer.n_head, n), (dk * 4, row))
    k = ops.view(y, (dk, layer.n_head_kv, n), (dk * 4, row))
    v = ops.view(y, (dv, layer.n_head_kv, n), (dv * 4, row))
    q = ops.rope(build.layer_norm(q, il, "attn_q_norm"), inputs.pos)
    k = ops.rope(build.layer_norm(k, il, "attn_k_norm"), inputs.pos)
    return _unbiased_attention(build, Heads(q=q, k=k, v=v), inputs, il)


_JAMBA = Hybrid(
    scan=mamba1,
    recipe=Recipe(norm_experts=False),
    stream_first=True,
    ffn_stream_first=True,
)
_GRANITE = Hybrid(scan=mamba2, rope="finetuned", recipe=Recipe())
_LFM2 = Hybrid(
    scan=short_conv,
    rope="all",
    recipe=Recipe(gating=None),
    stream_first=True,
    ffn_stream_first=True,
    norm_name="token_embd_norm",
)


def _of(how: Hybrid) -> Callable[[Build], Graph]:
    return lambda build: hybrid(build, how)


GRAPHS: dict[str, Callable[[Build], Graph]] = {
    "mamba": _of(Hybrid(scan=mamba1)),
    "mamba2": _of(Hybrid(scan=mamba2)),
    "jamba": _of(_JAMBA),
    "granitehybrid": _of(_GRANITE),
    "lfm2": _of(_LFM2),
    "lfm2moe": _of(_LFM2),
    "falcon-h1": falcon_h1,
    "nemotron_h": nemotron_h,
    "nemotron_h_moe": nemotron_h,
    "plamo2": plamo2,
}
