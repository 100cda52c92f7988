from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import pytest

from placer.cli import plots
from placer.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Desk

CARDS = ("--machine", "rtx-4090+rtx-5070-ti")


@pytest.fixture(autouse=True)
def _no_engine(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any start of an engine would be an error."""
    monkeypatch.setenv("PLACER_LLAMA_SERVER", "/nowhere/llama-server")


def test_a_chart_names_every_placement_and_tradeoff(desk: Desk) -> None:
    """In text that can be searched, with what is predicted behind each bar."""
    answer = desk.placer("plan", "moe", *CARDS, "--plot", "plan.svg")
    chart = (desk.folder / "plan.svg").read_text()

    assert (answer.code, answer.err) == (0, "")
    for text in ("1. one GPU", "-ub 128", "--no-op-offload", "moe, context 512"):
        assert text in chart
    assert "NVIDIA GeForce RTX 4090" in chart
    assert "512 in the cache" in chart


def test_two_charts_of_one_plan_are_the_same_bytes(desk: Desk) -> None:
    """No date, no random names."""
    asked = ("plan", "moe", *CARDS, "--quiet", "--plot")
    desk.placer(*asked, "one.svg")
    desk.placer(*asked, "two.svg")
    one, two = ((desk.folder / name).read_bytes() for name in ("one.svg", "two.svg"))

    assert one == two
    assert len(one) > 1000


def test_a_picture_is_a_png(desk: Desk) -> None:
    """By its suffix, in any case."""
    desk.placer("plan", "moe", *CARDS, "--quiet", "--plot", "plan.PNG")

    assert (desk.folder / "plan.PNG").read_bytes().startswith(b"\x89PNG\r\n")


def test_a_chart_is_written_whole_or_not_at_all(desk: Desk) -> None:
    """Nothing is left of one that cannot be written."""
    (desk.folder / "plan.svg").mkdir()
    before = sorted(desk.folder.iterdir())
    answer = desk.placer("plan", "moe", *CARDS, "--quiet", "--plot", "plan.svg")

    assert answer.code == 2
    assert "plan.svg" in answer.err
    assert sorted(desk.folder.iterdir()) == before


@pytest.mark.parametrize(
    ("name", "says"),
    [("plan.pdf", "plan.pdf is no chart"), ("nope/plan.svg", "has no such folder")],
)
def test_what_cannot_be_drawn_is_known_before_anything_is_planned(
    desk: Desk, name: str, says: str
) -> None:
    """One line, and no plan."""
    answer = desk.placer("plan", "moe", *CARDS, "--plot", name)

    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err


def test_a_missing_library_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With how to get it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'placer\[plot\]'"):
        plots.require_plot(tmp_path / "plan.svg")


def test_every_kind_of_row_has_a_colour_of_its_own() -> None:
    """Told apart without their names."""
    assert len(set(plots.COLOURS.values())) == len(plots.COLOURS)
    assert {"plan", "baseline", "context", "ubatch", "cache type", "op-offload"} <= set(
        plots.COLOURS
    )
