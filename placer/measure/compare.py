"""Measurements -> who is faster, by how much, and how sure that is.

The launch is the unit: requests to one server share its memory, its clocks and whatever
else ran beside it, so they tell how well that launch is known and not how the next will
do. Contenders are compared within rounds. docs/measuring.md says what the figures mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from statistics import fmean, variance
from typing import TYPE_CHECKING, Any

from placer.measure.student import CONFIDENCE, outside, quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from placer.engine.verdict import Verdict
    from placer.measure.measurement import Measurement, Timing
    from placer.plan.goal import Worth

LEAST_ROUNDS, MOST_ROUNDS = 2, 8
# A difference below this is none that a user would notice.
ALIKE = 0.02


class Outcome(Enum):
    """What a comparison with a rival comes to; OPEN may still be anything."""

    FASTER = "faster"
    SLOWER = "slower"
    ALIKE = "alike"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """By what share the answer is faster than a rival: 0.05 is 5 %."""

    low: float
    mid: float
    high: float

    @property
    def widest(self) -> float:
        """The larger of the two ends, either way."""
        return max(abs(self.low), abs(self.high))


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The answer beside a rival.

    Attributes:
        rival: its name.
        margin: with an interval that holds for all rivals and after every round
            together, in 95 of 100 contests.
        confidence: that there is a difference, and of that sign.
        outcome: what it comes to.
    """

    rival: str
    margin: Margin
    confidence: float

    @property
    def outcome(self) -> Outcome:
        """By the interval alone."""
        if self.margin.low > 0:
            return Outcome.FASTER
        if self.margin.high < 0:
            return Outcome.SLOWER
        return Outcome.ALIKE if self.margin.widest <= ALIKE else Outcome.OPEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Tokens per second over all launches.

    Attributes:
        tokens_per_s: the mean of the launches.
        half_width: of its 95 % interval, as a share; None where one launch alone does
            not tell.
    """

    tokens_per_s: float
    half_width: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What a contender does at a depth."""

    contender: str
    depth: int
    prefill: Rate
    decode: Rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where a contest stands.

    Attributes:
        answer: the name of the contender that the others are compared with.
        rounds: that are complete.
        depths: that all contenders were measured at.
        figures: of each contender at each depth.
        comparisons: one for each rival; none before the second round.
        failed: contenders that did not run, with what happened.
    """

    answer: str
    rounds: int
    depths: tuple[int, ...]
    figures: tuple[Figure, ...]
    comparisons: tuple[Comparison, ...]
    failed: Mapping[str, Verdict]

    @property
    def is_clear(self) -> bool:
        """Whether somebody has won, or nothing is open that more rounds could tell."""
        outcomes = [comparison.outcome for comparison in self.comparisons]
        settled = bool(outcomes) and Outcome.OPEN not in outcomes
        return settled or self.winner is not None

    @property
    def winner(self) -> str | None:
        """The answer where it beats all, else the fastest that beats it; or nobody."""
        faster = [c for c in self.comparisons if c.outcome is Outcome.SLOWER]
        if faster:
            return min(faster, key=lambda c: c.margin.mid).rival
        outcomes = {comparison.outcome for comparison in self.comparisons}
        return self.answer if outcomes == {Outcome.FASTER} else None

    @property
    def decisive(self) -> Comparison | None:
        """With the winner, else the nearest that is not beaten, else the nearest."""
        of_winner = [c for c in self.comparisons if c.rival == self.winner]
        unbeaten = [c for c in self.comparisons if c.outcome is not Outcome.FASTER]
        among = of_winner or unbeaten or self.comparisons
        return min(among, key=lambda c: c.margin.mid, default=None)


def standing(
    measurements: Sequence[Measurement], names: Sequence[str], worth: Worth
) -> Standing:
    """Where the contest stands after these launches.

    Args:
        measurements: of all launches so far; a round that is not complete is left out.
        names: of the contenders, the answer first.
        worth: what a second of each kind is worth.
    """
    failed = {
        m.turn.contender.name: m.verdict for m in measurements if m.verdict is not None
    }
    launches = _complete(measurements, [name for name in names if name not in failed])
    everything = [m for row in launches.values() for m in row]
    depths = _common_depths(everything)
    compared = names[0] in launches and bool(depths)
    return Standing(
        answer=names[0],
        rounds=max(map(len, launches.values()), default=0),
        depths=depths,
        figures=_figures(launches, depths),
        comparisons=_compared(launches, depths, worth) if compared else (),
        failed=failed,
    )


def _complete(
    measurements: Sequence[Measurement], names: Sequence[str]
) -> dict[str, list[Measurement]]:
    """The launches of each that runs, of the rounds in which all of them were."""
    by_round: dict[int, dict[str, Measurement]] = {}
    for found in measurements:
        by_round.setdefault(found.turn.round, {})[found.turn.contender.name] = found
    whole = [row for row in by_round.values() if all(name in row for name in names)]
    return {name: [row[name] for row in whole] for name in names if whole}


def _common_depths(launches: Sequence[Measurement]) -> tuple[int, ...]:
    sets = [set(found.timings) for found in launches]
    return tuple(sorted(set.intersection(*sets))) if sets else ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mean:
    """The log of a launch's mean, and the variance that its requests give it."""

    log: float
    variance: float


def _mean(timings: Sequence[Timing], figure_of: Callable[[Timing], float]) -> _Mean:
    figures = [figure_of(timing) for timing in timings]
    mean, n = fmean(figures), len(figures)
    spread = variance(figures) / n / mean**2 if n > 1 else 0.0
    return _Mean(log=math.log(mean), variance=spread)


def _score(found: Measurement, depths: Sequence[int], worth: Worth) -> _Mean:
    """What a launch costs: each depth counts the same."""
    means = [_mean(found.timings[d], lambda t: t.cost_s(worth)) for d in depths]
    return _Mean(
        log=fmean(mean.log for mean in means),
        variance=sum(mean.variance for mean in means) / len(means) ** 2,
    )


def _compared(
    launches: Mapping[str, Sequence[Measurement]],
    depths: Sequence[int],
    worth: Worth,
) -> tuple[Comparison, ...]:
    """The first beside each of the others."""
    scores = {
        name: [_score(found, depths, worth) for found in row]
        for name, row in launches.items()
    }
    answer, *rivals = scores
    n_rounds = len(scores[answer])
    if n_rounds < LEAST_ROUNDS or not rivals:
        return ()
    df = (len(scores) - 1) * (n_rounds - 1)
    # It is looked at after every round, at every rival, and may go wrong each time.
    share = 1 / (len(rivals) * (MOST_ROUNDS - LEAST_ROUNDS + 1))
    t_end = quantile((1 - CONFIDENCE) * share, df)
    common = _common_variance(scores, df)
    found = []
    for rival in rivals:
        pairs = list(zip(scores[answer], scores[rival], strict=True))
        mid = fmean(theirs.log - ours.log for ours, theirs in pairs)
        error = math.sqrt(max(common, _own_variance(pairs)) / n_rounds)
        low, high = mid - t_end * error, mid + t_end * error
        by_chance = outside(abs(mid) / error, df) / share if error else 0.0
        margin = Margin(low=math.expm1(low), mid=math.expm1(mid), high=_expm1(high))
        sure = max(1 - by_chance, 0.0)
        found.append(Comparison(rival=rival, margin=margin, confidence=sure))
    return tuple(found)


def _expm1(x: float) -> float:
    """Two rounds that differ much leave everything open."""
    return math.expm1(min(x, 700.0))


def _common_variance(scores: Mapping[str, Sequence[_Mean]], df: int) -> float:
    """Of the difference of two launches of a round, by all contenders together.

    What is left of each score without its contender's mean and its round's.
    """
    table = [[score.log for score in row] for row in scores.values()]
    rounds = [fmean(column) for column in zip(*table, strict=True)]
    overall = fmean(rounds)
    left = [
        score - fmean(row) - in_round + overall
        for row in table
        for score, in_round in zip(row, rounds, strict=True)
    ]
    return 2 * sum(x * x for x in left) / df


def _own_variance(pairs: Sequence[tuple[_Mean, _Mean]]) -> float:
    """Of the same difference, by these two alone; not less than their requests give."""
    between = variance(theirs.log - ours.log for ours, theirs in pairs)
    within = fmean(ours.variance + theirs.variance for ours, theirs in pairs)
    return max(between, within)


def _figures(
    launches: Mapping[str, Sequence[Measurement]], depths: Sequence[int]
) -> tuple[Figure, ...]:
    found = []
    for depth in depths:
        prefill = _rates(launches, depth, lambda t: t.prefill_tokens_per_s)
        decode = _rates(launches, depth, lambda t: t.decode_tokens_per_s)
        found += [
            Figure(contender=name, depth=depth, prefill=prefill[name], decode=rate)
            for name, rate in decode.items()
        ]
    return tuple(found)


def _rates(
    launches: Mapping[str, Sequence[Measurement]],
    depth: int,
    rate_of: Callable[[Timing], float],
) -> dict[str, Rate]:
    """The rate of each contender; how much launches differ is taken of all of them."""
    logs = {
        name: [_mean(found.timings[depth], rate_of).log for found in row]
        for name, row in launches.items()
    }
    n = min(map(len, logs.values()))
    df = len(logs) * (n - 1)
    half = None
    if df:
        left = sum(variance(row) * (n - 1) for row in logs.values()) / df
        half = math.expm1(quantile(1 - CONFIDENCE, df) * math.sqrt(left / n))
    return {
        name: Rate(tokens_per_s=math.exp(fmean(row)), half_width=half)
        for name, row in logs.items()
    }


def standing_record(found: Standing) -> dict[str, Any]:
    """Where it stands, as the journal and ``--json`` have it."""
    return {
        "rounds": found.rounds,
        "depths": list(found.depths),
        "winner": found.winner,
        "figures": [
            {
                "contender": figure.contender,
                "depth": figure.depth,
                "prefill_tokens_per_s": _rate_record(figure.prefill),
                "decode_tokens_per_s": _rate_record(figure.decode),
            }
            for figure in found.figures
        ],
        "comparisons": [
            {
                "rival": one.rival,
                "outcome": one.outcome.value,
                "faster_by": [
                    round(x, 4)
                    for x in (one.margin.low, one.margin.mid, one.margin.high)
                ],
                "confidence": round(one.confidence, 6),
            }
            for one in found.comparisons
        ],
        "failed": {
            name: {"verdict": verdict.outcome.value, "device": verdict.device}
            for name, verdict in found.failed.items()
        },
    }


def _rate_record(rate: Rate) -> dict[str, float | None]:
    half = rate.half_width
    return {
        "mean": round(rate.tokens_per_s, 3),
        "half_width": None if half is None else round(half * rate.tokens_per_s, 3),
    }
