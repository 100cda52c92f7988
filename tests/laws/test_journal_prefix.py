"""A journal that was torn at any byte loads."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from placer.errors import JournalError
from placer.search.journal import SCHEMA, Journal, read_journal
from placer.search.records import read_study

texts = st.text(max_size=12)
values = st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=3)
records = st.lists(
    st.tuples(
        st.sampled_from(["study", "skipped", "launching", "trial", "end"]),
        st.dictionaries(texts.filter(lambda key: key != "kind"), values, max_size=4),
    ),
    max_size=6,
)


def written(folder: Path, lines: list[tuple[str, dict[str, Any]]]) -> Path:
    """A journal with these records."""
    journal = Journal(folder)
    for kind, record in lines:
        journal.append(kind, record)
    journal.close()
    return journal.path


@settings(max_examples=25)
@given(records)
def test_any_prefix_loads(lines: list[tuple[str, dict[str, Any]]]) -> None:
    """Cut at each byte, the whole lines are read and the torn one is passed over."""
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), lines)
        whole = path.read_bytes()
        expected = [{"kind": kind, **record} for kind, record in lines]
        for end in range(len(whole) + 1):
            path.write_bytes(whole[:end])
            n_lines = whole[:end].count(b"\n")
            assert list(read_journal(path)) == expected[:n_lines]


@settings(max_examples=60)
@given(st.lists(st.sampled_from(["launching", "trial"]), max_size=8))
def test_a_launch_without_its_trial_is_unanswered(kinds: list[str]) -> None:
    """Numbers that were launched and not answered are told, in any order."""
    launched = [n for n, kind in enumerate(kinds) if kind == "launching"]
    answered = [n for n in launched if n % 2]
    lines: list[tuple[str, dict[str, Any]]] = [("study", {"schema": SCHEMA})]
    lines += [("launching", {"number": n}) for n in launched]
    lines += [("trial", {"number": n}) for n in answered]
    with tempfile.TemporaryDirectory() as folder:
        written(Path(folder), lines)
        study = read_study(Path(folder))
    assert study.unanswered == tuple(n for n in launched if n not in answered)
    assert [trial["number"] for trial in study.trials] == answered


@given(st.integers(1, 5), st.sampled_from([b"", b"{", b"[]", b"3", b"\xff", b"{}"]))
def test_a_broken_line_in_the_middle_is_named(at: int, broken: bytes) -> None:
    """Damage before the last line is an error with path and line, not a guess."""
    good = json.dumps({"kind": "trial"}).encode()
    lines = [good] * 5
    lines.insert(at - 1, broken)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trials.jsonl"
        path.write_bytes(b"\n".join(lines) + b"\n")
        with pytest.raises(JournalError) as error:
            read_journal(path)
    assert error.value.line == at
    assert f"{path}:{at}" in str(error.value)
