"""Who listens on a port."""

from __future__ import annotations

import os
import socket

import pytest

from placer.engine.ports import require_free
from placer.engine.process import free_port
from placer.errors import MachineError


def test_a_free_port_is_free() -> None:
    """It may be asked again: asking takes nothing."""
    port = free_port()
    require_free("127.0.0.1", port)
    require_free("127.0.0.1", port)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104
def test_who_listens_is_named(host: str) -> None:
    """With the number of its process, whatever address is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(MachineError, match="listens there already") as caught:
            require_free(host, port)
    assert f"(process {os.getpid()})" in caught.value.problem
    assert "0 finds a free one" in (caught.value.hint or "")


def test_an_address_that_is_not_here_is_told() -> None:
    """One line, no traceback."""
    with pytest.raises(MachineError, match=r"192\.0\.2\.1"):
        require_free("192.0.2.1", 80)
    with pytest.raises(MachineError, match="no address of this machine"):
        require_free("no such host", 80)
