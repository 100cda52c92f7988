"""Layer numbers as a regular expression, and back."""

from __future__ import annotations

import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from placer.placement.layer_regex import layers_regex

ALL = range(1000)
ranges = st.tuples(st.integers(0, 999), st.integers(0, 60)).map(
    lambda pair: set(range(pair[0], min(pair[0] + pair[1], 999) + 1))
)
unions = st.lists(ranges, min_size=1, max_size=4).map(lambda sets: set().union(*sets))
subsets = st.sets(st.integers(0, 999), min_size=1) | unions


@settings(max_examples=300)
@given(subsets)
@example(set(ALL))
@example({0})
@example({9, 10})
@example({99, 100, 101})
@example(set(range(0, 1000, 7)))
def test_a_regex_matches_exactly_its_layers(layers: set[int]) -> None:
    """Of all numbers below 1000, those of the set and no other."""
    regex = re.compile(rf"blk\.{layers_regex(layers)}\.")
    matched = {n for n in ALL if regex.search(f"blk.{n}.ffn_up.weight")}
    assert matched == layers


@given(subsets)
def test_a_regex_survives_a_shell(layers: set[int]) -> None:
    """Digits, brackets and bars: no comma, space, quote or dollar sign."""
    assert re.fullmatch(r"[0-9\[\]()|-]+", layers_regex(layers))


@given(st.integers(0, 99), st.integers(0, 99))
def test_a_range_stays_short(one: int, other: int) -> None:
    """The layers of a device, below 100, take no more than 26 characters."""
    first, last = sorted((one, other))
    assert len(layers_regex(range(first, last + 1))) <= 26
