"""Sweeps that were never run, with the effects and the noise that a test asks for."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from placer.experiment.design import schedule
from placer.experiment.measures import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from placer.experiment.design import Cell, Factor


@dataclass(kw_only=True)
class Simulated:
    """A machine and a model on which a sweep is run.

    Attributes:
        factors: what is varied.
        repeats: how often.
        faster: by what share a value is faster, for those that are not 0.
        righter: by what share of all answers more are right.
        launches: how much launches differ in speed, as a share.
        requests: how much cells of a launch differ in it.
        problems: how many there are, each of its own difficulty; a cell answers each
            once.
        seed: of everything.
    """

    factors: Sequence[Factor]
    repeats: int
    faster: Mapping[str, float] = field(default_factory=dict)
    righter: Mapping[str, float] = field(default_factory=dict)
    launches: float = 0.02
    requests: float = 0.005
    problems: int = 0
    seed: int = 0

    def runs(self) -> list[Run]:
        """All of the sweep, in the order of its schedule."""
        noise = np.random.default_rng(self.seed)
        self._ease = 0.1 + 0.65 * noise.random(self.problems)
        drift: dict[int, float] = defaultdict(lambda: noise.normal(0, 0.05))
        order = Random(self.seed)  # noqa: S311 - an order
        found = []
        for launch in schedule(self.factors, self.repeats, order):
            whole = noise.normal(0, self.launches)
            for turn in launch.turns:
                level = whole + drift[turn.repeat] + noise.normal(0, self.requests)
                speed = (
                    20 * math.exp(level) * (1 + self._effect(turn.cell, self.faster))
                )
                right = self._ease + self._effect(turn.cell, self.righter)
                passed = noise.binomial(1, right)
                found.append(
                    Run(
                        cell=turn.cell,
                        launch=launch.number,
                        repeat=turn.repeat,
                        figures={"tokens/s": speed},
                        problems={"pass@1": dict(enumerated(passed))},
                    )
                )
        return found

    @staticmethod
    def _effect(cell: Cell, effects: Mapping[str, float]) -> float:
        return sum(effects.get(value, 0.0) for value in cell.values())


def enumerated(passed: np.ndarray) -> list[tuple[str, float]]:
    """With the name of each problem."""
    return [(f"HumanEval/{i}", float(one)) for i, one in enumerate(passed)]


@pytest.fixture(scope="session")
def simulate() -> Callable[..., Simulated]:
    """A sweep of a machine."""
    return Simulated


@pytest.fixture(scope="session")
def seeded() -> Callable[[int], Random]:
    """The same draws for the same seed."""
    return Random
