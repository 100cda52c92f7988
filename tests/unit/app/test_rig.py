from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from placer.app.rig import PartialWatch, machine_of, open_rig
from placer.engine.binary import parse_devices
from placer.errors import MachineError
from placer.machine import host
from placer.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

LISTED = """\
Available devices:
  CUDA0: NVIDIA GeForce RTX 4090 (24564 MiB, 23671 MiB free)
  RPC0: 127.0.0.1:1 (24105 MiB, 24105 MiB free)
  RPC1: 127.0.0.1:1 (16303 MiB, 16000 MiB free)
  RPC2: 127.0.0.1:2 (8192 MiB, 8000 MiB free)
"""
ENDPOINTS = "127.0.0.1:1,127.0.0.1:2"
SCRIPT = f"""\
#!/bin/sh
case "$*" in
*--version*) echo "version: 10434 (7e4c0a9)" ;;
*) cat <<'END'
{LISTED}END
;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine that only lists; what is measured lands in the test's own folder."""
    monkeypatch.setattr(host, "default_path", lambda: tmp_path / "host.json")
    binary = tmp_path / "llama-server"
    binary.write_text(SCRIPT)
    binary.chmod(0o755)
    return binary


def test_a_server_may_have_several_devices() -> None:
    """Each is named by its place inside the server, whatever the engine numbers it."""
    devices = parse_devices(LISTED, ENDPOINTS)
    assert [(d.name, d.buffer_type) for d in devices] == [
        ("RPC0", "RPC0[127.0.0.1:1]"),
        ("RPC1", "RPC1[127.0.0.1:1]"),
        ("RPC2", "RPC0[127.0.0.1:2]"),
        ("CUDA0", "CUDA0"),
    ]


class Watch:
    """Has seen three devices, of one process alone."""

    def peak_bytes(self, pid: int) -> tuple[int, ...] | None:
        """What process 1 held."""
        return (1, 2, 3) if pid == 1 else None

    def others_bytes(self, pid: int) -> tuple[int, ...] | None:
        """What others held beside it."""
        return (4, 5, 6) if pid == 1 else None


def test_a_watch_of_some_devices_sees_those_alone() -> None:
    """In the order in which they were chosen; what nobody knows stays unknown."""
    watch = PartialWatch(Watch(), (2, 0))
    assert (watch.peak_bytes(1), watch.others_bytes(1)) == ((3, 1), (6, 4))
    assert (watch.peak_bytes(2), watch.others_bytes(2)) == (None, None)


def test_a_silent_server_is_told_although_another_has_two_devices() -> None:
    """There are as many devices as endpoints, but one endpoint has none."""
    with pytest.raises(MachineError, match="2 RPC endpoints are named, 1 answer") as e:
        parse_devices(LISTED, "127.0.0.1:1,127.0.0.1:3")
    assert "127.0.0.1:3" in str(e.value)


def test_a_rig_knows_the_memory_of_its_machine(engine: Path) -> None:
    """Measured, and remembered for the next rig; RPC devices come first."""
    with open_rig(server=engine, rpc=ENDPOINTS) as rig:
        machine = rig.machine
    assert [d.name for d in machine.devices] == ["RPC0", "RPC1", "RPC2", "CUDA0"]
    assert machine.devices[1].free_bytes == 16000 * MIB
    assert machine.host_bandwidth_bytes_per_s is not None
    # Nobody listens there.
    assert machine.devices[0].network_latency_s is None


def test_devices_alone_are_not_measured() -> None:
    """Only what is used costs time."""
    assert machine_of((), None).host_bandwidth_bytes_per_s is None
