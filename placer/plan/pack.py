"""The cheapest placement that fits: boundaries best first, experts by branch and bound.

Where the layers' boundaries are decides what every device has left for experts. All
boundaries are lined up by a lower bound of what a placement with them can cost, and
for each in turn the best homes for the experts are found (``placer.plan.leaf``), until
the next bound is no lower than what was found: then nothing better exists. The work is
limited; where it ends early the answer says how far from the best it can be at most.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from heapq import heappop, heappush
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from placer.plan.floor import INFINITE, Floor, floor_of
from placer.plan.leaf import EPSILON, Budget, Class, Leaf
from placer.plan.problem import Packed, slot_homes

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from placer.plan.problem import Problem

Number = TypeVar("Number", int, float)
# Looks at a node of the search, or at a set of boundaries, some five microseconds each.
NODES = 3_000
# The nodes that one set of boundaries gets at first, and how often more later.
PATIENCE, MORE_PATIENCE = 200, 8
# Sizes of groups of which all sums are listed, to know what a device can really hold.
LISTED_SIZES = 2


def pack(problem: Problem, *, nodes: int = NODES) -> Packed | None:
    """The cheapest placement that fits; None where none does.

    Args:
        problem: what is to be packed.
        nodes: how much may be looked at before the best so far is the answer.
    """
    bounds = Bounds(problem)
    budget = Budget(nodes)
    search = Search(problem=problem, bounds=bounds, budget=budget)
    search.run()
    return search.answer


@dataclass(kw_only=True)
class Search:
    """Boundary by boundary, those that took too long again with more patience."""

    problem: Problem
    bounds: Bounds
    budget: Budget
    best: Packed | None = None
    least: float = INFINITE
    bound: float = INFINITE

    @property
    def answer(self) -> Packed | None:
        """The best, and the bound under which nothing can be."""
        if self.best is None:
            return None
        return replace(self.best, bound=min(self.bound, self.least))

    def run(self) -> None:
        """Leave the best that was found."""
        patience = PATIENCE
        undone = self._sweep(self.bounds.best_first(self.budget), patience)
        while undone and not self.budget.is_spent:
            patience *= MORE_PATIENCE
            undone = self._sweep(iter(undone), patience)
        if self.budget.is_spent:
            self.bound = self.bounds.reached
        self.bound = min([self.bound, *(bound for bound, _ in undone)])

    def _sweep(
        self, lined_up: Iterator[tuple[float, tuple[int, ...]]], patience: int
    ) -> list[tuple[float, tuple[int, ...]]]:
        """Those that were left before they were done with."""
        undone = []
        for bound, counts in lined_up:
            if bound >= self.least - EPSILON:
                break
            if self.budget.is_spent:
                undone.append((bound, counts))
                break
            own = Budget(min(patience, self.budget.left))
            before = own.left
            found = _best_with(self.problem, self.bounds, counts, own, self.least)
            self.budget.left -= before - max(own.left, 0) + 1
            if found is not None:
                self.best, self.least = found, found.cost
            if own.is_spent:
                undone.append((bound, counts))
        return [item for item in undone if item[0] < self.least - EPSILON]


def _best_with(
    problem: Problem,
    bounds: Bounds,
    counts: tuple[int, ...],
    budget: Budget,
    least: float,
) -> Packed | None:
    """The best homes for the experts with these boundaries, if below ``least``."""
    homes = slot_homes(problem, counts)
    alike = [problem.experts[kind] for kind in problem.slots]
    layers = list(zip(homes, alike, strict=True))
    classes = [
        Class(
            home=home,
            kind=kind,
            count=n,
            configs=problem.configs(home, kind),
            own_bytes=bounds.group_bytes[kind],
        )
        for (home, kind), n in Counter(layers).items()
    ]
    base = bounds.base_cost(homes)
    leaf = Leaf(
        classes=classes,
        room=bounds.rooms(counts),
        floor=bounds.floor,
        budget=budget,
        best=least - base,
    )
    leaf.solve()
    if leaf.chosen is None:
        return None
    dealt = {
        (one.home, one.kind): _dealt(one, found)
        for one, found in zip(classes, leaf.chosen, strict=True)
    }
    groups = tuple(next(dealt[layer]) for layer in layers)
    cost = base + leaf.best
    return Packed(counts=counts, homes=groups, cost=cost, bound=cost)


def _dealt(one: Class, found: Counter[int]) -> Iterator[tuple[int, ...]]:
    """The homes of the groups of a class, layer by layer: those at home first."""

    def away(index: int) -> tuple[int, float]:
        homes = one.configs[index].homes
        return sum(at != one.home for at in homes), one.configs[index].cost

    for index in sorted(found, key=away):
        for _ in range(found[index]):
            yield one.configs[index].homes


class Stretch(NamedTuple):
    """A run of slots on a home, or on several one after the other.

    Attributes:
        end: the slot behind it.
        roomy: what it costs at least if it were alone.
        packed: what it costs at least where room is short everywhere, as if devices
            could pass room on for nothing; only the sum over all homes is a bound.
        short: bytes of experts for which its devices have no room; negative for room
            that is left.
    """

    end: int
    roomy: float
    packed: float
    short: float


class Bounds:
    """Lower bounds of what boundaries can cost, and their order."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.floor: Floor = floor_of(problem)
        # Boundaries that were not come to yet cost no less than this.
        self.reached = 0.0

    @cached_property
    def group_bytes(self) -> tuple[int, ...]:
        """Bytes of each kind's groups, on the device where they are smallest."""
        return tuple(
            sum(min(group.n_bytes) for group in kind.groups)
            for kind in self.problem.kinds
        )

    @cached_property
    def _fixed(self) -> dict[int, list[float]]:
        """Of each home: what the slots before each cost, without their experts."""
        problem = self.problem
        return {
            home: _sums((problem.kinds[k].cost[home] for k in problem.slots), 0.0)
            for home in problem.order
        }

    @cached_property
    def _best(self) -> dict[int, list[float]]:
        """Of each home: the best that can become of the experts of those slots."""
        problem = self.problem
        return {
            home: _sums((problem.configs(home, k)[0].cost for k in problem.slots), 0.0)
            for home in problem.order
        }

    @cached_property
    def _bytes(self) -> list[list[int]]:
        """Of each device: slots before each, without experts."""
        problem = self.problem
        return [
            _sums((problem.kinds[k].n_bytes[device] for k in problem.slots), 0)
            for device in range(problem.cpu)
        ]

    @cached_property
    def _own(self) -> list[int]:
        """Bytes of experts of the slots before each."""
        return _sums((self.group_bytes[k] for k in self.problem.slots), 0)

    @cached_property
    def _holdable(self) -> list[list[int] | None]:
        """Of each device: what groups can add up to, None where that is not listed."""
        counts: list[Counter[int]] = [Counter() for _ in range(self.problem.cpu)]
        for number, n in Counter(self.problem.slots).items():
            for group in self.problem.kinds[number].groups:
                for device, n_bytes in enumerate(group.n_bytes):
                    counts[device][n_bytes] += n
        return [_totals(found) for found in counts]

    def held(self, device: int, room: int) -> int:
        """The most bytes of groups that a device can hold in so much room."""
        sums = self._holdable[device]
        if sums is None:
            return room
        return sums[bisect_right(sums, room) - 1]

    def room(self, device: int, start: int, end: int) -> int:
        """What a device has left for experts beside a run of slots; may be negative."""
        problem = self.problem
        room = problem.capacity[device] - problem.used[device]
        if end == len(problem.slots) and end > start:
            room -= problem.last[device]
        return room - (self._bytes[device][end] - self._bytes[device][start])

    def rooms(self, counts: tuple[int, ...]) -> list[int]:
        """The same of all devices."""
        rooms = [0] * self.problem.cpu
        start = 0
        for home, n in zip(self.problem.order, counts, strict=True):
            if home != self.problem.cpu:
                rooms[home] = max(self.room(home, start, start + n), 0)
            start += n
        return rooms

    def base_cost(self, homes: Sequence[int]) -> float:
        """What a placement costs without its experts."""
        problem = self.problem
        total, at = 0.0, problem.cpu
        for number, home in zip(problem.slots, homes, strict=True):
            total += problem.hop[at][home] + problem.kinds[number].cost[home]
            at = home
        return total + problem.hop[at][problem.cpu]

    def stretch(self, home: int, start: int, end: int) -> Stretch | None:
        """A run of slots on a home; None where it has no room."""
        problem, floor = self.problem, self.floor
        own = self._own[end] - self._own[start]
        fixed = self._fixed[home][end] - self._fixed[home][start]
        best = self._best[home][end] - self._best[home][start]
        if home == problem.cpu:
            # Its layers have no hops to their experts.
            return Stretch(end, fixed + best, fixed + own * floor.per_byte[-1], 0)
        room = self.room(home, start, end)
        if room < 0 and end > start:
            return None
        held = self.held(home, max(room, 0))
        leaving = floor.layers(own - held)
        packed = fixed + own * floor.cpu_price + leaving * floor.hops
        packed -= held * (floor.cpu_price - floor.per_byte[-1] + floor.saved(home))
        roomy = fixed + best + leaving * floor.extra
        return Stretch(end, roomy, packed, own - held)

    @cached_property
    def _ends(self) -> list[list[list[Stretch]]]:
        """Of each home and start: the runs of slots from there on that have room.

        The first home starts with the first slot, and the last ends with the last.
        """
        n, order = len(self.problem.slots), self.problem.order
        return [
            [
                self._runs(home, start, is_last=depth + 1 == len(order))
                if depth or not start
                else []
                for start in range(n + 1)
            ]
            for depth, home in enumerate(order)
        ]

    def _runs(self, home: int, start: int, *, is_last: bool) -> list[Stretch]:
        """The runs from a slot on that a home has room for, the shortest first."""
        n, runs = len(self.problem.slots), []
        for end in range(n if is_last else start, n + 1):
            found = self.stretch(home, start, end)
            if found is not None:
                runs.append(found)
            elif end < n - 1:
                # Only with the output may there be room again.
                found = self.stretch(home, start, n)
                return runs if found is None else [*runs, found]
        return runs

    @cached_property
    def _to_go(self) -> list[list[Stretch]]:
        """Of each home and start: the least that all from there on take."""
        n = len(self.problem.slots)
        none = Stretch(n, INFINITE, INFINITE, INFINITE)
        after = [none] * n + [Stretch(n, 0.0, 0.0, 0)]
        table = [after]
        for rows in reversed(self._ends):
            after = [
                Stretch(
                    n,
                    min((s.roomy + after[s.end].roomy for s in row), default=INFINITE),
                    min(
                        (s.packed + after[s.end].packed for s in row), default=INFINITE
                    ),
                    min((s.short + after[s.end].short for s in row), default=INFINITE),
                )
                for row in rows
            ]
            table.append(after)
        table.reverse()
        return table

    def best_first(self, budget: Budget) -> Iterator[tuple[float, tuple[int, ...]]]:
        """All boundaries that have room without experts, the lowest bound first."""
        last = len(self.problem.order)
        spills = self.floor.cpu_hops < INFINITE
        heap: list[tuple[float, int, tuple[int, ...], Stretch]] = []
        heappush(heap, (0.0, 0, (), Stretch(0, 0.0, 0.0, 0)))
        while heap:
            bound, depth, counts, done = heappop(heap)
            self.reached = bound
            if bound == INFINITE or not budget.spend():
                return
            if -depth == last:
                yield bound, counts
                continue
            for run in self._ends[-depth][done.end]:
                rest = self._to_go[1 - depth][run.end]
                now = Stretch(
                    run.end,
                    done.roomy + run.roomy,
                    done.packed + run.packed,
                    done.short + run.short,
                )
                if spills or now.short + rest.short <= 0:
                    new = max(now.roomy + rest.roomy, now.packed + rest.packed)
                    item = (*counts, run.end - done.end)
                    heappush(heap, (new, depth - 1, item, now))


def _sums(numbers: Iterable[Number], start: Number) -> list[Number]:
    """What those before each number add up to."""
    return list(accumulate(numbers, initial=start))


def _totals(counts: Counter[int]) -> list[int] | None:
    """All that so many of each size can add up to, in order; None for many sizes."""
    if len(counts) > LISTED_SIZES:
        return None
    sums = {0}
    for size, n in counts.items():
        sums = {have + size * i for have in sums for i in range(n + 1)}
    return sorted(sums)
