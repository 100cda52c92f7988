"""What loads and then runs out of memory in use is rejected, and the report says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer import app
from placer.app import rig as rig_module
from placer.engine.judge import Outcome
from placer.engine.observation import Proof, Stage
from placer.report import written_reports
from placer.search.events import Progress, StudyStarted
from placer.testing.models import write_llama

if TYPE_CHECKING:
    from pathlib import Path

    from placer.testing import EmulatedMachine

pytestmark = pytest.mark.engine

ROOM_MIB = 30
VALUES = {
    "ctx": 1024,
    "batch": 128,
    "ubatch": 64,
    "parallel": 2,
    "flash_attn": "off",
}
REQUEST = app.Request(values=VALUES, extra_args=("--no-warmup",))


def test_a_placement_that_dies_in_use_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second device gives nothing more once the first launch has loaded."""
    made: list[EmulatedMachine] = []
    make = rig_module._emulated

    def kept(capacities_mib: tuple[int, ...], folder: Path | None) -> EmulatedMachine:
        made.append(make(capacities_mib, folder))
        return made[-1]

    monkeypatch.setattr(rig_module, "_emulated", kept)
    model = write_llama(tmp_path / "model.gguf", n_layer=8, n_embd=512, n_ff=1024)
    folders: list[Path] = []

    def starve(event: object) -> None:
        if isinstance(event, StudyStarted):
            folders.append(event.folder)
        if not isinstance(event, Progress) or event.probe.number > 1:
            return
        if event.progress.stage is Stage.LOADED:
            log = (folders[0] / "001.log").read_text(errors="replace")
            has_failed = "OutOfDeviceMemory" in log
            made[0].set_capacity(1, ROOM_MIB if has_failed else 1)

    where = app.Where(emulate=(ROOM_MIB, ROOM_MIB), logs=tmp_path / "logs")
    options = app.StudyOptions(proof=Proof.PROMPT)
    found = app.optimize(str(model), where, REQUEST, options, on_event=starve)
    first, *others = found.study.found.trials
    assert first.verdict.outcome is Outcome.OOM_IN_USE
    assert first.observation.stage is Stage.LOADED
    assert others
    assert found.study.found.trial.verdict.outcome is Outcome.FITS
    assert found.study.found.trial.probe.placement != first.probe.placement
    written_reports(where.logs, tmp_path / "docs")
    text = (tmp_path / "docs" / "oom-results.md").read_text()
    assert "### In use" in text
    assert "OutOfDeviceMemory" in text
