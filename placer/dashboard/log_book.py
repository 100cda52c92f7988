"""A log as it is looked at: the lines that pass the filter, and what is searched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.engine.paste import COLOUR, CONTROL
from placer.engine.phrases import IDLE, PREFIX, message

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST_LINES = 20_000
# So many go at once, so that not every line costs a new filtering.
DROPPED = 5_000
TAB = 8
LEVELS = "EWITD"
LEVEL_NAMES = {"E": "errors", "W": "warnings", "I": "info", "D": "all levels"}
NEXT_LEVEL = {"D": "I", "I": "W", "W": "E", "E": "D"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and its level: that of the line before where it has none itself."""

    text: str
    level: str


class LogBook:
    """The newest lines of a log.

    Attributes:
        shown: those that pass, oldest first.
        wanted: text that they have in them, in either case; empty for any.
        least: the level that they have at least.
        searched: text that is looked for; empty for nothing.
    """

    def __init__(self) -> None:
        self._lines: list[Line] = []
        self._level = "I"
        self._was_idle = False
        self.shown: list[Line] = []
        self.wanted = ""
        self.least = "D"
        self.searched = ""

    def __len__(self) -> int:
        return len(self._lines)

    def add(self, lines: Iterable[str]) -> int:
        """Take in new lines; how many rows at the top went to make room."""
        for raw in lines:
            line = self._line(raw)
            if self._is_idle_again(line):
                continue
            self._lines.append(line)
            if self._passes(line):
                self.shown.append(line)
        if len(self._lines) <= MOST_LINES:
            return 0
        before = len(self.shown)
        del self._lines[: max(DROPPED, len(self._lines) - MOST_LINES)]
        self._sift()
        return before - len(self.shown)

    def want(self, text: str) -> None:
        """Show the lines that have a text in them."""
        self.wanted = text.casefold()
        self._sift()

    def next_level(self) -> None:
        """Show fewer levels; after errors alone, all."""
        self.least = NEXT_LEVEL[self.least]
        self._sift()

    def search(self, text: str) -> None:
        """Look for a text from now on."""
        self.searched = text.casefold()

    def found(self) -> list[int]:
        """The rows that have what is looked for."""
        if not self.searched:
            return []
        return [row for row, line in enumerate(self.shown) if self.is_match(line.text)]

    def is_match(self, text: str) -> bool:
        """Whether a line has what is looked for."""
        return bool(self.searched) and self.searched in text.casefold()

    def _sift(self) -> None:
        self.shown = [line for line in self._lines if self._passes(line)]

    def _passes(self, line: Line) -> bool:
        if LEVELS.index(line.level) > LEVELS.index(self.least):
            return False
        return not self.wanted or self.wanted in line.text.casefold()

    def _is_idle_again(self, line: Line) -> bool:
        """Whether it says once more that nothing is to be done: once is enough."""
        before, self._was_idle = self._was_idle, is_idle(line.text)
        return before and self._was_idle

    def _line(self, raw: str) -> Line:
        text = CONTROL.sub("", COLOUR.sub("", raw)).expandtabs(TAB).rstrip()
        match = PREFIX.match(text)
        said = None if match is None else match["level"]
        self._level = said or self._level
        return Line(text, self._level)


def is_idle(line: str) -> bool:
    """Whether a line says that the server has nothing to do.

    It says so after each question about its slots, too.
    """
    return IDLE.search(message(line)) is not None
