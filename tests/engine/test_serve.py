"""The real engine, served on emulated devices: started, asked, left, stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest

from placer import app
from placer.app.loading import NotServedError
from placer.app.preflight import NoRoomError
from placer.engine.verdict import Outcome
from placer.serve import StateFolder
from placer.serve.alive import is_alive
from placer.testing import EmulatedMachine, models
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from placer.serve import Running

pytestmark = pytest.mark.engine

SHAPE = {"n_layer": 4, "n_ff_exp": 512, "n_expert": 16, "n_head_kv": 4}
#: What is answered is computed on the CPU: no shader is compiled for it.
CONF = """\
[moe]
NAME=A mixture
MODEL=moe.gguf
CTX_SIZE=512
N_GPU_LAYERS=99
FIT=off
EXTRA_ARGS=-b 256 -ub 64 -np 1 --no-warmup --api-key secret -ts 3,2

[cpu]
MODEL=moe.gguf
CTX_SIZE=512
N_GPU_LAYERS=0
FIT=off
EXTRA_ARGS=-b 256 -ub 64 -np 1 --no-op-offload --api-key secret

[fitted]
MODEL=moe.gguf
CTX_SIZE=512
FIT=on
FIT_TARGET=1
EXTRA_ARGS=-b 256 -ub 64 -np 1 --no-warmup
"""
GPUS = (60, 60)
ANY_PORT = app.ServeOptions(port=0)


@pytest.fixture(scope="module")
def where(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> app.Where:
    """Two emulated devices, a model and its profiles."""
    folder = tmp_path_factory.mktemp("serve")
    models.write_qwen3moe(folder / "moe.gguf", **SHAPE)
    conf = folder / "models.conf"
    conf.write_text(CONF)
    return app.Where(server=engine, emulate=GPUS, conf=conf, models=folder)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[StateFolder]:
    """Where servers are on record; none of them outlives the test."""
    state = StateFolder(tmp_path / "servers")
    yield state
    app.stop(every=True, state=state)


def wait_until(holds: Callable[[], bool]) -> None:
    """Return as soon as it holds."""
    until_s = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until_s, "it never came to that"
        time.sleep(0.02)


def answer_of(running: Running) -> httpx.Response:
    """What a chat is answered."""
    with httpx.Client(trust_env=False, timeout=60) as client:
        return client.post(
            f"{running.base_url}/v1/chat/completions",
            headers={"Authorization": "Bearer secret"},
            json={
                "messages": [{"role": "user", "content": "Hello"}],
                "max_tokens": 4,
            },
        )


SERVE = """
import sys, time
from pathlib import Path
from placer import app
from placer.serve import StateFolder
server, conf, models, state = map(Path, sys.argv[1:])
where = app.Where(server=server, emulate=(60, 60), conf=conf, models=models)
app.serve("cpu", where, app.ServeOptions(port=0), state=StateFolder(state))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_chat_is_answered_after_its_placer_was_killed(
    where: app.Where, state: StateFolder
) -> None:
    """The server outlives it, and stop leaves neither a process nor a folder."""
    paths = [str(p) for p in (where.server, where.conf, where.models, state.path)]
    argv = [sys.executable, "-c", SERVE, *paths]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as placer:
        assert placer.stdout is not None
        assert placer.stdout.readline() == "ready\n"
        placer.kill()
    (seen,) = app.status(state=state)
    assert seen.word == "ready"
    answer = answer_of(seen.running)
    assert answer.status_code == 200
    assert answer.json()["usage"]["completion_tokens"] == 4
    group = psutil.Process(seen.running.pid)
    assert app.stop(state=state).profiles == ("cpu",)
    assert not group.is_running() or group.status() == psutil.STATUS_ZOMBIE
    assert not state.folder("cpu").exists()


def test_what_it_holds_is_what_was_planned(
    where: app.Where, state: StateFolder
) -> None:
    """Of each device, to a few MiB: the engine's own small buffers."""
    served = app.serve("moe", where, ANY_PORT, state=state)
    assert served.ready
    (seen,) = app.status("moe", state=state)
    assert seen.held_bytes is not None
    for device, held in zip(seen.running.devices, seen.held_bytes, strict=True):
        assert device.planned_bytes is not None
        assert device.planned_bytes > MIB
        assert abs(held - device.planned_bytes) < 4 * MIB


def test_a_profile_that_is_fitted_tells_its_plan_later(
    where: app.Where, state: StateFolder
) -> None:
    """What the engine says to hold is the plan, where nobody knew before."""
    served = app.serve("fitted", where, ANY_PORT, state=state)
    (seen,) = app.status(state=state)
    assert served.preflight.needs == ()
    planned = [device.planned_bytes or 0 for device in seen.running.devices]
    assert sum(planned) > MIB
    assert seen.held_bytes is not None
    assert abs(sum(planned) - sum(seen.held_bytes)) < 8 * MIB


def test_an_occupied_device_is_refused_and_refitted(
    where: app.Where, state: StateFolder
) -> None:
    """Free memory is what counts, not what the cards have."""
    occupy(state, 1, 55)
    with pytest.raises(NoRoomError) as refused:
        app.serve("moe", where, ANY_PORT, state=state)
    (short,) = refused.value.preflight.short
    assert short.device == "Vulkan1"
    assert short.free_bytes == 5 * MIB
    assert not state.folder("moe").exists()

    occupy(state, 1, 55)
    options = app.ServeOptions(port=0, refit=True)
    served = app.serve("moe", where, options, state=state)
    assert served.refit is not None
    (seen,) = app.status(state=state)
    assert seen.held_bytes is not None
    assert seen.held_bytes[1] <= 5 * MIB


def occupy(state: StateFolder, device: int, mib: int) -> None:
    """A neighbour takes of a device of the profile's machine."""
    with EmulatedMachine(GPUS, folder=state.folder("moe") / "gpus") as machine:
        machine.occupy(device, mib)


def test_one_that_runs_out_of_memory_is_judged(
    where: app.Where, state: StateFolder
) -> None:
    """As a search would: the phase, the device; exit code 4, nothing left but a log."""
    occupy(state, 1, 55)
    options = app.ServeOptions(port=0, force=True)
    with pytest.raises(NotServedError) as failed:
        app.serve("moe", where, options, state=state)
    assert failed.value.exit_code == 4
    assert failed.value.verdict.outcome is Outcome.OOM_WEIGHTS
    assert failed.value.verdict.device == "Vulkan1"
    assert state.servers() == ()
    assert state.kept_log("moe").exists()


def test_one_that_was_killed_is_told(where: app.Where, state: StateFolder) -> None:
    """It is dead, its log does not say why, and its devices are free again."""
    running = app.serve("cpu", where, ANY_PORT, state=state).running
    assert running.pid is not None
    os.kill(running.pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(running))
    (seen,) = app.status(state=state)
    assert seen.word == "dead"
    assert seen.verdict is None
    assert "without a word" in (seen.advice or "")
    assert app.stop(state=state).cleared == ("cpu",)
