"""What a client makes of the answers of a server."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import pytest

from placer.engine.client import Completion, ServerAnswerError, ServerClient
from placer.engine.process import free_port
from placer.testing.fake_http import HttpServer, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Callable

TIMINGS = {
    "prompt_n": 100,
    "prompt_per_second": 50.0,
    "predicted_n": 16,
    "predicted_per_second": 8.0,
}


def serve(answer: Callable[[Request, Reply], None]) -> str:
    """The address of a server that answers so."""
    port = free_port()
    HttpServer("127.0.0.1", port).start(answer)
    return f"http://127.0.0.1:{port}"


def ask(url: str, progress: list[int] | None = None) -> Completion:
    """One completion of three tokens."""
    seen: list[int] = [] if progress is None else progress
    with ServerClient(url, read_timeout_s=5) as client:
        return client.complete([1, 2, 3], 16, seen.append)


def test_a_completion_has_the_servers_timings() -> None:
    """Progress is told as it comes; the figures are the server's own."""
    bodies: list[dict[str, Any]] = []

    def answer(request: Request, reply: Reply) -> None:
        bodies.append(json.loads(request.body))
        for n in (0, 2, 3):
            reply.event({"stop": False, "prompt_progress": {"processed": n}})
        reply.event({"content": "a", "stop": False})
        reply.event({"content": "", "stop": True, "timings": TIMINGS})
        reply.end()

    progress: list[int] = []
    completion = ask(serve(answer), progress)
    assert progress == [0, 2, 3]
    assert completion == Completion(
        prompt_tokens=100,
        prompt_tokens_per_s=50.0,
        decoded_tokens=16,
        decoded_tokens_per_s=8.0,
    )
    (body,) = bodies
    assert body["prompt"] == [1, 2, 3]
    assert body["n_predict"] == 16
    assert body["cache_prompt"] is False
    assert body["ignore_eos"] is True


def test_an_error_event_is_an_error() -> None:
    """An error in the middle of a stream does not pass for an answer."""

    def answer(_: Request, reply: Reply) -> None:
        reply.event({"stop": False, "prompt_progress": {"processed": 1}})
        reply.error(500, "Compute error.")

    with pytest.raises(ServerAnswerError, match=r"Compute error\."):
        ask(serve(answer))


def test_a_refused_request_tells_the_servers_words() -> None:
    """The status and the text of the answer are in the error."""

    def answer(_: Request, reply: Reply) -> None:
        reply.error(400, "the request exceeds the available context size")

    with pytest.raises(ServerAnswerError, match=r"HTTP 400.*exceeds the available"):
        ask(serve(answer))


def test_a_stream_that_ends_early_is_no_answer() -> None:
    """Without timings nothing was measured."""

    def answer(_: Request, reply: Reply) -> None:
        reply.event({"content": "a", "stop": False})
        reply.end()

    with pytest.raises(ServerAnswerError, match="ended without timings"):
        ask(serve(answer))


def test_nonsense_between_events_is_passed_over() -> None:
    """Comments, pings and broken JSON are not answers."""

    def answer(_: Request, reply: Reply) -> None:
        reply.event("no object")
        reply.event([1, 2])
        reply.event({"stop": True, "timings": {"prompt_n": 1, "predicted_n": 0}})
        reply.end()

    completion = ask(serve(answer))
    assert completion.prompt_tokens == 1
    assert completion.decoded_tokens_per_s == 0.0


def test_nobody_there_is_not_healthy() -> None:
    """A port where nobody listens is no health, and no completion."""
    url = f"http://127.0.0.1:{free_port()}"
    with ServerClient(url, read_timeout_s=1) as client:
        assert not client.is_healthy()
    with pytest.raises(ServerAnswerError, match="ConnectError"):
        ask(url)


def test_a_server_that_loads_is_not_healthy_yet() -> None:
    """503 is not health, 200 is."""
    statuses = [503, 200]

    def answer(_: Request, reply: Reply) -> None:
        reply.json(statuses.pop(0), {})

    with ServerClient(serve(answer), read_timeout_s=1) as client:
        assert not client.is_healthy()
        assert client.is_healthy()


def test_a_proxy_of_the_users_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback traffic stays on this machine."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    url = serve(lambda _, reply: reply.json(200, {}))
    with ServerClient(url, read_timeout_s=1) as client:
        assert client.is_healthy()


PNG_WIDTH = slice(16, 20)


def marker_of(props: Any, status: int = 200) -> str | None:
    """What a server with these properties takes for an image."""
    url = serve(lambda _, reply: reply.json(status, props))
    with ServerClient(url, read_timeout_s=5) as client:
        return client.image_marker()


def test_a_server_says_what_stands_for_an_image() -> None:
    """Newer builds draw it anew in each process; without sight there is none."""
    sees = {"modalities": {"vision": True, "audio": False}}
    assert marker_of({**sees, "media_marker": "<__media_x__>"}) == "<__media_x__>"
    assert marker_of(sees) == "<__media__>"
    assert marker_of({"modalities": {"vision": False}, "media_marker": "<m>"}) is None
    assert marker_of({}) is None
    assert marker_of({"error": {}}, status=404) is None


def test_an_image_becomes_smaller_until_there_is_room() -> None:
    """The context is too short for the first two; the third is looked at."""
    sides: list[int] = []

    def answer(request: Request, reply: Reply) -> None:
        prompt = json.loads(request.body)["prompt"]
        assert prompt["prompt_string"].startswith("<m>")
        (data,) = prompt["multimodal_data"]
        sides.append(int.from_bytes(base64.b64decode(data)[PNG_WIDTH], "big"))
        if len(sides) < 3:
            reply.error(400, "too many tokens", "exceed_context_size_error")
            return
        reply.event({"stop": True, "timings": TIMINGS})
        reply.end()

    with ServerClient(serve(answer), read_timeout_s=5) as client:
        assert client.see("<m>", 4).prompt_tokens == 100
    assert sides == [4096, 2048, 1024]


def test_an_image_that_nobody_has_room_for_was_not_seen() -> None:
    """That is no failure; any other refusal is one."""

    def refuse(kind: str) -> str:
        return serve(lambda _, reply: reply.error(400, "no", kind))

    url = refuse("exceed_context_size_error")
    with ServerClient(url, read_timeout_s=5) as client:
        assert client.see("<m>", 4).prompt_tokens == 0
    with (
        ServerClient(refuse("server_error"), read_timeout_s=5) as client,
        pytest.raises(ServerAnswerError, match="HTTP 400"),
    ):
        client.see("<m>", 4)
