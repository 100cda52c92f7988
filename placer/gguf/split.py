"""Files of a split model, found by name and joined.

``gguf-split`` names them ``NAME-00001-of-00003.gguf`` and writes ``split.no`` (from
0), ``split.count`` and ``split.tensors.count`` (of all together) into each; the other
metadata is in the first.
"""

from __future__ import annotations

import re
from itertools import islice
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from placer.errors import InputError
from placer.gguf.file import GGUFFile, is_whole
from placer.gguf.header import Header, read_header

if TYPE_CHECKING:
    from pathlib import Path

    from placer.gguf.file import Tensor

_SPLIT_NAME: Final = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf", re.DOTALL)
# Of missing shards: more make a line that nobody reads.
MOST_NAMED: Final = 8


def read_gguf(path: Path) -> GGUFFile:
    """The header of the model in ``path``, joined from all shards if it is split.

    Any shard of a split model will do; the others are looked for beside it. No tensor
    data is read, and arrays of strings are passed over: a header of 200,000 tokens
    takes milliseconds.

    Raises:
        InputError: a file that is missing, unreadable, damaged, cut off or of another
            model, named with path and offset.
    """
    match = _SPLIT_NAME.fullmatch(path.name)
    given = read_header(path)
    count = _whole(given, "split.count", default=1)
    if count <= 1:
        return _join([given])
    if match is None or int(match[3]) != count:
        raise InputError(
            f"says that it is one of {count} files, and its name does not end in "
            f"-NNNNN-of-{count:05}.gguf",
            path=path,
            hint="give it the name that it had",
        )
    return _join(_read_shards(given, match[1], count))


def shard_name(prefix: str, number: int, count: int) -> str:
    """The name of the ``number``-th shard of ``count``, counted from 1."""
    return f"{prefix}-{number:05}-of-{count:05}.gguf"


def _read_shards(given: Header, prefix: str, count: int) -> list[Header]:
    _require_all(given.path, prefix, count)
    shards: list[Header] = []
    for index in range(count):
        path = given.path.with_name(shard_name(prefix, index + 1, count))
        header = given if path == given.path else read_header(path)
        _check_belongs(header, index, count, shards[0] if shards else header)
        shards.append(header)
    return shards


def _require_all(given: Path, prefix: str, count: int) -> None:
    """All shards are there; some of those that are not are named: a claim is cheap."""
    paths = (given.with_name(shard_name(prefix, n + 1, count)) for n in range(count))
    absent = ((n, path) for n, path in enumerate(paths, 1) if not path.exists())
    missing = list(islice(absent, MOST_NAMED + 1))
    if not missing:
        return
    number, first = missing[0]
    others = "".join(f", nor is {path.name} there" for _, path in missing[1:MOST_NAMED])
    more = ", nor are others" if len(missing) > MOST_NAMED else ""
    raise InputError(
        f"no such file, and it is number {number} of the model's {count}{others}{more}",
        path=first,
        hint="download what is missing into the same folder",
    )


def _check_belongs(header: Header, index: int, count: int, first: Header) -> None:
    def differs(key: str, found: object, expected: object) -> InputError:
        return InputError(
            f"is not of the same model: {key} is {found}, should be {expected}",
            path=header.path,
            hint="download the files of one model again",
        )

    for key, expected in (("split.no", index), ("split.count", count)):
        found = _whole(header, key, default=-1)
        if found != expected:
            raise differs(key, "absent" if found < 0 else found, expected)
    key = "general.architecture"
    expected_name = first.metadata.get(key)
    found_name = header.metadata.get(key, expected_name)
    if found_name != expected_name:
        raise differs(key, found_name, expected_name)


def _whole(header: Header, key: str, *, default: int) -> int:
    value = header.metadata.get(key, default)
    if not is_whole(value):
        raise InputError(f"{key} is {value!r}, not a number", path=header.path)
    return value


def _join(headers: list[Header]) -> GGUFFile:
    first = headers[0]
    tensors = _joined_tensors(headers)
    total = _whole(first, "split.tensors.count", default=len(tensors))
    if len(headers) > 1 and total != len(tensors):
        raise InputError(
            f"split.tensors.count is {total}, and its {len(headers)} files have "
            f"{len(tensors)} tensors",
            path=first.path,
            hint="download the files of one model again",
        )
    return GGUFFile(
        path=first.path,
        shards=tuple(header.path for header in headers),
        version=first.version,
        byte_order=first.byte_order,
        metadata=MappingProxyType(first.metadata),
        tensors=tensors,
        size_bytes=sum(header.size_bytes for header in headers),
    )


def _joined_tensors(headers: list[Header]) -> tuple[Tensor, ...]:
    owner: dict[str, Header] = {}
    for header in headers:
        for tensor in header.tensors:
            if tensor.name in owner:
                raise InputError(
                    f"has the tensor {tensor.name!r}, which is also in "
                    f"{owner[tensor.name].path.name}",
                    path=header.path,
                    hint="download the files of one model again",
                )
            owner[tensor.name] = header
    return tuple(tensor for header in headers for tensor in header.tensors)
