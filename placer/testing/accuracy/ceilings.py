"""The ceilings of the formula's error, in the one place that every check reads.

They only go down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from placer.testing.accuracy.compare import ROUNDING_BYTES, shares_of
from placer.units import MIB, mib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from placer.testing.accuracy.compare import Comparison

#: Architectures whose context the formula must answer, of those of llama.cpp's tests.
ARCHITECTURES_ANSWERED: Final = 85
COMPUTE_CLOSE: Final = 0.95
SPLITS_EQUAL: Final = 0.95
UNDER_BYTES: Final = 64 * MIB


def missed(comparisons: Sequence[Comparison]) -> list[str]:
    """The ceilings that these cases break, each as a line with its worst case."""
    shares = shares_of(comparisons)
    reasons = [*_wrong_cases(comparisons)]
    if shares.compute_close < COMPUTE_CLOSE:
        reasons.append(
            f"compute buffers are close in {shares.compute_close:.1%} of the cases, "
            f"not in {COMPUTE_CLOSE:.0%}"
        )
    if shares.splits_equal < SPLITS_EQUAL:
        reasons.append(
            f"graph splits are equal in {shares.splits_equal:.1%} of the cases, "
            f"not in {SPLITS_EQUAL:.0%}"
        )
    return reasons


def unanswered(comparisons: Sequence[Comparison]) -> set[str]:
    """The models whose context the formula leaves to the engine."""
    return {c.truth.case.model for c in comparisons if c.context_equal is None}


def _wrong_cases(comparisons: Sequence[Comparison]) -> list[str]:
    reasons = []
    for comparison in comparisons:
        case = comparison.truth.case
        where = f"{case.model}, {case.kind}: {' '.join(case.args)}"
        if not comparison.weights_equal:
            reasons.append(f"weights differ in {where}")
        if comparison.context_equal is False:
            reasons.append(f"context differs in {where}")
        under = comparison.worst_under_bytes
        if under > UNDER_BYTES + ROUNDING_BYTES:
            reasons.append(f"compute is {mib(under):.0f} MiB under in {where}")
    return reasons
