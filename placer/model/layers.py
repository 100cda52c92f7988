"""What each layer of a model keeps of the tokens it has seen.

Mirrors llama-hparams.cpp, load_arch_hparams of src/models/*.cpp and create_memory
(llama-model.cpp:2358) of llama.cpp build 11434.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.model.architectures import (
    BOTH,
    BY_HEADS,
    BY_HEADS_AND_FF,
    EXAONE4_WINDOWED,
    GEMMA3N_OWN_CACHES,
    INDEXED,
    INTERVAL,
    NEEDS_INDEX_TYPES,
    NO_CACHE,
    POOLED_ROWS,
    RECURRENT,
    RWKV,
    SLIDING,
    SLIDING_IF_ASKED,
    SlidingWindow,
    context_rule_missing,
)
from placer.model.shape import LayerShape

if TYPE_CHECKING:
    from placer.gguf import Tensor
    from placer.model.hparams import Hparams

HYBRID = BY_HEADS | BY_HEADS_AND_FF | BOTH | frozenset(INTERVAL)


class Layers:
    """The layers of a model, one after the other."""

    def __init__(self, hparams: Hparams) -> None:
        self._hparams = hparams
        self._arch = hparams.architecture
        self.n_layer_all = hparams.n_layer_all
        self.n_layer_nextn = hparams.integer("nextn_predict_layers", 0)
        self._n_head = hparams.per_layer("attention.head_count", 0)
        has_kv = hparams.has("attention.head_count_kv")
        self._n_head_kv = (
            hparams.per_layer("attention.head_count_kv", 0) if has_kv else self._n_head
        )
        self._n_ff = hparams.per_layer("feed_forward_length", 0)
        self._window = self._sliding_window()
        self._pattern = hparams.array("attention.sliding_window_pattern")
        self._indexes = hparams.array("attention.indexer.types")

    @property
    def n_layer(self) -> int:
        """Layers that the main graph runs through."""
        return self.n_layer_all - self.n_layer_nextn

    @property
    def is_mla(self) -> bool:
        """Whether keys and values are one latent: llama-hparams.cpp, is_mla."""
        return bool(
            self._hparams.integer("attention.key_length_mla", 0)
            and self._hparams.integer("attention.value_length_mla", 0)
        )

    @property
    def n_swa(self) -> int:
        """Tokens of the sliding window, 0 where there is none."""
        return self._n_swa if self._window is not None else 0

    @property
    def unknown(self) -> str | None:
        """Why there is no formula for the context, or None."""
        if self._hparams.integer("num_loops", 1) > 1:
            return "placer has no context formula for layers that run in loops"
        if self._arch in NEEDS_INDEX_TYPES and self._indexes is None:
            return "the file does not say which layers keep an index"
        return context_rule_missing(self._arch)

    def layer(self, index: int, tensors: tuple[Tensor, ...]) -> LayerShape:
        """Layer ``index`` with the tensors that the engine loads of it."""
        is_swa = self._is_swa(index)
        key, value = self._heads(is_swa=is_swa)
        recurrent = self._is_recurrent(index)
        has_kv = self._has_kv(index, recurrent=recurrent)
        index_k, index_v = self._index_elements(index) if has_kv else (0, 0)
        return LayerShape(
            index=index,
            tensors=tensors,
            n_head=self._n_head[index],
            n_head_kv=self._n_head_kv[index],
            head_dim_k=key,
            head_dim_v=value,
            has_kv=has_kv,
            is_swa=is_swa,
            recurrent_elements=self._state_elements(index) if recurrent else 0,
            index_k=index_k,
            index_v=index_v,
        )

    def _heads(self, *, is_swa: bool) -> tuple[int, int]:
        """Elements of a key and of a value: llama-model.cpp:1437-1470."""
        hparams, n_head = self._hparams, self._n_head[0]
        default = hparams.integer("embedding_length", 0) // n_head if n_head else 0
        key = hparams.integer("attention.key_length", default)
        value = hparams.integer("attention.value_length", default)
        if not n_head:
            key = value = 0
        if is_swa:
            key = hparams.integer("attention.key_length_swa", key)
            value = hparams.integer("attention.value_length_swa", value)
        return key, value

    def _sliding_window(self) -> SlidingWindow | None:
        rule = SLIDING.get(self._arch)
        found = self._hparams.integer("attention.sliding_window", -1)
        if self._arch in SLIDING_IF_ASKED and found > 0:
            rule = SlidingWindow()
        if rule is None:
            return None
        self._n_swa = found if found >= 0 else rule.default
        if rule.fixed is not None:
            # smallthinker.cpp:6 needs the key, llama4.cpp:9 does without
            is_on = found > 0 or (self._arch == "llama4" and found != 0)
            self._n_swa = rule.fixed if is_on else 0
        if self._arch == "exaone4" and self.n_layer != EXAONE4_WINDOWED:
            return None
        if self._n_swa == 0:
            return None
        period = self._hparams.integer("attention.sliding_window_pattern", rule.period)
        if rule.by_layer:
            return rule
        return SlidingWindow(period=period, dense_first=rule.dense_first)

    def _is_swa(self, index: int) -> bool:
        if self._window is None:
            return False
        if self._pattern is not None and len(self._pattern) > index:
            return bool(self._pattern[index])
        if self._arch in SLIDING_IF_ASKED:
            return self._n_head_kv[index] > 0
        return index < self.n_layer and self._window.is_swa(index)

    def _is_recurrent(self, index: int) -> bool:
        if self._arch in RECURRENT or self._arch in BOTH:
            return True
        no_heads = self._n_head_kv[index] == 0
        if self._arch in BY_HEADS:
            return no_heads and (index < self.n_layer or self._arch == "glm5-next")
        if self._arch in BY_HEADS_AND_FF:
            return index < self.n_layer and no_heads and self._n_ff[index] == 0
        if self._arch in INTERVAL:
            return self._is_between(index)
        return False

    def _is_between(self, index: int) -> bool:
        """Whether full attention is not this layer's turn: qwen3next.cpp:17."""
        explicit = self._hparams.array("attention.recurrent_layers")
        if explicit is not None and len(explicit) == self.n_layer_all:
            return index < self.n_layer and bool(explicit[index])
        if self._hparams.has("attention.recurrent_layers"):
            every = self._hparams.integer("attention.recurrent_layers", 0)
            return index < self.n_layer and bool(every)
        interval = self._hparams.integer(
            "full_attention_interval", INTERVAL[self._arch]
        )
        return index < self.n_layer and (index + 1) % interval != 0

    def _has_kv(self, index: int, *, recurrent: bool) -> bool:
        """Whether the layer keeps keys and values of its own: llama-model.cpp:2358."""
        if self._arch in NO_CACHE or self._arch in RECURRENT:
            return False
        if self._arch in BOTH:
            return True
        if self._arch in ("gemma3n", "gemma4"):
            return index < self._n_own_caches()
        if self._arch in BY_HEADS_AND_FF:
            return not recurrent and self._n_ff[index] == 0
        if self._arch in HYBRID and self._arch not in INTERVAL:
            return not recurrent and (index < self.n_layer or self._arch != "glm5-next")
        # llama-model.cpp:2814 leaves NextN layers out, unless there is nothing else
        is_nextn = index >= self.n_layer > 0
        return not recurrent and not is_nextn

    def _n_own_caches(self) -> int:
        """Layers of a Gemma that do not read another one's cache."""
        if self._arch == "gemma3n":
            return GEMMA3N_OWN_CACHES
        shared = self._hparams.integer("attention.shared_kv_layers", 0)
        return self.n_layer_all - shared

    def _index_elements(self, index: int) -> tuple[int, int]:
        """Elements of a cell of the layer's index, keys and values."""
        if self._arch not in INDEXED:
            return 0, 0
        size = self._hparams.integer("attention.indexer.key_length", 0)
        if self._arch == "minimax-m3":
            # llama-kv-cache-msa.cpp:34: a full cache of one key head
            first = self._hparams.integer("leading_dense_block_count", 0)
            _, value = self._heads(is_swa=False)
            return (size, value) if index >= first else (0, 0)
        if not self._hparams.integer("attention.indexer.top_k", 0):
            return 0, 0
        if self._indexes is not None and len(self._indexes) > index:
            size *= bool(self._indexes[index])
        if self._hparams.integer("attention.indexer.kpool", 0) or (
            self._arch == "qwen4exp"
        ):
            size *= POOLED_ROWS.get(self._arch, 1)
        value = (
            0
            if self.is_mla or self._arch in POOLED_ROWS
            else self._heads(is_swa=False)[1]
        )
        return size, value if size else 0

    def _state_elements(self, index: int) -> int:
        """f32 elements of a sequence: n_embd_r and n_embd_s, llama-hparams.cpp:208."""
        hparams, n_head = self._hparams, self._n_head[0]
        n_embd = hparams.integer("embedding_length", 0)
        kernel = hparams.integer("ssm.conv_kernel", 0)
        if self._arch in RWKV:
            shift = hparams.integer("token_shift_count", 2)
            return n_embd * (shift + hparams.integer("wkv.head_size", 0))
        if self._arch in ("lfm2", "lfm2moe"):
            return n_embd * (hparams.integer("shortconv.l_cache", 1) - 1)
        kda = hparams.integer("kda.head_dim", 0)
        if kda:
            window = kernel - 1 if kernel else 3
            return 3 * window * n_head * kda + kda * kda * n_head
        if self._arch == "minimax-01":
            head, _ = self._heads(is_swa=False)
            return head * head * n_head
        inner = hparams.integer("ssm.inner_size", 0)
        state = hparams.integer("ssm.state_size", 0)
        groups = hparams.integer("ssm.group_count", 0)
        window = max(kernel - 1, 0) * (inner + 2 * groups * state)
        return window + state * inner + self._n_gram_elements(index)

    def _n_gram_elements(self, index: int) -> int:
        """Inputs kept for n-gram embeddings: ple_conv_state, llama-hparams.cpp."""
        hparams = self._hparams
        if self._arch != "qwen4exp" or index not in (hparams.array("ple.layers") or ()):
            return 0
        window = hparams.integer("ple.conv_kernel", 1) - 1
        width = hparams.integer("hyper_connection.count", 1)
        width *= hparams.integer("embedding_length", 0)
        return window * hparams.integer("ple.ngram_size", 0) * width
