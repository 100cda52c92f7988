"""The real llama-server uses RPC devices of this machine as it uses GPUs."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx
import pytest

from placer.engine.environment import engine_library_env
from placer.search.search import ATTEMPTS
from placer.testing import RpcDevices, models
from placer.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.engine

#: 50 MiB of weights a layer.
SHAPE = {"n_layer": 4, "n_embd": 512, "n_ff": 16384}
FLAGS = ("--port", "0", "-dev", "RPC0,RPC1", "-ngl", "99", "-ts", "1,1", "-c", "512")
#: An idle RPC server takes 85 MiB of it, one layer does not fit beside that.
LIMIT_BYTES = 120 * MIB


@pytest.fixture(scope="module")
def engine(bundled: Path) -> Path:
    """RPC devices need no emulation."""
    return bundled


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that computes on any processor: its weights are not quantised."""
    return models.write_llama(tmp_path_factory.mktemp("rpc") / "model.gguf", **SHAPE)


@contextmanager
def running(
    engine: Path, devices: RpcDevices, *flags: str
) -> Iterator[subprocess.Popen[str]]:
    """The engine with these devices, killed afterwards."""
    process = subprocess.Popen(
        [engine, "--rpc", devices.endpoints, "--fit", "off", "-lv", "4", *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **engine_library_env(engine)},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def address_of(server: subprocess.Popen[str]) -> str:
    """Where it listens, as soon as it does."""
    assert server.stdout is not None
    for line in server.stdout:
        if "listening on" in line:
            return line.rpartition(" ")[2].strip()
    raise AssertionError("it ended")


def test_each_server_is_a_device(engine: Path) -> None:
    """In the order of the endpoints."""
    with (
        RpcDevices(engine, [1, 1]) as devices,
        running(engine, devices, "--list-devices") as server,
    ):
        said, _ = server.communicate(timeout=20)
        first, second = devices.endpoints.split(",")
        assert f"RPC0: {first}" in said
        assert f"RPC1: {second}" in said


def test_a_prompt_is_computed_on_two_devices(engine: Path, model: Path) -> None:
    """Loaded in a moment, and answered."""
    with (
        RpcDevices(engine, [1, 1]) as devices,
        running(engine, devices, "-m", str(model), *FLAGS) as server,
    ):
        body = {"prompt": [*range(100, 200)], "n_predict": 4}
        address = f"{address_of(server)}/completion"
        answer = httpx.post(address, json=body, timeout=60).json()
        assert answer["timings"]["prompt_n"] == 100


def test_a_device_refuses_what_its_address_space_does_not_hold(
    engine: Path, model: Path
) -> None:
    """The engine takes it for a full device, and both servers live on."""
    limits = [None, LIMIT_BYTES]
    with RpcDevices(engine, [1, 1], address_space_bytes=limits) as devices:
        for _ in range(ATTEMPTS):
            with running(engine, devices, "-m", str(model), *FLAGS) as server:
                said, _ = server.communicate(timeout=20)
            assert server.returncode == 1
            if "exiting due to" in said:  # else its last words are lost
                break
        full = devices.endpoints.split(",")[1]
        assert f"unable to allocate RPC0[{full}] buffer" in said
        ended = os.WEXITED | os.WNOHANG | os.WNOWAIT
        assert [os.waitid(os.P_PID, pid, ended) for pid in devices.pids] == [None] * 2
