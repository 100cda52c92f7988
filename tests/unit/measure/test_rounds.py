"""Rounds: in which order, how many, and what is left of one that breaks off."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from placer.engine.verdict import Outcome as Ending
from placer.engine.verdict import Verdict
from placer.measure import Contender, Outcome, Rounds
from placer.measure.compare import MOST_ROUNDS
from placer.measure.events import DepthMeasured, LaunchEnded, RoundEnded, RoundStarted
from placer.plan import Goal

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.measure import Measurement, Turn
    from placer.measure.rounds import OnDepth

NAMES = ("placer", "--fit", "one GPU")
EQUAL = dict.fromkeys(NAMES, 1.0)
LAUNCH_S = 10.0


class Held:
    """Rounds on a simulated machine, on which a launch takes ten seconds."""

    def __init__(self, simulated: Any, budget_s: float, **values: Any) -> None:
        self.now_s = 0.0
        self.simulated = simulated
        self.records: list[tuple[str, dict[str, Any]]] = []
        self.events: list[object] = []
        self.turns: list[Turn] = []
        self.break_off_at: int | None = None
        self.rounds = Rounds(
            contenders=tuple(Contender(name=n, args=()) for n in simulated.speed),
            depths=(0, 512, 1024),
            worth=Goal.DECODE.worth,
            budget_s=budget_s,
            measure=self.measure,
            random=Random(values.get("seed", 1)),  # noqa: S311 - an order
            append=lambda kind, record: self.records.append((kind, dict(record))),
            on_event=self.events.append,
            clock=lambda: self.now_s,
        )

    def measure(self, turn: Turn, on_depth: OnDepth) -> Measurement:
        """A launch that may be broken off behind its first depth."""
        self.turns.append(turn)
        if len(self.turns) == self.break_off_at:
            self.simulated.measure(replace(turn, depths=(0,)), on_depth)
            raise KeyboardInterrupt
        self.now_s += LAUNCH_S
        found: Measurement = self.simulated.measure(turn, on_depth)
        return found

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The records of a kind."""
        return [record for found, record in self.records if found == kind]


@pytest.fixture
def noisy(simulate: Callable[..., Any]) -> Any:
    """A machine on which nothing will be clear."""
    return simulate({**EQUAL, "placer": 1.03}, 0.1)


def test_the_order_is_drawn_anew_in_each_round(noisy: Any) -> None:
    """Everybody once a round, everybody in every place, and the order is on record."""
    seen = set()
    for seed in range(5):
        held = Held(noisy, 1200, seed=seed)
        held.rounds.run()
        orders = [tuple(record["order"]) for record in held.of("round")]
        assert all(sorted(order) == sorted(NAMES) for order in orders)
        launched = [turn.contender.name for turn in held.turns]
        assert launched == [name for order in orders for name in order]
        assert [turn.place for turn in held.turns] == [1, 2, 3] * len(orders)
        seen |= set(orders)
    assert len(seen) == 6


def test_no_more_rounds_are_held_than_the_interval_is_made_for(noisy: Any) -> None:
    """However long they might be."""
    held = Held(noisy, 9000)
    assert held.rounds.run().rounds == MOST_ROUNDS


def test_the_order_is_that_of_its_seed(simulate: Callable[..., Any]) -> None:
    """The same again for the same one, another for another."""

    def orders(seed: int) -> list[list[str]]:
        held = Held(simulate({**EQUAL, "placer": 1.03}, 0.1), 300, seed=seed)
        held.rounds.run()
        return [record["order"] for record in held.of("round")]

    assert orders(1) == orders(1)
    assert orders(1) != orders(2)


@pytest.mark.parametrize(("budget_s", "rounds"), [(1, 1), (59, 1), (60, 2), (119, 3)])
def test_no_round_begins_that_would_not_end_in_time(
    noisy: Any, budget_s: float, rounds: int
) -> None:
    """The first does in any case; with one alone nobody is compared."""
    held = Held(noisy, budget_s)
    found = held.rounds.run()
    assert found.rounds == len(held.of("round")) == rounds
    assert held.now_s <= max(budget_s, 30)
    assert bool(found.comparisons) is (rounds > 1)


def test_it_is_over_when_it_is_clear(simulate: Callable[..., Any]) -> None:
    """Long before the budget is spent."""
    held = Held(simulate({**EQUAL, "--fit": 2.0}, 0.005), 9000)
    found = held.rounds.run()
    assert found.winner == "--fit"
    assert found.rounds <= 3


def test_who_fails_is_not_launched_again(simulate: Callable[..., Any]) -> None:
    """It is no error, and the others go on to the end."""
    failing = {"--fit": Verdict(outcome=Ending.OOM_COMPUTE, device="CUDA1")}
    held = Held(simulate({**EQUAL, "one GPU": 0.5}, 0.005, failing=failing), 9000)
    found = held.rounds.run()
    assert [t.contender.name for t in held.turns].count("--fit") == 1
    assert found.winner == "placer"
    assert found.failed["--fit"].outcome is Ending.OOM_COMPUTE
    (told,) = [record for record in held.of("launched") if record["verdict"]]
    assert told["contender"] == "--fit"
    assert told["device"] == "CUDA1"


@pytest.mark.parametrize("failing", [("placer",), ("--fit", "one GPU")])
def test_it_is_over_when_nobody_is_left_to_compare(
    simulate: Callable[..., Any], failing: tuple[str, ...]
) -> None:
    """After the round in which that was seen."""
    verdicts = dict.fromkeys(failing, Verdict(outcome=Ending.CRASHED))
    held = Held(simulate(EQUAL, 0.01, failing=verdicts), 9000)
    found = held.rounds.run()
    assert found.comparisons == ()
    assert len(held.of("round")) == 1
    assert set(found.failed) == set(failing)


def test_what_was_measured_outlives_an_interruption(noisy: Any) -> None:
    """Each depth is kept as soon as it is known, of an unfinished launch too."""
    held = Held(noisy, 9000)
    held.break_off_at = 5
    with pytest.raises(KeyboardInterrupt):
        held.rounds.run()
    assert len(held.of("launched")) == 4
    measured = held.of("measured")
    assert len(measured) == 4 * 3 + 1
    last = held.turns[-1]
    assert measured[-1]["contender"] == last.contender.name
    assert (measured[-1]["round"], measured[-1]["place"]) == (2, 2)
    assert measured[-1]["depth"] == 0
    assert len(measured[-1]["decode_tokens_per_s"]) == 3
    assert held.rounds.standing.rounds == 1


def test_a_depth_that_one_has_no_time_for_is_left_out(noisy: Any) -> None:
    """By all the others too, from then on: it could not be compared."""
    held = Held(noisy, 200)
    whole = noisy.measure

    def measure(turn: Turn, on_depth: OnDepth) -> Measurement:
        held.turns.append(turn)
        held.now_s += LAUNCH_S
        few = turn.depths[:2] if turn.contender.name == "one GPU" else turn.depths
        found: Measurement = whole(replace(turn, depths=few), on_depth)
        return replace(found, turn=turn)

    held.rounds.measure = measure
    found = held.rounds.run()
    assert found.depths == (0, 512)
    assert all(turn.depths == (0, 512) for turn in held.turns[3:])


def test_everything_is_told_while_it_happens(simulate: Callable[..., Any]) -> None:
    """A round, each depth of each launch, each launch, and where it stands."""
    held = Held(simulate({"placer": 1.0, "--fit": 1.0}, 0.1), 45)
    found = held.rounds.run()
    kinds = [type(event) for event in held.events]
    launch = [DepthMeasured] * 3 + [LaunchEnded]
    assert kinds == [RoundStarted, *launch, *launch, RoundEnded] * 2
    end = held.events[-1]
    assert isinstance(end, RoundEnded)
    assert end.standing == found
    assert found.comparisons[0].outcome is Outcome.OPEN
