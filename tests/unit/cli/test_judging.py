from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from placer.app import judged

if TYPE_CHECKING:
    from tests.unit.cli.conftest import Desk

LOGS = Path(__file__).parents[2] / "golden" / "logs" / "pasted"
WEIGHTS = str(LOGS / "cuda-b5177-weights.log")


def test_json_has_the_fields_of_the_docs(desk: Desk) -> None:
    """One document; sizes in bytes, lines as they stand in the log."""
    record = json.loads(desk.placer("judge", WEIGHTS, "--json").out)
    assert list(record) == [
        "schema",
        "verdict",
        "cause",
        "device",
        "asked_bytes",
        "free_bytes",
        "evidence",
        "advice",
        "notes",
    ]
    assert record["schema"] == 1
    assert record["verdict"] == "OOM_WEIGHTS"
    assert record["device"] == "CUDA0"
    assert record["asked_bytes"] == 41921527808
    assert record["free_bytes"] == 23872 << 20
    assert "unable to allocate CUDA0 buffer" in record["evidence"][-1]
    assert record["advice"].startswith("move layers or experts off CUDA0")


def test_a_person_reads_a_few_short_lines(desk: Desk) -> None:
    """Verdict in words, device and sizes, what decided, what to change."""
    answer = desk.placer("judge", WEIGHTS)
    lines = answer.out.splitlines()
    assert lines[0].startswith("OOM_WEIGHTS: ")
    assert lines[1] == "CUDA0, asked 39,979.5 MiB, 23,872.0 MiB free"
    assert any(line.startswith("To change: ") for line in lines)
    assert all(len(line) <= 80 for line in lines)
    assert answer.code == 0


def test_quiet_is_one_word(desk: Desk) -> None:
    """For a script."""
    assert desk.placer("judge", WEIGHTS, "-q").out == "OOM_WEIGHTS\n"


def test_a_log_that_does_not_say_has_no_verdict(desk: Desk) -> None:
    """Null, not a guess; it is an answer all the same."""
    log = str(LOGS / "cuda-b6500-stops-loading.log")
    answer = desk.placer("judge", log, "--json")
    assert json.loads(answer.out)["verdict"] is None
    assert answer.code == 0
    assert desk.placer("judge", log, "-q").out == "UNKNOWN\n"


@pytest.mark.parametrize("code", ["132", "-4", "0xC000001D"])
def test_an_exit_code_says_what_a_log_cannot(desk: Desk, code: str) -> None:
    """A build for another processor dies without a word."""
    log = str(LOGS / "cuda-b6500-stops-loading.log")
    answer = desk.placer("judge", log, "--exit-code", code, "--json")
    record = json.loads(answer.out)
    assert record["verdict"] == "CRASHED"
    assert record["cause"] == "illegal instruction"


def test_an_exit_code_alone_is_enough(desk: Desk) -> None:
    """An empty log and 132: it died before its first word."""
    (desk.folder / "empty.log").write_text("")
    answer = desk.placer("judge", "empty.log", "--exit-code", "132", "-q")
    assert answer.out == "CRASHED\n"


@pytest.mark.parametrize("text", ["", "Dear forum, it is out of memory.\n", "\0\1\2"])
def test_what_is_no_log_is_refused(desk: Desk, text: str) -> None:
    """One line, exit code 2."""
    (desk.folder / "letter.txt").write_text(text)
    answer = desk.placer("judge", "letter.txt")
    assert answer.code == 2
    assert "letter.txt" in answer.err
    assert answer.err.count("\n") == 1


def test_what_cannot_be_read_is_refused(desk: Desk) -> None:
    """No file, a folder, no number."""
    for args in (("nowhere.log",), (".",), (WEIGHTS, "--exit-code", "x")):
        answer = desk.placer("judge", *args)
        assert answer.code == 2
        assert answer.err.count("\n") == 1


def test_standard_input_is_read(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """``docker logs llama 2>&1 | placer judge -``."""
    pipe = io.BytesIO(Path(WEIGHTS).read_bytes())
    pipe.seekable = lambda: False  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    assert desk.placer("judge", "-", "-q").out == "OOM_WEIGHTS\n"


@pytest.mark.parametrize("is_pipe", [False, True])
def test_of_an_endless_log_the_end_is_judged(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, *, is_pipe: bool
) -> None:
    """And a note says so."""
    monkeypatch.setattr(judged, "MOST_BYTES", 4096)
    data = b"srv  update_slots: all slots are idle\n" * 1000
    data += Path(WEIGHTS).read_bytes()
    pipe = io.BytesIO(data)
    if is_pipe:
        pipe.seekable = lambda: False  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=pipe))
    answer = desk.placer("judge", "-", "--json")
    record = json.loads(answer.out)
    assert record["verdict"] == "OOM_WEIGHTS"
    assert "only the last" in record["notes"][0]


def test_control_characters_do_not_reach_the_terminal(desk: Desk) -> None:
    """A log is not trusted."""
    (desk.folder / "evil.log").write_text(
        "CUDA error: \x1b]0;owned\x07an illegal memory access\x9b31m\n"
    )
    out = desk.placer("judge", "evil.log").out
    assert not any(ord(c) < 32 and c != "\n" for c in out)
    assert "\x9b" not in out
