"""What ggml calls its tensor types and how many bytes a block of each takes.

The table is the one of the ``gguf`` package. Importing that package costs 0.2 s,
most of it numpy; its ``constants.py`` alone costs a tenth of that and needs nothing.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import TYPE_CHECKING

from placer.errors import InputError, MachineError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.machinery import ModuleSpec


def type_size(type_name: str) -> tuple[int, int]:
    """The elements and the bytes of one block, ``(32, 34)`` for ``"Q8_0"``.

    Raises:
        InputError: ggml has no type of this name.
    """
    try:
        return _sizes()[type_name]
    except KeyError:
        raise InputError(
            f"unknown tensor type {type_name!r}",
            hint=f"known are {', '.join(_sizes())}",
        ) from None


def row_bytes(type_name: str, n_elements: int) -> int:
    """The bytes of ``n_elements`` in a row, as ``ggml_row_size`` counts them.

    Raises:
        InputError: no such type, or the row is not made of whole blocks.
    """
    block_elements, block_bytes = type_size(type_name)
    n_blocks, rest = divmod(n_elements, block_elements)
    if rest:
        raise InputError(
            f"a row of {n_elements} elements is not made of whole {type_name} "
            f"blocks of {block_elements}"
        )
    return n_blocks * block_bytes


@cache
def type_names() -> Mapping[int, str]:
    """The name of each type that a tensor table can hold, by its number there."""
    return MappingProxyType(
        {int(kind): kind.name for kind in _constants().GGML_QUANT_SIZES}
    )


@cache
def _sizes() -> Mapping[str, tuple[int, int]]:
    return MappingProxyType(
        {kind.name: size for kind, size in _constants().GGML_QUANT_SIZES.items()}
    )


@cache
def _constants() -> ModuleType:
    package = importlib.util.find_spec("gguf")
    if package is None or not package.submodule_search_locations:
        raise MachineError(
            "the Python package gguf is not installed", hint="pip install gguf"
        )
    path = Path(package.submodule_search_locations[0]) / "constants.py"
    spec = importlib.util.spec_from_file_location("placer.gguf._constants", path)
    return _load(spec, path)


def _load(spec: ModuleSpec | None, path: Path) -> ModuleType:
    if spec is None or spec.loader is None:
        raise MachineError("cannot be loaded", path=path, hint="reinstall gguf")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
