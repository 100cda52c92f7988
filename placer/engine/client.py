"""The few questions that placer asks a running llama-server over HTTP."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from placer.engine.http import HTTP_OK, open_http
from placer.engine.prompts import image_sides, png

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

CONNECT_TIMEOUT_S = 5.0
# Of builds that do not say theirs: mtmd.cpp:465, build 11434.
MEDIA_MARKER = "<__media__>"
# server-common.cpp:69: what was sent is no fault of the engine's
TOO_LONG = "exceed_context_size_error"


class ServerAnswerError(Exception):
    """The server refused, failed or vanished while it answered.

    Not a ``PlacerError``: the judge makes a verdict of it.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """The server's own timings of one request.

    Attributes:
        prompt_tokens: that were read, those of an image among them.
        prompt_tokens_per_s: while reading.
        decoded_tokens: that were written.
        decoded_tokens_per_s: while writing.
        drafted_tokens: of a draft that were looked at, taken or not.
    """

    prompt_tokens: int
    prompt_tokens_per_s: float
    decoded_tokens: int
    decoded_tokens_per_s: float
    drafted_tokens: int = 0


UNSEEN = Completion(
    prompt_tokens=0, prompt_tokens_per_s=0.0, decoded_tokens=0, decoded_tokens_per_s=0.0
)


class ServerClient:
    """A llama-server at ``base_url``; close it, or use it in a ``with``."""

    def __init__(self, base_url: str, *, read_timeout_s: float) -> None:
        import httpx

        self._errors = (httpx.HTTPError,)
        self._http = open_http(
            base_url, timeout_s=read_timeout_s, connect_s=CONNECT_TIMEOUT_S
        )

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
        slot: int | None = None,
        on_token: Callable[[int], None] = lambda _: None,
    ) -> Completion:
        """Read the prompt and decode ``n_predict`` tokens.

        Args:
            prompt: token ids.
            n_predict: tokens to decode; the end of text is passed over.
            on_progress: called with the tokens of the prompt read so far.
            slot: the slot to ask, which does not read again what it has of the prompt;
                None for any, and for all of the prompt.
            on_token: called with the tokens written so far, as they come.

        Raises:
            ServerAnswerError: anything but a full answer.
        """
        return self._complete(list(prompt), n_predict, on_progress, slot, on_token)

    def image_marker(self) -> str | None:
        """What stands for an image in a prompt; None where none is understood."""
        try:
            props = self._http.get("/props").json()
        except (*self._errors, ValueError):
            return None
        if not props.get("modalities", {}).get("vision"):
            return None
        return str(props.get("media_marker", MEDIA_MARKER))

    def see(self, marker: str, n_predict: int) -> Completion:
        """Look at the largest image that a slot has room for, then decode.

        What a projector does not take in it makes smaller itself; so the first to be
        tried is larger than any takes. ``UNSEEN`` where not even the least has room.

        Raises:
            ServerAnswerError: anything but a full answer.
        """
        for side in image_sides():
            data = base64.b64encode(png(side)).decode()
            prompt = {"prompt_string": f"{marker}\n?", "multimodal_data": [data]}
            try:
                return self._complete(prompt, n_predict, lambda _: None, None)
            except ServerAnswerError as error:
                if TOO_LONG not in str(error):
                    raise
        return UNSEEN

    def _complete(
        self,
        prompt: Any,
        n_predict: int,
        on_progress: Callable[[int], None],
        slot: int | None,
        on_token: Callable[[int], None] = lambda _: None,
    ) -> Completion:
        body = {
            "prompt": prompt,
            "n_predict": n_predict,
            "id_slot": -1 if slot is None else slot,
            "cache_prompt": slot is not None,
            "ignore_eos": True,
            "temperature": 0.0,
            "stream": True,
            "return_progress": True,
        }
        try:
            return self._stream(body, on_progress, on_token)
        except self._errors as error:
            raise ServerAnswerError(f"{type(error).__name__}: {error}") from None

    def _stream(
        self,
        body: dict[str, Any],
        on_progress: Callable[[int], None],
        on_token: Callable[[int], None],
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
                if written := event.get("tokens_predicted"):
                    on_token(int(written))
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
        drafted_tokens=int(timings.get("draft_n", 0)),
    )
