r"""The lines of a models.conf, each kept as it was written.

Text is UTF-8 read with ``surrogateescape``, so that bytes which are no UTF-8 come
back as they were. A line ends at ``\n`` or ``\r\n``; which of the two is kept a
line. A byte order mark stays in the text of line 1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from placer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

BLANKS = " \t\r"  # around keys, values and lines; a lone \r at the end of a file too
_BYTE_ORDER_MARK = "\ufeff"
_SECTION = re.compile(r"\[([A-Za-z0-9_-]+)\]")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class Kind(Enum):
    """What a line is."""

    BLANK = "blank"
    COMMENT = "comment"
    SECTION = "section"
    KEY = "key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line: ``text`` without its end, and the end itself.

    ``name`` is the id of a section or the key, ``value`` the value of a key; both
    are empty elsewhere.
    """

    text: str
    end: str
    kind: Kind
    name: str = ""
    value: str = ""

    def with_value(self, value: str) -> Line:
        """The same key line with another value, the rest of its text as it was."""
        head, equals, tail = self.text.partition("=")
        if not self.value:
            return replace(self, text=head + equals + value, value=value)
        start = len(tail) - len(tail.lstrip(BLANKS))
        after = tail[start + len(self.value) :]
        text = head + equals + tail[:start] + value + after
        return replace(self, text=text, value=value)


def comment(text: str, end: str) -> Line:
    """A comment line."""
    return Line(text=text, end=end, kind=Kind.COMMENT)


def key_line(key: str, value: str, end: str) -> Line:
    """A key line as placer writes it."""
    return Line(text=f"{key}={value}", end=end, kind=Kind.KEY, name=key, value=value)


def decode(data: bytes) -> str:
    """The text of a file, from which :func:`encode` makes the same bytes."""
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    """The bytes of a text."""
    return text.encode("utf-8", "surrogateescape")


def join(lines: Iterable[Line]) -> bytes:
    """The bytes of the lines."""
    return encode("".join(line.text + line.end for line in lines))


def read_lines(data: bytes, path: Path) -> tuple[Line, ...]:
    """The lines of a file, whose :func:`join` is the file.

    Raises:
        InputError: a line is no comment, section or ``KEY=VALUE``.
    """
    if data.startswith(_UTF_16):
        raise InputError("the file is UTF-16", path=path, hint="save it as UTF-8")
    pieces = decode(data).split("\n")
    ended = [_with_end(piece) for piece in pieces[:-1]]
    if pieces[-1]:
        ended.append((pieces[-1], ""))
    return tuple(
        _read_line(text, end, path, number)
        for number, (text, end) in enumerate(ended, start=1)
    )


def _with_end(piece: str) -> tuple[str, str]:
    if piece.endswith("\r"):
        return piece[:-1], "\r\n"
    return piece, "\n"


def _read_line(text: str, end: str, path: Path, number: int) -> Line:
    bare = text.removeprefix(_BYTE_ORDER_MARK) if number == 1 else text
    bare = bare.strip(BLANKS)
    if not bare:
        return Line(text=text, end=end, kind=Kind.BLANK)
    if bare.startswith("#"):
        return comment(text, end)
    if bare.startswith("["):
        name = _section_name(bare, path, number)
        return Line(text=text, end=end, kind=Kind.SECTION, name=name)
    key, equals, value = bare.partition("=")
    key = key.rstrip(BLANKS)
    if not equals or not key:
        problem = f"{_quoted(bare)} is no KEY=VALUE"
        hint = "begin the line with # to make it a comment"
        raise InputError(problem, path=path, line=number, hint=hint)
    value = value.lstrip(BLANKS)
    return Line(text=text, end=end, kind=Kind.KEY, name=key, value=value)


def _section_name(bare: str, path: Path, number: int) -> str:
    match = _SECTION.fullmatch(bare)
    if match is None:
        problem = f"{_quoted(bare)} is no section"
        hint = "write [name] alone on its line, of letters, digits, _ and -"
        raise InputError(problem, path=path, line=number, hint=hint)
    return match.group(1)


def _quoted(text: str) -> str:
    """The text on one printable line, cut short."""
    return ascii(text if len(text) <= 40 else text[:37] + "...")
