from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from placer.dashboard import figures
from placer.dashboard.figures import Unit
from placer.units import GIB, MIB

SHARES = st.floats(-1, 3)


@given(SHARES, SHARES, st.none() | SHARES, st.integers(1, 200))
def test_a_bar_is_as_wide_as_it_is_told(
    held: float, others: float, plan: float | None, width: int
) -> None:
    """Whatever is to be drawn, and however wrong it is."""
    bar = figures.memory_bar(width, held=held, others=others, plan=plan)
    assert bar.cell_len == width


def test_a_bar_shows_whose_memory_it_is() -> None:
    """The server's, then others', then what is free; the plan's end over them."""
    bar = figures.memory_bar(10, held=0.5, others=0.2, plan=0.4)
    assert bar.plain == "████┃▓▓░░░"
    assert figures.memory_bar(10, held=0.001, others=0).plain == "█░░░░░░░░░"
    assert figures.memory_bar(10, held=0, others=0).plain == "░" * 10


def test_a_curve_goes_from_zero_to_its_largest() -> None:
    """A zero is drawn, what is not known is not; the newest stands to the right."""
    assert figures.curve([0, 4, None, 8], 6) == ["  ▁▄ █"]
    assert figures.curve([1, 2, 3], 2) == ["▅█"]
    assert figures.curve([0, 2], 2, rows=2) == [" █", "▁█"]
    assert figures.curve([], 3) == ["   "]


@given(st.lists(st.none() | st.floats(0, 1e9)), st.integers(1, 80), st.integers(1, 6))
def test_a_curve_fills_its_place(
    values: list[float | None], width: int, rows: int
) -> None:
    """So many rows, each so wide."""
    drawn = figures.curve(values, width, rows)
    assert [len(row) for row in drawn] == [width] * rows


def test_what_is_not_known_is_a_dash() -> None:
    """A zero would be a figure."""
    unit = Unit.of([24 * GIB])
    dashes = {unit.text(None), figures.whole(None, " %"), figures.per_second(None)}
    assert dashes == {figures.UNKNOWN}


@pytest.mark.parametrize(
    ("sizes", "said"), [([24 * GIB, 0], "0.5"), ([512 * MIB], "512"), ([], "512")]
)
def test_a_table_has_one_unit(sizes: list[int], said: str) -> None:
    """By its largest figure."""
    assert Unit.of(sizes).text(512 * MIB) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.804, "0.80 s"),
        (9.99, "9.99 s"),
        (42.9, "42 s"),
    ],
)
def test_a_time_is_as_long_as_it_is_read(seconds: float, said: str) -> None:
    """That of a first token is short."""
    assert figures.seconds_text(seconds) == said
