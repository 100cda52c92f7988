from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.plan.floor import INFINITE, floor_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.plan.problem import Problem

    Layers = Callable[..., Problem]


def test_a_byte_costs_the_least_that_any_experts_make_of_it(layers: Layers) -> None:
    """0.1 seconds on the first device, twice and ten times that elsewhere."""
    found = floor_of(layers(99, 99))

    assert found.per_byte == pytest.approx((0.1, 0.2, 1.0))
    assert found.saved(0) == pytest.approx(0.9)
    assert found.most_bytes == 30


def test_a_device_that_is_slower_than_the_cpu_saves_nothing(layers: Layers) -> None:
    """And costs nothing that a bound could count on."""
    problem = layers(99, 99)
    first = problem.kinds[0]
    slow = tuple(replace(g, cost=(99.0, *g.cost[1:])) for g in first.groups)
    kinds = (replace(first, groups=slow), problem.kinds[1])

    assert floor_of(replace(problem, kinds=kinds)).saved(0) == 0


def test_leaving_a_layer_costs_two_hops_at_least(layers: Layers) -> None:
    """To the nearest other home; to the CPU it costs its own."""
    problem = layers(99, 99)
    first = problem.kinds[0]
    alike = tuple(replace(g, cost=(g.cost[0], *g.cost[::2])) for g in first.groups)
    kinds = (replace(first, groups=alike), problem.kinds[1])
    found = floor_of(replace(problem, kinds=kinds))

    assert (found.hops, found.extra) == (2, 2)
    assert found.cpu_hops == 6


def test_leaving_a_slow_device_may_cost_nothing(layers: Layers) -> None:
    """Experts of its layers are better off on the fast one, hops and all."""
    found = floor_of(layers(99, 99))

    assert (found.hops, found.extra) == (2, 0)


def test_where_nothing_may_be_on_the_cpu_no_hops_lead_there(layers: Layers) -> None:
    """Only what has room on devices is possible at all."""
    assert floor_of(layers(99, 99, experts_on_cpu=False)).cpu_hops == INFINITE


def test_a_model_without_experts_costs_nothing_here(layers: Layers) -> None:
    """All of it is with the layers."""
    found = floor_of(layers(99, 99, slots=(1, 1)))

    assert list(found.per_byte) == [0.0, 0.0, 0.0]
    assert found.extra == found.hops == 0
    assert found.layers(0) == found.most_bytes == 0


def test_so_many_bytes_are_so_many_layers_at_least(layers: Layers) -> None:
    """Those with the most experts leave."""
    found = floor_of(layers(99, 99))

    assert [found.layers(n) for n in (-5, 0, 1, 30, 31)] == [0, 0, 1, 1, 2]


def test_experts_with_room_at_home_cost_their_bytes(layers: Layers) -> None:
    """On the device that saves the most for as much as it has room for."""
    found = floor_of(layers(99, 99))

    assert found.cost([120, 0, 0], [120, 0]) == pytest.approx(12)


def test_experts_without_room_anywhere_cost_hops_to_the_cpu(layers: Layers) -> None:
    """30 of 120 bytes: a layer of them."""
    found = floor_of(layers(99, 99))

    assert found.cost([120, 0, 0], [90, 0]) == pytest.approx(9 + 30 + 6)


def test_experts_with_room_on_another_device_cost_hops_to_it(layers: Layers) -> None:
    """There is room for all, though not at home."""
    found = floor_of(layers(99, 99))

    assert found.cost([120, 0, 0], [90, 30]) == pytest.approx(9 + 6 + 2)


def test_experts_of_the_cpus_layers_have_no_hops(layers: Layers) -> None:
    """They are beside their layers, at the CPU's price."""
    found = floor_of(layers(99, 99, layers_on_cpu=True))

    assert found.cost([0, 0, 60], [0, 0]) == pytest.approx(60)
