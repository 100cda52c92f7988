"""Opening and closing the record of a search."""

from __future__ import annotations

import hashlib
import re
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from placer.engine.loadtest import PATIENCE_S, LoadTest
from placer.engine.observation import Proof
from placer.errors import InterruptedSearchError, PlacerError
from placer.machine.host import boot_id
from placer.plan import Goal
from placer.search.events import StudyStarted
from placer.search.forecast import Forecast
from placer.search.journal import SCHEMA, Journal
from placer.search.pace import strangers
from placer.search.planning import Planning
from placer.search.search import Found, Search
from placer.speed import rates_of

STAMP = re.compile(r"\d{8}-\d{6}(\.\d{3})?")

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from placer.app.contest import Contest
    from placer.app.desk import Desk
    from placer.app.rig import Rig
    from placer.app.target import Target
    from placer.gguf import GGUFFile
    from placer.measure.events import Event as MeasureEvent
    from placer.plan import Planner
    from placer.search.events import Event
    from placer.search.recall import Recall

    AnyEvent = Event | MeasureEvent
    from placer.speed import Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyOptions:
    """What is searched for, and how far each launch is taken.

    Attributes:
        goal: what the answer is to be best at.
        margins_mib: MiB to leave free on each device; one figure is for all.
        proof: how far each launch is taken.
        patience_s: seconds without any movement after which a launch is stalled.
        by_launch: whether only a launch that ran out of memory shows that a device
            takes no more.
        resume: whether the newest search that was broken off goes on.
        compare_s: seconds for which the answer is measured beside ``--fit`` and one
            GPU; None for not at all.
    """

    goal: Goal = Goal.DECODE
    margins_mib: tuple[int, ...] = (0,)
    proof: Proof = Proof.FULL
    patience_s: float = PATIENCE_S
    by_launch: bool = False
    resume: bool = False
    compare_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A search that has ended, where its record lies, and what it was held against."""

    folder: Path
    found: Found
    contest: Contest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """All that a search starts from.

    Attributes:
        desk: the target on the devices that are used, in their order.
        rig: the engine, and these devices.
        planner: places the target on them.
        options: what is searched for.
        header: the first line of its record.
    """

    desk: Desk
    rig: Rig
    planner: Planner
    options: StudyOptions
    header: dict[str, Any]


def run_study(
    setting: Setting,
    *,
    logs: Path,
    recall: Recall | None = None,
    on_event: Callable[[AnyEvent], None],
) -> Study:
    """Search, with every step on disk before the next; then it is in the ledger too.

    Args:
        setting: what it starts from.
        logs: where its record goes.
        recall: the search that goes on; None for a new one.
        on_event: told of all that happens.

    Raises:
        SearchError: nothing was seen to fit.
        JournalError: the record cannot be written.
        InterruptedSearchError: Ctrl-C.
    """
    desk, rig, target = setting.desk, setting.rig, setting.desk.target
    folder = new_folder(logs / target.name) if recall is None else recall.folder
    with closing(Journal(folder)) as journal:
        search = _search(setting, journal, recall, on_event)
        kind = "study" if recall is None else "resumed"
        journal.append(kind, setting.header)
        on_event(
            StudyStarted(
                folder=journal.folder,
                machine=rig.machine,
                compiles_shaders=rig.compiles_shaders,
            )
        )
        try:
            return _recorded(search, setting, on_event)
        finally:
            new = [t for t in search.trials if not search.is_recalled(t)]
            desk.learned.keep_trials(target, rig.machine, new, desk.calibration)


def _search(
    setting: Setting,
    journal: Journal,
    recall: Recall | None,
    on_event: Callable[[AnyEvent], None],
) -> Search:
    desk, options, target = setting.desk, setting.options, setting.desk.target
    test = load_test(target, setting.rig, options.proof, options.patience_s)
    return Search(
        test=test,
        model_path=str(target.file.path),
        extra_args=target.extra_args,
        journal=journal,
        on_event=on_event,
        planning=Planning(
            planner=setting.planner,
            goal=options.goal,
            formula=desk.formula,
            dry_run=desk.ask,
        ),
        forecast=forecast_of(test, desk.calibration, target),
        by_launch=options.by_launch,
        recall=recall,
        # The speed of emulated devices means nothing.
        strangers=() if setting.rig.emulated else strangers(test.machine),
        boot=boot_id(),
    )


def load_test(target: Target, rig: Rig, proof: Proof, patience_s: float) -> LoadTest:
    """What is asked of every launch of the target."""
    return LoadTest(
        runner=rig.runner,
        machine=rig.machine,
        shape=target.shape,
        workload=target.workload,
        proof=proof,
        watch=rig.watch,
        patience_s=patience_s,
        free_now=rig.free_bytes,
    )


def forecast_of(
    test: LoadTest, calibration: Calibration, target: Target
) -> Forecast | None:
    """None where tokens are drafted, of which the speed model knows nothing."""
    if target.workload.drafted:
        return None
    rates = rates_of(test.machine, calibration, target.threads)
    return Forecast(test=test, rates=rates)


def _recorded(
    search: Search, setting: Setting, on_event: Callable[[AnyEvent], None]
) -> Study:
    """What the search found, its end on record whatever it was."""
    budget_s, held = setting.options.compare_s, None
    try:
        found = search.run()
        if budget_s is not None and found.stopped is None:
            from placer.app.rivals import measured

            beside = measured(search, found, setting, budget_s, on_event)
            found, held = beside.found, beside.contest
    except KeyboardInterrupt:
        _end(search, "interrupted")
        raise _interrupted(setting.desk.target, search) from None
    except PlacerError as error:
        _end(search, str(error))
        raise
    _end(search, found.stopped, found)
    return Study(folder=search.journal.folder, found=found, contest=held)


def fingerprint(file: GGUFFile) -> str:
    """Sixteen hex digits that change with any tensor or key of the model."""
    digest = hashlib.sha256()
    for key in sorted(file.metadata):
        digest.update(f"{key}={file.metadata[key]!r}\n".encode(errors="replace"))
    for tensor in file.tensors:
        digest.update(f"{tensor!r}\n".encode(errors="replace"))
    return digest.hexdigest()[:16]


def _interrupted(target: Target, search: Search) -> InterruptedSearchError:
    hint = "the same command with --resume goes on"
    if search.best is not None and target.profile is not None:
        hint += f", placer apply {target.name} writes the best so far"
    count = len(search.trials)
    times = "1 launch" if count == 1 else f"{count} launches"
    return InterruptedSearchError(f"interrupted after {times}", hint=hint)


def _end(search: Search, stopped: str | None, found: Found | None = None) -> None:
    best = search.best
    search.journal.append(
        "end",
        {
            "best": None if best is None else best.probe.number,
            "stopped": stopped,
            "launches": len(search.trials),
            "limits": [] if found is None else [x.record() for x in found.limits],
        },
    )


def search_header(
    target: Target, rig: Rig, options: StudyOptions, margins_bytes: Sequence[int]
) -> dict[str, Any]:
    """The first line of a search's record: what else its answer depends on."""
    return {
        **study_header(target, rig, options.proof),
        "goal": options.goal.value,
        "margins_bytes": list(margins_bytes),
        "by_launch": options.by_launch,
    }


def study_header(target: Target, rig: Rig, proof: Proof) -> dict[str, Any]:
    """The first line of a record: what is launched, on what, how far."""
    file = target.file
    return {
        "schema": SCHEMA,
        "profile": target.name,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "model": {
            "name": file.path.name,
            "architecture": file.architecture,
            "shards": len(file.shards),
            "size_bytes": file.size_bytes,
            "n_layer": target.shape.n_layer_all,
            "fingerprint": fingerprint(file),
        },
        "workload": asdict(target.workload),
        "extra_args": list(target.extra_args),
        "devices": [
            {
                "name": device.name,
                "buffer_type": device.buffer_type,
                "description": device.description,
                "total_bytes": device.total_bytes,
                "free_bytes": device.free_bytes,
                "driver": None if device.nvml is None else device.nvml.driver,
            }
            for device in rig.machine.devices
        ],
        "rpc": rig.engine.rpc,
        "engine": rig.engine.build,
        "image": rig.engine.image,
        "emulated": rig.emulated,
        "proof": proof.name.lower(),
    }


def new_folder(parent: Path) -> Path:
    """A folder named by the time, and behind all that are there already.

    The newest search is the one whose folder comes last, whatever the clock did.
    """
    name = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    there = sorted(f.name for f in parent.glob("*") if STAMP.fullmatch(f.name))
    if there and there[-1] >= name:
        time, _, count = there[-1].partition(".")
        name = f"{time}.{int(count or 1) + 1:03d}"
    return parent / name
