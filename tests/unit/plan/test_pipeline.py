from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from placer.plan.pipeline import pack_pipelined

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.plan.problem import Problem

    Layers = Callable[..., Problem]


def weighed(problem: Problem, weight: float) -> Problem:
    """The same with all costs so many times as high."""

    def times(cost: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(weight * seconds for seconds in cost)

    kinds = tuple(
        replace(
            kind,
            cost=times(kind.cost),
            groups=tuple(replace(g, cost=times(g.cost)) for g in kind.groups),
        )
        for kind in problem.kinds
    )
    return replace(problem, kinds=kinds)


def counts(problem: Problem, weight: float) -> tuple[int, ...] | None:
    """The split where the slowest device counts so much."""
    packed = pack_pipelined(problem, weighed(problem, weight))
    return None if packed is None else packed.counts


def test_without_a_pace_the_fastest_device_takes_all(layers: Layers) -> None:
    """The sum alone counts."""
    assert counts(layers(165, 165), 0) == (5, 0)


def test_the_more_the_slowest_counts_the_evener_is_the_split(layers: Layers) -> None:
    """12 seconds on the first, 10 on the second instead of 17 on one."""
    assert counts(layers(165, 165), 10) == (3, 2)


def test_the_cost_is_the_sum_and_the_slowest(layers: Layers) -> None:
    """Hops are summed up, and wait for nobody."""
    problem = layers(165, 165)
    packed = pack_pipelined(problem, weighed(problem, 10))

    assert packed is not None
    assert packed.cost == 3 + 3 * 4 + 1 + 8 + 2 + 3 + 10 * 12
    assert packed.gap == 0


def test_a_split_has_to_fit(layers: Layers) -> None:
    """Experts, buffers and what the output needs besides."""
    assert counts(layers(120, 45), 0) == (3, 2)
    assert counts(layers(120, 44), 0) is None
    assert counts(layers(120, 45, used=(0, 1)), 0) is None
    assert counts(layers(120, 45, last=(0, 1)), 0) is None
    assert counts(layers(40, 125, used=(0, 0), last=(99, 0)), 0) == (1, 4)


def test_a_device_may_stay_empty(layers: Layers) -> None:
    """The first, if it has no room."""
    assert counts(layers(39, 165), 10) == (0, 5)
