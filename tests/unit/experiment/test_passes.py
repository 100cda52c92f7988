"""pass@k and its interval, beside enumeration and the score equation."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from placer.experiment.passes import pass_at_k, score, wilson

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    Seeded = Callable[[int], Random]

Z = 1.959963984540054


def enumerated(n: int, c: int, k: int) -> Fraction:
    """The share of all sets of k of the n answers that hold a right one."""
    chosen = list(combinations([True] * c + [False] * (n - c), k))
    return Fraction(sum(map(any, chosen)), len(chosen))


def bounds(share: float, n: float) -> tuple[float, float]:
    """The shares of which ``share`` is just 1.96 standard errors away, by bisection."""

    def farther(other: float) -> bool:
        return (share - other) ** 2 > Z * Z * other * (1 - other) / n

    found = []
    for end in (0.0, 1.0):
        inside, outside = share, end
        for _ in range(200):
            middle = (inside + outside) / 2
            if farther(middle):
                outside = middle
            else:
                inside = middle
        found.append(inside)
    return found[0], found[1]


def n_by_design_effect(shares: list[Fraction], n_answers: int) -> float:
    """Problems over the design effect, which is 1 where all are right or wrong."""
    mean = sum(shares) / len(shares)
    squares = sum((one - mean) ** 2 for one in shares)
    if not squares:
        return len(shares)
    effect = squares / len(shares) / (mean * (1 - mean))
    return min(float(len(shares) / effect), n_answers)


def test_pass_at_k_is_the_share_of_sets_that_hold_a_right_answer() -> None:
    """For every table of up to eight answers, and every k."""
    for n in range(1, 9):
        for c in range(n + 1):
            for k in range(1, n + 1):
                assert pass_at_k(n, c, k) == pytest.approx(float(enumerated(n, c, k)))


def test_pass_at_k_of_many_answers_stays_exact() -> None:
    """Where binomial coefficients have long left the floats."""
    n, c, k = 5000, 3, 1000
    exact = 1 - Fraction(math.comb(n - c, k), math.comb(n, k))
    assert pass_at_k(n, c, k) == pytest.approx(float(exact), rel=1e-11)


@pytest.mark.parametrize(
    ("n", "c", "k"), [(5, 2, 6), (5, 2, 0), (5, 6, 1), (5, -1, 1), (0, 0, 1)]
)
def test_what_cannot_be_is_refused(n: int, c: int, k: int) -> None:
    """More answers counted than given, more right than given, none at all."""
    with pytest.raises(ValueError, match=r"pass@|right ones"):
        pass_at_k(n, c, k)
    with pytest.raises(ValueError, match=r"pass@|right ones"):
        score([(10, 3), (n, c)], k)


def test_no_problem_has_no_score() -> None:
    """It is no 0 either."""
    with pytest.raises(ValueError, match="no problem"):
        score([], 1)


@pytest.mark.parametrize("seed", range(40))
def test_the_score_agrees_with_an_independent_one(seed: int, seeded: Seeded) -> None:
    """On random tables: the mean in fractions, the interval by the score equation."""
    random = seeded(seed)
    k = random.randint(1, 4)
    sizes = [random.randint(k, 9) for _ in range(random.randint(2, 60))]
    table = [(n, random.randint(0, n)) for n in sizes]
    found = score(table, k)
    shares = [enumerated(n, c, k) for n, c in table]
    mean = float(sum(shares) / len(shares))
    n = n_by_design_effect(shares, sum(sizes))
    assert found.mean == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx(bounds(mean, n), abs=1e-9)
    assert (found.problems, found.samples) == (len(table), sum(sizes))


@pytest.mark.parametrize(("right", "of"), [(0, 12), (12, 12), (3, 12), (101, 164)])
def test_with_one_answer_each_it_is_wilsons_interval(right: int, of: int) -> None:
    """Greedy HumanEval has the interval of 164 coins."""
    found = score([(1, 1)] * right + [(1, 0)] * (of - right), 1)
    assert (found.low, found.high) == pytest.approx(bounds(right / of, of), abs=1e-9)
    assert 0 <= found.low <= found.mean <= found.high <= 1


def test_wilsons_interval_is_that_of_the_books() -> None:
    """Newcombe 1998, table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29."""
    books = {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }
    for (right, of), interval in books.items():
        assert wilson(right / of, of) == pytest.approx(interval, abs=5e-5)


def test_more_answers_do_not_stand_for_more_problems() -> None:
    """Problems that are always or never right leave the interval as wide as one did."""
    one = score([(1, 1)] * 8 + [(1, 0)] * 12, 1)
    many = score([(50, 50)] * 8 + [(50, 0)] * 12, 1)
    assert (many.low, many.high) == pytest.approx((one.low, one.high))


def test_problems_alike_by_chance_are_no_more_than_their_answers() -> None:
    """Two problems of ten answers never tell more than twenty coins."""
    found = score([(10, 5), (10, 6)], 1)
    assert (found.low, found.high) == pytest.approx(bounds(0.55, 20), abs=1e-9)
