"""Phantoms: the true header of a big model, and a hole in the place of its data.

The engine's dry run reads the header only, so a phantom of 60 GB that takes a few MB
of disk tells what the true file would need. Nothing can be computed with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.errors import InputError
from placer.gguf.split import shard_name
from placer.testing.models_file import Field, Weight, write_file
from placer.testing.phantom_shapes import PHANTOMS, Phantom

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


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
