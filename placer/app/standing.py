"""A profile as it stands in models.conf, ready to be launched once."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from placer.app.learned import prepared
from placer.app.study import forecast_of, load_test
from placer.app.target import PLACEMENT_FLAGS, Asked, resolve
from placer.engine.dryrun import dry_run
from placer.engine.judge import judge
from placer.engine.loadtest import PATIENCE_S
from placer.engine.observation import Proof
from placer.errors import InputError
from placer.machine.lock import locked
from placer.memory import estimate_memory
from placer.placement import placement_from_args
from placer.placement.arguments import flag_values
from placer.plan import experts_kept, strategy_of
from placer.profiles import read_arguments
from placer.search.events import Launching, Progress, TrialDone
from placer.search.search import ATTEMPTS
from placer.search.trial import Probe, Trial, probe_record, trial_record
from placer.speed import FIELD_NOTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from placer.app.learned import Learned
    from placer.app.rig import Rig
    from placer.app.target import Target
    from placer.app.where import Where
    from placer.engine.loadtest import LoadProgress, LoadTest
    from placer.placement import Placement
    from placer.placement.arguments import Argument
    from placer.search.events import Event
    from placer.search.forecast import Forecast
    from placer.search.journal import Journal

# Flags with which the engine places the model itself: every launch has --fit off.
FITTING = frozenset({"-fit", "-fitt", "-fitc"})
# -ngl of a model whose layers the engine is to count.
LEFT_TO_ENGINE = frozenset({"auto", "-1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A profile, its devices, and the placement that its flags amount to.

    Attributes:
        target: the profile and its model.
        rig: the engine and the devices that the profile uses.
        placement: what the flags amount to here.
        flags: the profile's own, in placer's spelling.
        learned: what the ledger says.
        proof: how far a launch is taken.
        patience_s: seconds without any movement after which a launch is stalled.
    """

    target: Target
    rig: Rig
    placement: Placement
    flags: tuple[str, ...]
    learned: Learned
    proof: Proof = Proof.FULL
    patience_s: float = PATIENCE_S

    def launch(
        self,
        journal: Journal,
        on_event: Callable[[Event], None],
        *,
        first: int = 1,
        purpose: str = "as models.conf has it",
    ) -> Trial:
        """Once, or again if somebody took its port or memory; the ledger learns of it.

        Args:
            journal: where it is recorded.
            on_event: told of all that happens.
            first: number of the launch.
            purpose: why it is made.

        Raises:
            MachineError: the engine cannot be started, or leaves out a device.
            JournalError: it cannot be recorded.
        """
        target, machine = self.target, self.rig.machine
        test = load_test(target, self.rig, self.proof, self.patience_s)
        calibration = self.learned.calibrated(FIELD_NOTES, target.shape, machine)
        forecast = forecast_of(test, calibration, target)
        for number in range(first, first + ATTEMPTS):
            probe = self._probe(number, purpose, journal, forecast)
            trial = _launched(probe, test, journal, on_event)
            if not trial.is_disturbed:
                break
        self.learned.keep_trials(target, machine, [trial], calibration)
        return trial

    def _probe(
        self, number: int, purpose: str, journal: Journal, forecast: Forecast | None
    ) -> Probe:
        target, machine, placement = self.target, self.rig.machine, self.placement
        model = ("-m", str(target.file.path))
        args = (*model, *target.workload.args(), *target.extra_args, *self.flags)
        log_path = journal.log_path(f"{number:03d}-dry-run")
        return Probe(
            number=number,
            strategy=strategy_of(placement, target.shape),
            placement=placement,
            kept=experts_kept(placement, target.shape),
            args=args,
            formula=estimate_memory(target.shape, target.workload, placement, machine),
            dry_run=dry_run(self.rig.runner, args, machine, log_path=log_path),
            purpose=purpose,
            speed=None if forecast is None else forecast.speed(placement),
        )


@contextmanager
def open_standing(
    name: str,
    where: Where,
    *,
    proof: Proof = Proof.FULL,
    patience_s: float = PATIENCE_S,
) -> Iterator[Standing]:
    """The profile on the devices that are here.

    Raises:
        InputError: there is no such profile, it leaves its placement to the engine,
            or it says what cannot be understood.
        MachineError: no engine, or no device.
    """
    target = resolve(name, where.folders, Asked())
    flags = own_placement(target)
    with where.rig(target.rpc) as opened, ExitStack() as stack:
        from_ledger, rig = prepared(target, where, opened)
        what = f"placer verify {name}"
        stack.enter_context(locked(rig.machine, what, owner=rig.owner))
        yield Standing(
            target=target,
            rig=rig,
            placement=placement_from_args(flags, target.shape, rig.machine),
            flags=flags,
            learned=from_ledger,
            proof=proof,
            patience_s=patience_s,
        )


def own_placement(target: Target) -> tuple[str, ...]:
    """The profile's placement flags as they stand, in placer's spelling, -ngl first.

    Raises:
        InputError: it is no profile, or it leaves its placement to the engine.
    """
    if target.profile is None:
        raise InputError(f"{target.name} is no profile", hint="name one of models.conf")
    arguments = read_arguments(target.profile)
    flags = flag_values(arguments)
    layers = flags.get("-ngl", "auto")
    if layers in LEFT_TO_ENGINE and flags.get("-fit", "on") == "on":
        raise InputError(
            f"[{target.name}] leaves its placement to the engine",
            path=target.profile.path,
            line=target.profile.line,
            hint=f"placer optimize {target.name} writes one",
        )
    tokens = ["-ngl", layers]
    for argument in arguments:
        tokens += _tokens(argument)
    return tuple(tokens)


def _tokens(argument: Argument) -> list[str]:
    """A flag that places, with its value; nothing of any other."""
    option, value = argument.option, argument.value
    if option is None or option.name not in PLACEMENT_FLAGS - FITTING - {"-ngl"}:
        return []
    if not option.takes_value or value is None:
        return [option.name]
    return [option.name, value]


def _launched(
    probe: Probe, test: LoadTest, journal: Journal, on_event: Callable[[Event], None]
) -> Trial:
    """Written down before, judged and written down after."""
    journal.append("launching", probe_record(probe))
    on_event(Launching(probe=probe))

    def show(progress: LoadProgress) -> None:
        on_event(Progress(probe=probe, progress=progress))

    log_path = journal.log_path(f"{probe.number:03d}")
    observation = test.observe(probe.args, log_path=log_path, on_progress=show)
    verdict = judge(observation, test.machine, test.proof)
    trial = Trial(probe=probe, observation=observation, verdict=verdict)
    journal.append("trial", trial_record(trial))
    on_event(TrialDone(trial=trial))
    return trial
