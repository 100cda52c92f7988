"""Two looks at a launch, beside each other: what is better, the same or worse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.app.compared import RATES, Figure, Kind, faster, held_figures
from placer.app.verified import Status
from placer.experiment.chance import ALPHA, sign_flip_p
from placer.experiment.design import Factor
from placer.experiment.measures import Kind as MeasureKind
from placer.experiment.measures import Measure, Run
from placer.experiment.verdict import Verdict, contrasts
from placer.tune.quality import quality_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from placer.app.compared import Tolerance
    from placer.app.smoke_record import Look
    from placer.engine.predictions import Prediction
    from placer.experiment.verdict import Contrast

# A share of tokens per second: docs/verify.md says what it rests on.
ALIKE = 0.01
FACTOR, A, B = "server", "A", "B"
KINDS = {Verdict.BETTER: Kind.BETTER, Verdict.WORSE: Kind.WORSE}


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedFigure(Figure):
    """A figure of two engines, launched in turn.

    Attributes:
        change: the second's beside the first's, the mean over the rounds, as a share.
        low: of its interval; None of a single round.
        high: likewise.
    """

    change: float | None
    low: float | None
    high: float | None


def status_of(figures: Sequence[Figure]) -> Status:
    """What figures amount to."""
    kinds = {figure.kind for figure in figures}
    if Kind.WORSE in kinds:
        return Status.WORSE
    return Status.BETTER if Kind.BETTER in kinds else Status.SAME


def held_to(
    old: Look | None,
    new: Look,
    devices: Sequence[str],
    tolerance: Tolerance,
    *,
    is_timed: bool,
) -> tuple[Figure, ...]:
    """A look beside the record of another; alone where there is none.

    Args:
        old: the record.
        new: what is there now.
        devices: their names.
        tolerance: what counts as no difference.
        is_timed: whether speeds of two times may be compared.
    """
    return (
        *memory_figures(old, new, devices, tolerance.memory_bytes),
        *_rates(old, new, tolerance.share if is_timed else None),
        *word_figures(old, new, tolerance.nats),
    )


def memory_figures(
    old: Look | None, new: Look, devices: Sequence[str], slack_bytes: int
) -> Iterator[Figure]:
    """What each device held, where both were told by the same source."""
    is_alike = old is not None and old.source == new.source
    before = (
        old.memory_bytes if old is not None and is_alike else (None,) * len(devices)
    )
    held = zip(before, new.memory_bytes, strict=True)
    yield from held_figures(devices, held, slack_bytes, new.source)


def _rates(old: Look | None, new: Look, share: float | None) -> Iterator[Figure]:
    for name in RATES:
        was, is_now = None if old is None else old.rate(name), new.rate(name)
        kind = None if share is None else faster(was, is_now, share)
        yield Figure(name=name, recorded=was, now=is_now, kind=kind)


def word_figures(
    old: Look | None, new: Look, nats: float, floor: float | None = None
) -> Iterator[Figure]:
    """What it expects and what it answers, beside another's.

    Args:
        old: the one that is taken to be right; None for none.
        new: the other.
        nats: by which something else may be expected.
        floor: how far the first is from itself in another launch; None for not known.
    """
    yield from _expectations(old, new, nats, floor)
    yield from _answers(old, new)


def distance(old: Look, new: Look) -> float | None:
    """Nats by which one expects something else than the other; None if not known."""
    pair = _asked_alike(old.expected, new.expected)
    return None if pair is None else quality_of(("", ""), pair[1], pair[0]).divergence


def _asked_alike(
    old: tuple[Prediction, ...] | None, new: tuple[Prediction, ...] | None
) -> tuple[tuple[Prediction, ...], tuple[Prediction, ...]] | None:
    """Both, where both were asked at the same places."""
    return (old, new) if old and new and len(old) == len(new) else None


def _expectations(
    old: Look | None, new: Look, nats: float, floor: float | None
) -> Iterator[Figure]:
    pair = None if old is None else _asked_alike(old.expected, new.expected)
    if pair is None:
        return
    found = quality_of(("", ""), pair[1], pair[0])
    is_far = found.divergence > nats + (floor or 0.0)
    yield Figure(
        name="divergence_nats",
        recorded=floor,
        now=found.divergence,
        kind=Kind.WORSE if is_far else Kind.SAME,
    )
    yield Figure(name="agreement", recorded=None, now=found.agreement, kind=None)


def _answers(old: Look | None, new: Look) -> Iterator[Figure]:
    """Passes are compared by problem, and only many of them say anything."""
    before = {} if old is None else old.answers
    both = [(before[p], new.answers[p]) for p in new.answers if p in before]
    if both:
        same = sum(was.text == is_now.text for was, is_now in both)
        yield Figure(name="same_answers", recorded=len(both), now=same, kind=None)
    graded = [
        (was.is_passed, is_now.is_passed)
        for was, is_now in both
        if was.is_passed is not None and is_now.is_passed is not None
    ]
    if graded:
        yield Figure(
            name="passed",
            recorded=sum(was for was, _ in graded),
            now=sum(is_now for _, is_now in graded),
            kind=_passes([float(is_now) - float(was) for was, is_now in graded]),
        )
    elif any(one.grade is not None for one in new.answers.values()):
        passed = sum(one.is_passed is True for one in new.answers.values())
        yield Figure(name="passed", recorded=None, now=passed, kind=None)


def _passes(differences: Sequence[float]) -> Kind:
    """Of a handful it takes nearly all to be more than chance."""
    if sign_flip_p(differences) > ALPHA:
        return Kind.SAME
    return Kind.WORSE if sum(differences) < 0 else Kind.BETTER


def side_by_side(
    looks: Sequence[tuple[Look, Look]],
    devices: Sequence[str],
    tolerance: Tolerance,
) -> tuple[Figure, ...]:
    """Two engines, launched in turn.

    Args:
        looks: of each round, A's and B's.
        devices: their names.
        tolerance: of it, the memory counts; speeds have an interval of their own.
    """
    first_a, first_b = looks[0]
    floor = None if len(looks) < 2 else distance(first_a, looks[1][0])
    most_a, most_b = (_most(side) for side in zip(*looks, strict=True))
    return (
        *memory_figures(most_a, most_b, devices, tolerance.memory_bytes),
        *paired_rates(looks),
        *word_figures(first_a, first_b, tolerance.nats, floor),
    )


def _most(looks: Sequence[Look]) -> Look:
    """The launch that held the most, all devices together."""
    return max(looks, key=lambda look: sum(n or 0 for n in look.memory_bytes))


def paired_rates(looks: Sequence[tuple[Look, Look]]) -> Iterator[Figure]:
    """Speeds of two engines, round by round; both are held to 5 % together.

    A difference is claimed where the interval of the mean ratio excludes 1, and is
    more than anybody would notice.
    """
    measures = [_measure(name) for name in RATES]
    runs = [
        Run(
            cell={FACTOR: side},
            launch=2 * number + (side == B),
            repeat=number,
            figures={name: look.rate(name) or 0.0 for name in RATES},
        )
        for number, pair in enumerate(looks, start=1)
        for side, look in zip((A, B), pair, strict=True)
    ]
    factor = Factor(name=FACTOR, values=(A, B), base=A, restarts=True)
    for contrast in contrasts(runs, [factor], measures):
        yield _paired_figure(contrast, looks)


def _measure(name: str) -> Measure:
    return Measure(
        name=name,
        unit="tokens/s",
        higher_is_better=True,
        kind=MeasureKind.RATE,
        alike=ALIKE,
    )


def _paired_figure(found: Contrast, looks: Sequence[tuple[Look, Look]]) -> PairedFigure:
    name = found.measure.name
    sides = [[look.rate(name) for look in side] for side in zip(*looks, strict=True)]
    mean_a, mean_b = (_mean([r for r in side if r is not None]) for side in sides)
    is_known = found.verdict is not Verdict.TOO_FEW
    is_large = is_known and abs(found.difference) > ALIKE
    kind = KINDS.get(found.verdict, Kind.SAME) if is_large else Kind.SAME
    return PairedFigure(
        name=name,
        recorded=mean_a,
        now=mean_b,
        kind=kind if is_known else None,
        change=found.difference if found.units else None,
        low=found.low if is_known else None,
        high=found.high if is_known else None,
    )


def _mean(rates: Sequence[float]) -> float | None:
    return sum(rates) / len(rates) if rates else None
