"""Servers that are never started, with the effects and the faults a test asks for."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from placer.app.sweep_records import Figures
from placer.app.sweep_running import NotRunError
from placer.errors import SearchError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from placer.engine.predictions import Prediction
    from placer.experiment.design import Cell, Turn


@dataclass(kw_only=True)
class ScriptedBench:
    """A machine that measures what was planted.

    Attributes:
        faster: by what share a value is faster, for those that are not 0.
        righter: chance of a problem to be solved that a value adds.
        bytes_of: bytes that a value holds more.
        unfit: values with which nothing fits.
        refused: values that a server that is up refuses.
        stumbles_at: run before which a request fails once; None for never.
        likeliest: token that is expected with a value, where it is not 0.
        dies_at: runs after which Ctrl-C comes; None for never.
        noise: how much launches differ, and half of that requests.
        seed: of the noise.
    """

    faster: Mapping[str, float] = field(default_factory=dict)
    righter: Mapping[str, float] = field(default_factory=dict)
    bytes_of: Mapping[str, int] = field(default_factory=dict)
    unfit: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    likeliest: Mapping[str, int] = field(default_factory=dict)
    stumbles_at: int | None = None
    dies_at: int | None = None
    noise: float = 0.01
    seed: int = 1
    started: list[Cell] = field(default_factory=list)
    ran: list[tuple[int, Cell]] = field(default_factory=list)
    read: list[Cell] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 - noise
        self._level = 0.0

    @contextmanager
    def launched(self, settings: Cell, number: int) -> Iterator[ScriptedStation]:
        """A start."""
        self.started.append(settings)
        if self.unfit & set(settings.values()):
            raise SearchError("nothing fits", hint="buy memory")
        self._level = self._random.gauss(0, self.noise)
        yield ScriptedStation(bench=self, settings=settings, number=number)

    def perplexity(self, settings: Cell, number: int) -> tuple[float, ...]:
        """Ten parts of a text, worse where another token is expected."""
        del number
        self.read.append(settings)
        worse = any(value in self.likeliest for value in settings.values())
        return tuple(5.0 + n + 0.1 * worse for n in range(10))

    def measured(self, turn: Turn) -> Figures:
        """What was planted, and noise."""
        if self.dies_at is not None and len(self.ran) >= self.dies_at:
            raise KeyboardInterrupt
        values = turn.cell.values()
        if self.refused & set(values):
            raise NotRunError("HTTP 400: no such thing")
        if self.stumbles_at == len(self.ran):
            self.stumbles_at = None
            raise NotRunError("the answer broke off")
        self.ran.append((turn.repeat, turn.cell))
        gain = math.prod(1 + self.faster.get(value, 0.0) for value in values)
        noise = self._level + self._random.gauss(0, self.noise / 2)
        held = 1000 + sum(self.bytes_of.get(value, 0) for value in values)
        right = 0.3 + sum(self.righter.get(value, 0.0) for value in values)
        solved = {
            f"p{n}": float(self._random.random() < right + (n % 5 - 2) / 20)
            for n in range(60)
        }
        return Figures(
            figures={"tokens/s": 20 * math.exp(noise) * gain, "vram": float(held)},
            problems={"pass@1": solved},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptedStation:
    """A server that is up."""

    bench: ScriptedBench
    settings: Cell
    number: int
    load_s: float = 1.0

    @property
    def args(self) -> tuple[str, ...]:
        """Not a flag of an engine."""
        return tuple(f"{k}={v}" for k, v in self.settings.items())

    def run(self, turn: Turn) -> Figures:
        """One run."""
        return self.bench.measured(turn)

    def expected(self) -> tuple[Prediction, ...]:
        """Twenty places; a few of them expect another token."""
        other = max(
            (self.bench.likeliest.get(v, 0) for v in self.settings.values()), default=0
        )
        usual = {0: math.log(0.7), 1: math.log(0.2), 2: math.log(0.1)}
        moved = {0: math.log(0.3), 1: math.log(0.4), 2: math.log(0.3)}
        return tuple(moved if other and n < 12 else usual for n in range(20))
