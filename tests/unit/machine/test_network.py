from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from placer.machine import Device
from placer.machine.network import (
    CONNECTS,
    LOOPBACK_BYTES_PER_S,
    STEP_S,
    TIMEOUT_S,
    endpoint_of,
    with_network,
)
from placer.testing.rpc import NetworkNamespaces
from placer.units import GIB

if TYPE_CHECKING:
    from collections.abc import Iterator


class Server:
    """What an RPC server is to a client that says nothing: one after the other."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=1)
        self.clients = 0
        self.heard = b""

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.socket.getsockname()[1]}"

    def serve(self) -> None:
        """Until the socket is shut."""
        with suppress(OSError):
            while True:
                client, _ = self.socket.accept()
                with client:
                    self.clients += 1
                    self.heard += client.recv(1000)


@contextmanager
def serving() -> Iterator[Server]:
    """A server that serves."""
    server = Server()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.socket.shutdown(socket.SHUT_RDWR)
        thread.join()
        server.socket.close()


def device(name: str, buffer_type: str) -> Device:
    """A device whose memory is called so."""
    return Device(
        name=name,
        buffer_type=buffer_type,
        description="",
        total_bytes=GIB,
        free_bytes=GIB,
    )


def remote(number: int, endpoint: str, inside: int = 0) -> Device:
    """An RPC device."""
    return device(f"RPC{number}", f"RPC{inside}[{endpoint}]")


@pytest.mark.parametrize(
    ("buffer_type", "endpoint"),
    [
        ("RPC0[10.0.0.2:50052]", "10.0.0.2:50052"),
        ("RPC12[box.lan:1]", "box.lan:1"),
        ("RPC0", ""),
        ("CUDA0", ""),
    ],
)
def test_the_memory_of_a_device_names_its_server(
    buffer_type: str, endpoint: str
) -> None:
    """Nothing else does."""
    assert endpoint_of(device("RPC0", buffer_type)) == endpoint


def test_a_server_is_asked_once_for_all_its_devices() -> None:
    """A few connections, and nothing is sent; other devices stay as they are."""
    card = device("CUDA0", "CUDA0")
    with serving() as server:
        mine = [remote(i, server.endpoint, i) for i in range(2)]
        first, second, third = with_network((*mine, card), server.endpoint)
    assert server.clients == CONNECTS
    assert server.heard == b""
    assert first.network_latency_s is not None
    assert STEP_S <= first.network_latency_s < TIMEOUT_S
    assert first.network_bytes_per_s == LOOPBACK_BYTES_PER_S
    assert second.network_latency_s == first.network_latency_s
    assert third == card


def test_only_named_endpoints_are_contacted() -> None:
    """Whatever a list of devices says."""
    with serving() as server:
        stranger = remote(0, server.endpoint)
        for rpc in (None, "", "127.0.0.1:1"):
            assert with_network((stranger,), rpc) == (stranger,)
    assert server.clients == 0


@pytest.mark.parametrize("endpoint", ["127.0.0.1:1", "127.0.0.1:x", "127.0.0.1:99999"])
def test_who_does_not_answer_is_not_known(endpoint: str) -> None:
    """A closed port, and what is no port."""
    (found,) = with_network((remote(0, endpoint),), endpoint)
    assert found.network_latency_s is None
    assert found.network_bytes_per_s is None


def test_a_busy_server_is_waited_for_once() -> None:
    """What one connection said is taken, and the others are not tried."""
    server = Server()
    began_s = time.monotonic()
    with server.socket:
        (found,) = with_network((remote(0, server.endpoint),), server.endpoint)
    assert found.network_latency_s is not None
    assert time.monotonic() - began_s < TIMEOUT_S * CONNECTS


def test_namespaces_are_hosts_of_their_own() -> None:
    """With addresses that end with them; skipped where they cannot be made."""
    from placer.errors import MachineError

    try:
        network = NetworkNamespaces(2)
    except MachineError as error:
        pytest.skip(str(error))
    with network:
        addresses = list(network.addresses)
        assert len(set(addresses)) == 2
        for address in addresses:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, 1), timeout=5)
    network.close()
