"""What compute buffers are believed to take, corrected by what they were seen to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

# What a guess may be too large by without asking again.
SLACK_BYTES = 32 * MIB


class Guess:
    """Compute buffers of each device, with and without the output, as last seen."""

    def __init__(self, n_devices: int) -> None:
        self._seen: dict[tuple[int, bool], int] = {}
        self._n = n_devices
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
            elif spare > SLACK_BYTES and not self._too_small:
                shrank = True
            else:
                continue
            self._seen[device, is_last] = compute[device]
        self._too_small |= not fits
        return shrank if fits else grew
