"""How often chance does as much, beside enumeration and textbooks."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import pytest

from placer.experiment.chance import (
    holm,
    is_fact,
    share_interval,
    sign_flip_p,
    student_interval,
    student_p,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    Seeded = Callable[[int], Random]


def rejected(ps: list[float], alpha: float) -> set[int]:
    """Holm's by its own words: the smallest at alpha/m, the next at alpha/(m-1), ..."""
    left, out = dict(enumerate(ps)), set()
    while left:
        which = min(left, key=left.__getitem__)
        if left[which] > alpha / len(left):
            break
        out.add(which)
        del left[which]
    return out


@pytest.mark.parametrize("seed", range(30))
def test_holms_p_reject_what_holms_steps_reject(seed: int, seeded: Seeded) -> None:
    """At every level, on random p of which some are equal."""
    random = seeded(seed)
    ps = [round(random.random() ** 3, 3) for _ in range(random.randint(1, 9))]
    adjusted = holm(ps)
    for alpha in (0.0103, 0.0511, 0.107, 0.304, 0.703):
        by_p = {i for i, p in enumerate(adjusted) if p <= alpha}
        assert by_p == rejected(ps, alpha)


def test_holms_p_are_those_of_the_books() -> None:
    """Four p, of which the second largest would undercut the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.7, 0.9]) == [1.0, 1.0]


@pytest.mark.parametrize("seed", range(20))
def test_few_problems_are_flipped_in_every_way(seed: int, seeded: Seeded) -> None:
    """The p is the share of all signs that come as far."""
    random = seeded(seed)
    steps = [random.randint(-3, 3) for _ in range(random.randint(1, 11))]
    ways = [
        abs(sum(sign * step for sign, step in zip(signs, steps, strict=True)))
        for signs in product((1, -1), repeat=len(steps))
    ]
    as_far = sum(way >= abs(sum(steps)) for way in ways) / len(ways)
    assert sign_flip_p([step / 3 for step in steps]) == pytest.approx(as_far)


def test_many_problems_are_flipped_at_random_and_alike_each_time() -> None:
    """Beside the exact binomial tail of 60 of 100 coins, and never 0."""
    differences = [1.0] * 60 + [-1.0] * 40 + [0.0] * 64
    assert sign_flip_p(differences) == pytest.approx(0.0569, abs=0.008)
    assert sign_flip_p(differences) == sign_flip_p(differences)
    assert sign_flip_p([1.0] * 100) == 1 / 10_000


def test_problems_that_agree_are_no_difference() -> None:
    """However many there are; and five that differ one way are too few."""
    assert sign_flip_p([0.0] * 164) == 1.0
    assert sign_flip_p([1.0] * 5 + [0.0] * 159) == pytest.approx(1 / 16)


def test_students_p_and_interval_are_those_of_the_books() -> None:
    """The extra sleep of ten patients by two drugs (Student 1908), t = 4.0621."""
    extra = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]
    assert student_p(extra) == pytest.approx(0.002833, abs=1e-6)
    assert student_interval(extra, 0.05) == pytest.approx((0.7001, 2.4599), abs=1e-4)


def test_what_was_rounded_alike_is_no_certainty() -> None:
    """Two equal steps of a rounded figure are two of one sign, and no more."""
    assert student_p([0.1, 0.1]) == 0.5
    assert student_p([0.3 - 0.2, 0.1, 0.1]) == 0.25
    assert student_p([0.0, 0.0]) == 1.0


def test_problems_that_all_agree_leave_room_for_the_next() -> None:
    """The interval of their difference is wider the fewer there are, and inside 1."""
    dozen, all_of_them = (
        share_interval([0.0] * 12, 0.05),
        share_interval([0.0] * 164, 0.05),
    )
    assert dozen.low < -0.15
    assert dozen.high > 0.15
    assert 0.015 < all_of_them.high < 0.02
    assert share_interval([1.0, 1.0], 0.01) == (-1.0, 1.0)


def test_the_interval_of_shares_holds_the_mean_that_was_seen() -> None:
    """Though two problems that nobody saw pull it towards 0."""
    for n in (2, 5, 12, 164):
        for right in range(n + 1):
            found = share_interval([1.0] * right + [0.0] * (n - right), 0.05)
            assert found.low <= right / n <= found.high


def test_a_fact_repeats_itself_under_the_same_settings() -> None:
    """It may be another one under others; once is never."""
    assert is_fact([5.0, 5.0, 9.0, 9.0], ["a", "a", "b", "b"])
    assert is_fact([5.0, 5.0], ["a", "b"])
    assert is_fact([5.0, 5.0, 9.0], ["a", "a", "b"])
    assert not is_fact([5.0, 9.0], ["a", "b"])
    assert not is_fact([5.0, 5.1, 9.0, 9.0], ["a", "a", "b", "b"])
    assert not is_fact([5.0], ["a"])
