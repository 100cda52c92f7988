"""Profiles served in real containers: started, asked, left, stopped."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import httpx
import pytest

from placer import app
from placer.app.loading import NotServedError
from placer.engine.verdict import Cause, Outcome
from placer.serve import StateFolder
from placer.serve.alive import is_alive
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from docker import DockerClient

pytestmark = pytest.mark.engine

CONF = """\
[moe]
MODEL=moe.gguf
CTX_SIZE=512
N_GPU_LAYERS=99
FIT=off
EXTRA_ARGS=-b 256 -ub 64 -np 1 --no-warmup -ts 3,2
"""
ANY_PORT = app.ServeOptions(port=0)


@pytest.fixture
def where(image: str, moe_path: Path, tmp_path: Path) -> app.Where:
    """Two emulated devices, seen in a container."""
    conf = tmp_path / "models.conf"
    conf.write_text(CONF)
    return app.Where(docker=image, emulate=(60, 60), conf=conf, models=moe_path.parent)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFolder]:
    """Where servers are on record; none of them outlives the test."""
    state = StateFolder(tmp_path / "servers")
    yield state
    app.stop(every=True, state=state)


def test_a_container_serves_until_it_is_stopped(
    where: app.Where, state: StateFolder, client: DockerClient
) -> None:
    """It answers where it was asked to; stop leaves its log alone."""
    there = replace(ANY_PORT, host="127.0.0.2")
    running = app.serve("moe", where, there, state=state).running
    assert running.base_url.startswith("http://127.0.0.2:")
    (seen,) = app.status(state=state)
    assert seen.word == "ready"
    assert seen.held_bytes is not None
    assert sum(seen.held_bytes) > 10 * MIB
    with httpx.Client(trust_env=False) as http:
        answer = http.get(f"{running.base_url}/v1/models").json()
    assert answer["data"][0]["id"] == running.profile
    assert app.stop(state=state).profiles == ("moe",)
    assert client.containers.list(all=True) == []
    assert not state.folder("moe").exists()
    assert "listening on" in state.kept_log("moe").read_text()


def test_one_that_runs_out_of_memory_is_judged(
    where: app.Where, state: StateFolder, client: DockerClient
) -> None:
    """By its log and its exit code, as a process is; nothing is left of it."""
    tight = replace(where, emulate=(30, 60))
    options = app.ServeOptions(port=0, force=True)
    with pytest.raises(NotServedError) as failed:
        app.serve("moe", tight, options, state=state)
    assert failed.value.verdict.outcome is Outcome.OOM_WEIGHTS
    assert client.containers.list(all=True) == []
    assert state.servers() == ()


def test_one_that_was_killed_says_so(
    where: app.Where, state: StateFolder, client: DockerClient
) -> None:
    """Its daemon knows how it ended; stop finds it by its folder, record or not."""
    running = app.serve("moe", where, ANY_PORT, state=state).running
    client.containers.get(running.container or "").kill()
    until_s = time.monotonic() + 10
    while is_alive(running) and time.monotonic() < until_s:
        time.sleep(0.05)
    (seen,) = app.status(state=state)
    assert seen.word == "dead"
    assert seen.verdict is not None
    assert seen.verdict.cause is Cause.KILLED
    (state.folder("moe") / "server.json").unlink()
    assert app.stop(state=state).cleared == ("moe",)
    assert client.containers.list(all=True) == []
