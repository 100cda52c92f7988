"""How each architecture keeps its context, as far as placer has a formula.

Sources are files of llama.cpp build 11434. An architecture that is not listed is not
guessed at: its context is "ask the engine".
"""

from __future__ import annotations

from dataclasses import dataclass

# No memory of tokens at all: llama-model.cpp:2364.
NO_CACHE = frozenset(
    """
    bert jina-bert-v2 jina-bert-v3 nomic-bert nomic-bert-moe neo-bert eurobert
    modern-bert gemma-embedding dream llada llada-moe rnd1 clef
    """.split()
)

# One K and one V (or one latent) a layer for the whole context:
# llama-model.cpp:2875 (the default of create_memory) with no recurrent layer.
PLAIN = frozenset(
    """
    llama llama-embed apertus arcee arctic baichuan bailingmoe bailingmoe2 bitnet bloom
    chameleon chatglm codeshell cogvlm command-r dbrx deci deepseek deepseek2 dots1
    ernie4_5 ernie4_5-moe exaone falcon gemma glm4 glm4moe gpt2 gptj gptneox granite
    granitemoe grok grovemoe hunyuan-dense hunyuan-moe hunyuan_vl hy_v3 internlm2 jais
    jais2 maincoder minicpm minicpm3 minimax-m2 mistral3 mistral4 mpt nanbeige nemotron
    olmo olmoe openelm orion paddleocr pangu-embedded phi2 phi3 phimoe plamo plm
    pockettts qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3tts qwen3vl qwen3vlmoe
    refact seed_oss smollm3 stablelm starcoder starcoder2 talkie xverse
    """.split()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SlidingWindow:
    """Which layers attend to a window: all but one in every ``period``.

    Source: set_swa_pattern, llama-hparams.cpp:8; a file may name each layer itself.

    Attributes:
        period: 0 for a window in every layer.
        dense_first: whether the odd layer out is the first of each period.
        default: tokens of the window where the file does not say; 0 for none.
        fixed: tokens of the window whatever the file says.
        by_layer: whether the file names the layers one by one.
    """

    period: int = 0
    dense_first: bool = False
    default: int = 0
    fixed: int | None = None
    by_layer: bool = False

    def is_swa(self, layer: int) -> bool:
        """Whether the layer attends to the window only."""
        if self.period == 0:
            return True
        if self.dense_first:
            return layer % self.period != 0
        return layer % self.period < self.period - 1


BY_LAYER = SlidingWindow(by_layer=True)
# architecture -> its pattern when the file does not give one; src/models/*.cpp
SLIDING = {
    "afmoe": SlidingWindow(period=4),  # afmoe.cpp:17
    "cohere2": SlidingWindow(period=4),  # cohere2.cpp:6
    "cohere2moe": SlidingWindow(period=4, dense_first=True),  # cohere2moe.cpp:28
    "dots3note": BY_LAYER,  # dots3note.cpp:34
    "exaone-moe": SlidingWindow(period=4, default=128),  # exaone-moe.cpp:6
    "exaone4": SlidingWindow(period=4, default=4096),  # exaone4.cpp:7
    "gemma2": SlidingWindow(period=2, default=4096),  # gemma2.cpp:6
    "gemma3": SlidingWindow(period=6),  # gemma3.cpp:7
    "gemma3n": SlidingWindow(period=5),  # gemma3n.cpp:5
    "gemma4": BY_LAYER,  # gemma4.cpp:6
    "gpt-oss": SlidingWindow(period=2),  # openai-moe.cpp:9
    "granite_swa": BY_LAYER,  # granite-swa.cpp:17
    "laguna": SlidingWindow(period=4, dense_first=True),  # laguna.cpp:38
    "llama4": SlidingWindow(period=4, fixed=8192),  # llama4.cpp:14
    "maple": BY_LAYER,  # maple.cpp:10
    "mellum": SlidingWindow(period=4),  # mellum.cpp:10
    "mimo2": BY_LAYER,  # mimo2.cpp:12
    "muse-glimmer": SlidingWindow(period=4),  # muse-glimmer.cpp:13
    "olmo2": SlidingWindow(period=4),  # olmo2.cpp:9
    "plamo3": SlidingWindow(period=8),  # plamo3.cpp:8
    "smallthinker": SlidingWindow(  # smallthinker.cpp:9
        period=4, dense_first=True, fixed=4096
    ),
    "spark2_5": BY_LAYER,  # spark2-5.cpp:8
    "step35": BY_LAYER,  # step35.cpp:26
}
# Windows in all layers that attend: lfm2.cpp:26.
SLIDING_IF_ASKED = frozenset({"lfm2", "lfm2moe"})
# exaone4.cpp:4: only the model of 64 layers has windows.
EXAONE4_WINDOWED = 64
# Layers with caches of their own, by gemma3n.cpp:7.
GEMMA3N_OWN_CACHES = 20

# llm_arch_is_recurrent, llama-arch.cpp; the others of its list are not covered.
RWKV = frozenset({"rwkv6", "rwkv6qwen2", "rwkv7", "arwkv7"})
RECURRENT = frozenset({"mamba", "mamba2"}) | RWKV
# Recurrent where there are no heads of keys: jamba.cpp:12 and its like.
BY_HEADS = frozenset(
    """
    jamba plamo2 granitehybrid lfm2 lfm2moe kimi-linear kimi-k3 bailingmoe3 glm5-next
    """.split()
)
# Recurrent where there are neither heads nor a feed-forward: nemotron-h.cpp:15.
BY_HEADS_AND_FF = frozenset({"nemotron_h", "nemotron_h_moe"})
# Both in every layer: llama-model.cpp:2695.
BOTH = frozenset({"falcon-h1"})
# Full attention every nth layer: qwen3next.cpp:18 and minimax-01.cpp:13.
INTERVAL = {
    "qwen3next": 4,
    "qwen35": 4,
    "qwen35moe": 4,
    "qwen4exp": 4,
    "minimax-01": 8,
}
# A second cache of keys for an index: llama-kv-cache-dsa.cpp, llama-kv-cache-msa.cpp,
# llama-memory-hybrid-idx.cpp.
INDEXED = frozenset(
    "deepseek32 glm-dsa hy_v4 dots3note minimax-m3 glm5-next qwen4exp".split()
)
# The file has to say which layers own an index: glm-dsa.cpp:64 has a table of its own.
NEEDS_INDEX_TYPES = frozenset({"glm-dsa"})
# Keys beside the pooled ones: llama-hparams.h:289, qwen4exp.cpp:81.
POOLED_ROWS = {"glm5-next": 3, "qwen4exp": 2}

# Recurrent states that can be taken back one by one: llm_arch_supports_rs_rollback,
# llama-arch.cpp:1162.
TAKES_STATES_BACK = frozenset(
    """
    kimi-k3 qwen35 qwen35moe qwen4exp deepseek4 glm5-next nemotron_h nemotron_h_moe
    lfm2 lfm2moe bailingmoe3
    """.split()
)
# Whose NextN layers are loaded when they draft, and then keep a plain cache of their
# own: load_mtp in src/models/*.cpp, create_memory (llama-model.cpp:2414 and :2636).
DRAFTS_BY_NEXTN = frozenset(
    """
    bailingmoe3 cohere2moe deepseek2 deepseek32 glm-dsa glm4moe hy_v3 mimo2
    nemotron_h_moe qwen35 qwen35moe qwen3next step35
    """.split()
)

KNOWN = (
    NO_CACHE
    | PLAIN
    | frozenset(SLIDING)
    | RECURRENT
    | BY_HEADS
    | BY_HEADS_AND_FF
    | BOTH
    | frozenset(INTERVAL)
    | INDEXED
)


def context_rule_missing(architecture: str) -> str | None:
    """Why there is no formula for the architecture's context, or None."""
    if architecture in KNOWN:
        return None
    return f"placer has no context formula for architecture {architecture!r}"
