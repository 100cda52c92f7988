from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from placer.app.quality_references import (
    FILE_NAME,
    Reference,
    add_reference,
    read_references,
)
from placer.errors import InputError, JournalError

if TYPE_CHECKING:
    from pathlib import Path

ONE = Reference(
    name="cloud",
    suite="humaneval+",
    score=87.2,
    source="https://example.org/board",
    day="2026-01-31",
)


def test_what_is_put_on_record_is_read_again(tmp_path: Path) -> None:
    """In the order in which it came."""
    other = replace(ONE, name="other", k=10)

    add_reference(tmp_path / "logs", ONE)
    add_reference(tmp_path / "logs", other)

    assert read_references(tmp_path / "logs") == (ONE, other)
    assert [p.name for p in (tmp_path / "logs").iterdir()] == [FILE_NAME]


def test_a_newer_score_takes_the_place_of_the_older(tmp_path: Path) -> None:
    """A model has one score of a suite."""
    add_reference(tmp_path, ONE)
    add_reference(tmp_path, replace(ONE, score=90.0))

    assert [one.score for one in read_references(tmp_path)] == [90.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("name", " "),
        ("suite", "humaneval++"),
        ("score", -1.0),
        ("score", 100.1),
        ("score", float("nan")),
        ("source", ""),
        ("source", "a friend"),
        ("source", "ftp://example.org"),
        ("source", "https://"),
        ("source", "https://a b"),
        ("day", "31.1.2026"),
        ("day", "20260131"),
        ("day", "2026-02-30"),
        ("k", 0),
    ],
)
def test_what_is_no_score_is_refused(name: str, value: object) -> None:
    """A score without a source above all."""
    with pytest.raises(InputError):
        replace(ONE, **{name: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("line", ["x", "{}", '{"kind": "reference", "name": 1}'])
def test_a_damaged_file_is_named_and_left_alone(tmp_path: Path, line: str) -> None:
    """Whatever cannot be read is not written over."""
    path = tmp_path / FILE_NAME
    path.write_text(f"{line}\n")

    with pytest.raises(JournalError):
        add_reference(tmp_path, ONE)

    assert path.read_text() == f"{line}\n"
