"""What the answers of a bench amount to."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from placer.experiment.passes import Score, score
from placer.quality.grade import Grade

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from placer.app.quality_record import Answers

# Of all answers: as many cut off say that --max-tokens is too few.
MANY = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What a bench found.

    Attributes:
        scores: pass@k by all tests, for each k.
        base: by the suite's own tests alone, where it has further ones.
        grades: how many answers became what.
        truncated: answers that were cut off.
        tokens: that were written.
        seconds: that it took.
        decode_tokens_per_s: the median of the answers.
        held_bytes: the most that the server held of each device; None for not seen.
        joules: that all devices took; None where one does not tell.
    """

    scores: tuple[Score, ...]
    base: tuple[Score, ...]
    grades: Mapping[str, int]
    truncated: int
    tokens: int
    seconds: float
    decode_tokens_per_s: float | None
    held_bytes: tuple[int, ...] | None = None
    joules: float | None = None

    @property
    def answers(self) -> int:
        """How many there are."""
        return sum(self.grades.values())

    @property
    def passed(self) -> int:
        """How many of them passed."""
        return self.grades.get(Grade.PASSED.value, 0)

    @property
    def is_cut_short(self) -> bool:
        """Whether so many were cut off that the score says little of the model."""
        return self.truncated > MANY * self.answers

    def record(self) -> dict[str, Any]:
        """As the journal and ``--json`` have it."""
        return asdict(self)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Quality:
        """That of a record."""
        told = {name: record[name] for name in cls.__slots__}
        for name in ("scores", "base"):
            told[name] = tuple(Score(**one) for one in record[name])
        held = record["held_bytes"]
        return cls(**{**told, "held_bytes": None if held is None else tuple(held)})


def quality_of(
    answers: Answers,
    *,
    ks: Sequence[int],
    is_plus: bool,
    seconds: float,
    held_bytes: tuple[int, ...] | None,
    joules: float | None,
) -> Quality:
    """What whole answers amount to.

    Args:
        answers: as many to each problem.
        ks: for which pass@k is wanted.
        is_plus: whether there are tests beyond the suite's own.
        seconds: that it took.
        held_bytes: of each device.
        joules: of all devices.
    """
    grades = [one.grade for one in answers.graded.values()]
    attempts = answers.attempts.values()
    rates = [a.decoded_tokens_per_s for a in attempts if a.decoded_tokens_per_s]
    of_base = {Grade.PASSED, Grade.BASE_ONLY}
    return Quality(
        scores=_scores(answers, ks, {Grade.PASSED}),
        base=_scores(answers, ks, of_base) if is_plus else (),
        grades={g.value: grades.count(g) for g in Grade if g in grades},
        truncated=sum(a.is_truncated for a in attempts),
        tokens=sum(a.tokens for a in attempts),
        seconds=seconds,
        decode_tokens_per_s=median(rates) if rates else None,
        held_bytes=held_bytes,
        joules=joules,
    )


def _scores(
    answers: Answers, ks: Sequence[int], right: set[Grade]
) -> tuple[Score, ...]:
    table: dict[str, list[bool]] = {}
    for (problem, _), graded in sorted(answers.graded.items()):
        table.setdefault(problem, []).append(graded.grade in right)
    counts = [(len(one), sum(one)) for one in table.values()]
    return tuple(score(counts, k) for k in ks)
