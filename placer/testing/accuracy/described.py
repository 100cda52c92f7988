"""A model in a few lines of text: numbers, and the tensors of each kind of layer."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TypeAlias

from placer.testing.models_file import Array, Field, Weight

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

#: A number, text, or for each letter of the pattern a number, 0 for the others.
Value: TypeAlias = "float | str | tuple[int, ...] | Mapping[str, int]"

#: What nearly every architecture is asked for, under llama.cpp's names.
COMMON_KEYS: Final[Mapping[str, Value]] = MappingProxyType(
    {
        "block_count": "L",
        "context_length": "C",
        "embedding_length": "E",
        "feed_forward_length": "F",
        "attention.head_count": "H",
        "attention.head_count_kv": "K",
        "attention.key_length": "D",
        "attention.value_length": "D",
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.dimension_count": "R",
        "rope.freq_base": 1e6,
    }
)
_NO_SUFFIX: Final = (".bias", "ssm_a", "ssm_d")
_STAYS_F32: Final = (
    *_NO_SUFFIX,
    "ffn_gate_inp.weight",
    "ssm_conv1d.weight",
    "ssm_norm.weight",
    "shortconv.conv.weight",
)


def numbers(text: str) -> Mapping[str, int]:
    """The numbers of ``"L=32 E=4096"``, by name."""
    pairs = (word.split("=") for word in text.split())
    return MappingProxyType({name: int(value) for name, value in pairs})


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A model of published shape.

    Attributes:
        architecture: as ``general.architecture`` says it.
        numbers: by a letter or two, what dimensions are made of; ``L`` layers and
            ``V`` tokens among them.
        pattern: one letter a layer, repeated to all of them.
        layers: by letter, its tensors: one a line, a name and dimensions, innermost
            first, each a sum of products of numbers. A name ends in ``.weight``
            unless it ends in ``!``.
        outer: likewise, the tensors of no layer.
        keys: metadata besides ``COMMON_KEYS``; a text that is the name of a number
            stands for it, ``None`` takes a common key away.
        type_name: of the matrices; rows that it does not divide are F16.
    """

    architecture: str
    numbers: Mapping[str, int]
    layers: Mapping[str, str]
    pattern: str = "a"
    outer: str = "token_embd E V\noutput_norm E\noutput E V"
    keys: Mapping[str, Value | None] = field(default_factory=dict)
    type_name: str = "Q8_0"

    def letters(self) -> str:
        """One letter a layer."""
        n_layer = self.numbers["L"]
        return (self.pattern * n_layer)[:n_layer]

    def fields(self) -> Iterator[Field]:
        """Its metadata, without architecture and vocabulary."""
        for key, value in {**COMMON_KEYS, **self.keys}.items():
            if value is not None:
                yield self._field(f"{self.architecture}.{key}", value)

    def weights(self) -> Iterator[Weight]:
        """Its tensor table."""
        yield from self._table(self.outer, "")
        for index, letter in enumerate(self.letters()):
            yield from self._table(self.layers[letter], f"blk.{index}.")

    def _field(self, key: str, value: Value) -> Field:
        if isinstance(value, str) and value in self.numbers:
            value = self.numbers[value]
        if isinstance(value, bool):
            return Field(key=key, type_name="bool", value=value)
        if isinstance(value, int):
            return Field(key=key, type_name="uint32", value=value)
        if isinstance(value, float):
            return Field(key=key, type_name="float32", value=value)
        if isinstance(value, str):
            return Field(key=key, type_name="string", value=value)
        if not isinstance(value, tuple):
            value = tuple(value.get(letter, 0) for letter in self.letters())
        array = Array(element_type="int32", values=value)
        return Field(key=key, type_name="array", value=array)

    def _table(self, lines: str, prefix: str) -> Iterator[Weight]:
        for line in lines.strip().splitlines():
            name, *dims = line.split()
            full = prefix + name.removesuffix("!")
            if not name.endswith(("!", *_NO_SUFFIX)):
                full += ".weight"
            numbers = tuple(self._dimension(text) for text in dims)
            yield Weight(name=full, dims=numbers, type_name=self._type(full, numbers))

    def _dimension(self, text: str) -> int:
        return sum(
            math.prod(self._number(factor) for factor in term.split("*"))
            for term in text.split("+")
        )

    def _number(self, text: str) -> int:
        return int(text) if text.isdigit() else self.numbers[text]

    def _type(self, name: str, dims: tuple[int, ...]) -> str:
        if len(dims) == 1 or name.endswith(_STAYS_F32):
            return "F32"
        block = 256 if self.type_name.endswith("_K") else 32
        return "F16" if dims[0] % block else self.type_name
