from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placer.engine.timings import Timings, TimingsReader

# Of build 10434 at level 4; without the prefix of a build of 2024.
HEAD = "I slot print_timing: id  1 | task 2 |"
NEW = (
    (
        f"0.30.882.045 {HEAD} prompt eval time =    2771.63 ms /   100 tokens "
        "(   27.72 ms per token,    36.08 tokens per second)"
    ),
    (
        f"0.30.882.063 {HEAD}        eval time =   26988.52 ms /   150 tokens "
        "(  181.13 ms per token,     5.52 tokens per second)"
    ),
    f"0.30.882.064 {HEAD}       total time =   29760.15 ms /   250 tokens",
)
BARE = tuple(line[15:] for line in NEW)


@pytest.mark.parametrize("lines", [NEW, BARE])
def test_a_request_is_two_lines(lines: tuple[str, ...]) -> None:
    """The prompt's and the answer's; with the engine's prefix or without."""
    reader = TimingsReader()
    found = [reader.feed(line) for line in lines]
    assert found[0] is found[2] is None
    assert found[1] == Timings(
        prompt_tokens=100, prompt_s=2.77163, decoded_tokens=150, decode_s=26.98852
    )


def test_the_speeds_are_the_servers_own() -> None:
    """The first token is the prompt's, as the engine counts."""
    reader = TimingsReader()
    reader.feed(NEW[0])
    found = reader.feed(NEW[1])
    assert found is not None
    assert found.prompt_tokens_per_s == pytest.approx(36.08, abs=0.01)
    assert found.decoded_tokens_per_s == pytest.approx(5.52, abs=0.01)


def test_no_time_gives_no_speed() -> None:
    """A request of one token has no speed of writing."""
    one = Timings(prompt_tokens=5, prompt_s=0.0, decoded_tokens=1, decode_s=0.0)
    assert (one.prompt_tokens_per_s, one.decoded_tokens_per_s) == (None, None)


def test_slots_do_not_mix() -> None:
    """Lines of two requests may alternate; an answer without a prompt is none."""
    reader = TimingsReader()
    other = NEW[1].replace("id  1 | task 2", "id  0 | task 9")
    reader.feed(NEW[0])
    assert reader.feed(other) is None
    assert reader.feed(NEW[1]) is not None
    assert reader.feed(NEW[1]) is None


@given(st.text() | st.text().map(lambda s: NEW[0][:60] + s))
def test_no_line_is_too_odd(line: str) -> None:
    """A log is not trusted."""
    assert TimingsReader().feed(line) is None
