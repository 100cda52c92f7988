"""The packer's answer is the one that counting all placements would find."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from placer.plan.leaf import Budget
from placer.plan.pack import Bounds, pack
from placer.plan.problem import (
    GroupCost,
    Kind,
    Problem,
    cost_of,
    fits,
    slot_homes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

Groups = tuple[tuple[int, ...], ...]
SAME = 1e-9
# Groups of experts at most in all layers of a problem: each has a home of its own.
MOST_GROUPS = 5


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    """Up to three devices and five slots, with bytes, costs and rules of any kind."""
    n_devices = draw(st.integers(1, 3))
    seconds = st.floats(0.01, 5.0)
    kinds = tuple(
        _kind(draw, n_devices, seconds) for _ in range(draw(st.integers(1, 3)))
    )
    slots = draw(st.lists(st.integers(0, len(kinds) - 1), min_size=1, max_size=5))
    while sum(len(kinds[k].groups) for k in slots) > MOST_GROUPS:
        slots.pop()
    between, cpu = draw(st.floats(0, 2.0)), draw(st.floats(0, 4.0))
    sizes = st.integers(0, 9)
    return Problem(
        capacity=tuple(draw(st.integers(0, 150)) for _ in range(n_devices)),
        used=tuple(draw(sizes) for _ in range(n_devices)),
        last=tuple(draw(st.integers(-9, 9)) for _ in range(n_devices)),
        slots=tuple(slots),
        kinds=kinds,
        hop=_hops(n_devices, between, cpu),
        torn=_hops(n_devices, draw(st.floats(0, 2.0)), draw(st.floats(0, 4.0))),
        experts_on_cpu=draw(st.booleans()),
        layers_on_cpu=draw(st.booleans()),
    )


def _kind(draw: st.DrawFn, n_devices: int, seconds: st.SearchStrategy[float]) -> Kind:
    groups = []
    for _ in range(draw(st.integers(0, 3 if n_devices < 3 else 2))):
        size = draw(st.integers(1, 40))
        more = st.just(0) | st.integers(0, 3)
        groups.append(
            GroupCost(
                n_bytes=tuple(size + draw(more) for _ in range(n_devices)),
                cost=tuple(draw(seconds) for _ in range(n_devices + 1)),
            )
        )
    size = draw(st.integers(0, 30))
    return Kind(
        n_bytes=(size,) * n_devices,
        cost=tuple(draw(seconds) for _ in range(n_devices + 1)),
        groups=tuple(groups),
    )


def _hops(cpu_home: int, between: float, cpu: float) -> tuple[tuple[float, ...], ...]:
    homes = range(cpu_home + 1)
    return tuple(
        tuple(0.0 if a == b else cpu if cpu_home in (a, b) else between for b in homes)
        for a in homes
    )


def every_placement(problem: Problem) -> Iterator[tuple[list[int], Groups]]:
    """All of them, by counting."""
    n = len(problem.slots)
    for counts in product(range(n + 1), repeat=len(problem.order)):
        if sum(counts) != n:
            continue
        homes = slot_homes(problem, counts)
        choices = []
        for kind, home in zip(problem.slots, homes, strict=True):
            allowed = [*range(problem.cpu)] if home != problem.cpu else []
            if problem.experts_on_cpu or home == problem.cpu:
                allowed.append(problem.cpu)
            n_groups = len(problem.kinds[kind].groups)
            choices.append(list(product(allowed, repeat=n_groups)))
        for groups in product(*choices):
            yield homes, groups


def least_cost(problem: Problem) -> float | None:
    """The cost of the best that fits, None if nothing does."""
    costs = [
        cost_of(problem, homes, groups)
        for homes, groups in every_placement(problem)
        if fits(problem, homes, groups)
    ]
    return min(costs, default=None)


@settings(max_examples=1500)
@given(problems())
def test_counting_never_beats_the_packer(problem: Problem) -> None:
    """It finds something where there is something, proved best, and it fits."""
    least, packed = least_cost(problem), pack(problem)
    if least is None:
        assert packed is None
        return
    assert packed is not None
    homes = slot_homes(problem, packed.counts)
    assert fits(problem, homes, packed.homes)
    assert abs(cost_of(problem, homes, packed.homes) - packed.cost) < SAME
    assert packed.cost <= least + SAME
    assert packed.gap < SAME


@settings(max_examples=250)
@given(problems(), st.integers(1, 60))
def test_the_bound_is_one_however_early_it_ends(problem: Problem, nodes: int) -> None:
    """With few nodes the answer may be worse, but never by more than it says."""
    least, packed = least_cost(problem), pack(problem, nodes=nodes)
    if packed is None:
        return
    assert least is not None
    assert packed.bound <= least + SAME
    assert packed.cost * (1 - packed.gap) <= least + SAME


@settings(max_examples=250)
@given(problems())
def test_boundaries_cost_no_less_than_their_bound(problem: Problem) -> None:
    """Best first, and no placement with them is cheaper."""
    bounds = Bounds(problem)
    lined_up = {counts: bound for bound, counts in bounds.best_first(Budget(10_000))}
    assert list(lined_up.values()) == sorted(lined_up.values())
    for homes, groups in every_placement(problem):
        if fits(problem, homes, groups):
            counts = tuple(homes.count(home) for home in problem.order)
            assert lined_up[counts] <= cost_of(problem, homes, groups) + SAME
