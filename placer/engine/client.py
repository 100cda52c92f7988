"""The few questions that placer asks a running llama-server over HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

CONNECT_TIMEOUT_S = 5.0
HTTP_OK = 200


class ServerAnswerError(Exception):
    """The server refused, failed or vanished while it answered.

    Not a ``PlacerError``: the judge makes a verdict of it.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The server's own timings of one request."""

    prompt_tokens: int
    prompt_tokens_per_s: float
    decoded_tokens: int
    decoded_tokens_per_s: float


class ServerClient:
    """A llama-server at ``base_url``; close it, or use it in a ``with``."""

    def __init__(self, base_url: str, *, read_timeout_s: float) -> None:
        import httpx

        self._errors = httpx.HTTPError
        timeout = httpx.Timeout(read_timeout_s, connect=CONNECT_TIMEOUT_S)
        # trust_env would send loopback traffic through a proxy of the user's.
        self._http = httpx.Client(base_url=base_url, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def is_healthy(self) -> bool:
        """Whether the model is loaded; False too while nobody answers."""
        try:
            return self._http.get("/health").status_code == HTTP_OK
        except self._errors:
            return False

    def complete(
        self,
        prompt: Sequence[int],
        n_predict: int,
        on_progress: Callable[[int], None],
    ) -> Completion:
        """Read the prompt and decode ``n_predict`` tokens.

        Args:
            prompt: token ids.
            n_predict: tokens to decode; the end of text is passed over.
            on_progress: called with the tokens of the prompt read so far.

        Raises:
            ServerAnswerError: anything but a full answer.
        """
        body = {
            "prompt": list(prompt),
            "n_predict": n_predict,
            "cache_prompt": False,
            "ignore_eos": True,
            "temperature": 0.0,
            "stream": True,
            "return_progress": True,
        }
        try:
            return self._stream(body, on_progress)
        except self._errors as error:
            raise ServerAnswerError(f"{type(error).__name__}: {error}") from None

    def _stream(
        self, body: dict[str, Any], on_progress: Callable[[int], None]
    ) -> Completion:
        with self._http.stream("POST", "/completion", json=body) as answer:
            if answer.status_code != HTTP_OK:
                answer.read()
                raise ServerAnswerError(
                    f"HTTP {answer.status_code}: {answer.text.strip()[:300]}"
                )
            for line in answer.iter_lines():
                event = _event(line)
                if "error" in event:
                    raise ServerAnswerError(json.dumps(event["error"])[:300])
                if progress := event.get("prompt_progress"):
                    on_progress(int(progress.get("processed", 0)))
                if event.get("stop") and "timings" in event:
                    return _completion(event["timings"])
        raise ServerAnswerError("the answer ended without timings")


def _event(line: str) -> dict[str, Any]:
    """The JSON of a server-sent line, ``{}`` for any other line."""
    for prefix, wrap in (("data: ", False), ("error: ", True)):
        if line.startswith(prefix):
            try:
                value = json.loads(line[len(prefix) :])
            except ValueError:
                return {}
            if wrap:
                return {"error": value}
            return value if isinstance(value, dict) else {}
    return {}


def _completion(timings: dict[str, Any]) -> Completion:
    return Completion(
        prompt_tokens=int(timings.get("prompt_n", 0)),
        prompt_tokens_per_s=float(timings.get("prompt_per_second") or 0.0),
        decoded_tokens=int(timings.get("predicted_n", 0)),
        decoded_tokens_per_s=float(timings.get("predicted_per_second") or 0.0),
    )
