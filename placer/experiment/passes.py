"""pass@k: how often one of k answers to a problem is right, and how sure that is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist, fmean, pvariance
from typing import TYPE_CHECKING

from placer.measure.student import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """pass@k over a set of problems.

    Attributes:
        k: how many answers a problem may be given.
        mean: of the problems, each counting the same.
        low: of the 95 % interval, for problems of this sort and not for these alone.
        high: likewise.
        problems: how many there are.
        samples: answers that were looked at, of all problems together.
    """

    k: int
    mean: float
    low: float
    high: float
    problems: int
    samples: int


def pass_at_k(n: int, c: int, k: int) -> float:
    """How often one of ``k`` answers is right, where ``c`` of ``n`` were.

    The unbiased estimator 1 - C(n-c, k) / C(n, k) of Chen et al. 2021, "Evaluating
    Large Language Models Trained on Code", equation 1, as a product of shares.

    Raises:
        ValueError: fewer than k answers, or more right ones than answers.
    """
    if not 1 <= k <= n:
        raise ValueError(f"pass@{k} of {n} answers")
    if not 0 <= c <= n:
        raise ValueError(f"{c} right ones of {n} answers")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def score(table: Sequence[tuple[int, int]], k: int) -> Score:
    """pass@k of all problems, with Wilson's interval.

    The problem is the unit: answers to one problem are much alike, and tell how well
    that problem is known. Wilson's n is therefore the number of one-answer problems
    that would leave the mean as uncertain as it is: mean (1 - mean) / se squared,
    where se is the standard error by the spread of the problems. With one answer to a
    problem that is the number of problems; where no two problems differ it is taken to
    be; and it is never more than there are answers.

    Args:
        table: of each problem, how many answers there are and how many are right.
        k: how many of them count.

    Raises:
        ValueError: no problem, or one with fewer than k answers.
    """
    if not table:
        raise ValueError(f"pass@{k} of no problem")
    shares = [pass_at_k(n, c, k) for n, c in table]
    mean, samples = fmean(shares), sum(n for n, _ in table)
    low, high = interval_of(shares, most=samples)
    return Score(
        k=k, mean=mean, low=low, high=high, problems=len(table), samples=samples
    )


def interval_of(shares: Sequence[float], *, most: int) -> tuple[float, float]:
    """Wilson's 95 % interval of the mean share of problems.

    Args:
        shares: of each problem.
        most: answers there are, of all problems together.
    """
    mean = fmean(shares)
    return wilson(mean, min(_effective(shares, mean), most))


def _effective(shares: Sequence[float], mean: float) -> float:
    """How many problems with one answer each would be as uncertain."""
    squared_error = pvariance(shares) / len(shares)
    return mean * (1 - mean) / squared_error if squared_error else len(shares)


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95 % interval of a share that was seen in ``n`` cases."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    widened = 1 + z * z / n
    middle = (share + z * z / (2 * n)) / widened
    half = z / widened * math.sqrt(share * (1 - share) / n + (z / (2 * n)) ** 2)
    # Rounding alone would leave a share of 0 or 1 just outside of its interval.
    return min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)
