from __future__ import annotations

import pytest

from placer.plan import Goal


@pytest.mark.parametrize(
    ("goal", "ratio"),
    [
        (Goal.DECODE, 0.1),
        (Goal.PREFILL, 1000.0),
        (Goal.BALANCED, 8.0),
        (Goal.CONTEXT, 0.1),
    ],
)
def test_what_counts_counts_more(goal: Goal, ratio: float) -> None:
    """A token that is read, against one that is written."""
    assert goal.worth.prefill / goal.worth.decode == pytest.approx(ratio)


def test_nothing_is_worth_nothing() -> None:
    """Between two that are as good at it the other figure decides."""
    for goal in Goal:
        assert min(goal.worth.decode, goal.worth.prefill) > 0


def test_a_goal_is_what_the_option_calls_it() -> None:
    """``--for``."""
    assert [goal.value for goal in Goal] == ["decode", "prefill", "balanced", "context"]
    assert Goal("balanced") is Goal.BALANCED
