"""How far away RPC devices are.

Only endpoints that the user named are contacted. Connections are opened and closed,
nothing is sent over them.
"""

from __future__ import annotations

import re
import socket
import time
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from placer.machine.device import Device

CONNECTS = 5
TIMEOUT_S = 0.5
# No plan is to hang on how busy the network was for a moment.
STEP_S = 50e-6
# What goes to a program of the same machine is copied from memory to memory, by one
# thread on each side.
LOOPBACK_BYTES_PER_S = 2e9
_BUFFER = re.compile(r"RPC\d+\[(.+)\]")


class Way(NamedTuple):
    """The way to an endpoint and back; None for what is not known."""

    latency_s: float | None = None
    bytes_per_s: float | None = None


def with_network(devices: tuple[Device, ...], rpc: str | None) -> tuple[Device, ...]:
    """The devices, those behind a named endpoint with how far it is.

    Args:
        devices: as the engine lists them.
        rpc: what the user gave to ``--rpc``.
    """
    named = set(rpc.split(",")) if rpc else set()
    ways = {e: _way_to(e) for e in sorted(named & set(map(endpoint_of, devices)))}
    unknown = Way()
    return tuple(
        replace(
            device,
            network_latency_s=way.latency_s,
            network_bytes_per_s=way.bytes_per_s,
        )
        for device in devices
        for way in [ways.get(endpoint_of(device), unknown)]
    )


def endpoint_of(device: Device) -> str:
    """``"host:port"`` of the server that an RPC device belongs to, else ``""``."""
    match = _BUFFER.fullmatch(device.buffer_type)
    return match[1] if match else ""


def _way_to(endpoint: str) -> Way:
    """What a few connections say, as far as they are answered.

    A connection stands after one message there and one back. Its time is told in
    steps, and is one step at least.
    """
    seconds: list[float] = []
    bytes_per_s = None
    with suppress(OSError, ValueError, OverflowError):
        host, _, port = endpoint.partition(":")
        address = _address(host, int(port))
        while len(seconds) < CONNECTS:
            with socket.socket() as connection:
                connection.settimeout(TIMEOUT_S)
                started_s = time.perf_counter()
                connection.connect(address)
                seconds.append(time.perf_counter() - started_s)
                bytes_per_s = LOOPBACK_BYTES_PER_S if _is_here(connection) else None
                _let_go(connection)
    if not seconds:
        return Way()
    return Way(max(round(median(seconds) / STEP_S), 1) * STEP_S, bytes_per_s)


def _address(host: str, port: int) -> tuple[str, int]:
    """Of the family that the engine looks for, too."""
    family, kind = socket.AF_INET, socket.SOCK_STREAM
    found = socket.getaddrinfo(host, port, family, kind)[0][4]
    return str(found[0]), int(found[1])


def _let_go(connection: socket.socket) -> None:
    """Wait until the server has seen that nothing comes.

    It serves one client after the other and lets a single one wait: transport.cpp. The
    engine must not find that place taken.

    Raises:
        TimeoutError: the server is busy with another client.
    """
    connection.shutdown(socket.SHUT_WR)
    connection.recv(1)


def _is_here(connection: socket.socket) -> bool:
    """Whether the other end is on this machine."""
    own, other = connection.getsockname()[0], connection.getpeername()[0]
    return bool(own == other or ip_address(other).is_loopback)
