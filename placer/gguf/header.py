"""The header of one file: format, metadata, tensor table.

The layout, and what is refused, are those of ``gguf_init_from_reader``
(llama.cpp b10434, ggml/src/gguf.cpp:451): a file that passes here loads there.
"""

from __future__ import annotations

import mmap
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from placer.errors import InputError
from placer.gguf.cursor import MAX_HEADER_BYTES, Cursor
from placer.gguf.file import is_whole
from placer.gguf.metadata import read_metadata
from placer.gguf.tensor_table import read_tensors
from placer.units import pad, size_text

if TYPE_CHECKING:
    from pathlib import Path

    from placer.gguf.file import MetadataValue, Tensor

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
DEFAULT_ALIGNMENT: Final = 32  # GGUF_DEFAULT_ALIGNMENT, gguf.h


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The header of one file, which may be one of several of a split model."""

    path: Path
    version: int
    byte_order: Literal["little", "big"]
    metadata: dict[str, MetadataValue]
    tensors: tuple[Tensor, ...]
    size_bytes: int


def read_header(path: Path) -> Header:
    """The header of the file at ``path``, whose data section was seen to be whole.

    Raises:
        InputError: no such file, not a GGUF, damaged, or cut off.
    """
    view, size_bytes = _map(path)
    with view:
        return _parse(Cursor(view, path, size_bytes), path, size_bytes)


def _map(path: Path) -> tuple[mmap.mmap, int]:
    try:
        size_bytes = _regular_file_bytes(path)
        with path.open("rb") as file:
            length = min(size_bytes, MAX_HEADER_BYTES)
            view = mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError("no such file", path=path, hint="check the path") from None
    except PermissionError:
        raise InputError(
            "permission denied", path=path, hint="make the file readable"
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", path=path) from None
    return view, size_bytes


def _regular_file_bytes(path: Path) -> int:
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise InputError("is a folder", path=path, hint="give the .gguf file in it")
    if not stat.S_ISREG(status.st_mode):
        raise InputError("is not a regular file", path=path)
    if status.st_size == 0:
        raise InputError(
            "the file is empty", path=path, hint="the download did not start"
        )
    return status.st_size


def _parse(cursor: Cursor, path: Path, size_bytes: int) -> Header:
    version, byte_order = _read_format(cursor)
    n_tensors = cursor.uint64("the number of tensors")
    metadata = read_metadata(cursor)
    alignment = _alignment(metadata, cursor)
    tensors = read_tensors(
        cursor, n_tensors, alignment=alignment, shard=_shard_index(metadata)
    )
    if tensors:
        start = pad(cursor.pos, alignment)
        _check_data_is_whole(path, start, tensors[-1], size_bytes)
    return Header(
        path=path,
        version=version,
        byte_order=byte_order,
        metadata=metadata,
        tensors=tensors,
        size_bytes=size_bytes,
    )


def _read_format(cursor: Cursor) -> tuple[int, Literal["little", "big"]]:
    magic = cursor.take(min(4, cursor.bytes_left), "the magic")
    if magic != MAGIC:
        lfs = magic == b"vers"  # "version https://git-lfs...": the text in its stead
        raise cursor.error(
            f"not a GGUF: it starts with {magic!r}",
            offset=0,
            hint="git lfs pull brings the file" if lfs else "give a .gguf file",
        )
    raw = cursor.take(4, "the version")
    for byte_order in ("little", "big"):
        version = int.from_bytes(raw, byte_order)
        if version in VERSIONS:
            cursor.set_byte_order(byte_order)
            return version, byte_order
        if version == 1:
            raise cursor.error(
                "GGUF version 1, which llama.cpp no longer reads",
                offset=4,
                hint="get a newer conversion of the model",
            )
    version = int.from_bytes(raw, "little")
    raise cursor.error(
        f"GGUF version {version}, known are 2 and 3",
        offset=4,
        hint="the file is damaged or newer than placer",
    )


def _alignment(metadata: dict[str, MetadataValue], cursor: Cursor) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if is_whole(value) and value > 0 and not value & (value - 1):
        return value
    raise cursor.error(f"general.alignment is {value!r}, not a power of two")


def _shard_index(metadata: dict[str, MetadataValue]) -> int:
    """What the file says it is; ``split.py`` checks that it tells the truth."""
    index = metadata.get("split.no", 0)
    return index if is_whole(index) else 0


def _check_data_is_whole(path: Path, start: int, last: Tensor, size_bytes: int) -> None:
    short = start + last.offset + last.n_bytes - size_bytes
    if short > 0:
        raise InputError(
            f"truncated: {short} bytes short ({size_text(short)} of "
            f"{size_text(size_bytes + short)}), the download is incomplete",
            path=path,
            offset=size_bytes,
            hint="get the file again",
        )
