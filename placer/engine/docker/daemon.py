"""The Docker daemon: found, asked what it can, and its errors as placer's."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from placer.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docker import DockerClient

HOST_VARIABLE = "DOCKER_HOST"
UNIX = "unix://"
HOST_DEFAULT = f"{UNIX}/var/run/docker.sock"
# By either a driver of NVIDIA is here; the second is WSL's.
NVIDIA_DEVICES = ("/dev/nvidiactl", "/dev/dxg")
RENDER_DEVICES = ("/dev/dri", "/dev/kfd")
# What is answered of a container that is gone, or that somebody removes right now.
GONE = (404, 409)
CDI_NVIDIA = "nvidia.com/gpu=all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Daemon:
    """What a daemon does for a container that computes.

    Attributes:
        host_network: whether a container may use this machine's network.
        tells_pids: whether the process ids that it tells are this machine's.
        nvidia: how NVIDIA cards are asked for: ``"gpu"`` of the NVIDIA Container
            Toolkit, ``"cdi"``, or None where none are.
        render_devices: other devices that compute, passed as they are.
    """

    host_network: bool = True
    tells_pids: bool = True
    nvidia: str | None = None
    render_devices: tuple[str, ...] = ()


def connect() -> DockerClient:
    """The daemon that ``DOCKER_HOST`` names, else this machine's.

    Raises:
        MachineError: none answers.
    """
    hint = f"start it and see that you may use it, or name another with {HOST_VARIABLE}"
    if not is_likely():
        raise MachineError(f"no Docker daemon is at {_address()}", hint=hint)
    with docker_errors("no Docker daemon answers", hint):
        return _connect(_address())


def is_likely() -> bool:
    """Whether there may be a daemon: its socket is there, or it is elsewhere."""
    host = _address()
    return not host.startswith(UNIX) or Path(host.removeprefix(UNIX)).exists()


def daemon_of(client: DockerClient) -> Daemon:
    """What the daemon does.

    Raises:
        MachineError: it does not answer.
    """
    with docker_errors("the Docker daemon does not answer"):
        return read_info(client.info())


def read_info(info: dict[str, Any]) -> Daemon:
    """The same of what ``docker info`` says, and of the devices that are here."""
    options = " ".join(info.get("SecurityOptions") or ())
    in_machine = sys.platform != "linux" or info.get("OperatingSystem") == (
        "Docker Desktop"
    )
    return Daemon(
        host_network=not in_machine and "name=rootless" not in options,
        tells_pids=not in_machine,
        nvidia=_nvidia(info),
        render_devices=tuple(path for path in RENDER_DEVICES if Path(path).exists()),
    )


@contextmanager
def docker_errors(problem: str, hint: str | None = None) -> Iterator[None]:
    """What the daemon refuses is a MachineError, with the daemon's own words.

    Raises:
        MachineError: something was refused, or nobody answers.
    """
    import requests
    from docker.errors import APIError, DockerException

    try:
        yield
    except (DockerException, requests.RequestException) as error:
        said = error.explanation if isinstance(error, APIError) else None
        words = _words(said) if said else _cause(error)
        raise MachineError(f"{problem}: {words}", hint=hint) from None


@cache
def _connect(host: str) -> DockerClient:
    """One connection for as long as the command runs."""
    del host  # docker reads it too, with the certificates that belong to it
    import docker

    client = docker.from_env()
    client.ping()
    return client


def _address() -> str:
    return os.environ.get(HOST_VARIABLE) or HOST_DEFAULT


def _words(said: str) -> str:
    """What the daemon says, without what each of its layers puts before it."""
    return said.rpartition("unable to start container process: ")[2].strip()


def _cause(error: BaseException) -> str:
    """Why nobody answered: what the system said, under all its wrappings."""
    at: BaseException | None = error
    while at is not None:
        for one in (at, *at.args):
            if isinstance(one, OSError) and one.strerror:
                return one.strerror
        at = at.__cause__ or at.__context__
    return str(error)


def _nvidia(info: dict[str, Any]) -> str | None:
    runtimes = info.get("Runtimes") or {}
    if "nvidia" in runtimes or shutil.which("nvidia-container-runtime-hook"):
        return "gpu"
    found = {str(d.get("ID")) for d in info.get("DiscoveredDevices") or ()}
    if CDI_NVIDIA in found:
        return "cdi"
    return "gpu" if any(Path(path).exists() for path in NVIDIA_DEVICES) else None
