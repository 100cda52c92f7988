"""Settings on this machine: planned, asked of the engine's dry run, launched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from placer.app.planned import DRY_RUNS, planner_of
from placer.app.rated import Rated, candidate_of, rate
from placer.app.study import forecast_of, load_test
from placer.engine.binary import list_devices
from placer.engine.dryrun import dry_run, refusal
from placer.engine.judge import Outcome, judge
from placer.engine.observation import Proof
from placer.errors import MachineError
from placer.placement import placement_from_args
from placer.plan import experts_kept, strategy_of
from placer.search.search import ATTEMPTS
from placer.search.trial import Probe, Trial, trial_record
from placer.tune.knobs import OWN, PLACEMENT, extra_under, workload_under
from placer.tune.tried import Came, Pace, Tried
from placer.units import MIB, size_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from placer.app.desk import Desk
    from placer.app.rig import Rig
    from placer.engine.judge import Verdict
    from placer.engine.loadtest import LoadProgress
    from placer.engine.observation import Observation
    from placer.plan import Goal
    from placer.tune.budget import Purse
    from placer.tune.knobs import Settings

# What is left free more on a device that ran out of memory although the plan fitted:
# so much, or of small devices a share.
STEP_BYTES, STEP_SHARE = 256 * MIB, 16
# --fit says that it cannot, fit.cpp:183; the engine itself may.
NOT_FITTED = "not implemented for SPLIT_MODE_TENSOR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """Settings that may be launched.

    Attributes:
        desk: the target under them.
        rated: where everything goes, with the engine's dry run.
        args: all flags of the launch, those that place at the end.
    """

    desk: Desk
    rated: Rated
    args: tuple[str, ...]


@dataclass(kw_only=True)
class LocalBench:
    """Tries settings on the devices of a rig.

    Attributes:
        desk: the target as it stands, on the rig's machine.
        rig: the engine and the devices.
        start: the settings of the target as it stands.
        own: the placement of models.conf as flags; None where it has none.
        goal: what a placement is to be best at.
        patience_s: seconds without any movement after which one is stalled.
        margins_bytes: left free on each device; more after it ran out of memory.
        folder: for the engine's logs.
        purse: pays for launches.
    """

    desk: Desk
    rig: Rig
    start: Settings
    own: tuple[str, ...] | None
    goal: Goal
    patience_s: float
    margins_bytes: tuple[int, ...]
    folder: Path
    purse: Purse

    def trial(
        self,
        settings: Settings,
        name: str,
        on_progress: Callable[[LoadProgress], None],
    ) -> Tried:
        """Plan, dry run, launch; again with more room where memory ran out."""
        ready = self.ready(settings)
        if isinstance(ready, Tried):
            return ready
        tried = self._launched(settings, ready, name, on_progress)
        if tried.came is not Came.RAN_OUT or not self.purse.allows(1):
            return tried
        roomier = self.ready(settings)
        if isinstance(roomier, Tried) or roomier.args == ready.args:
            return tried
        return self._launched(settings, roomier, f"{name}-roomier", on_progress)

    def under(self, settings: Settings) -> Desk:
        """The target with the settings, on the same machine."""
        target = self.desk.target
        extra = extra_under(target.extra_args, settings, self.start)
        work = workload_under(target.workload, settings)
        asked = replace(target, extra_args=extra, workload=work)
        return replace(self.desk, target=asked, heard=[])

    def ready(self, settings: Settings) -> Ready | Tried:
        """Where everything would go; what keeps it from being launched, otherwise."""
        desk = self.under(settings)
        try:
            found = self._placed(desk, settings)
        finally:
            desk.remember()
        if isinstance(found, str):
            self.require_devices()
            return _not_launched(settings, Came.REFUSED, found)
        if isinstance(found, int):
            why = f"{size_text(found)} short on each device by formula"
            return _not_launched(settings, Came.DOES_NOT_FIT, why, found)
        return self._checked(settings, desk, found)

    def require_devices(self) -> None:
        """Check that the devices are still there.

        Raises:
            MachineError: one of them is gone.
        """
        listed = {device.name for device in list_devices(self.rig.engine)}
        gone = [d.name for d in self.desk.machine.devices if d.name not in listed]
        if gone:
            raise MachineError(
                f"{', '.join(gone)} is not there any more",
                hint="see to the device; --resume goes on without what took it away",
            )

    def _placed(self, desk: Desk, settings: Settings) -> Rated | str | int:
        if settings[PLACEMENT] == OWN and self.own is not None:
            return self._as_it_stands(desk, self.own)
        return self.planned(desk)

    def _as_it_stands(self, desk: Desk, flags: tuple[str, ...]) -> Rated | str:
        placement = placement_from_args(flags, desk.target.shape, desk.machine)
        rated = rate(candidate_of(placement, placement, desk), desk)
        return self._refusal(desk, rated) or replace(rated, args=flags)

    def planned(self, desk: Desk) -> Rated | str | int:
        """The best that fits by dry run; the least that is missing otherwise.

        What the engine says beyond the formula corrects it, and it is asked again.
        """
        planner, rated = planner_of(desk, self.margins_bytes), None
        for _ in range(DRY_RUNS):
            choice = planner.best(self.goal)
            if choice is None:
                break
            placement = choice.placement
            rated = rate(candidate_of(placement, placement, desk, choice.gap), desk)
            refused = self._refusal(desk, rated)
            if refused is not None:
                return refused
            if self._short(rated)[0] <= 0:
                return rated
            planner = planner.afresh()
        return rated or planner.shortfall() or 0

    def _refusal(self, desk: Desk, rated: Rated) -> str | None:
        """Why the engine would not run it at all."""
        if not desk.is_refused(rated.launched):
            return None
        return desk.refusal(rated.launched)

    def _short(self, rated: Rated) -> tuple[int, str]:
        """What is missing most of a device that holds something, and which it is."""
        devices = self.desk.machine.devices
        return max(
            (margin - left if held.total_bytes else 0, device.name)
            for left, margin, held, device in zip(
                rated.headroom_bytes,
                self.margins_bytes,
                rated.best.devices,
                devices,
                strict=True,
            )
        )

    def _checked(self, settings: Settings, desk: Desk, rated: Rated) -> Ready | Tried:
        """Ready, unless the dry run shows that it does not fit or is not to be had."""
        target, mode = desk.target, settings["sm"]
        asked = ("-m", str(target.file.path), *target.workload.args())
        args = (*asked, *target.extra_args, *split_by(mode, rated.args))
        if mode != "layer":
            why = self._refused_split(args)
            if why is not None:
                return _not_launched(settings, Came.REFUSED, why)
            return Ready(desk=desk, rated=rated, args=args)
        short, device = self._short(rated)
        if short > 0:
            said = "formula" if rated.dry_run is None else "dry run"
            why = f"{size_text(short)} short on {device} by {said}"
            return _not_launched(settings, Came.DOES_NOT_FIT, why, short)
        return Ready(desk=desk, rated=rated, args=args)

    def _refused_split(self, args: tuple[str, ...]) -> str | None:
        """Why the engine cannot split so; its figures of that mean nothing."""
        with TemporaryDirectory(prefix="placer-") as folder:
            log = Path(folder) / "dry-run.log"
            said = dry_run(self.rig.runner, args, self.desk.machine, log_path=log)
            reason = None if said is not None else refusal(log)
        return None if reason is None or NOT_FITTED in reason else reason

    def _launched(
        self,
        settings: Settings,
        ready: Ready,
        name: str,
        on_progress: Callable[[LoadProgress], None],
    ) -> Tried:
        """Once, or again if somebody took its port or its memory; the ledger learns."""
        for attempt in range(ATTEMPTS):
            log = self.folder / f"{name}{f'-{attempt + 1}' if attempt else ''}.log"
            trial = self._launch(ready, log, on_progress)
            if not trial.is_disturbed:
                break
        if trial.verdict.outcome.is_oom and settings[PLACEMENT] != OWN:
            self._leave_more(trial.verdict)
        return _tried(settings, trial)

    def _launch(
        self, ready: Ready, log: Path, on_progress: Callable[[LoadProgress], None]
    ) -> Trial:
        desk, machine, rated = ready.desk, self.desk.machine, ready.rated
        target, calibration = desk.target, desk.calibration
        test = load_test(target, self.rig, Proof.FULL, self.patience_s)
        forecast = forecast_of(test, calibration, target)
        placement = rated.candidate.placement
        probe = Probe(
            number=self.purse.launched + 1,
            strategy=strategy_of(placement, target.shape),
            placement=placement,
            kept=experts_kept(placement, target.shape),
            args=ready.args,
            formula=rated.candidate.estimate,
            dry_run=rated.dry_run,
            purpose="tuning",
            speed=None if forecast is None else forecast.speed(rated.launched),
        )
        seen = test.observe(ready.args, log_path=log, on_progress=on_progress)
        self.purse.spend(seen.total_s)
        verdict = judge(seen, machine, Proof.FULL)
        trial = Trial(probe=probe, observation=seen, verdict=verdict)
        if "row" not in ready.args and "tensor" not in ready.args:
            desk.learned.keep_trials(target, machine, [trial], calibration)
        return trial

    def _leave_more(self, verdict: Verdict) -> None:
        """Of the device that ran out; of all where the log names none."""
        devices = self.desk.machine.devices
        named = [verdict.device in (d.name, d.buffer_type) for d in devices]
        self.margins_bytes = tuple(
            margin + _step(device.total_bytes) * (is_named or not any(named))
            for margin, device, is_named in zip(
                self.margins_bytes, devices, named, strict=True
            )
        )


def _step(total_bytes: int) -> int:
    return min(STEP_BYTES, total_bytes // STEP_SHARE)


def split_by(mode: str, flags: Sequence[str]) -> tuple[str, ...]:
    """The flags of a placement, split by rows or tensors instead of layers."""
    if mode == "layer":
        return tuple(flags)
    return (*flags[:2], "-sm", mode, *flags[2:])


def _not_launched(
    settings: Settings, came: Came, why: str, short_bytes: int | None = None
) -> Tried:
    return Tried(
        number=0, settings=settings, came=came, why=why, short_bytes=short_bytes
    )


def _tried(settings: Settings, trial: Trial) -> Tried:
    """What a launch amounts to."""
    outcome, pace = trial.verdict.outcome, _pace(trial.observation)
    came, why = Came.MEASURED, ""
    if outcome.is_oom or outcome is Outcome.SPILLED:
        came = Came.RAN_OUT
    elif outcome is not Outcome.FITS or pace is None:
        came = Came.FAILED
    if came is not Came.MEASURED:
        pace, why = None, _why(trial.verdict)
    return Tried(
        number=0,
        settings=settings,
        came=came,
        args=trial.probe.args,
        pace=pace,
        why=why,
        record=trial_record(trial),
    )


def _pace(seen: Observation) -> Pace | None:
    single, prefill = seen.single, seen.prompt_tokens_per_s
    if single is None or not single.decoded_tokens_per_s or not prefill:
        return None
    return Pace(decode=single.decoded_tokens_per_s, prefill=prefill)


def _why(verdict: Verdict) -> str:
    where = "" if verdict.device is None else f" on {verdict.device}"
    evidence = f": {verdict.evidence[0]}" if verdict.evidence else ""
    return f"{verdict.outcome.value}{where}{evidence}"
