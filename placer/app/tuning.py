"""What tuning starts from: the devices, the study, and what may be tried."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from placer.app.bench import LocalBench
from placer.app.desk import open_desk_on
from placer.app.planned import margins_bytes, planner_of
from placer.app.standing import own_placement
from placer.app.study import fingerprint, new_folder
from placer.engine.loadtest import PATIENCE_S
from placer.errors import InputError
from placer.machine.lock import locked
from placer.placement import placement_from_args
from placer.plan import Goal
from placer.tune.budget import Budget, Purse
from placer.tune.knobs import OWN, PLACEMENT, PLANNED, settings_of
from placer.tune.space import Space, Start
from placer.tune.store import ABOUT, Store, open_study, require_alike

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import optuna

    from placer.app.desk import Desk
    from placer.app.rig import Rig
    from placer.app.target import Target
    from placer.app.where import Where
    from placer.placement import Placement

# One folder deeper than searches: what looks for searches does not see it.
FOLDER = "tuned"
FILE = "optuna.journal"
USUAL_BUDGET = Budget(seconds=20 * 60)


@dataclass(frozen=True, slots=True, kw_only=True)
class TuneOptions:
    """What is tuned for, with what, and what becomes of it.

    Attributes:
        goal: what it is to be best at.
        budget: what may be spent, measuring again included.
        margins_mib: MiB to leave free on each device; one figure is for all.
        patience_s: seconds without any movement after which a launch is stalled.
        vary: values to try by knob, instead of the usual ones.
        only: whether nothing else is varied.
        accept_quality_loss: whether what costs quality may be chosen.
        quality: whether it is measured what cache types cost.
        resume: whether the newest study of the profile goes on.
        storage: a file or a URL that several machines share; None for a new file.
        write: whether a better answer goes to models.conf.
    """

    goal: Goal = Goal.DECODE
    budget: Budget = USUAL_BUDGET
    margins_mib: tuple[int, ...] = (0,)
    patience_s: float = PATIENCE_S
    vary: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    only: bool = False
    accept_quality_loss: bool = False
    quality: bool = True
    resume: bool = False
    storage: str | None = None
    write: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """A study that is open, on devices that are there.

    Attributes:
        bench: tries settings.
        store: the study.
        storage: where it lies.
        folder: for the engine's logs.
    """

    bench: LocalBench
    store: Store
    storage: str
    folder: Path


@contextmanager
def open_tuning(target: Target, where: Where, options: TuneOptions) -> Iterator[Tuning]:
    """The study and the devices; nobody else's search uses these meanwhile."""
    folder, storage = _places(target, where, options)
    with (
        where.rig(target.rpc) as opened,
        open_desk_on(target, where, opened) as (desk, rig),
        locked(desk.machine, f"placer tune {target.name}", owner=rig.owner),
    ):
        margins = margins_bytes(options.margins_mib, desk.machine)
        planned = planner_of(desk, margins).best(options.goal)
        placement = None if planned is None else planned.placement
        own = _own(desk, placement)
        start = settings_of(target.workload, target.extra_args)
        start[PLACEMENT] = PLANNED if own is None else OWN
        study = open_study(storage, _study_name(desk, options.goal))
        space = _space(desk, start, placement, options, study)
        require_alike(study, _about(desk, rig, options, space))
        folder.mkdir(parents=True, exist_ok=True)
        store = Store(study=study, space=space)
        purse = Purse(budget=options.budget)
        bench = LocalBench(
            desk=desk,
            rig=rig,
            start=start,
            own=own,
            goal=options.goal,
            patience_s=options.patience_s,
            margins_bytes=margins,
            folder=folder,
            purse=purse,
        )
        yield Tuning(bench=bench, store=store, storage=storage, folder=folder)


def _places(target: Target, where: Where, options: TuneOptions) -> tuple[Path, str]:
    """The folder of the logs, and where the study lies.

    Raises:
        InputError: there is nothing to resume.
    """
    parent = where.logs / target.name / FOLDER
    if options.storage is not None:
        return new_folder(parent), options.storage
    if not options.resume:
        folder = new_folder(parent)
        return folder, str(folder / FILE)
    found = sorted(path.parent for path in parent.glob(f"*/{FILE}"))
    if not found:
        raise InputError(
            f"{target.name} was not tuned before under {where.logs}",
            hint="leave out --resume to begin",
        )
    return found[-1], str(found[-1] / FILE)


def _own(desk: Desk, planned: Placement | None) -> tuple[str, ...] | None:
    """The placement of models.conf; None where it has none, or the plan's.

    Nor where it is of other devices than there are.
    """
    target = desk.target
    try:
        flags = own_placement(target)
        found = placement_from_args(flags, target.shape, desk.machine)
    except InputError:
        return None
    return None if found == planned else flags


def _study_name(desk: Desk, goal: Goal) -> str:
    target, build = desk.target, desk.machine.engine_build
    return f"{target.name}/{fingerprint(target.file)}/{build}/{goal.value}"


def _space(
    desk: Desk,
    settings: Mapping[str, str],
    placement: Placement | None,
    options: TuneOptions,
    study: optuna.Study,
) -> Space:
    """What may be tried: as the user names it, else as the study has it already."""
    import psutil

    target = desk.target
    cores = psutil.cpu_count(logical=False) or 1, psutil.cpu_count() or 1
    start = Start(
        settings=settings,
        ctx=target.workload.ctx,
        shape=target.shape,
        machine=desk.machine,
        placement=placement,
        cores=cores,
    )
    space = start.space(options.vary, only=options.only)
    known = study.user_attrs.get(ABOUT)
    if known is None or options.vary or options.only:
        return space
    values = {name: tuple(found) for name, found in known["values"].items()}
    return replace(space, values=values)


def _about(desk: Desk, rig: Rig, options: TuneOptions, space: Space) -> dict[str, Any]:
    """What a study is of: of anything else it must not be told."""
    target = desk.target
    return {
        "devices": [[d.description, d.total_bytes] for d in desk.machine.devices],
        "model": fingerprint(target.file),
        "engine": rig.engine.build,
        "workload": asdict(target.workload),
        "goal": options.goal.value,
        "start": dict(space.start),
        "values": {name: list(found) for name, found in space.values.items()},
        "extra_args": list(target.extra_args),
    }
