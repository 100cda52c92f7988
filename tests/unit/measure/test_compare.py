"""Who is faster, on machines of which that is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from placer.engine.verdict import Outcome as Ending
from placer.engine.verdict import Verdict
from placer.measure import Outcome, Standing, standing
from placer.measure.compare import MOST_ROUNDS
from placer.plan import Goal

if TYPE_CHECKING:
    from collections.abc import Callable

WORTH = Goal.DECODE.worth
NAMES = ("placer", "--fit", "one GPU")
EQUAL = dict.fromkeys(NAMES, 1.0)
SIMULATIONS = 1000


def held(simulated: Any, most_rounds: int = MOST_ROUNDS) -> list[Standing]:
    """A contest until it is clear, with where it stood after each round."""
    measurements, seen = [], []
    for number in range(1, most_rounds + 1):
        measurements += simulated.round(number)
        seen.append(standing(measurements, tuple(simulated.speed), WORTH))
        if seen[-1].is_clear:
            break
    return seen


@pytest.mark.parametrize(
    "noise",
    [
        pytest.param(0.03, id="alike"),
        pytest.param(
            {"placer": 0.003, "--fit": 0.003, "one GPU": 0.04}, id="one noisy"
        ),
    ],
)
@pytest.mark.parametrize("requests", [0.002, 0.05])
def test_the_interval_holds_what_is_true(
    simulate: Callable[..., Any], noise: Any, requests: float
) -> None:
    """For all rivals, after every round, in 93 of 100 contests and more."""
    speed = {"placer": 1.05, "--fit": 1.0, "one GPU": 1.03}
    held_all = 0
    for seed in range(SIMULATIONS // 2):
        simulated = simulate(speed, noise, requests=requests, seed=seed)
        ends = [
            one.margin.low <= speed["placer"] / speed[one.rival] - 1 <= one.margin.high
            for found in held(simulated, 4)
            for one in found.comparisons
        ]
        assert len(ends) >= 2
        held_all += all(ends)
    assert held_all >= 0.93 * SIMULATIONS // 2


def test_nobody_wins_where_nobody_is_faster(simulate: Callable[..., Any]) -> None:
    """Though launches differ by more than requests to one of them do."""
    wins = 0
    for seed in range(SIMULATIONS):
        simulated = simulate(EQUAL, 0.03, requests=0.002, seed=seed)
        wins += held(simulated)[-1].winner is not None
    assert wins <= 0.05 * SIMULATIONS


@pytest.mark.parametrize(
    ("fastest", "outcome"), [("placer", Outcome.FASTER), ("--fit", Outcome.SLOWER)]
)
def test_ten_percent_are_found(
    simulate: Callable[..., Any], fastest: str, outcome: Outcome
) -> None:
    """Whoever's they are, within a few rounds, and by about as much as they are."""
    right, rounds = 0, 0
    for seed in range(200):
        speed = {**EQUAL, fastest: 1.1}
        found = held(simulate(speed, 0.01, requests=0.02, seed=seed))[-1]
        right += found.winner == fastest
        rounds += found.rounds
        decisive = found.decisive
        assert decisive is not None
        if found.winner == fastest:
            assert decisive.outcome is outcome
            assert decisive.confidence > 0.95
            assert decisive.margin.low < decisive.margin.mid < decisive.margin.high
            assert 0.02 < abs(decisive.margin.mid) < 0.18
    assert right >= 190
    assert rounds / 200 < 4.5


def test_that_there_is_no_difference_is_found_too(
    simulate: Callable[..., Any],
) -> None:
    """Within two percent, and then the contest is over."""
    found = held(simulate(EQUAL, 0.002, requests=0.002))[-1]
    assert found.rounds < MOST_ROUNDS
    assert found.is_clear
    assert {one.outcome for one in found.comparisons} == {Outcome.ALIKE}
    assert found.winner is None


def test_a_small_difference_may_stay_open(simulate: Callable[..., Any]) -> None:
    """Then nobody has won, and it is not clear."""
    found = held(simulate({**EQUAL, "placer": 1.03}, 0.05, seed=4), 3)[-1]
    assert Outcome.OPEN in {one.outcome for one in found.comparisons}
    assert not found.is_clear
    assert found.winner is None
    assert found.decisive is not None
    assert found.decisive.outcome is Outcome.OPEN


def test_the_answer_wins_only_against_everybody(simulate: Callable[..., Any]) -> None:
    """One that is alike is one that was not beaten, and it is who is told of."""
    speed = {"placer": 1.0, "--fit": 0.7, "one GPU": 1.0}
    found = held(simulate(speed, 0.002, requests=0.002))[-1]
    outcomes = {one.rival: one.outcome for one in found.comparisons}
    assert outcomes == {"--fit": Outcome.FASTER, "one GPU": Outcome.ALIKE}
    assert found.winner is None
    assert found.decisive is not None
    assert found.decisive.rival == "one GPU"


def test_one_round_compares_nobody(simulate: Callable[..., Any]) -> None:
    """Its rates are told, and how sure they are is not."""
    found = held(simulate({**EQUAL, "placer": 2.0}, 0.01), 1)[-1]
    assert found.rounds == 1
    assert found.comparisons == ()
    assert found.winner is None
    assert not found.is_clear
    figure = found.figures[0]
    assert figure.decode.tokens_per_s == pytest.approx(80, rel=0.3)
    assert figure.decode.half_width is None


def test_a_round_that_is_not_complete_does_not_count(
    simulate: Callable[..., Any],
) -> None:
    """What was launched of it before it broke off drifted with nobody."""
    simulated = simulate(EQUAL, 0.01)
    whole = simulated.round(1) + simulated.round(2)
    broken_off = [*whole, *simulated.round(3)[:2]]
    assert standing(broken_off, NAMES, WORTH) == standing(whole, NAMES, WORTH)


def test_who_fails_is_told_and_the_others_go_on(simulate: Callable[..., Any]) -> None:
    """The rounds in which it was still there count for the others all the same."""
    simulated = simulate({**EQUAL, "one GPU": 0.5}, 0.002, requests=0.002)
    measurements = simulated.round(1)
    verdict = Verdict(outcome=Ending.OOM_CONTEXT, device="CUDA0")
    simulated.failing = {"--fit": verdict}
    measurements += simulated.round(2)
    found = standing(measurements, NAMES, WORTH)
    assert found.failed == {"--fit": verdict}
    assert found.rounds == 2
    assert [one.rival for one in found.comparisons] == ["one GPU"]
    assert {figure.contender for figure in found.figures} == {"placer", "one GPU"}


def test_without_the_answer_nobody_is_compared(simulate: Callable[..., Any]) -> None:
    """There is nothing to compare with."""
    verdict = Verdict(outcome=Ending.CRASHED)
    simulated = simulate(EQUAL, 0.01, failing={"placer": verdict})
    found = standing(simulated.round(1) + simulated.round(2), NAMES, WORTH)
    assert found.comparisons == ()
    assert found.failed == {"placer": verdict}


def test_the_goal_says_what_counts(simulate: Callable[..., Any]) -> None:
    """Faster at reading and slower at writing wins for prompts and loses for tokens."""
    from dataclasses import replace

    simulated = simulate({"placer": 1.0, "--fit": 1.0}, 0.001, requests=0.001)
    measurements = []
    for found in [m for number in range(1, 5) for m in simulated.round(number)]:
        factor = 1.5 if found.turn.contender.name == "placer" else 1.0
        timings = {
            depth: tuple(
                replace(
                    timing,
                    prefill_tokens_per_s=timing.prefill_tokens_per_s * factor,
                    decode_tokens_per_s=timing.decode_tokens_per_s / factor,
                )
                for timing in row
            )
            for depth, row in found.timings.items()
        }
        measurements.append(replace(found, timings=timings))
    names = ("placer", "--fit")
    winners = {
        goal: standing(measurements, names, goal.worth).winner
        for goal in (Goal.DECODE, Goal.PREFILL)
    }
    assert winners == {Goal.DECODE: "--fit", Goal.PREFILL: "placer"}


def test_only_depths_that_all_were_measured_at_count(
    simulate: Callable[..., Any],
) -> None:
    """Whoever had no time for one takes it from everybody."""
    from dataclasses import replace

    simulated = simulate(EQUAL, 0.01)
    found = simulated.round(1) + simulated.round(2)
    deep = [replace(m, timings={0: m.timings[0], 999: m.timings[0]}) for m in found]
    assert standing(deep, NAMES, WORTH).depths == (0, 999)
    assert standing([*deep[:-1], found[-1]], NAMES, WORTH).depths == (0,)
