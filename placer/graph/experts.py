"""Feed-forward blocks, dense and of experts.

Mirrors build_ffn and build_moe_ffn, llama-graph.cpp:1799 and :2044 of llama.cpp build
11434.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.graph import ops
from placer.graph.build import SIGMOID, SOFTMAX, SOFTMAX_WEIGHT, SQRT_SOFTPLUS
from placer.graph.support import WIDE_SOURCE
from placer.graph.tensor import GraphTensor

if TYPE_CHECKING:
    from placer.graph.build import Build

Maybe = GraphTensor | None
# The gated unit of each activation, and its plain function.
GATED = {"silu": "SWIGLU", "gelu": "GEGLU", "relu": "REGLU", "swiglu_oai": "SWIGLU_OAI"}
# Fused clamps of swiglu, llama-graph.cpp:1891 and :2262
CLAMPS_FUSED = frozenset({"deepseek4", "glm5-next", "dflash"})
CLAMPS_FUSED_EXPERTS = CLAMPS_FUSED | {"maple", "hy-v4", "hy_v4"}
CLAMP_EPS = 1e-6
# Whose graphs apply the scales of a dense feed-forward, of the routed and of the shared
# experts; the others load them and leave them.
FFN_SCALED = frozenset(
    """
    bitnet cohere2 cohere2moe deepseek32 dots3note gemma4 glm-dsa hy_v3 llama mistral3
    nanbeige nemotron_h nemotron_h_moe qwen3 qwen35
    """.split()
)
EXPERTS_SCALED = frozenset(
    """
    cohere2moe deepseek32 dots3note gemma4 glm-dsa hy_v3 llama mellum mistral3
    nemotron_h nemotron_h_moe qwen35moe qwen3moe qwen3next qwen4exp
    """.split()
)
# Whose graphs load biases of feed-forwards and leave them.
FFN_UNBIASED = frozenset({"llada", "refact"})
SHARED_SCALED = EXPERTS_SCALED - {"llama", "mellum", "mistral3", "qwen3moe", "gemma4"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """How tokens find their experts.

    Attributes:
        gating: how logits become probabilities, as the file numbers it.
        norm: whether the weights of the chosen experts are made to sum to one.
        scaled: whether they are multiplied afterwards.
        activation: of the experts.
        n_used: experts a token visits.
        weight_first: whether tokens are weighted before the experts.
    """

    gating: int
    norm: bool
    scaled: bool
    activation: str = "silu"
    n_used: int = 0
    weight_first: bool = False


def ffn(
    build: Build,
    x: GraphTensor,
    il: int,
    *,
    activation: str = "silu",
    suffix: str = "",
    parallel: bool = True,
) -> GraphTensor:
    """A dense feed-forward by ``ffn_up``, ``ffn_gate`` and ``ffn_down``.

    Args:
        build: the graph.
        x: [n_embd, tokens].
        il: the layer.
        activation: ``silu``, ``gelu``, ``relu``, ``relu_sqr``, or ``swiglu`` and its
            like, which halve one projection.
        suffix: of the tensors' names, ``"_shexp"``.
        parallel: whether gate and up both read ``x``.
    """
    has_up = build.of_layer(il, f"ffn_up{suffix}.weight") is not None
    up = projected(build, il, f"ffn_up{suffix}", x) if has_up else x
    gated = build.of_layer(il, f"ffn_gate{suffix}.weight") is not None
    y = up
    if gated:
        y = projected(build, il, f"ffn_gate{suffix}", x if parallel else up)
    if gated and parallel and activation in GATED:
        y = _gated_unit(build, y, up, il, activation)
    else:
        y = _activated(y, activation)
        scales = build.of_layer(il, "ffn.act.scales")  # mpt.cpp:144
        y = y if scales is None else ops.div(y, scales)
        if gated and parallel:
            y = ops.mul(y, up)
    if build.of_layer(il, f"ffn_down{suffix}.weight") is None:
        return y
    return projected(build, il, f"ffn_down{suffix}", y)


def projected(build: Build, il: int, name: str, x: GraphTensor) -> GraphTensor:
    """A projection as feed-forwards have it: the bias before the scale."""
    y = ops.mul_mat(build.must(il, f"{name}.weight"), x)
    unbiased = build.arch in FFN_UNBIASED
    bias = None if unbiased else build.of_layer(il, f"{name}.bias")
    scaled = SHARED_SCALED if name.endswith("_shexp") else FFN_SCALED
    is_scaled = build.arch in scaled or (build.arch, name) == ("talkie", "ffn_down")
    scale = build.of_layer(il, f"{name}.scale") if is_scaled else None
    y = y if bias is None else ops.add(y, bias)
    return y if scale is None else ops.mul(y, scale)


def _gated_unit(
    build: Build, gate: GraphTensor, up: GraphTensor, il: int, activation: str
) -> GraphTensor:
    limit = _clamp(build, "swiglu_clamp_shexp", il) if activation == "silu" else 0.0
    if limit <= CLAMP_EPS:
        return ops.glu(GATED[activation], gate, up)
    return _clamped(gate, up, is_fused=build.arch in CLAMPS_FUSED)


def _clamped(gate: GraphTensor, up: GraphTensor, *, is_fused: bool) -> GraphTensor:
    if is_fused:
        return ops.glu("SWIGLU_CLAMP", gate, up)
    up = ops.same("CLAMP", up)
    return ops.mul(ops.same("CLAMP", ops.unary("SILU", gate)), up)


def _clamp(build: Build, key: str, il: int) -> float:
    values = build.hparams.numbers(key)
    return values[il] if il < len(values) else 0.0


def _activated(x: GraphTensor, activation: str) -> GraphTensor:
    if activation in ("swiglu", "geglu", "reglu"):
        return ops.glu(activation.upper(), x)
    if activation == "relu_sqr":
        return ops.same("SQR", ops.unary("RELU", x))
    return ops.unary(activation.upper(), x)


def experts(
    build: Build,
    x: GraphTensor,
    il: int,
    routing: Routing,
    *,
    probs_in: Maybe = None,
    suffix: str = "_exps",
    router: str = "ffn_gate_inp",
) -> GraphTensor:
    """The routed experts: build_moe_ffn, llama-graph.cpp:2044.

    ``x`` is [n_embd, tokens] and so is the result.
    """
    n_embd, n_tokens = x.ne[0], x.ne[1]
    ids, weights = _chosen(build, x, il, routing, probs_in, router)
    build.graph.expand(weights)
    y = ops.reshape(x, n_embd, 1, n_tokens)
    if routing.weight_first:
        y = ops.mul(ops.repeat(y, n_embd, routing.n_used, n_tokens, 1), weights)
    y = _inner(build, y, ids, il, routing, suffix)
    y = build.mm_id(
        build.must(il, f"ffn_down{suffix}.weight"),
        y,
        ids,
        _expert_scale(build, il, f"ffn_down{suffix}"),
    )
    if build.arch == "mistral4":  # what it reads can exceed f16: llama-graph.cpp:2356
        y.name = WIDE_SOURCE
    bias = build.of_layer(il, f"ffn_down{suffix}.bias")
    y = y if bias is None else ops.add_id(y, bias, ids)
    if not routing.weight_first:
        y = ops.mul(y, weights)
    return _summed(build, y, routing.n_used)


def _chosen(
    build: Build,
    x: GraphTensor,
    il: int,
    routing: Routing,
    probs_in: Maybe,
    router: str,
) -> tuple[GraphTensor, GraphTensor]:
    """The experts' numbers [used, tokens] and their weights [1, used, tokens]."""
    n_tokens = x.ne[1]
    logits = probs_in
    if logits is None:
        logits = ops.mul_mat(build.must(il, f"{router}.weight"), x)
    bias = build.of_layer(il, f"{router}.bias")
    logits = logits if bias is None else ops.add(logits, bias)
    n_expert = logits.ne[0]
    probs = _probabilities(logits, routing.gating)
    selection = probs
    offset = build.of_layer(il, "exp_probs_b.bias") or build.of_layer(il, "exp_probs_b")
    if offset is not None:
        selection = ops.add(probs, offset)
    if build.arch == "llama4":
        selection = logits
    if build.arch == "grovemoe":
        selection = ops.unary("SIGMOID", logits)
    n_groups = build.hparams.integer("expert_group_count", 0)
    if n_groups > 1:
        selection = _grouped(build, selection, n_groups)
    ids = ops.argsort_top_k(selection, routing.n_used)
    weights = ops.get_rows(ops.reshape(probs, 1, n_expert, n_tokens), ids)
    return ids, _weighted(weights, routing, n_tokens)


def _probabilities(logits: GraphTensor, gating: int) -> GraphTensor:
    if gating == SOFTMAX:
        return ops.soft_max_ext(logits, None)
    if gating == SIGMOID:
        return ops.unary("SIGMOID", logits)
    if gating == SQRT_SOFTPLUS:
        return ops.same("SQRT", ops.unary("SOFTPLUS", logits))
    return logits


def _grouped(build: Build, selection: GraphTensor, n_groups: int) -> GraphTensor:
    """Only the best groups of experts stay in the choice: llama-graph.cpp:2118."""
    n_expert, n_tokens = selection.ne[0], selection.ne[1]
    n_used = build.hparams.integer("expert_group_used_count", 0)
    groups = ops.reshape(selection, n_expert // n_groups, n_groups, n_tokens)
    best = ops.argsort_top_k(groups, 2)
    scores = ops.get_rows(ops.reshape(groups, 1, *groups.ne[:3]), best)
    scores = ops.sum_rows(ops.reshape(scores, *scores.ne[1:]))
    chosen = ops.argsort_top_k(ops.reshape(scores, *scores.ne[1:3]), n_used)
    kept = ops.get_rows(groups, chosen)
    masked = ops.set_rows(ops.same("FILL", groups), kept, chosen)
    return ops.reshape(masked, n_expert, n_tokens)


def _weighted(weights: GraphTensor, routing: Routing, n_tokens: int) -> GraphTensor:
    n_used = routing.n_used
    if routing.gating == SOFTMAX_WEIGHT:
        weights = ops.soft_max_ext(ops.reshape(weights, n_used, n_tokens), None)
        weights = ops.reshape(weights, 1, n_used, n_tokens)
    if routing.norm:
        weights = ops.reshape(weights, n_used, n_tokens)
        total = ops.same("CLAMP", ops.sum_rows(weights))
        weights = ops.reshape(ops.div(weights, total), 1, n_used, n_tokens)
    return ops.scale(weights) if routing.scaled else weights


def _inner(
    build: Build,
    x: GraphTensor,
    ids: GraphTensor,
    il: int,
    routing: Routing,
    suffix: str,
) -> GraphTensor:
    """What the experts make of the tokens, before their down projections."""
    fused = build.of_layer(il, f"ffn_gate_up{suffix}.weight")
    if fused is not None:
        scale = _expert_scale(build, il, f"ffn_up{suffix}")
        both = build.mm_id(fused, x, ids, scale)
        bias = build.of_layer(il, f"ffn_gate_up{suffix}.bias")
        both = both if bias is None else ops.add_id(both, bias, ids)
        dims = (both.ne[0] // 2, both.ne[1], both.ne[2])
        gate = ops.view(both, dims, (both.nb[1], both.nb[2]))
        up = ops.view(both, dims, (both.nb[1], both.nb[2]))
        return _expert_unit(build, gate, up, il, routing)
    up = _expert_projected(build, il, f"ffn_up{suffix}", x, ids)
    if build.of_layer(il, f"ffn_gate{suffix}.weight") is None:
        return _activated(up, routing.activation)
    gate = _expert_projected(build, il, f"ffn_gate{suffix}", x, ids)
    return _expert_unit(build, gate, up, il, routing)


def _expert_projected(
    build: Build, il: int, name: str, x: GraphTensor, ids: GraphTensor
) -> GraphTensor:
    scale = _expert_scale(build, il, name)
    y = build.mm_id(build.must(il, f"{name}.weight"), x, ids, scale)
    bias = build.of_layer(il, f"{name}.bias")
    return y if bias is None else ops.add_id(y, bias, ids)


def _expert_scale(build: Build, il: int, name: str) -> Maybe:
    if build.arch not in EXPERTS_SCALED:
        return None
    return build.of_layer(il, f"{name}.scale")


def _expert_unit(
    build: Build, gate: GraphTensor, up: GraphTensor, il: int, routing: Routing
) -> GraphTensor:
    if routing.activation == "situ":
        return situ(build, gate, up)
    limit = _clamp(build, "swiglu_clamp_exp", il)
    if routing.activation == "silu" and limit > CLAMP_EPS:
        return _clamped(gate, up, is_fused=build.arch in CLAMPS_FUSED_EXPERTS)
    return ops.glu(GATED[routing.activation], gate, up)


def situ(build: Build, gate: GraphTensor, up: GraphTensor) -> GraphTensor:
    """Kimi K3's gated unit: kimi_k3_situ, kimi-k3.cpp:175, and llama-graph.cpp."""
    act = ops.scale(ops.unary("TANH", ops.scale(gate)))
    act = ops.mul(act, ops.unary("SIGMOID", gate))
    if build.hparams.number("activation.situ_linear_beta", 0.0) > 0:
        up = ops.scale(ops.unary("TANH", ops.scale(up)))
    return ops.mul(act, up)


def _summed(build: Build, y: GraphTensor, n_used: int) -> GraphTensor:
    """The sum over the experts, one view after the other."""
    n_embd, n_tokens = y.ne[0], y.ne[2]
    build.graph.expand(y)
    views = [ops.view(y, (n_embd, n_tokens), (y.nb[2],)) for _ in range(n_used)]
    for part in views:
        build.graph.expand(part)
    total = views[0]
    for part in views[1:]:
        total = ops.add(total, part)
        build.graph.expand(total)
    return ops.cont(total) if n_used == 1 else total
