"""Verify: what models.conf says is launched again, and held to the record of it."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

from placer.app.compared import (
    RATES,
    Figure,
    Kind,
    Recorded,
    Tolerance,
    compared,
    recorded,
    remarks,
)
from placer.app.rig import find_engine
from placer.app.standing import Standing, open_standing
from placer.app.study import new_folder, study_header
from placer.app.target import model_path
from placer.engine.judge import Outcome
from placer.engine.loadtest import PATIENCE_S
from placer.engine.observation import Proof
from placer.errors import (
    InputError,
    InterruptedSearchError,
    MachineError,
    PlacerError,
    SearchError,
)
from placer.profiles import read_conf
from placer.search.events import StudyStarted
from placer.search.journal import Journal
from placer.search.records import StudyRecord
from placer.search.trial import trial_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from placer.app.smoke import Smoke
    from placer.app.smoke_question import SmokeOptions
    from placer.app.where import Where
    from placer.engine.judge import Verdict
    from placer.profiles import Profile
    from placer.search.events import Event
    from placer.search.trial import Trial

# One folder deeper than searches: what looks for searches does not see it.
FOLDER = "verified"


class Status(Enum):
    """What became of a profile, in one word."""

    SAME = "same"
    BETTER = "better"
    WORSE = "worse"
    DOES_NOT_FIT = "does-not-fit"
    FAILED = "failed"
    NO_RECORD = "no-record"
    NOT_VERIFIED = "not-verified"
    SKIPPED = "skipped"

    @property
    def is_regression(self) -> bool:
        """Whether something that was promised does not hold any more."""
        return self in (Status.WORSE, Status.DOES_NOT_FIT, Status.FAILED)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOptions:
    """How far a launch is taken, and what counts as no difference.

    Attributes:
        proof: loaded, or its context filled.
        patience_s: seconds without any movement after which a launch is stalled.
        tolerance: what counts as no difference.
        smoke: what is asked of those that fit; None for nothing.
    """

    proof: Proof = Proof.FULL
    patience_s: float = PATIENCE_S
    tolerance: Tolerance = field(default_factory=Tolerance)
    smoke: SmokeOptions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """One profile.

    Attributes:
        name: the profile.
        status: what became of it.
        reason: why there was nothing to compare with, or nothing was launched.
        exit_code: of what kept it from being verified; 0 where nothing did.
        verdict: on the launch; None where there was none.
        seen: the record of the launch.
        recorded: the search that it was held to; None where there is none.
        figures: what was compared.
        notes: what else is not as it was, in words.
        smoke: what the smoke test said; None where there was none.
    """

    name: str
    status: Status
    reason: str | None = None
    exit_code: int = 0
    verdict: Verdict | None = None
    seen: StudyRecord | None = None
    recorded: StudyRecord | None = None
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    smoke: Smoke | None = None

    @property
    def code(self) -> int:
        """For scripts: 4 for a regression, else why it was not verified."""
        codes = [SearchError.exit_code if self.status.is_regression else self.exit_code]
        if self.smoke is not None:
            codes.append(self.smoke.code)
        return worst_code(codes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """All profiles that were asked for: the skipped ones, then the others in order."""

    profiles: tuple[Verification, ...]

    @property
    def exit_code(self) -> int:
        """For scripts: 4 for any regression, else why the first was not verified."""
        return worst_code([one.code for one in self.profiles])


def worst_code(codes: Sequence[int]) -> int:
    """Of several exit codes: a regression's, else the first that is none of success."""
    if SearchError.exit_code in codes:
        return SearchError.exit_code
    return next((code for code in codes if code), 0)


def verify(
    names: Sequence[str] | None,
    where: Where,
    options: VerifyOptions | None = None,
    *,
    on_event: Callable[[Event], None] | None = None,
) -> Verified:
    """Launch what profiles say, and compare with the record of it.

    Args:
        names: the profiles; None for all whose model is there.
        where: engine, devices, files.
        options: how far, and what counts as no difference.
        on_event: told of all that happens.

    Raises:
        InputError: no such profile, or none that can be launched.
        MachineError: no engine.
        JournalError: a launch cannot be recorded.
        InterruptedSearchError: Ctrl-C.
    """
    chosen, skipped = profiles_to_verify(names, where)
    asked = options or VerifyOptions()
    found = [verify_profile(name, where, asked, on_event) for name in chosen]
    if asked.smoke is not None:
        from placer.app.smoke import with_smoke

        found = [with_smoke(one, where, asked.smoke) for one in found]
    return Verified(profiles=(*skipped, *found))


def profiles_to_verify(
    names: Sequence[str] | None, where: Where
) -> tuple[tuple[str, ...], tuple[Verification, ...]]:
    """The profiles to launch, and those that are skipped for want of their model.

    Raises:
        InputError: no such profile, or none whose model is there.
        MachineError: no engine.
    """
    conf = read_conf(where.folders.conf_path)
    if names is None:
        skipped = tuple(_skipped(conf.profiles, where))
        absent = {one.name for one in skipped}
        chosen = tuple(p.id for p in conf.profiles if p.id not in absent)
    else:
        skipped = ()
        chosen = tuple(conf.profile(name).id for name in dict.fromkeys(names))
    if not chosen:
        raise InputError(
            "has no profile whose model is there",
            path=conf.path,
            hint="name the models folder with --models-dir",
        )
    require_engine(where)
    return chosen, skipped


def _skipped(profiles: Sequence[Profile], where: Where) -> Iterator[Verification]:
    for profile in profiles:
        reason = None
        if profile.model is None:
            reason = f"[{profile.id}] has no MODEL"
        else:
            try:
                model_path(profile.model, where.folders)
            except InputError as error:
                reason = error.problem
        if reason is not None:
            yield Verification(name=profile.id, status=Status.SKIPPED, reason=reason)


def require_engine(where: Where) -> None:
    """No engine is better said once than of every profile."""
    if where.image is None:
        find_engine(where.server, emulated=where.emulate is not None)
        return
    from placer.engine.docker import connect

    connect()


def verify_profile(
    name: str,
    where: Where,
    options: VerifyOptions,
    on_event: Callable[[Event], None] | None = None,
) -> Verification:
    """One profile; what keeps it from being launched is its reason, not an error.

    It is launched once, and a second time only if it was slower than recorded.

    Raises:
        JournalError: the launch cannot be recorded.
        InterruptedSearchError: Ctrl-C.
    """
    with ExitStack() as stack:
        try:
            opened = open_standing(
                name, where, proof=options.proof, patience_s=options.patience_s
            )
            standing = stack.enter_context(opened)
            target, machine = standing.target, standing.rig.machine
            record = recorded(where.logs, target, standing.placement, machine)
        except PlacerError as error:
            return _not_verified(name, error)
        journal = Journal(new_folder(where.logs / name / FOLDER))
        stack.enter_context(closing(journal))
        header = study_header(target, standing.rig, standing.proof)
        journal.append("verify", header)
        check = _Check(
            standing=standing,
            record=record,
            tolerance=options.tolerance,
            journal=journal,
            header=header,
            on_event=on_event or _ignore,
        )
        try:
            return check.run()
        except MachineError as error:
            return _not_verified(name, error)


def _ignore(event: Event) -> None:
    """Nobody is listening."""


def _not_verified(name: str, error: PlacerError) -> Verification:
    return Verification(
        name=name,
        status=Status.NOT_VERIFIED,
        reason=str(error),
        exit_code=error.exit_code,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Check:
    """One profile, being verified: each step is on disk before the next."""

    standing: Standing
    record: Recorded
    tolerance: Tolerance
    journal: Journal
    header: dict[str, Any]
    on_event: Callable[[Event], None]

    def run(self) -> Verification:
        """Launch it and hold it to its record; the end is on record whatever it is."""
        rig = self.standing.rig
        self.on_event(
            StudyStarted(
                folder=self.journal.folder,
                machine=rig.machine,
                compiles_shaders=rig.compiles_shaders,
            )
        )
        try:
            found = self._found()
        except KeyboardInterrupt:
            self.journal.append("end", {"stopped": "interrupted"})
            raise InterruptedSearchError(
                f"interrupted while verifying {self.standing.target.name}"
            ) from None
        except MachineError as error:
            self.journal.append("end", {"stopped": str(error)})
            raise
        self.journal.append("end", {"stopped": None, **outcome_record(found)})
        return found

    def _found(self) -> Verification:
        trial = self.standing.launch(self.journal, self.on_event)
        record = trial_record(trial)
        found = self._held_to_record(trial, record)
        if not any(f.is_slower for f in found.figures):
            return found
        again = self.standing.launch(
            self.journal,
            self.on_event,
            first=trial.probe.number + 1,
            purpose="slower than recorded: once more",
        )
        return self._held_to_record(again, _faster_of(record, trial_record(again)))

    def _held_to_record(self, trial: Trial, record: dict[str, Any]) -> Verification:
        """The verification that a launch amounts to, read as a search of one."""
        old = self.record.study
        seen = StudyRecord(
            folder=self.journal.folder,
            header=self.header,
            skipped=(),
            trials=(record,),
            in_flight=(),
            end=None,
        )
        figures = compared(old, seen, self.tolerance)
        return Verification(
            name=self.standing.target.name,
            status=_status(trial.verdict, old, figures),
            reason=self.record.missing,
            verdict=trial.verdict,
            seen=seen,
            recorded=old,
            figures=figures,
            notes=() if old is None else remarks(old, seen),
        )


def _faster_of(first: dict[str, Any], again: dict[str, Any]) -> dict[str, Any]:
    """The second launch, with the best speed of both: noise only ever slows."""
    if again["verdict"] != Outcome.FITS.value:
        return again
    best = {name: max(first[name] or 0, again[name] or 0) or None for name in RATES}
    return again | best


def _status(
    verdict: Verdict, old: StudyRecord | None, figures: Sequence[Figure]
) -> Status:
    if verdict.outcome is not Outcome.FITS:
        return Status.DOES_NOT_FIT if verdict.outcome.says_size else Status.FAILED
    if old is None:
        return Status.NO_RECORD
    kinds = {figure.kind for figure in figures}
    if Kind.WORSE in kinds:
        return Status.WORSE
    return Status.BETTER if Kind.BETTER in kinds else Status.SAME


def outcome_record(found: Verification) -> dict[str, Any]:
    """What became of a profile, as the journal and ``--json`` have it."""
    old = found.recorded
    return {
        "status": found.status.value,
        "reason": found.reason,
        "recorded": None if old is None else str(old.folder),
        "recorded_engine": None if old is None else old.header["engine"],
        "figures": [
            asdict(figure)
            | {"kind": None if figure.kind is None else figure.kind.value}
            for figure in found.figures
        ],
        "notes": list(found.notes),
    }
