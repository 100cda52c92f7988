"""A server asked as its users ask it: the models it names, and one short chat."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from placer.engine.http import HTTP_OK, open_http

if TYPE_CHECKING:
    import httpx

CHAT = "/v1/chat/completions"
MESSAGES = "/v1/messages"
MODELS = "/v1/models"
# Who lists models answers at once; who chats may have to load one first.
LIST_TIMEOUT_S = 2.0
CHAT_TIMEOUT_S = 600.0
TOKENS = 8
PROMPT = "Say hello."
MOST_DETAIL = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of one request.

    Attributes:
        path: of the request.
        ok: whether the model answered.
        detail: what it wrote, or what was wrong.
        seconds: that it took.
    """

    path: str
    ok: bool
    detail: str
    seconds: float


def served_models(base_url: str, key: str | None = None) -> tuple[str, ...]:
    """What a server calls its models; none where nobody answers."""
    try:
        with _client(base_url, LIST_TIMEOUT_S, key) as http:
            data = http.get(MODELS).json()["data"]
            return tuple(str(one["id"]) for one in data)
    except _errors():
        return ()
    except (ValueError, KeyError, TypeError):
        return ()


def ask_chat(base_url: str, model: str, key: str | None = None) -> Answer:
    """One chat as OpenAI's clients ask for it."""

    def text(body: dict[str, Any]) -> str:
        message = body["choices"][0]["message"]
        return str(message.get("content") or message.get("reasoning_content") or "")

    return _asked(base_url, CHAT, _body(model), key, text)


def ask_messages(base_url: str, model: str, key: str | None = None) -> Answer:
    """One chat as Anthropic's clients ask for it."""

    def text(body: dict[str, Any]) -> str:
        parts = [part.get("text") or part.get("thinking") for part in body["content"]]
        return "".join(part or "" for part in parts)

    return _asked(base_url, MESSAGES, _body(model), key, text)


def _body(model: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": PROMPT}]
    return {"model": model, "max_tokens": TOKENS, "messages": messages}


def _asked(
    base_url: str, path: str, body: dict[str, Any], key: str | None, text: Any
) -> Answer:
    started = time.perf_counter()
    ok = False
    try:
        with _client(base_url, CHAT_TIMEOUT_S, key) as http:
            answer = http.post(path, json=body)
        if answer.status_code == HTTP_OK:
            ok, detail = True, text(answer.json())
        else:
            detail = f"HTTP {answer.status_code}: {answer.text.strip()}"
    except _errors() as error:
        detail = f"{type(error).__name__}: {error}"
    except (ValueError, KeyError, TypeError, IndexError):
        ok, detail = False, "an answer that is none"
    return Answer(
        path=path,
        ok=ok,
        detail=" ".join(detail.split())[:MOST_DETAIL],
        seconds=time.perf_counter() - started,
    )


def _client(base_url: str, timeout_s: float, key: str | None) -> httpx.Client:
    return open_http(base_url, timeout_s=timeout_s, connect_s=LIST_TIMEOUT_S, key=key)


def _errors() -> tuple[type[Exception], ...]:
    import httpx

    return (httpx.HTTPError, httpx.InvalidURL)
