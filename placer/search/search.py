"""Ask, probe, judge, record: to the largest placement that was seen to fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placer.engine.dryrun import dry_run
from placer.engine.judge import Outcome, Verdict, judge
from placer.errors import InputError, PlacerError, SearchError
from placer.memory import MemoryEstimate, estimate_memory
from placer.placement import Placement, Workload, placement_args
from placer.plan.settle import families_for, formula_compute, formula_of, settle
from placer.search.events import (
    Event,
    FamilySkipped,
    FamilyStarted,
    Launching,
    Progress,
    TrialDone,
)
from placer.search.evidence import Evidence
from placer.search.reading import compute_bytes, not_asked_bytes, room_bytes
from placer.search.trial import Probe, Trial, probe_record, trial_record
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from placer.engine.loadtest import LoadProgress, LoadTest
    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.plan import Family, Spread
    from placer.search.forecast import Forecast
    from placer.search.journal import Journal

# Dry runs at most until spread and compute buffers agree.
DRY_RUNS = 6
PORT_ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The largest placement that was seen to fit.

    Attributes:
        trial: the launch that proved it.
        boundary: launches that ran out of memory one step beyond it.
        trials: every launch, in order.
        stopped: why the search ended early, None where the boundary is complete.
    """

    trial: Trial
    boundary: tuple[Trial, ...]
    trials: tuple[Trial, ...]
    stopped: str | None


@dataclass(kw_only=True)
class Search:
    """One search, over all strategies in order of preference.

    Attributes:
        test: what is asked of every launch.
        extra_args: the user's own flags, passed through.
        journal: where everything is written before the next launch.
        on_event: told of all that happens.
        forecast: says how fast a launch will be; None to go without.
    """

    test: LoadTest
    model_path: str
    extra_args: tuple[str, ...]
    journal: Journal
    on_event: Callable[[Event], None]
    forecast: Forecast | None = None
    best: Trial | None = None
    trials: list[Trial] = field(default_factory=list)
    shortfalls: list[FamilySkipped] = field(default_factory=list)

    def run(self) -> Found:
        """The first strategy that fits at all, at its largest.

        Raises:
            SearchError: nothing was seen to fit; says the nearest miss.
        """
        shape, workload = self.test.shape, self.test.workload
        for family in families_for(shape, workload, self.test.machine):
            found = self._search_family(family)
            if found is not None:
                return found
        raise SearchError(
            f"no placement of {shape.name} was seen to fit{self._nearest_miss()}",
            hint="lower --ctx, -ub or the cache types, or free memory",
        )

    def _search_family(self, family: Family) -> Found | None:
        device = self._device_name(family.device)
        short = self._short_bytes(family)
        if short > 0:
            skipped = FamilySkipped(
                strategy=family.strategy, device=device, short_bytes=short
            )
            self.shortfalls.append(skipped)
            self.journal.append(
                "skipped",
                {
                    "strategy": family.strategy.value,
                    "device": device,
                    "short_bytes": short,
                    "source": "formula",
                },
            )
            self.on_event(skipped)
            return None
        self.on_event(FamilyStarted(strategy=family.strategy, device=device))
        return FamilySearch(search=self, family=family).run()

    def launch(self, family: Family, spread: Spread, purpose: str) -> Trial:
        """Ask one probe: written down before, judged and written down after."""
        number = len(self.trials) + 1
        probe = self.probe(family, spread, number, purpose)
        self.journal.append("launching", probe_record(probe))
        self.on_event(Launching(probe=probe))

        def show(progress: LoadProgress) -> None:
            self.on_event(Progress(probe=probe, progress=progress))

        log_path = self.journal.log_path(f"{number:03d}")
        observation = self.test.observe(probe.args, log_path=log_path, on_progress=show)
        verdict = judge(observation, self.test.machine, self.test.proof)
        trial = Trial(probe=probe, observation=observation, verdict=verdict)
        self.trials.append(trial)
        self.journal.append("trial", trial_record(trial))
        self.on_event(TrialDone(trial=trial))
        return trial

    def probe(self, family: Family, spread: Spread, number: int, purpose: str) -> Probe:
        """The question, with what formula and dry run say to it."""
        placement = family.placement(spread)
        test = self.test
        return Probe(
            number=number,
            strategy=family.strategy,
            spread=spread,
            placement=placement,
            args=self._args(placement),
            formula=estimate_memory(test.shape, test.workload, placement, test.machine),
            dry_run=self.dry_run(placement, f"{number:03d}-dry-run"),
            purpose=purpose,
            speed=None if self.forecast is None else self.forecast.speed(placement),
        )

    def dry_run(self, placement: Placement, name: str) -> MemoryEstimate | None:
        """What the engine says that the placement would hold.

        Raises:
            MachineError: it leaves out a device that the placement counts on.
        """
        return dry_run(
            self.test.runner,
            self._args(placement),
            self.test.machine,
            log_path=self.journal.log_path(name),
        )

    def _args(self, placement: Placement) -> tuple[str, ...]:
        return launch_args(
            self.model_path,
            self.test.workload,
            self.extra_args,
            placement,
            self.test.shape,
            self.test.machine,
        )

    def _short_bytes(self, family: Family) -> int:
        """By how much weights and context alone exceed what is free; 0 if they fit."""
        free = [device.free_bytes for device in self.test.machine.devices]
        if family.best(free) is not None:
            return 0
        low, high = 0, max(family.everything)
        while high - low > 1:
            middle = (low + high) // 2
            if family.best([f + middle for f in free]) is None:
                low = middle
            else:
                high = middle
        return high

    def _device_name(self, index: int | None) -> str | None:
        return None if index is None else self.test.machine.devices[index].name

    def _nearest_miss(self) -> str:
        misses = [s for s in self.shortfalls if s.short_bytes]
        if not misses:
            return ""
        least = min(misses, key=lambda s: s.short_bytes)
        where = f" on {least.device}" if least.device else " on each device"
        return (
            f": the nearest miss is {least.strategy.title}, "
            f"{size_text(least.short_bytes)} short{where} by formula"
        )


@dataclass(kw_only=True)
class FamilySearch:
    """The search of one strategy."""

    search: Search
    family: Family
    best: Trial | None = None
    stopped: str | None = None
    trials: list[Trial] = field(default_factory=list)

    def run(self) -> Found | None:
        """Its largest member that was seen to fit, None if none was."""
        evidence = Evidence(self.family, self._believed())
        while True:
            spread = evidence.next_spread(self._best_spread())
            if spread is None:
                return self._found()
            trial = self._launch(spread)
            compute = compute_bytes(trial.probe)
            if trial.verdict.outcome is Outcome.FITS:
                self.best = self.search.best = trial
                evidence.hold(
                    spread, compute, room_bytes(trial, self.search.test.machine)
                )
            elif trial.verdict.outcome.is_oom:
                index = self._blamed(trial)
                not_asked = not_asked_bytes(trial, index)
                evidence.refuse(spread, compute, index, not_asked)
            else:
                self.stopped = _why(trial.verdict)
                return self._found()

    def _launch(self, spread: Spread) -> Trial:
        purpose = "the plan's answer" if not self.trials else "the next smaller"
        if self.best is not None:
            purpose = "one step more"
        for _ in range(PORT_ATTEMPTS):
            trial = self.search.launch(self.family, spread, purpose)
            self.trials.append(trial)
            if not trial.observation.facts.port_taken:
                break
        return trial

    def _found(self) -> Found | None:
        if self.best is None and self.stopped is None:
            return None
        if self.best is None:
            raise self._stop()
        return Found(
            trial=self.best,
            boundary=tuple(t for t in self.trials if t.verdict.outcome.is_oom),
            trials=tuple(self.search.trials),
            stopped=self.stopped,
        )

    def _stop(self) -> PlacerError:
        """Why there is no answer, as an error: a refused flag is the user's."""
        refused = self.trials[-1].verdict.outcome is Outcome.REFUSED
        if refused and not self.trials[-1].observation.facts.port_taken:
            return InputError(
                f"llama-server refuses the launch: {self.stopped}",
                hint="look at the profile's EXTRA_ARGS and at --arg",
            )
        return SearchError(
            f"the search stopped before anything fitted: {self.stopped}",
            hint=f"see {self.search.journal.folder}",
        )

    def _best_spread(self) -> Spread | None:
        return None if self.best is None else self.best.probe.spread

    def _believed(self) -> tuple[int, ...]:
        """Room for weights and context beside the compute buffers.

        By formula first, which costs nothing, then by the engine's dry run.
        """
        test = self.search.test
        free = [device.usable_bytes for device in test.machine.devices]
        held = formula_of(test.shape, test.workload, test.machine)
        formula = formula_compute(held)

        def dry(placement: Placement) -> Sequence[int]:
            said = self.search.dry_run(placement, "000-dry-run")
            if said is None:
                return formula(placement)
            return [device.compute_bytes or 0 for device in said.devices]

        return settle(self.family, free, dry, DRY_RUNS).capacities

    def _blamed(self, trial: Trial) -> int:
        """The device that ran out; the tightest one where the log names none."""
        devices = self.search.test.machine.devices
        for index, device in enumerate(devices):
            if trial.verdict.device in (device.name, device.buffer_type):
                return index
        held = (trial.probe.dry_run or trial.probe.formula).devices
        room = [
            d.free_bytes - h.total_bytes for d, h in zip(devices, held, strict=True)
        ]
        return room.index(min(room))


def launch_args(
    model_path: str,
    workload: Workload,
    extra_args: tuple[str, ...],
    placement: Placement,
    shape: ModelShape,
    machine: Machine,
) -> tuple[str, ...]:
    """The flags of a launch: the model, the workload, the user's own, the placement."""
    flags = placement_args(placement, shape, machine)
    return ("-m", model_path, *workload.args(), *extra_args, *flags)


def _why(verdict: Verdict) -> str:
    evidence = f": {verdict.evidence[0]}" if verdict.evidence else ""
    return f"{verdict.outcome.value}{evidence}"
