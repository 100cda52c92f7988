"""``placer optimize --all`` and ``--variants``: what they print, and how they end."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Desk

ODD = """
[odd]
MODEL=moe.gguf
CTX_SIZE=512
EXTRA_ARGS=-b 256 -ub 64 -np 1 -dev CUDA7

[gone]
MODEL=gone.gguf
"""


def test_a_night_ends_with_a_table(desk: Desk) -> None:
    """Which of how many while it runs; then a row a profile, and why it has none."""
    desk.conf.write_text(desk.conf.read_text() + ODD)
    answer = desk.placer("optimize", "--all")
    assert (answer.code, answer.err) == (2, "")
    assert answer.out.startswith("moe (1 of 2)\nVulkan0 40.0 MiB free")
    assert re.search(r"^moe: found D in \d launch", answer.out, re.MULTILINE)
    assert "\nodd (2 of 2)\nodd: failed: " in answer.out
    _, table = answer.out.split("\nprofile  ")
    rows = [line.split() for line in table.splitlines()]
    assert rows[1][:3] == ["gone", "skipped", "-"]
    assert rows[2][:3] == ["moe", "found", "D"]
    assert rows[3][:3] == ["odd", "failed", "-"]
    assert "gone: model gone.gguf was not found" in table
    assert re.search(r"\n1 found, 1 failed, 1 skipped in \d+ s\n\Z", table)

    again = desk.placer("optimize", "--all", "-q")
    assert (again.code, again.out) == (2, "moe skipped\ngone skipped\nodd failed\n")
    record = json.loads(desk.placer("optimize", "--all", "--json").out)
    moe, gone, odd = record["profiles"]
    assert (moe["status"], gone["status"], odd["exit_code"]) == (
        "skipped",
        "skipped",
        2,
    )
    assert "--again searches it" in moe["reason"]


def test_quiet_variants_are_a_word_each(desk: Desk) -> None:
    """A failure of the production profile does not stop the other."""
    desk.conf.write_text(desk.conf.read_text() + ODD)
    answer = desk.placer("optimize", "odd", "--variants", "production,bench", "-q")
    assert (answer.code, answer.out) == (2, "odd failed\nbench-odd failed\n")
    assert "[bench-odd]" in desk.conf.read_text()


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ((), "name a PROFILE or a MODEL.gguf, or give --all"),
        (("moe", "--all"), "name a PROFILE or a MODEL.gguf, or give --all"),
        (("--all", "--variants", "bench"), "--variants is of one profile"),
        (("moe", "--again"), "--again is for --all"),
        (("moe", "--variants", "fast"), "'fast' is no variant"),
        (("--all", "--resume"), "leave out --resume"),
        (("moe", "--variants", "bench", "--resume"), "leave out --resume"),
    ],
)
def test_bad_input_ends_with_2(desk: Desk, args: tuple[str, ...], says: str) -> None:
    """One line on standard error, and nothing is searched."""
    answer = desk.placer("optimize", *args)
    assert (answer.code, answer.out) == (2, "")
    assert says in answer.err
    assert not (desk.folder / "search_logs").exists()
