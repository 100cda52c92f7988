"""What an engine expects next, where it can be asked at all."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from placer.engine.binary import Engine
from placer.engine.predictions import predictions
from placer.engine.process import LocalRunner
from placer.testing.fake_engine import Fault, fake_engine, running

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from placer.engine.process import EngineProcess


class Answering(BaseHTTPRequestHandler):
    """A token a letter; what comes next is told by how much was read."""

    asked: list[dict[str, Any]]

    def do_GET(self) -> None:
        self._say({"status": "ok"})

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(length))
        if self.path == "/tokenize":
            self._say({"tokens": [ord(letter) for letter in body["content"]]})
            return
        self.asked.append(body)
        top = [{"id": len(body["prompt"]), "logprob": -0.5, "token": "x"}]
        self._say({"completion_probabilities": [{"top_logprobs": top}]})

    def _say(self, value: dict[str, Any]) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Nothing is said of requests."""


class Served:
    """A runner and the process that it starts: a server that is there already."""

    pid = None

    def __init__(self, url: str) -> None:
        self.base_url = url
        self.args: Sequence[str] = ()
        self.stopped = 0

    def start(self, args: Sequence[str], *, log_path: Path) -> EngineProcess:
        """Itself."""
        self.args, self.log_path = args, log_path
        return self

    log_path: Path

    def exit_code(self) -> None:
        """It runs."""

    def stop(self) -> int:
        """Counted."""
        self.stopped += 1
        return 0


@pytest.fixture
def served() -> Iterator[Served]:
    """A server on loopback."""
    Answering.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Served(f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()


def test_it_is_asked_at_places_of_the_later_half(
    served: Served, tmp_path: Path
) -> None:
    """Each a little further, so that the cache has what was read before."""
    log = tmp_path / "x.log"
    found = predictions(
        served, ("-m", "x"), "abcdefghij" * 9, n_tokens=40, places=4, log_path=log
    )
    assert found == ({25: -0.5}, {30: -0.5}, {35: -0.5}, {40: -0.5})
    prompts = [body["prompt"] for body in Answering.asked]
    assert all(prompt == prompts[-1][: len(prompt)] for prompt in prompts)
    assert all(body["cache_prompt"] for body in Answering.asked)
    assert served.args == ["-m", "x", "--fit", "off", "-lv", "4"]
    assert served.stopped == 1


@pytest.mark.parametrize("fault", [None, Fault.EXIT_EARLY, Fault.SIGILL_AT_START])
def test_an_engine_that_does_not_say_is_no_error(
    tmp_path: Path, moe_path: Path, fault: Fault | None
) -> None:
    """Nor one that does not load; none is left behind."""
    binary = fake_engine(tmp_path, fault=fault, fault_after=0)
    runner = LocalRunner(Engine(binary=binary, config_home=tmp_path))
    args = ("-m", str(moe_path), "-c", "256", "-ngl", "9", "-ts", "5,4")
    log = tmp_path / "x.log"
    found = predictions(runner, args, "text", n_tokens=8, places=2, log_path=log)
    assert found is None
    assert running(binary) == ()
