"""The proved answer, measured beside ``--fit`` and beside one GPU in the same run."""

from __future__ import annotations

import time
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Protocol

from placer.app.planned import best_alone, planner_of
from placer.engine.loadtest import PATIENCE_S
from placer.errors import MachineError
from placer.measure import Contender, Method, Rounds
from placer.measure.compare import standing_record
from placer.measure.rounds import launch_budget_s
from placer.placement import placement_args
from placer.plan import Goal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from placer.app.desk import Desk
    from placer.engine.process import Runner
    from placer.measure import Measurement, Standing, Turn
    from placer.measure.events import Event
    from placer.measure.rounds import OnDepth
    from placer.placement import Placement

ANSWER, FIT, ONE_GPU = "placer", "--fit", "one GPU"
BUDGET_S = 900.0


class Record(Protocol):
    """Where a contest is kept: the journal of a search."""

    def append(self, kind: str, record: Mapping[str, Any]) -> None:
        """Write one record and see it on disk."""

    def log_path(self, name: str) -> Path:
        """Where an engine's output goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A placement that was seen to fit.

    Attributes:
        args: of its launch, without ``--fit`` and verbosity.
        placement: what they place.
        prompt_tokens_per_s: what it was seen to read; None to go by the speed model.
    """

    args: tuple[str, ...]
    placement: Placement
    prompt_tokens_per_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ContestOptions:
    """How a contest is held.

    Attributes:
        goal: what decides.
        budget_s: that it may take; see ``Rounds``.
        margins_bytes: what ``--fit`` and one GPU are to leave free of each device.
        seed: of the order in each round.
        patience_s: seconds without a sign after which a launch counts as stalled.
    """

    goal: Goal = Goal.DECODE
    budget_s: float = BUDGET_S
    margins_bytes: tuple[int, ...]
    seed: int = 0
    patience_s: float = PATIENCE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """Who was to be measured.

    Attributes:
        contender: how it is launched.
        placement: of its flags; for ``--fit`` what it says that it would do. None
            where it does not say.
        absent: why it was not launched; None where it was.
    """

    contender: Contender
    placement: Placement | None
    absent: str | None = None

    @property
    def name(self) -> str:
        """What it is called."""
        return self.contender.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """A contest that has ended.

    Attributes:
        goal: what decided.
        entrants: the answer first.
        standing: who is faster, and by how much.
        seconds: that it took.
    """

    goal: Goal
    entrants: tuple[Entrant, ...]
    standing: Standing
    seconds: float


def contest(
    desk: Desk,
    answer: Answer,
    options: ContestOptions,
    record: Record,
    on_event: Callable[[Event], None],
) -> Contest:
    """Measure the answer and its rivals in turn, and say who is faster.

    Args:
        desk: the target on the machine that is here.
        answer: what was found.
        options: how it is held.
        record: keeps every depth of every launch as soon as it is measured.
        on_event: told of all that happens.

    Raises:
        MachineError: there is no engine.
        JournalError: the record cannot be written.
    """
    if desk.runner is None:
        raise MachineError("there is no engine to measure", hint="leave --devices")
    started_s = time.monotonic()
    entrants = _entrants(desk, answer, options)
    rounds = _rounds(desk, desk.runner, answer, entrants, options, record, on_event)
    record.append("contest", _header(entrants, rounds, options))
    ended = "interrupted"
    try:
        standing = rounds.run()
        ended = "clear" if standing.is_clear else "open"
    finally:
        record.append("contested", {"ended": ended, **standing_record(rounds.standing)})
    return Contest(
        goal=options.goal,
        entrants=entrants,
        standing=standing,
        seconds=time.monotonic() - started_s,
    )


def _rounds(
    desk: Desk,
    runner: Runner,
    answer: Answer,
    entrants: tuple[Entrant, ...],
    options: ContestOptions,
    record: Record,
    on_event: Callable[[Event], None],
) -> Rounds:
    target = desk.target
    contenders = tuple(e.contender for e in entrants if e.absent is None)
    read_per_s = answer.prompt_tokens_per_s or desk.speed(answer.placement).prefill.low
    method = Method(
        runner=runner,
        shape=target.shape,
        workload=target.workload,
        budget_s=launch_budget_s(options.budget_s, len(contenders)),
        read_per_s=read_per_s,
        patience_s=options.patience_s,
    )

    def measure(turn: Turn, on_depth: OnDepth) -> Measurement:
        name = turn.contender.name.strip("-").replace(" ", "-")
        log = record.log_path(f"contest-{turn.round}-{name}")
        return method.measure(turn, log_path=log, on_depth=on_depth)

    return Rounds(
        contenders=contenders,
        depths=method.depths,
        worth=options.goal.worth,
        budget_s=options.budget_s,
        measure=measure,
        random=Random(options.seed),  # noqa: S311 - an order, no secret
        append=record.append,
        on_event=on_event,
    )


def _entrants(
    desk: Desk, answer: Answer, options: ContestOptions
) -> tuple[Entrant, ...]:
    """The answer, ``--fit``, and one GPU where there are several."""
    own = Entrant(
        contender=Contender(name=ANSWER, args=answer.args), placement=answer.placement
    )
    found = [own, _fit(desk, answer, options)]
    if len(desk.machine.devices) > 1:
        found.append(_one_gpu(desk, answer, options))
    return tuple(found)


def _fit(desk: Desk, answer: Answer, options: ContestOptions) -> Entrant:
    """What ``--fit`` makes of the same request, leaving free what a plan does."""
    devices = desk.machine.devices
    margins = tuple(
        margin + device.overhead_bytes
        for margin, device in zip(options.margins_bytes, devices, strict=True)
    )
    said = desk.fit(options.margins_bytes)
    placement = None if said is None else said.placement
    contender = Contender(
        name=FIT,
        args=(*_asked_args(desk), *desk.machine.device_args),
        fit_margins_bytes=margins,
    )
    return _entrant(contender, placement, answer)


def _one_gpu(desk: Desk, answer: Answer, options: ContestOptions) -> Entrant:
    """The best that one device alone can do, by the speed model."""
    planner = planner_of(desk, options.margins_bytes)
    choice = best_alone(desk, planner, options.goal)
    if choice is None:
        contender = Contender(name=ONE_GPU, args=())
        why = "nothing fits so, by formula"
        return Entrant(contender=contender, placement=None, absent=why)
    placement = choice.placement
    flags = placement_args(placement, desk.target.shape, desk.machine)
    contender = Contender(name=ONE_GPU, args=(*_asked_args(desk), *flags))
    return _entrant(contender, placement, answer)


def _entrant(
    contender: Contender, placement: Placement | None, answer: Answer
) -> Entrant:
    """Not launched where it would be the answer over again."""
    absent = "the same placement" if placement == answer.placement else None
    return Entrant(contender=contender, placement=placement, absent=absent)


def _asked_args(desk: Desk) -> tuple[str, ...]:
    """The flags of a launch without those of a placement."""
    target = desk.target
    return ("-m", str(target.file.path), *target.workload.args(), *target.extra_args)


def _header(
    entrants: tuple[Entrant, ...], rounds: Rounds, options: ContestOptions
) -> dict[str, Any]:
    """What is measured, and how: the first record of a contest."""
    return {
        "goal": options.goal.value,
        "budget_s": options.budget_s,
        "seed": options.seed,
        "depths": list(rounds.depths),
        "contenders": [entrant_record(entrant) for entrant in entrants],
    }


def entrant_record(entrant: Entrant) -> dict[str, Any]:
    """Who it is, as the journal and ``--json`` have it."""
    placement = entrant.placement
    return {
        "name": entrant.name,
        "args": list(entrant.contender.launch_args),
        "split": None if placement is None else list(placement.split),
        "exceptions": None if placement is None else len(placement.exceptions),
        "absent": entrant.absent,
    }
