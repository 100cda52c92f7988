"""What is run, how often, and in what order."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from placer.experiment.design import Factor, Launch, grid, schedule

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    Seeded = Callable[[int], Random]

TEMP = Factor(name="temp", values=("0.6", "0.8", "1.0"), base="0.8", restarts=False)
TOP_P = Factor(name="top-p", values=("0.9", "1.0"), base="1.0", restarts=False)
CTK = Factor(name="ctk", values=("f16", "q8_0"), base="f16", restarts=True)
UB = Factor(name="ub", values=("256", "512"), base="512", restarts=True)


def orders(launches: tuple[Launch, ...]) -> list[tuple[tuple[str, ...], ...]]:
    """In what order the cells of each launch are run."""
    return [tuple(tuple(t.cell.values()) for t in one.turns) for one in launches]


def test_the_grid_holds_every_combination_once() -> None:
    """With a value of every factor."""
    cells = grid((TEMP, CTK))
    assert len(cells) == 6
    assert len({tuple(cell.items()) for cell in cells}) == 6
    assert cells[:2] == (
        {"temp": "0.6", "ctk": "f16"},
        {"temp": "0.6", "ctk": "q8_0"},
    )


def test_the_server_is_started_once_a_repeat_for_each_of_its_settings(
    seeded: Seeded,
) -> None:
    """And asked every cell of the request each time, with the settings that it has."""
    launches = schedule((TEMP, CTK, UB, TOP_P), 3, seeded(1))
    assert [one.number for one in launches] == list(range(1, 13))
    for repeat in (1, 2, 3):
        held = [one for one in launches if one.turns[0].repeat == repeat]
        assert len({tuple(one.settings.values()) for one in held}) == len(held) == 4
    for one in launches:
        assert len({turn.repeat for turn in one.turns}) == 1
        asked = {(turn.cell["temp"], turn.cell["top-p"]) for turn in one.turns}
        assert len(asked) == len(one.turns) == 6
        for turn in one.turns:
            assert one.settings.items() <= turn.cell.items()


def test_without_a_restart_there_is_one_launch(seeded: Seeded) -> None:
    """It holds all repeats, one after the other, each with every cell."""
    (only,) = schedule((TEMP, TOP_P), 4, seeded(1))
    assert only.settings == {}
    assert [turn.repeat for turn in only.turns] == [
        n for n in (1, 2, 3, 4) for _ in range(6)
    ]
    times = Counter((turn.repeat, *turn.cell.values()) for turn in only.turns)
    assert set(times.values()) == {1}
    assert len(times) == 24


def test_every_order_comes_up(seeded: Seeded) -> None:
    """Of the launches in a repeat and of the cells in a launch, about as often each."""
    first_launch, first_cells = Counter[str](), Counter[tuple[str, ...]]()
    for seed in range(600):
        launches = schedule((TEMP, CTK), 1, seeded(seed))
        first_launch[launches[0].settings["ctk"]] += 1
        first_cells[tuple(turn.cell["temp"] for turn in launches[0].turns)] += 1
    assert len(first_cells) == 6
    assert min(first_cells.values()) > 60
    assert len(first_launch) == 2
    assert min(first_launch.values()) > 240


def test_the_same_seed_gives_the_same_sweep(seeded: Seeded) -> None:
    """And another seed another one, from repeat to repeat also."""
    found = schedule((TEMP, TOP_P, CTK), 3, seeded(5))
    assert schedule((TEMP, TOP_P, CTK), 3, seeded(5)) == found
    assert schedule((TEMP, TOP_P, CTK), 3, seeded(6)) != found
    assert len(set(orders(found))) == len(found)


def test_what_makes_no_sweep_is_refused(seeded: Seeded) -> None:
    """A base that is not tried, a value or a factor twice, no repeat."""
    with pytest.raises(ValueError, match=r"temp is never 0\.7"):
        Factor(name="temp", values=("0.6", "0.8"), base="0.7", restarts=False)
    with pytest.raises(ValueError, match="takes a value twice"):
        Factor(name="temp", values=("0.6", "0.6"), base="0.6", restarts=False)
    with pytest.raises(ValueError, match="named twice: temp, temp"):
        grid((TEMP, TEMP))
    with pytest.raises(ValueError, match="0 repeats"):
        schedule((TEMP,), 0, seeded(1))


def test_the_levels_are_all_but_the_base() -> None:
    """In the order in which they were given."""
    assert TEMP.levels == ("0.6", "1.0")
