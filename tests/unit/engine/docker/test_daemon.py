"""What a daemon does, by what it says."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from placer.engine.docker import daemon
from placer.engine.docker.daemon import connect, is_likely, read_info
from placer.engine.docker.owner import remove_orphans
from placer.errors import MachineError


@pytest.fixture(autouse=True)
def _no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without any device that computes."""
    monkeypatch.setattr(daemon, "NVIDIA_DEVICES", ())
    monkeypatch.setattr(daemon, "RENDER_DEVICES", ())
    monkeypatch.setenv("PATH", "")


@pytest.mark.parametrize(
    ("info", "nvidia"),
    [
        ({}, None),
        ({"Runtimes": {"runc": {}, "nvidia": {}}}, "gpu"),
        ({"DiscoveredDevices": [{"ID": "nvidia.com/gpu=all"}]}, "cdi"),
        ({"Runtimes": {"runc": {}}, "DiscoveredDevices": None}, None),
    ],
)
def test_nvidia_cards_are_asked_for_as_the_daemon_knows_them(
    info: dict[str, Any], nvidia: str | None
) -> None:
    """By the toolkit's runtime or by CDI; not at all where there is neither."""
    assert read_info(info).nvidia == nvidia


def test_a_driver_that_is_here_asks_for_its_cards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A daemon that does not know them says so, instead of a server without any."""
    monkeypatch.setattr(daemon, "NVIDIA_DEVICES", ("/dev/null",))
    assert read_info({}).nvidia == "gpu"


@pytest.mark.skipif(sys.platform != "linux", reason="of daemons on this machine")
@pytest.mark.parametrize(
    ("info", "network", "pids"),
    [
        ({"SecurityOptions": ["name=seccomp,profile=default"]}, True, True),
        ({"SecurityOptions": ["name=rootless"]}, False, True),
        ({"OperatingSystem": "Docker Desktop"}, False, False),
    ],
)
def test_a_daemon_in_a_machine_of_its_own_publishes_ports(
    info: dict[str, Any], *, network: bool, pids: bool
) -> None:
    """Its network is not this machine's, and its process ids may not be."""
    found = read_info(info)
    assert (found.host_network, found.tells_pids) == (network, pids)


def test_no_daemon_is_an_error_where_one_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The line names its address; clearing up after searches is no such case."""
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    assert not is_likely()
    with pytest.raises(MachineError, match=r"/nowhere/docker\.sock; start it"):
        connect()
    assert remove_orphans() == ()
