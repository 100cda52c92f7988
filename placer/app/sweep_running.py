"""A sweep under way: each launch and each run on disk before the next."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

from placer.app.sweep_measures import PPL, Needs
from placer.app.sweep_records import key_of
from placer.app.testbed import NotMeasuredError
from placer.errors import InputError, SearchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from contextlib import AbstractContextManager

    from placer.app.sweep_records import Figures, Past
    from placer.engine.predictions import Prediction
    from placer.experiment.design import Cell, Launch, Turn
    from placer.search.journal import Journal

# A request may fail without a fault of the cell's.
ATTEMPTS = 2


class NotRunError(Exception):
    """A server that is up does not do what a cell asks of it; ``str()`` says why."""


class Station(Protocol):
    """A server that is up, to be asked."""

    @property
    def load_s(self) -> float:
        """Seconds that it took to load."""

    @property
    def args(self) -> tuple[str, ...]:
        """All flags of its launch."""

    def run(self, turn: Turn) -> Figures:
        """Measure a cell once.

        Raises:
            NotRunError: it is not done.
            NotMeasuredError: the server fell.
        """

    def expected(self) -> tuple[Prediction, ...] | None:
        """What the model expects of a text; None where it does not say."""


class Bench(Protocol):
    """Where servers are launched."""

    def launched(self, settings: Cell, number: int) -> AbstractContextManager[Station]:
        """A server with these settings, ended with the block.

        Raises:
            NotMeasuredError: it does not come up.
            InputError: the engine would refuse the settings.
            SearchError: nothing fits with them.
        """

    def perplexity(self, settings: Cell, number: int) -> tuple[float, ...]:
        """Of parts of a text, with these settings; no server is up.

        Raises:
            NotRunError: it cannot be had.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """How long things are thought to take, before they were seen."""

    load_s: float
    run_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Launching:
    """A server is being started."""

    number: int
    settings: Cell
    left_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """A cell is being measured."""

    turn: Turn
    left_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A cell was measured."""

    turn: Turn
    figures: Figures
    left_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfit:
    """Settings or a cell that do not run; the rest goes on."""

    settings: Cell
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A measure that cannot be had of settings that run."""

    measure: str
    settings: Cell
    why: str


Event = Launching | Measuring | Ran | Unfit | Missing


@dataclass(slots=True, kw_only=True)
class Outlook:
    """How long it will take, by what was seen; by a forecast before that.

    Attributes:
        launches: that are left.
        runs: that are left.
        forecast: None where nothing is known.
        load_s: of launches so far, from their planning to the first run.
        run_s: of runs so far.
    """

    launches: int = 0
    runs: int = 0
    forecast: Forecast | None = None
    load_s: list[float] = field(default_factory=list)
    run_s: list[float] = field(default_factory=list)

    @property
    def left_s(self) -> float | None:
        """None where nothing is known."""
        load_s, run_s = self._mean(self.load_s, 0), self._mean(self.run_s, 1)
        if load_s is None or run_s is None:
            return None
        return self.launches * load_s + self.runs * run_s

    def _mean(self, seen: Sequence[float], which: int) -> float | None:
        if seen:
            return fmean(seen)
        if self.forecast is None:
            return None
        return (self.forecast.load_s, self.forecast.run_s)[which]


@dataclass(slots=True, kw_only=True)
class Sweeping:
    """Launches and runs, one after the other.

    Attributes:
        bench: where servers are launched.
        journal: everything is written to it first.
        past: what is known.
        needs: what the measures take.
        outlook: how long it will take.
        on_event: told of all that happens.
    """

    bench: Bench
    journal: Journal
    past: Past
    needs: frozenset[Needs]
    outlook: Outlook
    on_event: Callable[[Event], None]
    _began_s: float = field(default=0.0, init=False)

    def expect(self, launches: Sequence[Launch]) -> None:
        """Count what is left of a whole schedule."""
        left = [self._left(one) for one in launches]
        self.outlook.launches = sum(map(bool, left))
        self.outlook.runs = sum(map(len, left))

    def all_of(self, launches: Sequence[Launch]) -> None:
        """What is left of a whole schedule, what turns out unfit left out."""
        for at, launch in enumerate(launches):
            self.expect(launches[at:])
            turns = self._left(launch)
            if turns:
                self.launch(launch.settings, turns)

    def _left(self, launch: Launch) -> list[Turn]:
        return [turn for turn in launch.turns if not self.past.has(turn)]

    def launch(self, settings: Cell, turns: Iterable[Turn]) -> None:
        """One start of the server, and what is asked of it; it may turn out unfit.

        Args:
            settings: of the factors that restart it.
            turns: asked for one after the other, each after the run of the one before.
        """
        number = self.past.launches + 1
        self._write("launching", number=number, settings=dict(settings))
        left_s = self.outlook.left_s
        self.on_event(Launching(number=number, settings=settings, left_s=left_s))
        self.outlook.launches = max(self.outlook.launches - 1, 0)
        self._began_s = time.monotonic()
        try:
            self._launched(settings, number, turns)
            self._perplexity(settings, number)
        except NotRunError as error:
            self._unfit(settings, str(error))
        except (NotMeasuredError, InputError, SearchError) as error:
            # Here the rest goes on: what to do about it is not of interest.
            self._unfit(settings, error.problem)

    def _launched(self, settings: Cell, number: int, turns: Iterable[Turn]) -> None:
        with self.bench.launched(settings, number) as station:
            self._write(
                "launched",
                number=number,
                settings=dict(settings),
                args=list(station.args),
                load_s=round(station.load_s, 3),
            )
            self._expected(settings, number, station)
            self.outlook.load_s.append(time.monotonic() - self._began_s)
            for turn in turns:
                if not self.past.has(turn):
                    self._run(station, number, turn)

    def _run(self, station: Station, number: int, turn: Turn) -> None:
        self.on_event(Measuring(turn=turn, left_s=self.outlook.left_s))
        began_s = time.monotonic()
        self.outlook.runs = max(self.outlook.runs - 1, 0)
        found = self._figures(station, turn)
        if found is None:
            return
        seconds = time.monotonic() - began_s
        self.outlook.run_s.append(seconds)
        self._write(
            "run",
            launch=number,
            repeat=turn.repeat,
            cell=dict(turn.cell),
            figures=dict(found.figures),
            problems={name: dict(one) for name, one in found.problems.items()},
            seconds=round(seconds, 3),
        )
        self.on_event(Ran(turn=turn, figures=found, left_s=self.outlook.left_s))

    def _figures(self, station: Station, turn: Turn) -> Figures | None:
        """Once more where it fails; None where it fails again, which is on record."""
        why = ""
        for _ in range(ATTEMPTS):
            try:
                return station.run(turn)
            except NotRunError as error:
                why = str(error)
        self._unfit(turn.cell, why)
        return None

    def _expected(self, settings: Cell, number: int, station: Station) -> None:
        """Once for all settings of the server: they decide it alone."""
        is_known = key_of(settings) in self.past.expected
        if Needs.PREDICTIONS not in self.needs or is_known:
            return
        said = station.expected()
        if said is not None:
            places = [{str(token): p for token, p in one.items()} for one in said]
            self._write(
                "expected", launch=number, settings=dict(settings), places=places
            )

    def _perplexity(self, settings: Cell, number: int) -> None:
        is_known = key_of(settings) in self.past.parts
        if Needs.PERPLEXITY not in self.needs or is_known:
            return
        parts: tuple[float, ...] = ()
        why = None
        try:
            parts = self.bench.perplexity(settings, number)
        except NotRunError as error:
            why = str(error)
            self.on_event(Missing(measure=PPL, settings=settings, why=why))
        self._write(
            "perplexity",
            launch=number,
            settings=dict(settings),
            parts=list(parts),
            why=why,
        )

    def _unfit(self, settings: Cell, why: str) -> None:
        self._write("unfit", settings=dict(settings), why=why)
        self.on_event(Unfit(settings=settings, why=why))

    def _write(self, kind: str, **record: object) -> None:
        """On disk, and then known."""
        self.journal.append(kind, record)
        self.past.take({"kind": kind, **record})
