"""Starting an engine, and ending exactly it."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from placer.engine.binary import Engine
from placer.engine.process import LocalRunner, free_port
from placer.errors import MachineError

if TYPE_CHECKING:
    from pathlib import Path

    from placer.engine.process import EngineProcess


def engine_of(folder: Path, script: str, rpc: str | None = None) -> Engine:
    """An engine that is a shell script."""
    binary = folder / "llama-server"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return Engine(binary=binary, config_home=folder, rpc=rpc)


def ended(process: EngineProcess) -> int:
    """The exit code of a process that ends by itself."""
    until_s = time.monotonic() + 10
    while (code := process.exit_code()) is None:
        assert time.monotonic() < until_s
        time.sleep(0.01)
    assert process.stop() == code
    return code


def test_an_engine_gets_host_and_port(tmp_path: Path) -> None:
    """They stand last, after --rpc and the flags of the launch; it answers there."""
    runner = LocalRunner(engine_of(tmp_path, 'echo "$@"', rpc="a:1,b:2"))
    process = runner.start(["-m", "x"], log_path=tmp_path / "a.log")
    assert ended(process) == 0
    port = process.base_url.rpartition(":")[2]
    said = (tmp_path / "a.log").read_text().strip()
    assert said == f"--rpc a:1,b:2 -m x --host 127.0.0.1 --port {port}"


def test_both_streams_go_to_the_log(tmp_path: Path) -> None:
    """What a launch says is in its log, and only what it says."""
    log_path = tmp_path / "a.log"
    log_path.write_text("of an earlier launch\n")
    runner = LocalRunner(engine_of(tmp_path, "echo out; echo err >&2"))
    ended(runner.start([], log_path=log_path))
    assert log_path.read_text().split() == ["out", "err"]


def test_exit_codes_are_told(tmp_path: Path) -> None:
    """None while it runs, its code when it ended, negative for a signal."""
    runner = LocalRunner(engine_of(tmp_path, "read line; exit 7"))
    # Nothing stands on its standard input: the read ends at once.
    assert ended(runner.start([], log_path=tmp_path / "a.log")) == 7

    runner = LocalRunner(engine_of(tmp_path, "sleep 30"))
    process = runner.start([], log_path=tmp_path / "b.log")
    assert process.exit_code() is None
    assert process.stop() < 0
    assert process.exit_code() == process.stop()


def test_a_missing_program_is_a_machine_error(tmp_path: Path) -> None:
    """It names the program and how to give another."""
    engine = Engine(binary=tmp_path / "nowhere", config_home=tmp_path)
    with pytest.raises(MachineError, match="No such file") as error:
        LocalRunner(engine).start([], log_path=tmp_path / "a.log")
    assert "--server" in str(error.value)


def test_a_free_port_can_be_bound() -> None:
    """Nobody listens on it."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))
