"""The split over devices that overlap batches is the one that counting would find."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from placer.plan.pipeline import pack_pipelined
from placer.plan.problem import (
    GroupCost,
    Kind,
    Packed,
    Problem,
    cost_of,
    fits,
    slot_homes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

SAME = 1e-9
MOST_SLOTS = 7


class Case(NamedTuple):
    """What is summed up, and what the slowest device's is."""

    problem: Problem
    pace: Problem


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Up to four devices and seven slots, everything on devices."""
    n_devices = draw(st.integers(1, 4))
    homes = range(n_devices + 1)
    sizes = [
        [draw(st.integers(0, 30)), *draw(st.lists(st.integers(1, 30), max_size=2))]
        for _ in range(draw(st.integers(1, 3)))
    ]
    slots = draw(
        st.lists(st.integers(0, len(sizes) - 1), min_size=1, max_size=MOST_SLOTS)
    )
    between = draw(st.floats(0, 2.0))
    hop = tuple(tuple(0.0 if a == b else between for b in homes) for a in homes)
    problem = Problem(
        capacity=tuple(draw(st.integers(0, 150)) for _ in range(n_devices)),
        used=tuple(draw(st.integers(0, 9)) for _ in range(n_devices)),
        last=tuple(draw(st.integers(-9, 9)) for _ in range(n_devices)),
        slots=tuple(slots),
        kinds=tuple(_kind(draw, size, n_devices) for size in sizes),
        hop=hop,
        torn=hop,
        experts_on_cpu=False,
        layers_on_cpu=False,
    )
    kinds = tuple(_kind(draw, size, n_devices) for size in sizes)
    return Case(problem=problem, pace=replace(problem, kinds=kinds))


def _kind(draw: st.DrawFn, sizes: list[int], n_devices: int) -> Kind:
    """A slot of so many bytes, and groups of so many, with costs of its own."""
    seconds = st.lists(
        st.floats(0.01, 5.0), min_size=n_devices + 1, max_size=n_devices + 1
    )
    dense, *groups = sizes
    return Kind(
        n_bytes=(dense,) * n_devices,
        cost=tuple(draw(seconds)),
        groups=tuple(
            GroupCost(n_bytes=(size,) * n_devices, cost=tuple(draw(seconds)))
            for size in groups
        ),
    )


def splits(problem: Problem) -> Iterator[tuple[int, ...]]:
    """All of them, by counting."""
    n = len(problem.slots)
    for counts in product(range(n + 1), repeat=problem.cpu):
        if sum(counts) == n:
            yield counts


def at_home(problem: Problem, homes: list[int]) -> tuple[tuple[int, ...], ...]:
    """The experts where their layers are."""
    return tuple(
        (home,) * len(problem.kinds[kind].groups)
        for kind, home in zip(problem.slots, homes, strict=True)
    )


def cost_with(case: Case, counts: tuple[int, ...]) -> float | None:
    """The sum and the slowest device of a split, None where it has no room."""
    problem, pace = case
    homes = slot_homes(problem, counts)
    groups = at_home(problem, homes)
    if not fits(problem, homes, groups):
        return None
    spent = [0.0] * problem.cpu
    for number, home in zip(problem.slots, homes, strict=True):
        kind = pace.kinds[number]
        spent[home] += kind.cost[home] + sum(g.cost[home] for g in kind.groups)
    return cost_of(problem, homes, groups) + max(spent)


def least_cost(case: Case) -> float | None:
    """The cost of the best that fits, None if nothing does."""
    costs = [cost_with(case, counts) for counts in splits(case.problem)]
    return min((cost for cost in costs if cost is not None), default=None)


@settings(max_examples=1000)
@given(cases())
def test_counting_never_beats_the_split(case: Case) -> None:
    """It finds something where there is something, and says what it costs."""
    least, packed = least_cost(case), pack_pipelined(case.problem, case.pace)
    if least is None:
        assert packed is None
        return
    assert packed is not None
    assert abs(packed.cost - least) < SAME
    cost = cost_with(case, packed.counts)
    assert cost is not None
    assert abs(cost - packed.cost) < SAME
    assert packed.gap == 0


@settings(max_examples=200)
@given(cases(), st.floats(0, 100.0))
def test_experts_stay_with_their_layers(case: Case, weight: float) -> None:
    """However much the slowest device counts."""
    kinds = tuple(
        replace(
            kind,
            cost=tuple(weight * c for c in kind.cost),
            groups=tuple(
                replace(g, cost=tuple(weight * c for c in g.cost)) for g in kind.groups
            ),
        )
        for kind in case.pace.kinds
    )
    packed: Packed | None = pack_pipelined(
        case.problem, replace(case.pace, kinds=kinds)
    )
    if packed is not None:
        homes = slot_homes(case.problem, packed.counts)
        assert packed.homes == at_home(case.problem, homes)
