"""A writer of GGUF files for tests: any metadata, any tensor table, data or a hole.

It shares no code with the reader in ``placer.gguf`` but the table of block sizes, so
that neither can hide a mistake of the other.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from placer.gguf.ggml_types import row_bytes, type_names
from placer.units import pad

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

VERSION: Final = 3
ALIGNMENT: Final = 32
#: gguf_type by name (gguf.h), and how struct packs a scalar of it
VALUE_TYPES: Final = {
    "uint8": (0, "B"),
    "int8": (1, "b"),
    "uint16": (2, "H"),
    "int16": (3, "h"),
    "uint32": (4, "I"),
    "int32": (5, "i"),
    "float32": (6, "f"),
    "bool": (7, "?"),
    "string": (8, ""),
    "array": (9, ""),
    "uint64": (10, "Q"),
    "int64": (11, "q"),
    "float64": (12, "d"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """An array value; strings may be given as ``str`` or as ``bytes``."""

    element_type: str
    values: Sequence[bool | int | float | str | bytes]


FieldValue = bool | int | float | str | bytes | Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One key with its value, and the type to write it as."""

    key: str
    type_name: str
    value: FieldValue


@dataclass(frozen=True, slots=True, kw_only=True)
class Weight:
    """One line of the tensor table to be; ``dims`` innermost first."""

    name: str
    dims: tuple[int, ...]
    type_name: str

    @property
    def n_bytes(self) -> int:
        """The bytes of its data, without padding."""
        return row_bytes(self.type_name, self.dims[0]) * math.prod(self.dims[1:])


def text(key: str, value: str) -> Field:
    """A string."""
    return Field(key=key, type_name="string", value=value)


def uint32(key: str, value: int) -> Field:
    """A whole number, as most hyperparameters are."""
    return Field(key=key, type_name="uint32", value=value)


def float32(key: str, value: float) -> Field:
    """A number."""
    return Field(key=key, type_name="float32", value=value)


def strings(key: str, values: Sequence[str] | Sequence[bytes]) -> Field:
    """An array of strings."""
    return Field(
        key=key, type_name="array", value=Array(element_type="string", values=values)
    )


def header_bytes(
    fields: Sequence[Field],
    weights: Sequence[Weight] = (),
    *,
    version: int = VERSION,
    byte_order: str = "little",
    alignment: int = ALIGNMENT,
) -> bytes:
    """The file up to the first byte of its data section.

    A file whose ``alignment`` is not 32 must say so itself, in ``general.alignment``.
    """
    packer = _Packer(byte_order)
    packer.written += b"GGUF"
    packer.put("IQQ", version, len(weights), len(fields))
    for field in fields:
        packer.put_field(field)
    type_numbers = {name: number for number, name in type_names().items()}
    offset = 0
    for weight in weights:
        packer.put_string(weight.name)
        packer.put("I", len(weight.dims))
        packer.put(f"{len(weight.dims)}Q", *weight.dims)
        packer.put("IQ", type_numbers[weight.type_name], offset)
        offset += pad(weight.n_bytes, alignment)
    packer.align(alignment)
    return bytes(packer.written)


def write_file(
    path: Path,
    fields: Sequence[Field],
    weights: Sequence[Weight],
    data: Callable[[Weight], Iterable[bytes]] | None = None,
) -> Path:
    """A whole file at ``path``; without ``data`` its data section is a hole.

    A hole reads as zeros and takes no disk, whatever its size.
    """
    header = header_bytes(fields, weights)
    with path.open("wb") as file:
        file.write(header)
        for weight in weights:
            end = file.tell() + pad(weight.n_bytes, ALIGNMENT)
            if data is not None:
                file.writelines(data(weight))
            file.seek(end)
        file.truncate(file.tell())
    return path


class _Packer:
    """Bytes under construction, all numbers in one byte order."""

    def __init__(self, byte_order: str) -> None:
        self.written = bytearray()
        self._order = "<" if byte_order == "little" else ">"
        self._length = struct.Struct(self._order + "Q")

    def put(self, layout: str, *values: float | str | bytes) -> None:
        self.written += struct.pack(self._order + layout, *values)

    def put_string(self, value: str | bytes) -> None:
        raw = value.encode() if isinstance(value, str) else value
        self.written += self._length.pack(len(raw)) + raw

    def put_field(self, field: Field) -> None:
        self.put_string(field.key)
        number, layout = VALUE_TYPES[field.type_name]
        self.put("I", number)
        if isinstance(field.value, Array):
            self._put_array(field.value)
        elif isinstance(field.value, str | bytes):
            self.put_string(field.value)
        else:
            self.put(layout, field.value)

    def _put_array(self, array: Array) -> None:
        number, layout = VALUE_TYPES[array.element_type]
        self.put("IQ", number, len(array.values))
        if array.element_type != "string":
            self.put(f"{len(array.values)}{layout}", *array.values)
            return
        length = self._length.pack
        raws = [v if isinstance(v, bytes) else str(v).encode() for v in array.values]
        self.written += b"".join([length(len(raw)) + raw for raw in raws])

    def align(self, alignment: int) -> None:
        self.written += bytes(pad(len(self.written), alignment) - len(self.written))
