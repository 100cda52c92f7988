from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from placer.app.quality_record import (
    ANSWER,
    END,
    GRADED,
    KIND,
    RESUMED,
    SAME,
    Answers,
    attempt_record,
    graded_record,
    past_of,
)
from placer.app.quality_score import Quality, quality_of
from placer.errors import InputError
from placer.quality.attempt import Attempt
from placer.quality.grade import Grade, Graded
from placer.search.journal import FILE_NAME, Journal

if TYPE_CHECKING:
    from pathlib import Path

HEADER: dict[str, Any] = dict.fromkeys(SAME, "as ever") | {"started": "now"}


def attempt(problem: str, sample: int = 0, **more: Any) -> Attempt:
    """An answer of ten tokens."""
    told = {"tokens": 10, "decoded_tokens_per_s": 5.0, **more}
    return Attempt(problem=problem, sample=sample, text="x", **told)


def graded(problem: str, grade: Grade, sample: int = 0) -> Graded:
    """A grade."""
    return Graded(problem=problem, sample=sample, grade=grade)


def record(folder: Path, *lines: tuple[str, dict[str, Any]]) -> Path:
    """A record of a bench."""
    with closing(Journal(folder)) as journal:
        journal.append(KIND, HEADER)
        for kind, line in lines:
            journal.append(kind, line)
    return folder


def answered(problem: str, at_s: float) -> tuple[str, dict[str, Any]]:
    """A line of an answer."""
    return ANSWER, attempt_record(attempt(problem), at_s=at_s)


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    """An answer whose grade was lost is there without it."""
    grade = graded("T/0", Grade.BASE_ONLY)
    record(
        tmp_path / "a",
        answered("T/0", 1),
        (GRADED, graded_record(grade)),
        answered("T/1", 2),
    )

    past = past_of(tmp_path, HEADER)

    assert past is not None
    assert past.end is None
    assert past.answers.attempts == {
        ("T/0", 0): attempt("T/0"),
        ("T/1", 0): attempt("T/1"),
    }
    assert past.answers.graded == {("T/0", 0): grade}


def test_time_between_the_parts_of_a_bench_does_not_count(tmp_path: Path) -> None:
    """Each part took until its last answer."""
    record(
        tmp_path / "a",
        answered("T/0", 3),
        answered("T/1", 5),
        (RESUMED, HEADER),
        answered("T/2", 4),
    )

    past = past_of(tmp_path, HEADER)

    assert past is not None
    assert past.seconds == 9


@pytest.mark.parametrize("stopped", [None, "interrupted"])
def test_a_bench_is_whole_when_nothing_stopped_it(
    tmp_path: Path, stopped: str | None
) -> None:
    """An end that somebody made is none."""
    record(tmp_path / "a", answered("T/0", 3), (END, {"stopped": stopped}))

    past = past_of(tmp_path, HEADER)

    assert past is not None
    assert (past.end is None) is (stopped is not None)


def test_the_newest_that_asked_the_same_goes_on(tmp_path: Path) -> None:
    """Another question in between is passed over, as is a torn or damaged record."""
    record(tmp_path / "20260101-000000")
    wanted = record(tmp_path / "20260102-000000")
    other = tmp_path / "20260103-000000"
    with closing(Journal(other)) as journal:
        journal.append(KIND, {**HEADER, "sampling": "hotter"})
    (tmp_path / "20260104-000000").mkdir()
    (tmp_path / "20260104-000000" / FILE_NAME).write_text('{"kind": "qual')
    (tmp_path / "20260105-000000").mkdir()
    (tmp_path / "20260105-000000" / FILE_NAME).write_text("{}\n")

    past = past_of(tmp_path, HEADER)

    assert past is not None
    assert past.folder == wanted


@pytest.mark.parametrize("name", sorted(SAME))
def test_what_was_asked_otherwise_does_not_go_on(tmp_path: Path, name: str) -> None:
    """Answers to two questions are never counted together."""
    record(tmp_path / "a")

    with pytest.raises(InputError, match=SAME[name]):
        past_of(tmp_path, {**HEADER, name: "another"})


def test_nothing_on_record_is_nothing(tmp_path: Path) -> None:
    """Then there is nothing to go on with."""
    assert past_of(tmp_path / "none", HEADER) is None


def answers() -> Answers:
    """Two problems, two answers each."""
    found = Answers()
    for problem, sample, grade in (
        ("T/0", 0, Grade.PASSED),
        ("T/0", 1, Grade.BASE_ONLY),
        ("T/1", 0, Grade.TRUNCATED),
        ("T/1", 1, Grade.FAILED),
    ):
        finish = "length" if grade is Grade.TRUNCATED else "stop"
        found.take(attempt(problem, sample, finish=finish))
        found.take_grade(graded(problem, grade, sample))
    return found


def quality(*, is_plus: bool) -> Quality:
    """What they amount to."""
    return quality_of(
        answers(),
        ks=(1, 2),
        is_plus=is_plus,
        seconds=8.0,
        held_bytes=(1, 2),
        joules=None,
    )


def test_each_problem_counts_the_same() -> None:
    """pass@k is the mean over problems; base tests alone have a score of their own."""
    found = quality(is_plus=True)

    assert [(s.k, s.mean) for s in found.scores] == [(1, 0.25), (2, 0.5)]
    assert [(s.k, s.mean) for s in found.base] == [(1, 0.5), (2, 0.5)]
    assert found.grades == {"passed": 1, "base-only": 1, "failed": 1, "truncated": 1}
    assert quality(is_plus=False).base == ()


def test_answers_that_were_cut_off_are_counted() -> None:
    """One of four is so many that the score says little."""
    found = quality(is_plus=False)

    assert found.truncated == 1
    assert found.is_cut_short
    assert (found.tokens, found.decode_tokens_per_s) == (40, 5.0)


def test_what_was_found_survives_its_record(tmp_path: Path) -> None:
    """A bench that is whole is shown from its record as it was shown at first."""
    found = quality(is_plus=True)
    record(tmp_path / "a", (END, {"stopped": None, **found.record()}))

    past = past_of(tmp_path, HEADER)

    assert past is not None
    assert past.end is not None
    assert Quality.of_record(past.end) == found
