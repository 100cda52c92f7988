"""The header of a GGUF: bytes on disk to :class:`GGUFFile`, bounds-checked."""

from __future__ import annotations

from placer.gguf.file import GGUFArray, GGUFFile, MetadataValue, Tensor
from placer.gguf.ggml_types import row_bytes, type_names, type_size
from placer.gguf.split import read_gguf

__all__ = [
    "GGUFArray",
    "GGUFFile",
    "MetadataValue",
    "Tensor",
    "read_gguf",
    "row_bytes",
    "type_names",
    "type_size",
]
