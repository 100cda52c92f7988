"""Files and folders that llama-server's flags name: a container must see them."""

from __future__ import annotations

import glob
import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# --lora-scaled FNAME:SCALE,FNAME:SCALE
SCALE = re.compile(r":[-+.\deE]+\Z")
PART_OF_SPLIT = re.compile(r"(.+)-\d{5}-of-(\d{5})\.gguf", re.DOTALL)


def absolute(args: Sequence[str]) -> tuple[str, ...]:
    """The same flags; what they name is where it is, from any folder."""
    return tuple(",".join(map(_absolute, arg.split(","))) for arg in args)


def named_files(args: Sequence[str]) -> tuple[str, ...]:
    """All that the flags name and that is here, the parts of a split model as well."""
    found: dict[str, None] = {}
    for arg in args:
        for part in arg.split(","):
            path = _named(SCALE.sub("", part))
            if path is not None:
                found.update(dict.fromkeys(map(str, _with_parts(path))))
    return tuple(found)


def _with_parts(path: Path) -> Iterator[Path]:
    """A file, and those of its model that the engine opens beside it."""
    yield path
    match = PART_OF_SPLIT.fullmatch(path.name)
    if match is not None:
        name = f"{glob.escape(match[1])}-*-of-{match[2]}.gguf"
        yield from sorted(path.parent.glob(name))


def _absolute(part: str) -> str:
    name = SCALE.sub("", part)
    path = _named(name)
    return part if path is None else f"{path}{part[len(name) :]}"


def _named(text: str) -> Path | None:
    """The file or folder of a value of a flag; None where it is something else.

    A word without a point or a slash is none, whatever is called so here.
    """
    if not ("/" in text or "." in text) or text.startswith("-"):
        return None
    path = Path(text).absolute()
    if ".." in path.parts:
        path = path.parent.resolve() / path.name
    try:
        there = path.is_file() or (path.is_dir() and path != Path(path.anchor))
    except (OSError, ValueError):
        return None
    return path if there else None
