"""Kills, Ctrl-C and full disks in the middle of a search."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from placer import app
from placer.errors import (
    InputError,
    InterruptedSearchError,
    JournalError,
    SearchError,
)
from placer.search import journal as journal_module
from placer.search.events import Progress, TrialDone
from placer.search.records import read_study, study_folders
from placer.testing.fake_engine import Fault, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.search.events import Event
    from tests.faults.conftest import Desk

    MakeDesk = Callable[..., Desk]

SEARCH = """
import sys
from pathlib import Path
from placer import app
engine, conf, models, logs = map(Path, sys.argv[1:])
where = app.Where(server=engine, conf=conf, models=models, logs=logs)
app.optimize("tiny", where, app.Request())
"""


def _heed() -> None:
    """In the child: Ctrl-C counts, though it may be ignored where the suite runs."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def wait_until(holds: Callable[[], bool], *, timeout_s: float = 20.0) -> None:
    """Return as soon as it holds."""
    until_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until_s, "it never came to that"
        time.sleep(0.02)


def launched(logs: Path) -> bool:
    """Whether a launch is on record."""
    return any(
        b'"launching"' in (folder / journal_module.FILE_NAME).read_bytes()
        for folder in study_folders(logs)
    )


def test_kill_9_leaves_no_engine_and_a_journal_that_loads(make_desk: MakeDesk) -> None:
    """The kernel ends the engine with placer; the launch in flight is unanswered."""
    desk = make_desk(fault=Fault.HANG_AT_PROMPT)
    where = desk.where
    paths = (desk.engine, desk.conf, desk.models, where.logs)
    search = subprocess.Popen([sys.executable, "-c", SEARCH, *map(str, paths)])
    try:
        wait_until(lambda: launched(where.logs) and bool(running(desk.engine)))
    finally:
        search.send_signal(signal.SIGKILL)
        assert search.wait(10) == -signal.SIGKILL
    wait_until(lambda: running(desk.engine) == ())

    study = desk.study
    assert study.unanswered == (1,)
    assert study.trials == ()
    assert study.end is None
    assert study.best is None
    desk.assert_nothing_changed()


def test_ctrl_c_in_mid_search_is_on_record(make_desk: MakeDesk) -> None:
    """No engine runs, the profile has its bytes, and the record has an end."""
    desk = make_desk()

    def interrupt(event: Event) -> None:
        if isinstance(event, Progress) and event.probe.number == 2:
            raise KeyboardInterrupt

    with pytest.raises(InterruptedSearchError, match="after 1 launch; ") as error:
        desk.optimize(interrupt)
    assert error.value.exit_code == 130
    study = desk.study
    assert study.end is not None
    assert study.end["stopped"] == "interrupted"
    assert study.end["best"] == 1
    assert study.unanswered == (2,)
    desk.assert_nothing_changed()


def test_ctrl_c_twice_leaves_nothing_behind(make_desk: MakeDesk) -> None:
    """The second one comes while a deaf engine is waited for: it is killed at once."""
    desk = make_desk(fault=Fault.DEAF)
    where = desk.where
    paths = (desk.engine, desk.conf, desk.models, where.logs)
    search = subprocess.Popen(
        [sys.executable, "-c", SEARCH, *map(str, paths)],
        stderr=subprocess.DEVNULL,
        preexec_fn=_heed,  # noqa: PLW1509 - one call of signal alone
    )
    try:
        wait_until(lambda: launched(where.logs) and bool(running(desk.engine)))
        search.send_signal(signal.SIGINT)
        time.sleep(0.5)
        again_s = time.monotonic()
        search.send_signal(signal.SIGINT)
        search.wait(10)
    finally:
        search.kill()
    assert time.monotonic() - again_s < 2.5
    wait_until(lambda: running(desk.engine) == ())
    assert read_study(study_folders(where.logs)[0]).best is None
    desk.assert_nothing_changed()


def test_a_disk_that_is_full_for_models_conf_loses_nothing(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The search is whole on record, the profile has its bytes; apply writes it."""
    desk = make_desk()
    replace = os.replace

    def full(source: str, target: str) -> None:
        if str(target).endswith("models.conf"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(InputError, match="No space left on device"):
            desk.optimize()
    desk.assert_nothing_changed()
    assert desk.study.is_whole
    assert app.apply("tiny", desk.where).written
    assert "placer" in desk.conf.read_text()


def test_a_device_that_disappears_ends_the_search(make_desk: MakeDesk) -> None:
    """It is no memory: nothing smaller is tried."""
    desk = make_desk(fault=Fault.DEVICE_LOST)
    with pytest.raises(SearchError, match="a device disappeared"):
        desk.optimize()
    assert len(desk.study.trials) == 1
    desk.assert_nothing_changed()


@pytest.mark.parametrize("records", [0, 1, 2, 4])
def test_a_full_disk_stops_the_search(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch, records: int
) -> None:
    """Not a launch goes unrecorded: the search ends, and no engine runs."""
    desk = make_desk()
    written: list[int] = []

    def fsync(descriptor: int) -> None:
        if len(written) >= records:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written.append(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(JournalError, match="No space left on device") as error:
        desk.optimize()
    assert error.value.exit_code == 5
    assert "free some space" in str(error.value)
    desk.assert_nothing_changed()


def test_a_launch_is_on_record_before_it_is_made(make_desk: MakeDesk) -> None:
    """At each moment the journal on disk tells of every launch so far."""
    desk = make_desk()
    seen: list[tuple[int, int]] = []

    def look(event: Event) -> None:
        if isinstance(event, Progress | TrialDone):
            study = desk.study
            seen.append((len(study.trials), len(study.unanswered)))

    desk.optimize(look)
    assert {(0, 1), (1, 0), (1, 1), (2, 0)} <= set(seen)
    assert all(unanswered <= 1 for _, unanswered in seen)


def test_a_torn_journal_still_names_its_best(make_desk: MakeDesk) -> None:
    """Cut anywhere after its header, the record of a search loads."""
    desk = make_desk()
    desk.optimize()
    (folder,) = study_folders(desk.where.logs)
    path = folder / journal_module.FILE_NAME
    whole = path.read_bytes()
    header_end = whole.index(b"\n") + 1
    trials = set()
    for end in range(header_end, len(whole) + 1, 37):
        path.write_bytes(whole[:end])
        trials.add(len(read_study(folder).trials))
    assert trials == set(range(len(desk_trials(whole)) + 1))


def desk_trials(journal: bytes) -> list[bytes]:
    """The trial lines of a journal."""
    return [line for line in journal.splitlines() if b'"kind": "trial"' in line]
