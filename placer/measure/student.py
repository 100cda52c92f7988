"""Student's t for whole degrees of freedom, by its exact series."""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

CONFIDENCE = 0.95


def outside(t: float, df: int) -> float:
    """How often a t of ``df`` degrees of freedom is further from 0 than ``t``.

    Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    theta = math.atan(abs(t) / math.sqrt(df))
    cosine, sine = math.cos(theta), math.sin(theta)
    term = cosine if df % 2 else 1.0
    total = 0.0
    # The next factor is 2/3, 4/5 and so on where df is odd, 1/2, 3/4 where it is even.
    for k in range(2 + df % 2, df + 1, 2):
        total += term
        term *= cosine * cosine * (k - 1) / k
    inside = sine * total
    if df % 2:
        inside = (theta + inside) * 2 / math.pi
    return max(1.0 - inside, 0.0)


@lru_cache(maxsize=4096)
def quantile(level: float, df: int) -> float:
    """The t that is exceeded to either side in ``level`` of all cases together."""
    low, high = 0.0, 1.0
    while outside(high, df) > level:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if outside(middle, df) > level else (low, middle)
    return high


def half_width(figures: Sequence[float]) -> float:
    """Of the interval of their mean, as a share of it; infinite for fewer than two."""
    n = len(figures)
    if n < 2:
        return math.inf
    mean = fmean(figures)
    return quantile(1 - CONFIDENCE, n - 1) * stdev(figures) / math.sqrt(n) / mean
