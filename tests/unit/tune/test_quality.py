"""How far one expectation is from another."""

from __future__ import annotations

import math

import pytest

from placer.tune.quality import divergence, quality_of


def logs(**shares: float) -> dict[int, float]:
    """A prediction of tokens a, b, c by their probabilities."""
    return {ord(name): math.log(share) for name, share in shares.items()}


def test_the_same_is_no_way_apart() -> None:
    """Not by a rounding either."""
    said = logs(a=0.5, b=0.3)
    assert divergence(said, said) == 0


def test_it_is_kullback_leibler_where_all_is_known() -> None:
    """In nats."""
    expected = 0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75)
    found = divergence(logs(a=0.5, b=0.5), logs(a=0.25, b=0.75))
    assert found == pytest.approx(expected)


def test_tokens_that_only_one_names_are_one() -> None:
    """What is left on both sides is compared as a whole: never more than the truth."""
    true, other = logs(a=0.6, b=0.3), logs(a=0.2, c=0.7)
    expected = 0.6 * math.log(0.6 / 0.2) + 0.4 * math.log(0.4 / 0.8)
    assert divergence(true, other) == pytest.approx(expected)
    assert divergence(logs(a=0.9), logs(b=0.9)) > 1


def test_quality_is_the_mean_over_places() -> None:
    """And the share of them at which the likeliest is the same."""
    one, turned = logs(a=0.7, b=0.3), logs(a=0.3, b=0.7)
    found = quality_of(("q4_0", "q8_0"), [one, turned], [one, one])
    assert (found.type_k, found.type_v) == ("q4_0", "q8_0")
    assert (found.agreement, found.places) == (0.5, 2)
    assert found.divergence == pytest.approx(divergence(one, turned) / 2)
