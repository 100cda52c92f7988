"""``placer verify --suite smoke``: what it prints, and how it ends."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from placer.testing.fake_engine import fake_engine

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.cli.conftest import Desk

#: A fake engine answers no question but how fast it is, and that by the machine's load.
SMOKE = ("--suite", "smoke", "--problems", "0", "--tolerance", "0.95")
LOADED = ("--proof", "load")


def other(desk: Desk, compute_factor: float) -> Path:
    """Another engine for the same devices."""
    folder = desk.folder / "other"
    folder.mkdir()
    return fake_engine(
        folder, devices={"Vulkan0": 40, "Vulkan1": 30}, compute_factor=compute_factor
    )


def test_a_smoke_test_comes_behind_the_launch(desk: Desk) -> None:
    """The first is the record of the second, and the page names both."""
    assert desk.placer("verify", "moe", *SMOKE, *LOADED, "-q").out == (
        "moe no-record\nmoe smoke no-record\n"
    )
    answer = desk.placer("verify", "moe", *SMOKE, *LOADED)
    assert answer.code == 0
    assert re.search(
        r"^moe, smoke test: (no difference seen|better)$", answer.out, re.MULTILINE
    )
    assert "Recorded: search_logs/moe/smoke/" in answer.out
    assert "Page: docs/benchmarks/engines.md" in answer.out
    page = (desk.folder / "docs/benchmarks/engines.md").read_text()
    assert page.count("../../search_logs/moe/smoke/") == 2


def test_two_servers_are_launched_in_turn(desk: Desk) -> None:
    """As JSON, with exit code 4 where the second takes more memory."""
    hungry = other(desk, compute_factor=3.0)
    servers = ("--server", str(desk.engine), "--server", str(hungry))
    answer = desk.placer(
        "verify", "moe", *SMOKE, *servers, "--rounds", "1", "--memory", "0", "--json"
    )
    assert answer.code == 4
    (found,) = json.loads(answer.out)["profiles"]
    assert (found["status"], found["is_pair"]) == ("worse", True)
    assert found["old"]["file"] == found["new"]["file"] == "llama-server"
    worse = {one["name"] for one in found["figures"] if one["kind"] == "worse"}
    assert worse == {"memory_bytes"}
    page = (desk.folder / "docs/benchmarks/engines.md").read_text()
    assert "in turn" in page


@pytest.mark.parametrize("args", [(), (*SMOKE, "--server", "c")])
def test_servers_in_the_wrong_number_are_refused(
    desk: Desk, args: tuple[str, ...]
) -> None:
    """Two without a suite, or three."""
    answer = desk.placer("verify", "moe", "--server", "a", "--server", "b", *args)
    assert answer.code == 2
    assert "give two --server with --suite smoke" in answer.err
