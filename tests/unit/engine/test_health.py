"""What a server answers when it is asked whether it is well."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from placer.engine.health import Health, health_of
from placer.engine.process import free_port
from placer.testing.fake_http import HttpServer

if TYPE_CHECKING:
    from placer.testing.fake_http import Reply, Request


@pytest.mark.parametrize(
    ("status", "health"),
    [(200, Health.READY), (503, Health.LOADING), (404, Health.SILENT)],
)
def test_the_answer_tells(status: int, health: Health) -> None:
    """Loaded, loading, or something that is no llama-server; behind a prefix too."""
    port = free_port()

    def answer(request: Request, reply: Reply) -> None:
        assert request.path == "/prefix/health"
        reply.json(status, {})

    HttpServer("127.0.0.1", port).start(answer)
    assert health_of(f"http://127.0.0.1:{port}/prefix") is health


def test_who_does_not_answer_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether nobody listens, or somebody who says nothing."""
    monkeypatch.setattr("placer.engine.health.TIMEOUT_S", 0.05)
    assert health_of(f"http://127.0.0.1:{free_port()}") is Health.SILENT
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        assert health_of(url) is Health.SILENT
