from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.plan.problem import (
    ALL_COMBINATIONS,
    Config,
    GroupCost,
    Kind,
    Packed,
    Problem,
    cost_of,
    fits,
    slot_homes,
    undominated,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    Layers = Callable[..., Problem]

HOME = ((0, 0), (0, 0), (0, 0), (0, 0), ())


def test_layers_come_first_on_the_cpu_and_then_on_each_device(layers: Layers) -> None:
    """In one piece each; without layers on the CPU it has none."""
    problem = layers(99, 99, layers_on_cpu=True)

    assert problem.order == (2, 0, 1)
    assert slot_homes(problem, (1, 2, 2)) == [2, 0, 0, 1, 1]
    assert layers(99, 99).order == (0, 1)


def test_a_placement_costs_what_is_read_and_each_change_of_the_home(
    layers: Layers,
) -> None:
    """From the CPU to the first layer, between layers, and back."""
    problem = layers(999, 999)
    on_one = [0] * 5
    on_two = [0, 0, 1, 1, 1]
    spread = ((0, 0), (0, 0), (1, 1), (1, 1), ())

    assert cost_of(problem, on_one, HOME) == 3 + 4 * (1 + 3) + 1 + 3
    assert cost_of(problem, on_two, spread) == 3 + 2 * 4 + 1 + 2 * 8 + 2 + 3


def test_experts_elsewhere_cost_their_hops_within_the_layer(layers: Layers) -> None:
    """By what those cost, not by what the way between layers does."""
    problem = layers(999, 999)
    torn = ((0, 2), *HOME[1:])
    longer = replace(problem, torn=tuple(tuple(5 * c for c in r) for r in problem.torn))
    whole = cost_of(problem, [0] * 5, HOME)

    assert cost_of(problem, [0] * 5, torn) == whole - 1 + 10 + 3 + 3
    assert cost_of(longer, [0] * 5, torn) == whole - 1 + 10 + 15 + 15


def test_a_placement_fits_to_the_byte(layers: Layers) -> None:
    """Layers, experts, buffers where anything is, and more where the output is."""
    homes = [0, 0, 1, 1, 1]
    groups = ((0, 0), (0, 1), (1, 1), (1, 1), ())
    first, second = 2 * 10 + 20 + 10 + 20 + 7, 2 * 10 + 5 + 10 + 60 + 7 + 2

    def problem(*capacity: int) -> Problem:
        return layers(*capacity, used=(7, 7), last=(99, 2))

    assert fits(problem(first, second), homes, groups)
    assert not fits(problem(first - 1, second), homes, groups)
    assert not fits(problem(first, second - 1), homes, groups)


def test_an_untouched_device_needs_no_room(layers: Layers) -> None:
    """Its buffers are only there with something to compute."""
    problem = layers(200, 0, used=(5, 5))

    assert fits(problem, [0] * 5, HOME)
    assert not fits(problem, [0] * 5, ((1, 1), *HOME[1:]))


def test_the_best_homes_of_experts_come_first(layers: Layers) -> None:
    """At home; then what costs more takes less of some device."""
    configs = layers(99, 99).configs(0, 0)

    assert configs[0].homes == (0, 0)
    assert (configs[0].cost, configs[0].hops) == (3, 0)
    assert configs[0].n_bytes == (30, 0)
    assert [c.cost for c in configs] == sorted(c.cost for c in configs)
    by_homes = {c.homes: c for c in configs}
    assert by_homes[2, 2].cost == 30 + 6
    assert by_homes[2, 2].host_bytes == 30
    # 2 + 2 + 1 + 1 seconds with 20 and 10 bytes.
    assert by_homes[0, 1].n_bytes == (20, 10)
    assert by_homes[0, 1].cost == 6


def test_what_is_beaten_in_time_and_bytes_is_left_out() -> None:
    """Only what takes less of some device can be worth more time."""

    def config(cost: float, *n_bytes: int) -> Config:
        return Config(
            homes=(int(cost),), cost=cost, hops=0, n_bytes=n_bytes, host_bytes=0
        )

    kept = undominated(
        [config(3, 5, 1), config(1, 5, 5), config(2, 5, 6), config(4, 0, 5)]
    )

    assert [c.cost for c in kept] == [1, 3, 4]


def test_experts_leave_for_the_cpu_only_where_they_may(layers: Layers) -> None:
    """And those of its own layers are always there."""
    problem = layers(99, 99, experts_on_cpu=False, layers_on_cpu=True)

    assert all(2 not in c.homes for c in problem.configs(0, 0))
    assert [c.homes for c in problem.configs(2, 0)] == [(2, 2)]


def test_with_many_devices_the_experts_of_a_layer_go_to_two_others_at_most() -> None:
    """One of them the CPU: all combinations would be too many."""
    n = ALL_COMBINATIONS + 1
    groups = tuple(
        GroupCost(n_bytes=(1,) * n, cost=(0.0,) * n + (1.0,)) for _ in range(3)
    )
    zero = tuple((0.0,) * (n + 1) for _ in range(n + 1))
    problem = Problem(
        capacity=(9,) * n,
        used=(0,) * n,
        last=(0,) * n,
        slots=(0,),
        kinds=(Kind(n_bytes=(1,) * n, cost=(0.0,) * (n + 1), groups=groups),),
        hop=zero,
        torn=zero,
    )
    found = {config.homes for config in problem.configs(0, 0)}

    assert (0, 1, 1) in found
    assert (1, 2, 3) not in found
    assert all(len(set(homes) - {0, n}) <= 1 for homes in found)


@pytest.mark.parametrize(
    ("cost", "bound", "gap"), [(10.0, 9.0, 0.1), (10.0, 11.0, 0.0), (0.0, 0.0, 0.0)]
)
def test_the_gap_is_what_could_be_gained_at_most(
    cost: float, bound: float, gap: float
) -> None:
    """As a share; none where the bound was reached."""
    packed = Packed(counts=(), homes=(), cost=cost, bound=bound)

    assert packed.gap == pytest.approx(gap)


def test_kinds_with_equal_experts_share_their_choices(layers: Layers) -> None:
    """Whatever else their layers hold."""
    problem = layers(99, 99)
    heavy = replace(problem.kinds[0], n_bytes=(90, 90))
    more = replace(problem, kinds=(*problem.kinds, heavy))

    assert more.experts == (0, 1, 0)
    assert more.configs(0, 2) is more.configs(0, 0)
