"""What a model is to its memory: layers, their tensors, their cache."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from placer.model.architectures import TAKES_STATES_BACK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from placer.gguf import Tensor
    from placer.model.hparams import Hparams

# The engine's own word for "the experts" in --cpu-moe: common.h:1224 of llama.cpp
# build 11434.
EXPERT_PATTERN = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")

# Elements of a block of a quantised cache: ggml-common.h.
CACHE_BLOCK = 32


def is_expert(tensor_name: str) -> bool:
    """Whether the tensor belongs to the routed experts, biases included."""
    return EXPERT_PATTERN.search(tensor_name) is not None


def total_bytes(tensors: Iterable[Tensor]) -> int:
    """The sum of the tensors' sizes, without padding."""
    return sum(tensor.n_bytes for tensor in tensors)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerShape:
    """One repeating layer.

    Attributes:
        index: position in the file, from 0.
        tensors: what the engine loads of it; empty for a NextN layer not in use.
        n_head: query heads.
        n_head_kv: key and value heads; 0 where the layer attends to nothing.
        head_dim_k: elements of a key head.
        head_dim_v: elements of a value head.
        has_kv: whether a KV cache is kept for it.
        is_swa: whether it attends to a sliding window only.
        recurrent_elements: f32 elements of state a sequence, 0 where there is none.
        index_k: elements of a cell of a second cache, of keys for an index.
        index_v: values kept beside them.
    """

    index: int
    tensors: tuple[Tensor, ...]
    n_head: int
    n_head_kv: int
    head_dim_k: int
    head_dim_v: int
    has_kv: bool
    is_swa: bool
    recurrent_elements: int
    index_k: int = 0
    index_v: int = 0

    @property
    def expert_bytes(self) -> int:
        """Bytes of the routed experts."""
        return total_bytes(t for t in self.tensors if is_expert(t.name))

    @property
    def dense_bytes(self) -> int:
        """Bytes of all that is not a routed expert."""
        return total_bytes(t for t in self.tensors if not is_expert(t.name))

    @property
    def kind(self) -> tuple[object, ...]:
        """Equal for two layers that weigh the same in every way."""
        sizes = tuple(
            (t.name.split(".", 2)[-1], t.type_name, t.dims) for t in self.tensors
        )
        cache = (self.n_head_kv, self.head_dim_k, self.head_dim_v, self.has_kv)
        index = (self.index_k, self.index_v)
        return (sizes, cache, index, self.is_swa, self.recurrent_elements)


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A model as its memory sees it.

    Attributes:
        architecture: ``general.architecture``.
        name: the file's stem, for display.
        hparams: what the file says of it beside its tensors.
        layers: every repeating layer, NextN layers included, in order.
        n_layer_nextn: how many of the last layers are NextN (drafting) layers.
        shared_tensors: factors of rotations; every device with layers has a copy.
        input_tensors: what stays on the CPU: ``token_embd`` and its like.
        output_tensors: what goes with the output layer; the token embedding again
            where it is tied.
        n_embd: width of the residual stream.
        n_vocab: tokens.
        n_ff: widest dense feed-forward, 0 where there is none.
        n_expert: routed experts a layer, 0 for a dense model.
        n_expert_used: how many of them a token visits.
        context_length: the context it was trained for.
        n_swa: the sliding window, 0 where there is none.
        is_mla: whether keys and values are one compressed latent.
        cache_unknown: why placer has no formula for its context, or None.
    """

    architecture: str
    name: str
    hparams: Hparams
    layers: tuple[LayerShape, ...]
    n_layer_nextn: int
    shared_tensors: tuple[Tensor, ...]
    input_tensors: tuple[Tensor, ...]
    output_tensors: tuple[Tensor, ...]
    n_embd: int
    n_vocab: int
    n_ff: int
    n_expert: int
    n_expert_used: int
    context_length: int
    n_swa: int
    is_mla: bool
    cache_unknown: str | None

    @property
    def n_layer_all(self) -> int:
        """Repeating layers, NextN layers included."""
        return len(self.layers)

    @property
    def n_slots(self) -> int:
        """What ``-ngl`` counts at most: every repeating layer and the output."""
        return len(self.layers) + 1

    @property
    def takes_states_back(self) -> bool:
        """Whether recurrent states can be taken back draft by draft."""
        return self.architecture in TAKES_STATES_BACK

    @cached_property
    def takes_cache_blocks(self) -> bool:
        """Whether the heads of every layer are whole blocks of a quantised cache.

        The engine wants it of layers without a cache too: llama-context.cpp:3853.
        """
        return all(
            head % CACHE_BLOCK == 0
            for layer in self.layers
            for head in (layer.head_dim_k, layer.head_dim_v)
        )

    @cached_property
    def n_embd_v_gqa_max(self) -> int:
        """Elements of the values of the widest layer: llama-hparams.cpp:199."""
        return max(layer.head_dim_v * layer.n_head_kv for layer in self.layers)

    @cached_property
    def is_moe(self) -> bool:
        """Whether any layer has routed experts."""
        return any(layer.expert_bytes for layer in self.layers)

    @cached_property
    def moe_layers(self) -> tuple[int, ...]:
        """The layers that have routed experts."""
        return tuple(layer.index for layer in self.layers if layer.expert_bytes)

    @cached_property
    def tensor_names(self) -> tuple[str, ...]:
        """Every tensor that an ``-ot`` pattern can match, once."""
        names = dict.fromkeys(t.name for t in self.input_tensors)
        names.update(dict.fromkeys(t.name for t in self.shared_tensors))
        for layer in self.layers:
            names.update(dict.fromkeys(t.name for t in layer.tensors))
        names.update(dict.fromkeys(t.name for t in self.output_tensors))
        return tuple(names)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of all weights as loaded, without padding."""
        layers = sum(total_bytes(layer.tensors) for layer in self.layers)
        return (
            layers + total_bytes(self.input_tensors) + total_bytes(self.output_tensors)
        )
