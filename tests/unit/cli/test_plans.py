from __future__ import annotations

import json
import re
import shlex
from typing import TYPE_CHECKING

import pytest

from placer.cli.plans import interval_text, number_text
from placer.speed import Interval

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Desk

CARDS = ("--machine", "rtx-4090+rtx-5070-ti")
# Too little for all experts.
SHORT = ("--devices", "Vulkan0:40,Vulkan1:30")


@pytest.fixture(autouse=True)
def _no_engine(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any start of an engine would be an error."""
    monkeypatch.setenv("PLACER_LLAMA_SERVER", "/nowhere/llama-server")


@pytest.mark.parametrize(
    ("figure", "text"),
    [(0.123, "0.1"), (99.94, "99.9"), (100.4, "100"), (12345.6, "12,346")],
)
def test_a_speed_has_three_figures(figure: float, text: str) -> None:
    """Whole numbers from a hundred on."""
    assert number_text(figure) == text


def test_an_interval_stands_behind_its_middle() -> None:
    """In brackets."""
    assert interval_text(Interval(low=18, mid=22.5, high=27)) == "22.5 (18.0-27.0)"


def test_every_row_has_its_flags(desk: Desk) -> None:
    """The candidates by their rank, one GPU by its name."""
    answer = desk.placer("plan", "moe", *SHORT)
    rows = re.findall(r"^(1|one GPU) +[A-D] ", answer.out, re.MULTILINE)
    flags = re.findall(r"^(1|one GPU): (-ngl .*)$", answer.out, re.MULTILINE)

    assert (answer.code, answer.err) == (0, "")
    assert rows == [name for name, _ in flags] == ["1", "one GPU"]
    assert all("-ts" in shlex.split(text) for _, text in flags)


def test_one_device_alone_is_no_baseline_of_itself(desk: Desk) -> None:
    """There is nothing else to use."""
    answer = desk.placer("plan", "moe", "--devices", "Vulkan0:40")

    assert answer.code == 0
    assert "one GPU:" not in answer.out


def test_a_wide_terminal_has_room_for_titles(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A narrow one has a line that says what the letters mean."""
    narrow = desk.placer("plan", "moe", *SHORT).out
    monkeypatch.setenv("COLUMNS", "120")
    wide = desk.placer("plan", "moe", *SHORT).out

    assert re.search(r"^1 +D experts on the CPU ", wide, re.MULTILINE)
    assert re.search(r"^1 +D  ", narrow, re.MULTILINE)
    assert "D: experts on the CPU" in narrow


def test_tradeoffs_are_compared_with_what_is_asked(desk: Desk) -> None:
    """By how much they are faster or slower; what fits nowhere is said."""
    answer = desk.placer("plan", "moe", "--devices", "Vulkan0:12", "-c", "8192")

    assert re.search(r"^as asked +B +[\d.,]+ +[\d.,]+", answer.out, re.MULTILINE)
    assert re.search(r"^-ctk q8_0 -ctv q8_0 +B .*\+\d+ %", answer.out, re.MULTILINE)
    assert re.search(r"^-ub 256 +fits nowhere *$", answer.out, re.MULTILINE)


def test_without_tradeoffs_there_is_no_table_of_them(desk: Desk) -> None:
    """As asked for."""
    answer = desk.placer("plan", "moe", *SHORT, "--no-tradeoffs")

    assert "as asked" not in answer.out


def test_an_explanation_says_what_limits_and_what_would_help(desk: Desk) -> None:
    """Where a token's time goes, what a GiB buys, which flag frees most."""
    answer = desk.placer("plan", "moe", *SHORT, "--explain")
    shares = re.search(r"^Where the time goes: (.*)\.$", answer.out, re.MULTILINE)

    assert re.search(
        r"^What limits: the way between devices\.$", answer.out, re.MULTILINE
    )
    assert shares is not None
    assert sum(map(int, re.findall(r"(\d+)%", shares[1]))) == pytest.approx(100, abs=3)
    assert re.search(r"^1 GiB more on Vulkan0: .* \(\+\d", answer.out, re.MULTILINE)
    assert re.search(r"frees the most of Vulkan\d: ", answer.out)
    assert "By the speed model nothing faster" in answer.out


def test_a_plan_ends_with_what_it_rests_on(desk: Desk) -> None:
    """Who measured, what was assumed, and that nothing was loaded."""
    answer = desk.placer("plan", "moe", *CARDS)
    last = answer.out.splitlines()[-3:]

    assert last[0].startswith("Speed is predicted, calibrated by a user's eight")
    assert last[1] == "Assumed: bandwidth of the CPU's memory (60 GB/s)."
    assert "Nothing was loaded" in last[2]


@pytest.mark.parametrize(
    ("goal", "says"),
    [("decode", "for writing tokens"), ("balanced", "eight tokens for each one")],
)
def test_what_it_is_best_at_stands_on_top(desk: Desk, goal: str, says: str) -> None:
    """With the depth of the cache."""
    answer = desk.placer("plan", "moe", *CARDS, "--for", goal, "--depth", "100")

    assert f"{says}" in answer.out
    assert "with 100 tokens in the cache" in answer.out


def test_quiet_is_the_flags_of_the_best(desk: Desk) -> None:
    """One line, and nothing else."""
    answer = desk.placer("plan", "moe", *CARDS, "--quiet")

    assert answer.out.splitlines() == ["-ngl 7 -sm none -mg 0 -ts 7"]


def test_the_json_holds_what_scripts_count_on(desk: Desk) -> None:
    """Goal, speeds, baselines; trade-offs only where they are asked for."""
    record = json.loads(desk.placer("plan", "moe", *SHORT, "--json").out)
    full = desk.placer("plan", "moe", *SHORT, "--json", "--tradeoffs", "--explain")
    more = json.loads(full.out)

    assert (record["schema"], record["goal"], record["depth"]) == (1, "decode", 512)
    assert record["baselines"]["fit"] is None
    assert record["baselines"]["one_gpu"]["args"][2:4] == ["-sm", "none"]
    assert (record["tradeoffs"], record["explained"]) == ([], None)
    assert [one["rank"] for one in record["candidates"]] == [1]
    assert {one["kind"] for one in more["tradeoffs"]} >= {"cache type", "op-offload"}
    assert more["explained"]["limit"] in more["explained"]["seconds"]


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--margin", "1,2,3"), "--margin has 3 figures, the machine has 2 devices"),
        (("--margin", "x"), "--margin"),
        (("--for", "speed"), "--for"),
        (("--depth", "-1"), "--depth"),
        (("--for", "context", "--min-speed", "1e9"), "no context is written"),
    ],
)
def test_a_wrong_question_is_one_line(
    desk: Desk, args: tuple[str, ...], says: str
) -> None:
    """And no plan."""
    answer = desk.placer("plan", "moe", *CARDS, *args)

    assert answer.code in {2, 4}
    assert answer.out == ""
    assert says in answer.err
    assert answer.err.count("\n") == 1
