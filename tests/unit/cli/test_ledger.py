from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from placer.testing.fake_engine import fake_engine

if TYPE_CHECKING:
    import pytest

    from tests.unit.cli.conftest import Desk

DEVICES = ("--devices", "Vulkan0:400:400")


def estimated(desk: Desk, *args: str) -> dict[str, Any]:
    """What ``estimate --json`` prints."""
    answer = desk.placer("estimate", "moe", *args, "--json")
    assert answer.err == ""
    record: dict[str, Any] = json.loads(answer.out)
    return record


def test_dry_runs_correct_the_next_formula(desk: Desk) -> None:
    """Where an engine said more three times, the formula says more without it."""
    engine = fake_engine(desk.folder, devices={"Vulkan0": 400}, compute_factor=4.0)
    before = estimated(desk, *DEVICES)
    for ctx in ("512", "1024", "2048"):
        asked = estimated(desk, "--ctx", ctx, "--server", str(engine))
        assert asked["source"]["compute"] == "dry-run"
    after = estimated(desk, *DEVICES)

    compute = [r["devices"][0]["compute_bytes"] for r in (before, after)]
    assert compute[1] > compute[0]
    assert after["formula"] == before["formula"]
    assert after["source"]["compute"] == "formula"
    assert any("by 3 dry runs of build" in note for note in after["notes"])


def test_the_verb_shows_what_was_learned(desk: Desk) -> None:
    """A key, its residuals, and what corrects; the path alone when quiet."""
    path = os.environ["PLACER_LEDGER"]
    assert "Empty" in desk.placer("ledger").out
    estimated(desk)

    assert "qwen3moe on Vulkan, build" in desk.placer("ledger").out
    assert desk.placer("ledger", "-q").out == f"{path}\n"
    record = json.loads(desk.placer("ledger", "--json").out)
    assert record["path"] == path
    assert record["lines"][0]["key"]["architecture"] == "qwen3moe"


def test_what_was_asked_of_another_context_is_kept_too(desk: Desk) -> None:
    """A plan for the largest context asks about that one alone."""
    answer = desk.placer("plan", "moe", "--for", "context", "--no-baselines", "-q")
    assert answer.code == 0

    assert json.loads(desk.placer("ledger", "--json").out)["entries"] > 0


def test_the_same_launch_is_written_once(desk: Desk) -> None:
    """The ledger does not grow when nothing new was seen."""
    sizes = []
    for _ in range(2):
        estimated(desk)
        sizes.append(json.loads(desk.placer("ledger", "--json").out)["entries"])
    assert sizes[0] == sizes[1] > 0


def test_a_search_writes_what_it_saw(desk: Desk) -> None:
    """Every launch with a dry run is in the ledger when the search ends."""
    assert desk.placer("optimize", "moe", "--dry-run", "-q").code == 0
    record = json.loads(desk.placer("ledger", "--json").out)
    assert record["entries"] > 0


def test_measured_over_predicted_is_shown(desk: Desk) -> None:
    """How many launches, and their median, as text and as JSON."""
    estimated(desk)
    assert "decode, tokens/s: not seen" in desk.placer("ledger").out
    desk.placer("optimize", "moe", "--dry-run", "-q")
    (line,) = json.loads(desk.placer("ledger", "--json").out)["lines"]
    decode = line["decode_ratio"]
    assert decode["count"] == line["prefill_ratio"]["count"] > 0
    assert 0 < decode["low"] <= decode["middle"] <= decode["high"]
    text = desk.placer("ledger").out
    assert f" / {decode['middle']:.3g} / " in text
    assert f"({decode['count']})" in text


def test_an_unwritable_ledger_fails_no_verb(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning, and the estimate is what it would have been."""
    (desk.folder / "file").touch()
    answer = desk.placer("estimate", "moe", "--ledger", "file/ledger.jsonl", "--json")
    assert "source" in json.loads(answer.out)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_a_damaged_ledger_is_named_and_fails_no_estimate(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """``ledger`` says which line; an estimate goes on without."""
    (desk.folder / "bad.jsonl").write_text("{\n")
    answer = desk.placer("ledger", "--ledger", "bad.jsonl")
    assert (answer.code, answer.out) == (5, "")
    assert "bad.jsonl:1" in answer.err
    found = desk.placer("estimate", "moe", *DEVICES, "--ledger", "bad.jsonl", "-q")
    assert found.out == "fits\n"
    assert len(caplog.records) == 1
