"""A server asked as users of its OpenAI API ask: one question, one whole answer."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from placer.engine.chat import CHAT
from placer.engine.client import ServerAnswerError
from placer.engine.http import HTTP_OK, open_http

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

COMPLETIONS = "/v1/completions"
CONNECT_TIMEOUT_S = 5.0
# Between two tokens of an answer, and before its first.
SILENCE_S = 600.0
# finish_reason of an answer that was cut off.
LENGTH = "length"
MOST_DETAIL = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked.

    Attributes:
        prompt: a user's message, or with ``is_raw`` the beginning of a text, which may
            be token ids.
        max_tokens: to write at most, those of its reasoning among them.
        sampling: fields of the request by their names: ``temperature``, ``top_p``,
            ``seed`` and so on; what is not named is as the server has it.
        system: a system message; None for none.
        is_raw: whether the text is to be continued, without a chat template.
        stop: words that end an answer.
    """

    prompt: str | list[int]
    max_tokens: int
    sampling: Mapping[str, Any] = field(default_factory=dict)
    system: str | None = None
    is_raw: bool = False
    stop: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Of the request."""
        return COMPLETIONS if self.is_raw else CHAT

    def body(self) -> dict[str, Any]:
        """The request."""
        asked: dict[str, Any] = {"prompt": self.prompt}
        if not self.is_raw:
            system = [] if self.system is None else [_message("system", self.system)]
            asked = {"messages": [*system, _message("user", self.prompt)]}
        if self.stop:
            asked["stop"] = list(self.stop)
        options = {"include_usage": True}
        return {
            **asked,
            **self.sampling,
            "max_tokens": self.max_tokens,
            "stream": True,
            "stream_options": options,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A whole answer.

    Attributes:
        text: what it says.
        reasoning: what it thought before, where the server tells that apart.
        finish: why it ended: ``"stop"``, ``"length"``.
        prompt_tokens: that were read, or known already.
        tokens: that were written.
        ttft_s: seconds until its first token, queueing included.
        seconds: all of it.
        prompt_tokens_per_s: by the server's own clock; None where it does not say.
        decoded_tokens_per_s: likewise.
    """

    text: str
    reasoning: str
    finish: str
    prompt_tokens: int
    tokens: int
    ttft_s: float
    seconds: float
    prompt_tokens_per_s: float | None = None
    decoded_tokens_per_s: float | None = None

    @property
    def is_cut_off(self) -> bool:
        """Whether it was not at its end when it had to stop."""
        return self.finish == LENGTH


class AskingClient:
    """A server at ``base_url``; may be used by several threads at once."""

    def __init__(self, base_url: str, *, key: str | None = None) -> None:
        import httpx

        self._errors = (httpx.HTTPError,)
        self._http = open_http(
            base_url, timeout_s=SILENCE_S, connect_s=CONNECT_TIMEOUT_S, key=key
        )
        # A connection that waits may be closed just as the next question is sent.
        self._http.headers["Connection"] = "close"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """No more questions; those under way fail."""
        self._http.close()

    def ask(self, question: Question) -> Reply:
        """One question, to the end of its answer.

        Raises:
            ServerAnswerError: anything but a whole answer.
        """
        try:
            return self._ask(question)
        except self._errors as error:
            raise ServerAnswerError(f"{type(error).__name__}: {error}") from None
        except RuntimeError as error:
            # The client was closed by whoever gave up meanwhile.
            raise ServerAnswerError(str(error)) from None

    def _ask(self, question: Question) -> Reply:
        heard = _Heard()
        body = question.body()
        with self._http.stream("POST", question.path, json=body) as answer:
            if answer.status_code != HTTP_OK:
                answer.read()
                said = answer.text.strip()[:MOST_DETAIL]
                raise ServerAnswerError(f"HTTP {answer.status_code}: {said}")
            for event in _events(answer.iter_lines()):
                heard.take(event)
        return heard.reply()


@dataclass(slots=True)
class _Heard:
    """An answer so far."""

    began_s: float = field(default_factory=time.perf_counter)
    text: list[str] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    finish: str | None = None
    first_s: float | None = None
    usage: Mapping[str, Any] = field(default_factory=dict)
    timings: Mapping[str, Any] = field(default_factory=dict)

    def take(self, event: Mapping[str, Any]) -> None:
        """One event of the stream.

        Raises:
            ServerAnswerError: it tells of an error.
        """
        if "error" in event:
            raise ServerAnswerError(json.dumps(event["error"])[:MOST_DETAIL])
        self.usage = event.get("usage") or self.usage
        self.timings = event.get("timings") or self.timings
        for choice in event.get("choices") or ():
            delta = choice.get("delta") or choice
            said = delta.get("content") or delta.get("text") or ""
            thought = delta.get("reasoning_content") or ""
            if (said or thought) and self.first_s is None:
                self.first_s = time.perf_counter()
            self.text.append(said)
            self.reasoning.append(thought)
            self.finish = choice.get("finish_reason") or self.finish

    def reply(self) -> Reply:
        """All of it.

        Raises:
            ServerAnswerError: it broke off.
        """
        if self.finish is None:
            raise ServerAnswerError("the answer broke off")
        end_s = time.perf_counter()
        timings = self.timings
        read = timings.get("prompt_n", 0) + timings.get("cache_n", 0)
        written = timings.get("predicted_n", 0)
        return Reply(
            text="".join(self.text),
            reasoning="".join(self.reasoning),
            finish=self.finish,
            prompt_tokens=int(self.usage.get("prompt_tokens") or read),
            tokens=int(self.usage.get("completion_tokens") or written),
            ttft_s=(self.first_s or end_s) - self.began_s,
            seconds=end_s - self.began_s,
            prompt_tokens_per_s=timings.get("prompt_per_second"),
            decoded_tokens_per_s=timings.get("predicted_per_second"),
        )


def _message(role: str, content: str | list[int]) -> dict[str, Any]:
    return {"role": role, "content": content}


def _events(lines: Iterator[str]) -> Iterator[Mapping[str, Any]]:
    """What the lines of a stream say; those that are no JSON are passed over."""
    for line in lines:
        prefix, _, rest = line.partition(": ")
        if prefix not in ("data", "error"):
            continue
        try:
            event = json.loads(rest)
        except ValueError:
            continue
        if isinstance(event, dict):
            yield event if prefix == "data" else {"error": event}
