"""Whole sweeps, simulated: no false alarms, and what is planted is found."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from placer.experiment.design import Factor
from placer.experiment.measures import Kind, Measure, Run, UnitOfAnalysis
from placer.experiment.verdict import Contrast, Verdict, contrasts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Simulate = Callable[..., Any]

TEMP = Factor(name="temp", values=("0.6", "0.8", "1.0"), base="0.6", restarts=False)
CTK = Factor(name="ctk", values=("f16", "q8_0"), base="f16", restarts=True)
UB = Factor(name="ub", values=("256", "512", "1024"), base="512", restarts=True)
SPEED = Measure(name="tokens/s", unit="tokens/s", higher_is_better=True, kind=Kind.RATE)
PASSES = Measure(
    name="pass@1",
    unit="",
    higher_is_better=True,
    kind=Kind.SHARE,
    unit_of_analysis=UnitOfAnalysis.PROBLEM,
)
CLAIMS = (Verdict.BETTER, Verdict.WORSE)
SWEEPS = 300


def at_most(share: float, of: int) -> float:
    """How many come up of a share, and what chance adds to it once in a hundred."""
    return share * of + 2.326 * math.sqrt(share * (1 - share) * of)


def swept(
    simulate: Simulate, measures: tuple[Measure, ...], n: int, **asked: Any
) -> Iterator[tuple[list[Run], tuple[Contrast, ...]]]:
    """So many sweeps with their contrasts."""
    for seed in range(n):
        simulated = simulate(seed=seed, **asked)
        runs = simulated.runs()
        yield runs, contrasts(runs, simulated.factors, measures)


def test_no_effect_is_none(simulate: Simulate) -> None:
    """In 95 of 100 sweeps nothing at all is claimed, by any level or measure."""
    alarms = 0
    asked = {"factors": (TEMP, CTK), "repeats": 3, "problems": 40}
    for _, found in swept(simulate, (SPEED, PASSES), SWEEPS, **asked):
        assert len(found) == 6
        alarms += any(one.verdict in CLAIMS for one in found)
    assert alarms <= at_most(0.05, SWEEPS)


def as_if_cells_were_repeats(runs: list[Run]) -> list[Run]:
    """What cells of one launch are taken for where nobody looks."""
    numbers = {temp: n for n, temp in enumerate(TEMP.values)}
    return [
        replace(one, repeat=10 * one.repeat + numbers[one.cell["temp"]]) for one in runs
    ]


def test_a_launch_is_no_effect(simulate: Simulate) -> None:
    """Launches that differ by 20 % are not taken for a KV type or a temperature.

    They would be, if cells of one launch were counted one by one.
    """
    alarms, careless = 0, 0
    asked = {"factors": (TEMP, CTK), "repeats": 3, "launches": 0.2}
    for runs, found in swept(simulate, (SPEED,), SWEEPS, **asked):
        alarms += any(one.verdict in CLAIMS for one in found)
        wrong = contrasts(as_if_cells_were_repeats(runs), (TEMP, CTK), (SPEED,))
        careless += wrong[-1].verdict in CLAIMS
    assert alarms <= at_most(0.05, SWEEPS)
    assert careless > 0.2 * SWEEPS


def test_eight_per_cent_of_speed_are_found(simulate: Simulate) -> None:
    """By five launches of each that differ by 2 %, in 90 of 100 sweeps."""
    n, right, held = 200, 0, 0
    asked = {"factors": (UB,), "repeats": 5, "faster": {"1024": 0.08}}
    for _, found in swept(simulate, (SPEED,), n, **asked):
        slower, faster = found
        right += faster.verdict is Verdict.BETTER
        held += slower.low <= 0 <= slower.high and faster.low <= 0.08 <= faster.high
    assert right >= 0.9 * n
    assert n - held <= at_most(0.05, n)


@pytest.mark.parametrize("level", ["0.8", "q8_0"])
def test_fifteen_points_of_pass_at_1_are_found(simulate: Simulate, level: str) -> None:
    """By 164 problems of one answer in one repeat, for either sort of factor."""
    n, right, held = 60, 0, 0
    asked = {"factors": (TEMP, CTK), "problems": 164, "righter": {level: 0.15}}
    for _, found in swept(simulate, (SPEED, PASSES), n, repeats=1, **asked):
        passes = {one.level: one for one in found if one.measure is PASSES}
        right += passes.pop(level).verdict is Verdict.BETTER
        held += all(one.low <= 0 <= one.high for one in passes.values())
    assert right >= 0.9 * n
    assert n - held <= at_most(0.05, n)
