"""Whether one is faster than another."""

from __future__ import annotations

import pytest

from placer.plan import Goal
from placer.tune.tried import Pace, compare

WORTH = Goal.DECODE.worth


def pace(decode: float) -> Pace:
    """A pace whose prefill is always the same, and next to nothing."""
    return Pace(decode=decode, prefill=1e9)


def test_a_cost_is_what_the_goal_weighs() -> None:
    """Seconds a token written and a token read."""
    one = Pace(decode=10.0, prefill=1000.0)
    assert one.cost(Goal.DECODE.worth) == pytest.approx(0.1 + 0.0001)
    assert one.cost(Goal.BALANCED.worth) == pytest.approx(0.1 + 0.008)


def test_a_clear_difference_is_better() -> None:
    """Twice as fast, and hardly any spread."""
    found = compare(
        [pace(100), pace(101)],
        [pace(200), pace(202)],
        (pace(100), pace(201)),
        WORTH,
    )
    assert found.gain == pytest.approx(0.5, abs=0.001)
    assert found.noise < 0.05
    assert found.is_better
    assert found.best.decode == pytest.approx(201, abs=0.1)


def test_a_difference_within_the_spread_is_none() -> None:
    """Faster by a tenth, and each spreads by a fifth."""
    found = compare(
        [pace(90), pace(110)],
        [pace(99), pace(121)],
        (pace(100), pace(110)),
        WORTH,
    )
    assert found.gain > 0.05
    assert found.noise > found.gain
    assert not found.is_better


def test_what_it_was_chosen_for_does_not_count() -> None:
    """The first measurement of the best was a lucky one."""
    found = compare(
        [pace(100), pace(101)],
        [pace(100), pace(101)],
        (pace(100), pace(150)),
        WORTH,
    )
    assert found.gain == pytest.approx(0, abs=1e-9)
    assert not found.is_better


def test_less_than_anybody_would_notice_is_none() -> None:
    """However sure it is."""
    found = compare(
        [pace(1000), pace(1000)],
        [pace(1005), pace(1005)],
        (pace(1000), pace(1005)),
        WORTH,
    )
    assert found.noise < 0.001 < found.gain
    assert not found.is_better
