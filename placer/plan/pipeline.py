"""The cheapest split over devices that work on several batches at once.

With everything on devices and no ``-ot`` the engine overlaps the physical batches of a
prompt: the slowest device sets the pace. So the cost is a sum and a maximum, and of all
splits that are no slower than a pace the one with the least sum is wanted, pace by
pace.
"""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from placer.plan.floor import INFINITE
from placer.plan.problem import Packed, cost_of, slot_homes

if TYPE_CHECKING:
    from placer.plan.problem import Problem


class Run(NamedTuple):
    """Slots on a device, and all before them on others.

    Attributes:
        cost: the sum, hops included.
        counts: slots of each device so far.
        home: the last device that has any.
    """

    cost: float
    counts: tuple[int, ...]
    home: int


def pack_pipelined(problem: Problem, pace: Problem) -> Packed | None:
    """The split with the least sum and pace together; None where nothing fits.

    Args:
        problem: what everything takes, and what is summed up.
        pace: the same with costs of which those of the slowest device count. Experts
            stay with their layers.
    """
    best: Packed | None = None
    limit = INFINITE
    while True:
        counts = _least_sum(problem, pace, limit)
        if counts is None:
            break
        homes = slot_homes(problem, counts)
        groups = tuple(
            (home,) * len(problem.kinds[kind].groups)
            for home, kind in zip(homes, problem.slots, strict=True)
        )
        summed = cost_of(problem, homes, groups)
        if best is not None and summed >= best.cost:
            break
        slowest = max(_pace_of(pace, home, counts) for home in range(problem.cpu))
        cost = summed + slowest
        if best is None or cost < best.cost:
            best = Packed(counts=counts, homes=groups, cost=cost, bound=cost)
        limit = slowest
    return best


def _pace_of(pace: Problem, home: int, counts: tuple[int, ...]) -> float:
    start = sum(counts[:home])
    return _whole(pace, home)[start + counts[home]] - _whole(pace, home)[start]


def _whole(problem: Problem, home: int) -> list[float]:
    """What the slots before each cost on a device, experts and all."""
    kinds = (problem.kinds[number] for number in problem.slots)
    each = (k.cost[home] + sum(g.cost[home] for g in k.groups) for k in kinds)
    return list(accumulate(each, initial=0.0))


def _least_sum(problem: Problem, pace: Problem, limit: float) -> tuple[int, ...] | None:
    """The split with the least sum of those whose slowest device is under a limit."""
    n = len(problem.slots)
    # Of each slot: the best way to have all before it on the devices so far, by the
    # last device that has any.
    reached: list[dict[int, Run]] = [{} for _ in range(n + 1)]
    reached[0][problem.cpu] = Run(0.0, (), problem.cpu)
    for home in range(problem.cpu):
        after: list[dict[int, Run]] = [
            {last: r._replace(counts=(*r.counts, 0)) for last, r in row.items()}
            for row in reached
        ]
        ends = _ends(problem, pace, home, limit)
        for start, row in enumerate(reached):
            for run in row.values():
                hop = problem.hop[run.home][home]
                for end, cost in ends[start]:
                    found = run.cost + hop + cost
                    known = after[end].get(home)
                    if known is None or found < known.cost:
                        counts = (*run.counts, end - start)
                        after[end][home] = Run(found, counts, home)
        reached = after
    runs = reached[n].values()
    back = [(r.cost + problem.hop[r.home][problem.cpu], r.counts) for r in runs]
    return min(back)[1] if back else None


def _ends(
    problem: Problem, pace: Problem, home: int, limit: float
) -> list[list[tuple[int, float]]]:
    """Of each slot: where a run of a device can end, and what it costs."""
    n = len(problem.slots)
    kinds = [problem.kinds[number] for number in problem.slots]
    each = (k.n_bytes[home] + sum(g.n_bytes[home] for g in k.groups) for k in kinds)
    held = list(accumulate(each, initial=0))
    costs, paces = _whole(problem, home), _whole(pace, home)
    found: list[list[tuple[int, float]]] = []
    for start in range(n + 1):
        row = []
        for end in range(start + 1, n + 1):
            room = problem.capacity[home] - problem.used[home]
            room -= problem.last[home] * (end == n)
            if paces[end] - paces[start] >= limit:
                break
            if held[end] - held[start] <= room:
                row.append((end, costs[end] - costs[start]))
        found.append(row)
    return found
