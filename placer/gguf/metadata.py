"""The metadata of one file: keys and values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from placer.gguf.cursor import DAMAGED, Cursor, number_bytes
from placer.gguf.file import GGUFArray

if TYPE_CHECKING:
    from placer.gguf.file import MetadataValue

#: Bounds on what one header can make a reader hold or do; models stay far below.
MAX_KEYS: Final = 65_536
MAX_KEY_BYTES: Final = 65_535
#: A longer array of numbers is summarised, as are those past the sum of all.
MAX_KEPT_ELEMENTS: Final = 65_536
MAX_KEPT_ELEMENTS_SUM: Final = 1 << 20

#: gguf_type, gguf.h
VALUE_TYPES: Final = {
    0: "uint8",
    1: "int8",
    2: "uint16",
    3: "int16",
    4: "uint32",
    5: "int32",
    6: "float32",
    7: "bool",
    8: "string",
    9: "array",
    10: "uint64",
    11: "int64",
    12: "float64",
}


def read_metadata(cursor: Cursor) -> dict[str, MetadataValue]:
    """All keys with their values, arrays of strings and long ones summarised.

    Raises:
        InputError: a key or a value that ggml refuses (gguf.cpp:543 and on).
    """
    at = cursor.pos
    count = cursor.uint64("the number of keys")
    if count > MAX_KEYS:
        raise cursor.error(
            f"{count} keys, more than any model has ({MAX_KEYS})",
            offset=at,
            hint=DAMAGED,
        )
    values = _Values(cursor)
    metadata: dict[str, MetadataValue] = {}
    for _ in range(count):
        at = cursor.pos
        key = _read_key(cursor)
        if key in metadata:
            raise cursor.error(f"the key {shown(key)} is there twice", offset=at)
        metadata[key] = values.read(key)
    return metadata


def _read_key(cursor: Cursor) -> str:
    at = cursor.pos
    length = cursor.uint64("the length of a key")
    if not 0 < length <= MAX_KEY_BYTES:
        raise cursor.error(
            f"a key of {length} bytes, it can have 1 to {MAX_KEY_BYTES}",
            offset=at,
            hint=DAMAGED,
        )
    try:
        return cursor.take(length, "a key").decode("utf-8")
    except UnicodeDecodeError:
        raise cursor.error("a key is not UTF-8", offset=at) from None


class _Values:
    """Reads values, and keeps count of the array elements that were kept."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor
        self._kept = 0

    def read(self, key: str) -> MetadataValue:
        type_name = self._read_type(key)
        what = f"the value of {shown(key)}"
        if type_name == "string":
            # Only keys decide anything; a name in another encoding does no harm.
            return self._cursor.string(what).decode("utf-8", errors="replace")
        if type_name == "array":
            return self._read_array(key, what)
        return self._cursor.numbers(type_name, 1, what)[0]

    def _read_type(self, key: str) -> str:
        at = self._cursor.pos
        number = self._cursor.uint32(f"the type of {shown(key)}")
        name = VALUE_TYPES.get(number)
        if name is None:
            raise self._cursor.error(
                f"the key {shown(key)} has a value of unknown type {number}",
                offset=at,
                hint="the file is damaged or newer than placer",
            )
        return name

    def _read_array(self, key: str, what: str) -> MetadataValue:
        at = self._cursor.pos
        element_type = self._read_type(key)
        count = self._cursor.uint64(f"the length of {shown(key)}")
        if element_type == "array":
            raise self._cursor.error(
                f"the key {shown(key)} has an array of arrays, which no reader takes",
                offset=at,
                hint=DAMAGED,
            )
        if element_type == "string":
            self._cursor.skip_strings(count, what)
        elif self._is_kept(count):
            self._kept += count
            return self._cursor.numbers(element_type, count, what)
        else:
            self._cursor.skip(count * number_bytes(element_type), what)
        return GGUFArray(element_type=element_type, count=count)

    def _is_kept(self, count: int) -> bool:
        within_sum = self._kept + count <= MAX_KEPT_ELEMENTS_SUM
        return count <= MAX_KEPT_ELEMENTS and within_sum


def shown(key: str) -> str:
    """A key as an error shows it: quoted, and of bearable length."""
    return repr(key if len(key) <= 80 else key[:77] + "...")
