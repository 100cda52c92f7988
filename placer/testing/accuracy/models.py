"""Models to compare on: as a header in memory, and as a phantom on disk.

The formula reads the first, the engine's dry run the second; both come from one
description, so that a difference is one of figures.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from placer.gguf import GGUFArray, GGUFFile, Tensor, type_names
from placer.model import ModelShape, model_shape
from placer.testing.models_file import (
    VALUE_TYPES,
    Array,
    Field,
    Weight,
    text,
    write_file,
)
from placer.testing.models_vocabulary import Vocabulary

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from placer.gguf import MetadataValue
    from placer.testing.models_blueprint import Blueprint

_TYPE_NAMES: Final = {number: name for name, (number, _) in VALUE_TYPES.items()}
#: Stands in a record for "a vocabulary of this many tokens".
_VOCABULARY: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """A model of which everything is known but the weights themselves.

    Attributes:
        name: unique among those that are compared.
        architecture: as ``general.architecture`` says it.
        fields: its metadata, without that of the vocabulary.
        weights: its tensor table.
        n_vocab: tokens of its vocabulary.
        is_big: whether its shape is that of a published model.
    """

    name: str
    architecture: str
    fields: tuple[Field, ...]
    weights: tuple[Weight, ...]
    n_vocab: int
    is_big: bool = False

    def write(self, path: Path) -> Path:
        """The phantom of it at ``path``: its header, and a hole for its data."""
        vocabulary = Vocabulary(n_tokens=self.n_vocab).fields()
        return write_file(path, (*self.fields, *vocabulary), self.weights)

    def shape(self, *, nextn: bool = False) -> ModelShape:
        """What placer makes of its header, NextN layers loaded or not."""
        return model_shape(self.file(), nextn=nextn)

    def file(self) -> GGUFFile:
        """Its header as if it had been read."""
        metadata = {field.key: _value(field) for field in self.fields}
        metadata["tokenizer.ggml.tokens"] = GGUFArray(
            element_type="string", count=self.n_vocab
        )
        tensors = tuple(
            Tensor(
                name=weight.name,
                dims=weight.dims,
                type_name=weight.type_name,
                offset=0,
                n_bytes=weight.n_bytes,
                shard=0,
            )
            for weight in self.weights
        )
        path = Path(f"{self.name}.gguf")
        return GGUFFile(
            path=path,
            shards=(path,),
            version=3,
            byte_order="little",
            metadata=metadata,
            tensors=tensors,
            size_bytes=sum(tensor.n_bytes for tensor in tensors),
        )


def read_models(path: Path) -> Iterator[KnownModel]:
    """The models of a file of records, one JSON object a line, compressed."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield model_of_record(json.loads(line))


def model_of_record(record: Mapping[str, Any]) -> KnownModel:
    """The model that a record describes.

    A record has ``name``; ``metadata``, a list of key, GGUF value type and value,
    where an array is ``{"type", "values" or "strings"}`` and type -1 stands for a
    vocabulary of that many tokens; ``tensors``, a list of name, dimensions (innermost
    first) and number of the ggml type.
    """
    fields: list[Field] = []
    n_vocab = 0
    for key, type_number, value in record["metadata"]:
        if type_number == _VOCABULARY:
            n_vocab = value
        else:
            fields.append(_field(key, type_number, value))
    kinds = type_names()
    weights = tuple(
        Weight(name=name, dims=tuple(dims), type_name=kinds[number])
        for name, dims, number in record["tensors"]
    )
    architecture = next(f.value for f in fields if f.key == "general.architecture")
    return KnownModel(
        name=record["name"],
        architecture=str(architecture),
        fields=tuple(fields),
        weights=weights,
        n_vocab=n_vocab,
    )


def _field(key: str, type_number: int, value: Any) -> Field:
    if isinstance(value, dict):
        values = value["strings"] if "strings" in value else value["values"]
        value = Array(element_type=_TYPE_NAMES[value["type"]], values=values)
    return Field(key=key, type_name=_TYPE_NAMES[type_number], value=value)


def _value(field: Field) -> MetadataValue:
    """The value as the reader of headers would have kept it."""
    value = field.value
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, Array):
        return value
    if value.element_type == "string":
        return GGUFArray(element_type="string", count=len(value.values))
    return tuple(v for v in value.values if isinstance(v, int | float))


@cache
def big_models() -> tuple[KnownModel, ...]:
    """The models of published shape."""
    from placer.testing.accuracy.big import BIG
    from placer.testing.accuracy.big_blueprints import BLUEPRINTS

    described = [
        KnownModel(
            name=name,
            architecture=one.architecture,
            fields=(text("general.architecture", one.architecture), *one.fields()),
            weights=tuple(one.weights()),
            n_vocab=one.numbers["V"],
            is_big=True,
        )
        for name, one in BIG.items()
    ]
    blueprints = [_of_blueprint(name, make()) for name, make in BLUEPRINTS.items()]
    return (*described, *blueprints)


def _of_blueprint(name: str, blueprint: Blueprint) -> KnownModel:
    fields = blueprint.fields
    tokens = next(f.value for f in fields if f.key == "tokenizer.ggml.tokens")
    if not isinstance(tokens, Array):
        raise TypeError(name)
    return KnownModel(
        name=name,
        architecture=str(fields[0].value),
        fields=tuple(f for f in fields if not f.key.startswith("tokenizer.")),
        weights=blueprint.weights,
        n_vocab=len(tokens.values),
        is_big=True,
    )
