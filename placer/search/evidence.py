"""What launches have taught about each device, as bytes it holds and refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.plan import Family, Spread

# Steps of the way from what is believed to what is not excluded; enough to tell any
# two loads of a model of a few hundred layers apart.
BISECTIONS = 24


@dataclass(slots=True, kw_only=True)
class DeviceEvidence:
    """One device, in bytes of weights and context.

    Attributes:
        believed_bytes: what it should hold, after all that is known of its compute
            buffers; the estimate's word until a launch knows better.
        held_bytes: the most that it was seen to hold, None before the first.
        refused_bytes: the least that it was seen to refuse, None before the first.
        refusals: how often it refused what was believed.
    """

    believed_bytes: int
    held_bytes: int | None = None
    refused_bytes: int | None = None
    refusals: int = 0

    def hold(self, load_bytes: int) -> None:
        """It was seen to hold this load, under a full context."""
        self.held_bytes = max(self.held_bytes or 0, load_bytes)
        self.believed_bytes = max(self.believed_bytes, load_bytes)

    def refuse(self, load_bytes: int, unit_bytes: int) -> None:
        """It was seen to run out of memory under this load.

        The belief falls just below it, and with each further refusal twice as many
        units lower, until something holds; then it is the middle of the two.
        """
        if self.refused_bytes is None or load_bytes < self.refused_bytes:
            self.refused_bytes = load_bytes
        self.refusals += load_bytes <= self.believed_bytes
        below = self.refused_bytes - 1
        if self.held_bytes is not None:
            below = (self.held_bytes + self.refused_bytes) // 2
        elif self.refusals > 1:
            below -= (2 ** (self.refusals - 1) - 1) * unit_bytes
        self.believed_bytes = min(self.believed_bytes, max(below, 0))


class Evidence:
    """All devices, and what to launch next.

    Args:
        family: the strategy that is searched.
        believed: for each device, the bytes of weights and context it should hold.
    """

    def __init__(self, family: Family, believed: Sequence[int]) -> None:
        self._family = family
        self.devices = [DeviceEvidence(believed_bytes=b) for b in believed]

    def next_spread(self, best: Spread | None) -> Spread | None:
        """What to launch: the believed best, else the least step beyond it.

        None when every spread better than ``best`` is refused by what was seen: then
        ``best`` is the largest, and a failed launch shows it for each device.
        """
        allowed = [
            everything if d.refused_bytes is None else d.refused_bytes - 1
            for d, everything in zip(self.devices, self._family.everything, strict=True)
        ]
        # Below 0 a device has no room for its compute buffers alone, not even empty.
        if min(allowed) < 0 or not self._improves(allowed, best):
            return None
        believed = [
            min(d.believed_bytes, most)
            for d, most in zip(self.devices, allowed, strict=True)
        ]
        if self._improves(believed, best):
            return self._family.best(believed)
        return self._least_step(believed, allowed, best)

    def _least_step(
        self, believed: list[int], allowed: list[int], best: Spread | None
    ) -> Spread | None:
        """The improvement that asks least beyond what is believed."""
        low, high = 0, 1 << BISECTIONS
        while high - low > 1:
            middle = (low + high) // 2
            if self._improves(_between(believed, allowed, middle), best):
                high = middle
            else:
                low = middle
        return self._family.best(_between(believed, allowed, high))

    def _improves(self, capacities: Sequence[int], best: Spread | None) -> bool:
        spread = self._family.best(capacities)
        if spread is None or best is None:
            return spread is not None
        return self._family.value(spread) > self._family.value(best)


def _between(low: Sequence[int], high: Sequence[int], step: int) -> list[int]:
    """``step`` of 2**BISECTIONS of the way from one to the other."""
    return [
        a + ((b - a) * step >> BISECTIONS) if b > a else b
        for a, b in zip(low, high, strict=True)
    ]
