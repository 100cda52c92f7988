"""The verbs of the command, as a library: each returns a value and prints nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from placer.app.rig import Rig, open_rig
from placer.app.study import Study, fingerprint, run_study
from placer.app.target import Asked, Folders, Target, resolve
from placer.app.write import Applied, applied_study, require_writable
from placer.engine.dryrun import dry_run
from placer.engine.loadtest import PATIENCE_S
from placer.engine.observation import Proof
from placer.errors import InputError, SearchError
from placer.gguf import GGUFFile, read_gguf
from placer.model import ModelShape, model_shape
from placer.placement import (
    Placement,
    placement_args,
    placement_from_args,
)
from placer.plan import Candidate, plan_candidates
from placer.plan.plan import (
    candidate_for_placement,
    formula_compute,
    headroom_bytes,
    unpipelined,
)
from placer.profiles import Conf
from placer.profiles import undo as undo_conf
from placer.search.records import latest_proved, read_study
from placer.search.search import launch_args

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from placer.machine import Machine
    from placer.memory import MemoryEstimate
    from placer.search.events import Event

LOGS_DEFAULT = Path("search_logs")
DOCS_DEFAULT = Path("docs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where everything is: the engine, its devices, the files.

    Attributes:
        server: the llama-server; None for ``PLACER_LLAMA_SERVER`` or the one on PATH.
        emulate: capacities in MiB of emulated GPUs, None for the real ones.
        rpc: endpoints of ``--rpc``.
        conf: the profile file; None for ``PLACER_CONF`` or ``models.conf``.
        models: the models folder; None for ``PLACER_MODELS_DIR`` or ``models``.
        logs: where searches are recorded.
    """

    server: Path | None = None
    emulate: tuple[int, ...] | None = None
    rpc: str | None = None
    conf: Path | None = None
    models: Path | None = None
    logs: Path = LOGS_DEFAULT

    @property
    def folders(self) -> Folders:
        """Where profiles and models are looked for."""
        return Folders(conf=self.conf, models=self.models)

    def rig(self, rpc: str | None = None) -> AbstractContextManager[Rig]:
        """The engine and the devices; ``rpc`` is a profile's own endpoints."""
        return open_rig(server=self.server, emulate=self.emulate, rpc=self.rpc or rpc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A model file: its header and what the engine makes of it."""

    file: GGUFFile
    shape: ModelShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Rated:
    """A placement with what formula and dry run say, kept apart.

    Attributes:
        candidate: the placement and its formula.
        args: its flags.
        dry_run: the engine's figures, None where it was not asked or did not answer.
        headroom_bytes: of each device, by the better of the two.
    """

    candidate: Candidate
    args: tuple[str, ...]
    dry_run: MemoryEstimate | None
    headroom_bytes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Ranked candidates for a target on a machine, best first."""

    target: Target
    machine: Machine
    candidates: tuple[Rated, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimized:
    """A search that found its largest placement, and the profile it was written to."""

    target: Target
    machine: Machine
    study: Study
    applied: Applied | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a model: changes to the profile's workload.

    Attributes:
        values: fields of ``Workload`` to change, by name; None leaves one as it is.
        extra_args: further flags for the engine, passed through.
        devices: names of the devices to use, in order; None for all.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    extra_args: tuple[str, ...] = ()
    devices: tuple[str, ...] | None = None

    @property
    def asked(self) -> Asked:
        """The same for the resolver."""
        return Asked(
            values=self.values, extra_args=self.extra_args, devices=self.devices
        )


def inspect(model: Path) -> Inspection:
    """What a model file is; only its header is read.

    Raises:
        InputError: it is no whole GGUF.
    """
    file = read_gguf(model)
    return Inspection(file=file, shape=model_shape(file))


def devices(where: Where) -> Machine:
    """The devices that the engine lists, and the host.

    Raises:
        MachineError: no engine, or no device.
    """
    with where.rig() as rig:
        return rig.machine


def estimate(
    name: str, where: Where, request: Request, placement: tuple[str, ...] = ()
) -> tuple[Target, Machine, Rated]:
    """What a placement holds: the given flags, else the profile's, else all on GPUs.

    Raises:
        PlacerError: as for ``plan``.
    """
    target = resolve(name, where.folders, request.asked)
    with where.rig(target.rpc) as opened:
        rig = opened.only(target.devices)
        flags = placement or target.placement_args
        chosen = placement_from_args(flags, target.shape, rig.machine)
        candidate = candidate_for_placement(
            chosen, target.shape, target.workload, rig.machine
        )
        rated = rate(candidate, DryRuns(target=target, rig=rig))
        return target, rig.machine, rated


def plan(name: str, where: Where, request: Request) -> Plan:
    """The placements worth trying, best first, each with the engine's dry run.

    Raises:
        InputError: the model or the profile is not what it should be.
        MachineError: no engine, or no device.
        SearchError: nothing fits, by formula.
    """
    target = resolve(name, where.folders, request.asked)
    with where.rig(target.rpc) as opened:
        rig = opened.only(target.devices)
        dry_runs = DryRuns(target=target, rig=rig)
        candidates = plan_candidates(
            target.shape, target.workload, rig.machine, dry_runs.compute_of
        )
        if not candidates:
            raise SearchError(
                f"no placement of {target.shape.name} fits by formula",
                hint="lower --ctx, -ub or the cache types, or free memory",
            )
        rated = tuple(rate(candidate, dry_runs) for candidate in candidates)
        return Plan(target=target, machine=rig.machine, candidates=rated)


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRuns:
    """The engine's word on placements of a target; each is asked once."""

    target: Target
    rig: Rig
    answers: dict[tuple[str, ...], MemoryEstimate | None] = field(default_factory=dict)

    def ask(self, placement: Placement) -> MemoryEstimate | None:
        """What the engine says that the placement would hold, None if nothing."""
        target = self.target
        args = launch_args(
            str(target.file.path),
            target.workload,
            target.extra_args,
            placement,
            target.shape,
            self.rig.machine,
        )
        if args not in self.answers:
            with TemporaryDirectory(prefix="placer-") as folder:
                log_path = Path(folder) / "dry-run.log"
                self.answers[args] = dry_run(
                    self.rig.runner, args, self.rig.machine, log_path=log_path
                )
        return self.answers[args]

    def compute_of(self, placement: Placement) -> Sequence[int]:
        """Compute buffers by the engine, by formula where it will not say."""
        said = self.ask(placement)
        if said is not None:
            return [device.compute_bytes or 0 for device in said.devices]
        target, machine = self.target, self.rig.machine
        return formula_compute(target.shape, target.workload, machine)(placement)


def rate(candidate: Candidate, dry_runs: DryRuns) -> Rated:
    """The candidate with the engine's own figures.

    Where it fits only without pipelining, those are the figures: the engine gives it
    up by itself.
    """
    machine = dry_runs.rig.machine
    placement = candidate.placement
    said = dry_runs.ask(placement)
    if said is not None and min(headroom_bytes(said, machine)) < 0:
        said = dry_runs.ask(unpipelined(placement))
    return Rated(
        candidate=candidate,
        args=tuple(placement_args(placement, dry_runs.target.shape, machine)),
        dry_run=said,
        headroom_bytes=headroom_bytes(said or candidate.estimate, machine),
    )


def optimize(
    name: str,
    where: Where,
    request: Request,
    *,
    proof: Proof = Proof.FULL,
    write: bool = True,
    patience_s: float = PATIENCE_S,
    on_event: Callable[[Event], None] | None = None,
) -> Optimized:
    """The largest placement that was seen to fit, written to the profile.

    Args:
        name: a profile, or a model file (then nothing is written).
        where: engine, devices, files.
        request: changes to the workload.
        proof: how far each launch is taken.
        write: False leaves models.conf as it is, and only says what would change.
        patience_s: seconds without any movement after which a launch is stalled.
        on_event: told of all that happens.

    Raises:
        SearchError: nothing was seen to fit.
        InputError, MachineError, JournalError: as their names say.
    """
    target = resolve(name, where.folders, request.asked)
    if target.profile is not None and write:
        require_writable(target.profile.path)
    with where.rig(target.rpc) as opened:
        rig = opened.only(target.devices)
        study = run_study(
            target,
            rig,
            logs=where.logs,
            proof=proof,
            patience_s=patience_s,
            on_event=on_event or _ignore,
        )
        machine = rig.machine
    if study.found.stopped is not None:
        raise _stopped_early(target, study.found.stopped)
    applied = None
    if target.profile is not None:
        path, record = target.profile.path, read_study(study.folder)
        applied = applied_study(record, name, path, write=write)
    return Optimized(target=target, machine=machine, study=study, applied=applied)


def _stopped_early(target: Target, why: str) -> SearchError:
    hint = "the best so far is on record"
    if target.profile is not None:
        hint += f"; placer apply {target.name} writes it"
    return SearchError(f"the search stopped early: {why}", hint=hint)


def _ignore(event: Event) -> None:
    """Nobody is listening."""


def apply(name: str, where: Where, *, write: bool = True) -> Applied:
    """Write what a search found to its profile.

    Args:
        name: the profile.
        where: the files.
        write: False only says what would change.

    Raises:
        InputError: no such profile, no search of it that found anything, another
            model by now, or the file cannot be written.
    """
    target = resolve(name, where.folders, Asked())
    if target.profile is None:
        raise InputError(f"{name} is no profile", hint="name one of models.conf")
    study = latest_proved(where.logs, target.name)
    model = study.header["model"]
    if model["fingerprint"] != fingerprint(target.file):
        raise InputError(
            f"the search in {study.folder} was of another model, {model['name']}",
            hint=f"run: placer optimize {name}",
        )
    return applied_study(study, name, target.profile.path, write=write)


def undo(where: Where, *, force: bool = False) -> Conf:
    """Take back placer's last write to the profile file.

    Raises:
        InputError: nothing to take back, or the file was changed since.
    """
    return undo_conf(where.folders.conf_path, force=force)


def report(where: Where, docs: Path = DOCS_DEFAULT) -> tuple[Path, ...]:
    """Write the documents that the journals amount to; their paths.

    Raises:
        JournalError: a journal is damaged.
    """
    from placer.report import written_reports

    if not where.logs.is_dir():
        raise InputError(
            "is no folder of searches", path=where.logs, hint="name it with --logs"
        )

    return written_reports(where.logs, docs)
