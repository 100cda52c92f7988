"""GGUFFile -> ModelShape, by the engine's own defaults.

Sources are files of llama.cpp build 10435.
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.model.architectures import (
    DELTA_NET,
    SLIDING,
    SlidingWindow,
    context_rule_missing,
)
from placer.model.shape import LayerShape, ModelShape

if TYPE_CHECKING:
    from placer.gguf import GGUFFile, Tensor

BLOCK = re.compile(r"blk\.(\d+)\.")
# LLM_TENSOR_LAYER_OUTPUT of llama-arch.cpp:664; the rest without a block number
# is input.
OUTPUT = re.compile(r"^(output|output_norm|output_hc\w*|cls|cls_out|dense_[23])\b")


def model_shape(file: GGUFFile) -> ModelShape:
    """What the engine loads of the file, and what each layer keeps.

    Raises:
        InputError: a key that the engine needs is missing or of the wrong type.
    """
    hparams = Hparams(file)
    by_layer, outer = _split_tensors(file, hparams.n_layer_all)
    outputs = tuple(t for t in outer if OUTPUT.match(t.name))
    inputs = tuple(t for t in outer if not OUTPUT.match(t.name))
    layers = tuple(
        hparams.layer(index, by_layer[index]) for index in range(hparams.n_layer_all)
    )
    return ModelShape(
        architecture=file.architecture,
        name=file.path.stem,
        layers=layers,
        n_layer_nextn=hparams.n_layer_nextn,
        input_tensors=inputs,
        output_tensors=outputs + _tied_output(inputs, outputs),
        n_embd=hparams.n_embd,
        n_vocab=hparams.n_vocab(inputs),
        n_ff=max(hparams.per_layer("feed_forward_length", 0), default=0),
        n_expert=file.integer("expert_count", 0),
        n_expert_used=file.integer("expert_used_count", 0),
        context_length=file.integer("context_length", 0),
        n_swa=hparams.n_swa,
        is_mla=hparams.is_mla,
        cache_unknown=context_rule_missing(file.architecture),
    )


def _split_tensors(
    file: GGUFFile, n_layer: int
) -> tuple[dict[int, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    by_layer: dict[int, list[Tensor]] = defaultdict(list)
    outer: list[Tensor] = []
    for tensor in file.tensors:
        match = BLOCK.match(tensor.name)
        if match is None:
            outer.append(tensor)
            continue
        index = int(match[1])
        if index >= n_layer:
            raise InputError(
                f"tensor {tensor.name} is beyond the {n_layer} layers of block_count",
                path=file.path,
                hint="the file is not whole or not what it says; fetch it again",
            )
        by_layer[index].append(tensor)
    return defaultdict(tuple, {k: tuple(v) for k, v in by_layer.items()}), tuple(outer)


def _tied_output(
    inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """The token embedding, loaded a second time where no output matrix is stored.

    Source: TENSOR_DUPLICATED, llama-model-loader.cpp:1280.
    """
    if any(t.name == "output.weight" for t in outputs):
        return ()
    return tuple(t for t in inputs if t.name == "token_embd.weight")


class Hparams:
    """The hyperparameters that decide memory, with the engine's defaults."""

    def __init__(self, file: GGUFFile) -> None:
        self._file = file
        self.n_layer_all = file.integer("block_count")
        if not 0 < self.n_layer_all <= 4096:
            raise InputError(
                f"block_count is {self.n_layer_all}",
                path=file.path,
                hint="a model has between 1 and 4096 layers",
            )
        self.n_layer_nextn = file.integer("nextn_predict_layers", 0)
        self.n_embd = file.integer("embedding_length")
        # The engine switches windows off where a phi3-like file gives none.
        self.n_swa = file.integer("attention.sliding_window", 0)
        # llama-hparams.cpp:251
        self.is_mla = bool(
            file.integer("attention.key_length_mla", 0)
            and file.integer("attention.value_length_mla", 0)
        )
        self._n_head = self.per_layer("attention.head_count", 0)
        self._n_head_kv = self.per_layer("attention.head_count_kv", None)
        self._window = self._sliding_window()
        self._interval = file.integer("full_attention_interval", 4)

    def per_layer(self, key: str, default: int | None) -> tuple[int, ...]:
        """The key's value for every layer; a scalar stands for all of them."""
        values = self._file.integers(key, self.n_layer_all, None)
        if values is not None:
            return values
        if default is None:
            return self._n_head
        return (default,) * self.n_layer_all

    def n_vocab(self, inputs: tuple[Tensor, ...]) -> int:
        """Tokens: the rows of the embedding."""
        for tensor in inputs:
            if tensor.name == "token_embd.weight" and len(tensor.dims) > 1:
                return tensor.dims[1]
        return self._file.integer("vocab_size", 0)

    def layer(self, index: int, tensors: tuple[Tensor, ...]) -> LayerShape:
        """Layer ``index`` with the tensors that the engine loads of it."""
        n_head = self._n_head[index]
        is_swa = self._is_swa(index)
        suffix = "_swa" if is_swa else ""
        default = self.n_embd // n_head if n_head else 0
        key = self._file.integer("attention.key_length", default)
        value = self._file.integer("attention.value_length", default)
        recurrent = self._is_recurrent(index)
        is_nextn = index >= self.n_layer_all - self.n_layer_nextn
        has_kv = not recurrent and not (is_nextn and self._nextn_is_filtered)
        return LayerShape(
            index=index,
            tensors=() if is_nextn else tensors,
            n_head=n_head,
            n_head_kv=self._n_head_kv[index],
            head_dim_k=self._file.integer(f"attention.key_length{suffix}", key),
            head_dim_v=self._file.integer(f"attention.value_length{suffix}", value),
            has_kv=has_kv,
            is_swa=is_swa,
            recurrent_elements=self._recurrent_elements() if recurrent else 0,
        )

    @property
    def _nextn_is_filtered(self) -> bool:
        # llama-model.cpp:2297: the hybrids keep no cache for NextN layers, while
        # deepseek2 and glm4moe do.
        return self._file.architecture in DELTA_NET

    def _sliding_window(self) -> SlidingWindow | None:
        rule = SLIDING.get(self._file.architecture)
        if rule is None or self.n_swa == 0:
            return None
        # An array would give each layer its own; the listed architectures hold
        # a single number, or none.
        period = self._file.metadata.get(
            self._file.full_key("attention.sliding_window_pattern")
        )
        if isinstance(period, int) and not isinstance(period, bool):
            return SlidingWindow(period=period, dense_first=rule.dense_first)
        return rule

    def _is_swa(self, index: int) -> bool:
        if self._window is None or index >= self.n_layer_all - self.n_layer_nextn:
            return False
        return self._window.is_swa(index)

    def _is_recurrent(self, index: int) -> bool:
        if self._file.architecture not in DELTA_NET:
            return False
        explicit = self._file.metadata.get(
            self._file.full_key("attention.recurrent_layers")
        )
        if isinstance(explicit, tuple) and len(explicit) == self.n_layer_all:
            return bool(explicit[index])
        # The default of qwen3next.cpp:24.
        is_nextn = index >= self.n_layer_all - self.n_layer_nextn
        return not is_nextn and (index + 1) % self._interval != 0

    def _recurrent_elements(self) -> int:
        """R + S of one sequence; n_embd_r and n_embd_s, llama-hparams.cpp:186."""
        inner = self._file.integer("ssm.inner_size")
        state = self._file.integer("ssm.state_size")
        groups = self._file.integer("ssm.group_count")
        kernel = self._file.integer("ssm.conv_kernel")
        return max(kernel - 1, 0) * (inner + 2 * groups * state) + state * inner
