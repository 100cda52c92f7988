"""Student's t, beside the tables of every textbook."""

from __future__ import annotations

import math

import pytest

from placer.measure.student import half_width, outside, quantile


@pytest.mark.parametrize(
    ("df", "level", "t"),
    [
        (1, 0.05, 12.7062),
        (2, 0.05, 4.3027),
        (3, 0.05, 3.1824),
        (4, 0.05, 2.7764),
        (5, 0.05, 2.5706),
        (10, 0.05, 2.2281),
        (29, 0.05, 2.0452),
        (1, 0.01, 63.6567),
        (4, 0.001, 8.6103),
        (7, 0.001, 5.4079),
        (1, 0.5, 1.0),
    ],
)
def test_quantiles_are_those_of_the_tables(df: int, level: float, t: float) -> None:
    """And what lies outside of them is the level that they were asked for."""
    assert quantile(level, df) == pytest.approx(t, abs=6e-5)
    assert outside(t, df) == pytest.approx(level, rel=1e-4)
    assert outside(-t, df) == outside(t, df)


def test_nothing_is_further_out_than_everything() -> None:
    """All lies outside of 0, and next to nothing far away."""
    for df in range(1, 12):
        assert outside(0.0, df) == 1.0
        assert outside(1e6, df) < 1e-5


def test_the_interval_of_a_mean_is_a_share_of_it() -> None:
    """Half of 12.7 times the deviation over the root of two; of one figure nothing."""
    assert half_width([99.0, 101.0]) == pytest.approx(0.127062, abs=1e-6)
    assert half_width([5.0, 5.0, 5.0]) == 0.0
    assert half_width([5.0]) == math.inf
