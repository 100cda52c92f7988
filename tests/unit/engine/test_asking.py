"""Questions to a server's OpenAI API, and what is made of the stream of an answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from placer.engine.asking import AskingClient, Question
from placer.engine.client import ServerAnswerError
from placer.engine.process import free_port
from placer.testing.fake_http import HttpServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from placer.testing.fake_http import Reply, Request

    Talk = Callable[[Request, Reply], None]

QUESTION = Question(prompt="Why?", max_tokens=9, sampling={"temperature": 0.0})


def delta(**said: str) -> dict[str, Any]:
    """A piece of an answer."""
    return {"choices": [{"delta": said, "finish_reason": None}]}


def end(reason: str) -> dict[str, Any]:
    """The last piece of an answer."""
    return {"choices": [{"delta": {}, "finish_reason": reason}]}


def url_of(talk: Talk) -> str:
    """Where a server answers so."""
    port = free_port()
    HttpServer("127.0.0.1", port).start(talk)
    return f"http://127.0.0.1:{port}"


def said_by(*events: dict[str, Any]) -> Talk:
    """Each answer is these events."""

    def talk(request: Request, reply: Reply) -> None:
        for event in events:
            reply.event(event)
        reply.end()

    return talk


def test_an_answer_is_put_together_of_its_pieces() -> None:
    """Reasoning apart, with what the server counted and measured."""
    usage = {"prompt_tokens": 7, "completion_tokens": 4}
    timings = {"prompt_per_second": 70.0, "predicted_per_second": 8.0}
    talk = said_by(
        delta(reasoning_content="Let "),
        delta(reasoning_content="me see."),
        delta(content="Be"),
        delta(content="cause."),
        end("stop"),
        {"choices": [], "usage": usage, "timings": timings},
    )
    with AskingClient(url_of(talk)) as client:
        reply = client.ask(QUESTION)
    assert (reply.reasoning, reply.text) == ("Let me see.", "Because.")
    assert (reply.prompt_tokens, reply.tokens, reply.finish) == (7, 4, "stop")
    assert (reply.prompt_tokens_per_s, reply.decoded_tokens_per_s) == (70.0, 8.0)
    assert 0 < reply.ttft_s <= reply.seconds
    assert not reply.is_cut_off


def test_an_answer_that_was_cut_off_says_so() -> None:
    """By the reason of its end."""
    with AskingClient(url_of(said_by(delta(content="Be"), end("length")))) as client:
        assert client.ask(QUESTION).is_cut_off


@pytest.mark.parametrize(
    ("question", "path", "asked"),
    [
        (
            Question(prompt="Why?", max_tokens=9, system="Be brief."),
            "/v1/chat/completions",
            {
                "messages": [
                    {"role": "system", "content": "Be brief."},
                    {"role": "user", "content": "Why?"},
                ]
            },
        ),
        (
            Question(prompt="def f", max_tokens=9, is_raw=True, stop=("\ndef",)),
            "/v1/completions",
            {"prompt": "def f", "stop": ["\ndef"]},
        ),
    ],
)
def test_what_is_asked_is_in_the_request(
    question: Question, path: str, asked: dict[str, Any]
) -> None:
    """Chat or text, and no field that nobody named but the stream's."""
    heard: list[tuple[str, Any]] = []

    def talk(request: Request, reply: Reply) -> None:
        heard.append((request.path, json.loads(request.body)))
        reply.event({"choices": [{"text": "x", "finish_reason": "stop"}]})
        reply.end()

    with AskingClient(url_of(talk)) as client:
        assert client.ask(question).text == "x"
    stream = {"stream": True, "stream_options": {"include_usage": True}}
    assert heard == [(path, asked | {"max_tokens": 9} | stream)]


def broken(request: Request, reply: Reply) -> None:
    """A server that refuses."""
    reply.error(500, "no slot")


@pytest.mark.parametrize(
    ("talk", "words"),
    [
        (broken, "HTTP 500"),
        (said_by(delta(content="Be")), "broke off"),
        (said_by(delta(content="Be"), {"error": {"message": "gone"}}), "gone"),
    ],
)
def test_what_is_no_whole_answer_is_an_error(talk: Talk, words: str) -> None:
    """Whatever came before it."""
    with AskingClient(url_of(talk)) as client:
        with pytest.raises(ServerAnswerError) as caught:
            client.ask(QUESTION)
        assert words in str(caught.value)


def test_nobody_there_is_an_error_too() -> None:
    """Of the same kind."""
    url = f"http://127.0.0.1:{free_port()}"
    with AskingClient(url) as client, pytest.raises(ServerAnswerError):
        client.ask(QUESTION)
