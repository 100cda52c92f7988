"""How each architecture keeps its context, as far as placer has a formula.

Sources are files of llama.cpp build 10435. An architecture that is not listed is
not guessed at: its context is "ask the engine".
"""

from __future__ import annotations

from dataclasses import dataclass

# One K and one V (or one latent) a layer for the whole context:
# llama-model.cpp:2249 (the default of create_memory) with no recurrent layer.
PLAIN = frozenset(
    """
    llama llama-embed arcee baichuan bailingmoe bailingmoe2 bitnet bloom chameleon
    chatglm codeshell cogvlm command-r dbrx deci deepseek deepseek2 dots1 ernie4_5
    ernie4_5-moe exaone falcon gemma glm4 glm4moe gpt2 gptj gptneox granite granitemoe
    grok grovemoe hunyuan-dense hunyuan-moe internlm2 jais jais2 maincoder minicpm
    minicpm3 minimax-m2 mistral3 mistral4 mpt nemotron olmo olmoe openelm orion
    paddleocr pangu-embedded phi2 phimoe plamo plm qwen qwen2 qwen2moe qwen2vl qwen3
    qwen3moe qwen3vl qwen3vlmoe refact seed_oss smollm3 stablelm starcoder starcoder2
    xverse
    """.split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidingWindow:
    """Which layers attend to a window: all but one in every ``period``.

    Source: set_swa_pattern, llama-hparams.cpp:8.
    """

    period: int
    dense_first: bool = False

    def is_swa(self, layer: int) -> bool:
        """Whether the layer attends to the window only."""
        if self.period == 0:
            return True
        if self.dense_first:
            return layer % self.period != 0
        return layer % self.period < self.period - 1


# architecture -> its pattern when the file does not give one; src/models/*.cpp
SLIDING = {
    "gpt-oss": SlidingWindow(period=2),  # openai-moe.cpp:9
    "gemma2": SlidingWindow(period=2),  # gemma2.cpp:8
    "gemma3": SlidingWindow(period=6),  # gemma3.cpp:9
    "cohere2": SlidingWindow(period=4),  # cohere2.cpp:7
    "exaone4": SlidingWindow(period=4),  # exaone4.cpp:12
    "exaone-moe": SlidingWindow(period=4),  # exaone-moe.cpp:8
    "olmo2": SlidingWindow(period=4),  # olmo2.cpp:11
}

# Gated delta nets with full attention every nth layer: qwen3next.cpp:21.
DELTA_NET = frozenset({"qwen3next", "qwen35", "qwen35moe"})


def context_rule_missing(architecture: str) -> str | None:
    """Why there is no formula for the architecture's context, or None."""
    if architecture in PLAIN or architecture in SLIDING or architecture in DELTA_NET:
        return None
    return f"placer has no context formula for architecture {architecture!r}"
