"""What is started, and what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.engine.binary import Engine
from placer.errors import MachineError
from placer.serve import StateFolder
from placer.serve.alive import end, is_alive
from placer.serve.start import Launch, start_process

if TYPE_CHECKING:
    from pathlib import Path


def launch_on(host: str) -> Launch:
    """A launch that listens there."""
    return Launch(
        profile="moe",
        name="A mixture",
        model="moe.gguf",
        flags=("-c", "512"),
        host=host,
        port=8081,
        base_url=f"http://{host}:8081",
        devices=(),
        emulated=False,
        ctx=512,
        parallel=1,
    )


def engine_of(folder: Path, script: str) -> Engine:
    """An engine that is a shell script."""
    binary = folder / "llama-server"
    binary.write_text(f"#!/bin/sh\n{script}\n")
    binary.chmod(0o755)
    return Engine(binary=binary, config_home=folder, rpc="a:1", build="11434 (abc)")


def test_a_process_is_on_record_as_it_was_started(tmp_path: Path) -> None:
    """Its whole command line, with --rpc first and the address last."""
    state = StateFolder(tmp_path / "state")
    state.folder("moe").mkdir(parents=True)
    engine = engine_of(tmp_path, "exec sleep 60")
    running, process = start_process(launch_on("127.0.0.1"), engine, state)
    where = ("--host", "127.0.0.1", "--port", "8081")
    flags = ("--rpc", "a:1", "-c", "512", *where)
    assert running.argv == (str(engine.binary), *flags)
    assert state.server("moe") == running
    assert running.pid == process.pid
    assert is_alive(running)
    assert end("moe", state)
    assert not process.is_running()
    assert not state.folder("moe").exists()


def test_what_cannot_be_recorded_does_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves no server that nobody knows of."""
    state = StateFolder(tmp_path / "state")
    state.folder("moe").mkdir(parents=True)
    engine = engine_of(tmp_path, "touch ran; exec sleep 60")

    def full(self: StateFolder, running: object) -> None:
        raise MachineError("no space left on device")

    monkeypatch.setattr(StateFolder, "keep", full)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MachineError):
        start_process(launch_on("127.0.0.1"), engine, state)
    assert not (tmp_path / "ran").exists()
