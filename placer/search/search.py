"""Plan, probe, judge, learn: to the best placement that was seen to fit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from placer.engine.judge import Outcome, Verdict, judge
from placer.errors import InputError, PlacerError, SearchError
from placer.placement import Placement, placement_args
from placer.plan import Choice, experts_kept, strategy_of
from placer.search.events import Event, Launching, Progress, TrialDone
from placer.search.evidence import Evidence
from placer.search.exclude import too_big
from placer.search.limits import Limit, limits_of, next_step
from placer.search.pace import Pacing
from placer.search.reading import (
    blamed,
    left_bytes,
    not_asked_bytes,
    tightest,
    with_doubts,
)
from placer.search.trial import Probe, Trial, probe_record, trial_record
from placer.units import size_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.engine.loadtest import LoadProgress, LoadTest
    from placer.machine import Machine
    from placer.model import ModelShape
    from placer.placement import Workload
    from placer.search.forecast import Forecast
    from placer.search.journal import Journal
    from placer.search.planning import Planning
    from placer.search.recall import Recall

# Dry runs at most before a launch.
DRY_RUNS = 4
ATTEMPTS = 3
TOOK_DOWN = "the machine went down while it was tried"
LAUNCHES_MAX = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best placement that was seen to fit.

    Attributes:
        trial: the launch that proved it.
        boundary: launches that ran out of memory.
        trials: every launch, in order.
        limits: why each device takes no more.
        stopped: why the search ended early, None where nothing better is left.
    """

    trial: Trial
    boundary: tuple[Trial, ...]
    trials: tuple[Trial, ...]
    limits: tuple[Limit, ...]
    stopped: str | None


@dataclass(kw_only=True)
class Search:
    """One search.

    Attributes:
        test: what is asked of every launch.
        model_path: of the model.
        extra_args: the user's own flags, passed through.
        journal: where everything is written before the next launch.
        on_event: told of all that happens.
        planning: says what is best within what each device holds.
        forecast: says how fast a launch will be; None to go without.
        by_launch: whether one step more is launched on every device, to see it run out
            of memory, and not only where what it had left does not tell.
        recall: the launches of the same search before it was broken off.
        strangers: devices of unknown speed, which is learned from launches.
        boot: what tells this start of the machine from others, for the record.
    """

    test: LoadTest
    model_path: str
    extra_args: tuple[str, ...]
    journal: Journal
    on_event: Callable[[Event], None]
    planning: Planning
    forecast: Forecast | None = None
    by_launch: bool = False
    recall: Recall | None = None
    strangers: tuple[int, ...] = ()
    boot: str | None = None
    best: Trial | None = None
    trials: list[Trial] = field(default_factory=list)
    cost: float | None = None
    _refused: dict[Placement, int] = field(default_factory=dict)
    _recalled: list[Trial] = field(default_factory=list)
    _evidence: Evidence = field(init=False)
    _pacing: Pacing = field(init=False)
    _held: dict[Placement, Trial] = field(default_factory=dict)
    _purpose: str = "the plan's answer"

    def __post_init__(self) -> None:
        machine, forecast = self.test.machine, self.forecast
        self._evidence = Evidence(machine, self.planning.unit_bytes)
        table = None if forecast is None else forecast.table
        unknown = () if table is None else self.strangers
        self._pacing = Pacing(self.planning, table, machine, unknown)

    def run(self) -> Found:
        """Launch the best that is believed to fit, until nothing better is left.

        Raises:
            SearchError: nothing was seen to fit; says what is missing.
            InputError: the engine refuses a flag.
        """
        for excluded in too_big(self.planning, self.test.machine):
            self.journal.append("skipped", excluded.record())
            self.on_event(excluded)
        stopped = None
        while stopped is None:
            choice = self._next() or self._contrast() or self._beyond()
            if choice is None:
                break
            trial = self._launch(choice)
            stopped = self._learn(choice, trial)
        return self._found(stopped)

    def _next(self) -> Choice | None:
        """What to launch; what the engine's dry run says of it may change that."""
        for _ in range(DRY_RUNS):
            choice = self._choose()
            while choice is not None and self._took_down(choice):
                choice = self._choose()
            if choice is None or self.planning.has_asked(choice.placement):
                break
            if self.planning.ask(choice.placement) is None:
                break
        return choice

    def _contrast(self) -> Choice | None:
        """What tells how fast a device is whose speed nobody knows."""
        found = self._pacing.contrast(self._evidence.believed)
        if found is None or found[0].placement in {**self._held, **self._refused}:
            return None
        choice, device = found
        if self._took_down(choice):
            return None
        self._purpose = f"how fast {self.test.machine.devices[device].name} is"
        return choice

    def _took_down(self, choice: Choice) -> bool:
        """Whether the whole machine went down under it: it is not tried again."""
        placement = choice.placement
        if self.recall is None or self._args(placement) not in self.recall.took_down:
            return False
        needs, devices = self.planning.needs(placement), self.test.machine.devices
        index = tightest(devices, needs)
        self._refused[placement] = index
        self._evidence.refuse(index, needs[index])
        self.journal.append(
            "passed-over", {"args": list(self._args(placement)), "why": TOOK_DOWN}
        )
        return True

    def _args(self, placement: Placement) -> tuple[str, ...]:
        """The flags of its launch."""
        test = self.test
        return launch_args(
            self.model_path,
            test.workload,
            self.extra_args,
            placement,
            test.shape,
            test.machine,
        )

    def _choose(self) -> Choice | None:
        """The believed best, else the least step beyond it that nothing excludes."""
        evidence, planning, cost = self._evidence, self.planning, self.cost
        ceilings = evidence.ceilings
        while True:
            pairs = zip(evidence.believed, ceilings, strict=True)
            believed = [min(pair) for pair in pairs]
            choice = planning.cheaper(believed, cost)
            if choice is None:
                choice = self._overlooked(believed) or self._step(believed, ceilings)
            if choice is None or choice.placement in self._held:
                return None
            if choice.placement not in self._refused:
                return choice
            # Refused under another word on its compute buffers.
            index = self._refused[choice.placement]
            ceilings[index] = planning.needs(choice.placement)[index] - 1

    def _overlooked(self, believed: list[int]) -> Choice | None:
        """What is found only where there seems to be more room, and needs none of it.

        The planner packs beside one guess of compute buffers, and some placements
        take less.
        """
        if self.cost is None:
            return None
        for index in range(len(believed)):
            choice = next_step(self._evidence, self.planning, index, self.cost)
            if choice is None or choice.placement in {**self._held, **self._refused}:
                continue
            if self.planning.fits(choice.placement, believed):
                return choice
        return None

    def _step(self, believed: list[int], ceilings: list[int]) -> Choice | None:
        """The least step on one device, so that a refusal says most; else on all."""
        planning, cost = self.planning, self.cost
        if planning.cheaper(ceilings, cost) is None:
            return None
        for index in reversed(range(len(believed))):
            one = [*believed]
            one[index] = ceilings[index]
            choice = planning.step(believed, one, cost)
            if choice is not None:
                return choice
        return planning.step(believed, ceilings, cost)

    def _beyond(self) -> Choice | None:
        """One step more on a device that was not seen to refuse one, where asked."""
        if not self.by_launch or self.cost is None:
            return None
        for index, device in enumerate(self._evidence.devices):
            choice = next_step(self._evidence, self.planning, index, self.cost)
            if choice is None or choice.placement in self._refused:
                continue
            needs, known = self.planning.needs(choice.placement), device.refused_bytes
            is_new = known is None or needs[index] < known
            if is_new and not self._took_down(choice):
                return choice
        return None

    def _learn(self, choice: Choice, trial: Trial) -> str | None:
        """Take in what a launch showed; why the search cannot go on, or None."""
        outcome, test = trial.verdict.outcome, self.test
        needs = self.planning.needs(choice.placement)
        if outcome is Outcome.FITS:
            self._held[choice.placement] = trial
            self._evidence.hold(needs, left_bytes(trial, test.machine))
            self._rank(choice.placement, trial.decode_tokens_per_s)
        elif outcome.says_size:
            index = blamed(trial, test.machine, needs)
            self._refused[choice.placement] = index
            asked = needs[index] - not_asked_bytes(trial, index)
            self._evidence.refuse(index, max(asked, 1))
        else:
            return _why(trial.verdict)
        self._purpose = "the next smaller" if self.best is None else "one step more"
        if len(self.trials) >= LAUNCHES_MAX:
            return f"{LAUNCHES_MAX} launches have not settled it"
        return None

    def _rank(self, placement: Placement, tokens_per_s: float | None) -> None:
        """The best of those that fitted, by what is known of the devices by now."""
        self._pacing.learn(placement, tokens_per_s)
        best = min(self._held, key=self._cost)
        self.best, self.cost = self._held[best], self._cost(best)

    def _cost(self, held: Placement) -> float:
        seen = self._held[held].observation.facts
        return self.planning.cost(held, pipelined=seen.pipelined)

    def _launch(self, choice: Choice) -> Trial:
        """Ask it, again where somebody took its port or its memory meanwhile."""
        for _ in range(ATTEMPTS):
            trial = self.launch(choice.placement, self._purpose)
            if not trial.is_disturbed:
                break
        return trial

    def launch(self, placement: Placement, purpose: str) -> Trial:
        """Ask one probe: written down before, judged and written down after."""
        probe = self._probe(placement, len(self.trials) + 1, purpose)
        known = None if self.recall is None else self.recall.trial(probe)
        if known is not None:
            self._recalled.append(known)
        trial = known or self._asked(probe)
        self.trials.append(trial)
        self.on_event(TrialDone(trial=trial, is_recalled=known is not None))
        return trial

    def is_recalled(self, trial: Trial) -> bool:
        """Whether it was launched before the search was broken off."""
        return any(trial is known for known in self._recalled)

    def _asked(self, probe: Probe) -> Trial:
        record = probe_record(probe)
        self.journal.append("launching", {**record, "boot": self.boot})
        self.on_event(Launching(probe=probe))

        def show(progress: LoadProgress) -> None:
            self.on_event(Progress(probe=probe, progress=progress))

        log_path = self.journal.log_path(f"{probe.number:03d}")
        test = self.test
        observation = test.observe(probe.args, log_path=log_path, on_progress=show)
        verdict = judge(observation, test.machine, test.proof)
        if not self._pacing.unknown:
            verdict = with_doubts(verdict, probe, observation, self.trials)
        trial = Trial(probe=probe, observation=observation, verdict=verdict)
        self.journal.append("trial", trial_record(trial))
        return trial

    def _probe(self, placement: Placement, number: int, purpose: str) -> Probe:
        """The question, with what formula and dry run say to it."""
        test = self.test
        return Probe(
            number=number,
            strategy=strategy_of(placement, test.shape),
            placement=placement,
            kept=experts_kept(placement, test.shape),
            args=self._args(placement),
            formula=self.planning.formula(placement),
            dry_run=self.planning.ask(placement),
            purpose=purpose,
            speed=None if self.forecast is None else self.forecast.speed(placement),
        )

    def _found(self, stopped: str | None) -> Found:
        if self.best is None:
            raise self._nothing(stopped)
        return Found(
            trial=self.best,
            boundary=tuple(t for t in self.trials if _is_refusal(t.verdict.outcome)),
            trials=tuple(self.trials),
            limits=self._limits(),
            stopped=stopped,
        )

    def _limits(self) -> tuple[Limit, ...]:
        """Why each device takes no more than the answer asks of it."""
        if self.best is None or self.cost is None:
            return ()
        return limits_of(
            [device.name for device in self.test.machine.devices],
            self._evidence,
            self.planning,
            self.planning.needs(self.best.probe.placement),
            self.cost,
        )

    def _nothing(self, stopped: str | None) -> PlacerError:
        """Why there is no answer, as an error: a refused flag is the user's."""
        if stopped is None:
            return self._too_big()
        last = self.trials[-1]
        port_taken = last.observation.facts.port_taken
        if last.verdict.outcome is Outcome.REFUSED and not port_taken:
            return InputError(
                f"llama-server refuses the launch: {stopped}",
                hint="look at the profile's EXTRA_ARGS and at --arg",
            )
        return SearchError(
            f"the search stopped before anything fitted: {stopped}",
            hint=f"see {self.journal.folder}",
        )

    def _too_big(self) -> SearchError:
        name = self.test.shape.name
        problem = f"no placement of {name} was seen to fit"
        if not self.trials:
            short = self.planning.planner.shortfall()
            problem = f"no placement of {name} fits by formula"
            if short is not None:
                problem += f": {size_text(short)} are missing on each device"
        hint = "lower --ctx, -ub or the cache types, or free memory"
        return SearchError(problem, hint=hint)


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


def _is_refusal(outcome: Outcome) -> bool:
    return outcome.says_size and outcome is not Outcome.FITS


def _why(verdict: Verdict) -> str:
    evidence = f": {verdict.evidence[0]}" if verdict.evidence else ""
    return f"{verdict.outcome.value}{evidence}"
