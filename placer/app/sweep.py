"""Sweep: an experiment over flags and sampling, with a verdict that may be "none"."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING, Any

from placer.app.rated import rated_flags
from placer.app.study import new_folder
from placer.app.sweep_bench import LocalBench
from placer.app.sweep_budget import Proposing
from placer.app.sweep_measures import needs_of
from placer.app.sweep_question import (
    Question,
    SweepOptions,
    question_of,
    varied_of,
)
from placer.app.sweep_records import (
    FOLDER,
    KIND,
    Answers,
    Past,
    joined,
    newest_broken_off,
    recalled,
)
from placer.app.sweep_result import Found, Swept, base_of, found_in, found_of_pair
from placer.app.sweep_running import Bench, Event, Forecast, Outlook, Sweeping
from placer.app.target import resolve
from placer.app.testbed import open_testbed
from placer.errors import InputError, InterruptedSearchError, PlacerError, SearchError
from placer.experiment.design import grid, schedule
from placer.experiment.words import cell_text
from placer.search.journal import Journal
from placer.tune.budget import Purse
from placer.tune.store import require_optuna

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.app.target import Target
    from placer.app.testbed import Testbed
    from placer.app.where import Request, Where
    from placer.experiment.design import Cell, Launch
    from placer.machine import Machine

# Of a disk that nobody has measured; only until the first launch has loaded.
LOADED_PER_S = 1e9


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The devices are there, and the record is open.

    Attributes:
        machine: the devices.
        folder: of the record.
        question: what is asked.
        launches: that are to be made.
        runs: likewise.
        known: runs of a sweep that was broken off.
        left_s: how long that will take; None where nothing is known.
        compiles_shaders: whether the first prompt will take most of a minute more.
    """

    machine: Machine
    folder: Path
    question: Question
    launches: int
    runs: int
    known: int
    left_s: float | None
    compiles_shaders: bool


def sweep(
    name: str,
    where: Where,
    request: Request,
    options: SweepOptions | None = None,
    on_event: Callable[[Event | Begun], None] = lambda _: None,
) -> Swept:
    """Vary, measure in random order, and say what differs from the base.

    Raises:
        InputError: what cannot be varied or measured, or nothing to resume.
        MachineError: no engine, no device, no sandbox, or another search uses them.
        SearchError: no cell runs.
        JournalError: the record cannot be written.
        InterruptedSearchError: Ctrl-C; what was measured is kept.
    """
    options = options or SweepOptions()
    if options.budget is not None:
        require_optuna()
    target = resolve(name, where.folders, request.asked)
    varied = varied_of(target, options)
    with open_testbed(target, where, what=f"placer sweep {target.name}") as bed:
        question = question_of(varied, options, bed.rig)
        header = json.loads(json.dumps({**bed.header(), **question.record(options)}))
        folder, past = _opened(
            where.logs / target.name / FOLDER, target, header, options
        )
        with closing(Journal(folder)) as journal:
            journal.append("resumed" if options.resume else KIND, header)
            answers = Answers(journal=journal, past=past)
            session = Session(
                target=target,
                machine=bed.rig.machine,
                emulated=bed.rig.emulated,
                question=question,
                options=options,
                journal=journal,
                past=past,
                bench=_bench(bed, question, options, answers, folder),
                forecast=None if bed.rig.emulated else _forecast(bed, question),
                compiles_shaders=bed.rig.compiles_shaders,
                on_event=on_event,
            )
            return session.run()


def _opened(
    parent: Path, target: Target, header: dict[str, Any], options: SweepOptions
) -> tuple[Path, Past]:
    """A new folder, or that of the sweep that goes on with what it knows."""
    if not options.resume:
        return new_folder(parent), Past()
    folder = newest_broken_off(parent, target.name)
    return folder, recalled(folder, header)


def _bench(
    bed: Testbed,
    question: Question,
    options: SweepOptions,
    answers: Answers,
    folder: Path,
) -> LocalBench:
    return LocalBench(
        bed=bed,
        varied=question.varied,
        wanted=question.wanted,
        probe=question.probe,
        exam=question.exam,
        reading=question.reading,
        answers=answers,
        folder=folder,
        patience_s=options.patience_s,
    )


def _forecast(bed: Testbed, question: Question) -> Forecast | None:
    """By the speed model, until something was seen."""
    if bed.target.workload.drafted:
        return None
    try:
        speed = rated_flags(bed.placement, bed.desk).candidate.speed
    except InputError:
        return None
    probe, exam = question.probe, question.exam
    run_s = probe.read / speed.prefill.mid + probe.written / speed.decode.mid
    if exam is not None:
        # Answers end before they have to, most of them.
        tokens = len(exam.suite.problems) * exam.samples * exam.max_tokens / 2
        run_s += tokens / speed.decode.mid
    return Forecast(load_s=bed.target.file.size_bytes / LOADED_PER_S, run_s=run_s)


@dataclass(kw_only=True)
class Session:
    """A sweep whose record is open, on a bench that launches.

    Attributes:
        target: the model and what is asked of it.
        machine: the devices.
        emulated: whether they are not real.
        question: what is varied and measured.
        options: how.
        journal: the record.
        past: what is known.
        bench: where servers are launched.
        forecast: how long things are thought to take; None where nobody knows.
        compiles_shaders: whether the first prompt will take most of a minute more.
        on_event: told of all that happens.
    """

    target: Target
    machine: Machine
    emulated: bool
    question: Question
    options: SweepOptions
    journal: Journal
    past: Past
    bench: Bench
    forecast: Forecast | None = None
    compiles_shaders: bool = False
    on_event: Callable[[Event | Begun], None] = lambda _: None
    _random: Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = Random(self.options.seed)  # noqa: S311 - an order

    def run(self) -> Swept:
        """All of it; the end is on record whatever it is."""
        try:
            proposed = self._measured()
            swept = self._swept(proposed)
        except KeyboardInterrupt:
            self._end("interrupted")
            raise self._interrupted() from None
        except PlacerError as error:
            self._end(str(error))
            raise
        self._end(None, swept.found, proposed)
        return swept

    def _measured(self) -> Cell | None:
        """Run everything; the cell that was compared, where not all are."""
        outlook = Outlook(forecast=self.forecast)
        sweeping = Sweeping(
            bench=self.bench,
            journal=self.journal,
            past=self.past,
            needs=needs_of(self.question.wanted),
            outlook=outlook,
            on_event=self.on_event,
        )
        if self.options.budget is None:
            launches = schedule(
                self.question.factors, self.question.repeats, self._random
            )
            sweeping.expect(launches)
            self._begin(outlook, launches)
            sweeping.all_of(launches)
            return None
        self._begin(outlook, ())
        return self._proposing(sweeping).run()

    def _proposing(self, sweeping: Sweeping) -> Proposing:
        budget, repeats = self.options.budget, self.question.repeats
        if budget is None:
            raise AssertionError("without a budget all cells are measured")
        least = 2 + 2 * repeats
        if budget.launches is not None and budget.launches < least:
            raise InputError(
                f"--budget {budget.launches} leaves nothing to propose",
                hint=f"give {least} or more, or fewer --repeats than {repeats}",
            )
        return Proposing(
            sweeping=sweeping,
            factors=self.question.factors,
            lead=self.question.measures[0],
            repeats=repeats,
            purse=Purse(budget=budget, launched=len(self.past.runs)),
            random=self._random,
            seed=self.options.seed,
        )

    def _begin(self, outlook: Outlook, launches: tuple[Launch, ...]) -> None:
        self.on_event(
            Begun(
                machine=self.machine,
                folder=self.journal.folder,
                question=self.question,
                launches=outlook.launches,
                runs=outlook.runs,
                known=len(self.past.runs),
                left_s=outlook.left_s if launches else None,
                compiles_shaders=self.compiles_shaders,
            )
        )

    def _swept(self, proposed: Cell | None) -> Swept:
        question, past = self.question, self.past
        factors, measures = question.factors, question.measures
        if not past.runs:
            cell, why = past.unfit[0] if past.unfit else ({}, "nothing was launched")
            raise SearchError(
                f"no cell runs; {cell_text(cell)}: {why}",
                hint=f"the logs are in {self.journal.folder}",
            )
        base = base_of(factors)
        of_server = {f.name: f.base for f in factors if f.restarts}
        runs = joined(past, of_server)
        is_whole = self.options.budget is None
        found = (
            found_in(runs, factors, measures)
            if is_whole
            else found_of_pair(runs, factors, measures, proposed)
        )
        return Swept(
            target=self.target,
            machine=self.machine,
            emulated=self.emulated,
            folder=self.journal.folder,
            factors=factors,
            measures=measures,
            repeats=question.repeats,
            found=found,
            unfit=tuple(past.unfit),
            proposed=proposed,
            notes=(*question.notes, *self._notes(found, base)),
        )

    def _notes(self, found: Found, base: Cell) -> list[str]:
        """What nobody said, and what was not compared."""
        seen = {name for one in found.cells for name in one.figures}
        notes = [
            f"{one.name} is not known: nothing here tells it"
            for one in self.question.measures
            if one.name not in seen
        ]
        why = self.past.why_unfit(base)
        if why is not None:
            notes.append(
                f"the base does not run, so nothing is compared with it: {why}"
            )
        if self.options.budget is not None:
            n = len(grid(self.question.factors))
            notes.append(f"{len(found.cells)} of {n} cells were tried")
        return notes

    def _end(
        self,
        stopped: str | None,
        found: Found | None = None,
        proposed: Cell | None = None,
    ) -> None:
        results = {} if found is None else found.record()
        cell = None if proposed is None else dict(proposed)
        self.journal.append("end", {"stopped": stopped, **results, "proposed": cell})

    def _interrupted(self) -> InterruptedSearchError:
        count = len(self.past.runs)
        times = "1 run" if count == 1 else f"{count} runs"
        return InterruptedSearchError(
            f"interrupted after {times}", hint="the same command with --resume goes on"
        )
