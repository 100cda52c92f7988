"""What a GGUF says about a model, without the model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import (
    TYPE_CHECKING,
    Final,
    Literal,
    TypeAlias,
    TypeGuard,
    TypeVar,
    overload,
)

from placer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

T = TypeVar("T")

#: Keys that stand as they are; every other is under the name of the architecture.
GLOBAL_PREFIXES: Final = ("general.", "tokenizer.", "split.", "quantize.")


class Absent(Enum):
    """No default was given."""

    REQUIRED = 0


REQUIRED: Final = Absent.REQUIRED


@dataclass(frozen=True, slots=True, kw_only=True)
class GGUFArray:
    """A long array, or one of strings, of which only this is kept."""

    element_type: str
    count: int


MetadataValue: TypeAlias = (
    bool | int | float | str | tuple[int | float, ...] | GGUFArray
)


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a whole number; True and False, which Python counts in, are not."""
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One line of the tensor table.

    Attributes:
        dims: elements along each dimension in ggml's order, the innermost first.
        type_name: as ggml names it, ``"Q8_0"``.
        offset: bytes from the start of the data section of its shard.
        n_bytes: without the padding that follows.
        shard: index into ``GGUFFile.shards``.
    """

    name: str
    dims: tuple[int, ...]
    type_name: str
    offset: int
    n_bytes: int
    shard: int

    @property
    def n_elements(self) -> int:
        """The product of the dimensions."""
        return math.prod(self.dims)


@dataclass(frozen=True, slots=True, kw_only=True)
class GGUFFile:
    """The header of a model: of one file, or of all shards of a split one.

    The getters take a key as llama.cpp's source writes it after the architecture,
    ``"block_count"`` for ``"llama.block_count"``; a key under one of
    ``GLOBAL_PREFIXES`` stands as it is. They raise ``InputError`` naming file and key
    for a value of another type, and for one that is absent where no default is given.

    Attributes:
        path: the first shard, the one that llama-server is given.
        shards: all files, in order.
        version: of the format, 2 or 3.
        metadata: by full key, of the first shard; arrays of strings and long ones as
            ``GGUFArray``.
        tensors: of all shards, in the order of the files.
        size_bytes: of all files together.
    """

    path: Path
    shards: tuple[Path, ...]
    version: int
    byte_order: Literal["little", "big"]
    metadata: Mapping[str, MetadataValue]
    tensors: tuple[Tensor, ...]
    size_bytes: int

    @property
    def architecture(self) -> str:
        """The value of ``general.architecture``, such as ``"deepseek2"``.

        Raises:
            InputError: the file does not say, as with an adapter or an imatrix.
        """
        return self.text("general.architecture")

    def full_key(self, key: str) -> str:
        """The key as the file spells it."""
        if key.startswith(GLOBAL_PREFIXES):
            return key
        return f"{self.architecture}.{key}"

    @overload
    def integer(self, key: str) -> int: ...
    @overload
    def integer(self, key: str, default: T) -> int | T: ...
    def integer(self, key: str, default: T | Absent = REQUIRED) -> int | T:
        """The whole number under ``key``."""
        value = self._get(key)
        if value is None:
            return self._default(key, default)
        if is_whole(value):
            return value
        raise self._unexpected(key, value, "a whole number")

    @overload
    def number(self, key: str) -> float: ...
    @overload
    def number(self, key: str, default: T) -> float | T: ...
    def number(self, key: str, default: T | Absent = REQUIRED) -> float | T:
        """The number under ``key``, whole or not."""
        value = self._get(key)
        if value is None:
            return self._default(key, default)
        if isinstance(value, float) or is_whole(value):
            return float(value)
        raise self._unexpected(key, value, "a number")

    @overload
    def text(self, key: str) -> str: ...
    @overload
    def text(self, key: str, default: T) -> str | T: ...
    def text(self, key: str, default: T | Absent = REQUIRED) -> str | T:
        """The string under ``key``."""
        value = self._get(key)
        if value is None:
            return self._default(key, default)
        if isinstance(value, str):
            return value
        raise self._unexpected(key, value, "a string")

    @overload
    def flag(self, key: str) -> bool: ...
    @overload
    def flag(self, key: str, default: T) -> bool | T: ...
    def flag(self, key: str, default: T | Absent = REQUIRED) -> bool | T:
        """The truth value under ``key``."""
        value = self._get(key)
        if value is None:
            return self._default(key, default)
        if isinstance(value, bool):
            return value
        raise self._unexpected(key, value, "true or false")

    @overload
    def integers(self, key: str, count: int) -> tuple[int, ...]: ...
    @overload
    def integers(self, key: str, count: int, default: T) -> tuple[int, ...] | T: ...
    def integers(
        self, key: str, count: int, default: T | Absent = REQUIRED
    ) -> tuple[int, ...] | T:
        """The value under ``key`` for each of ``count`` layers.

        One number stands for all of them; an array must have one for each. Truth
        values count as 0 and 1. (``get_key_or_arr``, llama-model-loader.cpp:446.)
        """
        value = self._get(key)
        if value is None:
            return self._default(key, default)
        if isinstance(value, int):
            return (int(value),) * count
        expected = f"a whole number or {count} of them"
        if not isinstance(value, tuple) or len(value) != count:
            raise self._unexpected(key, value, expected)
        if not all(isinstance(one, int) for one in value):
            raise self._unexpected(key, value, expected)
        return tuple(int(one) for one in value)

    @overload
    def array_length(self, key: str) -> int: ...
    @overload
    def array_length(self, key: str, default: T) -> int | T: ...
    def array_length(self, key: str, default: T | Absent = REQUIRED) -> int | T:
        """The elements of the array under ``key``, whether it was kept or skipped."""
        value = self._get(key)
        if value is None:
            return self._default(key, default)
        if isinstance(value, GGUFArray):
            return value.count
        if isinstance(value, tuple):
            return len(value)
        raise self._unexpected(key, value, "an array")

    def _get(self, key: str) -> MetadataValue | None:
        return self.metadata.get(self.full_key(key))

    def _default(self, key: str, default: T | Absent) -> T:
        if isinstance(default, Absent):
            raise InputError(
                f"has no key {self.full_key(key)!r}",
                path=self.path,
                hint="it is not a model that llama-server can load",
            )
        return default

    def _unexpected(self, key: str, value: MetadataValue, expected: str) -> InputError:
        found = repr(value)
        if isinstance(value, tuple | GGUFArray):
            length = value.count if isinstance(value, GGUFArray) else len(value)
            found = f"an array of {length}"
        return InputError(
            f"key {self.full_key(key)!r} should be {expected}, is {found[:80]}",
            path=self.path,
        )
