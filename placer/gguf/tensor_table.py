"""The tensor table of one file: names, shapes, types, places in the data section."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from placer.gguf.cursor import DAMAGED
from placer.gguf.file import Tensor
from placer.gguf.ggml_types import row_bytes, type_names, type_size
from placer.units import pad

if TYPE_CHECKING:
    from collections.abc import Iterator

    from placer.gguf.cursor import Cursor

MAX_TENSORS: Final = 262_144
MAX_DIMS: Final = 4  # GGML_MAX_DIMS, ggml.h
MAX_NAME_BYTES: Final = 63  # GGML_MAX_NAME less its final zero, ggml.h
MAX_ELEMENTS: Final = (1 << 63) - 1


def read_tensors(
    cursor: Cursor, count: int, *, alignment: int, shard: int
) -> tuple[Tensor, ...]:
    """The next ``count`` lines of the table; they cover the data section in order.

    Raises:
        InputError: a line that ggml refuses (gguf.cpp:630 and on).
    """
    if count > MAX_TENSORS:
        raise cursor.error(
            f"{count} tensors, more than any model has ({MAX_TENSORS})",
            offset=8,
            hint=DAMAGED,
        )
    tensors = tuple(_lines(cursor, count, alignment, shard))
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise cursor.error(f"the tensor {tensor.name!r} is there twice")
        seen.add(tensor.name)
    return tensors


def _lines(cursor: Cursor, count: int, alignment: int, shard: int) -> Iterator[Tensor]:
    expected = 0
    for _ in range(count):
        at = cursor.pos
        name = _read_name(cursor)
        dims = _read_dims(cursor, name)
        type_name = _read_type(cursor, name, dims)
        offset = cursor.uint64(f"the offset of {name!r}")
        if offset != expected:
            raise cursor.error(
                f"the data of {name!r} is said to be at {offset}, should be at "
                f"{expected} of the data section",
                offset=at,
                hint=DAMAGED,
            )
        n_bytes = _n_bytes(type_name, dims)
        yield Tensor(
            name=name,
            dims=dims,
            type_name=type_name,
            offset=offset,
            n_bytes=n_bytes,
            shard=shard,
        )
        expected = pad(offset + n_bytes, alignment)


def _read_name(cursor: Cursor) -> str:
    at = cursor.pos
    length = cursor.uint64("the length of a tensor's name")
    if length > MAX_NAME_BYTES:
        raise cursor.error(
            f"a tensor's name of {length} bytes, it can have {MAX_NAME_BYTES}",
            offset=at,
            hint=DAMAGED,
        )
    try:
        return cursor.take(length, "a tensor's name").decode("utf-8")
    except UnicodeDecodeError:
        raise cursor.error("a tensor's name is not UTF-8", offset=at) from None


def _read_dims(cursor: Cursor, name: str) -> tuple[int, ...]:
    at = cursor.pos
    count = cursor.uint32(f"the dimensions of {name!r}")
    if count > MAX_DIMS:
        raise cursor.error(
            f"{name!r} has {count} dimensions, it can have {MAX_DIMS}",
            offset=at,
            hint=DAMAGED,
        )
    dims = tuple(cursor.uint64(f"the dimensions of {name!r}") for _ in range(count))
    # Each alone too: a zero among them would hide the others.
    if max(dims, default=0) > MAX_ELEMENTS or math.prod(dims) > MAX_ELEMENTS:
        shape = " x ".join(map(str, dims))
        raise cursor.error(
            f"{name!r} is {shape}, more than 2^63 elements", offset=at, hint=DAMAGED
        )
    return dims


def _read_type(cursor: Cursor, name: str, dims: tuple[int, ...]) -> str:
    at = cursor.pos
    number = cursor.uint32(f"the type of {name!r}")
    type_name = type_names().get(number)
    if type_name is None:
        raise cursor.error(
            f"{name!r} is of unknown tensor type {number}",
            offset=at,
            hint="the file is damaged, or pip install -U gguf",
        )
    block_elements = type_size(type_name)[0]
    row = _row_elements(dims)
    if row % block_elements:
        raise cursor.error(
            f"{name!r} has rows of {row} elements, not made of whole {type_name} "
            f"blocks of {block_elements}",
            offset=at,
            hint=DAMAGED,
        )
    return type_name


def _row_elements(dims: tuple[int, ...]) -> int:
    return dims[0] if dims else 1


def _n_bytes(type_name: str, dims: tuple[int, ...]) -> int:
    return row_bytes(type_name, _row_elements(dims)) * math.prod(dims[1:])
