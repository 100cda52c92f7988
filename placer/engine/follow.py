"""A log that is still being written, line by line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class LogFollower:
    """Whole lines of a growing file, each of them once.

    Args:
        path: the file; it need not be there yet.
        offset: the byte to begin at.
    """

    def __init__(self, path: Path, *, offset: int = 0) -> None:
        self._path = path
        self._offset = offset
        self._rest = b""

    def new_lines(self) -> list[str]:
        """The lines completed since the last call; bad bytes are replaced."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode("utf-8", "replace") for line in lines]

    def last_line(self) -> list[str]:
        """What stands after the last line break, when no more will come."""
        rest, self._rest = self._rest, b""
        return [rest.decode("utf-8", "replace")] if rest else []
