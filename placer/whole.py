"""A text on disk: replaced whole, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from placer.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """The file holds the text; whoever reads it meanwhile sees all of the old one.

    Raises:
        InputError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror}",
            path=path,
            hint="give another file with --out",
        ) from None
    finally:
        with suppress(OSError):  # it has taken its place, or never came about
            temporary.unlink()
