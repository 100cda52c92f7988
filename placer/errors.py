"""What placer cannot go on from, and the exit code that each leaves behind.

::

    PlacerError            exit 1
      InputError           exit 2   a GGUF, a model, a profile file, a flag
      MachineError         exit 3   no device, no driver, no engine, too old
      SearchError          exit 4   nothing fits, or the budget is spent
      JournalError         exit 5   the record of a search cannot be kept
      InterruptedSearchError  exit 130   Ctrl-C in the middle of a search

Running out of device memory is a verdict, never an error.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class PlacerError(Exception):
    """placer itself cannot go on; ``str()`` is one line that says what to do next.

    Args:
        problem: what is wrong, without a final full stop.
        path: the file that is wrong, where there is one.
        offset: the byte of the file at which it went wrong.
        line: the line of the file at which it went wrong, counted from 1.
        hint: what to do next, without a final full stop.
    """

    exit_code = 1

    def __init__(
        self,
        problem: str,
        *,
        path: Path | str | None = None,
        offset: int | None = None,
        line: int | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = None if path is None else Path(path)
        self.offset = offset
        self.line = line
        self.hint = hint

    def __str__(self) -> str:
        place = "" if self.path is None else str(self.path)
        if self.line is not None:
            place += f":{self.line}"
        if self.offset is not None:
            place += f" at byte {self.offset}"
        text = f"{place}: {self.problem}" if place else self.problem
        if self.hint is not None:
            text += f"; {self.hint}"
        return " ".join(text.split())


class InputError(PlacerError):
    """Something that was given is not what it should be."""

    exit_code = 2


class MachineError(PlacerError):
    """The machine or its engine cannot do what is asked."""

    exit_code = 3


class SearchError(PlacerError):
    """The search ended without a placement that was seen to fit."""

    exit_code = 4


class InterruptedSearchError(PlacerError):
    """Ctrl-C in the middle of a search; its record is closed, its engine ended."""

    exit_code = 130


class JournalError(PlacerError):
    """The record of a search cannot be written or read."""

    exit_code = 5


@contextmanager
def placed(path: Path | None, line: int | None) -> Iterator[None]:
    """An InputError from inside names the file and the line."""
    try:
        yield
    except InputError as error:
        raise InputError(error.problem, path=path, line=line, hint=error.hint) from None
