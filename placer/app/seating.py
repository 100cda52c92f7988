"""Where each of several profiles is placed, when they share the memory."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

from placer.app.planned import planner_of
from placer.errors import SearchError
from placer.router import Resident, divisions, left_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.app.desk import Desk
    from placer.machine import Machine
    from placer.plan import Choice, Goal, Planner
    from placer.router import Division, Pool

# Times that each is planned again in what the others leave, and what is not worth
# another one.
ROUNDS = 3
SAME = 1.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A member's placement while others are still looked for.

    Attributes:
        desk: the member on the devices that it uses so.
        choice: the placement.
        resident: what its process would hold, by formula.
    """

    desk: Desk
    choice: Choice
    resident: Resident


class Seat:
    """One profile, planned in as much of each device as it is given.

    Args:
        name: the profile's.
        desk: the profile on the devices that it may use.
        machine: all devices.
        goal: what placements are to be best at.
    """

    def __init__(self, name: str, desk: Desk, machine: Machine, goal: Goal) -> None:
        self.name = name
        self.desk = desk
        self.machine = machine
        self._goal = goal
        self._planners: dict[tuple[str, ...], tuple[Desk, Planner]] = {}
        self._placed: dict[tuple[int, ...], Placed | None] = {}

    @property
    def wants_bytes(self) -> int:
        """Weights, which memory is divided by."""
        return self.desk.target.shape.weight_bytes

    def afresh(self) -> None:
        """Dry runs taught something: what was planned is planned anew."""
        self._placed.clear()
        for names, (desk, planner) in self._planners.items():
            self._planners[names] = desk, planner.afresh()

    def within(self, room: tuple[int, ...]) -> Placed | None:
        """The best that takes no more of each device; None where nothing fits so."""
        if room not in self._placed:
            self._placed[room] = self._found(room)
        return self._placed[room]

    def _found(self, room: tuple[int, ...]) -> Placed | None:
        """On all of its devices, or without those that it is given the least of.

        As for one profile alone, those that the user named all stay.
        """
        given = dict(zip((d.name for d in self.machine.devices), room, strict=True))
        names = [device.name for device in self.desk.machine.devices]
        while names:
            desk, planner = self._planner(tuple(names))
            capacities = [
                max(given[device.name] - device.overhead_bytes, 0)
                for device in desk.machine.devices
            ]
            choice = planner.within(capacities).best(self._goal)
            if choice is not None:
                return self._of(desk, planner, choice)
            if self.desk.machine.chosen:
                return None
            names.remove(min(reversed(names), key=given.__getitem__))
        return None

    def _planner(self, names: tuple[str, ...]) -> tuple[Desk, Planner]:
        if names not in self._planners:
            desk = self.desk
            if len(names) < len(desk.machine.devices):
                desk = desk.on(desk.machine.only(names))
            margins = (0,) * len(names)
            self._planners[names] = desk, planner_of(desk, margins)
        return self._planners[names]

    def _of(self, desk: Desk, planner: Planner, choice: Choice) -> Placed:
        totals = planner.totals(choice.placement)
        held = {
            device.name: n_bytes + device.overhead_under(n_bytes)
            for device, n_bytes in zip(desk.machine.devices, totals, strict=True)
        }
        host = desk.formula(choice.placement).host.total_bytes
        resident = Resident(
            name=self.name,
            device_bytes=tuple(held.get(d.name, 0) for d in self.machine.devices),
            host_bytes=host,
        )
        return Placed(desk=desk, choice=choice, resident=resident)


class Seating:
    """All profiles, and the memory that they share.

    Args:
        seats: one a profile.
        pools: what they share, as far as they may take it.
    """

    def __init__(self, seats: Sequence[Seat], pools: Sequence[Pool]) -> None:
        self._seats = seats
        self._pools = pools
        self._devices = [pool for pool in pools if pool.device is not None]

    def alone(self) -> list[Placed]:
        """The best of each with the devices to itself.

        Raises:
            SearchError: one of them does not fit even so.
        """
        placed = []
        for seat in self._seats:
            found = seat.within(self._rooms(()))
            if found is None:
                raise SearchError(
                    f"{seat.name} does not fit even alone",
                    hint=f"placer plan {seat.name} says by how much",
                )
            placed.append(found)
        return placed

    def best(self, alone: Sequence[Placed]) -> list[Placed]:
        """The best placements over all divisions of the memory.

        What is missed is of the host's memory alone: each is planned within what the
        devices have.

        Raises:
            SearchError: no division leaves each of them enough.
        """
        wants = [seat.wants_bytes for seat in self._seats]
        started = [self._from(each) for each in divisions(self._rooms(()), wants)]
        found = [placed for placed in started if placed is not None]
        if not found:
            names = ", ".join(seat.name for seat in self._seats)
            raise SearchError(
                f"no placements of {names} fit at the same time",
                hint="lower CTX_SIZE, -ub or the cache types of one of them, or free "
                "memory",
            )
        return min(found, key=lambda one: (self._short_bytes(one), -ratio(one, alone)))

    def _rooms(self, others: Sequence[Placed]) -> tuple[int, ...]:
        """What each device has for one more, its context of CUDA taken off."""
        residents = [placed.resident for placed in others]
        return tuple(
            pool.free_bytes - sum(pool.taken_bytes(one) for one in residents)
            for pool in self._devices
        )

    def _from(self, division: Division) -> list[Placed] | None:
        """Each within its share; then each in all that the others leave."""
        placed: dict[int, Placed] = {}
        for index in division.order:
            rooms = self._rooms(list(placed.values()))
            share = division.share_bytes[index]
            room = tuple(min(pair) for pair in zip(rooms, share, strict=True))
            found = self._seats[index].within(room)
            if found is None:
                return None
            placed[index] = found
        for _ in range(ROUNDS):
            before = prod(one.choice.cost for one in placed.values())
            self._refine(placed)
            if prod(one.choice.cost for one in placed.values()) * SAME > before:
                break
        return [placed[index] for index in range(len(self._seats))]

    def _refine(self, placed: dict[int, Placed]) -> None:
        """Plan each once more in all that the others leave."""
        for index, now in list(placed.items()):
            others = [one for other, one in placed.items() if other != index]
            found = self._seats[index].within(self._rooms(others))
            if found is not None and found.choice.cost < now.choice.cost:
                placed[index] = found

    def _short_bytes(self, placed: Sequence[Placed]) -> int:
        left = left_bytes(self._pools, [one.resident for one in placed])
        return sum(max(-n_bytes, 0) for n_bytes in left)


def ratio(placed: Sequence[Placed], alone: Sequence[Placed]) -> float:
    """The geometric mean of the speed of each to what it does alone, by the goal."""
    ratios = [
        best.choice.cost / one.choice.cost
        for one, best in zip(placed, alone, strict=True)
    ]
    return float(prod(ratios) ** (1 / len(ratios)))
