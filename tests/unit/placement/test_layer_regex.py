"""Short patterns for the ranges that occur."""

from __future__ import annotations

import pytest

from placer.placement.layer_regex import layers_regex


@pytest.mark.parametrize(
    ("layers", "pattern"),
    [
        ([0], "0"),
        ([3, 4], "[34]"),
        (range(10), "[0-9]"),
        (range(13), "([0-9]|1[0-2])"),
        (range(13, 18), "1[3-7]"),
        (range(35), "([0-9]|[12][0-9]|3[0-4])"),
        (range(35, 47), "(3[5-9]|4[0-6])"),
        ([10, 20, 30], "[1-3]0"),
        ([0, 1, 2, 7], "[0-27]"),
        (range(98, 102), "(9[89]|10[01])"),
        ({5, 15, 25, 26}, "(5|15|2[56])"),
    ],
)
def test_ranges_are_as_a_person_would_write_them(layers: range, pattern: str) -> None:
    """Tens that have the same units share one alternative."""
    assert layers_regex(layers) == pattern


def test_no_layers_are_no_pattern() -> None:
    """An empty alternation would match everything."""
    with pytest.raises(ValueError, match="no layers"):
        layers_regex([])
