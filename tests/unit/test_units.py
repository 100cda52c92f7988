from __future__ import annotations

import pytest

from placer.units import duration_text


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (7500, "2 h 05 min"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_a_time_is_said_in_two_figures(seconds: float, said: str) -> None:
    """Nobody wants the seconds of a night."""
    assert duration_text(seconds) == said
