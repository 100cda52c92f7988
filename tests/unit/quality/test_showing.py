from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from rich.console import Console

from placer.app.quality_bench import Begun, Progress, QualityBench
from placer.app.quality_record import Answers
from placer.app.quality_score import quality_of
from placer.cli import qualities
from placer.cli.main import run
from placer.quality.attempt import Attempt
from placer.quality.grade import Grade, Graded
from placer.quality.suite import load_suite

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER: dict[str, Any] = {
    "engine": "10434 (abc)",
    "emulated": True,
    "title": "HumanEval",
    "digest": "0" * 16,
    "sampling": {"temperature": 0.0},
    "style": "chat",
    "max_tokens": 96,
}


def bench(*grades: Grade, is_plus: bool = False) -> QualityBench:
    """A profile whose answers became that."""
    answers = Answers()
    for number, grade in enumerate(grades):
        name = f"HumanEval/{number}"
        finish = "length" if grade is Grade.TRUNCATED else "stop"
        answers.take(
            Attempt(problem=name, sample=0, text="x", finish=finish, tokens=10)
        )
        answers.take_grade(Graded(problem=name, sample=0, grade=grade, detail="why"))
    found = quality_of(
        answers,
        ks=(1,),
        is_plus=is_plus,
        seconds=61.0,
        held_bytes=(1 << 30, 1 << 29),
        joules=None,
    )
    return QualityBench(
        name="glm-q8",
        measured="bench-glm-q8",
        suite="humaneval",
        found=found,
        header=HEADER,
        folder=Path("search_logs/bench-glm-q8/quality/20260101-000000"),
        answers=answers,
    )


HALF = bench(Grade.PASSED, Grade.BASE_ONLY, Grade.TRUNCATED, Grade.FAILED, is_plus=True)
NOT = QualityBench(
    name="oss",
    measured="oss",
    suite="humaneval",
    reason="llama-server of oss does not run",
    exit_code=4,
)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was printed."""
    return lambda: capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 200])
def test_the_table_fits_and_says_how_sure_it_is(
    monkeypatch: pytest.MonkeyPatch, said: Callable[[], str], columns: int
) -> None:
    """Score and interval, base tests alone, and a row for what was not measured."""
    monkeypatch.setenv("COLUMNS", str(columns))

    qualities.table([HALF, NOT], as_json=False)

    text = said()
    assert max(map(len, text.splitlines())) <= columns
    assert "25.0 %" in text
    assert "4.6-69.9" in text
    assert "50.0 %" in text
    assert "oss           not measured" in text
    assert ("1,536 MiB" in text) is (columns > 100)
    assert qualities.EMULATED in text


def test_what_was_cut_off_is_said_with_what_to_do(said: Callable[[], str]) -> None:
    """One of four answers is no small part."""
    qualities.QualityView(Console(width=200), quiet=False).done(HALF)

    text = said()
    assert "pass@1 25.0 % (4.6 to 69.9 %) of 4 problems" in text
    assert "1 passed, 1 base-only, 1 failed, 1 truncated" in text
    assert "--max-tokens" in text
    whole = replace(HALF, found=bench(*[Grade.PASSED] * 20).found)
    qualities.QualityView(Console(width=200), quiet=False).done(whole)
    assert "--max-tokens" not in said()


def test_without_a_terminal_each_grade_is_a_line(said: Callable[[], str]) -> None:
    """A log shows what became of each problem, and nothing moves."""
    view = qualities.QualityView(Console(width=80), quiet=False)
    suite = load_suite("humaneval", limit=2)
    begun = Begun(
        name="glm",
        suite=suite,
        total=2,
        known=1,
        placed="planned for it",
        notes=("So.",),
    )
    graded = Graded(problem="HumanEval/1", sample=0, grade=Grade.FAILED, detail="why")

    view.tell(begun)
    view.tell(
        Progress(
            graded=graded,
            done=2,
            total=2,
            passed=1,
            truncated=0,
            tokens_per_s=9,
            left_s=0,
        )
    )

    assert said().splitlines() == [
        "glm",
        "HumanEval, 2 problems, 2 answers; placement planned for it",
        "1 of 2 answers are on record already",
        "So.",
        "     2 of 2  HumanEval/1 failed  why",
    ]


def test_on_a_terminal_passes_are_counted_and_not_listed() -> None:
    """What is left, how fast it goes and how much passed is one line."""
    progress = Progress(
        graded=Graded(problem="T/0", sample=0, grade=Grade.PASSED),
        done=3,
        total=10,
        passed=2,
        truncated=1,
        tokens_per_s=12.34,
        left_s=70.0,
    )

    text = qualities._progress(progress)

    assert text == "3 of 10, 2 passed, 1 cut off, 12.3 tokens/s, 1 min left"


def test_json_has_each_answer(said: Callable[[], str]) -> None:
    """With its grade, and why it did not pass."""
    qualities.table([HALF, NOT], as_json=True)

    first, second = json.loads(said())["profiles"]
    assert first["base"][0]["mean"] == 0.5
    assert first["answers"][1] == {
        "problem": "HumanEval/1",
        "sample": 0,
        "grade": "base-only",
        "detail": "why",
        "tokens": 10,
    }
    assert (second["exit_code"], second["answers"]) == (4, [])


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (("-k", "5"), "--samples 5"),
        (("--samples", "2"), "--temp"),
        (("--suite", "other"), "humaneval"),
        (("--only", "999"), "no problem"),
        (("--resume",), "leave out --resume"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anything_runs(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    argv: tuple[str, ...],
    words: str,
) -> None:
    """Exit code 2 and what to do, in a line."""
    conf = tmp_path / "models.conf"
    conf.write_text("[glm]\nMODEL=glm.gguf\n")
    where = ("--conf", str(conf), "--logs", str(tmp_path))

    code = run(["bench", "quality", "glm", *where, *argv])

    assert code == 2
    assert words in capsys.readouterr().err


def test_a_reference_is_kept_and_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its source, and not without."""
    asked = ["bench", "reference", "cloud", "--suite", "humaneval+", "--score", "87.2"]
    logs = ["--logs", str(tmp_path)]
    source = ["--source", "https://example.org/board", "--day", "2026-01-31"]

    assert run([*asked, *logs]) == 2
    assert "--source" in capsys.readouterr().err
    assert run([*asked, *source, *logs, "--quiet"]) == 0
    assert run(["bench", "reference", "--list", *logs]) == 0
    assert capsys.readouterr().out == (
        "cloud: humaneval+ pass@1 87.2 %, https://example.org/board, 2026-01-31\n"
    )
