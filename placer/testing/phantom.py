"""Phantoms: the true header of a big model, and a hole in the place of its data.

The engine's dry run reads the header only, so a phantom of 60 GB that takes a few MB
of disk tells what the true file would need. Nothing can be computed with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from placer.errors import InputError
from placer.gguf.ggml_types import type_names
from placer.gguf.split import shard_name
from placer.testing.models_file import (
    VALUE_TYPES,
    Array,
    Field,
    Weight,
    write_file,
)
from placer.testing.models_vocabulary import Vocabulary
from placer.testing.phantom_shapes import PHANTOMS, Phantom

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TYPE_NAMES: Final = {number: name for name, (number, _) in VALUE_TYPES.items()}
#: Stands in a record for "a vocabulary of this many tokens".
_VOCABULARY: Final = -1


def write_phantom(name: str, folder: Path) -> Path:
    """The phantom of this name, in ``folder``; the path of its (first) file.

    Raises:
        InputError: there is no phantom of this name.
    """
    phantom = PHANTOMS.get(name)
    if phantom is None:
        raise InputError(
            f"no phantom is called {name!r}", hint=f"there are {', '.join(PHANTOMS)}"
        )
    blueprint = phantom.blueprint()
    if phantom.max_shard_bytes is None:
        path = folder / f"{name}.gguf"
        return write_file(path, blueprint.fields, blueprint.weights)
    shards = _dealt(blueprint.weights, phantom, phantom.max_shard_bytes)
    paths = []
    for index, weights in enumerate(shards):
        path = folder / shard_name(name, index + 1, len(shards))
        fields = _split_fields(index, len(shards), len(blueprint.weights))
        own = blueprint.fields if index == 0 else ()
        paths.append(write_file(path, (*own, *fields), weights))
    return paths[0]


def write_phantom_from_record(record: Mapping[str, Any], path: Path) -> Path:
    """A phantom of the model that a record describes, at ``path``.

    Args:
        record: ``metadata``, a list of key, GGUF value type and value, where an array
            is ``{"type", "n", "values" or "strings"}`` and type -1 stands for a
            vocabulary of that many tokens; ``tensors``, a list of name, dimensions
            (innermost first) and number of the ggml type.
        path: the file to write.
    """
    fields: list[Field] = []
    for key, type_number, value in record["metadata"]:
        if type_number == _VOCABULARY:
            fields += Vocabulary(n_tokens=value).fields()
        else:
            fields.append(_field(key, type_number, value))
    kinds = type_names()
    weights = [
        Weight(name=name, dims=tuple(dims), type_name=kinds[type_number])
        for name, dims, type_number in record["tensors"]
    ]
    return write_file(path, fields, weights)


def _field(key: str, type_number: int, value: Any) -> Field:
    if isinstance(value, dict):
        values = value["strings"] if "strings" in value else value["values"]
        value = Array(element_type=_TYPE_NAMES[value["type"]], values=values)
    return Field(key=key, type_name=_TYPE_NAMES[type_number], value=value)


def _dealt(
    weights: Sequence[Weight], phantom: Phantom, max_bytes: int
) -> list[list[Weight]]:
    """The tensors of each file, in order, as gguf-split deals them."""
    shards: list[list[Weight]] = [[], []] if phantom.first_shard_empty else [[]]
    filled = 0
    for weight in weights:
        if filled and filled + weight.n_bytes > max_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(weight)
        filled += weight.n_bytes
    return shards


def _split_fields(index: int, count: int, n_tensors: int) -> tuple[Field, ...]:
    return (
        Field(key="split.no", type_name="uint16", value=index),
        Field(key="split.count", type_name="uint16", value=count),
        Field(key="split.tensors.count", type_name="int32", value=n_tensors),
    )
