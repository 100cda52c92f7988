"""The recipes of transformers of the usual kind, by architecture.

Each line was compared, node by node, with the graph that llama.cpp build 11434 makes of
the architecture's test model (src/models/*.cpp).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from placer.graph.build import SOFTMAX_WEIGHT
from placer.graph.recipe import Recipe
from placer.graph.standard import standard

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.graph.build import Build
    from placer.graph.graph import Graph

PLAIN = Recipe()
FACTORS = Recipe(rope_factors=True)
HEADS = Recipe(qk_norm="heads")
ROWS = Recipe(qk_norm="rows", norm_experts=False)
SECTIONS = Recipe(positions=4)
LAYER_NORM = Recipe(norm="NORM", activation="gelu")
SCALED = Recipe(
    rope="pattern", rope_factors=True, residual_scaled=True, logits_scaled=True
)

RECIPES: dict[str, Recipe] = {
    "afmoe": Recipe(
        embedding="scaled",
        rope="step",
        qk_norm="heads",
        attn_gate="rows",
        post_norm=True,
        gating=None,
        norm_experts=None,
    ),
    "apertus": Recipe(rope_factors=True, qk_norm="heads", activation="xielu"),
    "arcee": Recipe(rope_factors=True, activation="relu_sqr"),
    "bailingmoe": Recipe(rope_factors=True, norm_experts=None),
    "bailingmoe2": Recipe(qk_norm="heads", gating=None, norm_experts=None),
    "bloom": Recipe(
        norm="NORM", activation="gelu", embedding="layer normed", rope="none"
    ),
    "codeshell": LAYER_NORM,
    "cogvlm": Recipe(all_rows=True),
    "cohere2": Recipe(norm="NORM", rope="window", parallel="fxa", logits_scaled=True),
    "chatglm": Recipe(activation="swiglu"),
    "dbrx": Recipe(norm="NORM", ffn_norm="attn_output_norm"),
    "dream": Recipe(has_cache=False),
    "gpt2": Recipe(norm="NORM", activation="gelu", embedding="positions", rope="none"),
    "laguna": Recipe(
        qk_norm="heads", attn_gate="softplus", gating=None, norm_experts=None
    ),
    "llada": Recipe(has_cache=False),
    "nemotron": Recipe(norm="NORM", activation="relu_sqr"),
    "olmo": Recipe(norm="NORM"),
    "pangu-embedded": PLAIN,
    "plamo3": Recipe(activation="swiglu", qk_norm="heads", post_norm=True),
    "stablelm": Recipe(norm="NORM", qk_norm="heads"),
    "cohere2moe": Recipe(
        rope="window and dense",
        rope_factors=True,
        parallel="fxa",
        shared="halved",
        late_rows="behind norm",
        logits_scaled=True,
        gating=None,
        norm_experts=None,
    ),
    "command-r": Recipe(
        norm="NORM", qk_norm="heads", parallel="fxa", logits_scaled=True
    ),
    "deepseek": Recipe(rope_factors=True, norm_experts=False),
    "dots1": Recipe(qk_norm="heads", gating=None, norm_experts=None),
    "ernie4_5": PLAIN,
    "ernie4_5-moe": PLAIN,
    "exaone": FACTORS,
    "exaone-moe": Recipe(
        qk_norm="heads",
        rope="window",
        rope_factors=True,
        gating=None,
        norm_experts=None,
    ),
    "exaone4": Recipe(
        qk_norm="heads",
        rope="window or none",
        rope_factors=True,
        pre_norm=False,
        post_norm=True,
        post_held=False,
    ),
    "gemma": Recipe(embedding="scaled", activation="gelu", q_scaled=True),
    "gemma2": Recipe(
        embedding="scaled",
        activation="gelu",
        q_scaled=True,
        post_norm=True,
        post_held=False,
    ),
    "gemma3": Recipe(
        embedding="row scaled",
        activation="gelu",
        qk_norm="heads",
        q_scaled=True,
        post_norm=True,
        post_held=False,
    ),
    "glm4": Recipe(activation="swiglu", post_norm=True),
    "glm4moe": Recipe(
        qk_norm="heads", ffn_norm="post_attention_norm", gating=None, norm_experts=None
    ),
    "gpt-oss": Recipe(
        ffn_norm="post_attention_norm",
        gating=SOFTMAX_WEIGHT,
        norm_experts=False,
        expert_activation="swiglu_oai",
        late_rows="before norm",
    ),
    "granite": SCALED,
    "granite_swa": SCALED,
    "granitemoe": SCALED,
    "minicpm": SCALED,
    "hunyuan-dense": Recipe(rope_factors=True, qk_norm="heads"),
    "hunyuan-moe": Recipe(rope_factors=True, qk_norm="heads"),
    "hunyuan_vl": Recipe(rope_factors=True, qk_norm="heads", positions=4),
    "hy_v3": Recipe(
        rope_factors=True,
        qk_norm="heads",
        late_rows="behind norm",
        gating=None,
        norm_experts=None,
    ),
    "internlm2": PLAIN,
    "jais": Recipe(norm="NORM", rope="none"),
    "jais2": Recipe(norm="NORM", activation="relu_sqr"),
    "llada-moe": Recipe(qk_norm="heads", norm_experts=False, has_cache=False),
    "llama": FACTORS,
    "maincoder": HEADS,
    "maple": Recipe(qk_norm="heads", rope="window"),
    "mellum": HEADS,
    "minimax-m2": Recipe(qk_norm="rows", gating=None),
    "mistral3": Recipe(rope_factors=True, attn_scale=True),
    "muse-glimmer": Recipe(
        embedding="normed",
        rope="window",
        qk_norm="heads",
        attn_gate="rows",
        post_norm=True,
        post_held=False,
        logits_scaled=True,
    ),
    "nanbeige": FACTORS,
    "olmo2": Recipe(qk_norm="rows", pre_norm=False, post_norm=True, post_held=False),
    "olmoe": ROWS,
    "orion": Recipe(norm="NORM"),
    "paddleocr": SECTIONS,
    "phi2": Recipe(norm="NORM", activation="gelu", q_scaled=True, parallel="afx"),
    "phi3": Recipe(activation="swiglu", rope_factors=True, q_scaled=True),
    "phimoe": Recipe(activation="swiglu", rope_factors=True, q_scaled=True),
    "plamo": Recipe(parallel="fax"),
    "pockettts": LAYER_NORM,
    "qwen": PLAIN,
    "qwen2": PLAIN,
    "qwen2moe": Recipe(norm_experts=False, shared="gated"),
    "qwen2vl": SECTIONS,
    "qwen3": HEADS,
    "qwen3moe": HEADS,
    "qwen3tts": Recipe(qk_norm="heads", positions=4),
    "qwen3vl": Recipe(qk_norm="heads", positions=4),
    "qwen3vlmoe": Recipe(qk_norm="heads", positions=4),
    "refact": Recipe(rope="none"),
    "rnd1": Recipe(qk_norm="heads", has_cache=False),
    "seed_oss": Recipe(ffn_norm="post_attention_norm"),
    "smollm3": Recipe(rope="step"),
    "spark2_5": Recipe(attn_gate="heads", activation="gelu"),
    "starcoder": Recipe(
        norm="NORM", activation="gelu", embedding="positions", rope="none"
    ),
    "starcoder2": LAYER_NORM,
    "step35": Recipe(
        rope_factors=True,
        qk_norm="heads",
        attn_gate="heads",
        late_rows="before norm",
        gating=None,
        norm_experts=None,
    ),
    "xverse": PLAIN,
}

GRAPHS: dict[str, Callable[[Build], Graph]] = {
    arch: partial(standard, recipe=recipe) for arch, recipe in RECIPES.items()
}
