"""What a budget is, and what is left of it."""

from __future__ import annotations

import pytest

from placer.errors import InputError
from placer.tune.budget import Budget, Purse, parse_budget


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12", Budget(launches=12)),
        ("20m", Budget(seconds=1200.0)),
        ("90s", Budget(seconds=90.0)),
        ("1h30m", Budget(seconds=5400.0)),
        (" 1.5H ", Budget(seconds=5400.0)),
    ],
)
def test_a_budget_is_a_time_or_a_number(text: str, expected: Budget) -> None:
    """As people write them."""
    assert parse_budget(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-3", "0m", "20 minutes", "m", "5x", "²"])
def test_nothing_else_is(text: str) -> None:
    """The message says what is."""
    with pytest.raises(InputError, match="20m, or a number of launches"):
        parse_budget(text)


def test_launches_are_counted() -> None:
    """Those that were made, against those that may be."""
    purse = Purse(budget=Budget(launches=3))
    assert purse.allows(3)
    purse.spend(100.0)
    assert purse.allows(2)
    assert not purse.allows(3)


def test_time_is_kept_for_launches_as_long_as_the_longest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first is always allowed: nobody knows how long it takes."""
    now = [1000.0]
    monkeypatch.setattr("placer.tune.budget.time.monotonic", lambda: now[0])
    purse = Purse(budget=Budget(seconds=60.0), started_s=1000.0)
    assert purse.allows(1)
    now[0] += 20.0
    purse.spend(20.0)
    purse.spend(1.0)
    assert purse.allows(2)
    assert not purse.allows(3)
    now[0] += 40.0
    assert not purse.allows(1)
