"""What compute buffers are believed to take, corrected by what they were seen to."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from placer.model.shape import is_expert
from placer.placement import Placement, TensorException
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.model import ModelShape

# What a guess may be too large by without asking again: so much, or so large a share of
# what there is to fill.
SLACK_BYTES = 32 * MIB
SLACK_SHARE = 1 / 1024


class Guess:
    """Compute buffers of each device, with and without the output, as last seen."""

    def __init__(self, n_devices: int, free_bytes: int) -> None:
        self._seen: dict[tuple[int, bool], int] = {}
        self._n = n_devices
        self._slack = min(SLACK_BYTES, int(free_bytes * SLACK_SHARE))
        self._too_small = False

    @property
    def used(self) -> tuple[int, ...]:
        """Of a device that does not hold the output."""
        middle = [n for (_, is_last), n in self._seen.items() if not is_last]
        unknown = max(middle, default=max(self._seen.values(), default=0))
        return tuple(self._seen.get((i, False), unknown) for i in range(self._n))

    @property
    def last(self) -> tuple[int, ...]:
        """How much more they are where the output is; negative for less."""
        ends = [n for (_, is_last), n in self._seen.items() if is_last]
        unknown = max(ends, default=0)
        return tuple(
            self._seen.get((i, True), unknown) - used
            for i, used in enumerate(self.used)
        )

    def learn(
        self, touched: Sequence[tuple[int, bool]], compute: Sequence[int], *, fits: bool
    ) -> bool:
        """See what a placement takes; whether it is worth asking again.

        What was too small grows. What was too large shrinks, until something was too
        small: otherwise two placements could take turns for ever.

        Args:
            touched: the devices that hold anything, and whether the output is there.
            compute: bytes of each device.
            fits: whether the placement fits all the same.
        """
        grew = shrank = False
        for device, is_last in touched:
            before = self._seen.get((device, is_last), 0)
            spare = before - compute[device]
            if spare < 0:
                grew = True
            elif spare > self._slack and not self._too_small:
                shrank = True
            else:
                continue
            self._seen[device, is_last] = compute[device]
        self._too_small |= not fits
        return shrank if fits else grew


def in_proportion(
    shape: ModelShape, sizes: Sequence[int], *, on_cpu: bool
) -> Placement:
    """All slots by the sizes of the devices: what an answer looks like, roughly.

    Args:
        shape: the model.
        sizes: of the devices.
        on_cpu: whether half of the experts are on the CPU.
    """
    split = proportions(sizes, shape.n_slots)
    start = 0
    away: set[int] = set()
    for n in split:
        away.update(range(start + n // 2, start + n))
        start += n
    exceptions = {
        TensorException(tensor=tensor.name, buffer="CPU")
        for layer in shape.layers
        for tensor in layer.tensors
        if on_cpu and layer.index in away and is_expert(tensor.name)
    }
    return Placement(split=split, exceptions=frozenset(exceptions))


def proportions(sizes: Sequence[int], n: int) -> tuple[int, ...]:
    """Whole numbers with the sum ``n``, in proportion to sizes."""
    ends = [n * done // max(sum(sizes), 1) for done in accumulate(sizes)]
    given = [end - before for before, end in pairwise([0, *ends])]
    given[-1] += n - sum(given)
    return tuple(given)
