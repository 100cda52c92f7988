from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placer.errors import JournalError
from placer.ledger import Entry, Key, Ledger, Pace, SpeedEntry, default_path
from placer.memory import MemoryBreakdown

TRIPLE = MemoryBreakdown(model_bytes=7, context_bytes=None, compute_bytes=3)
ENTRY = Entry(
    when="2026-11-27T12:00:00+00:00",
    version="1",
    key=Key(build="11434", backend="CUDA", emulated=False, architecture="llama"),
    model="m.gguf",
    launch="0" * 16,
    device="CUDA0",
    place="only",
    formula=TRIPLE,
    dry_run=TRIPLE,
)
PACE = Pace(decode_tokens_per_s=45.25, prefill_tokens_per_s=None)
SPEED = SpeedEntry(
    when="2026-11-27T12:00:00+00:00",
    version="1",
    key=ENTRY.key,
    model="m.gguf",
    launch="0" * 16,
    devices=("a card", "größer"),
    predicted=PACE,
    measured=PACE,
)
optional = st.none() | st.integers(0, 1 << 40)
triples = st.builds(
    MemoryBreakdown,
    model_bytes=st.integers(0, 1 << 40),
    context_bytes=optional,
    compute_bytes=optional,
)
entries = st.builds(
    replace,
    st.just(ENTRY),
    launch=st.text(max_size=4),
    formula=triples,
    dry_run=st.none() | triples,
    taken_bytes=optional,
    peak_bytes=optional,
)
rates = st.floats(0, 1e6, exclude_min=True)
paces = st.builds(
    Pace, decode_tokens_per_s=rates, prefill_tokens_per_s=st.none() | rates
)
speeds = st.builds(
    replace,
    st.just(SPEED),
    launch=st.text(max_size=4),
    predicted=paces,
    measured=paces,
)


@settings(max_examples=20)
@given(st.lists(entries | speeds, max_size=4, unique_by=lambda e: e.identity))
def test_any_prefix_of_a_ledger_loads(written: list[Entry | SpeedEntry]) -> None:
    """Cut at any byte, the whole lines are read back and more can be added."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "deep" / "ledger.jsonl")
        assert ledger.add(written) == len(written)
        whole = ledger.path.read_bytes()
        for end in range(0, len(whole) + 1, 7):
            ledger.path.write_bytes(whole[:end])
            there = written[: whole[:end].count(b"\n")]
            assert (ledger.entries(), ledger.read().speeds) == by_kind(there)
        ledger.add(written)
        both = {e.identity for e in ledger.entries()}
        both |= {e.identity for e in ledger.read().speeds}
        assert both == {e.identity for e in written}


def by_kind(
    found: list[Entry | SpeedEntry],
) -> tuple[tuple[Entry, ...], tuple[SpeedEntry, ...]]:
    """Memory and speed apart, as they are read."""
    return (
        tuple(e for e in found if isinstance(e, Entry)),
        tuple(e for e in found if isinstance(e, SpeedEntry)),
    )


def test_the_same_fact_is_written_once(tmp_path: Path) -> None:
    """A verb that is run again lets the ledger be as it was."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert ledger.add([ENTRY, ENTRY]) == 1
    before = ledger.path.read_bytes()
    assert ledger.add([replace(ENTRY, when="later")]) == 0
    assert ledger.path.read_bytes() == before


def test_the_same_speed_is_written_once_and_another_is_added(tmp_path: Path) -> None:
    """A launch that was measured anew leaves a line behind the old one."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert ledger.add([SPEED, ENTRY, SPEED]) == 2
    assert ledger.add([replace(SPEED, when="later")]) == 0
    faster = replace(SPEED, measured=replace(PACE, decode_tokens_per_s=50.0))
    assert ledger.add([faster]) == 1
    assert ledger.read().speeds == (SPEED, faster)
    assert ledger.entries() == (ENTRY,)


def test_lines_on_speed_lie_beside_the_old_ones(tmp_path: Path) -> None:
    """They have a kind of their own, so that the others are read as ever."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.add([ENTRY, SPEED])
    lines = ledger.path.read_text(encoding="utf-8").splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds == ["entry", "speed"]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"kind": "entry"}',
        '{"kind": 1}',
        '{"kind": "speed"}',
        '{"kind": "speed", "key": {}, "devices": [1], "predicted": {}}',
    ],
)
def test_damage_is_named_by_path_and_line(tmp_path: Path, line: str) -> None:
    """A line that is no entry is an error that says where, not a guess."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    ledger.add([ENTRY])
    with ledger.path.open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(JournalError) as error:
        ledger.entries()
    assert f"{ledger.path}:2" in str(error.value)


def test_an_unwritable_file_is_an_error_of_the_ledger(tmp_path: Path) -> None:
    """A path below a file cannot be written, and the error says so."""
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot be"):
        Ledger(tmp_path / "file" / "ledger.jsonl").add([ENTRY])


def test_the_environment_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``PLACER_LEDGER`` comes before the user's data folder."""
    monkeypatch.setenv("PLACER_LEDGER", str(tmp_path / "here.jsonl"))
    assert default_path() == tmp_path / "here.jsonl"
    monkeypatch.delenv("PLACER_LEDGER")
    assert default_path().name == "ledger.jsonl"


def test_asked_of_one_architecture_the_dry_runs_of_others_are_left_out(
    tmp_path: Path,
) -> None:
    """What was observed of another model stays, since overhead knows no model."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    other = replace(ENTRY, key=replace(ENTRY.key, architecture="qwen3"))
    seen = replace(other, launch="1" * 16, taken_bytes=20)
    fast = replace(SPEED, key=other.key)
    ledger.add([ENTRY, other, seen, fast])
    assert ledger.entries("llama") == (ENTRY, seen)
    assert ledger.read("llama").speeds == (fast,)
