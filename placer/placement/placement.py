"""Where each layer and each tensor goes.

Sources are files of llama.cpp build 11434.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from typing import TYPE_CHECKING

from placer.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Strategy(Enum):
    """The field's four ways to place a model, in order of preference."""

    ONE_GPU = "A"
    LAYERS = "C"
    EXPERTS_ON_CPU = "D"
    LAYERS_ON_CPU = "B"

    @property
    def title(self) -> str:
        """What it says to a person."""
        return {
            Strategy.ONE_GPU: "one GPU",
            Strategy.LAYERS: "layers over the GPUs",
            Strategy.EXPERTS_ON_CPU: "experts on the CPU",
            Strategy.LAYERS_ON_CPU: "layers on the CPU",
        }[self]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class TensorException:
    """A tensor that does not follow its layer.

    Attributes:
        tensor: full name.
        buffer: buffer type that holds it, as ``-ot`` spells it; ``"CPU"`` among them.
    """

    tensor: str
    buffer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Layers to devices by ``-ts``, and the tensors that do not follow.

    Attributes:
        split: slots of each device, front to back: repeating layers and, as the very
            last slot, the output. It is what ``-ts`` says; its sum is ``-ngl``. What
            is left over stays on the CPU, the first layers of the model.
        exceptions: tensors that are not where their layer is.
        main_gpu: the only device used (``-sm none -mg``), or None for ``-sm layer``.
        unpipelined: an ``-ot`` that matches nothing, to switch pipelining off.
    """

    split: tuple[int, ...]
    exceptions: frozenset[TensorException] = frozenset()
    main_gpu: int | None = None
    unpipelined: bool = False

    def __post_init__(self) -> None:
        if any(n < 0 for n in self.split):
            raise InputError(
                f"a split of {self.split} slots", hint="give whole numbers from 0"
            )
        used = {i for i, n in enumerate(self.split) if n}
        if self.main_gpu is not None and not used <= {self.main_gpu}:
            raise InputError(
                f"GPU {self.main_gpu} alone cannot hold the split {self.split}",
                hint="drop --split-mode none or the split",
            )

    @property
    def n_gpu_layers(self) -> int:
        """What ``-ngl`` counts: slots on GPUs."""
        return sum(self.split)

    @property
    def overridden(self) -> bool:
        """Whether there is any ``-ot``."""
        return bool(self.exceptions) or self.unpipelined

    def slot_devices(self, n_slots: int) -> tuple[int | None, ...]:
        """The device of each slot (layers, then the output); None is the CPU.

        Args:
            n_slots: layers and the output, ``ModelShape.n_slots``.

        The first layers are those that stay on the CPU: llama-model.cpp:1591.
        """
        act = min(self.n_gpu_layers, n_slots)
        if act == 0:
            return (None,) * n_slots
        if self.main_gpu is not None:
            on_gpu: tuple[int | None, ...] = (self.main_gpu,) * act
            return (None,) * (n_slots - act) + on_gpu
        return (None,) * (n_slots - act) + devices_of_shares(self.split, act)


def devices_of_shares(shares: Sequence[float], n_slots: int) -> tuple[int, ...]:
    """The device of each of ``n_slots`` slots by ``-ts`` shares, whole or not.

    The engine's own arithmetic, float32 and upper bound: llama-model.cpp:1560-1599.

    Raises:
        InputError: no share is above zero.
    """
    sums = list(accumulate(map(_float32, shares), lambda a, b: _float32(a + b)))
    if not sums or sums[-1] <= 0:
        raise InputError(f"a split of {shares}", hint="give one share above 0")
    bounds = [_float32(n / sums[-1]) for n in sums]
    return tuple(
        next(i for i, bound in enumerate(bounds) if bound > _float32(slot / n_slots))
        for slot in range(n_slots)
    )


def _float32(x: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", x))[0])
