"""RPC devices are processes that end when they should."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from placer.errors import InputError, MachineError
from placer.testing import RpcDevices
from placer.units import GIB

if TYPE_CHECKING:
    from pathlib import Path

LISTENS = """
import pathlib, resource, signal, socket, sys
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
limit = resource.getrlimit(resource.RLIMIT_AS)[0]
(pathlib.Path(__file__).parent / options["-p"]).write_text(f"{options['-t']} {limit}")
if options["-t"] == "9":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with socket.create_server((options["-H"], int(options["-p"]))) as server:
    while True:
        server.accept()[0].close()
"""
DIES = "raise SystemExit('no such device: CPU')"


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    """An engine with an RPC server that answers and computes nothing."""
    write_server(tmp_path, LISTENS)
    return tmp_path / "llama-server"


def write_server(folder: Path, code: str) -> None:
    """The RPC server beside the engine is this program."""
    server = folder / "ggml-rpc-server"
    server.write_text(f"#!{sys.executable}\n{code}")
    server.chmod(0o755)


def is_running(pid: int) -> bool:
    """Whether there is a process of this number, be it a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def told(engine: Path, endpoint: str) -> list[int]:
    """The threads and the limit that the server of an endpoint was given."""
    port = endpoint.partition(":")[2]
    return [int(word) for word in (engine.parent / port).read_text().split()]


def test_each_device_is_a_server_of_its_own(engine: Path) -> None:
    """With its own port, its own threads and its own group."""
    with RpcDevices(engine, [1, 3]) as devices:
        endpoints = devices.endpoints.split(",")
        assert len(set(endpoints)) == 2
        assert [told(engine, endpoint)[0] for endpoint in endpoints] == [1, 3]
        assert [os.getpgid(pid) for pid in devices.pids] == list(devices.pids)


def test_devices_end_on_close(engine: Path) -> None:
    """Also one that does not listen to SIGTERM, and also twice."""
    with RpcDevices(engine, [1, 9]) as devices:
        assert all(is_running(pid) for pid in devices.pids)
    assert not any(is_running(pid) for pid in devices.pids)
    devices.close()


def test_devices_end_after_an_exception(engine: Path) -> None:
    """Whatever happened in between."""
    with pytest.raises(KeyError), RpcDevices(engine, [1]) as devices:
        raise KeyError
    assert not any(is_running(pid) for pid in devices.pids)


def test_address_space_is_limited_for_each_device(engine: Path) -> None:
    """None is no limit."""
    with RpcDevices(engine, [1, 1], address_space_bytes=[GIB, None]) as devices:
        limits = [told(engine, each)[1] for each in devices.endpoints.split(",")]
    assert limits[0] == GIB
    assert limits[1] != GIB


def test_a_server_that_dies_is_an_error(engine: Path) -> None:
    """With the last line that it wrote."""
    write_server(engine.parent, DIES)
    with pytest.raises(MachineError, match="no such device: CPU"):
        RpcDevices(engine, [1, 1])


def test_an_engine_without_rpc_is_an_error(tmp_path: Path) -> None:
    """It says how to get one that has it."""
    with pytest.raises(MachineError, match="GGML_RPC=ON"):
        RpcDevices(tmp_path / "llama-server", [1])


def test_every_device_needs_threads_and_a_limit(engine: Path) -> None:
    """No device, and more limits than devices, are refused."""
    with pytest.raises(InputError):
        RpcDevices(engine, [])
    with pytest.raises(InputError):
        RpcDevices(engine, [1], address_space_bytes=[GIB, GIB])
