"""A text on disk: replaced whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from placer.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

# Stands in the first line of a file that may be written anew.
MARK = "Written by placer"
MARK_BYTES = 256
ELSEWHERE = "give another file with --out"


def write_whole(
    path: Path, text: str, *, parents: bool = False, hint: str = ELSEWHERE
) -> None:
    """The file holds the text; whoever reads it meanwhile sees all of the old one.

    Args:
        path: the file.
        text: what it is to hold.
        parents: whether its folder is made; it must be there otherwise.
        hint: what to do where it cannot be written.

    Raises:
        InputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}", path=path, hint=hint
        ) from None
    finally:
        with suppress(OSError):  # it has taken its place, or never came about
            temporary.unlink()


def write_anew(path: Path, text: str, *, force: bool = False) -> None:
    """Write a text that has the mark; a file that has it not is somebody's own.

    Args:
        path: the file; its folder must be there.
        text: what it is to hold, ``MARK`` in its first line.
        force: whether any file is replaced.

    Raises:
        InputError: it is there without the mark, or cannot be written.
    """
    if not force and path.is_file() and not _is_marked(path):
        raise InputError(
            "is there already, and not written by placer",
            path=path,
            hint=f"{ELSEWHERE}, or replace it with --force",
        )
    write_whole(path, text)


def _is_marked(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return MARK.encode() in file.readline(MARK_BYTES)
    except OSError:
        return False
