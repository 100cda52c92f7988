"""As much of an HTTP server as a client of llama-server needs.

Written out because ``import http.server`` alone takes half of the time in which a
fake engine should be up.
"""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedIOBase

REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    500: "Internal Server Error",
}
CHUNKED = "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request."""

    method: str
    path: str
    body: bytes


class Reply:
    """The answer to one request: ``json`` once, or events and ``end``."""

    def __init__(self, out: BufferedIOBase) -> None:
        self._out = out
        self._is_streaming = False

    def json(self, status: int, value: Any) -> None:
        """The whole answer."""
        body = json.dumps(value).encode()
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}"
        self._send(self._head(status, kind) + body)

    def event(self, value: Any) -> None:
        """One server-sent event."""
        if not self._is_streaming:
            self._is_streaming = True
            self._send(self._head(200, CHUNKED))
        self._chunk(f"data: {json.dumps(value)}\n\n".encode())

    def error(self, code: int, message: str, kind: str = "server_error") -> None:
        """An error: as an answer, or as an event once events were sent."""
        value = {"error": {"code": code, "message": message, "type": kind}}
        if self._is_streaming:
            self.event(value)
            self.end()
        else:
            self.json(code, value)

    def end(self) -> None:
        """No more events."""
        self._chunk(b"")

    def _head(self, status: int, lines: str) -> bytes:
        reason = REASONS.get(status, "Service Unavailable")
        return f"HTTP/1.1 {status} {reason}\r\n{lines}\r\n\r\n".encode()

    def _chunk(self, data: bytes) -> None:
        self._send(b"%x\r\n%s\r\n" % (len(data), data))

    def _send(self, data: bytes) -> None:
        self._out.write(data)
        self._out.flush()


class HttpServer:
    """Answers on a port, each connection in a thread of its own.

    Raises:
        OSError: the port is somebody else's.
    """

    def __init__(self, host: str, port: int) -> None:
        self._socket = socket.create_server((host, port))

    def start(self, answer: Callable[[Request, Reply], None]) -> None:
        """Answer from now on, until the process ends."""

        def accept() -> None:
            while True:
                connection, _ = self._socket.accept()
                talk = (connection, answer)
                threading.Thread(target=_talk, args=talk, daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()


def _talk(connection: socket.socket, answer: Callable[[Request, Reply], None]) -> None:
    """Requests of one connection, until the other side has gone."""
    with suppress(OSError), connection, connection.makefile("rwb") as stream:
        while (request := _read_request(stream)) is not None:
            answer(request, Reply(stream))


def _read_request(stream: BufferedIOBase) -> Request | None:
    words = stream.readline().decode("latin-1").split()
    if len(words) != 3:
        return None
    length = 0
    while line := stream.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        if name.lower() == "content-length":
            length = int(value)
    return Request(method=words[0], path=words[1], body=stream.read(length))
