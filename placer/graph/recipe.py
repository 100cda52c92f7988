"""How an architecture departs from the usual transformer; its feed-forwards.

Sources are src/models/*.cpp of llama.cpp build 11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.build import SIGMOID, SOFTMAX
from placer.graph.experts import Routing, experts, ffn

if TYPE_CHECKING:
    from placer.graph.build import Build
    from placer.graph.tensor import GraphTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What one architecture does differently.

    Attributes:
        norm: the operation of its norms.
        activation: of its dense feed-forwards.
        expert_activation: of its experts.
        embedding: what becomes of the embedded tokens: ``"scaled"``, ``"row scaled"``,
            ``"normed"`` without weights, ``"layer normed"`` with them, or
            ``"positions"`` where learnt positions are added.
        rope: ``"all"`` layers rotate queries and keys, ``"none"``, those with a
            ``"window"``, ``"window and dense"`` ones, all but every nth (``"step"``).
        rope_factors: whether the file's factors for long contexts are used.
        positions: numbers a token, 4 for rotations in sections.
        qk_norm: ``"heads"`` normalises each head, ``"rows"`` all heads together,
            ``"bare"`` rotated heads without weights.
        pre_norm: whether attention and feed-forward read normalised input.
        post_norm: whether their results are normalised.
        post_held: whether the last of those norms stays on the layer's device.
        ffn_norm: the name of the norm before the feed-forward.
        post_attn_norm: the name of the norm behind attention.
        q_scaled: whether queries are scaled by an operation of their own.
        attn_scale: whether queries are scaled by position.
        attn_gate: whether a gate is applied to what attention gives: ``"rows"``,
            ``"heads"`` or ``"softplus"``.
        parallel: ``""`` for one after the other; else the order in which attention,
            feed-forward and input are added: ``"fxa"``, ``"afx"``, ``"fax"``.
        gating: how logits of experts become probabilities; None for the file's word.
        norm_experts: whether the weights of the chosen sum to one; None likewise.
        shared: how the shared experts join: ``"added"``, ``"gated"``, ``"halved"``.
        residual_scaled: whether what is added to the stream is scaled.
        logits_scaled: whether logits are scaled by the file's factor.
        has_cache: False where a batch attends to itself alone.
        late_rows: where rows without logits are dropped, if not in the last layer:
            ``"before norm"`` or ``"behind norm"``.
        all_rows: whether none are dropped.
    """

    norm: str = "RMS_NORM"
    activation: str = "silu"
    expert_activation: str = "silu"
    embedding: str = ""
    rope: str = "all"
    rope_factors: bool = False
    positions: int = 1
    qk_norm: str = ""
    pre_norm: bool = True
    post_norm: bool = False
    post_held: bool = True
    ffn_norm: str = "ffn_norm"
    post_attn_norm: str = "post_attention_norm"
    q_scaled: bool = False
    attn_scale: bool = False
    attn_gate: str = ""
    parallel: str = ""
    gating: int | None = SOFTMAX
    norm_experts: bool | None = True
    shared: str = "added"
    residual_scaled: bool = False
    logits_scaled: bool = False
    has_cache: bool = True
    late_rows: str = ""
    all_rows: bool = False


def feed_forward(build: Build, x: GraphTensor, il: int, recipe: Recipe) -> GraphTensor:
    """Dense, or of experts where the layer has a router and the graph knows it.

    Refact's does not: refact.cpp.
    """
    if build.of_layer(il, "ffn_gate_inp.weight") is None or build.arch == "refact":
        return ffn(build, x, il, activation=recipe.activation)
    y = experts(build, x, il, routing(build, recipe))
    if build.of_layer(il, "ffn_up_shexp.weight") is None:
        return y
    return _with_shared(build, x, y, il, recipe)


def _with_shared(
    build: Build, x: GraphTensor, y: GraphTensor, il: int, recipe: Recipe
) -> GraphTensor:
    """What the routed experts gave, and the shared ones' word."""
    gate = None
    if recipe.shared == "gated":
        logit = ops.mul_mat(build.must(il, "ffn_gate_inp_shexp.weight"), x)
        gate = ops.div(ops.unary("SILU", logit), logit)
    fused = build.of_layer(il, "ffn_gate_shexp.weight") is None
    activation = "swiglu" if fused and build.arch == "granite_swa" else "silu"
    shared = ffn(build, x, il, suffix="_shexp", activation=activation)
    if gate is not None:
        shared = ops.mul(shared, gate)
    y = ops.add(y, shared)
    return ops.scale(y) if recipe.shared == "halved" else y


# Whose experts' logits become probabilities by a sigmoid where the file says nothing.
SIGMOID_UNLESS_SAID = frozenset(
    "afmoe cohere2moe glm-dsa glm4moe glm5-next hy_v3 laguna step35".split()
)


def routing(build: Build, recipe: Recipe) -> Routing:
    """How the model's tokens find their experts."""
    hparams = build.hparams
    gating = recipe.gating
    if gating is None:
        unsaid = SIGMOID if build.arch in SIGMOID_UNLESS_SAID else SOFTMAX
        gating = hparams.integer("expert_gating_func", unsaid)
    norm = recipe.norm_experts
    if norm is None:
        norm = hparams.flag("expert_weights_norm", default=False)
    scale = hparams.number("expert_weights_scale", 0.0)
    return Routing(
        gating=gating,
        norm=norm,
        scaled=scale not in (0.0, 1.0) and build.arch != "maple",
        activation=recipe.expert_activation,
        n_used=build.shape.n_expert_used,
        weight_first=build.arch == "llama4",
    )
