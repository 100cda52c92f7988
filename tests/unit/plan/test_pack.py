from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from placer.plan.leaf import Budget
from placer.plan.pack import Bounds, pack
from placer.plan.problem import cost_of, fits, slot_homes

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.plan.problem import Problem

    Layers = Callable[..., Problem]


def test_all_goes_to_the_fastest_device_that_holds_it(layers: Layers) -> None:
    """Four layers of 40 bytes and an output of 5."""
    packed = pack(layers(165, 165))

    assert packed is not None
    assert packed.counts == (5, 0)
    assert packed.homes == ((0, 0),) * 4 + ((),)
    assert packed.cost == 3 + 4 * 4 + 1 + 3
    assert packed.gap == 0


def test_what_the_fastest_cannot_hold_goes_to_the_next(layers: Layers) -> None:
    """The last layers, in one piece, the experts with them."""
    packed = pack(layers(120, 80))

    assert packed is not None
    assert packed.counts == (3, 2)
    assert packed.homes == ((0, 0),) * 3 + ((1, 1), ())


def test_experts_leave_before_layers_do(layers: Layers) -> None:
    """To the CPU, as few of them as there is no room for."""
    problem = layers(135, 0, layers_on_cpu=True)
    packed = pack(problem)

    assert packed is not None
    assert packed.counts == (0, 5, 0)
    away = [homes for homes in packed.homes if 2 in homes]
    # 30 bytes too many: all of a layer's experts are as dear as they are small.
    assert sum(20 * (h[0] == 2) + 10 * (h[1] == 2) for h in away) == 30
    assert packed.cost == pack_cost(problem, packed.counts, packed.homes)


def pack_cost(
    problem: Problem, counts: tuple[int, ...], groups: tuple[tuple[int, ...], ...]
) -> float:
    """By the definition."""
    return cost_of(problem, slot_homes(problem, counts), groups)


def test_layers_go_to_the_cpu_where_devices_cannot_hold_them(layers: Layers) -> None:
    """The first of the model; nothing is an answer where they must not."""
    packed = pack(layers(30, 0, layers_on_cpu=True))

    assert packed is not None
    assert packed.counts[0] >= 2
    assert pack(layers(30, 0)) is None


def test_without_experts_on_the_cpu_all_165_bytes_need_room(layers: Layers) -> None:
    """A layer is torn between the devices for the last of them."""
    assert pack(layers(100, 64, experts_on_cpu=False)) is None
    problem = layers(100, 65, experts_on_cpu=False)
    packed = pack(problem)

    assert packed is not None
    assert any(len(set(homes)) == 2 for homes in packed.homes)
    assert fits(problem, slot_homes(problem, packed.counts), packed.homes)


def test_layers_keep_experts_at_home_first(layers: Layers) -> None:
    """Of layers on one device, those that are torn come last."""
    packed = pack(layers(135, 0))

    assert packed is not None
    torn = [homes != (0, 0) for homes in packed.homes[:4]]
    assert torn == sorted(torn)
    assert any(torn)


def test_an_early_end_says_how_far_it_may_be_from_the_best(layers: Layers) -> None:
    """The bound is never above the best, however few nodes there were."""
    problem = layers(110, 35, slots=(0,) * 4 + (1,))
    best = pack(problem)
    assert best is not None
    for nodes in range(1, 60):
        packed = pack(problem, nodes=nodes)
        if packed is not None:
            assert packed.bound <= best.cost + 1e-9
            assert packed.cost >= best.cost - 1e-9


def test_few_nodes_leave_a_gap(layers: Layers) -> None:
    """Where something was found, and not proved best."""
    problem = layers(110, 35)
    gaps = [p.gap for n in range(1, 60) if (p := pack(problem, nodes=n)) is not None]

    assert max(gaps) > 0
    assert gaps[-1] == 0


def test_room_is_what_is_left_beside_layers_and_buffers(layers: Layers) -> None:
    """More is taken where the last slot is; a device of no layers has all."""
    bounds = Bounds(layers(100, 90, used=(5, 6), last=(7, 8)))

    assert bounds.room(0, 0, 3) == 100 - 5 - 30
    assert bounds.room(0, 3, 5) == 100 - 5 - 7 - 15
    assert bounds.rooms((5, 0)) == [100 - 5 - 7 - 45, 84]


def test_a_device_holds_what_whole_experts_add_up_to(layers: Layers) -> None:
    """Groups of 20 and 10 fill tens; with many sizes any room is taken for full."""
    problem = layers(100, 100)
    first = problem.kinds[0]
    sizes = [replace(first.groups[0], n_bytes=(n, n)) for n in (7, 11, 13)]
    many = replace(
        problem, kinds=(replace(first, groups=tuple(sizes)), problem.kinds[1])
    )

    assert [Bounds(problem).held(0, n) for n in (9, 25, 1000)] == [0, 20, 120]
    assert Bounds(many).held(0, 10) == 10


def test_boundaries_are_lined_up_by_what_they_cost_at_least(layers: Layers) -> None:
    """The best of them first, and only those with room for layers."""
    bounds = Bounds(layers(165, 30))
    lined_up = list(bounds.best_first(Budget(1000)))

    # What is read, and no more.
    assert lined_up[0][0] == 4 * 4 + 1
    assert lined_up[0][1] == (5, 0)
    assert [bound for bound, _ in lined_up] == sorted(b for b, _ in lined_up)
    assert {counts for _, counts in lined_up} == {(5, 0), (4, 1), (3, 2), (2, 3)}
