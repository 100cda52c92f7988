"""Lower bounds of what experts cost where there is no room for all of them at home.

The experts of a layer cost their bytes, at the least price for a byte on the homes
where they are, and hops if any of them is elsewhere than the layer. However they are
dealt out, no device holds more than it has room for.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.plan.problem import Problem

INFINITE = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """The least prices of a problem.

    Attributes:
        per_byte: of each home, the CPU last: seconds a byte of experts.
        extra: seconds by which a layer of which anything leaves costs more than it
            would at best.
        hops: seconds of hops of such a layer.
        cpu_hops: seconds of hops of a layer of a device with anything on the CPU;
            infinite where nothing may be there.
        most_bytes: of one layer's experts.
    """

    per_byte: tuple[float, ...]
    extra: float
    hops: float
    cpu_hops: float
    most_bytes: int

    def layers(self, n_bytes: int) -> int:
        """How many layers it takes at least for so many bytes."""
        return ceil(n_bytes / self.most_bytes) if n_bytes > 0 else 0

    def saved(self, home: int) -> float:
        """What a byte costs less on a device than on the CPU."""
        return max(self.per_byte[-1] - self.per_byte[home], 0.0)

    @property
    def cpu_price(self) -> float:
        """Seconds a byte on the CPU, the hops of whole layers dealt out over theirs."""
        if not self.most_bytes or self.cpu_hops == INFINITE:
            return self.per_byte[-1]
        return self.per_byte[-1] + (self.cpu_hops - self.hops) / self.most_bytes

    def cost(self, own: Sequence[int], room: Sequence[int]) -> float:
        """What experts cost at least, in seconds.

        Args:
            own: bytes of the experts of each home's layers, the CPU last.
            room: bytes of each device for experts.
        """
        total = sum(own) * self.per_byte[-1]
        total -= sum(n * self.saved(home) for home, n in enumerate(room))
        leaving = sum(self.layers(a - b) for a, b in zip(own, room, strict=False))
        short = sum(own[:-1]) - sum(room)
        if short <= 0:
            return total + self.hops * leaving
        n = self.layers(short)
        return total + self.cpu_hops * n + self.hops * max(leaving - n, 0)


def floor_of(problem: Problem) -> Floor:
    """The least prices over all that may become of any layer."""
    per_byte = [INFINITE] * (problem.cpu + 1)
    extra = hops = cpu_hops = INFINITE
    most = 0
    for number in sorted(set(problem.slots)):
        groups = problem.kinds[number].groups
        most = max(most, sum(min(group.n_bytes) for group in groups))
        for group, home in product(groups, range(problem.cpu + 1)):
            price = group.cost[home] / max(min(group.n_bytes), 1)
            per_byte[home] = min(per_byte[home], price)
        for home in range(problem.cpu):
            configs = problem.configs(home, number)
            for config in configs:
                if any(at != home for at in config.homes):
                    extra = min(extra, config.cost - configs[0].cost)
                    hops = min(hops, config.hops)
                if problem.cpu in config.homes:
                    cpu_hops = min(cpu_hops, config.hops)
    return Floor(
        per_byte=tuple(0.0 if price == INFINITE else price for price in per_byte),
        extra=0.0 if extra == INFINITE else extra,
        hops=0.0 if hops == INFINITE else hops,
        cpu_hops=cpu_hops,
        most_bytes=most,
    )
