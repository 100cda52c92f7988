"""The hyperparameters of a model, by the keys of its file without the architecture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.errors import InputError

if TYPE_CHECKING:
    from placer.gguf import GGUFFile

# LLAMA_MAX_LAYERS and then some.
MOST_LAYERS = 4096


class Hparams:
    """What the file says, with the engine's defaults where it is silent.

    Attributes:
        architecture: ``general.architecture``.
        n_layer_all: repeating layers, NextN layers included.

    Raises:
        InputError: a key has a value of the wrong kind.
    """

    def __init__(self, file: GGUFFile) -> None:
        self._file = file
        self.architecture = file.architecture
        self.n_layer_all = file.integer("block_count")
        if not 0 < self.n_layer_all <= MOST_LAYERS:
            raise InputError(
                f"block_count is {self.n_layer_all}",
                path=file.path,
                hint=f"a model has between 1 and {MOST_LAYERS} layers",
            )

    def has(self, key: str) -> bool:
        """Whether the file has the key."""
        return self._file.full_key(key) in self._file.metadata

    def integer(self, key: str, default: int) -> int:
        """A whole number; the first one of an array."""
        values = self._array(key)
        if values:
            return int(values[0])
        return self._file.integer(key, default)

    def number(self, key: str, default: float) -> float:
        """A number; the first one of an array."""
        values = self._array(key)
        return float(values[0]) if values else self._file.number(key, default)

    def numbers(self, key: str) -> tuple[float, ...]:
        """The numbers of an array, none where there is no array."""
        return tuple(float(value) for value in self._array(key))

    def flag(self, key: str, *, default: bool) -> bool:
        """A truth value."""
        return self._file.flag(key, default)

    def per_layer(self, key: str, default: int) -> tuple[int, ...]:
        """The key's value for every layer; one number stands for all of them."""
        found = self._file.integers(key, self.n_layer_all, None)
        return (default,) * self.n_layer_all if found is None else found

    def array(self, key: str) -> tuple[int, ...] | None:
        """The whole numbers of an array, as long as it is; None where there is none."""
        values = self._array(key)
        return tuple(int(value) for value in values) if values else None

    def _array(self, key: str) -> tuple[int | float, ...]:
        value = self._file.metadata.get(self._file.full_key(key))
        if not isinstance(value, tuple):
            return ()
        return tuple(one for one in value if isinstance(one, int | float))
