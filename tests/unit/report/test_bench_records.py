from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from placer.errors import JournalError
from placer.report.bench_records import bench_records, references
from placer.search.records import study_folders

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.unit.report.conftest import BenchWriter


def write_references(logs: Path, *lines: dict[str, Any]) -> Path:
    """What ``placer bench reference`` writes."""
    path = logs / "references.jsonl"
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def told(**changes: Any) -> dict[str, Any]:
    """A score of a model in a cloud."""
    return {
        "kind": "reference",
        "name": "cloud",
        "suite": "humaneval",
        "score": 87.2,
        "source": "https://example.com/scores",
        "day": "2026-11-01",
        "k": 1,
        **changes,
    }


def test_all_kinds_are_found_and_searches_are_not(benches: BenchWriter) -> None:
    """By kind and profile, oldest first; what looks for searches sees no bench."""
    for kind in ("speed", "sweep", "quality", "smoke"):
        for profile in ("b", "a"):
            benches.write(kind, profile=profile, stamp="20261124-000000")
    benches.write("quality", profile="a", stamp="20261123-000000")

    found = [(one.kind, one.profile, one.stamp) for one in bench_records(benches.logs)]
    assert found[:3] == [
        ("quality", "a", "20261123-000000"),
        ("quality", "a", "20261124-000000"),
        ("quality", "b", "20261124-000000"),
    ]
    assert [kind for kind, profile, _ in found if profile == "b"] == [
        "quality",
        "speed",
        "sweep",
        "smoke",
    ]
    assert study_folders(benches.logs) == ()


def test_a_run_is_whole_only_at_its_own_end(benches: BenchWriter) -> None:
    """Not interrupted, not killed, and not where it went on after an end."""
    whole = benches.write("quality")
    benches.write("quality", stopped="interrupted")
    killed = benches.write("quality", ended=False)
    resumed = benches.write("quality", stopped="interrupted")
    with resumed.open("a") as file:
        file.write('{"kind": "resumed"}\n')
    with killed.open("a") as file:
        file.write('{"kind": "answ')

    found = bench_records(benches.logs)
    assert [one.path for one in found if one.end is not None] == [whole]
    assert [one.stopped for one in found[1:]] == ["interrupted", "killed", "killed"]


def test_a_run_that_was_killed_before_its_first_line_is_one(
    benches: BenchWriter,
) -> None:
    """An empty journal, or half a line, is no damage."""
    for text in ("", '{"kind": "qua'):
        path = benches.write("quality")
        path.write_text(text)
    assert [one.end for one in bench_records(benches.logs)] == [None, None]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda text: f"rubbish\n{text}", "trials.jsonl:1: is no record of a bench"),
        (lambda text: text.replace('"quality"', '"speed"'), "has no quality line"),
        (lambda text: text.replace('"schema": 2', '"schema": 9'), "has schema 9"),
        (lambda text: text.replace('"started"', '"begun"'), "is not what placer"),
        (lambda text: text.replace('"stopped"', '"ended"'), "is not what placer"),
    ],
)
def test_damage_is_told_in_a_line(
    benches: BenchWriter, damage: Callable[[str], str], says: str
) -> None:
    """Exit code 5, the file by its path, and what to do."""
    path = benches.write("quality")
    path.write_text(damage(path.read_text()))
    with pytest.raises(JournalError, match="move") as error:
        bench_records(benches.logs)
    assert error.value.exit_code == 5
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_the_latest_word_on_a_reference_counts(benches: BenchWriter) -> None:
    """Of each name, suite and k; per cent are shares here."""
    write_references(
        benches.logs, told(score=80), told(k=10, score=95), told(score=87.5)
    )
    found = references(benches.logs)
    assert {one.k: one.score for one in found} == {1: 0.875, 10: 0.95}


@pytest.mark.parametrize("name", ["name", "suite", "source", "day", "k", "score"])
def test_a_reference_lacks_nothing(benches: BenchWriter, name: str) -> None:
    """A source is a must, as is all else; the error names the line."""
    line = told()
    del line[name]
    write_references(benches.logs, told(), line)
    with pytest.raises(JournalError, match=r"references\.jsonl:2: is no reference"):
        references(benches.logs)


def test_no_references_are_none(benches: BenchWriter) -> None:
    """Without the file there is nothing to tell."""
    assert references(benches.logs) == ()
