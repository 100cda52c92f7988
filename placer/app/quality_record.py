"""Benches of quality on record: what was asked, and what one that broke off has."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from placer.errors import InputError, JournalError
from placer.quality.attempt import Attempt
from placer.quality.grade import Grade, Graded
from placer.search.journal import FILE_NAME, read_records

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from placer.quality.rounds import Key

# One folder deeper than searches: what looks for searches does not see it.
FOLDER = KIND = "quality"
ANSWER, GRADED, RESUMED, END = "answer", "graded", "resumed", "end"
# What a bench that goes on must have in common with itself, and what it is called.
SAME = {
    "model": "model",
    "workload": "workload",
    "extra_args": "extra arguments",
    "engine": "engine",
    "emulated": "kind of devices",
    "suite": "--suite",
    "digest": "data of the suite",
    "problems": "choice of problems",
    "samples": "--samples",
    "sampling": "sampling",
    "style": "--style",
    "max_tokens": "--max-tokens",
}


@dataclass(slots=True, kw_only=True)
class Answers:
    """What a bench has so far.

    Attributes:
        attempts: by problem and sample.
        graded: likewise; each has its attempt.
    """

    attempts: dict[Key, Attempt] = field(default_factory=dict)
    graded: dict[Key, Graded] = field(default_factory=dict)

    def take(self, attempt: Attempt) -> None:
        """One more answer."""
        self.attempts[attempt.problem, attempt.sample] = attempt

    def take_grade(self, graded: Graded) -> None:
        """One more grade."""
        self.graded[graded.problem, graded.sample] = graded


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A bench on record.

    Attributes:
        folder: of its record.
        header: its first line.
        answers: that are in it.
        launches: of the server.
        seconds: that it took, the time between its parts left out.
        end: its last line, where it has come to its end.
    """

    folder: Path
    header: Mapping[str, Any]
    answers: Answers
    launches: int
    seconds: float
    end: Mapping[str, Any] | None


def attempt_record(attempt: Attempt, *, at_s: float) -> dict[str, Any]:
    """An answer as the journal has it, and when it came."""
    return {**asdict(attempt), "at_s": at_s}


def graded_record(graded: Graded) -> dict[str, Any]:
    """A grade as the journal has it."""
    return {**asdict(graded), "grade": graded.grade.value}


def past_of(parent: Path, header: Mapping[str, Any]) -> Past | None:
    """The newest bench that asked the same; None where there is none at all.

    Raises:
        InputError: all that are there asked something else; says what of the newest.
    """
    written = json.loads(json.dumps(header))
    differs = None
    for path in sorted(parent.glob(f"*/{FILE_NAME}"), reverse=True):
        past = _read(path)
        if past is None:
            continue
        names = [
            words for key, words in SAME.items() if past.header[key] != written[key]
        ]
        if not names:
            return past
        differs = differs or (past.folder, names[0])
    if differs is not None:
        folder, name = differs
        raise InputError(
            f"has another {name}", path=folder, hint="leave out --resume to start anew"
        )
    return None


def _read(path: Path) -> Past | None:
    """None for a record that has no first line, or is damaged: it can be made again."""
    try:
        records = read_records(path, what="record of a bench", hint="move it away")
        if not records or records[0]["kind"] != KIND:
            return None
        return _past(path.parent, records)
    except (JournalError, KeyError, TypeError, ValueError):
        return None


def _past(folder: Path, records: Sequence[Mapping[str, Any]]) -> Past:
    answers = Answers()
    for record in records:
        if record["kind"] == ANSWER:
            names = Attempt.__slots__
            answers.take(Attempt(**{name: record[name] for name in names}))
        elif record["kind"] == GRADED:
            told = {name: record[name] for name in Graded.__slots__}
            answers.take_grade(Graded(**{**told, "grade": Grade(record["grade"])}))
    last = records[-1]
    is_whole = last["kind"] == END and last["stopped"] is None
    return Past(
        folder=folder,
        header=records[0],
        answers=answers,
        launches=sum(record["kind"] == "launched" for record in records),
        seconds=_seconds(records),
        end=last if is_whole else None,
    )


def _seconds(records: Sequence[Mapping[str, Any]]) -> float:
    """Of each of its parts, until the last answer of it."""
    total = part = 0.0
    for record in records:
        if record["kind"] == RESUMED:
            total, part = total + part, 0.0
        elif record["kind"] == ANSWER:
            part = max(part, record["at_s"])
    return total + part
