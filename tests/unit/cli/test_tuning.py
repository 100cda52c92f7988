"""``placer tune``: what it prints, how it ends, and that nothing is lost."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from placer.testing.fake_engine import (
    Fault,
    fake_engine,
    launches,
    running,
    set_pace,
)
from placer.tune import store

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.cli.conftest import Desk

DEVICES = {"Vulkan0": 70, "Vulkan1": 60}
SMALL = ("--vary", "ub=32,128", "--only", "--no-quality")
#: Of 40 and 30 MiB the profile's own placement is not the planner's.
TRIED = 4


@pytest.fixture
def paced(desk: Desk) -> Desk:
    """The desk with an engine that is faster with larger batches."""
    set_pace(desk.engine, {"-ub 128": 0.5, "-ub 32": 1.5})
    return desk


def test_a_table_and_an_answer(paced: Desk) -> None:
    """A line a trial as it comes, the start beside the best, the flags to use."""
    answer = paced.placer("tune", "moe", "--budget", "20", *SMALL)
    assert (answer.code, answer.err) == (0, "")
    lines = answer.out.splitlines()
    assert lines[:3] == [
        "Vulkan0 40.0 MiB free, Vulkan1 30.0 MiB free",
        "ub: 64, 32, 128",
        "placement: own, plan",
    ]
    assert re.search(r"^  1 +100\.0 +[\d,.]+  as it stands: the best so far$", lines[4])
    row = r"^  \d +200\.0 +[\d,.]+  ub=128: the best so far$"
    assert re.search(row, answer.out, re.MULTILINE)
    assert answer.out.count("the start again") == 2
    better = r"^Better, ub=128: 50 % less time; chance alone explains \d % *\.$"
    assert re.search(better, answer.out, re.MULTILINE)
    assert re.search(r"^decode +100\.0 +200\.0 *$", answer.out, re.MULTILINE)
    counts = f"{TRIED} tried: {TRIED} measured; {TRIED + 4} launches; everything was"
    assert counts in answer.out
    assert re.search(r"^Flags: -c 512 -b 256 -ub 128 ", answer.out, re.MULTILINE)
    assert "\x1b" not in answer.out


def test_quiet_is_the_flags_alone(paced: Desk) -> None:
    """To paste behind llama-server -m."""
    answer = paced.placer("tune", "moe", "-q", "--budget", "20", *SMALL)
    assert answer.out.startswith("-c 512 -b 256 -ub 128 -np 1 ")
    assert answer.out.count("\n") == 1


def test_json_is_all_of_it(paced: Desk) -> None:
    """And nothing else."""
    answer = paced.placer("tune", "moe", "--json", "--budget", "20", *SMALL)
    found = json.loads(answer.out)
    assert (found["schema"], found["answer"], found["launches"]) == (1, "better", 8)
    assert found["compared"]["gain"] == pytest.approx(0.5, abs=0.02)
    best = found["tried"][found["best"] - 1]
    assert best["changes"]["ub"] == "128"
    assert found["args"] == best["args"]
    assert found["start"] == 1
    assert found["written"] is False


def test_written_and_taken_back(paced: Desk) -> None:
    """As what optimize writes."""
    before = paced.conf.read_text()
    args = ("--budget", "20", *SMALL, "--write")
    answer = paced.placer("tune", "moe", *args)
    assert "\nWritten: moe in models.conf\n" in answer.out
    text = paced.conf.read_text()
    assert "-ub 128" in text
    assert "# found by hand, do not touch\n" in text
    assert paced.placer("undo").code == 0
    assert paced.conf.read_text() == before


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (("moe", "--budget", "soon"), "'soon' is no budget; give a time such as 20m"),
        (("moe", "--only"), "--only leaves nothing to vary without --vary."),
        (("moe", "--vary", "q=1"), "'q' is nothing to vary; there are ub, b, ctk"),
        (("moe", "--vary", "sm=row"), "-sm row: it is for a model that lies on two"),
        (("moe", "--resume"), "moe was not tuned before under search_logs"),
        (("models/moe.gguf", "--write"), "moe is no profile that could be written to"),
    ],
)
def test_bad_input_ends_with_2(desk: Desk, args: tuple[str, ...], error: str) -> None:
    """One line, and nothing is launched."""
    answer = desk.placer("tune", *args)
    assert answer.code == 2
    assert answer.err.startswith(f"placer: {error}")
    assert answer.err.count("\n") == 1
    assert not any(not launch.dry_run for launch in launches(desk.engine))


def test_without_optuna_it_says_what_to_install(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line."""
    monkeypatch.setattr(store, "find_spec", lambda _: None)
    answer = desk.placer("tune", "moe")
    assert answer.code == 2
    said = "placer: tuning needs optuna, which is not installed; pip install '"
    assert answer.err == f"{said}placer[tune]'\n"


def test_help_does_not_import_optuna() -> None:
    """It takes a second, and more."""
    code = "import sys; from placer.cli.main import run; run(['--help']); "
    code += "print('optuna' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("\nFalse\n")


def child_of(desk: Desk, heeding: Callable[[], None]) -> subprocess.Popen[str]:
    """Tuning in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "placer", "tune", "moe", "--budget", "20", *SMALL],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        preexec_fn=heeding,  # noqa: PLW1509 - it only sets signals
    )


def wait_for_launch(desk: Desk, number: int) -> None:
    """Until so many were begun."""
    until_s = time.monotonic() + 60
    while sum(not launch.dry_run for launch in launches(desk.engine)) < number:
        assert time.monotonic() < until_s, "it never launched"
        time.sleep(0.02)


def hang_at_third(desk: Desk) -> None:
    """The engine hangs in the third launch, until it is made anew."""
    fake_engine(desk.folder, devices=DEVICES, fault=Fault.HANG_AT_PROMPT, fault_after=2)
    set_pace(desk.engine, {"-ub 128": 0.5, "-ub 32": 1.5})


def test_ctrl_c_says_the_best_so_far(desk: Desk, heeding: Callable[[], None]) -> None:
    """As the terminal sends it; the study goes on from there, without a repeat."""
    hang_at_third(desk)
    child = child_of(desk, heeding)
    wait_for_launch(desk, 3)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert child.returncode == 130
    said = r"placer: interrupted after 2 launches; the best so far: .+ tokens/s; --res"
    assert re.match(said, err)
    assert running(desk.engine) == ()
    goes_on(desk, done=2)


def test_kill_9_loses_the_launch_in_flight_alone(
    desk: Desk, heeding: Callable[[], None]
) -> None:
    """No engine is left behind, and models.conf is as it was."""
    before = desk.conf.read_bytes()
    hang_at_third(desk)
    child = child_of(desk, heeding)
    wait_for_launch(desk, 3)
    child.kill()
    child.communicate(timeout=30)
    until_s = time.monotonic() + 10
    while running(desk.engine) and time.monotonic() < until_s:
        time.sleep(0.02)
    assert running(desk.engine) == ()
    assert desk.conf.read_bytes() == before
    goes_on(desk, done=2)


def goes_on(desk: Desk, *, done: int) -> None:
    """With what is left to try, and to the same end."""
    fake_engine(desk.folder, devices=DEVICES)
    set_pace(desk.engine, {"-ub 128": 0.5, "-ub 32": 1.5})
    before = sum(not launch.dry_run for launch in launches(desk.engine))
    answer = desk.placer("tune", "moe", "--resume", "--json", "--no-quality")
    found = json.loads(answer.out)
    assert found["answer"] == "better"
    assert len(found["tried"]) == TRIED
    after = sum(not launch.dry_run for launch in launches(desk.engine))
    assert after - before == found["launches"] == TRIED - done + 4
