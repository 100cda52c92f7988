"""Differences -> how large, how sure, and how often chance alone does as much."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import fmean, stdev
from typing import TYPE_CHECKING, NamedTuple

from placer.measure.student import CONFIDENCE, outside, quantile

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import numpy as np

ALPHA = 1 - CONFIDENCE
# So many differences and fewer are flipped in every way that there is.
MOST_FLIPPED = 15
FLIPS = 9999
SEED = 7
# Figures that were added up differently differ by as much.
ROUNDING = 1e-9


class Interval(NamedTuple):
    """From ``low`` to ``high``."""

    low: float
    high: float

    @property
    def excludes_0(self) -> bool:
        """Whether it is to one side of 0."""
        return self.low > 0 or self.high < 0


def student_interval(differences: Sequence[float], level: float) -> Interval:
    """Of the mean of at least two; wrong in ``level`` of all cases."""
    n, mean = len(differences), fmean(differences)
    half = quantile(level, n - 1) * stdev(differences) / math.sqrt(n)
    return Interval(mean - half, mean + half)


def share_interval(differences: Sequence[float], level: float) -> Interval:
    """Of the mean difference of shares: Student's, with one problem more either way.

    Without the two it would have no width where no problem differs, though the next one
    may, and it would be too narrow where few do. They are those of Bonett and Price
    2012, "Adjusted Wald Confidence Interval for a Difference of Binomial Proportions
    Based on Paired Data", for problems that have one answer each.
    """
    found = student_interval([*differences, 1.0, -1.0], level)
    return Interval(max(found.low, -1.0), min(found.high, 1.0))


def student_p(differences: Sequence[float]) -> float:
    """How often the mean of at least two is as far from 0 by chance, by Student's t.

    Measured figures do not differ by the same each time. Where they seem to, they were
    rounded, and their spread says nothing: it is then as often as all have one sign.
    """
    n, mean, spread = len(differences), fmean(differences), stdev(differences)
    if not any(differences):
        return 1.0
    if spread <= ROUNDING * max(map(abs, differences)):
        return 2.0 ** (1 - n)
    return outside(mean / (spread / math.sqrt(n)), n - 1)


def sign_flip_p(differences: Sequence[float]) -> float:
    """How often the sum is as far from 0 where each sign is a coin's.

    If the level changes nothing, the two sides of a problem may as well be exchanged.
    Problems that do not differ say nothing; where none does it is 1. Up to 15 that do
    are flipped in all ways; of more, 9999 ways are drawn, from a fixed seed, and the
    way that was seen is added to them.
    """
    import numpy as np

    differing = np.array([one for one in differences if one])
    n, seen = len(differing), abs(float(differing.sum()))
    least = seen - ROUNDING * max(seen, 1.0)
    if n > MOST_FLIPPED:
        as_far = np.abs(_drawn_signs(n) @ differing) >= least
        return (int(as_far.sum()) + 1) / (FLIPS + 1)
    sums = np.zeros(1)
    for one in differing:
        sums = np.concatenate([sums + one, sums - one])
    return float((np.abs(sums) >= least).mean())


@lru_cache(maxsize=16)
def _drawn_signs(n: int) -> np.ndarray:
    import numpy as np

    random = np.random.default_rng(SEED)
    return random.integers(0, 2, (FLIPS, n), dtype=np.int8) * np.int8(2) - np.int8(1)


def holm(by_chance: Sequence[float]) -> list[float]:
    """The p of each, made larger so that it holds for all together (Holm 1979)."""
    order = sorted(range(len(by_chance)), key=by_chance.__getitem__)
    adjusted, largest = [1.0] * len(by_chance), 0.0
    for place, which in enumerate(order):
        larger = (len(by_chance) - place) * by_chance[which]
        largest = min(max(largest, larger), 1.0)
        adjusted[which] = largest
    return adjusted


def is_fact(differences: Sequence[float], settings: Collection[object]) -> bool:
    """Whether an exact measure is one that repeats itself, so that nothing is chance.

    Args:
        differences: of each unit.
        settings: of each unit likewise, those of the server beside the factor. Where
            they are others, bytes may well differ by another amount.
    """
    distinct = set(zip(settings, differences, strict=True))
    n_settings, n = len(set(settings)), len(differences)
    repeats_itself = len(distinct) == n_settings < n
    return repeats_itself or (n > 1 and len(set(differences)) == 1)
