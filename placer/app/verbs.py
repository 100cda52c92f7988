"""The verbs of the command, as a library: each returns a value and prints nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from placer.app.setting import open_setting
from placer.app.study import Study, StudyOptions, fingerprint, run_study
from placer.app.target import Asked, Target, resolve
from placer.app.write import Applied, applied_study, require_writable
from placer.errors import InputError, SearchError
from placer.gguf import GGUFFile, read_gguf
from placer.model import ModelShape, model_shape
from placer.profiles import Conf
from placer.profiles import undo as undo_conf
from placer.search.records import latest_proved, read_study

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.app.where import Request, Where
    from placer.ledger.summary import Line
    from placer.machine import Machine
    from placer.measure.events import Event as MeasureEvent
    from placer.search.events import Event

DOCS_DEFAULT = Path("docs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A model file: its header and what the engine makes of it."""

    file: GGUFFile
    shape: ModelShape


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimized:
    """A search that found its best placement, and the profile it was written to."""

    target: Target
    machine: Machine
    study: Study
    applied: Applied | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRead:
    """The ledger, summed up.

    Attributes:
        path: of its file.
        count: entries in it.
        lines: one for each engine, backend and architecture.
    """

    path: Path
    count: int
    lines: tuple[Line, ...]


def inspect(model: Path) -> Inspection:
    """What a model file is; only its header is read.

    Raises:
        InputError: it is no whole GGUF.
    """
    file = read_gguf(model)
    return Inspection(file=file, shape=model_shape(file))


def devices(where: Where) -> Machine:
    """The devices that the engine lists, and the host; or those that are described.

    Raises:
        MachineError: no engine, or no device.
        InputError: the description cannot be understood.
    """
    described = where.described()
    if described is not None:
        return described
    with where.rig() as rig:
        return rig.machine


def optimize(
    name: str,
    where: Where,
    request: Request,
    options: StudyOptions | None = None,
    *,
    write: bool = True,
    on_event: Callable[[Event | MeasureEvent], None] | None = None,
) -> Optimized:
    """The best placement that was seen to fit, written to the profile.

    Args:
        name: a profile, or a model file (then nothing is written).
        where: engine, devices, files.
        request: changes to the workload.
        options: what it is to be best at, and how far launches are taken.
        write: False leaves models.conf as it is, and only says what would change.
        on_event: told of all that happens.

    Raises:
        SearchError: nothing was seen to fit.
        InputError, MachineError, JournalError: as their names say.
    """
    target = resolve(name, where.folders, request.asked)
    if target.profile is not None and write:
        require_writable(target.profile.path)
    with open_setting(target, where, options or StudyOptions()) as (setting, recall):
        study = run_study(
            setting, logs=where.logs, recall=recall, on_event=on_event or _ignore
        )
    if study.found.stopped is not None:
        raise _stopped_early(target, study.found.stopped)
    applied = None
    if target.profile is not None:
        path, record = target.profile.path, read_study(study.folder)
        applied = applied_study(record, name, path, write=write)
    machine = setting.rig.machine
    return Optimized(target=target, machine=machine, study=study, applied=applied)


def _stopped_early(target: Target, why: str) -> SearchError:
    hint = "the best so far is on record"
    if target.profile is not None:
        hint += f"; placer apply {target.name} writes it, --resume goes on"
    return SearchError(f"the search stopped early: {why}", hint=hint)


def _ignore(event: Event | MeasureEvent) -> None:
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


def ledger(where: Where) -> LedgerRead:
    """What dry runs and launches have taught so far.

    Raises:
        JournalError: the file is damaged or cannot be read.
    """
    from placer import VERSION
    from placer.ledger import Ledger, default_path
    from placer.ledger.summary import summary

    path = where.ledger or default_path()
    found = Ledger(path).read()
    return LedgerRead(
        path=path,
        count=len(found.entries) + len(found.speeds),
        lines=summary(found.entries, found.speeds, VERSION),
    )
