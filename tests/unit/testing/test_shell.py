"""``scripts/emulated-gpus`` runs a command and answers as the command does."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from placer.testing import emulation, shell


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The layer and lavapipe are taken to be there; files go to a folder of ours."""
    monkeypatch.setattr(emulation, "layer_folder", lambda: tmp_path / "layer")
    monkeypatch.setattr(emulation, "driver_library", lambda: "libvulkan_lvp.so")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


def python(code: str) -> list[str]:
    """A command that runs the code."""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize("separator", [[], ["--"]])
def test_the_command_sees_the_devices(
    capfd: pytest.CaptureFixture[str], separator: list[str]
) -> None:
    """With or without -- before it."""
    code = "import os; print(os.environ['GGML_VK_VISIBLE_DEVICES'])"
    assert shell.main(["400,300", *separator, *python(code)]) == 0
    assert capfd.readouterr().out == "0,1\n"


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        ("raise SystemExit(7)", 7),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("", 0),
    ],
)
def test_the_exit_code_is_the_command_s(code: str, exit_code: int) -> None:
    """128 and the signal's number for a command that was killed."""
    assert shell.main(["400", *python(code)]) == exit_code


def test_the_machine_is_gone_after_the_command(tmp_path: Path) -> None:
    """And signals are handled as before."""
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    shell.main(["400", *python("")])
    assert not list(tmp_path.glob("emulated-gpus-*"))
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_without_a_command_a_shell_can_take_the_variables(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The machine stays, and the last line says how to remove it."""
    assert shell.main(["400,300"]) == 0
    *exports, last = capfd.readouterr().out.splitlines()
    variables = dict(line.removeprefix("export ").split("=", 1) for line in exports)
    state = Path(variables["PLACER_EMULATED_STATE"])
    assert state.is_file()
    assert last == f"# when done: rm -r {state.parent}"


@pytest.mark.parametrize(
    ("arguments", "exit_code", "message"),
    [
        (["4a"], 2, "'4a' is no list of capacities"),
        (["400,0"], 2, "a capacity of 0 bytes"),
        (["400", "no-such-program"], 127, "no-such-program: not found"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    arguments: list[str],
    exit_code: int,
    message: str,
) -> None:
    """On stderr, with an exit code of its own, and nothing is left behind."""
    assert shell.main(arguments) == exit_code
    said = capfd.readouterr()
    assert said.out == ""
    assert message in said.err
    assert len(said.err.splitlines()) == 1
    assert not list(tmp_path.glob("emulated-gpus-*"))


def test_a_program_that_does_not_start_is_told(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """As by a shell: exit code 126."""
    broken = tmp_path / "broken"
    broken.write_text("neither binary nor script")
    broken.chmod(0o755)
    assert shell.main(["400", str(broken)]) == 126
    assert "broken: Exec format error" in capfd.readouterr().err


def test_the_engine_of_the_test_suite_is_found_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where PATH has none."""
    engine = tmp_path / "llama-server"
    engine.write_text("#!/bin/sh\necho here $1\n")
    engine.chmod(0o755)
    monkeypatch.setattr(shell, "bundled_engine", lambda: engine)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert shell.main(["400", "llama-server", "--list-devices"]) == 0
    assert capfd.readouterr().out == "here --list-devices\n"
