"""Opening and closing the record of a search."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from placer.engine.loadtest import PATIENCE_S, LoadTest
from placer.errors import InterruptedSearchError, PlacerError
from placer.search.events import StudyStarted
from placer.search.forecast import Forecast
from placer.search.journal import SCHEMA, Journal
from placer.search.search import Found, Search
from placer.speed import FIELD_NOTES, rates_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.app.learned import Learned
    from placer.app.rig import Rig
    from placer.app.target import Target
    from placer.engine.observation import Proof
    from placer.gguf import GGUFFile
    from placer.search.events import Event
    from placer.speed import Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A search that has ended, and where its record lies."""

    folder: Path
    found: Found


def run_study(
    target: Target,
    rig: Rig,
    *,
    logs: Path,
    proof: Proof,
    patience_s: float = PATIENCE_S,
    on_event: Callable[[Event], None],
    learned: Learned,
) -> Study:
    """Search, with every step on disk before the next; then it is in the ledger too.

    Raises:
        SearchError: nothing was seen to fit.
        JournalError: the record cannot be written.
        InterruptedSearchError: Ctrl-C.
    """
    test = load_test(target, rig, proof, patience_s)
    calibration = learned.calibrated(FIELD_NOTES, target.shape, rig.machine)
    with closing(Journal(new_folder(logs / target.name))) as journal:
        search = Search(
            test=test,
            model_path=str(target.file.path),
            extra_args=target.extra_args,
            journal=journal,
            on_event=on_event,
            forecast=forecast_of(test, calibration, target),
        )
        journal.append("study", study_header(target, rig, proof))
        on_event(
            StudyStarted(
                folder=journal.folder,
                machine=rig.machine,
                compiles_shaders=rig.compiles_shaders,
            )
        )
        try:
            return Study(folder=journal.folder, found=_recorded(search, target))
        finally:
            learned.keep_trials(target, rig.machine, search.trials, calibration)


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


def _recorded(search: Search, target: Target) -> Found:
    """What the search found, its end on record whatever it was."""
    try:
        found = search.run()
    except KeyboardInterrupt:
        _end(search, "interrupted")
        raise _interrupted(target, search) from None
    except PlacerError as error:
        _end(search, str(error))
        raise
    _end(search, found.stopped)
    return found


def fingerprint(file: GGUFFile) -> str:
    """Sixteen hex digits that change with any tensor or key of the model."""
    digest = hashlib.sha256()
    for key in sorted(file.metadata):
        digest.update(f"{key}={file.metadata[key]!r}\n".encode(errors="replace"))
    for tensor in file.tensors:
        digest.update(f"{tensor!r}\n".encode(errors="replace"))
    return digest.hexdigest()[:16]


def _interrupted(target: Target, search: Search) -> InterruptedSearchError:
    hint = "nothing was written"
    if search.best is not None and target.profile is not None:
        hint += f"; placer apply {target.name} writes the best so far"
    count = len(search.trials)
    times = "1 launch" if count == 1 else f"{count} launches"
    return InterruptedSearchError(f"interrupted after {times}", hint=hint)


def _end(search: Search, stopped: str | None) -> None:
    best = search.best
    search.journal.append(
        "end",
        {
            "best": None if best is None else best.probe.number,
            "stopped": stopped,
            "launches": len(search.trials),
        },
    )


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
            }
            for device in rig.machine.devices
        ],
        "rpc": rig.engine.rpc,
        "engine": rig.engine.build,
        "emulated": rig.emulated,
        "proof": proof.name.lower(),
    }


def new_folder(parent: Path) -> Path:
    """A folder named by the time that is not there yet."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    folder = parent / stamp
    count = 1
    while folder.exists():
        count += 1
        folder = parent / f"{stamp}-{count}"
    return folder
