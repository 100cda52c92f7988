"""A search that was broken off goes on: nothing lost, nothing launched twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from placer import app
from placer.app import setting as setting_module
from placer.app import study as study_module
from placer.app.study import new_folder
from placer.errors import InputError, InterruptedSearchError, MachineError
from placer.machine.host import cache_folder
from placer.search import journal as journal_module
from placer.search.events import Launching, StudyStarted, TrialDone
from placer.search.records import read_study, study_folders
from placer.testing.fake_engine import launches, running

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from placer.search.events import Event
    from tests.faults.conftest import Desk

    MakeDesk = Callable[..., Desk]

# Dies by kill -9 when the n-th event of a kind comes.
DYING = """
import os, signal, sys
from pathlib import Path
from placer import app
from placer.search import events
engine, conf, models, logs = map(Path, sys.argv[1:5])
kind, n = getattr(events, sys.argv[5]), int(sys.argv[6])
seen = []
def die(event):
    if isinstance(event, kind):
        seen.append(event)
        if len(seen) == n:
            os.kill(os.getpid(), signal.SIGKILL)
where = app.Where(server=engine, conf=conf, models=models, logs=logs)
options = app.StudyOptions(by_launch=True)
app.optimize("tiny", where, app.Request(), options, on_event=die)
"""


def kill_at(desk: Desk, event: type[Event], n: int) -> None:
    """A search in a process of its own, killed at its n-th event of the kind."""
    where = desk.where
    paths = (desk.engine, desk.conf, desk.models, where.logs)
    done = subprocess.run(
        [sys.executable, "-c", DYING, *map(str, paths), event.__name__, str(n)],
        check=False,
        capture_output=True,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def interrupt_at(n: int) -> Callable[[Event], None]:
    """Ctrl-C at the n-th launch."""

    def interrupt(event: Event) -> None:
        if isinstance(event, Launching) and event.probe.number == n:
            raise KeyboardInterrupt

    return interrupt


def placements(desk: Desk) -> list[str]:
    """The placements that were really launched, in order."""
    return [
        " ".join(one.args[one.args.index("-ngl") : one.args.index("--fit")])
        for one in launches(desk.engine)
        if not one.dry_run and "-ngl" in one.args
    ]


def answer_of(found: app.Optimized) -> tuple[Any, ...]:
    """What a search amounts to."""
    trials = found.study.found.trials
    return (
        found.study.found.trial.probe.args[2:],
        [(t.probe.args[2:], t.verdict.outcome) for t in trials],
        found.study.found.limits,
    )


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, desk_in: MakeDesk
) -> tuple[Any, ...]:
    """What the search finds when nothing comes between."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        # What it taught is not to be known to the next, which is to be the same.
        patch.setenv("PLACER_LEDGER", str(folder / "ledger.jsonl"))
        return answer_of(desk_in(folder).optimize())


@pytest.mark.parametrize(
    ("event", "n"),
    [
        (StudyStarted, 1),
        (Launching, 1),
        (TrialDone, 1),
        (Launching, 2),
        (TrialDone, 2),
        (Launching, 3),
    ],
)
def test_a_search_that_was_killed_goes_on(
    make_desk: MakeDesk, whole: tuple[Any, ...], event: type[Event], n: int
) -> None:
    """At each stage: the same answer, and only the launch in flight is made again."""
    desk = make_desk()
    before = len(placements(desk))
    kill_at(desk, event, n)
    assert running(desk.engine) == ()
    desk.assert_nothing_changed()
    found = desk.optimize(resume=True)
    assert answer_of(found) == whole
    assert found.study.folder == desk.study.folder
    assert desk.study.is_whole
    made = placements(desk)[before:]
    assert len(made) <= len(whole[1]) + 1
    assert len(set(made)) == len(whole[1])


def test_what_is_on_record_is_said_to_be(make_desk: MakeDesk) -> None:
    """Trials of before are told again, as such, and the engine is not asked."""
    desk = make_desk()
    kill_at(desk, TrialDone, 2)
    before = len(placements(desk))
    desk.optimize(resume=True)
    done = [e for e in desk.events if isinstance(e, TrialDone)]
    assert [e.is_recalled for e in done[:3]] == [True, True, False]
    assert len(placements(desk)) - before == len(done) - 2
    numbers = [trial["number"] for trial in desk.study.trials]
    assert numbers == list(range(1, len(done) + 1))


def test_ctrl_c_can_be_taken_back(make_desk: MakeDesk, whole: tuple[Any, ...]) -> None:
    """Its hint says how, and the record has its end only once."""
    desk = make_desk()

    with pytest.raises(InterruptedSearchError, match="--resume goes on"):
        desk.optimize(interrupt_at(2))
    assert answer_of(desk.optimize(resume=True)) == whole
    assert desk.study.end is not None
    assert desk.study.end["stopped"] is None


def test_a_journal_torn_anywhere_is_gone_on_with(
    make_desk: MakeDesk, whole: tuple[Any, ...]
) -> None:
    """What was being written is cut off, and done again."""
    desk = make_desk()
    desk.optimize()
    (folder,) = study_folders(desk.where.logs)
    path = folder / journal_module.FILE_NAME
    data = path.read_bytes()
    first = data.index(b"\n") + 1
    for part in range(1, 4):
        end = first + (len(data) - first) * part // 4 + part
        path.write_bytes(data[:end])
        assert answer_of(desk.optimize(resume=True)) == whole
        assert read_study(folder).is_whole


def test_what_took_the_machine_down_is_not_tried_again(
    make_desk: MakeDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The placement in flight is passed over, on record, and another is found."""
    desk = make_desk()
    kill_at(desk, Launching, 1)
    (in_flight,) = desk.study.in_flight
    for module in (study_module, setting_module):
        monkeypatch.setattr(module, "boot_id", lambda: "after the reset button")
    found = desk.optimize(resume=True).study.found
    assert in_flight["args"] not in [list(t.probe.args) for t in found.trials]
    text = (desk.study.folder / journal_module.FILE_NAME).read_text()
    passed = [json.loads(x) for x in text.splitlines() if '"passed-over"' in x]
    assert [one["args"] for one in passed] == [in_flight["args"]]


def test_nothing_to_resume_is_said(make_desk: MakeDesk) -> None:
    """Neither before the first search nor after a whole one."""
    desk = make_desk()
    with pytest.raises(InputError, match="was broken off"):
        desk.optimize(resume=True)
    desk.optimize()
    with pytest.raises(InputError, match="was broken off"):
        desk.optimize(resume=True)


def test_another_question_is_not_gone_on_with(make_desk: MakeDesk) -> None:
    """Another context, another proof of the end: evidence of this one says nothing."""
    desk = make_desk()
    kill_at(desk, TrialDone, 1)
    made = len(placements(desk))
    same = app.StudyOptions(by_launch=True, resume=True)
    longer = app.Request(values={"ctx": 2048})
    with pytest.raises(InputError, match="had another workload"):
        app.optimize("tiny", desk.where, longer, same)
    other = replace(same, by_launch=False)
    with pytest.raises(InputError, match="had another --launch-beyond"):
        app.optimize("tiny", desk.where, app.Request(), other)
    assert len(placements(desk)) == made
    desk.assert_nothing_changed()


def test_another_engine_is_not_gone_on_with(make_desk: MakeDesk) -> None:
    """Builds differ in what they take."""
    desk = make_desk()
    kill_at(desk, TrialDone, 1)
    path = desk.study.folder / journal_module.FILE_NAME
    header, rest = path.read_text().split("\n", 1)
    record = json.loads(header)
    record["engine"] = "b1-another"
    path.write_text(json.dumps(record) + "\n" + rest)
    with pytest.raises(InputError, match="another engine"):
        desk.optimize(resume=True)


def test_two_searches_do_not_share_a_device(make_desk: MakeDesk) -> None:
    """The second one is refused, and says who is at it; the first goes on."""
    desk = make_desk()
    refused: list[MachineError] = []

    def second(event: Event) -> None:
        if isinstance(event, Launching) and not refused:
            with pytest.raises(MachineError, match="is taken by process") as error:
                desk.optimize()
            refused.append(error.value)

    found = desk.optimize(second)
    assert found.study.found.stopped is None
    (error,) = refused
    assert str(os.getpid()) in str(error)
    assert "placer optimize tiny" in str(error)
    assert error.exit_code == 3


def test_a_lock_ends_with_its_process(make_desk: MakeDesk) -> None:
    """Killed in the middle, nothing has to be cleaned up."""
    desk = make_desk()
    kill_at(desk, Launching, 1)
    assert list(cache_folder().rglob("*.lock"))
    with pytest.raises(InterruptedSearchError):
        desk.optimize(interrupt_at(1))


def test_a_clock_that_jumped_back_hides_no_search(tmp_path: Path) -> None:
    """The newest folder comes last in the order of their names, always."""
    tmp_path.joinpath("20990101-000000").mkdir()
    for _ in range(12):
        new_folder(tmp_path).mkdir()
    tmp_path.joinpath("verified").mkdir()
    names = sorted(p.name for p in tmp_path.glob("2*"))
    assert names[0] == "20990101-000000"
    assert names[1:] == [f"20990101-000000.{n:03d}" for n in range(2, 14)]
