"""What a running llama-server tells of itself: /health, /slots and /metrics."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.engine.health import Health, health_of_status
from placer.engine.http import HTTP_OK, open_http

if TYPE_CHECKING:
    from collections.abc import Iterator

# In the middle of a batch older builds do not answer: who watches goes on without.
TIMEOUT_S = 1.5
METRIC = re.compile(r"^llamacpp:(\w+) ([-+\d.eE]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One slot, as ``/slots`` has it.

    Attributes:
        number: its id.
        ctx: tokens that it has room for.
        is_processing: whether it works on a request.
        task: the number of its request, or of the last one; None before any.
        tokens: that its context holds, of an idle slot what may be used again; None
            where the build does not say.
        prompt_tokens: of its prompt that were read, without those it had.
        decoded_tokens: that it has written.
    """

    number: int
    ctx: int
    is_processing: bool
    task: int | None = None
    tokens: int | None = None
    prompt_tokens: int = 0
    decoded_tokens: int = 0

    @property
    def word(self) -> str:
        """What it does."""
        if not self.is_processing:
            return "idle"
        return "decode" if self.decoded_tokens else "prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What ``/metrics`` counts since the server started, of requests that came so far.

    Attributes:
        prompt_tokens: that were read.
        prompt_s: the time that took.
        decoded_tokens: that were written.
        decode_s: the time that took.
        deferred: requests that wait for a slot.
    """

    prompt_tokens: float = 0
    prompt_s: float = 0
    decoded_tokens: float = 0
    decode_s: float = 0
    deferred: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """One server at one moment.

    Attributes:
        health: how it answered.
        slots: in order; None where it did not answer, or was told not to.
        counters: None likewise, or without ``--metrics``.
    """

    health: Health
    slots: tuple[Slot, ...] | None = None
    counters: Counters | None = None

    @property
    def is_idle(self) -> bool:
        """Whether it is known that no slot works."""
        slots = self.slots
        return slots is not None and not any(slot.is_processing for slot in slots)


class LiveStats:
    """Asks one server; close it when done.

    Args:
        base_url: where it answers, without a final slash.
        api_key: of a server that wants one.
        timeout_s: how long one answer is waited for.
    """

    def __init__(
        self, base_url: str, api_key: str | None = None, *, timeout_s: float = TIMEOUT_S
    ) -> None:
        import httpx

        self._errors = (httpx.HTTPError, ValueError)
        self._http = open_http(base_url, timeout_s=timeout_s, key=api_key)

    def close(self) -> None:
        """The connection is let go of."""
        self._http.close()

    def read(self) -> ServerStats:
        """The server now; what it does not answer stays unknown."""
        health = self.health()
        if health is not Health.READY:
            return ServerStats(health=health)
        return ServerStats(health=health, slots=self._slots(), counters=self._counts())

    def health(self) -> Health:
        """How it answers, which costs it nothing and leaves no line in its log."""
        try:
            return health_of_status(self._http.get("/health").status_code)
        except self._errors:
            return Health.SILENT

    def _slots(self) -> tuple[Slot, ...] | None:
        try:
            answer = self._http.get("/slots")
            if answer.status_code != HTTP_OK:
                return None
            return read_slots(answer.json())
        except self._errors:
            return None

    def _counts(self) -> Counters | None:
        try:
            answer = self._http.get("/metrics")
        except self._errors:
            return None
        return read_metrics(answer.text) if answer.status_code == HTTP_OK else None


def read_slots(answer: Any) -> tuple[Slot, ...] | None:
    """The slots of an answer of ``/slots``; None of any other."""
    if not isinstance(answer, list):
        return None
    return tuple(_slot(one) for one in answer if isinstance(one, dict))


def _slot(one: dict[str, Any]) -> Slot:
    # A list in newer builds: one entry a child of the request.
    written = one.get("next_token") or {}
    written = written if isinstance(written, list) else [written]
    tokens = one.get("n_prompt_tokens")
    return Slot(
        number=int(one.get("id", 0)),
        ctx=int(one.get("n_ctx", 0)),
        is_processing=bool(one.get("is_processing")),
        task=one.get("id_task"),
        tokens=None if tokens is None and "id_task" in one else int(tokens or 0),
        prompt_tokens=int(one.get("n_prompt_tokens_processed") or 0),
        decoded_tokens=sum(int(part.get("n_decoded") or 0) for part in written),
    )


def read_metrics(text: str) -> Counters | None:
    """The counters of an answer of ``/metrics``; None of any other."""
    found = dict(_metrics(text))
    if not found:
        return None
    return Counters(
        prompt_tokens=found.get("prompt_tokens_total", 0),
        prompt_s=found.get("prompt_seconds_total", 0),
        decoded_tokens=found.get("tokens_predicted_total", 0),
        decode_s=found.get("tokens_predicted_seconds_total", 0),
        deferred=int(found.get("requests_deferred", 0)),
    )


def _metrics(text: str) -> Iterator[tuple[str, float]]:
    for name, value in METRIC.findall(text):
        try:
            yield name, float(value)
        except ValueError:
            continue
