"""What launches have taught about each device, as bytes it holds and refuses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from placer.plan import Family, Spread


@dataclass(slots=True, kw_only=True)
class DeviceEvidence:
    """One device. A load is its weights and context; compute buffers come on top.

    Attributes:
        believed_bytes: the load that it should hold: the estimate's word, until a
            launch contradicts it.
        unit_bytes: the smallest step that is worth a launch.
        compute_bytes: compute buffers of the last launch.
        compute_least_bytes: the smallest compute buffers of any launch beside a load.
        held_bytes: the largest load that it was seen to hold, None before the first.
        refused_bytes: the least that it was seen to refuse, load and compute buffers
            together, None before the first.
        surprises: how often a launch contradicted the belief.
    """

    believed_bytes: int
    unit_bytes: int
    compute_bytes: int = 0
    compute_least_bytes: int | None = None
    held_bytes: int | None = None
    refused_bytes: int | None = None
    surprises: int = 0

    @property
    def refused_load_bytes(self) -> int | None:
        """The least load that no spread can put on it, None where none is known."""
        if self.refused_bytes is None:
            return None
        return self.refused_bytes - (self.compute_least_bytes or 0)

    def see(self, load_bytes: int, compute_bytes: int) -> None:
        """A launch asked so much of it."""
        self.compute_bytes = compute_bytes
        if load_bytes:
            least = self.compute_least_bytes
            self.compute_least_bytes = min(least or compute_bytes, compute_bytes)

    def hold(self, load_bytes: int, room_bytes: int | None) -> None:
        """It was seen to hold this load, under a full context, with room left."""
        self.held_bytes = max(self.held_bytes or 0, load_bytes)
        if room_bytes is not None:
            self.believed_bytes = load_bytes + room_bytes
            return
        if load_bytes > self.believed_bytes:
            self._gallop(load_bytes, 1)
        self._bisect()

    def refuse(self, load_bytes: int, ceiling_bytes: int) -> None:
        """It was seen to run out of memory under this load.

        Args:
            load_bytes: what it refused.
            ceiling_bytes: what it cannot hold by what it was seen to ask for; less
                than the load where memory ran out before all of it was asked for.
        """
        total = load_bytes + self.compute_bytes
        known = self.refused_bytes
        self.refused_bytes = total if known is None else min(known, total)
        if load_bytes <= self.believed_bytes:
            self._gallop(ceiling_bytes, -1)
        self._bisect()

    def _gallop(self, from_bytes: int, direction: int) -> None:
        """One unit away from what was seen, then two more, then four more..."""
        self.surprises += 1
        step = (2**self.surprises - 1) * self.unit_bytes
        self.believed_bytes = max(from_bytes + direction * step, 0)

    def _bisect(self) -> None:
        """Once the estimate was wrong, both sides being seen, believe in the middle."""
        if self.surprises and self.held_bytes is not None:
            if self.refused_load_bytes is not None:
                self.believed_bytes = (self.held_bytes + self.refused_load_bytes) // 2
            self.believed_bytes = max(self.believed_bytes, self.held_bytes)


class Evidence:
    """All devices, and what to launch next.

    Args:
        family: the strategy that is searched.
        believed: for each device, the bytes of weights and context it should hold.
    """

    def __init__(self, family: Family, believed: Sequence[int]) -> None:
        self._family = family
        self._refused: dict[Spread, int] = {}
        self.devices = [
            DeviceEvidence(believed_bytes=n_bytes, unit_bytes=family.unit_bytes(index))
            for index, n_bytes in enumerate(believed)
        ]

    def hold(
        self, spread: Spread, compute: Sequence[int], room: Sequence[int | None]
    ) -> None:
        """The spread was seen to fit.

        Args:
            spread: what was launched.
            compute: its compute buffers.
            room: bytes that each device had left, None where nobody said.
        """
        loads = self._see(spread, compute)
        for device, load, n_bytes in zip(self.devices, loads, room, strict=True):
            device.hold(load, n_bytes)

    def refuse(
        self, spread: Spread, compute: Sequence[int], index: int, not_asked_bytes: int
    ) -> None:
        """The spread was seen to be too much for a device.

        Args:
            spread: what was launched.
            compute: its compute buffers.
            index: the device.
            not_asked_bytes: what the device had not been asked for by then.
        """
        load = self._see(spread, compute)[index]
        self._refused[spread] = index
        self.devices[index].refuse(load, load - not_asked_bytes)

    def _see(self, spread: Spread, compute: Sequence[int]) -> tuple[int, ...]:
        loads = self._family.loads(spread)
        for device, load, n_bytes in zip(self.devices, loads, compute, strict=True):
            device.see(load, n_bytes)
        return loads

    def next_spread(self, best: Spread | None) -> Spread | None:
        """What to launch: the believed best, else the least step beyond it.

        None when every spread better than ``best`` is refused by what was seen: then
        ``best`` is the largest, and a failed launch shows it for each device.
        """
        allowed = [
            most if d.refused_load_bytes is None else d.refused_load_bytes - 1
            for d, most in zip(self.devices, self._family.everything, strict=True)
        ]
        while True:
            spread = self._next_within(allowed, best)
            if spread is None or spread not in self._refused:
                return spread
            # Refused under larger compute buffers than the least that were seen.
            index = self._refused[spread]
            allowed[index] = self._family.loads(spread)[index] - 1

    def _next_within(self, allowed: list[int], best: Spread | None) -> Spread | None:
        # Below 0 a device has no room for its compute buffers alone, not even empty.
        if min(allowed) < 0 or not self._improves(allowed, best):
            return None
        believed = [
            min(d.believed_bytes, most)
            for d, most in zip(self.devices, allowed, strict=True)
        ]
        if self._improves(believed, best):
            return self._roomiest(believed)
        return self._least_step(believed, allowed, best)

    def _roomiest(self, capacities: list[int]) -> Spread | None:
        """Of the best spreads for the capacities, the one that leaves most room."""
        best = self._family.best(capacities)
        if best is None:
            return None
        value = self._family.value(best)

        def is_worse(room: int) -> bool:
            tighter = self._family.best([n - room for n in capacities])
            return tighter is None or self._family.value(tighter) < value

        room = _first(max(capacities) + 1, is_worse) - 1
        return self._family.best([n - room for n in capacities])

    def _least_step(
        self, believed: list[int], allowed: list[int], best: Spread | None
    ) -> Spread | None:
        """The improvement that asks least of one device beyond what is believed.

        It is one that this device should refuse before any other does, so that a
        refusal excludes as much as it can.
        """
        within = [
            b if d.refused_bytes is None else most
            for d, b, most in zip(self.devices, believed, allowed, strict=True)
        ]
        for others in (within, believed):
            for index in reversed(range(len(others))):
                capacities = [*others]
                capacities[index] = allowed[index]
                least = self._least_for(index, capacities, best)
                if least is not None:
                    return least
        return self._family.best(allowed)

    def _least_for(
        self, index: int, capacities: list[int], best: Spread | None
    ) -> Spread | None:
        """The improvement that asks least of a device, and that it should refuse."""

        def spread_of(load_bytes: int) -> Spread | None:
            capacities[index] = load_bytes
            return self._family.best(capacities)

        def tells(load_bytes: int) -> bool:
            spread = spread_of(load_bytes)
            return (
                spread is not None
                and self._is_better(spread, best)
                and self._should_refuse(spread) == index
            )

        if not tells(capacities[index]):
            return None
        return spread_of(_first(capacities[index], tells))

    def _should_refuse(self, spread: Spread) -> int | None:
        """The device that should run out first.

        All are asked for weights, then all for context, then for compute buffers.
        """
        loads, contexts = self._family.loads(spread), self._family.contexts(spread)
        over = []
        for index, device in enumerate(self.devices):
            excess = loads[index] - device.believed_bytes
            in_load = excess > device.compute_bytes
            in_weights = excess > device.compute_bytes + contexts[index]
            if excess > 0:
                over.append((not in_weights, not in_load, index))
        return min(over)[-1] if over else None

    def _improves(self, capacities: Sequence[int], best: Spread | None) -> bool:
        spread = self._family.best(capacities)
        return spread is not None and self._is_better(spread, best)

    def _is_better(self, spread: Spread, best: Spread | None) -> bool:
        value = self._family.value
        return best is None or value(spread) > value(best)


def _first(most: int, holds: Callable[[int], bool]) -> int:
    """The least number from 1 to ``most`` for which it holds, ``most`` being one."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        if holds(middle):
            high = middle
        else:
            low = middle
    return high
