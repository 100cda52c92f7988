"""Launches that were never launched, as fast as a test says."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

import pytest

from placer.engine.log import LogFacts
from placer.measure import Contender, Measurement, Timing, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from placer.engine.verdict import Verdict

    Simulate = Callable[..., "Simulated"]


@dataclass(kw_only=True)
class Simulated:
    """A machine on which launches have the speed that is asked for, and noise.

    Attributes:
        speed: of each contender, in terms of the same one.
        launches: how much launches of a contender differ, as a share.
        requests: how much requests to one launch differ.
        drift: how much rounds differ, the same for all that is launched in one.
        failing: what becomes of a contender instead.
        seed: of the noise.
    """

    speed: Mapping[str, float]
    launches: Mapping[str, float]
    requests: float = 0.01
    drift: float = 0.05
    failing: Mapping[str, Verdict] = field(default_factory=dict)
    seed: int = 0
    n_requests: int = 3

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 - noise, no secret
        self._drifts: dict[int, float] = {}

    def measure(
        self, turn: Turn, on_depth: Callable[[int, tuple[Timing, ...]], None]
    ) -> Measurement:
        """A launch of whoever's turn it is."""
        name = turn.contender.name
        verdict = self.failing.get(name)
        timings = {}
        if verdict is None:
            noise = self._random.gauss(0, self.launches[name])
            level = math.log(self.speed[name]) + self._drift(turn.round) + noise
            for depth in turn.depths:
                timings[depth] = tuple(
                    self._timing(level) for _ in range(self.n_requests)
                )
                on_depth(depth, timings[depth])
        return Measurement(
            turn=turn,
            timings=timings,
            verdict=verdict,
            facts=LogFacts(),
            load_s=1.0,
            total_s=2.0,
        )

    def _drift(self, number: int) -> float:
        if number not in self._drifts:
            self._drifts[number] = self._random.gauss(0, self.drift)
        return self._drifts[number]

    def _timing(self, level: float) -> Timing:
        """Deeper requests are not slower here: only ratios count."""
        gauss = self._random.gauss
        return Timing(
            read_tokens=512,
            prefill_tokens_per_s=900 * math.exp(level + gauss(0, self.requests)),
            decode_tokens_per_s=40 * math.exp(level + gauss(0, self.requests)),
        )

    def turn(self, name: str, number: int) -> Turn:
        """A launch in a round, at no depth."""
        return Turn(
            contender=Contender(name=name, args=(name,)),
            round=number,
            place=1,
            depths=(0,),
        )

    def round(self, number: int) -> list[Measurement]:
        """Everybody once."""
        return [
            self.measure(self.turn(name, number), lambda *_: None)
            for name in self.speed
        ]


@pytest.fixture(scope="session")
def simulate() -> Simulate:
    """Makes such a machine."""

    def made(
        speed: Mapping[str, float], noise: float | Mapping[str, float], **values: object
    ) -> Simulated:
        launches = dict.fromkeys(speed, noise) if isinstance(noise, float) else noise
        return Simulated(speed=speed, launches=launches, **values)  # type: ignore[arg-type]

    return made
