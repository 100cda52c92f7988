"""Tune: settings beyond placement, launched and measured, the best written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from placer.app.planned import planner_of
from placer.app.study import study_header
from placer.app.target import resolve
from placer.app.tuning import TuneOptions, Tuning, open_tuning
from placer.app.write import Applied, edit_of, require_writable
from placer.engine.observation import Proof
from placer.errors import InputError, InterruptedSearchError
from placer.placement.arguments import flag_values, parse_arguments
from placer.profiles import read_arguments, read_conf, write_conf
from placer.search.records import StudyRecord
from placer.tune.knobs import (
    PLACEMENT,
    PLANNED,
    THREADS,
    changes_of,
    knob_of,
    thread_args,
    words_of,
)
from placer.tune.store import require_optuna
from placer.tune.tuner import Tuner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.app.target import Target
    from placer.app.where import Request, Where
    from placer.machine import Machine
    from placer.plan import Goal
    from placer.tune.quality import Quality
    from placer.tune.space import Space
    from placer.tune.tried import Tried
    from placer.tune.tuner import Event, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The study is open.

    Attributes:
        machine: the devices.
        space: what may be tried.
        storage: where the study lies.
        known: how much was tried before.
        compiles_shaders: whether the first prompt will take most of a minute more.
    """

    machine: Machine
    space: Space
    storage: str
    known: int
    compiles_shaders: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """What tuning found, and what became of it.

    Attributes:
        target: the model and what was asked of it.
        machine: the devices.
        goal: what it was to be best at.
        space: what might be tried.
        result: what was tried and what is best.
        quality: of cache types that were tried, the start's left out.
        launches: of this run.
        storage: where the study lies.
        study: its name there.
        folder: of the engine's logs.
        record: of the best, as of a search of one launch.
        applied: what was written to models.conf, None where nothing was.
        unwritten: why nothing was, though it was asked for; empty otherwise.
    """

    target: Target
    machine: Machine
    goal: Goal
    space: Space
    result: Result
    quality: tuple[Quality, ...]
    launches: int
    storage: str
    study: str
    folder: Path
    record: StudyRecord
    applied: Applied | None = None
    unwritten: str = ""


def tune(
    name: str,
    where: Where,
    request: Request,
    options: TuneOptions | None = None,
    on_event: Callable[[Event | Begun], None] = lambda _: None,
) -> Tuned:
    """The settings that are fastest under the planner's placement for them.

    Raises:
        InputError: no Optuna, nothing to resume, or what cannot be varied.
        MachineError: no engine, no device, or another search is using one.
        SearchError: nothing was seen to fit.
        InterruptedSearchError: Ctrl-C; what was tried is kept.
    """
    require_optuna()
    options = options or TuneOptions()
    target = resolve(name, where.folders, request.asked)
    if options.write:
        _require_profile(target)
    with open_tuning(target, where, options) as tuning:
        session = _Session(options=options, tuning=tuning)
        on_event(session.begun)
        tuned = session.run(on_event)
    return _applied(tuned) if options.write else tuned


def _require_profile(target: Target) -> None:
    if target.profile is None:
        raise InputError(
            f"{target.name} is no profile that could be written to",
            hint="leave out --write, or name a profile",
        )
    require_writable(target.profile.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Session:
    """A study that is open, on devices that are there."""

    options: TuneOptions
    tuning: Tuning

    @property
    def begun(self) -> Begun:
        """What is known before anything is tried."""
        return Begun(
            machine=self.tuning.bench.desk.machine,
            space=self.tuning.store.space,
            storage=self.tuning.storage,
            known=len(self.tuning.store.tried()),
            compiles_shaders=self.tuning.bench.rig.compiles_shaders,
        )

    def run(self, on_event: Callable[[Event | Begun], None]) -> Tuned:
        """Seed, tune, confirm, and measure what cache types cost."""
        from placer.app.qualities import cache_types, qualities

        options = self.options
        bench, store = self.tuning.bench, self.tuning.store
        types = cache_types(store.space) if options.quality else ()
        tuner = Tuner(
            store=store,
            bench=bench,
            goal=options.goal,
            purse=bench.purse,
            kept_back=len(types) + bool(types),
            accept_loss=options.accept_quality_loss,
            on_event=on_event,
        )
        try:
            self._seed()
            result = tuner.run()
            measured = qualities(bench, result, types)
        except KeyboardInterrupt:
            raise self._interrupted(tuner.best()) from None
        return Tuned(
            target=bench.desk.target,
            machine=bench.desk.machine,
            goal=options.goal,
            space=store.space,
            result=result,
            quality=measured,
            launches=bench.purse.launched,
            storage=self.tuning.storage,
            study=store.study.study_name,
            folder=self.tuning.folder,
            record=self._record(result),
        )

    def _record(self, result: Result) -> StudyRecord:
        """The best, with what measuring it again gave."""
        bench, best = self.tuning.bench, result.best
        target = bench.under(best.settings).target
        trial = dict(best.record or {}) | {"number": best.number}
        if result.compared is not None:
            pace = result.compared.best
            trial["decode_tokens_per_s"] = round(pace.decode, 2)
            trial["prompt_tokens_per_s"] = round(pace.prefill, 2)
        launches = sum(tried.came.was_launched for tried in result.tried)
        return StudyRecord(
            folder=self.tuning.folder,
            header=study_header(target, bench.rig, Proof.FULL),
            skipped=(),
            trials=(trial,),
            in_flight=(),
            end={"best": best.number, "launches": launches, "stopped": None},
        )

    def _seed(self) -> None:
        """The start first, then what the speed model thinks well of."""
        from placer.app.frontier import tradeoffs

        bench, store = self.tuning.bench, self.tuning.store
        start, goal = dict(store.space.start), self.options.goal
        store.suggest(start)
        store.suggest({**start, PLACEMENT: PLANNED})
        planner = planner_of(bench.desk, bench.margins_bytes)
        worth, found = goal.worth, []
        for other in tradeoffs(bench.desk, planner, goal):
            if other.rated is None or not other.rated.fits:
                continue
            said = other.rated.candidate.speed
            cost = worth.decode / said.decode.mid + worth.prefill / said.prefill.mid
            changes = _changes(other.args)
            if changes:
                found.append((cost, changes))
        for _, changes in sorted(found, key=lambda one: one[0]):
            store.suggest({**start, **changes, PLACEMENT: PLANNED})

    def _interrupted(self, best: Tried | None) -> InterruptedSearchError:
        count = self.tuning.bench.purse.launched
        times = "1 launch" if count == 1 else f"{count} launches"
        hint = "nothing fitted so far"
        if best is not None and best.pace is not None:
            changes = words_of(changes_of(best.settings, self.tuning.store.space.start))
            hint = f"the best so far: {changes}, {best.pace.decode:,.1f} tokens/s"
        again = "--resume" if self.options.storage is None else "the same --storage"
        return InterruptedSearchError(
            f"interrupted after {times}", hint=f"{hint}; {again} goes on"
        )


def _changes(args: tuple[str, ...]) -> dict[str, str]:
    """Flags as settings; nothing where one of them cannot be tuned."""
    found = {}
    for flag, value in flag_values(parse_arguments(" ".join(args))).items():
        try:
            found[knob_of(flag).name] = value
        except InputError:
            return {}
    return found


def _applied(tuned: Tuned) -> Tuned:
    """The best in the profile, if it was seen to be better."""
    result, profile = tuned.result, tuned.target.profile
    if profile is None:
        raise AssertionError("only a profile is written")
    settings = result.best.settings
    if not result.answer.is_worth_writing:
        return replace(tuned, unwritten=result.answer.value)
    if settings["sm"] != "layer":
        why = f"placer does not read profiles with -sm {settings['sm']}"
        return replace(tuned, unwritten=why)
    before = read_conf(profile.path)
    flags = flag_values(read_arguments(before.profile(profile.id)))
    edit = edit_of(tuned.record, flags)
    threads: tuple[str, ...] = ()
    if any(settings[name] != tuned.space.start[name] for name in THREADS):
        threads = thread_args(settings)
    facts = {**(edit.provenance or {}), "tuned": tuned.goal.value}
    edit = replace(edit, workload=(*edit.workload, *threads), provenance=facts)
    after = before.updated(profile.id, edit)
    if after.data != before.data:
        write_conf(after, profile.path)
    written = after.data != before.data
    return replace(tuned, applied=Applied(before=before, after=after, written=written))
