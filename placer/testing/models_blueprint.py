"""What a model of some shape is made of: its metadata and its tensor table.

A blueprint becomes a tiny model with true weights (``placer.testing.models``) or a
phantom of a big one (``placer.testing.phantom``); the two differ in numbers and in
tensor types only. Names and dimensions are those that llama.cpp b10434 asks for
(``load_arch_hparams`` and ``load_arch_tensors`` of src/models/).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from placer.testing.models_file import Field, Weight, float32, text, uint32

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.testing.models_vocabulary import Vocabulary

#: The ggml type of a matrix, by its name and dimensions.
TypeOf: TypeAlias = "Callable[[str, tuple[int, ...]], str]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blueprint:
    """A model that can be written."""

    fields: tuple[Field, ...]
    weights: tuple[Weight, ...]


def all_f16(_name: str, _dims: tuple[int, ...]) -> str:
    """Matrices of 16-bit floats, which every processor computes with."""
    return "F16"


@dataclass(slots=True, kw_only=True)
class Draft:
    """A blueprint under construction.

    Norms, biases, routers and convolutions are F32 whatever ``type_of`` says, as
    llama-quantize leaves them (``tensor_allows_quantization``, src/llama-quant.cpp).
    """

    architecture: str
    type_of: TypeOf
    fields: list[Field] = field(default_factory=list)
    weights: list[Weight] = field(default_factory=list)

    def says(self, **values: float | str) -> None:
        """Metadata under the architecture; ``__`` in a key stands for a dot."""
        for name, value in values.items():
            key = f"{self.architecture}.{name.replace('__', '.')}"
            if isinstance(value, bool):
                self.fields.append(Field(key=key, type_name="bool", value=value))
            elif isinstance(value, int):
                self.fields.append(uint32(key, value))
            elif isinstance(value, float):
                self.fields.append(float32(key, value))
            else:
                self.fields.append(text(key, value))

    def has(self, name: str, *dims: int) -> None:
        """A tensor, ``dims`` innermost first; ``.weight`` unless it says otherwise."""
        full = name if name.endswith((".bias", "ssm_a")) else f"{name}.weight"
        type_name = "F32" if _stays_f32(full, dims) else self.type_of(full, dims)
        self.weights.append(Weight(name=full, dims=dims, type_name=type_name))

    def has_embeddings(self, n_embd: int, n_vocab: int) -> None:
        """The three tensors that belong to no layer."""
        self.has("token_embd", n_embd, n_vocab)
        self.has("output_norm", n_embd)
        self.has("output", n_embd, n_vocab)

    def finished(self, vocabulary: Vocabulary) -> Blueprint:
        """The blueprint, with its architecture named first and its vocabulary last."""
        first = text("general.architecture", self.architecture)
        return Blueprint(
            fields=(first, *self.fields, *vocabulary.fields()),
            weights=tuple(self.weights),
        )


def _stays_f32(name: str, dims: tuple[int, ...]) -> bool:
    kept = (".bias", "ffn_gate_inp.weight", "ssm_conv1d.weight")
    return len(dims) == 1 or name.endswith(kept)
