"""What a smoke test saw of each launch, on disk and back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from placer.search.journal import FILE_NAME, read_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from placer.engine.predictions import Prediction

# One folder deeper than searches: what looks for searches does not see it.
FOLDER, KIND = "smoke", "smoke"
DAMAGED = "move the damaged file away; placer verify --suite smoke makes another"
# What has to be the same for one to be held to the other, and how it is called.
WORDS = {
    "workload": "context, batch or cache type",
    "placement": "placement",
    "emulated": "set of devices",
    "n_prompt": "question",
    "n_gen": "question",
}
DIGITS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """To one problem.

    Attributes:
        text: all that was said, reasoning first.
        grade: in one word; None where it was not run.
    """

    text: str
    grade: str | None = None

    @property
    def is_passed(self) -> bool | None:
        """None where nobody knows."""
        return None if self.grade is None else self.grade == "passed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one launch showed.

    Attributes:
        memory_bytes: that each device held; None for what nobody says.
        source: ``"peak"`` where that was seen, ``"buffers"`` by the engine's log.
        prompt_tokens_per_s: of each request.
        decode_tokens_per_s: likewise.
        expected: what is expected next, place by place; None where it does not say.
        answers: by problem.
    """

    memory_bytes: tuple[int | None, ...]
    source: str
    prompt_tokens_per_s: tuple[float, ...]
    decode_tokens_per_s: tuple[float, ...]
    expected: tuple[Prediction, ...] | None = None
    answers: Mapping[str, Answer] = field(default_factory=dict)

    def rate(self, name: str) -> float | None:
        """The best of a rate's requests, since noise only ever slows; None for none."""
        return max(getattr(self, name), default=None)

    def record(self) -> dict[str, Any]:
        """A line of the journal; answers have lines of their own."""
        said = self.expected
        return {
            "memory_bytes": list(self.memory_bytes),
            "source": self.source,
            "prompt_tokens_per_s": [round(r, 3) for r in self.prompt_tokens_per_s],
            "decode_tokens_per_s": [round(r, 3) for r in self.decode_tokens_per_s],
            "expected": None if said is None else [_place(one) for one in said],
        }


def _place(said: Prediction) -> list[list[float]]:
    return [[token, round(logprob, DIGITS)] for token, logprob in said.items()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """A smoke test that came to its end.

    Attributes:
        folder: of its record.
        header: what was launched, on what, and what was asked.
        look: what its launches showed together.
    """

    folder: Path
    header: Mapping[str, Any]
    look: Look


def newest_past(parent: Path, header: Mapping[str, Any]) -> tuple[Past | None, str]:
    """The newest that may be compared, and why there is none.

    One that found something worse is no record, unless that was accepted.

    Raises:
        JournalError: a record is damaged.
    """
    why = "no smoke test of it is on record"
    for path in sorted(parent.glob(f"*/{FILE_NAME}"), reverse=True):
        records = read_records(path, what="record of a smoke test", hint=DAMAGED)
        if not is_record(records):
            continue
        other = otherness(records[0], header)
        if other is None:
            look = look_of(records)
            return Past(folder=path.parent, header=records[0], look=look), ""
        if why.startswith("no "):
            why = f"the newest smoke test, {path.parent.name}, was of another {other}"
    return None, why


def is_record(records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether it is of one engine, whole, and not worse than what it was held to."""
    if not records or records[0]["kind"] != KIND or records[0]["is_pair"]:
        return False
    end = records[-1]
    if end["kind"] != "end" or end["stopped"] is not None:
        return False
    return bool(end["accepted"] or end["status"] != "worse")


def otherness(then: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """In what a record is of something else; None in nothing."""
    names = [
        [(device["name"], device["description"]) for device in header["devices"]]
        for header in (then, now)
    ]
    if names[0] != names[1]:
        return "set of devices"
    if then["model"]["fingerprint"] != now["model"]["fingerprint"]:
        return "model"
    return next((what for n, what in WORDS.items() if then[n] != now[n]), None)


def look_of(records: Sequence[Mapping[str, Any]]) -> Look:
    """What its launches showed together."""
    seen = [_look(one) for one in records if one["kind"] == "seen"]
    grades = {r["problem"]: r["grade"] for r in records if r["kind"] == "graded"}
    answers = {
        r["problem"]: Answer(text=said(r), grade=grades.get(r["problem"]))
        for r in records
        if r["kind"] == "answer"
    }
    return together(seen, answers)


def said(record: Mapping[str, Any]) -> str:
    """All of an answer, reasoning first."""
    return f"{record['reasoning']}{record['text']}"


def together(seen: Sequence[Look], answers: Mapping[str, Answer]) -> Look:
    """Launches of the same, as one with all their requests."""
    rates = {
        name: tuple(rate for look in seen for rate in getattr(look, name))
        for name in ("prompt_tokens_per_s", "decode_tokens_per_s")
    }
    first = seen[0]
    return Look(
        memory_bytes=first.memory_bytes,
        source=first.source,
        expected=first.expected,
        answers=answers,
        **rates,
    )


def _look(record: Mapping[str, Any]) -> Look:
    told = record["expected"]
    return Look(
        memory_bytes=tuple(record["memory_bytes"]),
        source=record["source"],
        prompt_tokens_per_s=tuple(record["prompt_tokens_per_s"]),
        decode_tokens_per_s=tuple(record["decode_tokens_per_s"]),
        expected=None if told is None else tuple(_predictions(told)),
    )


def _predictions(told: Sequence[Sequence[Sequence[float]]]) -> Iterator[Prediction]:
    for place in told:
        yield {int(token): logprob for token, logprob in place}
