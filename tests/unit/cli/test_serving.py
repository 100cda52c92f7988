"""The verbs serve, status and stop, on a fake engine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from placer.app.served import stop
from placer.cli import serving
from placer.serve import StateFolder, default_state
from placer.serve.alive import is_alive
from placer.testing.fake_engine import Fault, fake_engine, launches, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.unit.cli.conftest import Desk

FITTING = "-b 256 -ub 64 -np 1 -ot exps=CPU"


@pytest.fixture
def state(desk: Desk) -> Iterator[StateFolder]:
    """Where its servers are on record; none of them outlives the test."""
    state = default_state()
    yield state
    stop(every=True, state=state)
    assert running(desk.engine) == ()


def wait_until(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds."""
    until_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < until_s, "it never came to that"
        time.sleep(0.02)


def faulty(desk: Desk, fault: Fault | None, **more: Any) -> None:
    """The engine goes wrong from now on."""
    devices = {"Vulkan0": 40, "Vulkan1": 30}
    fake_engine(desk.folder, devices=devices, fault=fault, **more)


def test_a_server_is_started_watched_and_stopped(
    desk: Desk, state: StateFolder
) -> None:
    """It answers where serve says; a second start is refused; stop leaves a log."""
    served = desk.placer("serve", "moe", "--port", "0")
    assert served.code == 0, served.err
    (one,) = state.servers()
    assert f"moe is ready at {one.base_url}" in served.out
    assert "placer stop moe" in served.out
    assert launches(desk.engine)[-1].args[-4:-2] == ("--host", "127.0.0.1")

    again = desk.placer("serve", "moe", "--port", "0")
    assert again.code == 2
    assert f"is served already at {one.base_url}" in again.err

    told = desk.placer("status")
    assert told.code == 0
    for words in ("moe", "ready", one.base_url, str(one.pid), "Vulkan1"):
        assert words in told.out
    assert desk.placer("status", "-q").out == f"moe ready {one.base_url}\n"

    assert desk.placer("stop").out == "Stopped moe.\n"
    assert running(desk.engine) == ()
    assert sorted(p.name for p in state.path.iterdir()) == ["moe.lock", "moe.log"]
    assert "listening on" in state.kept_log("moe").read_text()
    assert desk.placer("status").out.startswith("No server runs")
    assert desk.placer("stop").out == "No server runs.\n"


def test_json_says_it_all(desk: Desk, state: StateFolder) -> None:
    """Of a start, of what runs, of an end."""
    served = json.loads(desk.placer("serve", "moe", "--port", "0", "--json").out)
    (one,) = state.servers()
    assert served["ready"] is True
    assert served["pid"] == one.pid
    assert [need["device"] for need in served["needs"]] == ["Vulkan0", "Vulkan1", "CPU"]
    (seen,) = json.loads(desk.placer("status", "--json").out)["servers"]
    assert seen["health"] == "ready"
    assert seen["argv"] == served["argv"]
    stopped = json.loads(desk.placer("stop", "--json").out)
    assert stopped["stopped"] == ["moe"]


def test_what_does_not_fit_is_not_started(desk: Desk, state: StateFolder) -> None:
    """A line a device, exit code 4, nothing left; --refit and --force go on."""
    desk.conf.write_text(desk.conf.read_text().replace("-ot exps=CPU", "-ts 9,1"))
    refused = desk.placer("serve", "moe", "--port", "0")
    assert refused.code == 4
    first, *lines = refused.err.splitlines()
    assert first == "placer: moe does not fit into what is free now"
    assert lines[0].startswith("  Vulkan0 needs ")
    assert "--refit" in lines[-1]
    assert [p.name for p in state.path.iterdir()] == ["moe.lock"]

    as_json = desk.placer("serve", "moe", "--port", "0", "--json")
    assert json.loads(as_json.out)["needs"][0]["short_bytes"] > 0

    before = desk.conf.read_bytes()
    refit = desk.placer("serve", "moe", "--port", "0", "--refit")
    assert refit.code == 0, refit.err
    assert "was: -ngl 99 -fit off -ts 9,1" in refit.out
    assert desk.conf.read_bytes() == before
    assert desk.placer("stop").code == 0

    forced = desk.placer("serve", "moe", "--port", "0", "--force")
    assert forced.code == 4
    assert "OOM_WEIGHTS, on Vulkan0" in forced.err
    assert str(state.kept_log("moe")) in forced.err
    assert state.servers() == ()


@pytest.mark.parametrize(
    ("fault", "options", "words"),
    [
        (Fault.EXIT_EARLY, (), "CRASHED"),
        (Fault.CUT_OFF, (), "CRASHED"),
        (Fault.HANG_AT_LOAD, ("--patience", "1"), "STALLED"),
    ],
)
def test_a_server_that_does_not_come_up_is_judged(
    desk: Desk, state: StateFolder, fault: Fault, options: tuple[str, ...], words: str
) -> None:
    """In the words of a search, exit code 3, and nothing of it is left."""
    faulty(desk, fault)
    failed = desk.placer("serve", "moe", "--port", "0", *options)
    assert failed.code == 3
    assert f"moe did not come up: {words}" in failed.err
    assert state.servers() == ()
    assert running(desk.engine) == ()


def test_a_server_that_does_not_say_why_it_ended_is_started_again(
    desk: Desk, state: StateFolder
) -> None:
    """The engine may lose its last words; the server that runs is the one on record."""
    faulty(desk, Fault.CUT_OFF, fault_times=2)
    assert desk.placer("serve", "moe", "--port", "0").code == 0
    (one,) = state.servers()
    assert running(desk.engine) == (one.pid,)
    assert len([launch for launch in launches(desk.engine) if not launch.dry_run]) == 3


def test_a_server_that_died_is_told_and_cleared(desk: Desk, state: StateFolder) -> None:
    """Status says so with exit code 3, serve starts another."""
    assert desk.placer("serve", "moe", "--port", "0").code == 0
    (dead,) = state.servers()
    assert dead.pid is not None
    os.kill(dead.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(dead))
    told = desk.placer("status")
    assert told.code == 3
    assert "dead" in told.out
    assert "without a word" in told.out
    again = desk.placer("serve", "moe", "--port", "0")
    assert again.code == 0
    assert "the server before had died" in again.out
    (one,) = state.servers()
    assert one.pid != dead.pid


def test_which_to_stop_has_to_be_clear(desk: Desk, state: StateFolder) -> None:
    """Of several none is guessed; a name that is not on record is refused."""
    text = desk.conf.read_text()
    desk.conf.write_text(
        text + text.replace("[moe]", "[two]").replace("moe.g", "moe.g")
    )
    for name in ("moe", "two"):
        done = desk.placer("serve", name, "--port", "0", "--no-wait", "-q")
        assert done.code == 0, done.err
    unclear = desk.placer("stop")
    assert unclear.code == 2
    assert "moe, two" in unclear.err
    assert desk.placer("stop", "three").code == 2
    assert desk.placer("stop", "moe", "--all").code == 2
    assert len(state.servers()) == 2
    assert desk.placer("stop", "two").out == "Stopped two.\n"
    assert desk.placer("stop", "--all").out == "Stopped moe.\n"


def test_a_port_that_is_taken_is_told_at_once(desk: Desk, state: StateFolder) -> None:
    """Exit code 3, and nothing was started for it."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused = desk.placer("serve", "moe", "--port", port)
    assert refused.code == 3
    assert f"port {port} of 127.0.0.1" in refused.err
    assert launches(desk.engine) == ()
    assert state.leftovers() == ()


def test_a_placer_that_is_killed_while_it_waits(desk: Desk, state: StateFolder) -> None:
    """Its server is on record already: stop finds it, and a second start does."""
    faulty(desk, Fault.HANG_AT_LOAD)
    with serving_placer() as placer:
        wait_until(lambda: bool(state.servers()))
        second = desk.placer("serve", "moe", "--port", "0")
        assert second.code == 2
        assert "is being started by process" in second.err
        placer.kill()
    (one,) = state.servers()
    assert is_alive(one)
    loading = f"moe loading {one.base_url}\n"
    wait_until(lambda: desk.placer("status", "-q").out == loading)
    assert desk.placer("stop").out == "Stopped moe.\n"


def test_ctrl_c_while_it_waits_ends_the_server(
    desk: Desk, state: StateFolder, heeding: Callable[[], None]
) -> None:
    """Exit code 130; only its log stays."""
    faulty(desk, Fault.HANG_AT_LOAD)
    with serving_placer(heeding) as placer:
        wait_until(lambda: bool(state.servers()))
        placer.send_signal(signal.SIGINT)
        assert placer.wait(20) == 130
    assert state.servers() == ()
    assert state.kept_log("moe").exists()


def serving_placer(
    heeding: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    """``placer serve moe`` as a process of its own."""
    code = "from placer.cli.main import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "serve", "moe", "--port", "0"],
        stderr=subprocess.DEVNULL,
        preexec_fn=heeding,  # noqa: PLW1509
    )


def test_a_start_that_was_killed_before_its_record_is_swept(
    desk: Desk, state: StateFolder
) -> None:
    """What it had made for the server goes with any stop."""
    (state.folder("moe") / "home").mkdir(parents=True)
    assert desk.placer("stop").out == "Cleared away moe, which had ended.\n"
    assert not state.folder("moe").exists()


def test_without_a_terminal_there_is_no_menu(desk: Desk) -> None:
    """One line that says what to do; nor is there a dashboard."""
    refused = desk.placer("serve")
    assert refused.code == 2
    assert "placer profiles" in refused.err
    assert "no server is on record" in desk.placer("dashboard").err


class Screens:
    """A person at the terminal: what is chosen in the menu, what is pressed."""

    def __init__(self, *chosen: str | None, pressed: tuple[str, ...]) -> None:
        self.menus = list(chosen)
        self.keys = list(pressed)
        self.details: list[str] = []

    def menu(self, entries: Any) -> str | None:
        self.details = [entry.detail for entry in entries]
        return self.menus.pop(0)

    def dashboard(self, profile: str, state: StateFolder) -> str:
        assert state.server(profile) is not None
        key = self.keys.pop(0)
        if key == "hangup":
            raise KeyboardInterrupt
        return key


@pytest.fixture
def sit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Screens], Screens]:
    """A person sits down at the terminal."""

    def sit(screens: Screens) -> Screens:
        monkeypatch.setattr(serving, "_on_terminal", lambda: True)
        monkeypatch.setattr("placer.dashboard.run_menu", screens.menu, raising=False)
        monkeypatch.setattr(
            "placer.dashboard.run_dashboard", screens.dashboard, raising=False
        )
        return screens

    return sit


def test_from_the_menu_to_the_dashboard_and_back(
    desk: Desk, state: StateFolder, sit: Callable[[Screens], Screens]
) -> None:
    """R stops the server and shows the menu again; leaving that ends it all."""
    desk.conf.write_text(desk.conf.read_text().replace("[moe]", "[moe]\nSPEED=9 t/s"))
    screens = sit(Screens("moe", None, pressed=("menu",)))
    done = desk.placer("serve", "--port", "0")
    assert done.code == 0
    assert "Stopped moe." in done.out
    assert screens.details == ["512 tokens, 9 t/s, moe.gguf"]
    assert state.servers() == ()


def test_a_server_is_left_running_and_watched_again(
    desk: Desk, state: StateFolder, sit: Callable[[Screens], Screens]
) -> None:
    """D and a closed terminal leave it, q ends it; the menu joins one that runs."""
    sit(Screens(pressed=("detach",)))
    assert "moe goes on" in desk.placer("serve", "moe", "--port", "0").out
    (one,) = state.servers()
    screens = sit(Screens("moe", pressed=("hangup",)))
    assert desk.placer("serve").code == 0
    assert screens.details == [f"served at {one.base_url}"]
    assert psutil.pid_exists(one.pid or 0)
    sit(Screens(pressed=("stop",)))
    assert "Stopped moe." in desk.placer("dashboard").out
    assert state.servers() == ()
