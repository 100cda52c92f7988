"""Reading forward over a header, never past its end."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from placer.errors import InputError

if TYPE_CHECKING:
    import mmap
    from pathlib import Path

#: A header longer than this is not a model's. The longest in use, with vocabularies of
#: 262,144 tokens, are below 20 MiB; the bound keeps time and memory in hand.
MAX_HEADER_BYTES: Final = 128 << 20

DAMAGED: Final = "the file is damaged, download it again"

_FORMATS: Final = {
    "uint8": "B",
    "int8": "b",
    "uint16": "H",
    "int16": "h",
    "uint32": "I",
    "int32": "i",
    "float32": "f",
    "bool": "?",
    "uint64": "Q",
    "int64": "q",
    "float64": "d",
}


def number_bytes(type_name: str) -> int:
    """The bytes of one number (or boolean) of this type."""
    return struct.calcsize("=" + _FORMATS[type_name])


class Cursor:
    """A place in the header of one file, and what can be read from there on.

    Every method raises ``InputError`` with path and offset instead of reading past
    the end, and checks a count against the bytes that are left before it uses it.

    Args:
        view: the file from its first byte on; ``len(view)`` bounds the header.
        path: the file, for the errors.
        file_bytes: the size of the whole file.
    """

    __slots__ = ("_file_bytes", "_order", "_path", "_uint32", "_uint64", "_view", "pos")

    def __init__(self, view: mmap.mmap, path: Path, file_bytes: int) -> None:
        self._view = view
        self._path = path
        self._file_bytes = file_bytes
        self.pos = 0
        self.set_byte_order("little")

    def set_byte_order(self, byte_order: str) -> None:
        """All numbers from here on are read in this order, "little" or "big"."""
        self._order = "<" if byte_order == "little" else ">"
        self._uint32 = struct.Struct(self._order + "I")
        self._uint64 = struct.Struct(self._order + "Q")

    @property
    def bytes_left(self) -> int:
        """The bytes from here to the end of what may be header."""
        return len(self._view) - self.pos

    def error(
        self, problem: str, *, offset: int | None = None, hint: str | None = None
    ) -> InputError:
        """The error for what was found here, or at ``offset``."""
        place = self.pos if offset is None else offset
        return InputError(problem, path=self._path, offset=place, hint=hint)

    def _past_end(self, what: str) -> InputError:
        if self._file_bytes > len(self._view):
            return self.error(
                f"the header is longer than {MAX_HEADER_BYTES >> 20} MiB: "
                f"{what} ends beyond",
                hint=DAMAGED,
            )
        return self.error(
            f"the file ends inside the header, in {what}",
            hint="the download is incomplete, get the file again",
        )

    def need(self, n_bytes: int, what: str) -> None:
        """Holds when ``n_bytes`` more are there; ``what`` names them in the error."""
        if n_bytes > self.bytes_left:
            raise self._past_end(what)

    def take(self, n_bytes: int, what: str) -> bytes:
        """The next bytes."""
        self.need(n_bytes, what)
        start = self.pos
        self.pos = start + n_bytes
        return self._view[start : self.pos]

    def uint32(self, what: str) -> int:
        """The next number of 4 bytes."""
        self.need(4, what)
        value: int = self._uint32.unpack_from(self._view, self.pos)[0]
        self.pos += 4
        return value

    def uint64(self, what: str) -> int:
        """The next number of 8 bytes."""
        self.need(8, what)
        value: int = self._uint64.unpack_from(self._view, self.pos)[0]
        self.pos += 8
        return value

    def numbers(self, type_name: str, count: int, what: str) -> tuple[int | float, ...]:
        """The next ``count`` numbers (or booleans) of one type."""
        self.need(count * number_bytes(type_name), what)
        layout = struct.Struct(f"{self._order}{count}{_FORMATS[type_name]}")
        values = layout.unpack_from(self._view, self.pos)
        self.pos += layout.size
        return values

    def string(self, what: str) -> bytes:
        """The next string, undecoded."""
        return self.take(self.uint64(what), what)

    def skip(self, n_bytes: int, what: str) -> None:
        """The next ``n_bytes`` are passed over."""
        self.need(n_bytes, what)
        self.pos += n_bytes

    def skip_strings(self, count: int, what: str) -> None:
        """The next ``count`` strings are passed over, about 75 ns each."""
        self.need(count * 8, what)
        view, pos, length_at = self._view, self.pos, self._uint64.unpack_from
        try:
            for _ in range(count):
                pos += length_at(view, pos)[0] + 8
        except (struct.error, OverflowError):
            pos = len(view) + 1
        if pos > len(view):
            raise self._past_end(what)
        self.pos = pos
