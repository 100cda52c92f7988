from __future__ import annotations

from typing import TYPE_CHECKING

from placer.plan.floor import INFINITE, floor_of
from placer.plan.leaf import Budget, Class, Leaf

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.plan.problem import Problem

    Layers = Callable[..., Problem]
MANY = 10_000


def leaf(
    problem: Problem, *room: int, best: float = INFINITE, nodes: int = MANY
) -> Leaf:
    """Four layers on the first device, with so much room for experts."""
    experts = Class(
        home=0, kind=0, count=4, configs=problem.configs(0, 0), own_bytes=30
    )
    return Leaf(
        classes=[experts],
        room=list(room),
        floor=floor_of(problem),
        budget=Budget(nodes),
        best=best,
    )


def chosen(found: Leaf) -> list[tuple[tuple[int, ...], int]]:
    """The homes that were chosen, and of how many layers."""
    assert found.chosen is not None
    configs = found.classes[0].configs
    return sorted((configs[index].homes, n) for index, n in found.chosen[0].items())


def test_experts_stay_where_there_is_room(layers: Layers) -> None:
    """At home, where they cost the least."""
    found = leaf(layers(0, 0), 120, 0)
    found.solve()

    assert chosen(found) == [((0, 0), 4)]
    assert found.best == 4 * 3


def test_what_has_no_room_goes_to_the_next_best_home(layers: Layers) -> None:
    """The second device, and what that cannot hold to the CPU."""
    found = leaf(layers(0, 0), 60, 30)
    found.solve()

    assert chosen(found) == [((0, 0), 2), ((1, 1), 1), ((2, 2), 1)]
    assert found.best == 2 * 3 + (6 + 2) + (30 + 6)


def test_a_layer_may_be_torn(layers: Layers) -> None:
    """The matrix that still has room stays."""
    found = leaf(layers(0, 0), 110, 0)
    found.solve()

    assert chosen(found) == [((0, 0), 3), ((0, 2), 1)]
    assert found.best == 3 * 3 + (2 + 10 + 6)


def test_only_what_is_better_is_an_answer(layers: Layers) -> None:
    """The cost that is known already is not found again."""
    found = leaf(layers(0, 0), 120, 0, best=12.0)
    found.solve()

    assert found.chosen is None
    assert found.best == 12.0


def test_without_room_and_without_the_cpu_there_is_no_answer(layers: Layers) -> None:
    """Experts have to be somewhere."""
    found = leaf(layers(0, 0, experts_on_cpu=False), 60, 30)
    found.solve()

    assert found.chosen is None


def test_a_spent_budget_leaves_the_first_answer(layers: Layers) -> None:
    """And says that something was left undone."""
    hasty, patient = (leaf(layers(0, 0), 40, 20, nodes=n) for n in (1, MANY))
    hasty.solve()
    patient.solve()

    assert hasty.budget.is_spent
    assert not patient.budget.is_spent
    assert hasty.chosen is not None
    assert (hasty.best, patient.best) == (87, 82)


def test_a_budget_is_spent_by_one_too_many() -> None:
    """Not by the last one."""
    budget = Budget(2)

    assert [budget.spend(), budget.spend()] == [True, True]
    assert not budget.is_spent
    assert not budget.spend()
    assert budget.is_spent
