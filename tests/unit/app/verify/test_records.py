"""What verifications leave behind, and how they end."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from placer import app
from placer.app.compared import Figure, Kind
from placer.app.verified import Status, Verification
from placer.engine.observation import Proof
from placer.errors import (
    InputError,
    InterruptedSearchError,
    JournalError,
)
from placer.search.events import Progress
from placer.search.journal import FILE_NAME
from placer.search.records import latest_proved, study_folders
from placer.testing.fake_engine import Fault, running
from placer.units import MIB

if TYPE_CHECKING:
    from placer.search.events import Event
    from tests.unit.app.verify.conftest import Desk


def kinds(found: Verification) -> dict[str, Kind | None]:
    """What became of each figure."""
    return {f"{f.name} {f.device or ''}".strip(): f.kind for f in found.figures}


def test_apply_and_report_see_searches_alone(desk: Desk) -> None:
    """A verification is no search, though it is newer."""
    study = desk.optimize().study
    docs = desk.folder / "docs"
    pages = {path: path.read_bytes() for path in app.report(desk.where, docs)}
    conf = desk.where.folders.conf_path.read_bytes()
    desk.engine(overhead_mib={"Vulkan0": 99})
    desk.verify()

    assert study_folders(desk.where.logs) == (study.folder,)
    assert latest_proved(desk.where.logs, "tiny").folder == study.folder
    assert {p: p.read_bytes() for p in app.report(desk.where, docs)} == pages
    app.apply("tiny", desk.where)
    assert desk.where.folders.conf_path.read_bytes() == conf


def test_verifications_alone_are_nothing_to_apply(desk: Desk) -> None:
    """Nor to report."""
    desk.verify()
    with pytest.raises(InputError, match="no search of 'tiny'"):
        app.apply("tiny", desk.where)
    written = app.report(desk.where, desk.folder / "docs")
    assert [path.name for path in written] == ["oom-results.md"]


def test_ctrl_c_leaves_a_record_and_no_engine(desk: Desk) -> None:
    """As in a search."""

    def interrupt(event: Event) -> None:
        if isinstance(event, Progress):
            raise KeyboardInterrupt

    with pytest.raises(InterruptedSearchError, match="verifying tiny") as error:
        desk.verify(on_event=interrupt)
    assert error.value.exit_code == 130
    (journal,) = desk.journals()
    assert [record["kind"] for record in journal] == ["verify", "launching", "end"]
    assert journal[-1]["stopped"] == "interrupted"
    assert running(desk.folder / "llama-server") == ()


@pytest.mark.parametrize("records", [0, 1, 2, 3])
def test_a_full_disk_ends_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, records: int
) -> None:
    """No launch goes unrecorded, and no engine runs."""
    written: list[int] = []

    def fsync(descriptor: int) -> None:
        # The ledger's own file may be full; it costs a warning.
        path = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        if path.endswith(FILE_NAME):
            if len(written) >= records:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written.append(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(JournalError, match="No space left on device"):
        desk.verify()
    assert running(desk.folder / "llama-server") == ()
    assert desk.n_launches() == (records >= 2)


def test_loading_alone_compares_no_speed(desk: Desk) -> None:
    """What was not measured is neither better nor worse."""
    desk.optimize()
    desk.engine(fault=Fault.SLOW)
    found = desk.verify(replace(desk.loose, proof=Proof.LOAD))
    assert found.status is Status.SAME
    assert kinds(found)["decode_tokens_per_s"] is None
    assert "another proof: full when recorded, load now" in found.notes


def test_the_end_of_a_record_is_all_that_was_compared(desk: Desk) -> None:
    """As the JSON of the command has it."""
    desk.optimize()
    found = desk.verify()
    end = desk.journals()[0][-1]
    assert json.loads(json.dumps(end)) == end
    assert end["recorded"] == str(study_folders(desk.where.logs)[0])
    first = end["figures"][0]
    assert first["name"] == "memory_bytes"
    assert first["device"] == "Vulkan0"
    assert first["source"] == "buffers"
    assert first["kind"] == "same"
    assert first["now"] == found.figures[0].now
    assert 0 < first["now"] < 100 * MIB


def test_a_figure_is_slower_only_if_it_is_a_speed() -> None:
    """More memory is no reason to measure again."""
    memory = Figure(name="memory_bytes", recorded=1, now=2, kind=Kind.WORSE)
    assert not memory.is_slower
    assert replace(memory, name="decode_tokens_per_s").is_slower
