"""Two engines on the same profile, launched in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random
from secrets import randbits
from typing import TYPE_CHECKING, Any

from placer.app.smoke import (
    Build,
    Smoke,
    as_it_stands,
    header_of,
    not_smoked,
    notes_of,
    recorded_run,
)
from placer.app.smoke_asking import Asker, Launch
from placer.app.smoke_compared import A, B, side_by_side, status_of
from placer.app.smoke_question import Question, SmokeOptions, question_of
from placer.app.smoke_record import FOLDER
from placer.app.study import new_folder
from placer.app.target import Asked, resolve
from placer.app.testbed import NotMeasuredError, open_testbed
from placer.app.verified import Status
from placer.engine.binary import Engine, find_binary, identify, list_devices
from placer.engine.process import LocalRunner
from placer.errors import (
    InputError,
    InterruptedSearchError,
    JournalError,
    MachineError,
    PlacerError,
    SearchError,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.app.rig import Rig
    from placer.app.smoke_record import Look
    from placer.app.testbed import Testbed
    from placer.app.where import Where
    from placer.search.journal import Journal

EMULATED = "on emulated devices: a difference is real, its size means nothing"


def smoke_pair(
    name: str,
    servers: tuple[Path, Path],
    where: Where,
    options: SmokeOptions | None = None,
    on_step: Callable[[str], None] = lambda _: None,
) -> Smoke:
    """One profile under two engines, in random order in each round.

    What keeps A from being launched is a reason, not an error; an engine B that does
    not come up where A does has regressed.

    Args:
        name: the profile.
        servers: A, which is taken to be right, and B.
        where: devices, files.
        options: how much is asked.
        on_step: told what is being done.

    Raises:
        JournalError: it cannot be recorded.
        InterruptedSearchError: Ctrl-C.
    """
    asked = options or SmokeOptions()
    try:
        target = resolve(name, where.folders, Asked())
        under_a = replace(where, server=servers[0])
        with open_testbed(target, under_a, what=f"placer verify {name}") as opened:
            bed = as_it_stands(opened)
            beds = {A: bed, B: replace(bed, rig=rig_with(bed.rig, servers[1]))}
            question = question_of(bed.target, asked)
            pair = _Pair(
                beds=beds,
                question=question,
                options=asked,
                seed=randbits(32) if asked.seed is None else asked.seed,
                on_step=on_step,
            )
            return pair.run(new_folder(where.logs / name / FOLDER))
    except (JournalError, InterruptedSearchError):
        raise
    except PlacerError as error:
        return not_smoked(name, error)


def rig_with(rig: Rig, server: Path) -> Rig:
    """The same devices under another engine.

    Raises:
        InputError: the first is an image's.
        MachineError: it does not work, or does not list them.
    """
    if not isinstance(rig.engine, Engine):
        raise InputError(
            "two servers are compared as programs of this machine",
            hint="leave --docker and PLACER_DOCKER_IMAGE",
        )
    engine = replace(rig.engine, binary=find_binary(server))
    engine = replace(engine, build=identify(engine))
    listed = {d.name: d.description for d in list_devices(engine)}
    for device in rig.machine.devices:
        if listed.get(device.name) != device.description:
            raise MachineError(
                f"does not list {device.name}, {device.description}",
                path=engine.binary,
                hint="compare two builds for the same devices",
            )
    return replace(rig, engine=engine, runner=LocalRunner(engine))


def launches_of(rounds: int, seed: int) -> tuple[Launch, ...]:
    """All of them, in the order in which they are made: A B B A A B.

    Who begins is random, and each round begins with the one that ended the last: what
    drifts steadily meanwhile falls on both.
    """
    order = [A, B]
    Random(seed).shuffle(order)  # noqa: S311 - an order, no secret
    turns = [
        (round_, side)
        for round_ in range(1, rounds + 1)
        for side in (order if round_ % 2 else reversed(order))
    ]
    return tuple(
        Launch(number=number, server=side, round=round_)
        for number, (round_, side) in enumerate(turns, start=1)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    """Two engines, being compared."""

    beds: dict[str, Testbed]
    question: Question
    options: SmokeOptions
    seed: int
    on_step: Callable[[str], None]

    def run(self, folder: Path) -> Smoke:
        header = header_of(self.beds[A], self.question, is_pair=True)
        builds = {side: self._build(side) for side in (A, B)}
        both: dict[str, Any] = {
            "servers": {side: one.text for side, one in builds.items()},
            "rounds": self.options.rounds,
            "seed": self.seed,
        }
        return recorded_run(folder, {**header, **both}, self._found)

    def _build(self, side: str) -> Build:
        engine = self.beds[side].rig.engine
        return Build(name=engine.build, file=engine.binary.name)

    def _found(self, journal: Journal) -> Smoke:
        asker = Asker(
            question=self.question,
            journal=journal,
            patience_s=self.options.patience_s,
            on_step=self.on_step,
        )
        looks: dict[str, list[Look]] = {A: [], B: []}
        for launch in launches_of(self.options.rounds, self.seed):
            side = launch.server or A
            # Greedy answers are the same in every round.
            exam = None if looks[side] else self.question.exam
            try:
                looks[side].append(asker.look(self.beds[side], launch, exam))
            except JournalError:
                raise
            except (MachineError, NotMeasuredError) as error:
                if side == A:
                    raise
                journal.append("unfit", {"server": side, "why": str(error)})
                return self._failed(error)
        return self._compared(list(zip(looks[A], looks[B], strict=True)))

    def _failed(self, error: PlacerError) -> Smoke:
        is_short = error.exit_code == SearchError.exit_code
        return self._smoke(
            status=Status.DOES_NOT_FIT if is_short else Status.FAILED,
            reason=f"B: {error}",
        )

    def _compared(self, looks: list[tuple[Look, Look]]) -> Smoke:
        header = self.beds[A].header()
        devices = [device["name"] for device in header["devices"]]
        figures = side_by_side(looks, devices, self.options.tolerance)
        notes = [*([EMULATED] if header["emulated"] else [])]
        notes += notes_of(self.question, looks[0][1])
        return replace(
            self._smoke(status=status_of(figures)),
            figures=figures,
            notes=tuple(notes),
        )

    def _smoke(self, *, status: Status, reason: str | None = None) -> Smoke:
        return Smoke(
            name=self.beds[A].target.name,
            status=status,
            reason=reason,
            is_pair=True,
            old=self._build(A),
            new=self._build(B),
        )
