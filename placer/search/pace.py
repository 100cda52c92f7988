"""Speeds of devices that nobody knows: learned from launches of unlike placements.

What a token takes is a sum over the devices (``placer.speed.predict``). Each launch
that fitted is one equation for how much slower each device is than it was taken for;
launches that lie differently over the devices tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING

from placer.speed.predict import spent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.machine import Machine
    from placer.placement import Placement
    from placer.plan import Choice
    from placer.search.planning import Planning
    from placer.speed import CostTable, Rates

# That a device is as fast as it was taken for weighs so much beside a measurement.
PRIOR = 0.05
# Nothing is so much faster or slower than it was taken for.
LEAST, MOST = 1 / 64, 64.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """One launch: what a token took, and what each home was predicted to take of it.

    Attributes:
        by_home: seconds on each home, the CPU last.
        hops: seconds between them.
        measured: seconds of a token.
    """

    by_home: tuple[float, ...]
    hops: float
    measured: float


def pace_of(
    table: CostTable, placement: Placement, machine: Machine, tokens_per_s: float
) -> Pace:
    """The equation of a launch that decoded so fast."""
    used = spent(table, placement, machine)
    return Pace(
        by_home=tuple(times.decode_s for times in used.by_home),
        hops=used.hops.decode_s,
        measured=1 / tokens_per_s,
    )


def slowness(paces: Sequence[Pace], unknown: Sequence[int]) -> tuple[float, ...]:
    """How many times as long each home takes as it was taken for.

    By least squares of the relative errors. Homes whose speed is known have one factor
    in common.

    Args:
        paces: of launches.
        unknown: the homes whose speed is not known.
    """
    import numpy as np

    n_homes = len(paces[0].by_home)
    columns = [*unknown, n_homes]
    # A model that errs by ten errs so for all: that is taken off first.
    error = median(pace.measured / (sum(pace.by_home) + pace.hops) for pace in paces)
    rows, right = [], []
    for pace in paces:
        known = sum(s for i, s in enumerate(pace.by_home) if i not in unknown)
        parts = [*(pace.by_home[i] for i in unknown), known + pace.hops]
        rows.append([part * error / pace.measured for part in parts])
        right.append(1.0)
    for index in range(len(columns)):
        rows.append([PRIOR * (column == index) for column in range(len(columns))])
        right.append(PRIOR)
    found, *_ = np.linalg.lstsq(np.array(rows), np.array(right), rcond=None)
    factors = [min(max(float(x), LEAST), MOST) for x in found]
    common = factors[-1]
    by_home = dict(zip(unknown, factors, strict=False))
    return tuple(by_home.get(i, common) / common for i in range(n_homes))


def slowed(rates: Rates, factors: Sequence[float]) -> Rates:
    """The rates with each home so many times slower."""
    homes = [
        replace(
            home,
            bytes_per_s=home.bytes_per_s / factor,
            flops_per_s=home.flops_per_s / factor,
        )
        for home, factor in zip(rates.homes, factors, strict=True)
    ]
    return replace(rates, homes=tuple(homes))


def strangers(machine: Machine) -> tuple[int, ...]:
    """Devices of unknown speed, where they may not all be alike."""
    devices = machine.devices
    unknown = [i for i, device in enumerate(devices) if device.bandwidth is None]
    kinds = {device.description for device in devices}
    return tuple(unknown) if len(kinds) > 1 else ()


class Pacing:
    """The speeds of strangers, from one launch to the next.

    Args:
        planning: is told what launches teach.
        table: what everything costs as the load test measures it, None where nothing
            is predicted of that.
        machine: the devices.
        unknown: the strangers among them.
    """

    def __init__(
        self,
        planning: Planning,
        table: CostTable | None,
        machine: Machine,
        unknown: tuple[int, ...],
    ) -> None:
        self._planning = planning
        self._table = table
        self._machine = machine
        self._paces: dict[Placement, Pace] = {}
        self.unknown = unknown

    def learn(self, placement: Placement, tokens_per_s: float | None) -> None:
        """A launch that fitted decoded so fast: the planner believes it."""
        if self._table is None or not self.unknown or not tokens_per_s:
            return
        self._paces[placement] = pace_of(
            self._table, placement, self._machine, tokens_per_s
        )
        paces = list(self._paces.values())
        self._planning.with_slowness(slowness(paces, self.unknown))

    def contrast(self, capacities: Sequence[int]) -> tuple[Choice, int] | None:
        """A placement that tells how fast a stranger is, and which that is.

        One that gives it at least half as much again of a token's time as any launch
        did so far.
        """
        for device in self.unknown:
            choice = self._planning.favouring(device, capacities)
            if choice is None or not self._paces or self._table is None:
                continue
            used = pace_of(self._table, choice.placement, self._machine, 1.0)
            most = max(_share(pace, device) for pace in self._paces.values())
            if _share(used, device) > min(1.5 * most, most + (1 - most) / 2):
                return choice, device
        return None


def _share(pace: Pace, device: int) -> float:
    """The part of a token's predicted time that passes on the device."""
    return pace.by_home[device] / (sum(pace.by_home) + pace.hops)
