"""A background process: started behind a gate, found again, ended with all its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import psutil
import pytest

from placer.engine import detached
from placer.engine.detached import DetachedProcess, Gated, start_gated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SLEEP = ("sleep", "60")


def wait_until(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds."""
    until_s = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < until_s, "it never came to that"
        time.sleep(0.01)


@pytest.fixture
def gated(tmp_path: Path) -> Iterator[Callable[..., Gated]]:
    """Starts a command behind the gate; whatever it is, it ends with the test."""
    started: list[Gated] = []

    def start(*argv: str) -> Gated:
        log = tmp_path / "log"
        one = start_gated(argv, os.environ, base_url="http://x", log_path=log)
        started.append(one)
        return one

    yield start
    for one in started:
        one.close()
        one.process.stop()


def sh(script: str) -> tuple[str, ...]:
    """A shell that runs a script."""
    return ("sh", "-c", script)


def test_behind_the_gate_nothing_of_it_has_run(
    gated: Callable[..., Gated], tmp_path: Path
) -> None:
    """It becomes the engine when it is told to, under the number it had before."""
    one = gated(*sh("echo $$; exec sleep 60"))
    time.sleep(0.05)
    assert (tmp_path / "log").read_bytes() == b""
    process = one.open()
    wait_until(lambda: (tmp_path / "log").read_text() == f"{process.pid}\n")
    assert process.exit_code() is None


def test_a_starter_that_is_gone_leaves_nothing(gated: Callable[..., Gated]) -> None:
    """The gate closes with it, and the process ends without having run anything."""
    one = gated("touch", "never")
    one.close()
    wait_until(lambda: not one.process.is_running())
    assert one.process.exit_code() == 1


def test_it_has_no_terminal_no_input_and_no_core_file(
    gated: Callable[..., Gated], tmp_path: Path
) -> None:
    """A session of its own, so that a closed terminal is none of its business."""
    one = gated(*sh("ulimit -c; cat; echo end; exec sleep 60"))
    process = one.open()
    wait_until(lambda: (tmp_path / "log").read_text() == "0\nend\n")
    assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid


def test_an_exit_code_is_told(gated: Callable[..., Gated]) -> None:
    """Its own, or the signal that ended it; the same however often it is asked for."""
    quits, dies = gated(*sh("exit 7")), gated(*sh("kill -9 $$"))
    for one, code in ((quits, 7), (dies, -9)):
        process = one.open()
        wait_until(lambda p=process: p.exit_code() is not None)  # type: ignore[misc]
        assert process.exit_code() == process.exit_code() == code


def test_all_that_it_started_ends_with_it(
    gated: Callable[..., Gated], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what does not listen to SIGTERM."""
    monkeypatch.setattr(detached, "STOP_TIMEOUT_S", 0.1)
    script = "trap '' TERM; sleep 60 & echo $!; wait"
    process = gated(*sh(script)).open()
    wait_until(lambda: (tmp_path / "log").read_text().endswith("\n"))
    child = psutil.Process(int((tmp_path / "log").read_text()))
    process.stop()
    wait_until(lambda: not child.is_running() or child.status() == "zombie")
    assert not process.is_running()


def test_one_that_is_deaf_is_killed(
    gated: Callable[..., Gated], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time."""
    monkeypatch.setattr(detached, "STOP_TIMEOUT_S", 0.1)
    process = gated(*sh("trap '' TERM; echo up; while :; do sleep 1; done")).open()
    wait_until(lambda: (tmp_path / "log").read_text() == "up\n")
    assert process.stop() == -signal.SIGKILL


def test_a_number_that_is_somebody_elses_is_left_alone() -> None:
    """A process that began at another time, with other words, is not ended."""
    with subprocess.Popen(SLEEP) as other:
        created = psutil.Process(other.pid).create_time()
        ours = process_of(other.pid, created - 100, ("llama-server",))
        assert not ours.is_running()
        ours.stop()
        assert other.poll() is None
        other.kill()


def test_a_clock_that_was_set_hides_no_server() -> None:
    """The command line tells it too."""
    with subprocess.Popen(SLEEP) as one:
        wait_until(lambda: tuple(psutil.Process(one.pid).cmdline()) == SLEEP)
        assert process_of(one.pid, 5.0, SLEEP).is_running()
        assert not process_of(one.pid, 5.0, ("llama-server",)).is_running()
        one.kill()


def test_a_server_goes_on_when_its_starter_is_killed(tmp_path: Path) -> None:
    """It is found by number and beginning, and ended, by another process."""
    script = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from placer.engine.detached import start_gated\n"
        "one = start_gated(['sleep', '60'], os.environ, base_url='',"
        " log_path=Path(sys.argv[1]))\n"
        "process = one.open()\n"
        "print(process.pid, process.created, flush=True)\n"
        "time.sleep(60)\n"
    )
    argv = [sys.executable, "-c", script, str(tmp_path / "log")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid, created = starter.stdout.readline().split()
        starter.kill()
    process = process_of(int(pid), float(created), SLEEP)
    assert process.is_running()
    process.stop()
    assert not process.is_running()
    assert process.exit_code() == 0


def process_of(pid: int, created: float, argv: tuple[str, ...]) -> DetachedProcess:
    """What a record says of a process."""
    from pathlib import Path

    return DetachedProcess(
        pid=pid, created=created, argv=argv, base_url="", log_path=Path("log")
    )
